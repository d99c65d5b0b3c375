"""``castile relax``, ``md``, ``elastic`` and ``phonons``: simulations with a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli.md_options import (
    BarostatTime,
    BulkModulus,
    CheckpointEvery,
    ContactFraction,
    EnsembleName,
    FinalTemperature,
    FrameEvery,
    KeepVelocities,
    LogEvery,
    Overwrite,
    Pressure,
    Repeat,
    Restart,
    Seed,
    Steps,
    Temperature,
    TemperatureLimit,
    ThermostatTime,
    TimeStep,
    Trajectory,
    Uncertainty,
)
from castile.cli.options import JsonFile, ModelFile, Precision, PrecisionOption

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    from castile.simulation import ElasticConstants, MolecularDynamicsFiles, MolecularDynamicsSettings

EXIT_INTERRUPTED = 130
EXIT_NOT_CONVERGED = 1

StructureFile = Annotated[
    str,
    typer.Argument(
        metavar="STRUCTURE",
        help="One structure, in any file that ASE reads; 'file@-1' chooses the last of several.",
    ),
]
MaxForce = Annotated[
    float, typer.Option("--fmax", metavar="F", help="Largest force left by relaxations, eV/Å.")
]


def calculator_from(model: str | Path, precision: Precision = Precision.double) -> BaseCalculator:
    """Return the ASE calculator of a model file."""
    import castile

    return castile.load(model, precision=precision.value).calculator()


def force_deviations_from(model: str | Path) -> Callable[[Atoms], NDArray[np.float64]]:
    """Return the deviations of the forces by a model file, as a function of a structure."""
    import castile

    potential = castile.load(model)
    _ = potential.deviation_source  # refuses models without

    def deviations(atoms: Atoms) -> NDArray[np.float64]:
        """Standard deviations of the forces, (n_atoms, 3), eV/A."""
        return potential.predict_with_uncertainty(atoms).forces_std

    return deviations


def structure_from(text: str) -> Atoms:
    """Return the one structure that ``text`` names.

    Raises:
        InputError: it names several, or none.

    """
    from castile.errors import InputError
    from castile.structures import StructureSource

    source = StructureSource(text, needs_labels=False)
    if len(source) != 1:
        raise InputError(
            f"{text}: holds {len(source)} structures; choose one, for example '{text}@-1' for the last"
        )
    return next(iter(source)).atoms


def _simulated(structure: str, model: Path, precision: Precision = Precision.double) -> Atoms:
    """Return the one structure with the calculator of the model.

    Raises:
        InputError: the model does not know one of its elements.

    """
    from castile.potentials.calculator import CastileCalculator

    atoms = structure_from(structure)
    atoms.calc = calculator_from(model, precision)
    if isinstance(atoms.calc, CastileCalculator):
        atoms.calc.model.check_elements(atoms, structure)
    return atoms


def relax(
    model: ModelFile,
    structure: StructureFile,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Relaxed structure; the suffix selects the format (.xyz, .cif, ...).",
        ),
    ],
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    pressure: Annotated[float, typer.Option(metavar="P", help="External pressure, GPa (with --cell).")] = 0.0,
    max_force: MaxForce = 0.01,
    keep_symmetry: Annotated[
        bool, typer.Option("--keep-symmetry", help="Keep the space group (needs spglib).")
    ] = False,
    optimizer: Annotated[
        str, typer.Option(metavar="NAME", help="lbfgs, bfgs (small structures) or fire (slow, robust).")
    ] = "lbfgs",
    max_steps: Annotated[int, typer.Option(min=0, metavar="N", help="Give up after N steps.")] = 500,
    trajectory: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every step to FILE (.xyz or .extxyz).")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Relax STRUCTURE with MODEL.

    Exit code 1 when the forces did not fall below --fmax; the last structure is written all the same.
    """
    import ase.io

    from castile.cli.output import progress_bar, remark
    from castile.simulation import RelaxationProgress
    from castile.simulation import relax as relax_structure

    _check_writable(output)
    _keep_input(structure, output, trajectory)
    atoms = _simulated(structure, model)
    with progress_bar() as bar:
        task = bar.add_task("relaxing", total=max_steps)

        def show(state: RelaxationProgress) -> None:
            """Write energy and largest force beside the bar."""
            description = f"relaxing {state.energy:.4f} eV, {state.max_force:.4f} eV/Å"
            bar.update(task, completed=state.step, description=description)

        result = relax_structure(
            atoms, cell, max_force, pressure, keep_symmetry, optimizer, max_steps, trajectory, progress=show
        )
    ase.io.write(output, result.atoms)
    _report("Relaxation", result.to_json_dict(), json_file)
    remark(f"relaxed structure: {output}")
    if not result.converged:
        remark(
            f"castile: not converged: {result.max_force:.4g} eV/Å is left after {result.n_steps} steps; "
            "raise --max-steps or --fmax, or try --optimizer fire"
        )
        raise typer.Exit(EXIT_NOT_CONVERGED)


def md(
    model: ModelFile,
    structure: StructureFile,
    output: Trajectory,
    ensemble: EnsembleName = "nve",
    steps: Steps = 1000,
    time_step: TimeStep = 1.0,
    temperature: Temperature = 300.0,
    final_temperature: FinalTemperature = None,
    pressure: Pressure = 0.0,
    seed: Seed = 0,
    repeat: Repeat = (1, 1, 1),
    keep_velocities: KeepVelocities = False,
    thermostat_time: ThermostatTime = 200.0,
    barostat_time: BarostatTime = 1000.0,
    bulk_modulus: BulkModulus = 100.0,
    log_every: LogEvery = 10,
    frame_every: FrameEvery = 100,
    checkpoint_every: CheckpointEvery = 100,
    temperature_limit: TemperatureLimit = None,
    contact_fraction: ContactFraction = 0.5,
    precision: PrecisionOption = Precision.double,
    restart: Restart = False,
    overwrite: Overwrite = False,
    uncertainty: Uncertainty = False,
    json_file: JsonFile = None,
) -> None:
    """Run molecular dynamics of STRUCTURE with MODEL.

    Ctrl-C writes a checkpoint; the same command with --restart continues exactly, also after a crash.
    """
    from castile.cli.output import remark
    from castile.simulation import MolecularDynamicsFiles, MolecularDynamicsSettings

    settings = MolecularDynamicsSettings(
        ensemble=ensemble,  # type: ignore[arg-type]  # validated and converted there
        n_steps=steps, time_step_fs=time_step, temperature_k=temperature,
        final_temperature_k=final_temperature, pressure_gpa=pressure, seed=seed,
        keep_velocities=keep_velocities, thermostat_time_fs=thermostat_time, barostat_time_fs=barostat_time,
        bulk_modulus_gpa=bulk_modulus, log_interval=log_every, trajectory_interval=frame_every,
        checkpoint_interval=checkpoint_every, contact_fraction=contact_fraction,
        temperature_limit_k=temperature_limit,
    )  # fmt: skip
    files = MolecularDynamicsFiles.beside(output)
    _keep_input(structure, files.trajectory)
    cell = _simulated(structure, model, precision)
    atoms = cell.repeat(repeat)
    atoms.calc = cell.calc
    deviations = force_deviations_from(model) if uncertainty else None
    completed = _run_md(atoms, settings, files, restart, overwrite, json_file, deviations)
    remark(f"trajectory: {files.trajectory}  log: {files.log}  checkpoint: {files.checkpoint}")
    if not completed:
        remark("castile: interrupted; the same command with --restart continues")
        raise typer.Exit(EXIT_INTERRUPTED)


def _run_md(
    atoms: Atoms,
    settings: MolecularDynamicsSettings,
    files: MolecularDynamicsFiles,
    restart: bool,
    overwrite: bool,
    json_file: Path | None,
    deviations: Callable[[Atoms], NDArray[np.float64]] | None = None,
) -> bool:
    from castile.cli.output import progress_bar
    from castile.simulation import MolecularDynamicsProgress, run_molecular_dynamics

    with progress_bar() as bar:
        task = bar.add_task("molecular dynamics", total=settings.n_steps)

        def show(state: MolecularDynamicsProgress) -> None:
            """Write time, temperature and potential energy beside the bar."""
            row = state.row
            description = (
                f"{row.time_fs / 1000:.2f} ps, {row.temperature_k:.0f} K, {row.potential_energy_ev:.3f} eV"
            )
            bar.update(task, completed=row.step, description=description)

        result = run_molecular_dynamics(
            atoms, settings, files.trajectory, restart=restart, overwrite=overwrite, progress=show,
            force_deviations=deviations,
        )  # fmt: skip
    _report(f"Molecular dynamics ({settings.ensemble})", result.to_json_dict(), json_file)
    return result.completed


def elastic(
    model: ModelFile,
    structure: StructureFile,
    strain: Annotated[float, typer.Option(metavar="X", help="Size of the strains, plus and minus.")] = 0.003,
    clamped_ions: Annotated[
        bool, typer.Option("--clamped-ions", help="Let the ions only follow the strain.")
    ] = False,
    relax_cell: Annotated[bool, typer.Option(help="Relax cell and ions first.")] = True,
    symmetrize: Annotated[
        bool, typer.Option(help="Average over the symmetry of the crystal (where spglib is installed).")
    ] = True,
    max_force: MaxForce = 0.001,
    json_file: JsonFile = None,
) -> None:
    """Elastic constants of the crystal STRUCTURE with MODEL, by finite strains."""
    from castile.cli.output import counted, remark
    from castile.simulation import elastic_constants

    atoms = _simulated(structure, model)
    with counted("straining", 12) as done:
        result = elastic_constants(
            atoms, strain, clamped_ions, relax_cell, symmetrize, max_force=max_force,
            progress=lambda n_done, _: done(n_done),
        )  # fmt: skip
    _print_constants(result)
    flat = result.to_json_dict()
    if json_file is not None:
        _write_json(json_file, flat)
    _print_numbers("Moduli", {key: value for key, value in flat.items() if not _is_constant(key)})
    if not result.stable:
        remark("castile: the crystal is not stable: some small strain lowers its energy")


def phonons(
    model: ModelFile,
    structure: StructureFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for figure, tables and phonopy file."),
    ],
    supercell: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="A B C", help="Repetitions of the cell (default: from --min-length)."),
    ] = None,
    min_length: Annotated[
        float,
        typer.Option(metavar="L", help="Shortest length of the supercell, Å; twice the cutoff is right."),
    ] = 12.0,
    displacement: Annotated[float, typer.Option(metavar="D", help="Displacement of the atoms, Å.")] = 0.01,
    relax_cell: Annotated[bool, typer.Option(help="Relax the cell within its space group first.")] = True,
    max_force: MaxForce = 0.001,
    path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Special points such as GXWKGL (default: of the lattice)."),
    ] = None,
    max_temperature: Annotated[
        float, typer.Option(metavar="T", help="End of the thermodynamic table, K.")
    ] = 1000.0,
    json_file: JsonFile = None,
) -> None:
    """Phonons of the crystal STRUCTURE with MODEL: bands, density of states, free energy (needs phonopy)."""
    from castile.cli.output import progress_bar, remark
    from castile.simulation import compute_phonons
    from castile.simulation.phonon_files import write_phonons

    atoms = _simulated(structure, model)
    output.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar:
        task = bar.add_task("displacing", total=None)
        result = compute_phonons(
            atoms, supercell, min_length, displacement, relax_cell, max_force, path,
            max_temperature=max_temperature, save_to=output / "phonopy.yaml",
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    files = write_phonons(result, output)
    _report("Phonons", result.to_json_dict(), json_file)
    remark(f"figure: {files.figure}  tables and phonopy.yaml beside it")
    if result.has_imaginary_modes:
        remark(
            f"castile: imaginary modes down to {result.min_frequency:.3f} THz: the crystal is unstable, "
            "not relaxed, or the supercell is too small"
        )


def _keep_input(structure: str, *outputs: Path | None) -> None:
    """Refuse outputs that would replace the file of the structure."""
    from castile.structures import StructureSource

    source = StructureSource(structure)
    for output in outputs:
        if output is not None:
            source.refuse_as_output(output)


def _check_writable(output: Path) -> None:
    """Refuse an output whose format ASE cannot tell from the name before the work begins."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    from castile.errors import InputError

    try:
        writable = ioformats[filetype(str(output), read=False)].can_write
    except (UnknownFileTypeError, KeyError):
        writable = False
    if not writable:
        raise InputError(
            f"{output}: ASE cannot write this kind of file; give a name that ends in .xyz, .cif or .vasp"
        )


def _report(
    title: str, numbers: Mapping[str, float | int | bool | str | None], json_file: Path | None
) -> None:
    _print_numbers(title, numbers)
    if json_file is not None:
        _write_json(json_file, numbers)


def _write_json(path: Path, numbers: Mapping[str, float | int | bool | str | None]) -> None:
    from castile.cli.output import write_json

    write_json(path, numbers)


def _print_numbers(title: str, numbers: Mapping[str, float | int | bool | str | None]) -> None:
    from castile.cli.output import print_table
    from castile.evaluation.tables import Table

    rows = tuple((name, _cell(value)) for name, value in numbers.items())
    print_table(Table(columns=("quantity", "value"), rows=rows, title=title))


def _cell(value: float | int | bool | str | None) -> str:
    from castile.evaluation.tables import ABSENT

    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.6g}"


def _print_constants(result: ElasticConstants) -> None:
    from castile.cli.output import print_table
    from castile.evaluation.tables import Table

    directions = ("xx", "yy", "zz", "yz", "xz", "xy")
    rows = tuple(
        (name, *(f"{value:.2f}" for value in row))
        for name, row in zip(directions, result.constants, strict=True)
    )
    print_table(Table(columns=("C (GPa)", *directions), rows=rows, title="Elastic constants"))


def _is_constant(key: str) -> bool:
    return key[0] == "c" and key[1:3].isdigit()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (relax, md, elastic, phonons):
        app.command(no_args_is_help=True)(command)
