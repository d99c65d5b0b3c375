"""``castile compare``: whether the dear descriptor, or the large potential, is worth it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castile.cli.options import DataFiles, JsonFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castile.comparison import Comparison, NamedDescriptor
    from castile.properties.inputs import Scope
    from castile.splits.dataset import Dataset
    from castile.structures import StructureSource

MOST_LABELS = 1600
QUICK_LABELS, QUICK_SEEDS = 400, 2
TRAINING_SHARE = 0.75


class Metric(StrEnum):
    """How errors are averaged."""

    mae = "mae"
    rmse = "rmse"


TargetKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Info key to learn; energy: the label, per atom (default: energy)."),
]
LabelCost = Annotated[
    str, typer.Option(metavar="TIME", help="Processor time of one label: 3600s, 20min, 1h, 2d.")
]
WantedError = Annotated[
    float | None,
    typer.Option(help="Wanted error, in the unit of the target (default: the best measured)."),
]
CandidateCount = Annotated[int, typer.Option(min=0, help="Structures that are to be screened.")]
TargetUnit = Annotated[str, typer.Option(help="Unit of the target, for tables (energy: eV/atom).")]
Descriptors = Annotated[
    list[str] | None,
    typer.Option(
        "--descriptor",
        metavar="NAME[=OPTIONS]",
        help="Compare this one; repeat. soap, rdf, soap=n_max=6,l_max=4, or module:Class={JSON} of an "
        "installed package (its code is run). Default: a range that suits the data.",
    ),
]
Local = Annotated[
    bool, typer.Option("--local", help="The target is a sum over atoms, such as a total energy.")
]
MetricName = Annotated[Metric, typer.Option(help="Mean absolute or root mean square error.")]
SeedCount = Annotated[int | None, typer.Option(min=1, help="Test sets of each kind (default: 3).")]
MaxLabels = Annotated[int | None, typer.Option(min=100, help="Largest training set (default: 1600).")]
Quick = Annotated[
    bool, typer.Option("--quick", help=f"Few descriptors, {QUICK_SEEDS} seeds, {QUICK_LABELS} labels.")
]
ComparePotentials = Annotated[
    bool,
    typer.Option("--potential", help="Compare terms and sizes of GAPs on energies and forces instead."),
]
PointsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep points as they are computed; go on from those there (default: named after DATA).",
    ),
]
ModelOutput = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Fit the recommended descriptor to all of DATA and save the model (.castile), for castile "
        "screen.",
    ),
]
ReportFile = Annotated[Path | None, typer.Option(metavar="FILE", help="HTML page with figures.")]


def compare(
    data: DataFiles,
    target: TargetKey = None,
    label_cost: LabelCost = "1h",
    error: WantedError = None,
    candidates: CandidateCount = 100_000,
    unit: TargetUnit = "",
    descriptor: Descriptors = None,
    local: Local = False,
    metric: MetricName = Metric.mae,
    seeds: SeedCount = None,
    max_labels: MaxLabels = None,
    quick: Quick = False,
    potential: ComparePotentials = False,
    points: PointsFile = None,
    save_model: ModelOutput = None,
    report: ReportFile = None,
    json: JsonFile = None,
) -> None:
    """Errors, costs and total budgets of descriptors on DATA, and which one to use."""
    from castile.structures import StructureSource

    source = StructureSource(data)
    largest = max_labels or (QUICK_LABELS if quick else MOST_LABELS)
    chosen_points = points or _points_file(source, target, potential, local, largest)
    if potential:
        _refuse_of_properties(target, error, descriptor, local, save_model)
    for path in (chosen_points, save_model, report, json):
        if path is not None:
            source.refuse_as_output(path)
            _require_folder(path)
    n_seeds = seeds or (QUICK_SEEDS if quick else 3)
    if potential:
        _compare_potentials(source, n_seeds if seeds else 1, max_labels, quick, chosen_points, report, json)
        return
    key = target or "energy"
    _compare_descriptors(
        source, key, unit or _unit(key, local), label_cost, error, candidates, descriptor, local,
        metric.value,
        n_seeds, largest, quick, chosen_points, save_model, report, json,
    )  # fmt: skip


def _compare_descriptors(
    source: StructureSource,
    key: str,
    unit: str,
    label_cost: str,
    error: float | None,
    candidates: int,
    names: list[str] | None,
    local: bool,
    metric: Any,
    n_seeds: int,
    largest: int,
    quick: bool,
    points: Path,
    save_model: Path | None,
    report: Path | None,
    json: Path | None,
) -> None:
    from castile.cli.output import counted, remark, step_progress, write_json
    from castile.comparison import (
        ComparisonSettings,
        compare,
        comparison_data,
        default_descriptors,
        named_descriptors,
    )
    from castile.comparison.budget import parse_duration
    from castile.splits.dataset import read_dataset

    scope: Any = "atoms" if local else "structure"
    settings = ComparisonSettings(
        parse_duration(label_cost), error, candidates, metric, scope, n_seeds, largest
    )
    chosen = None if not names else named_descriptors(names)
    with counted("reading", source.expected_length) as progress:
        dataset = read_dataset(source, [key], progress)
    prepared = comparison_data(dataset, key, unit, scope=scope, most=round(largest / TRAINING_SHARE))
    if len(prepared) < prepared.n_read:
        remark(
            f"Comparing on {len(prepared):,} of {prepared.n_read:,} structures, drawn at random: enough for "
            f"{largest:,} labels and a test set; --max-labels takes more."
        )
    chosen = chosen or default_descriptors(prepared.structures, scope=scope, quick=quick)
    with step_progress() as steps:
        found = compare(prepared, chosen, settings, points=points, progress=steps)
    _print_comparison(found)
    if json is not None:
        write_json(json, found.numbers())
    if report is not None:
        from castile.report.compare_page import write_comparison_report

        remark(f"Report: {write_comparison_report(report, found, source.files)}")
    if save_model is not None:
        _save_model(save_model, found, dataset, chosen, scope)


def _print_comparison(found: Comparison) -> None:
    from castile.cli.output import print_table
    from castile.comparison import recommendation
    from castile.comparison.words import budget_table, cost_table, curve_table

    for split in dict.fromkeys(part.split for part in found.descriptors[0].splits):
        print_table(curve_table(found, split))
    print_table(cost_table(found))
    print_table(budget_table(found))
    for sentence in recommendation(found):
        typer.echo(sentence)


def _save_model(
    path: Path, found: Comparison, dataset: Dataset, descriptors: Sequence[NamedDescriptor], scope: Scope
) -> None:
    """Fit the recommended descriptor to all data and write the model."""
    from castile.cli.output import remark
    from castile.comparison import chosen_descriptor, fit_chosen
    from castile.properties.foreign import ForeignDescriptor

    named = chosen_descriptor(found, descriptors)
    model = fit_chosen(dataset, named, found.target, found.unit, scope)
    model.save(path)
    summary = model.summary_
    remark(
        f"Model: {path}, {named.label} fitted to {summary.n_structures:,} structures; leave-one-out MAE "
        f"{summary.loo_mae:.3g} {found.unit}".rstrip()
    )
    if isinstance(named.descriptor, ForeignDescriptor):
        remark(
            f"{named.label} is not Castile's: only PropertyModel.load(path, descriptor=...) reads the model."
        )


def _compare_potentials(
    source: StructureSource,
    n_seeds: int,
    max_labels: int | None,
    quick: bool,
    points: Path,
    report: Path | None,
    json: Path | None,
) -> None:
    from castile.cli.output import print_table, remark, step_progress, write_json
    from castile.comparison.potential_words import potential_sentences, potential_table
    from castile.comparison.potentials import compare_potentials, default_variants

    with step_progress() as steps:
        found = compare_potentials(
            source, default_variants(quick=quick), n_seeds=n_seeds, max_labels=max_labels, points=points,
            progress=steps,
        )  # fmt: skip
    print_table(potential_table(found))
    for sentence in potential_sentences(found):
        typer.echo(sentence)
    if json is not None:
        write_json(json, found.numbers())
    if report is not None:
        from castile.report.compare_page import write_potential_report

        remark(f"Report: {write_potential_report(report, found, source.files)}")


def _refuse_of_properties(
    target: str | None,
    error: float | None,
    descriptor: list[str] | None,
    local: bool,
    save_model: Path | None,
) -> None:
    """Refuse options that mean nothing where potentials are compared."""
    from castile.errors import InputError

    if save_model is not None:
        raise InputError("--save-model keeps a model of a property; fit a potential with castile fit")
    given = {"--target": target, "--error": error, "--descriptor": descriptor, "--local": local or None}
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise InputError(f"{', '.join(wrong)}: not for --potential, which compares energies and forces")


def _require_folder(path: Path) -> None:
    """Refuse at the beginning what could not be written at the end."""
    from castile.errors import InputError

    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.absolute().parent}; create it")


def _points_file(
    source: StructureSource, target: str | None, potential: bool, local: bool, largest: int
) -> Path:
    """Name of the file of points in the working folder; runs of another size have another one."""
    stem = Path(source.files[0]).name.split(".")[0] if source.files else "structures"
    what = "potential" if potential else (target or "energy") + ("-local" if local else "")
    return Path(f"{stem}-{what}-{largest}.compare.jsonl")


def _unit(key: str, local: bool) -> str:
    if key == "energy":
        return "eV" if local else "eV/atom"
    return ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(compare)
