"""``castile predict``: energies, forces and stresses of structures, written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from castile.cli import options
from castile.cli.options import (
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
    Workers,
)

Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="File to write; the suffix selects the format (.xyz, .traj, ...).",
    ),
]
Uncertainty = Annotated[
    Deviations,
    typer.Option(
        help="Also write standard deviations (energy_std, energies_std, forces_std, stress_std) and the "
        "extrapolation_grade of each atom: from a committee, exact, or auto (exact up to 64 atoms).",
    ),
]


def predict(
    model: ModelFile,
    data: DataFiles,
    output: Output,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    config_type_key: ConfigTypeKey = "config_type",
    workers: Workers = None,
    precision: PrecisionOption = Precision.double,
    uncertainty: Uncertainty = Deviations.none,
    json: JsonFile = None,
) -> None:
    """Write DATA with the energies, forces and stresses that MODEL predicts.

    Labels that the data bring along are kept as reference_energy, reference_forces and reference_stress,
    those that cannot be used (no number, say) excepted.
    """
    from time import perf_counter

    import castile
    from castile.cli.output import counted, remark, write_json
    from castile.evaluation import Predictor, write_predictions
    from castile.evaluation.deviation_collector import UncertainPredictor
    from castile.structures import StructureSource

    keys = options.label_keys(energy_key, forces_key, stress_key, virial_key, config_type_key)
    potential = castile.load(model, precision=precision.value)
    source = StructureSource(data, keys, needs_labels=False)
    predictor: Predictor = potential
    if uncertainty is not Deviations.none:
        _ = potential.deviation_source  # refuses models without
        predictor = UncertainPredictor(potential, uncertainty.value)
    start = perf_counter()
    with counted("predicting", source.expected_length) as progress:
        left_out: list[str] = []
        n_structures = write_predictions(
            predictor, source, output, workers=workers, progress=progress, left_out=left_out.append
        )
    seconds = perf_counter() - start
    if left_out:
        remark(f"labels that cannot be used and are not kept: {len(left_out)}; the first: {left_out[0]}")
    if json is not None:
        write_json(
            json,
            {"n_structures": n_structures, "n_labels_left_out": len(left_out), "prediction_time_s": seconds},
        )
    remark(f"{n_structures} structures with predictions: {output}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(predict)
