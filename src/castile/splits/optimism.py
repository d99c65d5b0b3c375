"""How optimistic a split is: the same learner under it, and under splits that do not leak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.splits.assignment import assign_components
from castile.splits.dataset import Dataset
from castile.splits.folds import tested_sides
from castile.splits.kernel_ridge import mean_features, predict_out_of_sample
from castile.splits.similarity_index import Progress, SimilarityIndex

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]
Residuals = Callable[[IndexArray, IndexArray], Float64Array]
N_REPEATS = 5


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


def kernel_ridge_residuals(
    data: Dataset, index: SimilarityIndex, target: str, seed: int = 0, progress: Progress | None = None
) -> Residuals:
    """Return a function of (train, test) indices: errors of kernel ridge regression of a target on test.

    Raises
    ------
    InputError
        If a structure has no finite number under ``target``; it is named.
    """
    y = data.target(target)
    features = mean_features(data.table, index.settings, progress)

    def residuals(train: IndexArray, test: IndexArray) -> Float64Array:
        """Predicted minus given values."""
        return predict_out_of_sample(features, y, train, test, seed=seed) - y[test]

    return residuals


def errors_of_split(residuals: Residuals, folds: IndexArray, cross_validation: bool) -> Float64Array:
    """Return the error of each structure (n_structures,) under a split; NaN where it is not tested."""
    errors = np.full(len(folds), np.nan)
    for train, test in tested_sides(folds, cross_validation):
        errors[test] = residuals(train, test)
    return errors


def measure_optimism(
    residuals: Residuals,
    errors: Float64Array,
    folds: IndexArray,
    cross_validation: bool,
    components: IndexArray,
    target: str,
    *,
    seed: int = 0,
    n_repeats: int = N_REPEATS,
) -> Optimism:
    """Compare the errors of a split with those of the same learner when nothing leaks.

    Parameters
    ----------
    residuals : callable
        (train, test) indices -> errors of the learner on test.
    errors : ndarray, shape (n_structures,)
        Of :func:`errors_of_split`.
    folds, cross_validation
        As for :func:`castile.splits.audit.audit`.
    components : ndarray, shape (n_structures,)
        Structures of one component stay together in the leak-proof splits.
    target : str
        What is learnt.
    seed, n_repeats : int
        Leak-proof splits of the same sizes as the audited one, with the seeds from ``seed`` on; for folds one
        set of as many leak-proof folds.

    Raises
    ------
    InputError
        If there are too few components for a leak-proof split.
    """
    parts = list(_leakproof_parts(folds, cross_validation, components, seed, n_repeats))
    sides = [side for each in parts for side in tested_sides(each, cross_validation)]
    proof = np.concatenate([residuals(train, test) for train, test in sides])
    tested = errors[np.isfinite(errors)]
    return Optimism(
        target,
        float(np.abs(tested).mean()),
        float(np.sqrt((tested**2).mean())),
        float(np.abs(proof).mean()),
        float(np.sqrt((proof**2).mean())),
        len(parts),
        sum(len(test) for _, test in sides) / (len(folds) * len(parts)),
    )


def _leakproof_parts(
    folds: IndexArray, cross_validation: bool, components: IndexArray, seed: int, n_repeats: int
) -> Iterator[IndexArray]:
    """Leak-proof folds, or sides (1: test) of the same sizes."""
    if cross_validation:
        n_folds = len(np.unique(folds))
        yield assign_components(components, np.full(n_folds, 1.0 / n_folds), seed=seed).parts
        return
    wanted = float((folds == 1).mean())
    for repeat in range(n_repeats):
        yield assign_components(components, (1.0 - wanted, wanted), seed=seed + repeat).parts
