"""``castile describe``: SOAP features of structures, written to a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from castile.cli.options import CutoffFunction, DataFiles, JsonFile, RadialBasis, Workers

if TYPE_CHECKING:
    from castile.structures import StructureSource


class Average(StrEnum):
    """Which rows there are: one per atom, or one per structure."""

    off = "off"
    inner = "inner"
    outer = "outer"


class Precision(StrEnum):
    """Floating-point type of the features."""

    float64 = "float64"
    float32 = "float32"


Features = Annotated[
    Path, typer.Option("--output", "-o", metavar="FEATURES", help="File to write: .npz, .npy or .csv.")
]
Species = Annotated[
    list[str] | None,
    typer.Option(metavar="SYMBOL", help="Element to expect; repeat (default: found in DATA)."),
]
Channels = Annotated[
    int | None,
    typer.Option(min=1, help="Density channels that the elements share (default: one per element)."),
]


def describe(
    data: DataFiles,
    output: Features,
    cutoff: Annotated[float, typer.Option(help="Radius of the environment, Å.")] = 5.0,
    n_max: Annotated[int, typer.Option(help="Number of radial functions.")] = 8,
    l_max: Annotated[int, typer.Option(help="Largest angular channel.")] = 6,
    sigma: Annotated[float, typer.Option(help="Width of the Gaussian on each atom, Å.")] = 0.5,
    cutoff_width: Annotated[float, typer.Option(help="Length over which the cutoff falls to zero, Å.")] = 0.5,
    cutoff_function: Annotated[
        CutoffFunction, typer.Option(help="Form of the cutoff.")
    ] = CutoffFunction.cosine,
    radial_basis: Annotated[RadialBasis, typer.Option(help="Radial functions.")] = RadialBasis.gto,
    central_weight: Annotated[float, typer.Option(help="Weight of the central atom's own Gaussian.")] = 1.0,
    species: Species = None,
    channels: Channels = None,
    normalize: Annotated[bool, typer.Option(help="Divide each power spectrum by its norm.")] = True,
    average: Annotated[Average, typer.Option(help="One row per atom (off), or per structure.")] = Average.off,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.float64,
    workers: Workers = None,
    json: JsonFile = None,
) -> None:
    """SOAP features of DATA: one row per atom, or per structure with --average."""
    from castile.cli.output import counted, remark, write_json
    from castile.structures import StructureSource

    # a missing file is told before anything heavy is loaded
    source = StructureSource(data, needs_labels=False)
    source.refuse_as_output(output)
    from castile.descriptors.feature_file import write_features
    from castile.descriptors.soap import SOAP

    averages: dict[Average, Literal["inner", "outer"]] = {Average.inner: "inner", Average.outer: "outer"}
    descriptor = SOAP(
        cutoff=cutoff,
        n_max=n_max,
        l_max=l_max,
        sigma=sigma,
        cutoff_width=cutoff_width,
        cutoff_function=cutoff_function.value,
        radial_basis=radial_basis.value,
        central_weight=central_weight,
        species=species or _elements(source),
        channels=channels,
        normalize=normalize,
        average=averages.get(average),
        dtype=dtype.value,
    )
    with counted("describing", len(source)) as progress:
        written = write_features(descriptor, source, output, workers=workers, progress=progress)
    if json is not None:
        write_json(json, {"n_rows": written.n_rows, "n_features": written.n_features})
    meaning = "one per atom" if written.row_per_atom else "one per structure"
    remark(f"{written.n_rows:,} rows ({meaning}), {written.n_features:,} features: {written.path}")


def _elements(source: StructureSource) -> list[int]:
    """Atomic numbers in the data, from a first pass over it."""
    from castile.cli.output import counted

    found: set[int] = set()
    with counted("finding elements", source.expected_length) as progress:
        for done, structure in enumerate(source, start=1):
            found.update(structure.atoms.numbers.tolist())
            progress(done)
    return sorted(found)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(describe)
