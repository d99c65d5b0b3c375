"""What a given split leaks: nearest training structures, duplicates, and what the errors owe to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.splits.assignment import assign_components
from castile.splits.dataset import ENERGY, Dataset
from castile.splits.kernel_ridge import mean_features, predict_out_of_sample
from castile.splits.search import find_components, find_nearest
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, SimilarityIndex, build_index
from castile.splits.splitters import checked_threshold
from castile.splits.threshold import ThresholdCurve, similarity_of, suggest_threshold

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]

EXACT_DISTANCE = 1e-5
N_BINS = 5
N_REPEATS = 5
LABEL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Nearest:
    """Nearest training structure of one tested structure."""

    structure: int
    neighbor: int
    similarity: float

    @property
    def distance(self) -> float:
        """D = sqrt(2 - 2 k)."""
        return float(np.sqrt(max(0.0, 2.0 - 2.0 * self.similarity)))


@dataclass(frozen=True)
class Contradiction:
    """Exact duplicates whose labels differ: structures and labels (energies in eV/atom)."""

    structure: int
    neighbor: int
    label: float
    other_label: float


@dataclass(frozen=True)
class ErrorBin:
    """Mean absolute error of tested structures whose distance to training is between two numbers."""

    low: float
    high: float
    n_structures: int
    mae: float


@dataclass(frozen=True)
class Optimism:
    """The same learner under the split that was audited, and under leak-proof ones of the same sizes.

    Attributes
    ----------
    target : str
    mae, rmse : float
        Of the audited split, in the unit of the target.
    leakproof_mae, leakproof_rmse : float
        Mean over the leak-proof splits.
    n_leakproof : int
        Number of leak-proof splits.
    leakproof_test_fraction : float
        Share of the structures that they test, on average.
    """

    target: str
    mae: float
    rmse: float
    leakproof_mae: float
    leakproof_rmse: float
    n_leakproof: int
    leakproof_test_fraction: float

    @property
    def factor(self) -> float:
        """How many times larger the leak-proof mean absolute error is."""
        return self.leakproof_mae / self.mae if self.mae > 0.0 else float("inf")


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes
    ----------
    index : SimilarityIndex
        Of all structures, training and test.
    folds : ndarray, shape (n_structures,)
        0 for training and 1 for test, or the fold of each structure.
    cross_validation : bool
        Whether ``folds`` are folds.
    threshold : float
    curve : ThresholdCurve or None
        If the threshold was suggested.
    nearest : tuple of Nearest
        Of every tested structure, most similar first.
    components : ndarray, shape (n_structures,)
        Of all structures together at the threshold.
    duplicates_within : tuple of int
        Structures beyond the first of each set of exact duplicates, within training and within test.
    near_within : tuple of int
        The same at the threshold.
    contradictions : tuple of Contradiction
    bins : tuple of ErrorBin
    optimism : Optimism or None
    """

    index: SimilarityIndex
    folds: IndexArray
    cross_validation: bool
    threshold: float
    curve: ThresholdCurve | None
    nearest: tuple[Nearest, ...]
    components: IndexArray
    duplicates_within: tuple[int, ...]
    near_within: tuple[int, ...]
    contradictions: tuple[Contradiction, ...]
    bins: tuple[ErrorBin, ...] = ()
    optimism: Optimism | None = None

    @property
    def leaks(self) -> tuple[Nearest, ...]:
        """Tested structures with a training structure above the threshold, most similar first."""
        return tuple(item for item in self.nearest if item.similarity > self.threshold)

    @property
    def n_exact_duplicates(self) -> int:
        """Tested structures that are also in training."""
        return sum(item.distance < EXACT_DISTANCE for item in self.nearest)

    def numbers(self) -> dict[str, object]:
        """Return flat numbers (docs: the page of ``castile audit``)."""
        found: dict[str, object] = {
            "n_structures": len(self.folds),
            "n_tested": len(self.nearest),
            "n_exact_duplicates": self.n_exact_duplicates,
            "n_contradicting_duplicates": len(self.contradictions),
            "n_leaks": len(self.leaks),
            "leak_fraction": len(self.leaks) / len(self.nearest),
            "max_cross_similarity": self.nearest[0].similarity,
            "median_cross_similarity": float(np.median([item.similarity for item in self.nearest])),
            "threshold": self.threshold,
            "threshold_suggested": self.curve is not None,
            "n_components": int(self.components.max()) + 1,
        }
        names = ("all",) if self.cross_validation else ("train", "test")
        for name, exact, near in zip(names, self.duplicates_within, self.near_within, strict=True):
            found |= {f"{name}/n_exact_duplicates": exact, f"{name}/n_redundant": near}
        if self.optimism is not None:
            found |= {
                "target_mae": self.optimism.mae,
                "target_rmse": self.optimism.rmse,
                "leakproof_mae": self.optimism.leakproof_mae,
                "leakproof_rmse": self.optimism.leakproof_rmse,
                "optimism_factor": self.optimism.factor,
            }
        return found


def audit(
    data: Dataset,
    folds: IndexArray,
    *,
    cross_validation: bool = False,
    threshold: float | None = None,
    settings: SimilaritySettings | None = None,
    target: str | None = None,
    errors: Float64Array | None = None,
    seed: int = 0,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit a split.

    Parameters
    ----------
    data : Dataset
        Training and test structures together.
    folds : ndarray, shape (n_structures,)
        0 for training and 1 for test; with ``cross_validation`` the fold of each structure, each of which is
        tested against all others.
    threshold : float, optional
        Similarity above which a pair is a leak; suggested from the data by default.
    settings : SimilaritySettings, optional
    target : str, optional
        "energy" (per atom) or an info key with numbers: learnt under this split and under leak-proof ones.
    errors : ndarray, shape (n_structures,), optional
        Absolute errors of a model, instead of those of the learner, for the error by similarity.
    seed : int

    Raises
    ------
    InputError
        If a side of the split is empty, or a threshold or target cannot be used.
    """
    folds = np.asarray(folds, dtype=np.int64)
    _check_folds(data, folds, cross_validation)
    index = build_index(data.table, settings, pool=pool, progress=progress, seed=seed)
    curve = None
    if threshold is None:
        curve = suggest_threshold(index, seed=seed, pool=pool, progress=progress)
        threshold = curve.threshold
    checked_threshold(threshold)
    nearest = _nearest(index, folds, cross_validation, pool, progress)
    components = find_components(index, threshold, pool=pool, progress=progress).labels
    exact = find_components(index, similarity_of(EXACT_DISTANCE), pool=pool).labels
    sides = [np.arange(len(folds))] if cross_validation else [np.flatnonzero(folds == k) for k in (0, 1)]
    optimism, learnt = None, None
    if target is not None:
        optimism, learnt = _optimism(data, index, folds, cross_validation, components, target, seed, progress)
    shown = learnt if errors is None else errors
    return Audit(
        index,
        folds,
        cross_validation,
        threshold,
        curve,
        nearest,
        components,
        tuple(len(side) - len(np.unique(exact[side])) for side in sides),
        tuple(len(side) - len(np.unique(components[side])) for side in sides),
        _contradictions(data, exact, target),
        () if shown is None else _bins(nearest, shown),
        optimism,
    )


def random_folds(n_structures: int, n_folds: int, seed: int = 0) -> IndexArray:
    """Return the fold of each structure (n_structures,), at random and of equal sizes.

    Raises
    ------
    InputError
        For fewer than two folds, or more than structures.
    """
    if not 2 <= n_folds <= n_structures:
        raise InputError(f"{n_folds} folds of {n_structures} structures: give 2 to {n_structures}")
    return np.random.default_rng(seed).permutation(np.arange(n_structures) % n_folds)


def _check_folds(data: Dataset, folds: IndexArray, cross_validation: bool) -> None:
    if folds.shape != (len(data),):
        raise InputError(f"folds have shape {folds.shape} for {len(data)} structures; give one for each")
    present = np.unique(folds)
    if len(present) < 2 or (not cross_validation and present.tolist() != [0, 1]):
        raise InputError("a split needs training structures and test structures, at least one of each")


def _pairs_of_sides(folds: IndexArray, cross_validation: bool) -> list[tuple[IndexArray, IndexArray]]:
    """(training, test) indices of every test of the split."""
    tested = np.unique(folds) if cross_validation else [1]
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in tested]


def _nearest(
    index: SimilarityIndex,
    folds: IndexArray,
    cross_validation: bool,
    pool: TaskPool | None,
    progress: Progress | None,
) -> tuple[Nearest, ...]:
    found: list[Nearest] = []
    for train, test in _pairs_of_sides(folds, cross_validation):
        result = find_nearest(index, test, train, pool=pool, progress=progress)
        found += [
            Nearest(int(s), int(n), float(k))
            for s, n, k in zip(result.structures, result.neighbors, result.similarities, strict=True)
        ]
    return tuple(sorted(found, key=lambda item: (-item.similarity, item.structure)))


def _contradictions(data: Dataset, exact: IndexArray, target: str | None) -> tuple[Contradiction, ...]:
    """Pairs of exact duplicates whose energies per atom, or targets, differ by more than the tolerance."""
    if target is not None and target != ENERGY:
        labels = data.target(target)
        tolerance = LABEL_TOLERANCE * float(np.std(labels))
    else:
        labels, tolerance = data.energies / data.table.n_atoms, LABEL_TOLERANCE
    first = np.unique(exact, return_index=True)[1]
    found = []
    for k in np.flatnonzero(first[exact] != np.arange(len(exact))):
        other = int(first[exact[k]])
        if abs(labels[k] - labels[other]) > tolerance:  # never where a label is absent (NaN)
            found.append(Contradiction(int(k), other, float(labels[k]), float(labels[other])))
    return tuple(found)


def _bins(nearest: tuple[Nearest, ...], errors: Float64Array) -> tuple[ErrorBin, ...]:
    """Errors in bins of equal numbers of structures, nearest first."""
    known = [item for item in nearest if np.isfinite(errors[item.structure])]
    parts = np.array_split(np.arange(len(known)), min(N_BINS, len(known)))
    bins = []
    for part in parts:
        members = [known[k] for k in part]
        mean = float(np.mean([errors[item.structure] for item in members]))
        bins.append(ErrorBin(members[0].distance, members[-1].distance, len(members), mean))
    return tuple(bins)


def _optimism(
    data: Dataset,
    index: SimilarityIndex,
    folds: IndexArray,
    cross_validation: bool,
    components: IndexArray,
    target: str,
    seed: int,
    progress: Progress | None,
) -> tuple[Optimism, Float64Array]:
    """The learner under both kinds of split, and its absolute errors under the audited one."""
    y = data.target(target)
    features = mean_features(data.table, index.settings, progress)

    def residuals(train: IndexArray, test: IndexArray) -> Float64Array:
        return predict_out_of_sample(features, y, train, test, seed=seed) - y[test]

    own = np.full(len(y), np.nan)
    for train, test in _pairs_of_sides(folds, cross_validation):
        own[test] = residuals(train, test)
    tested = own[np.isfinite(own)]
    proofs: list[Float64Array] = []
    n_splits, share = 0, 0.0
    if cross_validation:
        n_folds = len(np.unique(folds))
        fractions = np.full(n_folds, 1.0 / n_folds)
        parts = assign_components(components, fractions, seed=seed).parts
        proofs = [residuals(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(n_folds)]
        n_splits, share = 1, 1.0
    else:
        wanted = float((folds == 1).mean())
        for repeat in range(N_REPEATS):
            parts = assign_components(components, (1.0 - wanted, wanted), seed=seed + repeat).parts
            proofs.append(residuals(np.flatnonzero(parts == 0), np.flatnonzero(parts == 1)))
            share += float((parts == 1).mean()) / N_REPEATS
        n_splits = N_REPEATS
    proof = np.concatenate(proofs)
    optimism = Optimism(
        target,
        float(np.abs(tested).mean()),
        float(np.sqrt((tested**2).mean())),
        float(np.abs(proof).mean()),
        float(np.sqrt((proof**2).mean())),
        n_splits,
        share,
    )
    return optimism, np.abs(own)
