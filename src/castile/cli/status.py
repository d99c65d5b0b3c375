"""``castile status``: how an active-learning campaign stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from castile.cli.options import JsonFile


def status(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Directory of the campaign.")],
    json: JsonFile = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the HTML report, as learn does at its end."),
    ] = None,
) -> None:
    """Ledger, learning curve and calls saved of the campaign in DIRECTORY; it may be running."""
    from castile.active.status import campaign_status
    from castile.cli.output import print_table, remark, write_json
    from castile.report.campaign_tables import campaign_tables

    found = campaign_status(directory)
    for table in campaign_tables(found):
        print_table(table)
    if json is not None:
        write_json(json, found.to_json_dict())
    if report is not None:
        from castile.report.campaign_report import write_campaign_report

        remark(f"Report: {write_campaign_report(report, found)}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(status)
