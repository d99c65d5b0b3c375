"""Plain tables of results, rendered by the command line and by the HTML report alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from castile.evaluation.deviations import DeviationReport
from castile.evaluation.errors import GPA_PER_EV_PER_CUBIC_ANGSTROM, Evaluation, GroupErrors, StructureError
from castile.evaluation.statistics import ErrorStatistics
from castile.potentials.calibration import Calibration, KindCalibration
from castile.potentials.intervals import half_width

ABSENT = "–"
N_SHOWN = 6


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; numeric columns are aligned to the right by the renderers.

    Attributes:
        columns: headings, with units.
        rows: one tuple of cells per row, as many as there are columns.
        title: shown above the table.
        note: shown below the table.
        narrow: whether a page may put it beside another narrow table.

    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""
    narrow: bool = False

    def is_numeric(self, column: int) -> bool:
        """Whether all cells of a column are numbers (or absent)."""
        return bool(self.rows) and all(_is_number(row[column]) for row in self.rows)


def _is_number(cell: str) -> bool:
    if cell == ABSENT:
        return True
    try:
        float(cell.replace(",", "").rstrip("%").strip())
    except ValueError:
        return False
    return True


def format_number(value: float | int | None, digits: int = 3) -> str:
    """Format with ``digits`` significant digits, in plain notation where that is readable."""
    if value is None:
        return ABSENT
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{digits}g}"
    if "e" in text:
        return f"{value:,.0f}"
    decimals = len(text.partition(".")[2])
    missing = digits - len(text.replace("-", "").replace(".", "").lstrip("0"))
    return f"{value:.{decimals + missing}f}" if value != 0 and missing > 0 else text


def error_table(evaluation: Evaluation, title: str = "Errors on all structures") -> Table:
    """One row per kind of label."""
    group = evaluation.overall
    kinds = (
        ("energy", "meV/atom", 1000.0, group.energy_per_atom),
        ("energy of the structure", "meV", 1000.0, group.energy),
        ("force component", "eV/Å", 1.0, group.force),
        ("stress component", "GPa", GPA_PER_EV_PER_CUBIC_ANGSTROM, group.stress),
    )
    rows = tuple(
        (
            name,
            unit,
            format_number(statistics.n),
            format_number(statistics.rmse * scale),
            format_number(statistics.mae * scale),
            format_number(statistics.max_abs * scale),
            "0"
            if abs(statistics.mean_error) < 1e-4 * statistics.rmse
            else format_number(statistics.mean_error * scale),
            ABSENT if statistics.r2 is None else f"{statistics.r2:.5f}",
        )
        for name, unit, scale, statistics in kinds
        if statistics is not None
    )
    columns = ("label", "unit", "number", "RMSE", "MAE", "largest", "mean error", "R²")
    return Table(columns, rows, title)


def config_type_table(evaluation: Evaluation) -> Table:
    """One row per config_type and one for all structures."""
    groups = (*evaluation.by_config_type, evaluation.overall)
    columns = (
        "config_type",
        "structures",
        "atoms",
        "energy RMSE (meV/atom)",
        "energy MAE (meV/atom)",
        "force RMSE (eV/Å)",
        "force MAE (eV/Å)",
        "stress RMSE (GPa)",
        "stress MAE (GPa)",
    )
    return Table(columns, tuple(_group_row(group) for group in groups), "Errors by kind of structure")


def _group_row(group: GroupErrors) -> tuple[str, ...]:
    cells = [group.name, format_number(group.n_structures), format_number(group.n_atoms)]
    for statistics, scale in (
        (group.energy_per_atom, 1000.0),
        (group.force, 1.0),
        (group.stress, GPA_PER_EV_PER_CUBIC_ANGSTROM),
    ):
        cells.append(_scaled(statistics, "rmse", scale))
        cells.append(_scaled(statistics, "mae", scale))
    return tuple(cells)


def _scaled(statistics: ErrorStatistics | None, field: str, scale: float) -> str:
    return ABSENT if statistics is None else format_number(getattr(statistics, field) * scale)


def element_table(evaluation: Evaluation) -> Table:
    """Force errors, one row per element."""
    rows = tuple(
        (
            element,
            format_number(statistics.n // 3),
            format_number(statistics.rmse),
            format_number(statistics.mae),
            format_number(statistics.max_abs),
        )
        for element, statistics in evaluation.force_by_element
    )
    columns = ("element", "atoms", "force RMSE (eV/Å)", "force MAE (eV/Å)", "largest (eV/Å)")
    return Table(columns, rows, "Force errors by element")


def worst_tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """The structures with the largest errors: where to look, and what to compute next."""
    tables = []
    if evaluation.worst_energies:
        title = "Largest energy errors"
        tables.append(_worst_table(evaluation.worst_energies, 1000.0, "error (meV/atom)", title))
    if evaluation.worst_forces:
        title = "Largest errors of a force component"
        tables.append(_worst_table(evaluation.worst_forces, 1.0, "error (eV/Å)", title))
    return tuple(tables)


def deviation_table(report: DeviationReport) -> Table:
    """One row per kind of label: how well standard deviations predict the errors."""
    kinds = (
        ("energy", "meV/atom", 1000.0, report.energy),
        ("force component", "eV/Å", 1.0, report.force),
        ("stress component", "GPa", GPA_PER_EV_PER_CUBIC_ANGSTROM, report.stress),
    )
    rows = tuple(
        (
            name,
            unit,
            format_number(found.n),
            f"{100 * found.coverage_68:.1f} %",
            f"{100 * found.coverage_95:.1f} %",
            f"{found.miscalibration_area:.3f}",
            format_number(found.rms_deviation * scale),
            format_number(found.crps * scale),
            format_number(found.nll + math.log(scale)),
            ABSENT if found.spearman is None else f"{found.spearman:.3f}",
        )
        for name, unit, scale, found in kinds
        if found is not None
    )
    columns = (
        "label", "unit", "number", "68 % interval", "95 % interval", "miscal. area", "rms deviation", "CRPS",
        "NLL", "Spearman",
    )  # fmt: skip
    norm = report.force_norm_spearman
    ranks = "" if norm is None else f" Rank correlation of force deviation and error per atom: {norm:.3f}."
    grade = f"{format_number(report.mean_grade)}, largest {format_number(report.max_grade)}"
    note = f"Extrapolation grade of the atoms: mean {grade}.{ranks} Deviations: {report.meaning}."
    for remark in report.remarks:
        note += f" Not counted: {remark}."
    return Table(columns, rows, "Standard deviations against errors", note)


def calibration_table(before: Calibration, after: Calibration) -> Table:
    """Factors of the standard deviations before and after a calibration."""
    rows = []
    kinds = (
        ("energy", before.energy, after.energy, "meV per root atom", 1000.0),
        ("forces", before.forces, after.forces, "eV/Å", 1.0),
        ("stress", before.stress, after.stress, "GPa", GPA_PER_EV_PER_CUBIC_ANGSTROM),
    )
    for name, old, new, unit, scale in kinds:
        pairs = ((old.posterior, new.posterior), (old.residual, new.residual))
        cells = [f"{format_number(a)} → {format_number(b)}" for a, b in pairs]
        cells.append(f"{format_number(old.floor * scale)} → {format_number(new.floor * scale)} {unit}")
        cells.append(f"{_intervals(old)} → {_intervals(new)}")
        rows.append((name, *cells))
    columns = ("kind", "posterior factor", "residual factor", "floor", "68 %, 95 % interval (deviations)")
    return Table(columns, tuple(rows), "Calibration: before and after", f"{after.source}.")


def deviation_source_table(calibration: Calibration) -> Table:
    """What the standard deviations of a model are scaled by, where that comes from, how to renew it."""
    rows = [("scaled by", calibration.source)]
    units = (
        ("energy", "meV per root atom", 1000.0),
        ("forces", "eV/Å", 1.0),
        ("stress", "GPa", GPA_PER_EV_PER_CUBIC_ANGSTROM),
    )
    for name, unit, scale in units:
        kind = getattr(calibration, name)
        factors = f"posterior {format_number(kind.posterior)}, residual {format_number(kind.residual)}"
        intervals = f"68 % and 95 % intervals ± {_intervals(kind)} deviations"
        rows.append((name, f"{factors}, floor {format_number(kind.floor * scale)} {unit}; {intervals}"))
    if calibration.local is not None:
        near = f"by the errors on the {len(calibration.local.means)} structures, as far as they are alike"
        rows.append(("varies", near))
    rows.append(
        ("to renew", "castile calibrate MODEL DATA, with labelled structures that the fit has not seen")
    )
    rows += [("remark", remark) for remark in calibration.remarks]
    return Table(("what", "value"), tuple(rows), "Standard deviations")


def _intervals(kind: KindCalibration) -> str:
    """Half widths of the intervals of 68 and 95 %, in deviations."""
    return ", ".join(f"{half_width(level, kind.tail):.2f}" for level in (0.68, 0.95))


def _worst_table(worst: tuple[StructureError, ...], scale: float, heading: str, title: str) -> Table:
    rows = tuple(
        (entry.name, entry.config_type or ABSENT, format_number(entry.error * scale))
        for entry in worst[:N_SHOWN]
    )
    return Table(("structure", "config_type", heading), rows, title, narrow=True)
