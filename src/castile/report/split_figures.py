"""Figures of splits: components against the threshold, and histograms of similarity."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Canvas

from castile.report import style
from castile.report.figures import Figure, draw
from castile.splits.threshold import ThresholdCurve

_WIDTH, _HEIGHT = 8.6, 3.6


def threshold_figure(curve: ThresholdCurve) -> Figure:
    """Components and the largest one against the threshold as a distance, with the noise levels."""
    caption = (
        f"Components of {curve.n_compared:,} of {curve.n_structures:,} structures against the threshold "
        "d = sqrt(2 - 2k); bands: distances of structures to their own copies with displaced atoms; "
        "dashed: the suggestion."
    )
    return Figure(draw(_threshold_painter(curve), _WIDTH, _HEIGHT, "threshold"), caption, wide=True)


def write_threshold_plot(path: str | os.PathLike[str], curve: ThresholdCurve) -> Path:
    """Write the figure as .png, .svg or .pdf and return its path."""
    target = Path(path)
    settings = {**style.FIGURE_SETTINGS, "savefig.facecolor": "white"}
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        canvas = Canvas(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        _threshold_painter(curve)(canvas)
        canvas.savefig(target, dpi=160)
    return target


def _threshold_painter(curve: ThresholdCurve) -> Callable[[Canvas], None]:
    """What draws the curve on a canvas."""
    colors = (style.GOOD, style.THIRD, style.REFERENCE, style.MUTED)

    def paint(canvas: Canvas) -> None:
        """Components and the largest of them by threshold; spans of the noise; the suggestion dashed."""
        axes = canvas.subplots()
        axes.step(curve.distances, curve.n_components, where="post", color=style.MODEL, label="components")
        axes.step(
            curve.distances, curve.largest_component, where="post", color=style.INK, linewidth=1.2,
            label="structures of the largest",
        )  # fmt: skip
        for level, color in zip(curve.noise, colors, strict=False):
            low, high = np.quantile(level.distances, [0.05, 0.95])
            label = f"noise of {level.amplitude:g} Å"
            axes.axvspan(max(low, 1e-12), max(high, 1e-12), color=color, alpha=0.18, label=label, linewidth=0)
        label = f"suggested: d = {curve.distance:.3g}, k = {curve.threshold:.6g}"
        axes.axvline(curve.distance, color=style.REFERENCE, linestyle="--", linewidth=1.4, label=label)
        axes.set(
            xscale="log", xlabel="threshold as a distance, d = sqrt(2 − 2k)", ylabel="number",
            xlim=(float(curve.distances[0]), float(curve.distances[-1])),
        )  # fmt: skip
        axes.legend(loc="center left", fontsize=8)

    return paint


def similarity_histogram(distances: np.ndarray, threshold: float, what: str) -> Figure:
    """Distances of test structures to their nearest training structures, with the threshold."""
    shown = np.maximum(distances, 1e-4)

    def paint(canvas: Canvas) -> None:
        """Histogram on a logarithmic axis, the threshold dashed."""
        axes = canvas.subplots()
        edges = np.geomspace(min(1e-4, float(shown.min())), max(1.5, float(shown.max())), 61).tolist()
        axes.hist(shown, bins=edges, color=style.MODEL, alpha=0.85)
        axes.axvline(threshold, color=style.REFERENCE, linestyle="--", label=f"threshold d = {threshold:.3g}")
        axes.set(xscale="log", xlabel="distance to the nearest, d = sqrt(2 − 2k)", ylabel=what)
        axes.legend()

    caption = f"Distances to the nearest ({what}); those left of the threshold are leaks; below 1e-4 at 1e-4."
    return Figure(draw(paint, _WIDTH, 3.1, f"histogram {what}"), caption, wide=True)
