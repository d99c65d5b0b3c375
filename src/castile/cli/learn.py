"""``castile learn``: a campaign of active learning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli.options import JsonFile

if TYPE_CHECKING:
    from rich.progress import TaskID

    from castile.active.campaign import CampaignEvents
    from castile.active.exploration import Observation
    from castile.active.ledger import Calculation
    from castile.active.training import Version

EXIT_INTERRUPTED = 130


def learn(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN", help="Settings of the campaign (TOML).")],
    json: JsonFile = None,
) -> None:
    """Start the active-learning campaign of CAMPAIGN, or go on with it.

    Explores with a model, computes what the model does not know, refits, and stops when the force error is as
    small as wanted or the budget is spent. All state is in the directory of the campaign: after Ctrl-C (exit
    code 130), kill or power cut the same command goes on. 'castile status DIRECTORY' shows how it stands.
    """
    from castile.active.campaign import run_settings
    from castile.active.campaign_settings import read_campaign
    from castile.active.status import campaign_status
    from castile.cli.output import print_table, remark, write_json
    from castile.report.campaign_report import write_campaign_report
    from castile.report.campaign_tables import campaign_tables

    settings = read_campaign(campaign)
    with _shown() as events:
        outcome = run_settings(settings, events)
    status = campaign_status(outcome.directory)
    for table in campaign_tables(status):
        print_table(table)
    report = write_campaign_report(outcome.directory / "report.html", status)
    if json is not None:
        write_json(json, status.to_json_dict())
    remark(outcome.reason)
    remark(f"Model: {outcome.directory / 'model.castile'}\nReport: {report}")
    if not outcome.finished:
        raise typer.Exit(EXIT_INTERRUPTED)


@contextmanager
def _shown() -> Iterator[CampaignEvents]:
    """Show a campaign on its way: bars on a terminal, else a line for each new model."""
    from castile.active.campaign import CampaignEvents
    from castile.active.ledger import State
    from castile.cli.output import progress_bar, remark
    from castile.report.campaign_tables import first_line

    tasks: dict[str, TaskID] = {}
    n_called = 0
    with progress_bar() as bars:

        def observe(name: str, seen: Observation, total: int) -> None:
            """Move the bar of an explorer."""
            nonlocal n_called
            n_called += seen.called
            text = f"{name}, cycle {seen.cycle + 1}: {n_called} labels, deviation {seen.deviation:.3f} eV/Å"
            if name not in tasks:
                tasks[name] = bars.add_task(text, total=total)
            bars.update(tasks[name], completed=seen.step, total=total, description=text)

        def settled(calculation: Calculation) -> None:
            """Say what gave no label."""
            if calculation.state is not State.ACCEPTED:
                remark(f"calculation {calculation.id} {calculation.state}: {first_line(calculation)}")

        def learned(version: Version) -> None:
            """Say what the model has learned."""
            if bars.disable:
                remark(
                    f"model {version.number}: {len(version.ids)} labels, {version.n_sparse} sparse points, "
                    f"{version.kind} in {version.seconds:.1f} s"
                )

        yield CampaignEvents(observe, settled, learned)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(learn)
