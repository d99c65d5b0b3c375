"""Hashes of structures: of all training data (model files), and of a geometry (duplicates)."""

import hashlib

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from castile.structures.labels import LabelledStructure

_DUPLICATE_TOLERANCE = 1e-6  # A


def _bytes(values: ArrayLike | None) -> bytes:
    """Canonical bytes: presence, number of values, little-endian doubles without negative zeros."""
    if values is None:
        return b"\x00"
    array = np.ascontiguousarray(values, dtype="<f8").ravel() + 0.0
    return b"\x01" + len(array).to_bytes(8, "little") + array.tobytes()


def labelled_bytes(structure: LabelledStructure) -> bytes:
    """Everything of a structure that a fit depends on, as bytes."""
    atoms = structure.atoms
    kind = structure.config_type.encode()
    parts = [
        _bytes(atoms.numbers),
        _bytes(atoms.positions),
        _bytes(atoms.cell.array),
        _bytes(atoms.pbc),
        _bytes(structure.energy),
        _bytes(structure.forces),
        _bytes(structure.stress),
        _bytes(structure.force_mask),
        _bytes(structure.energy_sigma),
        _bytes(structure.force_sigma),
        _bytes(structure.stress_sigma),
        len(kind).to_bytes(8, "little") + kind,
    ]
    return b"".join(parts)


def geometry_hash(atoms: Atoms) -> bytes:
    """Hash of elements, positions, cell and periodicity, the lengths rounded to 1e-6 A."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(atoms.numbers.astype("<i4").tobytes())
    digest.update(atoms.pbc.tobytes())
    for lengths in (atoms.positions, atoms.cell.array):
        digest.update(np.round(lengths / _DUPLICATE_TOLERANCE).astype("<i8").tobytes())
    return digest.digest()
