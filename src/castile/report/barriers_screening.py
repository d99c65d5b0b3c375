"""HTML page of a screening: the ranking, and the best hops drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data.colors import jmol_colors
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle

from castile.barriers.hops import find_hops
from castile.barriers.ions import IONIC_RADIUS
from castile.barriers.path import MigrationPath
from castile.barriers.screening import ScreenedCrystal, ScreenedHop, ScreenSettings
from castile.barriers.surroundings import host_chemistry, surroundings
from castile.report import style
from castile.report.barriers_tables import screening_table
from castile.report.figures import Figure, draw
from castile.report.page import Section, Tile, write_html_report

N_DRAWN = 8
N_LISTED = 200
_DEPTH = 2.5  # A; atoms this far above and below the plane of the drawing are shown


def write_screening_report(
    path: str | os.PathLike[str], results: Sequence[ScreenedCrystal], settings: ScreenSettings
) -> Path:
    """Write the page: ranking of the first 200 crystals, and the lowest hop of the first 8 drawn."""
    good = [result for result in results if result.error is None]
    tiles = [
        Tile(str(len(good)), "", "crystals", f"{len(results) - len(good)} skipped"),
        Tile(str(sum(len(result.hops) for result in good)), "", "symmetry-distinct hops"),
    ]
    figures = tuple(figure for result in good[:N_DRAWN] if (figure := _drawn(result, settings)) is not None)
    sections = [Section("Ranking", (screening_table(results, N_LISTED),))]
    if figures:
        sections.append(
            Section("Easiest hops", figures, lead="The lowest hop of the first crystals of the ranking.")
        )
    return write_html_report(path, sections, title=f"Barriers of {settings.mobile}", tiles=tiles)


def _drawn(result: ScreenedCrystal, settings: ScreenSettings) -> Figure | None:
    """Drawing of the lowest hop of a crystal."""
    lowest = min(result.hops, key=lambda hop: hop.barrier)
    hops = find_hops(
        result.atoms, settings.mobile, result.name, longest=settings.longest,
        interstitials=settings.interstitials, tolerance=settings.tolerance, most=settings.most_hops,
    )  # fmt: skip
    path = next((hop.path for hop in hops if hop.path.path_id == lowest.path_id), None)
    return None if path is None else path_figure(path, lowest)


def path_figure(path: MigrationPath, hop: ScreenedHop) -> Figure:
    """The path in the plane that shows most of its surroundings, atoms with their ionic radii."""
    points = path.points(5)
    around = surroundings(path, host_chemistry(path.host), points, 4.5)
    relative = around.positions - points.mean(axis=0)
    along = (points[-1] - points[0]) / path.length
    flat = relative - np.outer(relative @ along, along)
    across = np.linalg.svd(flat[np.linalg.norm(flat, axis=1) < 5.0])[2][0]
    across -= (across @ along) * along
    across /= np.linalg.norm(across)
    depth = relative @ np.cross(along, across)
    shown = np.flatnonzero(np.abs(depth) < _DEPTH)
    shown = shown[np.argsort(depth[shown])]

    def paint(canvas: Canvas) -> None:
        """Atoms from back to front, then the ion's path."""
        axes = canvas.subplots()
        for k in shown:
            z = int(around.numbers[k])
            circle = Circle(
                (relative[k] @ along, relative[k] @ across), 0.6 * IONIC_RADIUS[z],
                facecolor=jmol_colors[z], alpha=0.75, edgecolor=style.INK, linewidth=0.4,
            )  # fmt: skip
            axes.add_patch(circle)
        track = points - points.mean(axis=0)
        axes.plot(track @ along, track @ across, "o-", color=style.REFERENCE, markersize=5)
        axes.set(xlabel="along the path (Å)", ylabel="across (Å)", aspect="equal", xlim=(-6, 6), ylim=(-5, 5))
        axes.grid(visible=False)

    caption = (
        f"{hop.path_id}: {path.symbol} over {hop.length:.2f} Å, {hop.barrier:.2f} eV "
        f"({hop.lower:.2f} to {hop.upper:.2f})."
    )
    return Figure(draw(paint, 4.3, 3.8, hop.path_id), caption)
