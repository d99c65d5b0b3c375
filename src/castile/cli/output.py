"""What commands print: tables on stdout, progress and remarks on stderr, JSON in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from castile.evaluation.tables import Table


def print_table(table: Table) -> None:
    """Print a table on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=table.title or None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for index, name in enumerate(table.columns):
        shown.add_column(Text(name), justify="right" if table.is_numeric(index) else "left")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    console = Console(width=None if _is_terminal() else 160)
    console.print(shown)
    if table.note:
        console.print(Text(table.note), "")


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def remark(text: str) -> None:
    """Print a line on stderr."""
    typer.echo(text, err=True)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Progress on stderr with the time left; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def counted(
    description: str, total: int | Callable[[], int | None] | None
) -> Iterator[Callable[[int], None]]:
    """A progress bar as a callable that takes the number of items done.

    Where ``total`` is a callable, it is an estimate that is asked for again as the work goes on.
    """
    with progress_bar() as progress:
        estimate = total if callable(total) else (lambda: total)
        task = progress.add_task(description, total=estimate())
        yield lambda done: progress.update(task, completed=done, total=estimate())


def write_json(path: Path, numbers: Mapping[str, object]) -> None:
    """Write flat JSON; the file appears complete or not at all."""
    from castile.formats.text_file import write_text_file

    write_text_file(path, json.dumps(dict(numbers), indent=2, allow_nan=False) + "\n")


@contextmanager
def step_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress of several steps, one line each: a callable that takes step, what is done, and the total.

    Where stderr is no terminal, each step is one plain line when it ends.
    """
    with progress_bar() as progress:
        tasks: dict[str, TaskID] = {}
        seen: set[str] = set()

        def report(step: str, done: int, total: int | None) -> None:
            """Open a line for a step at its first call, and move it afterwards."""
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)
            if progress.disable and total is not None and done >= total and step not in seen:
                seen.add(step)
                remark(f"{step}: done")

        yield report
