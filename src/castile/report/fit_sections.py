"""Sections of the report about the fit itself."""

from __future__ import annotations

from dataclasses import replace

from castile.evaluation.tables import Table
from castile.potentials.fit_report import FitReport
from castile.report.fit_tables import (
    amplitude_table,
    census_table,
    composition_table,
    fit_timing_table,
    noise_table,
    reasons_table,
)
from castile.report.page import Paragraph, Section

_NOISE = (
    "Nothing here was tuned by hand: noise levels and amplitudes are those with the largest marginal "
    "likelihood. The noise of a label is how far the model may stay from it: it covers what the calculation "
    "scatters and what the model cannot express. Where the training error is much smaller than the noise, the "
    "labels leave weights undetermined."
)
_AMPLITUDES = (
    "The amplitude of a part is how much energy per atom it contributes, as a standard deviation before any "
    "label is seen. The effective number of parameters is how many of the weights the labels of a kind determine."
)


def fit_sections(report: FitReport) -> list[Section]:
    """Census, settings and why, learned noise and amplitudes, timings and memory."""
    evidence = f"Log marginal likelihood {report.log_evidence:,.1f} with {report.n_columns:,} weights."
    message = report.evidence_message.strip().rstrip(".")
    learned = f"{evidence} {message[:1].upper()}{message[1:]}." if message else evidence
    return [
        Section("Label census", (_untitled(census_table(report.census)),), "What the training data hold."),
        Section(
            "Settings and why", (_untitled(reasons_table(report)),), "Every default that came from the data."
        ),
        Section(
            "Learned noise and amplitudes",
            (
                noise_table(report),
                amplitude_table(report),
                Paragraph(_AMPLITUDES),
                composition_table(report),
                Paragraph(learned),
            ),
            _NOISE,
        ),
        Section("The fit", (_untitled(fit_timing_table(report)),), "Wall time of each stage."),
    ]


def _untitled(table: Table) -> Table:
    return replace(table, title="")
