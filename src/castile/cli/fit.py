"""``castile fit`` and ``castile update``: from labelled structures to a potential, and more data into it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli import options
from castile.cli.fit_options import (
    Amplitude,
    AtomEnergy,
    Channels,
    Composition,
    CompositionChoice,
    Cutoff,
    CutoffForm,
    CutoffWidth,
    EnergyNoise,
    ForceNoise,
    LMax,
    Memory,
    NewFiles,
    NMax,
    NSparse,
    Output,
    RadialFunctions,
    Report,
    Seed,
    SelectionChoice,
    SettingsFile,
    Sigma,
    StressNoise,
    TestFiles,
    Threads,
    TrainFiles,
    WithCore,
    WithPair,
    Workers,
    Zeta,
)
from castile.cli.options import (
    AllowMissing,
    ConfigTypeKey,
    EnergyKey,
    ForcesKey,
    JsonFile,
    ModelFile,
    StressKey,
    VirialKey,
)

if TYPE_CHECKING:
    from castile.evaluation import Evaluation
    from castile.potentials.gap import GAP
    from castile.structures import LabelKeys, StructureSource


def fit(
    train: TrainFiles,
    output: Output,
    test: TestFiles = None,
    config: SettingsFile = None,
    json: JsonFile = None,
    report: Report = None,
    cutoff: Cutoff = None,
    cutoff_width: CutoffWidth = None,
    cutoff_function: CutoffForm = None,
    n_max: NMax = None,
    l_max: LMax = None,
    sigma: Sigma = None,
    zeta: Zeta = None,
    n_sparse: NSparse = None,
    radial_basis: RadialFunctions = None,
    amplitude: Amplitude = None,
    channels: Channels = None,
    pair: WithPair = True,
    core: WithCore = True,
    composition: CompositionChoice = Composition.auto,
    atom_energy: AtomEnergy = None,
    energy_noise: EnergyNoise = None,
    force_noise: ForceNoise = None,
    stress_noise: StressNoise = None,
    selection: SelectionChoice = None,
    seed: Seed = None,
    memory: Memory = None,
    threads: Threads = None,
    workers: Workers = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    config_type_key: ConfigTypeKey = "config_type",
    allow_missing: AllowMissing = None,
) -> None:
    """Fit a potential to the labelled structures of TRAIN and write it to MODEL.

    Nothing needs tuning: what is not given comes from the data, and is explained. Beside MODEL, a TOML file
    of the same name holds the complete settings; a fit with it as --config gives the same model.
    """
    from castile.cli.fit_output import check_output

    check_output(output)
    keys = options.label_keys(energy_key, forces_key, stress_key, virial_key, config_type_key)
    from castile.potentials.gap import GAP

    model = GAP(
        config, cutoff=cutoff, cutoff_width=cutoff_width, cutoff_function=_value(cutoff_function),
        n_max=n_max, l_max=l_max, sigma=sigma, zeta=zeta, n_sparse=n_sparse,
        radial_basis=_value(radial_basis), amplitude=amplitude, channels=_channels(channels), pair=pair,
        core=core, composition=_atom_energies(atom_energy, composition), energy_noise=energy_noise,
        force_noise=force_noise, stress_noise=stress_noise, selection=_value(selection), seed=seed,
        allow_missing=tuple(allow_missing or ()), memory=memory, threads=threads, workers=workers,
    )  # fmt: skip
    _run_fit(model, train, keys, output, config, test, json, report)


def _run_fit(
    model: GAP,
    train: list[str],
    keys: LabelKeys,
    output: Path,
    config: Path | None,
    test: list[str] | None,
    json: Path | None,
    report: Path | None,
) -> None:
    from castile.cli.fit_output import (
        StageBars,
        nothing_written_if_interrupted,
        plan_printer,
        print_calibration,
        print_fit,
    )
    from castile.cli.output import remark
    from castile.potentials.settings import write_settings
    from castile.structures import StructureSource

    source, tested = StructureSource(train, keys), StructureSource(test, keys) if test else None
    _keep_data(output, source, tested)
    with nothing_written_if_interrupted(), StageBars().shown() as bars:
        model.fit(source, progress=bars, on_plan=plan_printer(bars))
    model.save(output)
    settings = _settings_file(output, config)
    write_settings(settings, model.settings_)
    print_fit(model.fit_report)
    print_calibration(model)
    remark(f"Model: {output}\nComplete settings: {settings}")
    _test_and_report(model, tested, output, json, report)


def update(
    model: ModelFile,
    new: NewFiles,
    output: Output,
    relearn: Annotated[
        bool, typer.Option("--relearn", help="Learn noise levels and amplitudes again.")
    ] = False,
    test: TestFiles = None,
    json: JsonFile = None,
    report: Report = None,
    threads: Threads = None,
    workers: Workers = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    config_type_key: ConfigTypeKey = "config_type",
    allow_missing: AllowMissing = None,
) -> None:
    """Add the labelled structures of NEW to a fitted MODEL, without its old data.

    The sparse points stay, so it is the same as a fit of all structures with the sparse points of MODEL.
    """
    from castile.cli.fit_output import (
        StageBars,
        check_output,
        nothing_written_if_interrupted,
        print_calibration,
        print_census,
        print_fit,
    )
    from castile.cli.output import remark

    check_output(output)
    keys = options.label_keys(energy_key, forces_key, stress_key, virial_key, config_type_key)
    import castile
    from castile.structures import StructureSource

    source, tested = StructureSource(new, keys), StructureSource(test, keys) if test else None
    _keep_data(output, source, tested)
    potential = castile.load(model, threads=threads, workers=workers)
    with nothing_written_if_interrupted(), StageBars().shown() as bars:
        potential.update(source, relearn=relearn, allow_missing=tuple(allow_missing or ()), progress=bars)
    potential.save(output)
    print_census(potential.fit_report.census)
    print_fit(potential.fit_report, with_reasons=False)
    print_calibration(potential)
    remark(f"Model: {output}")
    _test_and_report(potential, tested, output, json, report)


def _test_and_report(
    model: GAP, test: StructureSource | None, output: Path, json: Path | None, report: Path | None
) -> None:
    from castile.cli.fit_output import json_numbers, print_evaluation
    from castile.cli.output import counted, remark, write_json

    evaluation: Evaluation | None = None
    if test is not None:
        from castile.evaluation import evaluate

        with counted("testing", len(test)) as progress:
            evaluation = evaluate(model, test, progress=progress)
        print_evaluation(evaluation)
    if json is not None:
        write_json(json, json_numbers(model.fit_report, evaluation))
    if report is not None:
        from castile.report.fitting_report import write_fitting_report

        write_fitting_report(report, model.fit_report, model_name=output.name, evaluation=evaluation)
        remark(f"Report: {report}")


def _keep_data(output: Path, *sources: StructureSource | None) -> None:
    """Refuse to write the model over structures that are read."""
    for source in sources:
        if source is not None:
            source.refuse_as_output(output)


def _settings_file(output: Path, config: Path | None) -> Path:
    """Return MODEL.toml, or MODEL.complete.toml where the former is what the user wrote."""
    from castile.potentials.settings import HEADING

    target = output.with_suffix(".toml")
    if not target.exists():
        return target
    by_hand = not target.read_text(encoding="utf-8", errors="replace").startswith(HEADING)
    if by_hand or (config is not None and target.samefile(config)):
        return output.with_suffix(".complete.toml")
    return target


def _value(choice: StrEnum | None) -> str | None:
    return None if choice is None else choice.value


def _channels(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


def _atom_energies(given: list[str] | None, composition: Composition) -> str | dict[str, float]:
    from castile.errors import InputError

    if not given:
        return composition.value
    if composition is not Composition.auto:
        raise InputError(
            f"--atom-energy and --composition {composition.value} contradict each other; give one"
        )
    energies: dict[str, float] = {}
    for text in given:
        symbol, _, number = text.partition("=")
        try:
            energies[symbol.strip()] = float(number)
        except ValueError:
            raise InputError(
                f"--atom-energy {text}: give SYMBOL=EV, for example --atom-energy Si=-158.2"
            ) from None
    return energies


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(no_args_is_help=True)(fit)
    app.command(no_args_is_help=True)(update)
