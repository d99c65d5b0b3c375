"""Everything that a model file says about itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from castile.evaluation.tables import Table, deviation_source_table, format_number
from castile.formats import read_model_file
from castile.potentials.calibration import Calibration
from castile.potentials.fit_report import FitReport
from castile.potentials.gap import load
from castile.potentials.imported import ImportedModel
from castile.potentials.intervals import half_width
from castile.potentials.settings import FitSettings
from castile.report.fit_tables import (
    amplitude_table,
    census_table,
    composition_table,
    fit_timing_table,
    noise_table,
    reasons_table,
    settings_table,
)
from castile.report.imported_summary import ImportedSummary
from castile.report.settings_rows import settings_values

Json = float | int | bool | str | None


@dataclass(frozen=True)
class ModelSummary:
    """Content of a model file.

    Attributes:
        path: the file.
        n_bytes: its size.
        schema_version: of its layout.
        package_version: of the Castile that wrote it.
        sha256: hash of its content, verified.
        elements: chemical symbols that the model knows.
        cutoff: largest cutoff of all terms, Angstrom.
        settings: complete; a fit with them gives the same model.
        report: what the fit did.
        calibration: what the standard deviations are scaled by.

    """

    path: Path
    n_bytes: int
    schema_version: int
    package_version: str
    sha256: str
    elements: tuple[str, ...]
    cutoff: float
    settings: FitSettings
    report: FitReport
    calibration: Calibration

    def tables(self) -> tuple[Table, ...]:
        """Tables for the terminal or a page."""
        return (
            self._file_table(),
            census_table(self.report.census),
            composition_table(self.report),
            noise_table(self.report),
            amplitude_table(self.report),
            deviation_source_table(self.calibration),
            reasons_table(self.report),
            settings_table(self.settings),
            fit_timing_table(self.report),
        )

    def _file_table(self) -> Table:
        rows = (
            ("file", f"{self.path} ({self.n_bytes / 1e6:.2f} MB)"),
            ("elements", ", ".join(self.elements)),
            ("cutoff", f"{self.cutoff:g} Å"),
            ("weights", format_number(self.report.n_columns)),
            ("written by", f"castile {self.package_version}, file schema {self.schema_version}"),
            ("hash of the model", self.sha256),
            ("hash of the training data", self.report.census.data_hash),
        )
        return Table(("what", "value"), rows, "Model")

    def to_json_dict(self) -> dict[str, Json]:
        """Flat values; keys are on the pages of ``castile info`` and, for the fit, ``castile fit``."""
        values: dict[str, Json] = {
            "file_bytes": self.n_bytes,
            "schema_version": self.schema_version,
            "package_version": self.package_version,
            "model_sha256": self.sha256,
            "elements": " ".join(self.elements),
            "cutoff_angstrom": self.cutoff,
            "n_weights": self.report.n_columns,
        }
        values["calibration"] = self.calibration.source
        values["n_calibration_structures"] = self.calibration.n_structures
        values["n_calibration_structures_of_updates"] = self.calibration.n_updated
        values["calibration_remarks"] = "; ".join(self.calibration.remarks)
        for kind, tail in self.calibration.tails.items():
            for percent in (68, 95):
                values[f"{kind}_interval_{percent}_deviations"] = half_width(percent / 100, tail)
        values |= self.report.to_json_dict()
        values |= {f"settings/{key}": value for key, value in settings_values(self.settings)}
        return values


def summarize_model(path: str | os.PathLike[str]) -> ModelSummary | ImportedSummary:
    """Read a model file, verify it, and return what it says about itself.

    Raises:
        ModelFileError: the file is missing, damaged, edited, or of a newer version.

    """
    source = Path(path)
    content = read_model_file(source)
    model = load(source)
    if isinstance(model.outcome_, ImportedModel):
        return ImportedSummary(source, source.stat().st_size, content, model.outcome_)
    return ModelSummary(
        path=source,
        n_bytes=source.stat().st_size,
        schema_version=content.schema_version,
        package_version=content.package_version,
        sha256=content.sha256,
        elements=tuple(content.header["elements"]),
        cutoff=model.fitted_model.cutoff,
        settings=model.settings_,
        report=model.fit_report,
        calibration=model.uncertainty.calibration,
    )
