"""``castile audit``: what a split leaks, and what its errors owe to that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castile.cli.options import JsonFile
from castile.cli.split import (
    Cutoff,
    Gamma,
    Kernel,
    KernelName,
    Seed,
    Threshold,
    Workers,
    Zeta,
    similarity_settings,
)

if TYPE_CHECKING:
    from castile.splits.audit import Audit
    from castile.splits.dataset import Dataset


def audit(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Training structures, or all of them.")],
    test: Annotated[
        str | None,
        typer.Argument(metavar="TEST", help="Test structures (not with --split-key or --folds)."),
    ] = None,
    split_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Info key that says 'test' for test structures.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Audit a random cross-validation with this many folds.")
    ] = None,
    threshold: Threshold = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="energy, or an info key: learnt under this and a leak-proof split."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Errors of this model against the similarity.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="HTML with pictures.")] = None,
    json: JsonFile = None,
    seed: Seed = 0,
    workers: Workers = None,
    kernel: Kernel = KernelName.best_match,
    zeta: Zeta = 1.0,
    gamma: Gamma = 0.02,
    cutoff: Cutoff = None,
) -> None:
    """Find what TEST shares with TRAIN: leaks, duplicates, and the errors that come of it."""
    from castile.cli.output import print_table, remark, step_progress, write_json
    from castile.execution.task_pool import open_task_pool
    from castile.splits.audit import audit as audit_split
    from castile.structures import StructureSource

    sources = [StructureSource(name) for name in (train, test) if name is not None]
    for path in (report, json):
        if path is not None:
            for source in sources:
                source.refuse_as_output(path)
    dataset, parts = _read(sources, split_key, folds, target, seed)
    errors = None if model is None else _model_errors(model, sources)
    with open_task_pool(workers) as pool, step_progress() as steps:
        found = audit_split(
            dataset,
            parts,
            cross_validation=folds is not None,
            threshold=threshold,
            settings=similarity_settings(kernel, zeta, gamma, cutoff),
            target=target,
            errors=errors,
            seed=seed,
            pool=pool if workers else None,
            progress=steps,
        )
    unit = "eV/atom" if model is not None or target == "energy" else ""
    for table in _tables(found, unit):
        print_table(table)
    if json is not None:
        write_json(json, found.numbers())
    if report is not None:
        from castile.report.audit_report import write_audit_report

        names = [name for name in (train, test) if name is not None]
        remark(f"Report: {write_audit_report(report, found, data_names=names, target_unit=unit)}")


def _read(
    sources: list[Any], split_key: str | None, folds: int | None, target: str | None, seed: int
) -> tuple[Dataset, Any]:
    """All structures, and the part of each."""
    import numpy as np

    from castile.errors import InputError
    from castile.splits.audit import random_folds
    from castile.splits.dataset import joined, read_dataset

    given = (len(sources) == 2) + (split_key is not None) + (folds is not None)
    if given != 1:
        raise InputError("name TRAIN and TEST, or one file with --split-key KEY or --folds N")
    keys = [key for key in (target, split_key) if key is not None]
    parts = [read_dataset(source, keys) for source in sources]
    if len(parts) == 2:
        return joined(*parts), np.repeat([0, 1], [len(part) for part in parts])
    if folds is not None:
        return parts[0], random_folds(len(parts[0]), folds, seed)
    assert split_key is not None
    return parts[0], np.array([str(value) == "test" for value in parts[0].columns[split_key]]).astype(int)


def _model_errors(model: Path, sources: list[Any]) -> Any:
    """Absolute errors of the energy per atom, eV/atom; NaN without a label."""
    import numpy as np

    import castile

    potential = castile.load(model)
    errors = []
    for source in sources:
        for structure in source:
            known = structure.energy is not None
            predicted = potential.predict(structure.atoms).energy if known else np.nan
            errors.append(abs(predicted - (structure.energy or 0.0)) / len(structure.atoms))
    return np.array(errors)


def _tables(found: Audit, unit: str) -> list[Any]:
    from castile.evaluation.tables import Table, format_number
    from castile.report.audit_report import leak_table
    from castile.splits.threshold import distance_of

    n = len(found.nearest)
    facts = [
        ("tested structures", f"{n:,}"),
        ("threshold k", f"{found.threshold:.8f}"),
        ("threshold as a distance", format_number(distance_of(found.threshold))),
        ("leaks", f"{len(found.leaks):,} ({len(found.leaks) / n:.1%})"),
        ("exact duplicates across", f"{found.n_exact_duplicates:,}"),
        ("exact duplicates with contradicting labels", f"{len(found.contradictions):,}"),
        ("largest similarity across", f"{found.nearest[0].similarity:.8f}"),
        ("components of all structures", f"{int(found.components.max()) + 1:,}"),
    ]
    names = ("all",) if found.cross_validation else ("training", "test")
    for name, exact, near in zip(names, found.duplicates_within, found.near_within, strict=True):
        facts.append((f"within {name}: exact duplicates, redundant", f"{exact:,}, {near:,}"))
    note = "" if found.curve is None else f"Threshold suggested: {found.curve.reason}."
    tables = [Table(("", "value"), tuple(facts), "Audit", note)]
    if found.leaks:
        tables.append(leak_table(found, 8))
    if found.bins:
        rows = tuple(
            (format_number(b.low), format_number(b.high), f"{b.n_structures:,}", format_number(b.mae))
            for b in found.bins
        )
        error = f"mean absolute error ({unit})" if unit else "mean absolute error"
        columns = ("from d", "to d", "structures", error)
        tables.append(Table(columns, rows, "Error by distance to training"))
    if found.optimism is not None:
        o = found.optimism
        errors = (
            ("this split", format_number(o.mae), format_number(o.rmse)),
            ("leak-proof", format_number(o.leakproof_mae), format_number(o.leakproof_rmse)),
        )
        title = f"Learner of {o.target!r}: {format_number(o.factor)} x without leaks"
        tables.append(Table(("", "MAE", "RMSE"), errors, title))
    return tables


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(audit)
