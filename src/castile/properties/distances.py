"""Descriptors of distances: radial distribution functions and histograms of pair distances."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.base import element_codes
from castile.descriptors.rdf import RadialDistribution
from castile.errors import InputError
from castile.properties.descriptor import Float64Array, Seen, StructureDescriptor
from castile.structures.neighbors import neighbor_pairs

_ANY = (1,)


class RadialDistributionVector(StructureDescriptor):
    """Smeared radial distribution function, see :class:`castile.RadialDistribution`.

    Parameters
    ----------
    cutoff : float
        Largest distance, Angstrom.
    n_bins : int
        Number of distances.
    sigma : float
        Smearing, Angstrom.
    partial : bool
        One function for each pair of elements, or one for all atoms whatever they are.
    """

    kind: ClassVar[str] = "rdf"
    describes_atoms: ClassVar[bool] = True

    def __init__(
        self, cutoff: float = 6.0, n_bins: int = 60, sigma: float = 0.15, partial: bool = True
    ) -> None:
        self.cutoff = cutoff
        self.n_bins = n_bins
        self.sigma = sigma
        self.partial = partial

    def _settle(self, seen: Seen) -> None:
        species = seen.species if self.partial else _ANY
        width = min(1.0, 0.5 * self.cutoff)
        self._mean, self._each = (
            RadialDistribution(
                self.cutoff, self.n_bins, self.sigma, width, species=species, per_atom=per_atom
            ).fit()
            for per_atom in (False, True)
        )

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the pair of elements and the distance of each feature."""
        names = self._mean.get_feature_names_out()
        return names if self.partial else np.array([f"any {name}" for name in names], dtype=object)

    def _row(self, atoms: Atoms) -> Float64Array:
        return np.asarray(self._mean.transform(self._shown(atoms))[0])

    def _atom_rows(self, atoms: Atoms) -> Float64Array:
        return np.asarray(self._each.transform(self._shown(atoms)))

    def _shown(self, atoms: Atoms) -> Atoms:
        """The structure itself, or with all elements alike."""
        if self.partial:
            return atoms
        return Atoms([_ANY[0]] * len(atoms), positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


class PairDistanceHistogram(StructureDescriptor):
    r"""How many pairs of atoms per atom have a distance in each of equal bins, images included.

    .. math:: h_b = \frac{1}{2N} \#\{(i, j) : b \le r_{ij} / \Delta < b + 1\}, \qquad \Delta = r_c / n_b

    Parameters
    ----------
    cutoff : float
        Largest distance, Angstrom.
    n_bins : int
        Number of bins.
    partial : bool
        One histogram for each pair of elements.
    """

    kind: ClassVar[str] = "pair-histogram"

    def __init__(self, cutoff: float = 6.0, n_bins: int = 40, partial: bool = False) -> None:
        self.cutoff = cutoff
        self.n_bins = n_bins
        self.partial = partial

    def _settle(self, seen: Seen) -> None:
        if not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise InputError(f"cutoff = {self.cutoff} A must be a positive number")
        if self.n_bins < 1:
            raise InputError(f"n_bins = {self.n_bins!r} must be an integer of at least 1")
        self._n_species = len(seen.species) if self.partial else 1

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the pair of elements and the range of distances of each feature."""
        symbols = [chemical_symbols[z] for z in self.seen_.species] if self.partial else ["any"]
        edges = np.linspace(0.0, self.cutoff, self.n_bins + 1)
        return np.array(
            [
                f"{symbols[a]}-{symbols[b]} {edges[k]:.3f}-{edges[k + 1]:.3f} A"
                for a in range(len(symbols))
                for b in range(a, len(symbols))
                for k in range(self.n_bins)
            ],
            dtype=object,
        )

    def _row(self, atoms: Atoms) -> Float64Array:
        n = self._n_species
        pairs = neighbor_pairs(atoms, self.cutoff)
        distances = np.linalg.norm(pairs.vectors, axis=1)
        bins = np.minimum((distances * (self.n_bins / self.cutoff)).astype(np.int64), self.n_bins - 1)
        if self.partial:
            codes = element_codes(atoms, self.seen_.species, "structure 0")
            low = np.minimum(codes[pairs.center], codes[pairs.neighbor])
            high = np.maximum(codes[pairs.center], codes[pairs.neighbor])
            bins = bins + self.n_bins * (low * n - low * (low - 1) // 2 + high - low)
        size = self.n_bins * n * (n + 1) // 2
        return np.bincount(bins, minlength=size).astype(np.float64) / (2.0 * len(atoms))
