"""What a given split leaks: nearest training structures, duplicates, and what the errors owe to them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.kernels.structure_kernels import BestMatchKernel, LargestKernel
from castile.splits.dataset import ENERGY, Dataset
from castile.splits.folds import tested_sides
from castile.splits.nearest import find_nearest
from castile.splits.optimism import (
    N_REPEATS,
    Optimism,
    Residuals,
    errors_of_split,
    kernel_ridge_residuals,
    measure_optimism,
)
from castile.splits.search import find_components
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, SimilarityIndex, build_index
from castile.splits.splitters import checked_threshold
from castile.splits.threshold import RATTLES, ThresholdCurve, similarity_of, suggest_threshold

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]

EXACT_DISTANCE = 1e-5
N_BINS = 5
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
    exact : ndarray, shape (n_structures,)
        Equal for exact duplicates.
    duplicates_within : tuple of int
        Structures beyond the first of each set of exact duplicates, within training and within test.
    near_within : tuple of int
        The same at the threshold.
    contradictions : tuple of Contradiction
    bins : tuple of ErrorBin
    optimism : Optimism or None
    n_skipped : int
        Structures of the data that were left out because they cannot be used.
    remarks : tuple of str
        What could not be found out, and why.
    """

    index: SimilarityIndex
    folds: IndexArray
    cross_validation: bool
    threshold: float
    curve: ThresholdCurve | None
    nearest: tuple[Nearest, ...]
    components: IndexArray
    exact: IndexArray
    duplicates_within: tuple[int, ...]
    near_within: tuple[int, ...]
    contradictions: tuple[Contradiction, ...]
    bins: tuple[ErrorBin, ...] = ()
    optimism: Optimism | None = None
    n_skipped: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def leaks(self) -> tuple[Nearest, ...]:
        """Tested structures with a training structure above the threshold, most similar first."""
        return tuple(item for item in self.nearest if item.similarity > self.threshold)

    @property
    def n_exact_duplicates(self) -> int:
        """Tested structures that are also in training."""
        sides = tested_sides(self.folds, self.cross_validation)
        return sum(int(np.isin(self.exact[test], self.exact[train]).sum()) for train, test in sides)

    def with_errors(self, errors: Float64Array) -> Audit:
        """Return this audit with the errors (n_structures,) of a model, NaN where unknown, by distance."""
        return replace(self, bins=_bins(self.nearest, np.abs(errors)))

    def with_learner(
        self, residuals: Residuals, target: str, *, seed: int = 0, n_repeats: int = N_REPEATS
    ) -> Audit:
        """Return this audit with the errors of a learner by distance, and how optimistic the split is.

        Arguments as for :func:`castile.splits.optimism.measure_optimism`. Where there are too few components
        for a leak-proof split, ``remarks`` says so.
        """
        errors = errors_of_split(residuals, self.folds, self.cross_validation)
        found = self.with_errors(errors)
        try:
            optimism = measure_optimism(
                residuals, errors, self.folds, self.cross_validation, self.components, target,
                seed=seed, n_repeats=n_repeats,
            )  # fmt: skip
        except InputError as error:
            text = f"how optimistic the split is cannot be said, as there is no leak-proof one: {error}"
            return replace(found, remarks=(*found.remarks, text))
        return replace(found, optimism=optimism)

    def numbers(self) -> dict[str, object]:
        """Return flat numbers (docs: the page of ``castile audit``)."""
        found: dict[str, object] = {
            "n_structures": len(self.folds),
            "n_skipped": self.n_skipped,
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
                "leakproof_test_fraction": self.optimism.leakproof_test_fraction,
            }
            if np.isfinite(self.optimism.factor):
                found["optimism_factor"] = self.optimism.factor
        return found


def audit(
    data: Dataset,
    folds: IndexArray,
    *,
    cross_validation: bool = False,
    threshold: float | None = None,
    settings: SimilaritySettings | None = None,
    rattle: float = RATTLES[0],
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
    rattle : float
        Displacements that are no difference when the threshold is suggested, Angstrom.
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
    folds = _checked_folds(data, folds, cross_validation)
    if target is not None:
        data.target(target)
    index = build_index(data.table, settings, pool=pool, progress=progress, seed=seed)
    curve = None
    if threshold is None:
        curve = suggest_threshold(index, amplitude=rattle, seed=seed, pool=pool, progress=progress)
        threshold = curve.threshold
    checked_threshold(threshold)
    components = find_components(index, threshold, pool=pool, progress=progress).labels
    exact = _exact_duplicates(index, pool)
    found = Audit(
        index, folds, cross_validation, threshold, curve,
        _nearest(index, folds, cross_validation, pool, progress), components, exact,
        _repeated(exact, folds, cross_validation), _repeated(components, folds, cross_validation),
        _contradictions(data, exact, target), n_skipped=len(data.skipped),
    )  # fmt: skip
    if target is not None:
        residuals = kernel_ridge_residuals(data, index, target, seed, progress)
        found = found.with_learner(residuals, target, seed=seed)
    return found if errors is None else found.with_errors(errors)


def _exact_duplicates(index: SimilarityIndex, pool: TaskPool | None) -> IndexArray:
    """Labels (n_structures,) that exact duplicates share; one common environment makes none."""
    if index.settings.kernel == LargestKernel.name:
        assert index.table is not None
        index = build_index(index.table, replace(index.settings, kernel=BestMatchKernel.name), pool=pool)
    return find_components(index, similarity_of(EXACT_DISTANCE), pool=pool).labels


def _repeated(labels: IndexArray, folds: IndexArray, cross_validation: bool) -> tuple[int, ...]:
    """Structures beyond the first of each label, within each side (all structures for folds)."""
    sides = [np.arange(len(folds))] if cross_validation else [np.flatnonzero(folds == k) for k in (0, 1)]
    return tuple(len(side) - len(np.unique(labels[side])) for side in sides)


def _checked_folds(data: Dataset, folds: IndexArray, cross_validation: bool) -> IndexArray:
    """The folds, one for each structure, with something to train on and something to test."""
    folds = np.asarray(folds, dtype=np.int64)
    if folds.shape != (len(data),):
        raise InputError(f"folds have shape {folds.shape} for {len(data)} structures; give one for each")
    present = np.unique(folds)
    if len(present) < 2 or (not cross_validation and present.tolist() != [0, 1]):
        raise InputError("a split needs training structures and test structures, at least one of each")
    return folds


def _nearest(
    index: SimilarityIndex,
    folds: IndexArray,
    cross_validation: bool,
    pool: TaskPool | None,
    progress: Progress | None,
) -> tuple[Nearest, ...]:
    """Nearest training structure of every tested one, most similar first."""
    found: list[Nearest] = []
    for train, test in tested_sides(folds, cross_validation):
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
