"""``castile info``: what a model file holds."""

from __future__ import annotations

import typer

from castile.cli.options import JsonFile, ModelFile


def info(model: ModelFile, json: JsonFile = None) -> None:
    """Census, settings and why, learned noise, timings and hashes of MODEL."""
    from castile.cli.output import print_table, write_json
    from castile.report.model_summary import summarize_model

    summary = summarize_model(model)
    for table in summary.tables():
        print_table(table)
    if json is not None:
        write_json(json, summary.to_json_dict())


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(info)
