"""Figures of the report as SVG text; axes always carry units."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from castile.evaluation.sampling import ParitySample
from castile.report import style

MANY_POINTS = 400
DENSITY_BINS = 60


@dataclass(frozen=True)
class Figure:
    """A drawing in a report.

    Attributes:
        svg: the drawing, an ``<svg>`` element.
        caption: what it shows, plain text.
        wide: whether it takes the full width of the page.

    """

    svg: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Curve:
    """One line or set of points: name, x and y values, and whether it is the reference."""

    name: str
    x: Sequence[float] | NDArray[np.float64]
    y: Sequence[float] | NDArray[np.float64]
    reference: bool = False
    points: bool = False


def draw(paint: Callable[[Canvas], None], width: float, height: float, name: str) -> str:
    """Run ``paint`` on an empty canvas (inches) and return SVG text; equal input gives equal text."""
    settings = {**style.FIGURE_SETTINGS, "svg.hashsalt": hashlib.sha256(name.encode()).hexdigest()[:12]}
    text = StringIO()
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        canvas = Canvas(figsize=(width, height), layout="constrained")
        paint(canvas)
        canvas.savefig(text, format="svg", dpi=220, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace(f"'{style.FONT}'", "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif")


def point_density(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the number of points in the histogram cell of each point, scaled to 0..1."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=DENSITY_BINS)
    rows = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, DENSITY_BINS - 1)
    columns = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, DENSITY_BINS - 1)
    density = np.log(counts[rows, columns])
    return density / max(float(density.max()), 1e-12)


def parity_figure(
    sample: ParitySample,
    *,
    quantity: str,
    unit: str,
    scale: float = 1.0,
    error_unit: str | None = None,
    error_scale: float | None = None,
    summary: str = "",
) -> Figure:
    """Predicted against reference values, and the errors below.

    Args:
        sample: the values.
        quantity: e.g. "force component".
        unit: unit on the axes after multiplication by ``scale``.
        scale: factor from the sample's unit to ``unit``.
        error_unit: unit of the error panel; ``unit`` when None.
        error_scale: factor from the sample's unit to ``error_unit``.
        summary: lines of text in the corner, e.g. the RMSE.

    """
    x, y = sample.reference * scale, sample.predicted * scale
    errors = (sample.predicted - sample.reference) * (scale if error_scale is None else error_scale)
    density = point_density(x, errors) if len(x) > MANY_POINTS else None

    def paint(canvas: Canvas) -> None:
        """Two panels with one x axis; dense samples are coloured by density."""
        canvas.set_layout_engine("none")
        top = canvas.add_axes((0.185, 0.345, 0.795, 0.635))
        bottom = canvas.add_axes((0.185, 0.105, 0.795, 0.2), sharex=top)
        _scatter(top, x, y, density)
        _scatter(bottom, x, errors, density)
        low, high = _padded_range(np.concatenate([x, y]))
        top.plot([low, high], [low, high], color=style.REFERENCE, linewidth=1.0, zorder=1)
        top.set(xlim=(low, high), ylim=(low, high), ylabel=f"predicted ({unit})")
        top.tick_params(labelbottom=False)
        for axis in (top.xaxis, top.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        bottom.axhline(0.0, color=style.REFERENCE, linewidth=1.0, zorder=1)
        limit = 1.08 * float(np.abs(errors).max(initial=1e-12))
        bottom.set(ylim=(-limit, limit), ylabel=f"error ({error_unit or unit})")
        bottom.set_xlabel(f"reference {quantity} ({unit})")
        bottom.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        canvas.align_ylabels([top, bottom])
        _make_room_at_the_left(canvas)
        top.text(0.04, 0.96, summary, transform=top.transAxes, va="top", ha="left", linespacing=1.45)

    shown = "" if len(x) == sample.n_seen else f" ({len(x):,} of {sample.n_seen:,} values drawn)"
    caption = f"{quantity.capitalize()}: predicted against reference, and the error below{shown}."
    return Figure(draw(paint, 4.0, 4.9, f"parity {quantity}"), caption)


def _make_room_at_the_left(canvas: Canvas) -> None:
    """Move the left edge of all axes so far in that long tick labels leave room for the names of the axes."""
    canvas.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in canvas.axes]
    missing = 0.01 - min(box.x0 for box in boxes if box is not None) / canvas.bbox.width
    for axes in canvas.axes if missing > 0.0 else ():
        box = axes.get_position()
        axes.set_position((box.x0 + missing, box.y0, box.width - missing, box.height))


def _scatter(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], density: NDArray[np.float64] | None
) -> None:
    if density is None:
        axes.scatter(x, y, s=16, color=style.MODEL, alpha=0.65, linewidths=0, zorder=2)
        return
    order = np.argsort(density)
    colors = LinearSegmentedColormap.from_list("density", style.DENSITY)
    axes.scatter(
        x[order], y[order], c=density[order], cmap=colors, s=6, linewidths=0, zorder=2, rasterized=True
    )


def _padded_range(values: NDArray[np.float64], fraction: float = 0.05) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = fraction * (high - low) or max(1e-3, 1e-3 * abs(high))
    return low - margin, high + margin


def line_figure(
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    caption: str,
    wide: bool = False,
) -> Figure:
    """Curves in one frame; the reference is drawn as open circles, the model as a line."""
    colors = iter((style.MODEL, style.GOOD, style.THIRD, style.MUTED))

    def paint(canvas: Canvas) -> None:
        """All curves in one frame, a legend where there are several."""
        axes = canvas.subplots()
        for curve in curves:
            _draw_curve(axes, curve, style.REFERENCE if curve.reference else next(colors, style.INK))
        axes.set(xlabel=x_label, ylabel=y_label)
        if len(curves) > 1:
            axes.legend()

    width = 8.6 if wide else 4.3
    return Figure(draw(paint, width, 3.1, caption), caption, wide)


def _draw_curve(axes: Axes, curve: Curve, color: str) -> None:
    if curve.reference or curve.points:
        axes.plot(
            curve.x, curve.y, "o", color=color, label=curve.name, zorder=3,
            markersize=6, markerfacecolor="white", markeredgewidth=1.6,
        )  # fmt: skip
    else:
        axes.plot(curve.x, curve.y, color=color, label=curve.name, zorder=2)


def energy_conservation_figure(
    times: ArrayLike, energies_per_atom: ArrayLike, temperatures: ArrayLike, drift: float
) -> Figure:
    """Change of the total energy and the temperature along a constant-energy run.

    Args:
        times: (n,) ps.
        energies_per_atom: (n,) total energy (potential and kinetic), eV/atom.
        temperatures: (n,) K.
        drift: slope of the energy, meV/atom/ps; drawn as a line.

    """
    t = np.asarray(times, dtype=float)
    energy = np.asarray(energies_per_atom, dtype=float) * 1000.0
    change = energy - energy.mean()
    line = drift * (t - t.mean())

    def paint(canvas: Canvas) -> None:
        """Energy with its drift above, temperature below, one time axis."""
        top, bottom = canvas.subplots(2, 1, sharex=True)
        top.plot(t, change, color=style.MODEL, linewidth=1.1, label="total energy")
        top.plot(t, line, color=style.REFERENCE, linewidth=1.4, label=f"drift {drift:+.3g} meV/atom/ps")
        reach = 1.7 * max(float(np.abs(change).max(initial=0.0)), 1e-4)
        top.set(ylim=(-reach, reach), ylabel="energy change\n(meV/atom)")
        top.legend(loc="upper right", ncols=2)
        bottom.plot(t, np.asarray(temperatures, dtype=float), color=style.MODEL, linewidth=1.1)
        bottom.set(xlabel="time (ps)", ylabel="temperature (K)")
        canvas.align_ylabels([top, bottom])

    caption = "Constant-energy run: change of the total energy about its mean, and the temperature."
    return Figure(draw(paint, 8.6, 3.6, "energy conservation"), caption, wide=True)


def bar_figure(names: Sequence[str], values: Sequence[float], *, x_label: str, caption: str) -> Figure:
    """Horizontal bars, first name on top, each with its value."""

    def paint(canvas: Canvas) -> None:
        """Bars with their values at the ends, and room for the longest."""
        axes = canvas.subplots()
        rows = np.arange(len(names))
        bars = axes.barh(rows, values, color=style.MODEL, height=0.62)
        axes.bar_label(bars, labels=[f"{value:.3g}" for value in values], padding=4, color=style.INK)
        axes.set_yticks(rows, names)
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 1.15 * max(values, default=1.0) or 1.0)
        axes.set_xlabel(x_label)

    return Figure(draw(paint, 8.6, 0.9 + 0.3 * len(names), caption), caption, wide=True)


def plain_log_ticks(*axes: Axis) -> None:
    """Mark logarithmic axes at few round numbers, written plainly below a hundred thousand."""
    for axis in axes:
        low, high = sorted(axis.get_view_interval())
        ratio = high / low if low > 0.0 else np.inf
        digits = (
            (1.0,)
            if ratio > 300.0
            else (1.0, 2.0, 5.0)
            if ratio > 8.0
            else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
        )
        axis.set_major_locator(LogLocator(subs=digits, numticks=12))
        axis.set_minor_formatter(NullFormatter())
        if high < 1e5:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
