"""What a surrogate of a path sees of a structure: coordinates or inverse distances, and sums over pairs.

All features are functions phi(x) of the coordinates x of the atoms that are free to move, (3 n_free,), and
give their Jacobian J = d phi / d x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from ase import Atoms
from numpy.typing import NDArray

from castile.barriers.neb_pairs import PairList, PairPoint

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

CUTOFF = 7.0
"""Of pairs, Angstrom."""
SWITCH = 2.0
"""Width of the shell in which inverse distances go to zero, Angstrom."""
ADDITIVE_CUTOFF = 6.0
N_PAIR_FUNCTIONS = 12
LARGEST_EXPONENTIAL = 1.6
"""Centres of the pair functions lie between 0 and this value of exp(1 - r / r_0)."""


@dataclass(frozen=True)
class FeaturePoint:
    """Features of one structure: values (n_features,) and Jacobian (n_features, 3 n_free), sparse."""

    values: Float64Array
    jacobian: sparse.csr_matrix


class PathFeatures(ABC):
    """Features of the structures of a path; atoms, order, cell and free atoms are those of a template."""

    def __init__(self, template: Atoms, free: IntArray) -> None:
        self.template = template
        self.free = np.asarray(free)

    def cover(self, positions: Sequence[Float64Array]) -> None:  # noqa: B027
        """Prepare for structures with these positions, each (n_atoms, 3)."""

    @abstractmethod
    def values(self, positions: Float64Array) -> Float64Array:
        """Return phi(x), (n_features,)."""

    @abstractmethod
    def point(self, positions: Float64Array) -> FeaturePoint:
        """Return phi(x) and J(x)."""

    @abstractmethod
    def pull(self, positions: Float64Array, slopes: Float64Array) -> Float64Array:
        """Return J(x)^T slopes, (3 n_free,), from dE/dphi (n_features,)."""


class CartesianPositions(PathFeatures):
    """phi = x: the coordinates themselves, Angstrom."""

    def values(self, positions: Float64Array) -> Float64Array:
        """Return the coordinates of the free atoms."""
        return positions[self.free].ravel()

    def point(self, positions: Float64Array) -> FeaturePoint:
        """Return coordinates and the unit matrix."""
        return FeaturePoint(self.values(positions), sparse.identity(3 * len(self.free), format="csr"))

    def pull(self, positions: Float64Array, slopes: Float64Array) -> Float64Array:
        """Return the slopes."""
        return slopes


class _PairFeatures(PathFeatures):
    """Features that depend on distances; the list of pairs grows with what it must cover."""

    def __init__(self, template: Atoms, free: IntArray, pairs: PairList | None = None) -> None:
        super().__init__(template, free)
        self.pairs = pairs or PairList(template, self.free, CUTOFF)

    def cover(self, positions: Sequence[Float64Array]) -> None:
        """Find all pairs within the cutoff in any of the structures."""
        self.pairs.cover(positions)


class InverseDistances(_PairFeatures):
    r"""phi_p = s(r_p) r_0 / r_p for every pair p with a free atom; r_0 is the sum of covalent radii.

    s goes smoothly from 1 to 0 in the last 2 Angstrom before the cutoff. Translations, rotations and mirror
    images leave the features as they are.

    Source: Koistinen, Asgeirsson, Vehtari, Jonsson, J. Chem. Theory Comput. 15, 6738 (2019).
    """

    def _functions(self, pairs: PairPoint) -> tuple[Float64Array, Float64Array]:
        inverse = self.pairs.contact / pairs.distances
        x = np.clip((pairs.distances - (CUTOFF - SWITCH)) / SWITCH, 0.0, 1.0)
        switch = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x * x)
        slope = -30.0 * x * x * (1.0 - x) ** 2 / SWITCH
        return inverse * switch, inverse * (slope - switch / pairs.distances)

    def values(self, positions: Float64Array) -> Float64Array:
        """Return the inverse distances."""
        return self._functions(self.pairs.at(positions))[0]

    def point(self, positions: Float64Array) -> FeaturePoint:
        """Return inverse distances and their derivatives."""
        pairs = self.pairs.at(positions)
        values, slopes = self._functions(pairs)
        return FeaturePoint(values, self.pairs.jacobian(pairs, slopes))

    def pull(self, positions: Float64Array, slopes: Float64Array) -> Float64Array:
        """Return the gradient with respect to the free atoms."""
        pairs = self.pairs.at(positions)
        return self.pairs.pull(pairs, slopes * self._functions(pairs)[1])


class PairSums(_PairFeatures):
    r"""phi_{ab,k} = sum of B_k(r) over the pairs of elements a and b: pair potentials are linear in it.

    B_k(r) = exp(-(x - c_k)^2 / (2 w^2)) (1 - r^2/r_c^2)^3 with x = exp(1 - r / r_0), centres c_k spaced by w.
    """

    def _basis(self, distances: Float64Array) -> tuple[Float64Array, Float64Array]:
        centres = np.linspace(0.0, LARGEST_EXPONENTIAL, N_PAIR_FUNCTIONS)
        width = centres[1]
        x = np.exp(1.0 - distances / self.pairs.contact)
        offset = x[:, None] - centres
        gaussians = np.exp(-0.5 * (offset / width) ** 2)
        y = np.minimum(distances / ADDITIVE_CUTOFF, 1.0)
        cut, cut_slope = (1.0 - y * y) ** 3, -6.0 * y / ADDITIVE_CUTOFF * (1.0 - y * y) ** 2
        along = -offset / width**2 * (-x / self.pairs.contact)[:, None]
        return gaussians * cut[:, None], gaussians * (along * cut[:, None] + cut_slope[:, None])

    def values(self, positions: Float64Array) -> Float64Array:
        """Return the sums over pairs."""
        return self._sums(self._basis(self.pairs.at(positions).distances)[0])

    def _sums(self, basis: Float64Array) -> Float64Array:
        sums = np.zeros((self.pairs.n_kinds, N_PAIR_FUNCTIONS))
        np.add.at(sums, self.pairs.kinds, basis)
        return sums.ravel()

    def point(self, positions: Float64Array) -> FeaturePoint:
        """Return the sums and their derivatives."""
        pairs = self.pairs.at(positions)
        basis, slopes = self._basis(pairs.distances)
        collect = sparse.csr_matrix(
            (np.ones(len(basis)), (self.pairs.kinds, np.arange(len(basis)))),
            shape=(self.pairs.n_kinds, len(basis)),
        )
        blocks = [
            collect @ self.pairs.jacobian(pairs, slopes[:, k]) for k in range(N_PAIR_FUNCTIONS)
        ]  # rows by function, then by kind
        stacked = sparse.vstack(blocks).tocsr()
        order = np.arange(stacked.shape[0]).reshape(N_PAIR_FUNCTIONS, -1).T.ravel()
        return FeaturePoint(self._sums(basis), stacked[order])

    def pull(self, positions: Float64Array, slopes: Float64Array) -> Float64Array:
        """Return the gradient with respect to the free atoms."""
        pairs = self.pairs.at(positions)
        by_kind = slopes.reshape(-1, N_PAIR_FUNCTIONS)[self.pairs.kinds]
        return self.pairs.pull(pairs, (self._basis(pairs.distances)[1] * by_kind).sum(axis=1))
