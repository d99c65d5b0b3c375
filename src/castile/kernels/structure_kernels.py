"""Kernels between structures, from the kernels between the environments of their atoms.

All are 1 for structures that are the same but for the choice of cell, a supercell, origin, rotation,
reflection or the order of atoms, and all are computed as 1 - k, which keeps its digits for near-twins.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from castile.errors import InputError
from castile.kernels.environments import (
    Environments,
    Float64Array,
    environment_dissimilarity,
    unit_gap,
)
from castile.kernels.transport import entropic_plan, optimal_transport_cost


@dataclass(frozen=True)
class StructureKernel(ABC):
    """How alike two structures are, between 0 and 1.

    Parameters
    ----------
    zeta : float
        Exponent of the environment kernel, at least 1.
    """

    zeta: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.zeta) and self.zeta >= 1.0):
            raise InputError(f"zeta = {self.zeta!r}: must be a number of at least 1")

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in options and manifests."""

    @abstractmethod
    def dissimilarity(
        self, a: Environments, b: Environments, scale_a: float | None = None, scale_b: float | None = None
    ) -> float:
        """Return 1 - k, at least 0; ``scale_*`` are values of :meth:`scale` where they are known."""

    def scale(self, a: Environments) -> float:
        """Return the similarity of a structure with itself before normalization."""
        return 1.0

    def dissimilarities(self, first: Sequence[Environments], second: Sequence[Environments]) -> Float64Array:
        """Return 1 - k of all pairs, (n_first, n_second); half of them where both are the same list."""
        scales = [self.scale(a) for a in first]
        same = second is first
        other = scales if same else [self.scale(b) for b in second]
        out = np.empty((len(first), len(second)))
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                known = same and j < i
                out[i, j] = out[j, i] if known else self.dissimilarity(a, b, scales[i], other[j])
        return out

    def similarity(self, a: Environments, b: Environments) -> float:
        """Return k."""
        return 1.0 - self.dissimilarity(a, b)

    def distance(self, a: Environments, b: Environments) -> float:
        """Return d = sqrt(2 - 2 k)."""
        return math.sqrt(2.0 * self.dissimilarity(a, b))

    def per_atom(self, a: Environments, b: Environments) -> Float64Array:
        """Return the similarity of every atom of a with every atom of b, (n_atoms_a, n_atoms_b)."""
        return 1.0 - environment_dissimilarity(a, b, self.zeta)


class AverageSOAPKernel(StructureKernel):
    r"""Kernel of the mean power spectra.

    .. math:: k = \left(\frac{\bar{\mathbf p} \cdot \bar{\mathbf p}'}{|\bar{\mathbf p}|\,|\bar{\mathbf
        p}'|}\right)^\zeta

    Elements count through the density channels of the descriptor.

    Source: De, Bartok, Csanyi, Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016), Sec. 2.2.
    """

    name = "average-soap"

    def dissimilarity(
        self, a: Environments, b: Environments, scale_a: float | None = None, scale_b: float | None = None
    ) -> float:
        """Return 1 - k."""
        mean_a, mean_b = a.mean, b.mean
        p, q = mean_a / np.linalg.norm(mean_a), mean_b / np.linalg.norm(mean_b)
        return _power_gap(float(unit_gap(p[None], q[None])[0, 0]), self.zeta)

    def dissimilarities(self, first: Sequence[Environments], second: Sequence[Environments]) -> Float64Array:
        """Return 1 - k of all pairs from one matrix product."""
        P, Q = (np.stack([a.mean for a in listed]) for listed in (first, second))
        gap = unit_gap(P / np.linalg.norm(P, axis=1)[:, None], Q / np.linalg.norm(Q, axis=1)[:, None])
        return -np.expm1(self.zeta * np.log1p(-np.minimum(gap, 1.0 - 1e-300)))


class AverageKernel(StructureKernel):
    r"""Mean of the environment kernels, normalized.

    .. math:: K = \frac{1}{n n'} \sum_{ij} k_{ij}, \qquad k = K(A, B) / \sqrt{K(A, A)\, K(B, B)}

    Source: De, Bartok, Csanyi, Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016), Eq. 12.
    """

    name = "average"

    def scale(self, a: Environments) -> float:
        """Return K(A, A)."""
        return float(1.0 - environment_dissimilarity(a, a, self.zeta).mean())

    def dissimilarity(
        self, a: Environments, b: Environments, scale_a: float | None = None, scale_b: float | None = None
    ) -> float:
        """Return 1 - k."""
        value = float(1.0 - environment_dissimilarity(a, b, self.zeta).mean())
        return _normalized_gap(self, value, a, b, scale_a, scale_b)


class BestMatchKernel(StructureKernel):
    r"""Mean kernel of the best assignment of the environments of one structure to those of the other.

    .. math:: k = \max_P \sum_{ij} P_{ij} k_{ij}, \qquad \sum_j P_{ij} = 1/n, \quad \sum_i P_{ij} = 1/n'

    With different numbers of atoms the weights are shared out (optimal transport), which is what an
    assignment between supercells of equal size gives.

    Source: De, Bartok, Csanyi, Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016), Eq. 15.
    """

    name = "best-match"

    def dissimilarity(
        self, a: Environments, b: Environments, scale_a: float | None = None, scale_b: float | None = None
    ) -> float:
        """Return 1 - k."""
        return max(0.0, optimal_transport_cost(environment_dissimilarity(a, b, self.zeta)))


@dataclass(frozen=True)
class REMatchKernel(StructureKernel):
    r"""Regularized-entropy match, between the best match (gamma -> 0) and the average (gamma -> infinity).

    .. math:: K = \sum_{ij} P_{ij} k_{ij}, \qquad P = \arg\min_P \sum_{ij} P_{ij} (1 - k_{ij})
        + \gamma \sum_{ij} P_{ij} \ln P_{ij}, \qquad k = K(A, B) / \sqrt{K(A, A)\, K(B, B)}

    Parameters
    ----------
    gamma : float
        Weight of the entropy, positive.

    Source: De, Bartok, Csanyi, Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016), Eqs. 17-19.
    """

    gamma: float = 0.02

    name = "rematch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.gamma) and self.gamma > 0.0):
            raise InputError(f"gamma = {self.gamma!r}: must be a positive number, for example 0.02")

    def unnormalized(self, a: Environments, b: Environments) -> float:
        """Return K(A, B)."""
        cost = environment_dissimilarity(a, b, self.zeta)
        return float(1.0 - np.sum(entropic_plan(cost, self.gamma).plan * cost))

    def scale(self, a: Environments) -> float:
        """Return K(A, A)."""
        return self.unnormalized(a, a)

    def dissimilarity(
        self, a: Environments, b: Environments, scale_a: float | None = None, scale_b: float | None = None
    ) -> float:
        """Return 1 - k."""
        return _normalized_gap(self, self.unnormalized(a, b), a, b, scale_a, scale_b)


class LargestKernel(StructureKernel):
    r"""Similarity of the most similar pair of environments.

    .. math:: k = \max_{ij} k_{ij}

    It is 1 for structures that share one environment, and no positive definite kernel: for audits, not for
    regression.
    """

    name = "largest"

    def dissimilarity(
        self, a: Environments, b: Environments, scale_a: float | None = None, scale_b: float | None = None
    ) -> float:
        """Return 1 - k."""
        return float(environment_dissimilarity(a, b, self.zeta).min())


KERNELS: tuple[type[StructureKernel], ...] = (
    BestMatchKernel,
    AverageSOAPKernel,
    AverageKernel,
    REMatchKernel,
    LargestKernel,
)
"""Every structure kernel."""


def make_structure_kernel(name: str, *, zeta: float = 1.0, gamma: float = 0.02) -> StructureKernel:
    """Return the kernel of that name; ``gamma`` is for "rematch" only.

    Raises
    ------
    InputError
        For an unknown name or a value out of range.
    """
    for kind in KERNELS:
        if kind.name == name:
            return REMatchKernel(zeta, gamma) if kind is REMatchKernel else kind(zeta)
    known = ", ".join(str(kind.name) for kind in KERNELS)
    raise InputError(f"kernel = {name!r}: give one of {known}")


def average_soap(a: Environments, b: Environments, zeta: float = 1.0) -> float:
    """Return the similarity of the mean power spectra; see :class:`AverageSOAPKernel`."""
    return AverageSOAPKernel(zeta).similarity(a, b)


def average(a: Environments, b: Environments, zeta: float = 1.0) -> float:
    """Return the normalized mean of the environment kernels; see :class:`AverageKernel`."""
    return AverageKernel(zeta).similarity(a, b)


def best_match(a: Environments, b: Environments, zeta: float = 1.0) -> float:
    """Return the similarity of the best assignment; see :class:`BestMatchKernel`."""
    return BestMatchKernel(zeta).similarity(a, b)


def rematch(a: Environments, b: Environments, zeta: float = 1.0, gamma: float = 0.02) -> float:
    """Return the regularized-entropy match; see :class:`REMatchKernel`."""
    return REMatchKernel(zeta, gamma).similarity(a, b)


def largest(a: Environments, b: Environments, zeta: float = 1.0) -> float:
    """Return the largest similarity of two environments; see :class:`LargestKernel`."""
    return LargestKernel(zeta).similarity(a, b)


def _power_gap(gap: float, zeta: float) -> float:
    """Return 1 - (1 - gap)^zeta without losing digits."""
    return 1.0 if gap >= 1.0 else -math.expm1(zeta * math.log1p(-gap))


def _normalized_gap(
    kernel: StructureKernel,
    value: float,
    a: Environments,
    b: Environments,
    scale_a: float | None,
    scale_b: float | None,
) -> float:
    """Return 1 - value / sqrt(K(A, A) K(B, B)), at least 0."""
    scale_a = kernel.scale(a) if scale_a is None else scale_a
    scale_b = kernel.scale(b) if scale_b is None else scale_b
    return max(0.0, 1.0 - value / math.sqrt(scale_a * scale_b))
