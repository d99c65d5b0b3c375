"""Cross-validation of barrier models: random folds, folds without near-twins, folds without one's family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold

from castile.barriers.features import PathFeatures
from castile.barriers.host_groups import FAMILY_SIMILARITY, host_families, twin_groups
from castile.barriers.model import BarrierModel, BarrierPrediction
from castile.barriers.near_twins import TWIN_SIMILARITY
from castile.barriers.path import MigrationPath
from castile.barriers.scores import BarrierScores, score
from castile.errors import InputError
from castile.splits.assignment import assign_components

Folds = Literal["random", "leak-proof", "families"]
IndexArray = NDArray[np.int64]


class TooFewGroupsError(InputError):
    """The groups of paths that stay together are fewer than the folds."""


@dataclass(frozen=True)
class CrossValidation:
    """Every path predicted by a model that has not seen its fold.

    Attributes
    ----------
    kind : str
        "random", "leak-proof" or "families".
    seed : int
    barriers : ndarray, shape (n_paths,)
        eV.
    prediction : BarrierPrediction
        In the order of the paths.
    scores : BarrierScores
    n_groups : int
        Number of groups of paths that stayed together.
    """

    kind: Folds
    seed: int
    barriers: NDArray[np.float64]
    prediction: BarrierPrediction
    scores: BarrierScores
    n_groups: int


def cross_validate(
    model: BarrierModel,
    paths: Sequence[MigrationPath],
    features: PathFeatures,
    *,
    folds: Folds = "random",
    similarity: float | None = None,
    n_folds: int = 10,
    seed: int = 0,
    threshold: float = 0.5,
    advance: Callable[[], None] | None = None,
) -> CrossValidation:
    """Fit on all folds but one, hyper-parameters and intervals included, and predict that one, in turn.

    Arguments:
        model: settings; it is not changed.
        paths: with barriers.
        features: of the paths, from ``model.featurize``.
        folds: "random"; "leak-proof": paths through hosts of one composition (without the moving element)
            stay together, and so do near-twins, paths that agree in elements and positions
            (:func:`castile.barriers.near_twins.twin_similarities`); or "families": paths stay together
            whose SOAP vectors are alike in the channels of the model, which all elements share, so that
            whole families of structures are unknown to the model that predicts them.
        similarity: above which two paths stay together; 0.99 for near-twins, 0.999 for families.
        n_folds: number of folds.
        seed: of the shuffling.
        threshold: eV, for the classification.
        advance: called after each fold.

    Raises InputError when there are fewer paths than folds, or a barrier is missing.

    """
    if len(paths) < max(n_folds, 6):
        raise InputError(
            f"{len(paths)} paths are too few for {n_folds} folds; give fewer --folds or more paths"
        )
    barriers = np.array([np.nan if path.barrier is None else path.barrier for path in paths])
    columns = [np.full(len(paths), np.nan) for _ in range(6)]
    pairs, n_groups = _folds(model, paths, features, folds, n_folds, seed, similarity)
    for train, test in pairs:
        fold = clone(model).fit_features(features.take(train), [paths[i] for i in train])
        predicted = fold.predict_features(features.take(test))
        values = (predicted.barrier, predicted.median, predicted.std, predicted.lower, predicted.upper)
        for column, value in zip(columns, (*values, predicted.extrapolation_grade), strict=True):
            column[test] = value
        if advance is not None:
            advance()
    prediction = BarrierPrediction(
        columns[0], columns[1], columns[2], columns[3], columns[4], model.coverage, columns[5]
    )
    return CrossValidation(
        folds, seed, barriers, prediction, score(barriers, prediction, threshold), n_groups
    )


def _folds(
    model: BarrierModel,
    paths: Sequence[MigrationPath],
    features: PathFeatures,
    kind: Folds,
    n_folds: int,
    seed: int,
    similarity: float | None,
) -> tuple[Iterator[tuple[IndexArray, IndexArray]], int]:
    """Training and test rows of each fold, and the number of groups that stay together."""
    if kind == "random":
        return KFold(n_folds, shuffle=True, random_state=seed).split(np.arange(len(paths))), len(paths)
    if kind == "leak-proof":
        prepared = [model.prepare(path) for path in paths]
        groups = twin_groups(prepared, TWIN_SIMILARITY if similarity is None else similarity)
    elif kind == "families":
        groups = host_families(paths, features, FAMILY_SIMILARITY if similarity is None else similarity)
    else:
        raise InputError(f"folds = {kind!r}: give 'random', 'leak-proof' or 'families'")
    n_groups = len(np.unique(groups))
    if n_groups < n_folds:
        raise TooFewGroupsError(
            f"{kind} folds: the paths fall into {n_groups} groups that stay together, too few for {n_folds} "
            "folds; give fewer folds, or a higher similarity"
        )
    parts = assign_components(groups, np.full(n_folds, 1.0 / n_folds), seed=seed).parts
    return ((np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(n_folds)), n_groups
