"""Whether candidates are similar: bounds from few coordinates, the kernel itself where they leave it open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.descriptors.soap import SOAP
from castile.kernels.environments import Environments, describe_environments, unit_gap
from castile.kernels.structure_kernels import StructureKernel
from castile.kernels.transport import optimal_plan
from castile.splits.compression import Float64Array
from castile.splits.structure_table import StructureTable

IndexArray = NDArray[np.int64]
_CACHED_NUMBERS = 16_000_000  # of descriptors kept in memory by a describer
_SLACK = 1e-12


class Describer:
    """Environments of the structures of a table, the last ones kept in memory."""

    def __init__(self, table: StructureTable, descriptor: SOAP) -> None:
        self.table = table
        self.descriptor = descriptor
        self._known: OrderedDict[int, Environments] = OrderedDict()
        self._size = 0

    def environments(self, index: int) -> Environments:
        """Return the environments of structure ``index``."""
        found = self._known.get(index)
        if found is None:
            found = describe_environments(self.descriptor, [self.table.atoms(index)])[0]
            self._known[index] = found
            self._size += found.features.size
            while self._size > _CACHED_NUMBERS and len(self._known) > 2:
                try:
                    self._size -= self._known.popitem(last=False)[1].features.size
                except KeyError:  # another thread was faster
                    break
        return found

    def __getstate__(self) -> tuple[StructureTable, SOAP]:
        """Without what is cached."""
        return self.table, self.descriptor

    def __setstate__(self, state: tuple[StructureTable, SOAP]) -> None:
        self.__init__(*state)  # type: ignore[misc]


@dataclass(frozen=True)
class Verifier(ABC):
    """Dissimilarities 1 - k of pairs of rows.

    Parameters
    ----------
    kernel : StructureKernel
    describer : Describer or None
        None where the rows are no structures.
    owner : ndarray, shape (n_rows,)
        Structure of each row.
    """

    kernel: StructureKernel
    describer: Describer | None
    owner: IndexArray

    batch = 32
    """Pairs that are looked at together."""

    @abstractmethod
    def bounds(
        self, rows: IndexArray, others: IndexArray, limit: float = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return (least, largest) possible 1 - k of pairs of rows, (n_pairs,) each.

        Pairs whose least value exceeds ``limit`` may have wider bounds than necessary.
        """

    def exact(self, structure: int, other: int) -> float:
        """Return 1 - k of two structures."""
        assert self.describer is not None
        first, second = sorted((int(structure), int(other)))
        return self.kernel.dissimilarity(
            self.describer.environments(first), self.describer.environments(second)
        )

    def reach(self, gap: ArrayLike) -> Float64Array:
        """Return the squared distance of points beyond which 1 - k is larger than ``gap`` with certainty."""
        return 2.0 * np.minimum(gap, 1.0) + _SLACK


@dataclass(frozen=True)
class PointVerifier(Verifier):
    """Kernels that are a power of the product of two unit vectors, whose points are their coordinates.

    ``points`` (n_rows, n_kept + 1): coordinates, and last the length of the rest. ``numbers`` (n_rows,): rows
    of different numbers are never similar.
    """

    points: Float64Array = field(default_factory=lambda: np.empty((0, 1)))
    numbers: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, dtype=np.uint8))

    batch = 8192

    def bounds(
        self, rows: IndexArray, others: IndexArray, limit: float = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return the bounds from the coordinates."""
        first, second = self.points[rows], self.points[others]
        difference = first[:, :-1] - second[:, :-1]
        squared = np.einsum("pd,pd->p", difference, difference)
        low = squared + (first[:, -1] - second[:, -1]) ** 2 - _SLACK
        high = squared + (first[:, -1] + second[:, -1]) ** 2 + _SLACK
        apart = self.numbers[rows] != self.numbers[others]
        return self._gap(low, apart), self._gap(high, apart)

    def _gap(self, squared: Float64Array, apart: NDArray[np.bool_]) -> Float64Array:
        cosine = np.clip(1.0 - 0.5 * squared, 1e-300, 1.0)
        return np.where(apart, 1.0, -np.expm1(self.kernel.zeta * np.log(cosine)))

    def reach(self, gap: ArrayLike) -> Float64Array:
        """Return the squared distance of points whose 1 - k is ``gap``."""
        similarity = np.maximum(1.0 - np.asarray(gap, dtype=np.float64), 0.0)
        return 2.0 * (1.0 - similarity ** (1.0 / self.kernel.zeta)) + _SLACK


@dataclass(frozen=True)
class VectorVerifier(PointVerifier):
    """Unit ``rows`` (n_rows, n_features) that were given."""

    rows: Float64Array = field(default_factory=lambda: np.empty((0, 0)))

    def exact(self, structure: int, other: int) -> float:
        """Return 1 - k of two rows."""
        return float(unit_gap(self.rows[structure][None], self.rows[other][None])[0, 0])


@dataclass(frozen=True)
class MatchVerifier(Verifier):
    """Best match, from coordinates of the environments in single precision.

    ``coordinates`` (n_atoms, n_kept) and ``remainders`` (n_atoms,) of all atoms of the table.
    """

    coordinates: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    remainders: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def bounds(
        self, rows: IndexArray, others: IndexArray, limit: float = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return the bounds from an assignment."""
        pairs = [self._pair(int(i), int(j), limit) for i, j in zip(rows, others, strict=True)]
        low, high = np.array(pairs).reshape(-1, 2).T
        return low, high

    def _pair(self, i: int, j: int, limit: float) -> tuple[float, float]:
        assert self.describer is not None
        table = self.describer.table
        a, b = (slice(table.first[s], table.first[s + 1]) for s in (i, j))
        y, x = self.coordinates[a].astype(np.float64), self.coordinates[b].astype(np.float64)
        norms, other_norms = np.einsum("id,id->i", y, y), np.einsum("id,id->i", x, x)
        scale = norms[:, None] + other_norms[None, :]
        squared = np.maximum(scale - 2.0 * (y @ x.T), 0.0)
        lengths = np.sqrt(squared)
        rounding = 2.0**-23 * np.sqrt(scale) + 1e-15 * scale / np.maximum(lengths, 1e-8)
        r, s = self.remainders[a].astype(np.float64)[:, None], self.remainders[b].astype(np.float64)[None, :]
        low = np.maximum(lengths - rounding, 0.0) ** 2 + np.maximum(np.abs(r - s) - 1e-7, 0.0) ** 2
        high = (lengths + rounding) ** 2 + (r + s + 1e-7) ** 2
        apart = table.numbers[a][:, None] != table.numbers[b][None, :]
        cost = self._gap(low, apart)
        relaxed = max(float(cost.min(axis=0).mean()), float(cost.min(axis=1).mean()))
        if relaxed - _SLACK > limit:  # not even when an environment may be matched again and again
            return relaxed - _SLACK, 1.0
        rows, columns, weights = optimal_plan(cost)
        least = weights @ cost[rows, columns]
        largest = weights @ self._gap(high, apart)[rows, columns]
        return float(least) - _SLACK, float(largest) + _SLACK

    def _gap(self, squared: Float64Array, apart: NDArray[np.bool_]) -> Float64Array:
        cosine = np.clip(1.0 - 0.5 * squared, 1e-300, 1.0)
        return np.where(apart, 1.0, -np.expm1(self.kernel.zeta * np.log(cosine)))


@dataclass(frozen=True)
class ExactVerifier(Verifier):
    """Kernels without cheap bounds; ``smallest_scale`` is the least similarity of a structure with itself
    before normalization.
    """

    smallest_scale: float = 1.0

    def bounds(
        self, rows: IndexArray, others: IndexArray, limit: float = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return the kernel twice."""
        values = np.array([self.exact(int(i), int(j)) for i, j in zip(rows, others, strict=True)])
        return values, values

    def reach(self, gap: ArrayLike) -> Float64Array:
        """Return the squared distance: k is at most that of the best match over the smallest scale."""
        similarity = np.maximum(1.0 - np.asarray(gap, dtype=np.float64), 0.0)
        return 2.0 * (1.0 - similarity * self.smallest_scale) + _SLACK
