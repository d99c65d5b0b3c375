"""``castile import-gap`` and ``export-gap``: models from and to QUIP's XML."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from castile.cli.options import ModelFile


def import_gap(
    xml: Annotated[
        Path, typer.Argument(metavar="XML", help="XML file of gap_fit; its sparse-point files lie beside it.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Model file to write (.castile).")
    ],
    elements: Annotated[
        list[str] | None,
        typer.Option(
            "--element",
            metavar="SYMBOL",
            help="Element that the model may be used for; may be repeated (default: those XML names, or all "
            "where it names none).",
        ),
    ] = None,
) -> None:
    """Make a model file of a GAP that QUIP's gap_fit wrote."""
    from castile.cli.output import print_table, remark
    from castile.formats.quip_xml import sparse_point_files
    from castile.potentials.quip_import import import_gap as read_xml
    from castile.report.imported_summary import term_table

    model = read_xml(xml, elements or None)
    _refuse_as_output(output, sparse_point_files(xml))
    model.save(output)
    print_table(term_table(model.fitted_model))
    remark(f"Model: {output}")


def export_gap(
    model: ModelFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="XML", help="XML file to write; sparse points go beside it."),
    ],
) -> None:
    """Write a model as XML that QUIP, quippy and LAMMPS's pair style quip read."""
    from castile.cli.output import remark
    from castile.potentials.gap import load
    from castile.potentials.quip_export import export_gap as write_xml

    _refuse_as_output(output, [model])
    for path in write_xml(load(model), output):
        remark(f"Wrote {path}")


def _refuse_as_output(output: Path, files: Iterable[Path]) -> None:
    """Check that writing ``output`` does not destroy one of the files that are read."""
    from castile.errors import InputError

    if output.exists() and any(file.exists() and output.samefile(file) for file in files):
        raise InputError(
            f"--output {output}: is also read, and writing it would replace the data; name another file"
        )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="import-gap", no_args_is_help=True)(import_gap)
    app.command(name="export-gap", no_args_is_help=True)(export_gap)
