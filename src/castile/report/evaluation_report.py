"""The report of ``castile evaluate``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from castile.evaluation import Evaluation
from castile.report.page import write_html_report
from castile.report.reliability import uncertainty_section
from castile.report.sections import accuracy_section, accuracy_tiles


def write_evaluation_report(
    path: str | os.PathLike[str], evaluation: Evaluation, *, model_name: str, data_names: Sequence[str]
) -> Path:
    """Write parity plots and error tables as one HTML file and return its path."""
    data = ", ".join(data_names)
    subtitle = f"{evaluation.n_structures:,} structures, {evaluation.n_atoms:,} atoms: {data}"
    speed = f"Reading and predicting took {evaluation.prediction_seconds:.3g} s."
    sections = [accuracy_section(evaluation, lead="Predicted values against the labels of the data.")]
    if evaluation.deviations is not None:
        sections.append(uncertainty_section(evaluation.deviations))
    return write_html_report(
        path,
        sections,
        title=f"Accuracy of {model_name}",
        subtitle=subtitle,
        tiles=accuracy_tiles(evaluation),
        footer=speed,
    )
