"""HTML report of a barrier model: parity with error bars, calibration, classes, suspicious labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from castile.barriers.model import BarrierModel, BarrierPrediction
from castile.barriers.path import MigrationPath
from castile.barriers.scores import BarrierScores, calibration_curve, score_classes
from castile.evaluation.tables import Table
from castile.report import style
from castile.report.barriers_tables import class_table, suspicious_table
from castile.report.figures import Curve, Figure, draw, line_figure
from castile.report.page import Section, Tile, write_html_report

Evaluated = tuple[str, Sequence[float], BarrierPrediction, BarrierScores]
N_WORST = 12


def write_barrier_report(
    path: str | os.PathLike[str],
    model: BarrierModel,
    paths: Sequence[MigrationPath],
    parts: Sequence[Evaluated],
) -> Path:
    """Write the report.

    Arguments:
        path: file to write.
        model: fitted on the paths, or evaluated on them.
        paths: in the order of the predictions.
        parts: (name, barriers in eV, prediction, scores) of each evaluation, e.g. of random folds.

    """
    tiles = [
        Tile(f"{scores.mae:.3f}", "eV", f"mean absolute error, {name}", f"{scores.n} paths")
        for name, _, _, scores in parts
    ]
    sections = [_section(model, paths, part) for part in parts]
    suspicious = model.suspicious_labels()
    if suspicious:
        sections.append(Section("Suspicious labels", (suspicious_table(suspicious),)))
    return write_html_report(path, sections, title="Migration barriers", tiles=tiles)


def _section(model: BarrierModel, paths: Sequence[MigrationPath], part: Evaluated) -> Section:
    name, barriers, prediction, scores = part
    y = np.asarray(barriers, dtype=np.float64)
    expected, observed = calibration_curve(y, prediction, model.shift)
    calibration = line_figure(
        [
            Curve("observed", 100 * expected, 100 * observed),
            Curve("ideal", 100 * expected, 100 * expected, reference=True),
        ],
        x_label="probability of the interval (%)",
        y_label="barriers inside (%)",
        caption=f"Calibration of the intervals, {name}.",
    )
    classes = score_classes([p.structure_class or "(none)" for p in paths], y, prediction)
    lead = (
        f"Mean absolute error {scores.mae:.3f} eV; {100 * scores.accuracy:.0f} % on the right side of "
        f"{scores.threshold:g} eV; {100 * scores.coverage:.0f} % inside intervals of "
        f"{100 * scores.expected_coverage:.0f} %."
    )
    blocks = (
        barrier_parity(y, prediction, scores, name),
        calibration,
        class_table(classes),
        _worst(paths, y, prediction),
    )
    return Section(f"Barriers, {name}", blocks, lead=lead)


def barrier_parity(
    barriers: Sequence[float] | np.ndarray, prediction: BarrierPrediction, scores: BarrierScores, name: str
) -> Figure:
    """Predicted against known barriers with their intervals, on logarithmic axes."""
    y = np.maximum(np.asarray(barriers, dtype=np.float64), 0.01)
    p = np.maximum(prediction.barrier, 0.01)
    below, above = p - np.maximum(prediction.lower, 0.01), prediction.upper - p

    def paint(canvas: Canvas) -> None:
        """Points, intervals, the diagonal and the threshold."""
        axes = canvas.subplots()
        axes.errorbar(
            y, p, yerr=np.maximum([below, above], 0.0), fmt="o", markersize=3, color=style.MODEL, alpha=0.5,
            ecolor=style.MUTED, elinewidth=0.5,
        )  # fmt: skip
        limits = (0.8 * min(y.min(), p.min()), 1.25 * max(y.max(), p.max()))
        axes.plot(limits, limits, color=style.REFERENCE, linewidth=1.0)
        axes.axhline(scores.threshold, color=style.GOOD, linewidth=0.7, linestyle="--")
        axes.axvline(scores.threshold, color=style.GOOD, linewidth=0.7, linestyle="--")
        axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
        axes.set(xlabel="known barrier (eV)", ylabel="predicted barrier (eV)")

    caption = (
        f"Predicted against known barriers, {name}; bars are intervals of {100 * prediction.coverage:.0f} %."
    )
    return Figure(draw(paint, 4.3, 4.3, f"barrier parity {name}"), caption)


def _worst(paths: Sequence[MigrationPath], y: np.ndarray, prediction: BarrierPrediction) -> Table:
    """Largest errors."""
    order = np.argsort(-np.abs(prediction.barrier - y))[:N_WORST]
    rows = tuple(
        (paths[i].path_id, paths[i].system, f"{y[i]:.3f}", f"{prediction.barrier[i]:.3f}",
         f"{prediction.lower[i]:.3f} to {prediction.upper[i]:.3f}")
        for i in order
    )  # fmt: skip
    return Table(
        ("path", "system", "known (eV)", "predicted (eV)", "interval (eV)"), rows, title="Largest errors"
    )
