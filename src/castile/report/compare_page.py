"""Page of a comparison: learning curves, error against cost, and budgets against candidates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from castile.comparison.potential_words import potential_sentences, potential_table
from castile.comparison.potentials import PotentialComparison
from castile.comparison.result import Comparison, DescriptorResult
from castile.comparison.words import budget_table, cost_table, curve_table, recommendation, with_unit
from castile.report import style
from castile.report.figures import Figure, draw, plain_log_ticks
from castile.report.page import Paragraph, Section, Tile, write_html_report

_COLORS = (
    style.MODEL, style.REFERENCE, style.GOOD, style.THIRD, "#b8860b", "#3a3a3a",
    "#c2568c", "#4fa3a5", "#7a5230", "#8fb339", "#5566cc", style.MUTED,
)  # fmt: skip


def write_comparison_report(
    path: str | os.PathLike[str], comparison: Comparison, files: Sequence[str] = ()
) -> Path:
    """Write the page and return its path.

    Parameters
    ----------
    path : path
    comparison : Comparison
    files : sequence of str
        Names of the data, for the heading.
    """
    sentences = recommendation(comparison)
    splits = [part.split for part in comparison.descriptors[0].splits]
    sections = [
        Section("What to use", (*(Paragraph(text) for text in sentences), budget_table(comparison))),
        Section(
            "Learning curves",
            (learning_figure(comparison), *(curve_table(comparison, split) for split in splits)),
            "Bars: smallest and largest error of the seeds. Lines: power law with drifting exponent, beyond "
            "the data with its interval.",
        ),
        Section("Cost", (pareto_figure(comparison), cost_table(comparison))),
        Section("Budget", (budget_figure(comparison),)),
    ]
    return write_html_report(
        path,
        sections,
        title=f"Descriptors for {comparison.target}",
        subtitle=f"{', '.join(Path(f).name for f in files)}; {comparison.n_structures:,} structures compared",
        tiles=_tiles(comparison),
    )


def write_potential_report(
    path: str | os.PathLike[str], comparison: PotentialComparison, files: Sequence[str] = ()
) -> Path:
    """Write the page of a comparison of potentials and return its path."""
    words = tuple(Paragraph(text) for text in potential_sentences(comparison))
    table = potential_table(comparison)
    sections = [Section("Error against cost", (*words, potential_figure(comparison), table))]
    names = ", ".join(Path(f).name for f in files)
    return write_html_report(path, sections, title="Terms and sizes of a potential", subtitle=names)


def _tiles(comparison: Comparison) -> tuple[Tile, ...]:
    ranked = comparison.ranking()
    if not ranked:
        return ()
    best, own = ranked[0]
    assert own.cpu_hours is not None
    share = round(100 * comparison.coverage)
    high = "∞" if np.isinf(own.cpu_hours.high) else f"{own.cpu_hours.high:,.3g}"
    return (
        Tile(best.label, "", f"cheapest for {with_unit(comparison.error, comparison.unit)}"),
        Tile(
            f"{own.cpu_hours.median:,.3g}", "CPU hours", f"on {comparison.n_candidates:,} candidates",
            f"{share} % interval {own.cpu_hours.low:,.3g} to {high}",
        ),
    )  # fmt: skip


def learning_figure(comparison: Comparison) -> Figure:
    """Error against labels, one panel for each kind of split."""
    splits = [part.split for part in comparison.descriptors[0].splits]
    unit = comparison.unit or "unit of the target"

    def paint(canvas: Canvas) -> None:
        """A panel for each split with a curve for each descriptor, and one legend for all."""
        panels = np.atleast_1d(canvas.subplots(1, len(splits), sharey=True))
        for axes, split in zip(panels, splits, strict=True):
            for color, result in zip(_cycle(), comparison.descriptors, strict=False):
                _draw_curve(axes, result, split, comparison, color)
            axes.axhline(comparison.error, color=style.INK, linestyle=":", linewidth=1.0)
            axes.set(xscale="log", yscale="log", xlabel="labels", title=f"{split} test sets")
            plain_log_ticks(axes.xaxis, axes.yaxis)
        panels[0].set_ylabel(f"{comparison.metric.upper()} ({unit})")
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)

    caption = "Error against the number of labels; dotted: the wanted error."
    return Figure(draw(paint, 9.6, 4.2, "learning curves"), caption, wide=True)


def _draw_curve(axes, result: DescriptorResult, split, comparison: Comparison, color: str) -> None:  # type: ignore[no-untyped-def]
    part = result.by_split(split)
    sizes, means, lows, highs = (
        np.array(column) for column in zip(*part.measured(comparison.metric), strict=True)
    )
    axes.plot(sizes, means, "o", color=color, label=result.label, markersize=4)
    axes.vlines(sizes, lows, highs, color=color, linewidth=1.2)
    grid = np.geomspace(sizes[0], 8 * sizes[-1], 40)
    estimates = [part.curve.at(n, comparison.coverage) for n in grid]
    axes.plot(grid, [e.median for e in estimates], color=color, linewidth=1.0)
    beyond = grid >= sizes[-1]
    low, high = (np.array([getattr(e, side) for e in estimates])[beyond] for side in ("low", "high"))
    axes.fill_between(grid[beyond], low, high, color=color, alpha=0.10, linewidth=0)


def pareto_figure(comparison: Comparison) -> Figure:
    """Error at the largest size against the cost per structure."""
    front = comparison.pareto_front()
    unit = comparison.unit or "unit of the target"

    def paint(canvas: Canvas) -> None:
        """A labelled point for each descriptor, and steps through those of the front."""
        axes = canvas.subplots()
        points = []
        for color, result in zip(_cycle(), comparison.descriptors, strict=False):
            cost = 1e6 * float(result.costs.per_candidate(comparison.sizes[-1]))
            error = result.by_split(comparison.judged_by).measured(comparison.metric)[-1][1]
            axes.plot(cost, error, "o" if result.label in front else "x", color=color, markersize=7)
            axes.annotate(result.label, (cost, error), xytext=(6, 4), textcoords="offset points", fontsize=8)
            if result.label in front:
                points.append((cost, error))
        points.sort()
        axes.step(
            [p[0] for p in points], [p[1] for p in points], where="post", color=style.MUTED, linewidth=1.0
        )
        axes.set(
            xscale="log", yscale="log", xlabel="processor time per candidate (µs)",
            ylabel=f"{comparison.metric.upper()} ({unit})",
        )  # fmt: skip
        axes.margins(x=0.25)
        plain_log_ticks(axes.xaxis, axes.yaxis)

    caption = (
        f"Error with {comparison.sizes[-1]:,} labels ({comparison.judged_by} test sets) against the cost of "
        "descriptor and prediction; circles: the Pareto front."
    )
    return Figure(draw(paint, 8.6, 3.8, "pareto"), caption, wide=True)


def budget_figure(comparison: Comparison) -> Figure:
    """Total budget against the number of candidates, for the wanted error."""
    ranked = comparison.ranking()

    def paint(canvas: Canvas) -> None:
        """A line for each descriptor that reaches the error, shaded where its interval has an upper end."""
        axes = canvas.subplots()
        candidates = np.geomspace(1e2, max(1e9, 10.0 * comparison.n_candidates), 60)
        colors = {r.label: c for c, r in zip(_cycle(), comparison.descriptors, strict=False)}
        for result, own in ranked:
            assert own.labels is not None
            hours = result.costs.total(own.labels.median, candidates) / 3600.0
            low = result.costs.total(own.labels.low, candidates) / 3600.0
            color = colors[result.label]
            axes.plot(candidates, hours, color=color, label=result.label)
            if np.isfinite(own.labels.high):
                high = result.costs.total(own.labels.high, candidates) / 3600.0
                axes.fill_between(candidates, low, high, color=color, alpha=0.10, linewidth=0)
        axes.axvline(comparison.n_candidates, color=style.INK, linestyle=":", linewidth=1.0)
        axes.set(xscale="log", yscale="log", xlabel="candidates", ylabel="total budget (CPU hours)")
        if ranked:
            axes.legend(fontsize=8)

    wanted = with_unit(comparison.error, comparison.unit)
    caption = f"Budget for {wanted}: labels, training, descriptor and prediction of every candidate."
    return Figure(draw(paint, 8.6, 3.8, "budget"), caption, wide=True)


def potential_figure(comparison: PotentialComparison) -> Figure:
    """Force error against the time of a prediction."""
    front = comparison.pareto_front()

    def paint(canvas: Canvas) -> None:
        """A labelled point for each variant; crosses are dominated."""
        axes = canvas.subplots()
        for color, variant in zip(_cycle(), comparison.variants, strict=False):
            cost = comparison.mean(variant, "us_per_atom")
            error = 1000.0 * comparison.mean(variant, "force_rmse")
            axes.plot(cost, error, "o" if variant in front else "x", color=color, markersize=7)
            axes.annotate(variant, (cost, error), xytext=(6, 4), textcoords="offset points", fontsize=8)
        axes.set(
            xscale="log", yscale="log", xlabel="processor time of energy and forces (µs/atom)",
            ylabel="force RMSE (meV/Å)",
        )  # fmt: skip
        axes.margins(x=0.3)
        plain_log_ticks(axes.xaxis, axes.yaxis)

    first = comparison.points[0]
    caption = f"{first.n_train} training structures, {comparison.split} test set; circles: the Pareto front."
    return Figure(draw(paint, 8.6, 3.8, "potentials"), caption, wide=True)


def _cycle() -> list[str]:
    return list(_COLORS) * 4
