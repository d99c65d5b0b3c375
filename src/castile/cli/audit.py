"""``castile audit``: what a split leaks, and what its errors owe to that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castile.cli.options import ConfigTypeKey, EnergyKey, JsonFile, Workers
from castile.cli.output import print_table, remark, step_progress, write_json
from castile.cli.similarity_options import (
    Cutoff,
    Gamma,
    Kernel,
    KernelName,
    Rattle,
    Seed,
    SkipBroken,
    Threshold,
    Zeta,
    report_skipped,
    similarity_settings,
)

if TYPE_CHECKING:
    from castile.splits.audit_result import Audit
    from castile.splits.dataset import Dataset
    from castile.structures import StructureSource

TrainFile = Annotated[str, typer.Argument(metavar="TRAIN", help="Training structures, or all of them.")]
TestFile = Annotated[
    str | None,
    typer.Argument(metavar="TEST", help="Test structures (not with --split-key, --fold-key or --folds)."),
]
SplitKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Info key that says 'test' for test structures.")
]
TestValue = Annotated[
    str, typer.Option(metavar="VALUE", help="What --split-key says for test structures instead.")
]
FoldKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Info key with the fold of each structure: your cross-validation."),
]
Folds = Annotated[
    int | None, typer.Option(min=2, metavar="N", help="Audit a random cross-validation with N folds.")
]
Target = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="energy, or an info key: learnt under this and a leak-proof split."),
]
Model = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL", help="Errors of this model against the similarity; the target is then the energy."
    ),
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="HTML with pictures.")]


def audit(
    train: TrainFile,
    test: TestFile = None,
    split_key: SplitKey = None,
    test_value: TestValue = "test",
    fold_key: FoldKey = None,
    folds: Folds = None,
    threshold: Threshold = None,
    rattle: Rattle = 0.01,
    target: Target = None,
    model: Model = None,
    report: Report = None,
    json: JsonFile = None,
    skip_broken: SkipBroken = False,
    seed: Seed = 0,
    workers: Workers = None,
    energy_key: EnergyKey = None,
    config_type_key: ConfigTypeKey = "config_type",
    kernel: Kernel = KernelName.best_match,
    zeta: Zeta = 1.0,
    gamma: Gamma = 0.02,
    cutoff: Cutoff = None,
) -> None:
    """Find what TEST shares with TRAIN: leaks, duplicates, and the errors that come of it."""
    from castile.execution.task_pool import open_task_pool
    from castile.splits.audit import audit as audit_split
    from castile.splits.dataset import label_keys
    from castile.structures import StructureSource

    names = [name for name in (train, test) if name is not None]
    keys = label_keys(energy_key, config_type_key)
    sources = [StructureSource(name, keys) for name in names]
    for path in filter(None, (report, json)):
        for source in sources:
            source.refuse_as_output(path)
    dataset, sides = _read(sources, split_key, test_value, fold_key, folds, target, skip_broken, seed)
    if model is not None and target is None:
        target = _energy_if_known(dataset)
    with open_task_pool(workers) as pool, step_progress() as steps:
        found = audit_split(
            dataset, sides, cross_validation=folds is not None or fold_key is not None, threshold=threshold,
            settings=similarity_settings(kernel, zeta, gamma, cutoff), rattle=rattle, target=target,
            errors=None if model is None else _model_errors(model, sources, skip_broken), seed=seed,
            pool=pool if workers else None, progress=steps,
        )  # fmt: skip
    _show(found, names, target, model, report)
    if json is not None:
        write_json(json, found.numbers())


def _show(
    found: Audit, names: list[str], target: str | None, model: Path | None, report: Path | None
) -> None:
    """Print the audit, and write its page."""
    unit = "eV/atom" if model is not None or target == "energy" else ""
    for table in _tables(found, unit):
        print_table(table)
    for text in found.remarks:
        remark(text)
    if report is not None:
        from castile.report.audit_report import write_audit_report

        remark(f"Report: {write_audit_report(report, found, data_names=names, target_unit=unit)}")


def _read(
    sources: list[StructureSource],
    split_key: str | None,
    test_value: str,
    fold_key: str | None,
    folds: int | None,
    target: str | None,
    skip_broken: bool,
    seed: int,
) -> tuple[Dataset, Any]:
    """All structures, and the side or fold of each."""
    import numpy as np

    from castile.errors import InputError
    from castile.splits.dataset import joined, read_dataset
    from castile.splits.folds import given_folds, marked_sides, random_folds

    given = (len(sources) == 2) + (split_key is not None) + (fold_key is not None) + (folds is not None)
    if given != 1:
        raise InputError("name TRAIN and TEST, or one file with --split-key KEY, --fold-key KEY or --folds N")
    keys = [key for key in (target, split_key, fold_key) if key is not None]
    parts = [read_dataset(source, keys, skip_broken=skip_broken) for source in sources]
    data = joined(*parts) if len(parts) == 2 else parts[0]
    report_skipped(data.skipped, len(data))
    if len(parts) == 2:
        return data, np.repeat([0, 1], [len(part) for part in parts])
    if folds is not None:
        return data, random_folds(len(data), folds, seed)
    if fold_key is not None:
        return data, given_folds(data.values(fold_key), fold_key)
    assert split_key is not None
    return data, marked_sides(data.values(split_key), split_key, test_value)


def _energy_if_known(data: Dataset) -> str | None:
    """The target that goes with a model, where all structures have it."""
    import numpy as np

    return "energy" if np.isfinite(data.energies).all() else None


def _model_errors(model: Path, sources: list[StructureSource], skip_broken: bool) -> Any:
    """Absolute errors of the energy per atom, eV/atom; NaN without a label."""
    import numpy as np

    import castile
    from castile.splits.sound_structures import sound_structures

    potential = castile.load(model)
    errors = []
    for source in sources:
        for structure in sound_structures(source, [] if skip_broken else None):
            known = structure.energy is not None
            predicted = potential.predict(structure.atoms).energy if known else np.nan
            errors.append(abs(predicted - (structure.energy or 0.0)) / len(structure.atoms))
    return np.array(errors)


def _tables(found: Audit, unit: str) -> list[Any]:
    """What was found, the worst leaks, and errors where there are any."""
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
