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
_BATCH_NUMBERS = 50_000  # entries of cost matrices that are formed together


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
    staged = False
    """Whether bounds below the limit cost much more than others."""

    @abstractmethod
    def bounds(
        self, rows: IndexArray, others: IndexArray, limit: ArrayLike = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return (least, largest) possible 1 - k of pairs of rows, (n_pairs,) each.

        Pairs whose least value exceeds their ``limit`` (one, or one for each) may have wider bounds than
        necessary.
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
        self, rows: IndexArray, others: IndexArray, limit: ArrayLike = np.inf
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

    batch = 256
    staged = True

    coordinates: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    remainders: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def bounds(
        self, rows: IndexArray, others: IndexArray, limit: ArrayLike = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return the bounds, from an assignment where a relaxed one does not exceed the limit."""
        assert self.describer is not None
        counts, composition = self.describer.table.n_atoms, self.describer.table.composition
        limits = np.broadcast_to(np.asarray(limit, dtype=np.float64), rows.shape)
        # what has no counterpart of its element is matched with k = 0
        low = 1.0 - np.minimum(composition[rows], composition[others]).sum(axis=1) - _SLACK
        high = np.ones(len(rows))
        sizes = counts[rows] * 100_000 + counts[others]
        hopeful = low <= limits
        for size in np.unique(sizes[hopeful]):
            alike = np.flatnonzero((sizes == size) & hopeful)
            step = max(1, _BATCH_NUMBERS // max(1, int(counts[rows[alike[0]]] * counts[others[alike[0]]])))
            for begin in range(0, len(alike), step):
                some = alike[begin : begin + step]
                low[some], high[some] = self._bounds_of_equal_sizes(rows[some], others[some], limits[some])
        return low, high

    def _bounds_of_equal_sizes(
        self, rows: IndexArray, others: IndexArray, limits: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Bounds of pairs that all have the same two numbers of atoms."""
        least, largest = self._costs(rows, others)
        # not even when an environment may be matched again and again
        low = np.maximum(least.min(axis=1).mean(axis=1), least.min(axis=2).mean(axis=1))
        high = np.ones(len(rows))
        for k in np.flatnonzero(low - _SLACK <= limits):
            i, j, weights = optimal_plan(least[k])
            low[k] = weights @ least[k][i, j]
            high[k] = weights @ largest[k][i, j] + _SLACK
        return low - _SLACK, high

    def _costs(self, rows: IndexArray, others: IndexArray) -> tuple[Float64Array, Float64Array]:
        """Least and largest 1 - k of all environments of pairs of structures, (n_pairs, n, m) each."""
        assert self.describer is not None
        table = self.describer.table
        a, b = (table.first[which][:, None] + np.arange(table.n_atoms[which[0]]) for which in (rows, others))
        y, x = self.coordinates[a].astype(np.float64), self.coordinates[b].astype(np.float64)
        scale = np.einsum("pid,pid->pi", y, y)[:, :, None] + np.einsum("pjd,pjd->pj", x, x)[:, None, :]
        lengths = np.sqrt(np.maximum(scale - 2.0 * (y @ x.transpose(0, 2, 1)), 0.0))
        rounding = 2.0**-23 * np.sqrt(scale) + 1e-15 * scale / np.maximum(lengths, 1e-8)
        r = self.remainders[a].astype(np.float64)[:, :, None]
        s = self.remainders[b].astype(np.float64)[:, None, :]
        low = np.maximum(lengths - rounding, 0.0) ** 2 + np.maximum(np.abs(r - s) - 1e-7, 0.0) ** 2
        high = (lengths + rounding) ** 2 + (r + s + 1e-7) ** 2
        apart = table.numbers[a][:, :, None] != table.numbers[b][:, None, :]
        return self._gap(low, apart), self._gap(high, apart)

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
        self, rows: IndexArray, others: IndexArray, limit: ArrayLike = np.inf
    ) -> tuple[Float64Array, Float64Array]:
        """Return the kernel twice."""
        values = np.array([self.exact(int(i), int(j)) for i, j in zip(rows, others, strict=True)])
        return values, values

    def reach(self, gap: ArrayLike) -> Float64Array:
        """Return the squared distance: k is at most that of the best match over the smallest scale."""
        similarity = np.maximum(1.0 - np.asarray(gap, dtype=np.float64), 0.0)
        return 2.0 * (1.0 - similarity * self.smallest_scale) + _SLACK
