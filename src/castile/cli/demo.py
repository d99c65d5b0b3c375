"""``castile demo``: the whole way from data to a tested potential."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli.options import JsonFile

if TYPE_CHECKING:
    from castile.demo.run import DemoResult


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write into.")
    ] = Path("castile_demo"),
    json: JsonFile = None,
) -> None:
    """Fit shipped silicon data with default settings, test the potential, and write a report.

    Takes under two minutes on two cores. Writes model.castile, report.html and results.json.
    """
    from castile.cli.output import remark, step_progress, write_json

    remark("Silicon from density-functional theory: census, fit, held-out errors, properties, dynamics.")
    with step_progress() as progress:
        progress("starting", 0, None)
        from castile.demo.run import run_demo

        progress("starting", 1, 1)
        result = run_demo(output, progress=progress)
    if json is not None:
        write_json(json, result.to_json_dict())
    _print_result(result)


def _print_result(result: DemoResult) -> None:
    from castile.cli.output import print_table
    from castile.evaluation.tables import error_table
    from castile.report import comparison_table

    print_table(error_table(result.evaluation, "Errors on held-out structures"))
    print_table(comparison_table(result.comparisons, "Diamond silicon"))
    conservation = result.energy_conservation
    verdict = "conserved" if conservation.passed else "NOT conserved"
    typer.echo(
        f"Energy {verdict}: drift {conservation.drift:+.1g} meV/atom/ps over {conservation.times[-1]:.2f} ps "
        f"of {conservation.n_atoms} atoms."
    )
    headline = []
    overall = result.evaluation.overall
    if overall.energy_per_atom is not None:
        headline.append(f"energies {1000 * overall.energy_per_atom.rmse:.2f} meV/atom")
    if overall.force is not None:
        headline.append(f"forces {overall.force.rmse:.3f} eV/Å")
    typer.echo(f"Model: {result.model_path}")
    typer.echo(f"Report: {result.report_path} (held-out RMSE: {', '.join(headline)}; {result.seconds:.0f} s)")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
