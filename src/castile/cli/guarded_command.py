"""The class of all commands: before any work, it checks that no output would destroy what is read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

INPUTS = (
    "model", "data", "train", "test", "new", "structure", "structures", "paths", "config", "pool", "known",
    "candidates", "training", "campaign", "xml",
)  # fmt: skip
"""Parameters that name files that are read."""
NUMBERS = ("json", "json_file", "report")
"""Parameters that name one file, for numbers or a report."""
FOLDERS = ("FOLDER", "DIR")
"""How the help names outputs that are folders; all others are files."""
OUTPUTS = (*NUMBERS, "output", "trajectory", "hops", "html", "figure", "png", "map_page", "all_candidates")
"""Parameters that name what is written; what a restart reads too is not among them."""
REPLACEABLE = (("output", "model"), ("output", "campaign"))
"""A model may replace the one that it comes from; it appears complete or not at all."""


class GuardedCommand(TyperCommand):
    """A command whose outputs are checked before it runs."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises
        ------
        InputError
            If two outputs are the same file, one is a folder or a file that is read, or has no folder.
        """
        given = [p for p in self.params if p.param_type_name == "option"]
        check_outputs(
            ctx.params,
            {p.name: max(p.opts, key=len) for p in given},
            {p.name for p in given if p.metavar in FOLDERS},
        )
        return super().invoke(ctx)


def check_outputs(
    values: Mapping[str, Any], options: Mapping[str, str], folders: Collection[str] = ()
) -> None:
    """Check the outputs of a command, given the values of its parameters, how its options are spelled, and
    which outputs are folders.
    """
    outputs = {name: Path(values[name]) for name in OUTPUTS if values.get(name) is not None}
    if not outputs:
        return
    from castile.errors import InputError

    seen: dict[str, str] = {}
    for name, path in outputs.items():
        option = options.get(name, name)
        if name in NUMBERS and not path.parent.is_dir():
            raise InputError(f"{option} {path}: there is no folder {path.parent}; make it first")
        if name not in folders and path.is_dir():
            raise InputError(f"{option} {path}: is a folder; name a file in it")
        real = os.path.realpath(path)
        if real in seen:
            raise InputError(f"{seen[real]} and {option} both name {path}; give each its own file")
        seen[real] = option
    for name, text in _texts(values):
        read = {os.path.realpath(file) for file in _files(text)}
        for output, path in outputs.items():
            if (output, name) not in REPLACEABLE and path.is_file() and os.path.realpath(path) in read:
                raise InputError(
                    f"{options.get(output, output)} {path}: is also read, and writing it would replace the "
                    "data; name another file"
                )


def _texts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield parameter and text of everything that is read."""
    for name in INPUTS:
        value = values.get(name)
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str | os.PathLike):
                yield name, os.fspath(text)


def _files(text: str) -> list[str]:
    """Files that a path, "path@slice" or glob names."""
    path = os.path.expanduser(text)
    if not os.path.exists(path) and "@" in os.path.basename(path):
        path = path.rpartition("@")[0]
    if os.path.exists(path):
        return [path]
    from castile.structures.file_search import glob_matches

    return glob_matches(path)


def guard(app: typer.Typer) -> None:
    """Make all commands of ``app`` and of its groups guarded ones."""
    for command in app.registered_commands:
        if not issubclass(command.cls or TyperCommand, GuardedCommand):
            command.cls = GuardedCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            guard(group.typer_instance)
