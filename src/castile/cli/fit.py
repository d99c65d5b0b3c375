"""``castile fit`` and ``castile update``: from labelled structures to a potential, and more data into it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli import options
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

SOAP_PANEL = "SOAP term (default: from the data)"
TERMS_PANEL = "Other terms"
NOISE_PANEL = "Noise (default: learned)"
WORK_PANEL = "Work"


class CutoffFunction(StrEnum):
    """How the environment ends."""

    cosine = "cosine"
    smooth = "smooth"


class RadialBasis(StrEnum):
    """Radial functions."""

    gto = "gto"
    equispaced = "equispaced"


class Composition(StrEnum):
    """Where the energies of the elements come from."""

    auto = "auto"
    isolated = "isolated"
    least_squares = "least_squares"
    none = "none"


class Selection(StrEnum):
    """How sparse points are chosen."""

    farthest = "farthest"
    cur = "cur"
    kmeans = "kmeans"
    random = "random"


TrainFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="TRAIN",
        help="Labelled structures: any file that ASE reads, several files, globs in quotes, and "
        "slices such as 'train.xyz@::10'.",
    ),
]
NewFiles = Annotated[
    list[str], typer.Argument(metavar="NEW", help="Labelled structures to add; files, globs, slices.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="MODEL", help="Model file to write (.castile).")
]
TestFiles = Annotated[
    list[str] | None,
    typer.Option(metavar="TEST", help="Labelled structures to test the model on; may be repeated."),
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an HTML report.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Threads (default: all cores).", rich_help_panel=WORK_PANEL),
]


def _soap(metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar=metavar, help=text, rich_help_panel=SOAP_PANEL)
    return option


def _noise(text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="SIGMA", help=text, rich_help_panel=NOISE_PANEL)
    return option


def fit(
    train: TrainFiles,
    output: Output,
    test: TestFiles = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Settings, such as a fit writes; options change them."),
    ] = None,
    json: JsonFile = None,
    report: Report = None,
    cutoff: Annotated[float | None, _soap("R", "Radius of an environment, Å.")] = None,
    cutoff_width: Annotated[float | None, _soap("D", "Length over which it fades, Å.")] = None,
    cutoff_function: Annotated[CutoffFunction | None, _soap("F", "cosine or smooth.")] = None,
    n_max: Annotated[int | None, _soap("N", "Number of radial functions.")] = None,
    l_max: Annotated[int | None, _soap("L", "Largest angular channel.")] = None,
    sigma: Annotated[float | None, _soap("S", "Gaussian width of an atom, Å.")] = None,
    zeta: Annotated[float | None, _soap("Z", "Exponent of the kernel.")] = None,
    n_sparse: Annotated[int | None, _soap("M", "Sparse points, all elements together.")] = None,
    radial_basis: Annotated[RadialBasis | None, _soap("B", "gto or equispaced.")] = None,
    amplitude: Annotated[float | None, _soap("DELTA", "Amplitude, eV per atom; learned by default.")] = None,
    channels: Annotated[
        str | None, _soap("N|elements", "Density channels that elements share, or 'elements'.")
    ] = None,
    pair: Annotated[
        bool, typer.Option("--pair/--no-pair", help="With a pair term.", rich_help_panel=TERMS_PANEL)
    ] = True,
    core: Annotated[
        bool,
        typer.Option("--core/--no-core", help="With ZBL repulsion of nuclei.", rich_help_panel=TERMS_PANEL),
    ] = True,
    composition: Annotated[
        Composition,
        typer.Option(
            help="Energies of the elements: from isolated atoms in the data, by least squares, or the first "
            "that is possible (auto).",
            rich_help_panel=TERMS_PANEL,
        ),
    ] = Composition.auto,
    atom_energy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL=EV",
            help="Energy of an isolated atom, eV; once per element, instead of --composition.",
            rich_help_panel=TERMS_PANEL,
        ),
    ] = None,
    energy_noise: Annotated[
        float | None, _noise("eV per root atom: the energy of n atoms has SIGMA times the root of n.")
    ] = None,
    force_noise: Annotated[float | None, _noise("eV/Å, of a force component.")] = None,
    stress_noise: Annotated[float | None, _noise("eV/Å^3, of a stress component.")] = None,
    selection: Annotated[
        Selection | None,
        typer.Option(help="Choice of sparse points (default: farthest).", rich_help_panel=WORK_PANEL),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of every random choice (default: 0).", rich_help_panel=WORK_PANEL),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="GB",
            help="Memory that may be used; fewer sparse points where it is too little (default: no limit).",
            rich_help_panel=WORK_PANEL,
        ),
    ] = None,
    threads: Threads = None,
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
        config,
        cutoff=cutoff,
        cutoff_width=cutoff_width,
        cutoff_function=_value(cutoff_function),
        n_max=n_max,
        l_max=l_max,
        sigma=sigma,
        zeta=zeta,
        n_sparse=n_sparse,
        radial_basis=_value(radial_basis),
        amplitude=amplitude,
        channels=_channels(channels),
        pair=pair,
        core=core,
        composition=_atom_energies(atom_energy, composition),
        energy_noise=energy_noise,
        force_noise=force_noise,
        stress_noise=stress_noise,
        selection=_value(selection),
        seed=seed,
        allow_missing=tuple(allow_missing or ()),
        memory=memory,
        threads=threads,
    )
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
    from castile.cli.fit_output import StageBars, nothing_written_if_interrupted, plan_printer, print_fit
    from castile.cli.output import remark
    from castile.potentials.settings import write_settings
    from castile.structures import StructureSource

    source, tested = StructureSource(train, keys), StructureSource(test, keys) if test else None
    with nothing_written_if_interrupted(), StageBars().shown() as bars:
        model.fit(source, progress=bars, on_plan=plan_printer(bars))
    model.save(output)
    settings = _settings_file(output, config)
    write_settings(settings, model.settings_)
    print_fit(model.fit_report)
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
        print_census,
        print_fit,
    )
    from castile.cli.output import remark

    check_output(output)
    keys = options.label_keys(energy_key, forces_key, stress_key, virial_key, config_type_key)
    import castile
    from castile.structures import StructureSource

    source, tested = StructureSource(new, keys), StructureSource(test, keys) if test else None
    potential = castile.load(model, threads=threads)
    with nothing_written_if_interrupted(), StageBars().shown() as bars:
        potential.update(source, relearn=relearn, allow_missing=tuple(allow_missing or ()), progress=bars)
    potential.save(output)
    print_census(potential.fit_report.census)
    print_fit(potential.fit_report, with_reasons=False)
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


def _settings_file(output: Path, config: Path | None) -> Path:
    """Return MODEL.toml, or MODEL.complete.toml where the former is what the user wrote."""
    target = output.with_suffix(".toml")
    if config is not None and target.exists() and target.samefile(config):
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
