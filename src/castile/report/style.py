"""One palette and one set of figure settings for every plot and page."""

from __future__ import annotations

INK = "#1d2733"
MUTED = "#66727f"
GRID = "#e6eaef"
MODEL = "#1f5f99"
REFERENCE = "#d9603b"
GOOD = "#2b8a6e"
THIRD = "#8a6fb3"
DENSITY = ("#a9cbe8", "#5b9bd0", "#1f5f99", "#0f3a66", "#071f3a")

FONT = "DejaVu Sans"
FIGURE_SETTINGS: dict[str, object] = {
    "font.family": FONT,
    "font.size": 9.5,
    "axes.edgecolor": "#b5bec8",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
