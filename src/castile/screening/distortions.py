"""Changes of a prototype: elements replaced or decorated, cells strained, atoms displaced."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

SHEARS = ((1, 2), (0, 2), (0, 1))


def replace_elements(atoms: Atoms, replacements: Sequence[tuple[str, str]]) -> Atoms:
    """Return a copy in which each first element is replaced by the second, all at the same time."""
    copy = atoms.copy()
    numbers = copy.numbers.copy()
    for old, new in replacements:
        numbers[atoms.numbers == atomic_numbers[old]] = atomic_numbers[new]
    copy.numbers = numbers
    return copy


def decorate_sites(atoms: Atoms, sites: Sequence[int], symbols: Sequence[str]) -> Atoms:
    """Return a copy with these elements on these atoms."""
    copy = atoms.copy()
    numbers = copy.numbers.copy()
    numbers[list(sites)] = [atomic_numbers[symbol] for symbol in symbols]
    copy.numbers = numbers
    return copy


def scale_to_radii(atoms: Atoms, prototype: Atoms) -> Atoms:
    """Scale all lengths by the ratio of the summed covalent radii, in place; returns ``atoms``."""
    factor = covalent_radii[atoms.numbers].sum() / covalent_radii[prototype.numbers].sum()
    if atoms.pbc.any():
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    else:
        atoms.positions *= factor
    return atoms


def strain_cell(atoms: Atoms, volume: float, strain: np.ndarray) -> Atoms:
    """Change the volume by a fraction, then apply r -> r (1 + strain), in place; returns ``atoms``."""
    deformation = np.cbrt(1.0 + volume) * (np.eye(3) + strain)
    if atoms.pbc.any():
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    else:
        atoms.positions = atoms.positions @ deformation
    return atoms


def random_strain(generator: np.random.Generator, size: float) -> np.ndarray:
    """Return a symmetric strain whose six components are uniform in +-size."""
    draws = generator.uniform(-size, size, 6)
    strain = np.diag(draws[:3])
    for value, (i, j) in zip(draws[3:], SHEARS, strict=True):
        strain[i, j] = strain[j, i] = 0.5 * value
    return strain


def shuffled(index: int, n: int, seed: int) -> int:
    """Return where a permutation of range(n) sends an index; it takes no memory.

    Four Feistel rounds on the smallest even number of bits that holds n, walked until the result is inside.
    """
    half = max(1, math.ceil((n - 1).bit_length() / 2))
    mask = (1 << half) - 1
    value = index
    while True:
        left, right = value >> half, value & mask
        for step in range(4):
            left, right = right, left ^ (_mixed(right, seed, step) & mask)
        value = (left << half) | right
        if value < n:
            return value


def _mixed(value: int, seed: int, step: int) -> int:
    """Bits that depend on all bits of the arguments (the finalizer of splitmix64)."""
    bits = (value + 0x9E3779B97F4A7C15 * (4 * seed + step + 1)) & 0xFFFFFFFFFFFFFFFF
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return bits ^ (bits >> 31)
