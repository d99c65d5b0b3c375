"""Cross-validation of barrier models: random folds beside folds that share neither host nor likeness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold

from castile.barriers.features import PathFeatures
from castile.barriers.host_groups import SIMILARITY, host_formulas
from castile.barriers.model import BarrierModel, BarrierPrediction
from castile.barriers.path import MigrationPath
from castile.barriers.scores import BarrierScores, score
from castile.errors import InputError
from castile.splits import LeakproofKFold

Folds = Literal["random", "leak-proof"]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class CrossValidation:
    """Every path predicted by a model that has not seen its fold.

    Attributes
    ----------
    kind : str
        "random" or "leak-proof".
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
    similarity: float = SIMILARITY,
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
        folds: "random"; or "leak-proof": paths through hosts of one composition (without the moving element),
            and paths with similar SOAP vectors, stay together.
        similarity: product of the unit SOAP vectors above which two paths stay together.
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
    pairs, n_groups = _folds(paths, features, barriers, folds, n_folds, seed, similarity)
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
    paths: Sequence[MigrationPath],
    features: PathFeatures,
    barriers: NDArray[np.float64],
    kind: Folds,
    n_folds: int,
    seed: int,
    similarity: float,
) -> tuple[Iterator[tuple[IndexArray, IndexArray]], int]:
    """Training and test rows of each fold, and the number of groups that stay together."""
    if kind == "random":
        return KFold(n_folds, shuffle=True, random_state=seed).split(barriers), len(paths)
    if kind != "leak-proof":
        raise InputError(f"folds = {kind!r}: give 'random' or 'leak-proof'")
    vectors = features.soap[0].reshape(len(paths), -1)
    groups = host_formulas(paths)
    splitter = LeakproofKFold(n_folds, threshold=similarity, random_state=seed)
    pairs = list(splitter.split(vectors, barriers, groups))
    return iter(pairs), len(np.unique(splitter.components_))
