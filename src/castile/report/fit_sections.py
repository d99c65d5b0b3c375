"""Sections of the report about the fit itself."""

from __future__ import annotations

from dataclasses import replace

from castile.evaluation.tables import Table
from castile.potentials.fit_report import FitReport
from castile.report.fit_tables import (
    amplitude_table,
    census_table,
    composition_table,
    noise_table,
    reasons_table,
)
from castile.report.page import Paragraph, Section

_NOISE = (
    "Nothing here was tuned by hand: noise levels and amplitudes are those with the largest marginal "
    "likelihood, the noise of energies times a fixed factor where forces are fitted too. The noise of a "
    "label is how far the model may stay from it: it covers what the calculation scatters and what the model "
    "cannot express. A training error much smaller than the noise means that nearly as many parameters are "
    "determined as there are labels."
)
_AMPLITUDES = (
    "The amplitude of a part is how much energy per atom it contributes, as a standard deviation before any "
    "label is seen. The effective parameters of a kind of label are how many combinations of the weights it "
    "determines."
)


def fit_sections(report: FitReport) -> list[Section]:
    """Census, settings and why, learned noise and amplitudes."""
    evidence = f"Log marginal likelihood {report.log_evidence:,.1f} with {report.n_columns:,} weights."
    message = report.evidence_message.strip().rstrip(".")
    learned = f"{evidence} {message[:1].upper()}{message[1:]}." if message else evidence
    return [
        Section("Label census", (_untitled(census_table(report.census)),), "What the training data hold."),
        Section(
            "Settings and why", (_untitled(reasons_table(report)),), "Every default that came from the data."
        ),
        Section(
            "Noise and amplitudes",
            (
                noise_table(report),
                amplitude_table(report),
                Paragraph(_AMPLITUDES),
                composition_table(report),
                Paragraph(learned),
            ),
            _NOISE,
        ),
    ]


def _untitled(table: Table) -> Table:
    return replace(table, title="")
