"""The report of ``castile audit``: histogram, leaks with pictures, duplicates, errors by similarity."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle

from castile.evaluation.tables import Table, format_number
from castile.report import style
from castile.report.figures import Curve, Figure, draw, line_figure
from castile.report.page import Block, Paragraph, Section, Tile, write_html_report
from castile.report.split_figures import similarity_histogram, threshold_figure
from castile.splits.audit_result import Audit, Nearest
from castile.splits.threshold import distance_of

N_PICTURES, N_LISTED = 6, 200
_MOST_DRAWN = 400


def write_audit_report(
    path: str | os.PathLike[str], audit: Audit, *, data_names: Sequence[str], target_unit: str = ""
) -> Path:
    """Write the report as one HTML file and return its path."""
    sections = [_leak_section(audit), _duplicate_section(audit)]
    if audit.bins:
        sections.append(_error_section(audit, target_unit))
    if audit.curve is not None:
        note = Paragraph(f"Suggested: {audit.curve.reason}.")
        sections.append(Section("Threshold", (threshold_figure(audit.curve), note)))
    return write_html_report(
        path,
        sections,
        title="Audit of a split",
        subtitle=f"{len(audit.nearest):,} structures tested: {', '.join(data_names)}",
        tiles=_tiles(audit),
        footer=f"Kernel {audit.index.settings.kernel}, cutoff {audit.index.settings.cutoff} Å.",
    )


def _tiles(audit: Audit) -> tuple[Tile, ...]:
    """The numbers to see first."""
    n = len(audit.nearest)
    tiles = [
        Tile(f"{len(audit.leaks):,}", "", "leaks", f"{len(audit.leaks) / n:.1%} of {n:,} tested", None),
        Tile(f"{audit.n_exact_duplicates:,}", "", "exact duplicates", "tested structures also in training"),
        Tile(f"{audit.nearest[0].similarity:.6f}", "", "largest similarity", "across the split"),
    ]
    if audit.optimism is not None:
        factor = format_number(audit.optimism.factor)
        tiles.append(Tile(factor, "×", "error when nothing leaks", "same learner, leak-proof split"))
    return tuple(tiles)


def leak_table(audit: Audit, most: int = N_LISTED) -> Table:
    """Tested structures above the threshold and their nearest training structures."""
    table = audit.index.table
    assert table is not None
    rows = tuple(
        (
            table.names[item.structure], table.names[item.neighbor], f"{item.similarity:.8f}",
            format_number(item.distance),
        )
        for item in audit.leaks[:most]
    )  # fmt: skip
    more = len(audit.leaks) - len(rows)
    note = f"and {more:,} more" if more else ""
    return Table(("tested", "nearest in training", "similarity k", "distance"), rows, "Leaks", note)


def _leak_section(audit: Audit) -> Section:
    """Histogram, pictures of the worst pairs, and the list."""
    distances = np.array([item.distance for item in audit.nearest])
    blocks: list[Block] = [similarity_histogram(distances, distance_of(audit.threshold), "tested structures")]
    pairs = {frozenset((item.structure, item.neighbor)): item for item in reversed(audit.leaks)}  # each once
    for item in list(reversed(pairs.values()))[:N_PICTURES]:
        blocks.append(pair_picture(audit, item))
    if audit.leaks:
        blocks.append(leak_table(audit))
    else:
        blocks.append(Paragraph("No tested structure has a training structure above the threshold."))
    lead = "Each tested structure with the training structure that is most similar to it."
    return Section("Leaks", tuple(blocks), lead)


def _duplicate_section(audit: Audit) -> Section:
    """Wasted calculations and contradicting labels."""
    names = ("all structures",) if audit.cross_validation else ("training", "test")
    rows = tuple(
        (name, f"{exact:,}", f"{near:,}")
        for name, exact, near in zip(names, audit.duplicates_within, audit.near_within, strict=True)
    )
    columns = ("within", "exact duplicates", "similar to another above the threshold")
    blocks: list[Block] = [Table(columns, rows, "Wasted calculations")]
    if audit.contradictions:
        table = audit.index.table
        assert table is not None
        listed = tuple(
            (table.names[c.structure], table.names[c.neighbor], f"{c.label:.6g}", f"{c.other_label:.6g}")
            for c in audit.contradictions[:N_LISTED]
        )
        blocks.append(
            Table(("structure", "duplicate", "label", "label of it"), listed, "Contradicting labels")
        )
    return Section("Duplicates", tuple(blocks))


def _error_section(audit: Audit, unit: str) -> Section:
    """Error by distance, and the learner with and without leaks."""
    label = f"mean absolute error ({unit})" if unit else "mean absolute error"
    centers = [0.5 * (b.low + b.high) for b in audit.bins]
    errors = [b.mae for b in audit.bins]
    caption = "Error against the distance to the nearest training structure, bins of equal numbers."
    figure = line_figure(
        [Curve("", centers, errors, points=True)],
        x_label="distance to training",
        y_label=label,
        caption=caption,
    )
    rows = tuple(
        (format_number(b.low), format_number(b.high), f"{b.n_structures:,}", format_number(b.mae))
        for b in audit.bins
    )
    blocks: list[Block] = [figure, Table(("from d", "to d", "structures", label), rows, narrow=True)]
    if audit.optimism is not None:
        o = audit.optimism
        text = (
            ("this split", format_number(o.mae), format_number(o.rmse)),
            ("leak-proof", format_number(o.leakproof_mae), format_number(o.leakproof_rmse)),
        )
        blocks.append(
            Table(("", "MAE", "RMSE"), text, f"Kernel ridge regression of {o.target!r}", narrow=True)
        )
    return Section("Errors and similarity", tuple(blocks))


def pair_picture(audit: Audit, item: Nearest) -> Figure:
    """A tested structure beside its nearest training structure."""
    table = audit.index.table
    assert table is not None

    def paint(canvas: Canvas) -> None:
        """Both structures side by side under their names."""
        left, right = canvas.subplots(1, 2)
        for axes, index in ((left, item.structure), (right, item.neighbor)):
            _draw_atoms(axes, table.atoms(index))
            axes.set_title(table.names[index], fontsize=7.5, color=style.MUTED)

    name = f"{table.names[item.structure]} and {table.names[item.neighbor]}"
    caption = f"{name}: k = {item.similarity:.8f}, d = {item.distance:.3g}."
    return Figure(draw(paint, 4.3, 2.3, name), caption)


def _draw_atoms(axes: Axes, atoms: Atoms) -> None:
    """Circles along a slightly tilted view, the nearest on top."""
    centered = atoms.positions - atoms.positions.mean(axis=0)
    tilt, turn = np.radians(12.0), np.radians(20.0)
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    view = centered @ about_y.T @ about_x.T
    for k in np.argsort(view[:, 2])[-_MOST_DRAWN:]:
        radius = 0.7 * covalent_radii[atoms.numbers[k]]
        color = jmol_colors[atoms.numbers[k]]
        axes.add_patch(Circle(view[k, :2], radius, facecolor=color, edgecolor=style.INK, linewidth=0.5))
    reach = float(np.abs(view[:, :2]).max(initial=1.0)) + 1.2
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_axis_off()
