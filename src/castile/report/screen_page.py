"""HTML page of a screening: the ranking, the spread of predictions, and a map of winners among others."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from castile.evaluation.tables import ABSENT, Table, format_number
from castile.report import style
from castile.report.figures import Figure, draw
from castile.report.map_page import write_map_page
from castile.report.page import Block, Paragraph, Section, Tile, write_html_report
from castile.screening.objective import Objective
from castile.screening.result import Screening
from castile.splits.kernel_map import KernelMap, kernel_map
from castile.splits.settings import SimilaritySettings
from castile.splits.structure_table import table_of

N_LISTED = 200
_NAMES = {
    "mean": "mean", "bound": "confidence bound", "improvement": "expected improvement",
    "probability": "probability",
}  # fmt: skip


def describe_objective(objective: Objective) -> str:
    """Return an objective in words."""
    goal = f"come near {objective.value:g}" if objective.value is not None else objective.goal
    details = {
        "bound": f" of {objective.kappa:g} standard deviations",
        "improvement": f" over {objective.best:.6g}" if objective.best is not None else "",
        "probability": "".join(
            f" {word} {end:g}"
            for word, end in (("above", objective.above), ("below", objective.below))
            if end is not None
        ),
    }
    return f"{_NAMES[objective.kind]}{details.get(objective.kind, '')}; {goal}"


def winner_table(screening: Screening, most: int = N_LISTED) -> Table:
    """Return the ranking."""
    unit = f" ({screening.unit})" if screening.unit else ""
    columns = (
        "rank", "name", "formula", "atoms", f"{screening.target}{unit}", "deviation", "score", "grade",
        "alike",
    )  # fmt: skip
    rows = tuple(
        (
            str(w.rank), w.row.name, w.row.formula, str(w.row.n_atoms), _mean(w.row.mean, w.row.std),
            _number(w.row.std), format_number(w.row.scores[0], 3),
            _number(w.row.grade) + (" !" if w.row.extrapolates else ""), str(w.n_alike),
        )
        for w in screening.winners[:most]
    )  # fmt: skip
    note = (
        f"By {describe_objective(screening.settings.objective)}. A grade above 1 (!) is outside the "
        "training data; 'alike' counts the candidates of the pool that a winner stands for."
    )
    return Table(columns, rows, title="Winners", note=note)


def _mean(value: float, deviation: float) -> str:
    """Two digits more than the deviation leaves certain, at least four in all: totals are large numbers."""
    digits = 4
    if value != 0.0 and deviation > 0.0:
        digits = max(digits, math.floor(math.log10(abs(value))) - math.floor(math.log10(deviation)) + 2)
    return format_number(value, min(digits, 9))


def _number(value: float) -> str:
    return ABSENT if math.isnan(value) else format_number(value, 3)


def write_screen_report(path: str | os.PathLike[str], screening: Screening) -> Path:
    """Write the page: map, distribution of predictions, ranking, and what was left out."""
    sections = []
    placed = _place(screening)
    if placed is not None:
        blocks: tuple[Block, ...] = (_map_figure(screening, placed), _spread_figure(screening))
        lead = "Winners among candidates that were drawn at random."
        sections.append(Section("Map", blocks, lead))
    sections.append(Section("Winners", (winner_table(screening),)))
    left_out = _left_out(screening)
    if left_out:
        sections.append(Section("Left out", left_out))
    tiles = [
        Tile(f"{len(screening.winners):,}", "", "winners", describe_objective(screening.settings.objective)),
        Tile(f"{screening.n_predicted:,}", "", "candidates predicted", f"{screening.n_read:,} read"),
        Tile(f"{screening.n_extrapolated:,}", "", "outside the training data"),
        Tile(f"{screening.n_skipped:,}", "", "broken"),
    ]
    return write_html_report(path, sections, title=f"Screening for {screening.target}", tiles=tiles)


def _left_out(screening: Screening) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if screening.filtered:
        rows = tuple((name, f"{count:,}") for name, count in sorted(screening.filtered.items()))
        blocks.append(Table(("filter", "candidates"), rows, title="Filtered"))
    if screening.skipped:
        rows = tuple(screening.skipped[:N_LISTED])
        note = f"The first {len(rows)} of {screening.n_skipped:,}." if len(rows) < screening.n_skipped else ""
        blocks.append(Table(("candidate", "reason"), rows, title="Broken", note=note))
    return tuple(blocks)


def write_screen_map(path: str | os.PathLike[str], screening: Screening) -> Path:
    """Write an interactive map of winners and sample.

    Raises
    ------
    InputError
        If chemiscope is not installed.
    """
    structures, values, ranks = _points(screening)
    placed = _place(screening)
    if placed is None:
        return write_html_report(
            path, [Section("Map", (Paragraph("There are too few candidates for a map."),))], title="Screening"
        )
    kind = np.array(["winner" if rank > 0 else "other" for rank in ranks])
    properties = {
        screening.target: values, "rank": ranks.astype(float), "kind": kind,
        "formula": np.array([str(atoms.symbols) for atoms in structures]),
    }  # fmt: skip
    return write_map_page(
        path, placed, table_of(structures), properties, np.arange(len(structures)),
        color=screening.target, title=f"Screening for {screening.target}",
        subtitle=f"{len(screening.winners)} winners and {len(structures) - len(screening.winners)} others",
    )  # fmt: skip


def _points(screening: Screening) -> tuple[list[Atoms], NDArray[np.float64], NDArray[np.int64]]:
    """Structures, predictions and ranks (0: no winner) of winners and sample."""
    winners = {w.row.index for w in screening.winners}
    others = [kept for kept in screening.sample if kept.row.index not in winners]
    kept = [*(w.candidate for w in screening.winners), *others]
    ranks = np.array([*(w.rank for w in screening.winners), *(0 for _ in others)], dtype=np.int64)
    return [one.atoms for one in kept], np.array([one.row.mean for one in kept]), ranks


def _place(screening: Screening) -> KernelMap | None:
    """Where winners and sample lie; None for fewer than three."""
    structures, _, _ = _points(screening)
    if len(structures) < 3:
        return None
    return kernel_map(table_of(structures), SimilaritySettings(kernel="average-soap"), n_components=2)


def _map_figure(screening: Screening, placed: KernelMap) -> Figure:
    _, values, ranks = _points(screening)
    x, y = placed.coordinates[:, 0], placed.coordinates[:, 1]
    winner = ranks > 0

    def paint(canvas: Canvas) -> None:
        """Others as dots in the colour of their prediction, winners as rings."""
        axes = canvas.subplots()
        dots = axes.scatter(x, y, c=values, s=12, cmap="viridis", linewidths=0)
        axes.scatter(
            x[winner], y[winner], s=42, facecolors="none", edgecolors=style.REFERENCE, linewidths=1.2
        )
        unit = f" ({screening.unit})" if screening.unit else ""
        canvas.colorbar(dots, label=f"{screening.target}{unit}")
        axes.set(xlabel="kernel PCA 1", ylabel="kernel PCA 2")

    caption = "Kernel principal components of mean power spectra; rings: winners."
    return Figure(draw(paint, 4.3, 3.4, "screening map"), caption)


def _spread_figure(screening: Screening) -> Figure:
    _, values, ranks = _points(screening)

    def paint(canvas: Canvas) -> None:
        """Histograms of the sample and of the winners."""
        axes = canvas.subplots()
        low, high = float(values.min()), float(values.max())
        bins = np.linspace(low, high if high > low else low + 1.0, 31).tolist()
        axes.hist(values[ranks == 0], bins=bins, color=style.MODEL, label="sample")
        axes.hist(values[ranks > 0], bins=bins, color=style.REFERENCE, alpha=0.7, label="winners")
        unit = f" ({screening.unit})" if screening.unit else ""
        axes.set(xlabel=f"{screening.target}{unit}", ylabel="candidates")
        axes.legend()

    return Figure(draw(paint, 4.3, 3.4, "screening spread"), "Predictions of the sample and of the winners.")
