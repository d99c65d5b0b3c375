"""The report of ``castile fit``."""

from __future__ import annotations

import os
from pathlib import Path

from castile.evaluation import Evaluation
from castile.potentials.fit_report import FitReport
from castile.report.fit_sections import fit_sections
from castile.report.page import Section, write_html_report
from castile.report.sections import accuracy_section, accuracy_tiles, timing_section


def write_fitting_report(
    path: str | os.PathLike[str],
    report: FitReport,
    *,
    model_name: str,
    evaluation: Evaluation | None = None,
) -> Path:
    """Write what the fit did, and its errors on test structures if there are any, as one HTML file."""
    sections: list[Section] = []
    if evaluation is not None:
        sections.append(accuracy_section(evaluation, lead="Test structures against their labels."))
    sections += fit_sections(report)
    sections.append(timing_section(report.timings, lead="Wall time of each stage of the fit."))
    census = report.census
    return write_html_report(
        path,
        sections,
        title=f"Fit of {model_name}",
        subtitle=f"{census.n_structures:,} structures, {census.n_atoms:,} atoms",
        tiles=() if evaluation is None else accuracy_tiles(evaluation),
        footer=(
            f"Fitted in {report.seconds:.0f} s; peak memory {report.peak_memory / 1e9:.2f} GB, "
            f"{report.estimated_memory / 1e9:.2f} GB estimated."
        ),
    )
