"""What a fit did, as tables: census, settings and why, learned noise and amplitudes, composition, timings."""

from __future__ import annotations

import re

from ase.data import chemical_symbols
from pydantic import BaseModel

from castile.evaluation.errors import GPA_PER_EV_PER_CUBIC_ANGSTROM
from castile.evaluation.tables import ABSENT, Table, format_number
from castile.potentials.fit_report import FitReport, LearnedNoise
from castile.report.settings_rows import settings_rows
from castile.structures import LabelCensus


def census_table(census: LabelCensus) -> Table:
    """What the training data hold."""
    rows = tuple((what, typeset(value)) for what, value in census.rows())
    return Table(("what", "value"), rows, "Label census", typeset(" ".join(census.warnings)))


def reasons_table(report: FitReport) -> Table:
    """Settings that came from the data, and why."""
    rows = tuple(
        (note.name, typeset(note.value), typeset(note.reason) or ABSENT) for note in report.explanations
    )
    return Table(("setting", "value", "why"), rows, "Settings taken from the data")


def settings_table(settings: BaseModel) -> Table:
    """Every setting with its meaning."""
    rows = tuple((key, value, text.replace("Angstrom", "Å")) for key, value, text in settings_rows(settings))
    return Table(("setting", "value", "meaning"), rows, "All settings")


def noise_table(report: FitReport) -> Table:
    """Noise of each kind of label beside the misfit of the training labels."""
    rows = []
    for noise in report.noises:
        scale, unit = _readable(noise.unit)
        rows.append(
            (
                noise.kind,
                unit,
                format_number(noise.sigma * scale),
                _origin(noise),
                format_number(noise.training_rmse * scale),
                format_number(noise.n_labels),
                format_number(noise.effective_parameters),
            )
        )
    columns = ("label", "unit", "noise", "origin", "training RMSE", "labels", "effective parameters")
    note = "The energy of a structure of N atoms has its noise times √N."
    scaled = [
        f"The noise of {noise.kind} is {noise.factor:.3g} times what the marginal likelihood found "
        f"(setting noise.{noise.kind}_factor)."
        for noise in report.noises
        if noise.factor != 1.0
    ]
    return Table(columns, tuple(rows), "Noise levels", " ".join([note, *scaled]))


def _origin(noise: LearnedNoise) -> str:
    if not noise.learned:
        return "given"
    return "learned" if noise.factor == 1.0 else f"learned × {noise.factor:.3g}"


def _readable(unit: str) -> tuple[float, str]:
    """Factor to the unit that people read, and that unit."""
    readable = {
        "eV per root atom": (1000.0, "meV/√atom"),
        "eV/A^3": (GPA_PER_EV_PER_CUBIC_ANGSTROM, "GPa"),
    }
    return readable.get(unit, (1.0, typeset(unit)))


def typeset(text: str) -> str:
    """Write Angstrom as Å in numbers with units."""
    return re.sub(r"(?<=[\d.] )A\b|(?<=eV/)A\b|(?<=[\d.] )Angstrom\b", "Å", text.replace("A^3", "Å³"))


def part_name(name: str) -> str:
    """Write the elements of a part of the prior as symbols: ``soap/14`` is ``soap Si``."""
    term, _, elements = name.partition("/")
    if not re.fullmatch(r"\d+(-\d+)*", elements):
        return name
    return f"{term} {'-'.join(chemical_symbols[int(z)] for z in elements.split('-'))}"


def amplitude_table(report: FitReport) -> Table:
    """Amplitude of each part of the prior."""
    rows = tuple(
        (
            part_name(part.name),
            format_number(part.amplitude),
            "learned" if part.learned else "given",
            format_number(part.n_sparse),
            format_number(part.jitter),
        )
        for part in report.amplitudes
    )
    columns = ("part", "amplitude (eV)", "origin", "sparse points", "jitter (relative)")
    return Table(columns, rows, "Amplitudes")


def composition_table(report: FitReport) -> Table:
    """Energies of the elements that are subtracted before the fit."""
    rows = tuple((symbol, f"{energy:.6f}") for symbol, energy in report.composition)
    return Table(("element", "energy (eV)"), rows, "Composition", f"Source: {report.composition_source}.")


def fit_timing_table(report: FitReport) -> Table:
    """Wall time of each stage of the fit."""
    total = sum(seconds for _, seconds in report.timings)
    rows = [(stage, format_number(float(seconds))) for stage, seconds in report.timings]
    memory = (
        f"Peak memory {report.peak_memory / 1e9:.2f} GB; {report.estimated_memory / 1e9:.2f} GB were "
        "estimated before the work started."
    )
    return Table(
        ("stage", "time (s)"), (*rows, ("all", format_number(float(total)))), "Timings of the fit", memory
    )
