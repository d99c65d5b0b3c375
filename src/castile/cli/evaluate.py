"""``castile evaluate``: errors of a model on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli import options
from castile.cli.options import (
    AllowMissing,
    ConfigTypeKey,
    DataFiles,
    Deviations,
    EnergyKey,
    ForcesKey,
    JsonFile,
    ModelFile,
    Precision,
    PrecisionOption,
    StressKey,
    VirialKey,
)

if TYPE_CHECKING:
    from castile.evaluation import Evaluation

EXACT_ATOMS = 4000


def evaluate(
    model: ModelFile,
    data: DataFiles,
    json: JsonFile = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML report with parity plots.")
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    config_type_key: ConfigTypeKey = "config_type",
    allow_missing: AllowMissing = None,
    precision: PrecisionOption = Precision.double,
    uncertainty: Annotated[
        Deviations,
        typer.Option(
            help="Standard deviations to hold against the errors: committee (posterior samples), exact "
            "(slow), auto (exact for up to 4000 atoms in structures of at most 64), or none.",
        ),
    ] = Deviations.auto,
) -> None:
    """Errors of MODEL on the labelled structures of DATA, in all and by kind of structure.

    Standard deviations are held against the errors: coverage of 68 and 95 % intervals, miscalibration, ranks.
    """
    import castile
    from castile.cli.output import counted, remark, write_json
    from castile.evaluation import evaluate as evaluate_model
    from castile.structures import StructureSource, check_census, take_census

    keys = options.label_keys(energy_key, forces_key, stress_key, virial_key, config_type_key)
    potential = castile.load(model, precision=precision.value)
    source = StructureSource(data, keys)
    census = take_census(source)
    check_census(census, allow_missing or ())
    method = None if uncertainty is Deviations.none else uncertainty.value
    if uncertainty is Deviations.auto and census.n_atoms > EXACT_ATOMS:
        method = Deviations.committee.value
    if method is not None and not potential.has_uncertainty:
        remark("castile: the model was imported and has no distribution of weights: no standard deviations")
        method = None
    with counted("evaluating", census.n_structures) as progress:
        evaluation = evaluate_model(potential, source, progress=progress, uncertainty=method)
    _print_tables(evaluation)
    if json is not None:
        write_json(json, evaluation.to_json_dict())
    if report is not None:
        from castile.report import write_evaluation_report

        write_evaluation_report(report, evaluation, model_name=model.name, data_names=data)
        remark(f"Report: {report}")


def _print_tables(evaluation: Evaluation) -> None:
    from castile.cli.output import print_table
    from castile.evaluation import tables

    print_table(tables.error_table(evaluation))
    if evaluation.by_config_type:
        print_table(tables.config_type_table(evaluation))
    if len(evaluation.force_by_element) > 1:
        print_table(tables.element_table(evaluation))
    for table in tables.worst_tables(evaluation):
        print_table(table)
    if evaluation.deviations is not None:
        print_table(tables.deviation_table(evaluation.deviations))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(evaluate)
