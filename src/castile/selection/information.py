"""Greedy choice of blocks of linear observations of one Gaussian process, each given those chosen before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

from castile.errors import InputError
from castile.selection.distances import IndexArray
from castile.selection.row_blocks import RowBlocks

Float64Array = NDArray[np.float64]


class PosteriorRoot:
    """Symmetric-product square root X of the posterior covariance of the weights, C = X X^T.

    Starts as a unit matrix (whitened weights). Observing rows B with unit noise, Z = B X, multiplies it by
    (1 + Z^T Z)^(-1/2) = 1 - Z^T U g(s) U^T Z with Z Z^T = U s U^T and
    g(s) = 1 / (sqrt(1 + s) (1 + sqrt(1 + s))): no inverse, no difference of large numbers.
    """

    def __init__(self, n_columns: int) -> None:
        self.matrix = np.eye(n_columns)

    @classmethod
    def given(cls, gram: ArrayLike) -> Self:
        """Return the root after rows A were observed, L^-T with L L^T = 1 + A^T A; ``gram`` is A^T A."""
        precision = np.array(gram, dtype=np.float64)
        precision[np.diag_indices_from(precision)] += 1.0
        root = cls(0)
        lower = cholesky(precision, lower=True)
        root.matrix = solve_triangular(lower, np.eye(len(lower)), trans="T", lower=True)
        return root

    def whiten(self, rows: Float64Array) -> Float64Array:
        """Return Z = B X, so that Z Z^T is the covariance of what the rows B observe, (b, n_columns)."""
        return rows @ self.matrix

    def shrink(self, whitened: Float64Array, other: Float64Array) -> Float64Array:
        """Return ``other`` (k, n_columns) times (1 + Z^T Z)^(-1/2)."""
        if len(whitened) == 0:
            return other.copy()
        return other - (other @ whitened.T) @ _shrinkage(whitened) @ whitened

    def observe(self, whitened: Float64Array) -> None:
        """Take up the observation of the block whose Z = B X is ``whitened``."""
        self.matrix = self.shrink(whitened, self.matrix)


def _shrinkage(whitened: Float64Array) -> Float64Array:
    squares, vectors = eigh(whitened @ whitened.T)
    roots = np.sqrt(1.0 + np.maximum(squares, 0.0))
    return (vectors / (roots * (1.0 + roots))) @ vectors.T


def information_gain(whitened: Float64Array) -> float:
    """Expected information of a block, 1/2 log|1 + Z Z^T| in nats; Z (b, n_columns) in units of its noise.

    Source: Lindley, Ann. Math. Stat. 27, 986 (1956); MacKay, Neural Comput. 4, 590 (1992).
    """
    rows, columns = whitened.shape
    if rows == 0:
        return 0.0
    gram = whitened @ whitened.T if rows <= columns else whitened.T @ whitened
    gram[np.diag_indices_from(gram)] += 1.0
    return float(np.sum(np.log(np.diagonal(cholesky(gram, lower=True, check_finite=False)))))


def repeated_information(whitened: Float64Array) -> float:
    """Expected information of a block that is observed a second time, 1/2 sum log(1 + s / (1 + s)) in nats.

    s are the eigenvalues of Z Z^T. A block that brings no more than this brings nothing but less noise.
    """
    if len(whitened) == 0:
        return 0.0
    squares = np.maximum(np.linalg.eigvalsh(whitened @ whitened.T), 0.0)
    return float(0.5 * np.sum(np.log1p(squares / (1.0 + squares))))


class Criterion(Protocol):
    """What a block is worth given what was observed before; never grows by more observations."""

    def value(self, whitened: Float64Array) -> float:
        """Return the worth of the block whose Z = B X is ``whitened``."""
        ...

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Take up an observation, before ``root`` does."""
        ...


class OwnInformation:
    """Expected information that a block has about the process: the largest predictive variance.

    For a block of one row it grows with the predictive variance in units of the noise, 1/2 log(1 + v / s^2):
    the greedy choice is the pivoted Cholesky factorization of the posterior covariance.
    """

    def value(self, whitened: Float64Array) -> float:
        """Return nats."""
        return information_gain(whitened)

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Nothing to do."""


class TargetVariance:
    """By how much observing a block lowers the summed variance tr(G C) of targets, G = sum_t a_t a_t^T.

    tr(G C) - tr(G C') = tr[(1 + Z Z^T)^-1 Z X^T G X Z^T].

    Arguments:
        metric: G, (n_columns, n_columns), in the columns of the blocks.

    Source: Cohn, Neural Netw. 9, 1071 (1996); Yu, Bi and Tresp, ICML (2006), Eq. 6 (transductive
    experimental design); Seo et al., IJCNN 3, 241 (2000) (both criteria for Gaussian processes).

    """

    def __init__(self, metric: ArrayLike) -> None:
        self.metric = np.array(metric, dtype=np.float64)

    @property
    def total(self) -> float:
        """Summed variance of the targets now."""
        return float(np.trace(self.metric))

    def value(self, whitened: Float64Array) -> float:
        """Return the decrease, in the unit of the metric."""
        if len(whitened) == 0:
            return 0.0
        precision = whitened @ whitened.T
        precision[np.diag_indices_from(precision)] += 1.0
        lower = cholesky(precision, lower=True, check_finite=False)
        half = solve_triangular(lower, whitened, lower=True, check_finite=False)
        return float(np.einsum("ij,ij->", half @ self.metric, half))

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Change the metric to the new whitened weights."""
        once = root.shrink(whitened, self.metric)
        self.metric = root.shrink(whitened, once.T)


@dataclass(frozen=True)
class GreedyChoice:
    """Blocks in the order in which they were chosen.

    ``indices`` (n,); ``values`` (n,): worth of each when it was chosen; ``n_evaluations``: blocks whose worth
    was computed after the first pass.
    """

    indices: IndexArray
    values: Float64Array
    n_evaluations: int


def greedy_blocks(
    blocks: RowBlocks,
    n_select: int,
    *,
    criterion: Criterion | None = None,
    root: PosteriorRoot | None = None,
    bounds: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    quotas: ArrayLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> GreedyChoice:
    """Choose the blocks of largest worth, one after the other, each given those before.

    Lazy: worths only fall, so the last known worth of a block is a bound, and only blocks whose bound is
    largest are computed again. For the information that is exact (it is submodular); for
    ``TargetVariance`` it is the usual approximation.

    Arguments:
        blocks: whitened rows in units of their noise.
        n_select: number of blocks; fewer are returned when there are fewer, or their quotas are.
        criterion: default ``OwnInformation``.
        root: what was observed before; changed by the choice. Default: nothing.
        bounds: (n,) numbers that no worth exceeds, which save the first evaluation of most blocks.
        strata: (n,) stratum 0, 1, ... of each block, with ``quotas``: how many of each may be chosen.
        progress: called with the number chosen.

    Raises InputError for a negative number, or strata that do not fit.

    Source: Minoux, in Optimization Techniques (1978), 234 (lazy greedy); Krause, Singh and Guestrin, J.
    Mach. Learn. Res. 9, 235 (2008) (information of Gaussian processes).

    """
    criterion = OwnInformation() if criterion is None else criterion
    root = PosteriorRoot(blocks.n_columns) if root is None else root
    n_blocks = len(blocks)
    members, room = _strata(n_blocks, n_select, strata, quotas)
    bounds = np.full(n_blocks, np.inf) if bounds is None else np.array(bounds, dtype=np.float64)
    n_evaluations, chosen, values = 0, list[int](), list[float]()
    bounds[room[members] == 0] = -np.inf
    while len(chosen) < min(n_select, n_blocks):
        best, whitened, n_computed = _best_block(blocks, criterion, root, bounds)
        n_evaluations += n_computed
        if bounds[best] == -np.inf:
            break
        criterion.observe(root, whitened)
        root.observe(whitened)
        chosen.append(best)
        values.append(float(bounds[best]))
        bounds[best] = -np.inf
        room[members[best]] -= 1
        if room[members[best]] == 0:
            bounds[members == members[best]] = -np.inf
        if progress is not None:
            progress(len(chosen))
    return GreedyChoice(np.array(chosen, dtype=np.int64), np.array(values), n_evaluations)


def _best_block(
    blocks: RowBlocks, criterion: Criterion, root: PosteriorRoot, bounds: Float64Array
) -> tuple[int, Float64Array, int]:
    """Block of the largest worth now, its Z, and how many worths were computed; ``bounds`` take them up."""
    computed = set[int]()
    while True:
        best = int(np.argmax(bounds))
        if bounds[best] == -np.inf:
            return best, np.empty((0, blocks.n_columns)), len(computed)
        whitened = root.whiten(blocks[best])
        if best in computed:
            return best, whitened, len(computed)
        bounds[best] = criterion.value(whitened)
        computed.add(best)


def _strata(
    n_blocks: int, n_select: int, strata: ArrayLike | None, quotas: ArrayLike | None
) -> tuple[IndexArray, IndexArray]:
    """Stratum of each block and room in each stratum; one stratum with room for all by default."""
    if n_select < 0:
        raise InputError(f"n_select is {n_select}; give 0 or more")
    if strata is None or quotas is None:
        return np.zeros(n_blocks, dtype=np.int64), np.array([max(n_select, 1)], dtype=np.int64)
    members, room = np.asarray(strata, dtype=np.int64), np.array(quotas, dtype=np.int64)
    if members.shape != (n_blocks,) or (n_blocks and not 0 <= members.min() <= members.max() < len(room)):
        raise InputError(
            f"strata of shape {members.shape} do not fit {n_blocks} blocks and {len(room)} quotas"
        )
    return members, room
