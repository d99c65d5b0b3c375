"""The report of ``castile neb``: the energy profile with its deviations, and the numbers."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure as Canvas

from castile.barriers.neb_result import NebResult
from castile.evaluation.tables import Table
from castile.report import style
from castile.report.figures import Figure, draw
from castile.report.page import Section, Tile, write_html_report


def profile_figure(result: NebResult) -> Figure:
    """Energy along the path with two deviations, the images, and what the oracle computed near it."""
    profile = result.profile

    def paint(canvas: Canvas) -> None:
        """Band of two deviations, the line of the surrogate, images, and calculations as open circles."""
        axes = canvas.subplots()
        low, high = (profile.energies + sign * 2.0 * profile.deviations for sign in (-1.0, 1.0))
        axes.fill_between(
            profile.coordinates, low, high, color=style.MODEL, alpha=0.22, linewidth=0, label="±2 deviations"
        )
        axes.plot(profile.coordinates, profile.energies, color=style.MODEL, label="surrogate")
        axes.plot(profile.image_coordinates, profile.image_energies, "o", color=style.MODEL, label="images")
        axes.plot(
            profile.oracle_coordinates, profile.oracle_energies, "o", color=style.REFERENCE, markersize=9,
            markerfacecolor="none", markeredgewidth=1.6, label="oracle",
        )  # fmt: skip
        axes.set(xlabel="length of the path (Å)", ylabel="energy (eV)")
        axes.legend(loc="best")

    caption = (
        "Energy along the path relative to the initial end; open circles: calculations of the oracle within "
        "0.5 Å of the path."
    )
    return Figure(draw(paint, 8.6, 3.8, "neb profile"), caption, wide=True)


def neb_table(result: NebResult) -> Table:
    """Return the numbers of a band."""
    force = (
        "no image above both ends" if result.climbing_force is None else f"{result.climbing_force:.4f} eV/Å"
    )
    rows = (
        ("barrier", f"{result.barrier:.4f} eV"),
        ("barrier from the final end", f"{result.reverse_barrier:.4f} eV"),
        ("deviation of the surrogate at the top", f"{result.barrier_std:.4f} eV"),
        ("true force at the climbing image", force),
        ("largest deviation along the path", f"{result.largest_deviation:.4f} eV"),
        ("largest deviation of the slope", f"{result.largest_slope_deviation:.4f} eV/Å"),
        ("calls of the oracle between the ends", str(result.n_oracle_calls)),
        ("calls for the ends", str(result.n_end_calls)),
        ("calls that failed", str(result.n_failed_calls)),
        ("converged", f"{'yes' if result.converged else 'no'}: {result.reason}"),
    )
    return Table(columns=("", "value"), rows=rows, title="Nudged elastic band")


def write_neb_report(path: str | os.PathLike[str], result: NebResult, *, title: str) -> Path:
    """Write figure and numbers as one HTML file and return its path."""
    tiles = (
        Tile(f"{result.barrier:.3f}", "eV", "barrier", passed=result.converged),
        Tile(f"{result.reverse_barrier:.3f}", "eV", "barrier from the final end"),
        Tile(str(result.n_oracle_calls), "", "calls of the oracle between the ends"),
    )
    section = Section("Energy along the path", (profile_figure(result), neb_table(result)))
    symbols = str(result.images[0].symbols)
    return write_html_report(path, [section], title=title, subtitle=symbols, tiles=tiles)
