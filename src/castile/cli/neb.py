"""``castile neb``: a migration barrier from two ends and an oracle, with few calculations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli.options import JsonFile, Workers

if TYPE_CHECKING:
    from ase import Atoms

    from castile.barriers.neb_result import NebResult
    from castile.barriers.neb_search import NebProgress

EXIT_NOT_CONVERGED = 1


class SurrogateName(StrEnum):
    """What stands in for the oracle along the path."""

    distances = "distances"
    cartesian = "cartesian"
    soap = "soap"


class Interpolation(StrEnum):
    """Of the first path."""

    idpp = "idpp"
    linear = "linear"


End = Annotated[
    str, typer.Argument(metavar="INITIAL", help="One relaxed minimum, any file that ASE reads ('file@0').")
]
OtherEnd = Annotated[
    str, typer.Argument(metavar="FINAL", help="The other one: the same atoms in the same order and cell.")
]
Oracle = Annotated[
    str,
    typer.Option(
        metavar="NAME|CLASS|FILE.toml",
        help="tblite, espresso, pyscf, unep or emt; the class of an ASE calculator "
        "('package.module.Class'); or a TOML file with the [oracle] table of a campaign.",
    ),
]
Folder = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Folder of this band: path.xyz, neb.json, calculations. With the same folder it goes on.",
    ),
]
StartModel = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Model file (.castile) where the surrogate begins.")
]
Images = Annotated[int, typer.Option(min=1, metavar="N", help="Images between the ends.")]
MaxForce = Annotated[
    float, typer.Option("--fmax", metavar="F", help="Largest true force at the climbing image, eV/Å.")
]
MaxDeviation = Annotated[
    float, typer.Option(metavar="E", help="Largest deviation of the energy along the path, eV.")
]
MaxSlopeDeviation = Annotated[
    float, typer.Option(metavar="F", help="Largest deviation of the slope along the path, eV/Å.")
]
MaxCalls = Annotated[int, typer.Option(min=1, metavar="N", help="Calls of the oracle between the ends.")]
MaxFailures = Annotated[int, typer.Option(min=0, metavar="N", help="Calculations that may fail.")]
Surrogate = Annotated[
    SurrogateName,
    typer.Option(
        help="Gaussian process on inverse distances and pair potentials, on coordinates, or a sparse GAP."
    ),
]
FirstPath = Annotated[Interpolation, typer.Option(help="Of the first path.")]
RelaxEnds = Annotated[
    bool, typer.Option("--relax-ends", help="Relax both ends with the oracle first; counted separately.")
]
EndForce = Annotated[float, typer.Option(metavar="F", help="With --relax-ends: largest force left, eV/Å.")]
Store = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Store to share: a .db file or postgresql://... (default: in DIR)."),
]
PathId = Annotated[
    str | None, typer.Option(metavar="NAME", help="path_id of the images (default: name of DIR).")
]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Report with the energy profile.")]
Figure = Annotated[Path | None, typer.Option(metavar="FILE.svg", help="The energy profile alone.")]


def neb(
    initial: End,
    final: OtherEnd,
    oracle: Oracle,
    output: Folder,
    model: StartModel = None,
    images: Images = 5,
    max_force: MaxForce = 0.03,
    max_deviation: MaxDeviation = 0.05,
    max_slope_deviation: MaxSlopeDeviation = 0.1,
    max_calls: MaxCalls = 100,
    max_failures: MaxFailures = 5,
    surrogate: Surrogate = SurrogateName.distances,
    interpolation: FirstPath = Interpolation.idpp,
    relax_ends: RelaxEnds = False,
    end_force: EndForce = 0.01,
    store: Store = None,
    path_id: PathId = None,
    html: Html = None,
    figure: Figure = None,
    json_file: JsonFile = None,
    workers: Workers = None,
) -> None:
    """Find the barrier between INITIAL and FINAL by a nudged elastic band on a surrogate of the oracle.

    The oracle is asked only at the climbing image and where the surrogate knows least. Interrupted or killed,
    the same command goes on without repeating a calculation. Exit code 1 when the band did not converge; its
    last path is written all the same.
    """
    import castile
    from castile.barriers.neb import NebEvents
    from castile.barriers.neb import neb as run_neb
    from castile.barriers.neb_oracle import read_oracle
    from castile.barriers.neb_settings import NebSettings

    _keep_inputs((initial, final), (output / "path.xyz", html, figure, json_file))
    settings = NebSettings(
        images, max_force, max_deviation, max_slope_deviation, max_calls, max_failures,
        surrogate=surrogate.value, interpolation=interpolation.value, relax_ends=relax_ends,
        end_force=end_force,
    )  # fmt: skip
    settled_oracle = read_oracle(oracle)
    given = None if model is None else castile.load(model)
    with _progress() as report:
        result = run_neb(
            _end(initial), _end(final), settled_oracle, output, settings, model=given, store=store,
            path_id=path_id, workers=workers, events=NebEvents(progress=report),
        )  # fmt: skip
    _write(result, path_id or output.resolve().name, html, figure, json_file)
    _conclude(result, output)


def _write(
    result: NebResult, name: str, html: Path | None, figure: Path | None, json_file: Path | None
) -> None:
    """Show the result, and write what was asked for."""
    from castile.cli.output import print_table, write_json
    from castile.formats.text_file import write_text_file
    from castile.report.neb_report import neb_table, profile_figure, write_neb_report

    print_table(neb_table(result))
    if html is not None:
        write_neb_report(html, result, title=f"Barrier of {name}")
    if figure is not None:
        write_text_file(figure, profile_figure(result).svg)
    if json_file is not None:
        write_json(json_file, result.to_json_dict())


def _conclude(result: NebResult, output: Path) -> None:
    """Name the files, and end with another exit code when the band did not converge."""
    from castile.cli.output import remark

    remark(f"wrote {output / 'path.xyz'} and {output / 'neb.json'}")
    if not result.converged:
        remark(f"castile: the band did not converge: {result.reason}. Raise --max-calls and start it again.")
        raise typer.Exit(EXIT_NOT_CONVERGED)


def _end(text: str) -> Atoms:
    """Return the one structure that ``text`` names, with its constraints."""
    from castile.cli.simulate import structure_from

    return structure_from(text)


def _keep_inputs(inputs: tuple[str, ...], outputs: tuple[Path | None, ...]) -> None:
    """Refuse to overwrite an end."""
    from castile.structures import StructureSource

    for source in map(StructureSource, inputs):
        for path in outputs:
            if path is not None:
                source.refuse_as_output(path)


@contextmanager
def _progress() -> Iterator[Callable[[NebProgress], None]]:
    """Show every band; how many calls are left is not known beforehand, so no time is estimated."""
    from castile.cli.output import progress_bar, remark

    with progress_bar() as bar:
        task = bar.add_task("asking the oracle", total=None)

        def show(state: NebProgress) -> None:
            """Bring the bar up to date; where there is none, one plain line."""
            force = "" if state.force is None else f", force {state.force:.3f} eV/Å"
            text = f"barrier {state.barrier:.3f} eV ± {state.deviation:.3f} eV{force}"
            bar.update(task, completed=state.n_calls, description=text)
            if bar.disable:
                remark(f"{state.n_calls} calls: {text}")

        yield show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("neb")(neb)
