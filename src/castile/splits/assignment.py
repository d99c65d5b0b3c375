"""Whole components assigned to parts so that the parts have the wanted sizes and mixtures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]
_MOST_COMBINATIONS = 200_000
_SWEEPS, _SWAPS = 10, 20_000
_BINS = 10


@dataclass(frozen=True)
class Assignment:
    """Part of every structure, and how well the parts came out.

    Attributes
    ----------
    parts : ndarray, shape (n_structures,)
        Number of the part of each structure.
    wanted, reached : tuple of float
        Fractions of the structures.
    largest_component : int
        Structures of the largest component.
    """

    parts: IndexArray
    wanted: tuple[float, ...]
    reached: tuple[float, ...]
    largest_component: int

    @property
    def explanation(self) -> str:
        """What kept the fractions from being met, and what was done instead; empty when they are met."""
        n = len(self.parts)
        off = max(abs(w - r) for w, r in zip(self.wanted, self.reached, strict=True))
        if off * n <= 1.0:
            return ""
        share = self.largest_component / n
        reached = ", ".join(f"{fraction:.3g}" for fraction in self.reached)
        wanted = ", ".join(f"{fraction:.3g}" for fraction in self.wanted)
        cause = "components stay whole"
        if share > max(self.wanted):
            cause = f"one component has {self.largest_component} of {n} structures ({share:.1%})"
        return f"fractions {wanted} cannot be met because {cause}; the closest found is {reached}"


def checked_fractions(fractions: ArrayLike) -> Float64Array:
    """Return the fractions, scaled to add up to 1.

    Raises
    ------
    InputError
        For fewer than two, one that is not positive, or a sum that is not about 1.
    """
    values = np.asarray(fractions, dtype=np.float64).ravel()
    if len(values) < 2 or not np.isfinite(values).all() or (values <= 0.0).any():
        raise InputError(f"fractions = {values.tolist()}: give two or more positive numbers, such as 0.8 0.2")
    if abs(values.sum() - 1.0) > 1e-3:
        raise InputError(f"fractions {values.tolist()} add up to {values.sum():g}; they must add up to 1")
    return values / values.sum()


def assign_components(
    components: IndexArray, fractions: ArrayLike, *, strata: IndexArray | None = None, seed: int = 0
) -> Assignment:
    r"""Assign whole components to parts.

    Minimizes the squared deviations of the numbers of structures, in all and per stratum,

    .. math:: \sum_p \Bigl[(N_p - f_p N)^2 + \sum_s (N_{ps} - f_p N_s)^2 \Bigr],

    exactly where all combinations can be tried, else greedily from the largest component down, followed by
    moves and swaps. Equal input and seed give equal parts.

    Parameters
    ----------
    components : ndarray, shape (n_structures,)
        Component of each structure.
    fractions : array, shape (n_parts,)
    strata : ndarray, shape (n_structures,), optional
        Class of each structure whose mixture the parts shall share.
    seed : int

    Raises
    ------
    InputError
        For bad fractions, or fewer components than parts.
    """
    shares = checked_fractions(fractions)
    _, labels = np.unique(components, return_inverse=True)
    counts = _counts(labels, strata)
    largest = int(counts[:, 0].max())
    if len(labels) < len(shares):
        raise InputError(f"{len(labels)} structures cannot fill {len(shares)} parts: give fewer fractions")
    if len(counts) < len(shares):
        raise InputError(
            f"{len(labels)} structures form {len(counts)} component{'s' * (len(counts) > 1)}, the largest of "
            f"{largest} structures, so {len(shares)} parts cannot all be filled without a leak; the closest "
            f"possible outcome is {len(counts)} part{'s' * (len(counts) > 1)} of "
            f"{', '.join(str(int(c)) for c in np.sort(counts[:, 0])[::-1][:5])} structures. Choose a higher "
            "threshold, or a block split with a gap (--block-split)"
        )
    chosen = _best(counts, shares, np.random.default_rng(seed))
    parts = chosen[labels]
    reached = np.bincount(parts, minlength=len(shares)) / len(labels)
    return Assignment(parts, tuple(shares.tolist()), tuple(reached.tolist()), largest)


def make_strata(values: ArrayLike) -> IndexArray:
    """Return classes (n,) of labels: the labels where they repeat, ten quantiles of numbers that do not."""
    array = np.asarray(values)
    classes, codes = np.unique(array, return_inverse=True)
    if np.issubdtype(array.dtype, np.floating) and len(classes) > 2 * _BINS:
        edges = np.quantile(array.astype(np.float64), np.linspace(0.0, 1.0, _BINS + 1)[1:-1])
        return np.searchsorted(edges, array).astype(np.int64)
    return codes.astype(np.int64)


def _counts(labels: IndexArray, strata: IndexArray | None) -> Float64Array:
    """Structures of each component in all (first column) and in each stratum, (n_components, n_columns)."""
    total = np.bincount(labels).astype(np.float64)
    if strata is None:
        return total[:, None]
    n_strata = int(strata.max()) + 1
    table = np.zeros((len(total), n_strata))
    np.add.at(table, (labels, strata), 1.0)
    return np.column_stack([total, table])


def _best(counts: Float64Array, shares: Float64Array, generator: np.random.Generator) -> IndexArray:
    """Part of each component."""
    n_components, n_parts = len(counts), len(shares)
    targets = shares[:, None] * counts.sum(axis=0)
    order = generator.permutation(n_components)
    if n_parts**n_components <= _MOST_COMBINATIONS:
        chosen = np.empty(n_components, dtype=np.int64)
        chosen[order] = _exhaustive(counts[order], targets)
        return chosen
    order = order[np.argsort(-counts[order, 0], kind="stable")]
    chosen = np.zeros(n_components, dtype=np.int64)
    excess = -targets
    for component in order:
        row = counts[component]
        part = int(np.argmin((row * (2.0 * excess + row)).sum(axis=1)))
        chosen[component] = part
        excess[part] += row
    _fill_empty(chosen, counts, excess, order)
    _improve(chosen, counts, excess, generator)
    return chosen


def _exhaustive(counts: Float64Array, targets: Float64Array) -> IndexArray:
    """The best of all assignments that leave no part empty."""
    n_parts = len(targets)
    tried = np.array(list(product(range(n_parts), repeat=len(counts))), dtype=np.int64)
    deviation = np.zeros(len(tried))
    for part in range(n_parts):
        inside = tried == part
        deviation += ((inside @ counts - targets[part]) ** 2).sum(axis=1)
        deviation[~inside.any(axis=1)] = np.inf
    return tried[int(np.argmin(np.round(deviation, 9)))]


def _fill_empty(chosen: IndexArray, counts: Float64Array, excess: Float64Array, order: IndexArray) -> None:
    """Give every part that got nothing the smallest component of a part with several."""
    for part in range(len(excess)):
        if (chosen == part).any():
            continue
        sizes = np.bincount(chosen, minlength=len(excess))
        component = next(int(c) for c in order[::-1] if sizes[chosen[c]] > 1)
        excess[chosen[component]] -= counts[component]
        excess[part] += counts[component]
        chosen[component] = part


def _improve(
    chosen: IndexArray, counts: Float64Array, excess: Float64Array, generator: np.random.Generator
) -> None:
    """Move components, and swap two, as long as the deviation falls."""
    members = np.bincount(chosen, minlength=len(excess))
    for _ in range(_SWEEPS):
        moved = False
        for component in generator.permutation(len(counts))[:_SWAPS]:
            row, old = counts[component], chosen[component]
            if members[old] == 1:
                continue
            gain = (row * (2.0 * excess + row)).sum(axis=1)
            gain[old] = 0.0
            gain += (row * (row - 2.0 * excess[old])).sum() * (np.arange(len(excess)) != old)
            new = int(np.argmin(gain))
            if gain[new] < -1e-9:
                excess[old] -= row
                excess[new] += row
                members[old] -= 1
                members[new] += 1
                chosen[component] = new
                moved = True
        if not moved:
            break
    for a, b in generator.integers(len(counts), size=(_SWAPS, 2)):
        p, q = chosen[a], chosen[b]
        change = counts[b] - counts[a]
        if p != q and (change * (2.0 * (excess[p] - excess[q]) + 2.0 * change)).sum() < -1e-9:
            excess[p] += change
            excess[q] -= change
            chosen[a], chosen[b] = q, p
