"""The ``castile`` command: global options, command groups, and errors without tracebacks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from traceback import clear_frames
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from castile.cli import (
    audit,
    barriers,
    calibrate,
    compare,
    demo,
    describe,
    evaluate,
    fit,
    info,
    learn,
    map,
    neb,
    predict,
    quip,
    screen,
    select,
    simulate,
    split,
    status,
)
from castile.cli.guarded_command import guard
from castile.errors import CastileError

GROUPS = (
    demo,
    fit,
    evaluate,
    calibrate,
    predict,
    simulate,
    describe,
    select,
    learn,
    barriers,
    neb,
    status,
    split,
    audit,
    map,
    compare,
    screen,
    info,
    quip,
)


class CommandGroup(TyperGroup):
    """Turns errors that the user can settle into one message on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; ``CASTILE_TRACEBACK=1`` lets errors through with their traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            if _traceback_wanted():
                raise
            notes = " ".join(getattr(interruption, "__notes__", ()))
            typer.echo(f"\ncastile: interrupted. {notes or 'What was written before is kept.'}", err=True)
            raise typer.Exit(130) from None
        except (CastileError, OSError) as error:
            if _traceback_wanted() or isinstance(error, BrokenPipeError):
                raise
            typer.secho(f"castile: {describe_error(error)}", err=True, fg=typer.colors.RED)
            clear_frames(error.__traceback__)  # closes the file that was being read
            raise typer.Exit(1) from None


def describe_error(error: Exception) -> str:
    """Return message and notes of an error; for operating-system errors the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    else:
        message = str(error) or type(error).__name__
    return " ".join([message, *getattr(error, "__notes__", ())])


def _traceback_wanted() -> bool:
    return os.environ.get("CASTILE_TRACEBACK", "") not in ("", "0")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"castile {version('castile')}")
        raise typer.Exit


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        os.environ["CASTILE_NUM_THREADS"] = str(threads)


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Number of threads (default: the cores this process may use; also CASTILE_NUM_THREADS).",
            callback=_set_threads,
        ),
    ] = None,
) -> None:
    """From quantum-mechanical calculations to a force field you can trust.

    Start with 'castile demo': real silicon data in, a tested potential and a report out, in two minutes.
    Errors are one message; CASTILE_TRACEBACK=1 shows where they come from.
    """


def build_app() -> typer.Typer:
    """Return the application with all command groups registered."""
    app = typer.Typer(
        name="castile",
        cls=CommandGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for group in GROUPS:
        group.register(app)
    guard(app)
    return app


app = build_app()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``castile`` command."""
    app(args=None if arguments is None else list(arguments), prog_name="castile")


if __name__ == "__main__":
    main()
