"""Sections of the report from plain rows and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from castile.evaluation.errors import GPA_PER_EV_PER_CUBIC_ANGSTROM, Evaluation
from castile.evaluation.statistics import ErrorStatistics
from castile.evaluation.tables import (
    ABSENT,
    Table,
    config_type_table,
    element_table,
    error_table,
    format_number,
    worst_tables,
)
from castile.report.figures import (
    Curve,
    Figure,
    bar_figure,
    energy_conservation_figure,
    line_figure,
    parity_figure,
)
from castile.report.page import Block, Paragraph, Section, Tile


@dataclass(frozen=True)
class Comparison:
    """A property of the material: model against reference.

    Attributes:
        name: e.g. "C11".
        unit: of both values.
        model: value of the model.
        reference: value of the reference; None when there is none.

    """

    name: str
    unit: str
    model: float
    reference: float | None = None


def comparison_table(comparisons: Sequence[Comparison], title: str = "", note: str = "") -> Table:
    """Model, reference and relative difference, one row per property."""
    rows = tuple(
        (
            entry.name,
            entry.unit,
            format_number(entry.model, 4),
            format_number(entry.reference, 4),
            _relative_difference(entry),
        )
        for entry in comparisons
    )
    return Table(("property", "unit", "model", "reference", "difference"), rows, title, note)


def _relative_difference(entry: Comparison) -> str:
    if not entry.reference:
        return ABSENT
    percent = round(100 * (entry.model / entry.reference - 1), 1)
    return f"{percent:+.1f} %" if percent else "0.0 %"


def parity_figures(evaluation: Evaluation) -> tuple[Figure, ...]:
    """Parity plots of the kinds of labels that the data have."""
    overall = evaluation.overall
    figures = []
    if overall.energy_per_atom is not None:
        figures.append(
            parity_figure(
                evaluation.energy_sample,
                quantity="energy",
                unit="eV/atom",
                error_unit="meV/atom",
                error_scale=1000.0,
                summary=_summary(overall.energy_per_atom, 1000.0, "meV/atom"),
            )
        )
    if overall.force is not None:
        figures.append(
            parity_figure(
                evaluation.force_sample,
                quantity="force component",
                unit="eV/Å",
                summary=_summary(overall.force, 1.0, "eV/Å"),
            )
        )
    if overall.stress is not None:
        figures.append(
            parity_figure(
                evaluation.stress_sample,
                quantity="stress component",
                unit="GPa",
                scale=GPA_PER_EV_PER_CUBIC_ANGSTROM,
                summary=_summary(overall.stress, GPA_PER_EV_PER_CUBIC_ANGSTROM, "GPa"),
            )
        )
    return tuple(figures)


def _summary(statistics: ErrorStatistics, scale: float, unit: str) -> str:
    rmse, mae = format_number(statistics.rmse * scale), format_number(statistics.mae * scale)
    return f"RMSE {rmse} {unit}\nMAE {mae} {unit}"


def accuracy_section(evaluation: Evaluation, *, title: str = "Accuracy", lead: str = "") -> Section:
    """Parity plots and error tables."""
    blocks: list[Block] = [*parity_figures(evaluation), error_table(evaluation)]
    if evaluation.by_config_type:
        blocks.append(config_type_table(evaluation))
    if len(evaluation.force_by_element) > 1:
        blocks.append(element_table(evaluation))
    blocks.extend(worst_tables(evaluation))
    return Section(title, tuple(blocks), lead)


def accuracy_tiles(evaluation: Evaluation) -> tuple[Tile, ...]:
    """Headline errors."""
    overall = evaluation.overall
    kinds = (
        ("energy RMSE", overall.energy_per_atom, 1000.0, "meV/atom"),
        ("force RMSE", overall.force, 1.0, "eV/Å"),
        ("stress RMSE", overall.stress, GPA_PER_EV_PER_CUBIC_ANGSTROM, "GPa"),
    )
    return tuple(
        Tile(
            format_number(statistics.rmse * scale),
            unit,
            label,
            f"MAE {format_number(statistics.mae * scale)} {unit}, {statistics.n:,} values",
        )
        for label, statistics, scale, unit in kinds
        if statistics is not None
    )


def table_section(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, lead: str = "", note: str = ""
) -> Section:
    """A section that is one table: label census, settings and why, noise levels."""
    table = Table(tuple(columns), tuple(tuple(str(cell) for cell in row) for row in rows), note=note)
    return Section(title, (table,), lead)


def timing_section(
    steps: Sequence[tuple[str, float]], *, lead: str = "", details: Sequence[Block] = ()
) -> Section:
    """Seconds per step, as bars, and what else there is to say."""
    total = sum(seconds for _, seconds in steps)
    names, seconds = [name for name, _ in steps], [value for _, value in steps]
    figure = bar_figure(names, seconds, x_label="wall time (s)", caption="Wall time of each step.")
    return Section("Timings", (figure, Paragraph(f"{total:.1f} s in all."), *details), lead)


def equation_of_state_section(
    model: tuple[ArrayLike, ArrayLike],
    reference: tuple[ArrayLike, ArrayLike] | None,
    comparisons: Sequence[Comparison],
    *,
    lead: str = "",
) -> Section:
    """Energy against volume.

    Args:
        model: volumes (Angstrom^3/atom) and energies (eV/atom) of the model.
        reference: the same of the reference, drawn as circles.
        comparisons: volume, bulk modulus and the like.
        lead: text below the heading.

    """
    curves = [Curve("model", *_arrays(model))]
    if reference is not None:
        curves.append(Curve("reference", *_arrays(reference), reference=True))
    figure = line_figure(
        curves,
        x_label="volume (Å³/atom)",
        y_label="energy (eV/atom)",
        caption="Energy against volume.",
        wide=True,
    )
    return Section("Equation of state", (figure, comparison_table(comparisons)), lead)


def _arrays(pair: tuple[ArrayLike, ArrayLike]) -> tuple[list[float], list[float]]:
    ordered = sorted(zip(_floats(pair[0]), _floats(pair[1]), strict=True))
    return [x for x, _ in ordered], [y for _, y in ordered]


def _floats(values: ArrayLike) -> list[float]:
    return [float(value) for value in values]  # type: ignore[union-attr, arg-type]


def elastic_section(comparisons: Sequence[Comparison], *, lead: str = "", note: str = "") -> Section:
    """Elastic constants against the reference."""
    return Section("Elastic constants", (comparison_table(comparisons, note=note),), lead)


def energy_conservation_section(
    times: ArrayLike,
    energies_per_atom: ArrayLike,
    temperatures: ArrayLike,
    drift: float,
    *,
    lead: str = "",
) -> Section:
    """Total energy and temperature along a constant-energy run; drift in meV/atom/ps."""
    figure = energy_conservation_figure(times, energies_per_atom, temperatures, drift)
    return Section("Energy conservation", (figure,), lead)
