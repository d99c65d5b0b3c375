"""What surrounds the moving ion: atoms around its path, with charges and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import complete_cell
from numpy.typing import NDArray

from castile.barriers.ions import (
    ANION_NUMBERS,
    IONIC_RADIUS,
    electronegativity,
    formal_charges,
    ionic_radii,
    keeps_charge,
    mobile_charge,
)
from castile.barriers.path import MigrationPath
from castile.structures.neighbors import neighbor_pairs

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
_BOND = 2.6  # A; longest bond of the centre of an oxo-anion
_BOND_STRETCH = 1.2  # bonds up to so many times the sum of the covalent radii


@dataclass(frozen=True)
class HostChemistry:
    """What a host is made of.

    Attributes
    ----------
    charges : ndarray, shape (n_atoms,)
        Formal charges.
    variable : ndarray of bool, shape (n_atoms,)
        Atoms whose charge was settled by neutrality (transition metals).
    volume : float
        Angstrom^3 per atom of the periodic cell, or of the box around what is not periodic.
    """

    charges: Float64Array
    variable: NDArray[np.bool_]
    volume: float


@dataclass(frozen=True)
class Surroundings:
    """Atoms around a path, periodic images written out.

    Attributes
    ----------
    positions : ndarray, shape (n_near, 3)
        Angstrom.
    numbers : ndarray, shape (n_near,)
    charges : ndarray, shape (n_near,)
    """

    positions: Float64Array
    numbers: IntArray
    charges: Float64Array

    @property
    def radii(self) -> Float64Array:
        """Ionic radii, Angstrom, (n_near,)."""
        return ionic_radii(self.numbers, self.charges)

    @property
    def anions(self) -> NDArray[np.bool_]:
        """Whether each atom is an anion."""
        return self.charges < 0.0


def host_chemistry(host: Atoms) -> HostChemistry:
    """Formal charges of a host and which of its atoms adapt theirs."""
    numbers = host.numbers
    partners = np.zeros(len(numbers), dtype=int)
    if len(set(numbers.tolist()) & set(ANION_NUMBERS)) > 1:  # only then can one be the centre of an oxo-anion
        values = electronegativity(numbers)
        pairs = neighbor_pairs(host, _BOND)
        i, j = pairs.center, pairs.neighbor
        bond = _BOND_STRETCH * (covalent_radii[numbers[i]] + covalent_radii[numbers[j]])
        bound = (np.linalg.norm(pairs.vectors, axis=1) < bond) & (values[j] > values[i] + 0.1)
        bound &= np.isin(numbers[j], list(ANION_NUMBERS))
        partners[i[bound]] = numbers[j[bound]]
    charges = formal_charges(numbers, partners)
    variable = (charges > 0.0) & ~keeps_charge(numbers) & ~np.isin(numbers, list(ANION_NUMBERS))
    return HostChemistry(charges, variable, _volume(host) / len(host))


def _volume(host: Atoms) -> float:
    """Volume of the cell; without one, of a box about the atoms."""
    if host.pbc.all():
        return float(abs(np.linalg.det(host.cell.array)))
    extent = np.ptp(host.positions, axis=0) + 2.0
    lengths = np.where(host.pbc, np.linalg.norm(host.cell.array, axis=1), extent)
    return float(np.prod(lengths))


def surroundings(
    path: MigrationPath, chemistry: HostChemistry, points: Float64Array, reach: float
) -> Surroundings:
    """Atoms within ``reach`` of any of ``points`` (n, 3), Angstrom, and a few more.

    Images of the moving ion itself are left out: what is asked for is the barrier of one ion.
    """
    host = path.host
    middle = points.mean(axis=0)
    radius = reach + float(np.linalg.norm(points - middle, axis=1).max())
    cell = complete_cell(host.cell.array)
    inverse = np.linalg.inv(cell)
    fractions = (host.positions - middle) @ inverse
    fractions = np.where(host.pbc, fractions - np.round(fractions), fractions)
    spacing = 1.0 / np.linalg.norm(inverse, axis=0)
    counts = np.where(host.pbc, np.ceil(radius / spacing + 0.5 - 1e-9), 0).astype(int)
    grids = np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing="ij")
    shifts = np.stack(grids, axis=-1).reshape(-1, 3) @ cell
    centred = fractions @ cell
    largest = np.linalg.norm(centred, axis=1).max()
    shifts = shifts[np.linalg.norm(shifts, axis=1) < radius + largest + 1e-9]
    positions = (centred[None] + shifts[:, None]).reshape(-1, 3)
    near = np.flatnonzero(np.einsum("ij,ij->i", positions, positions) < radius * radius)
    atoms = near % len(host)
    return Surroundings(
        positions[near] + middle, host.numbers[atoms].astype(np.int64), chemistry.charges[atoms]
    )


@dataclass(frozen=True)
class Ion:
    """The moving ion: atomic number, charge (e) and ionic radius (Angstrom)."""

    number: int
    charge: float
    radius: float


def moving_ion(path: MigrationPath) -> Ion:
    """Charge and radius of the ion of a path."""
    return Ion(path.mobile, mobile_charge(path.mobile), float(IONIC_RADIUS[path.mobile]))
