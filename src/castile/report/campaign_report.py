"""The report of a campaign of active learning."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from castile.active.exploration import Observation
from castile.active.status import CampaignStatus, Way
from castile.evaluation.tables import format_number
from castile.report import style
from castile.report.campaign_tables import learning_table, ledger_table, overview_table, problem_table
from castile.report.figures import Figure, draw
from castile.report.page import Block, Paragraph, Section, Tile, write_html_report

MOST_FIGURES = 12
MOST_POINTS = 4000


def write_campaign_report(path: str | os.PathLike[str], status: CampaignStatus) -> Path:
    """Write trajectories of the force deviation with the calls marked, learning curve and ledger as HTML.

    Returns
    -------
    Path
        The file written.
    """
    sections = [_exploration_section(status)]
    if status.learning_curve:
        sections.append(_learning_section(status))
    problems = problem_table(status)
    ledger: tuple[Block, ...] = (ledger_table(status),)
    sections.append(Section("Ledger", (*ledger, problems) if problems.rows else ledger))
    sections.append(Section("Campaign", (overview_table(status),)))
    return write_html_report(
        path, sections, title="Active learning", subtitle=status.outlook, tiles=_tiles(status)
    )


def _tiles(status: CampaignStatus) -> tuple[Tile, ...]:
    state = status.state
    tiles = [
        Tile(f"{status.n_calls:,}", "", "labels that explorers asked for", f"{status.n_steps:,} explored")
    ]
    if status.saved is not None:
        tiles.append(Tile(f"{100.0 * status.saved:.1f}", "%", "explored without a label"))
    if state.predicted_error is not None:
        passed = state.predicted_error <= status.target
        wanted = f"wanted {format_number(status.target)} eV/Å"
        tiles.append(
            Tile(format_number(state.predicted_error), "eV/Å", "predicted force error", wanted, passed)
        )
    if state.verified_error is not None:
        passed = state.verified_error <= status.target
        tiles.append(
            Tile(format_number(state.verified_error), "eV/Å", "verified force error", "new labels", passed)
        )
    return tuple(tiles)


def _exploration_section(status: CampaignStatus) -> Section:
    lead = (
        "Force deviation along the way of each explorer: the largest predicted standard deviation of the "
        "force on an atom, calibrated by the labels. Where it passes the threshold a label is asked for "
        "(circles)."
    )
    figures = [
        figure
        for way in status.ways
        for place in dict.fromkeys((seen.cycle, seen.walker) for seen in way.observations)
        if (figure := deviation_figure(way, *place, status.threshold)) is not None
    ]
    blocks: tuple[Block, ...] = tuple(figures[-MOST_FIGURES:]) or (Paragraph("Nothing was explored yet."),)
    if len(figures) > MOST_FIGURES:
        blocks = (*blocks, Paragraph(f"The last {MOST_FIGURES} of {len(figures)} are shown."))
    return Section("Exploration", blocks, lead)


def deviation_figure(way: Way, cycle: int, walker: int, threshold: float) -> Figure | None:
    """Return the force deviation (eV/A) along a trajectory with calls marked; None for a single point."""
    seen = [o for o in way.observations if (o.cycle, o.walker) == (cycle, walker)]
    if len(seen) < 2:
        return None
    every = max(1, len(seen) // MOST_POINTS)
    shown = [o for index, o in enumerate(seen) if o.called or index % every == 0]
    has_time = all(np.isfinite(o.time_fs) for o in shown)

    def position(o: Observation) -> float:
        """Time in ps, or the step where there is no time."""
        return o.time_fs / 1000.0 if has_time else float(o.step)

    calls = [o for o in seen if o.called]
    values = np.array([o.deviation for o in shown])

    def paint(canvas: Canvas) -> None:
        """The deviation, its threshold dashed, circles at the labels; logarithmic if far spread."""
        axes = canvas.subplots()
        axes.plot([position(o) for o in shown], values, color=style.MODEL, linewidth=0.9, zorder=2)
        axes.axhline(threshold, color=style.MUTED, linewidth=1.0, linestyle="--", zorder=1)
        axes.plot(
            [position(o) for o in calls], [o.deviation for o in calls], "o", color=style.REFERENCE,
            markersize=5, markerfacecolor="white", markeredgewidth=1.4, zorder=3,
            label=f"{len(calls)} labels",
        )  # fmt: skip
        axes.set(xlabel="time (ps)" if has_time else "step", ylabel="force deviation (eV/Å)")
        if values.min() > 0.0 and values.max() > 10.0 * float(np.median(values)):
            axes.set_yscale("log")
        axes.legend(loc="upper right")

    temperature = np.nanmean([o.temperature_k for o in seen]) if has_time else None
    heat = "" if temperature is None else f", {temperature:.0f} K on average"
    caption = (
        f"{way.name}, cycle {cycle + 1}, trajectory {walker + 1}{heat}: force deviation, threshold "
        f"{threshold:.3g} eV/Å (dashed) and {len(calls)} labels (circles)."
    )
    return Figure(draw(paint, 8.6, 2.6, caption), caption, wide=True)


def _learning_section(status: CampaignStatus) -> Section:
    points = status.learning_curve[1:] or status.learning_curve

    def paint(canvas: Canvas) -> None:
        """Predicted deviations as a line, errors as circles, the target dashed."""
        axes = canvas.subplots()
        labels = [point.n_labels for point in points]
        axes.plot(
            labels, [p.deviation for p in points], color=style.MODEL, label="force deviation, predicted"
        )
        axes.plot(
            labels, [p.error for p in points], "o", color=style.REFERENCE, markersize=5,
            markerfacecolor="white", markeredgewidth=1.4, label="force error (root mean square)",
        )  # fmt: skip
        axes.axhline(status.target, color=style.MUTED, linewidth=1.0, linestyle="--", label="wanted")
        axes.set(xlabel="labels learned", ylabel="eV/Å", yscale="log")
        axes.legend()

    caption = "New labels against the model that had not learned them."
    figure = Figure(draw(paint, 8.6, 3.1, caption), caption, wide=True)
    return Section("Learning", (figure, learning_table(status)))
