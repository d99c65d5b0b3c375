"""What a given split leaks: nearest training structures, duplicates, and what the errors owe to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.kernels.structure_kernels import BestMatchKernel, LargestKernel
from castile.splits.audit_result import Audit, Contradiction, Nearest
from castile.splits.dataset import ENERGY, Dataset
from castile.splits.folds import tested_sides
from castile.splits.nearest import find_nearest
from castile.splits.optimism import kernel_ridge_residuals
from castile.splits.search import find_components
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, SimilarityIndex, build_index
from castile.splits.splitters import checked_threshold
from castile.splits.threshold import RATTLES, similarity_of, suggest_threshold

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]

EXACT_DISTANCE = 1e-5
LABEL_TOLERANCE = 1e-3


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
