"""What a model file says about a model that another program fitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ase.data import chemical_symbols

from castile.evaluation.tables import Table, format_number
from castile.formats import ModelFile
from castile.potentials.imported import ImportedModel
from castile.potentials.imported_uncertainty import ImportedUncertainty
from castile.potentials.model import PotentialModel

_MANY = 20


@dataclass(frozen=True)
class ImportedSummary:
    """Content of the model file of an imported model.

    Attributes:
        path: the file.
        n_bytes: its size.
        file: its header, arrays, versions and hash.
        imported: the model and its origin.

    """

    path: Path
    n_bytes: int
    file: ModelFile
    imported: ImportedModel

    def tables(self) -> tuple[Table, ...]:
        """Tables for the terminal or a page."""
        return self._file_table(), term_table(self.imported.model)

    def _file_table(self) -> Table:
        origin, model = self.imported.origin, self.imported.model
        rows = (
            ("file", f"{self.path} ({self.n_bytes / 1e6:.2f} MB)"),
            ("imported from", f"{origin.program}, {origin.file}, {origin.label}, version {origin.version}"),
            ("elements", element_list(model)),
            ("cutoff", f"{model.cutoff:g} Å"),
            ("written by", f"castile {self.file.package_version}, file schema {self.file.schema_version}"),
            ("standard deviations", ImportedUncertainty(model).meaning),
            ("hash of the model", self.file.sha256),
        )
        return Table(("what", "value"), rows, "Model")

    def to_json_dict(self) -> dict[str, float | int | bool | str | None]:
        """Flat values; keys are on the page of ``castile info``."""
        origin, model = self.imported.origin, self.imported.model
        return {
            "file_bytes": self.n_bytes,
            "schema_version": self.file.schema_version,
            "package_version": self.file.package_version,
            "model_sha256": self.file.sha256,
            "imported_from": origin.program,
            "imported_file": origin.file,
            "imported_label": origin.label,
            "imported_version": origin.version,
            "elements": " ".join(chemical_symbols[z] for z in model.elements),
            "cutoff_angstrom": model.cutoff,
            "n_weights": sum(len(weights) for weights in model.weights),
        }


def element_list(model: PotentialModel) -> str:
    """Return the elements that a model may be used for, in words."""
    if len(model.elements) > _MANY:
        return f"{len(model.elements)}: the file does not restrict them"
    return ", ".join(chemical_symbols[z] for z in model.elements)


def term_table(model: PotentialModel) -> Table:
    """Terms of a model with their sizes."""
    rows = [
        (term.name, term.kind.replace("_", " "), format_number(term.n_columns), f"{term.cutoff:g}")
        for term in model.terms
    ]
    if model.core is not None:
        rows.append(("core", model.core.kind, "–", f"{model.core.cutoff:g}"))
    note = f"Elements: {element_list(model)}."
    return Table(("term", "kind", "sparse points", "cutoff (Å)"), tuple(rows), "Terms", note)
