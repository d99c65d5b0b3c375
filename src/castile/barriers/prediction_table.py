"""Predictions of a stream of paths, written as a table; a broken path is a row with its error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from castile.barriers.features import Featurizer, PathFeatures, concatenate
from castile.barriers.model import BarrierModel, BarrierPrediction, Support
from castile.barriers.path import MigrationPath
from castile.barriers.path_reading import BrokenPath
from castile.formats.table_file import Cell, TableWriter

COLUMNS: tuple[tuple[str, type], ...] = (
    ("path_id", str), ("system", str), ("formula", str), ("mobile", str), ("path_length_ang", float),
    ("barrier_ev", float), ("barrier_std_ev", float), ("barrier_lower_ev", float),
    ("barrier_upper_ev", float), ("barrier_median_ev", float), ("good_conductor_probability", float),
    ("extrapolation_grade", float),
    ("extrapolates", bool), ("reference_barrier_ev", float), ("leans_on", str), ("warning", str),
    ("error", str),
)  # fmt: skip
BATCH = 64


@dataclass(frozen=True)
class PredictedPath:
    """A path with its prediction, or with the error that prevents one."""

    path: MigrationPath | None
    cells: tuple[Cell, ...]
    error: str | None = None

    def __getitem__(self, column: str) -> Cell:
        return self.cells[_POSITIONS[column]]


_POSITIONS = {name: k for k, (name, _) in enumerate(COLUMNS)}


@dataclass(frozen=True)
class PredictionCount:
    """How many paths were predicted, skipped, and unlike the training paths."""

    n_predicted: int
    n_broken: int
    n_extrapolated: int


def predict_stream(
    model: BarrierModel,
    paths: Iterable[MigrationPath | BrokenPath],
    *,
    threshold: float = 0.5,
    n_support: int = 3,
) -> Iterator[PredictedPath]:
    """Predict paths in batches, in their order.

    Arguments:
        model: fitted.
        paths: as ``read_paths`` yields them.
        threshold: eV, below which an ion conducts well.
        n_support: number of training paths named per prediction.

    """
    featurizer, waiting = Featurizer(), iter(paths)
    while batch := list(islice(waiting, BATCH)):
        found: dict[int, PathFeatures] = {}
        errors: dict[int, BrokenPath] = {}
        for k, path in enumerate(batch):
            if isinstance(path, BrokenPath):
                errors[k] = path
                continue
            try:
                batch[k] = prepared = model.prepare(path)
                found[k] = featurizer.one(prepared)
            except Exception as error:  # whatever is wrong with one path must not stop the others
                errors[k] = BrokenPath(path.path_id, f"{type(error).__name__}: {error}")
        rows = _rows(model, batch, found, threshold, n_support) if found else {}
        for k, path in enumerate(batch):
            if k in rows:
                assert isinstance(path, MigrationPath)
                yield PredictedPath(path, rows[k])
            else:
                broken = errors[k]
                cells = [broken.path_id, *[None] * (len(COLUMNS) - 2), broken.error]
                yield PredictedPath(None, tuple(cells), broken.error)


def _rows(
    model: BarrierModel,
    batch: list[MigrationPath | BrokenPath],
    found: dict[int, PathFeatures],
    threshold: float,
    n_support: int,
) -> dict[int, tuple[Cell, ...]]:
    """Cells of the paths that have features."""
    features = concatenate(list(found.values()))
    prediction = model.predict_features(features)
    chances = prediction.probability_below(threshold, model)
    supports = model.support(features, n_support) if n_support else [()] * len(features)
    rows = {}
    for row, k in enumerate(found):
        path = batch[k]
        assert isinstance(path, MigrationPath)
        rows[k] = _cells(model, path, prediction, row, float(chances[row]), supports[row])
    return rows


def _cells(
    model: BarrierModel,
    path: MigrationPath,
    prediction: BarrierPrediction,
    row: int,
    chance: float,
    support: tuple[Support, ...],
) -> tuple[Cell, ...]:
    new_ion = path.symbol not in model.mobile_
    warnings = [*path.warnings, *([f"no {path.symbol} among the training paths"] if new_ion else [])]
    return (
        path.path_id, path.system, path.formula, path.symbol, path.length,
        float(prediction.barrier[row]), float(prediction.std[row]), float(prediction.lower[row]),
        float(prediction.upper[row]), float(prediction.median[row]), chance,
        float(prediction.extrapolation_grade[row]), bool(prediction.extrapolates[row] or new_ion),
        path.barrier, "; ".join(f"{s.path_id} ({s.weight:+.2f})" for s in support), "; ".join(warnings), None,
    )  # fmt: skip


def write_predictions(
    output: str | os.PathLike[str],
    predicted: Iterable[PredictedPath],
    advance: Callable[[int], None] | None = None,
) -> PredictionCount:
    """Write the table of predictions, .csv or .parquet."""
    n_predicted = n_broken = n_extrapolated = 0
    with TableWriter(output, COLUMNS) as table:
        for number, item in enumerate(predicted, start=1):
            table.add([item.cells])
            if item.error is None:
                n_predicted += 1
                n_extrapolated += bool(item["extrapolates"])
            else:
                n_broken += 1
            if advance is not None:
                advance(number)
    return PredictionCount(n_predicted, n_broken, n_extrapolated)
