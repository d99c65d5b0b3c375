"""``castile calibrate``: standard deviations that agree with the errors on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from castile.cli import options
from castile.cli.options import (
    ConfigTypeKey,
    DataFiles,
    EnergyKey,
    ForcesKey,
    JsonFile,
    ModelFile,
    StressKey,
    VirialKey,
)


def calibrate(
    model: ModelFile,
    data: DataFiles,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="Calibrated model (default: MODEL is replaced)."),
    ] = None,
    json: JsonFile = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write an HTML report with the reliability diagram."),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    config_type_key: ConfigTypeKey = "config_type",
) -> None:
    """Scale the standard deviations of MODEL to its errors on the labelled structures of DATA.

    DATA must not have been used for the fit: structures of the training set are left out, with a warning.
    Energies, forces and predictions of MODEL do not change.
    """
    import castile
    from castile.cli.output import counted, print_table, remark, write_json
    from castile.evaluation import evaluate as evaluate_model
    from castile.evaluation.calibrate import calibrate as calibrate_model
    from castile.evaluation.tables import calibration_table, deviation_table
    from castile.structures import StructureSource

    keys = options.label_keys(energy_key, forces_key, stress_key, virial_key, config_type_key)
    potential = castile.load(model)
    source = StructureSource(data, keys)
    target = model if output is None else output
    source.refuse_as_output(target)
    with counted("calibrating", source.expected_length) as progress:
        result = calibrate_model(potential, source, progress=progress)
    if result.seen:
        shown = ", ".join(result.seen[:3]) + (", ..." if len(result.seen) > 3 else "")
        remark(
            f"castile: warning: {len(result.seen)} structures are in the training set and were left out "
            f"({shown}); structures like them make deviations look better than they are"
        )
    for text in result.calibration.remarks:
        remark(f"castile: warning: {text}")
    potential.save(target)
    with counted("evaluating", source.expected_length) as progress:
        evaluation = evaluate_model(potential, source, progress=progress, uncertainty="auto")
    print_table(calibration_table(result.before, result.calibration))
    assert evaluation.deviations is not None
    print_table(deviation_table(evaluation.deviations))
    if json is not None:
        write_json(json, {**result.to_json_dict(), **evaluation.to_json_dict()})
    if report is not None:
        from castile.report import write_evaluation_report

        write_evaluation_report(report, evaluation, model_name=target.name, data_names=data)
        remark(f"Report: {report}")
    remark(f"Model: {target}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(calibrate)
