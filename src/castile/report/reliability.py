"""Reliability of standard deviations: diagram, table and section of the report."""

from __future__ import annotations

from matplotlib.figure import Figure as Canvas

from castile.evaluation import DeviationReport
from castile.evaluation.deviations import LEVELS
from castile.evaluation.tables import deviation_table
from castile.report import style
from castile.report.figures import Figure, draw
from castile.report.page import Section


def reliability_figure(report: DeviationReport) -> Figure:
    """Fraction of errors within the central interval of each probability; the diagonal is perfect."""
    kinds = (
        ("energy", report.energy, style.MODEL),
        ("force components", report.force, style.GOOD),
        ("stress components", report.stress, style.THIRD),
    )

    def paint(canvas: Canvas) -> None:
        """A curve for each kind of label, the diagonal, and lines at 68 and 95 %."""
        axes = canvas.subplots()
        axes.plot([0.0, 1.0], [0.0, 1.0], color=style.REFERENCE, linewidth=1.0, zorder=1)
        for name, found, color in kinds:
            if found is not None:
                label = f"{name} (area {found.miscalibration_area:.3f})"
                axes.plot(LEVELS, found.coverage, color=color, label=label)
        for level in (0.68, 0.95):
            axes.axvline(level, color=style.GRID, linewidth=1.0, zorder=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="probability of the interval", ylabel="fraction of errors inside")
        axes.legend(loc="upper left", fontsize=8.0)

    caption = (
        "Reliability of the standard deviations: fraction of errors inside the central interval of each "
        "probability. Above the diagonal deviations are too large, below too small."
    )
    return Figure(draw(paint, 4.3, 4.3, "reliability"), caption)


def uncertainty_section(report: DeviationReport) -> Section:
    """Reliability diagram and the numbers behind it."""
    lead = "Standard deviations that the model predicts against the errors that it makes."
    return Section("Uncertainty", (reliability_figure(report), deviation_table(report)), lead)
