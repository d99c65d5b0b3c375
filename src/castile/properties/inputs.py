"""Features of many structures, as a Gaussian process takes them: of each structure, or of all its atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.base import element_codes
from castile.properties.descriptor import Float64Array, StructureDescriptor

IndexArray = NDArray[np.int64]
Scope = Literal["structure", "atoms"]


@dataclass(frozen=True)
class Inputs:
    """Rows of features and the composition of structures.

    Attributes
    ----------
    features : ndarray, shape (n_rows, n_features)
    first : ndarray of int64, shape (n_structures + 1,)
        Structure k has the rows first[k] to first[k + 1]: one, or one per atom.
    composition : ndarray, shape (n_structures, n_elements)
        Mole fractions, or numbers of atoms where targets are sums over atoms.
    """

    features: Float64Array
    first: IndexArray
    composition: Float64Array

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.first) - 1

    @property
    def is_global(self) -> bool:
        """Whether each structure has one row."""
        return len(self.features) == len(self) and bool((np.diff(self.first) == 1).all())

    def take(self, structures: IndexArray) -> Inputs:
        """Return the inputs of some of the structures."""
        counts = self.first[structures + 1] - self.first[structures]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.first[structures] - first[:-1], counts) + np.arange(first[-1])
        return Inputs(self.features[rows], first, self.composition[structures])

    def sums(self, values: Float64Array) -> Float64Array:
        """Add the rows of ``values`` (n_rows, ...) of each structure, (n_structures, ...)."""
        if len(values) == len(self):
            return values
        return np.add.reduceat(values, self.first[:-1], axis=0)


def describe(
    descriptor: StructureDescriptor, structures: Sequence[Atoms], scope: Scope = "structure"
) -> Inputs:
    """Return the inputs of ``structures`` from a fitted descriptor.

    Parameters
    ----------
    descriptor : StructureDescriptor
    structures : sequence of ase.Atoms
    scope : "structure" or "atoms"
        One row each and mole fractions, or one row per atom and numbers of atoms.

    Raises
    ------
    InputError
        For a structure that cannot be described, or an element that was not seen in the fit.
    """
    species = descriptor.seen_.species
    counts = np.zeros((len(structures), len(species)))
    for index, atoms in enumerate(structures):
        counts[index] = np.bincount(
            element_codes(atoms, species, f"structure {index}"), minlength=len(species)
        )
    if scope == "atoms":
        rows = descriptor.transform_atoms(structures)
        return Inputs(rows.features, rows.first, counts)
    first = np.arange(len(structures) + 1, dtype=np.int64)
    sizes = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return Inputs(descriptor.transform(structures), first, counts / sizes)
