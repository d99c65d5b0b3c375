"""Structures of a source, with or without those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from castile.errors import InputError
from castile.structures import LabelledStructure, StructureSource


@dataclass(frozen=True)
class Skipped:
    """A structure that was left out: its place in the data, and why (with file and index)."""

    index: int
    reason: str


def sound_structures(
    source: StructureSource, skipped: list[Skipped] | None = None
) -> Iterator[LabelledStructure]:
    """Yield the structures of a source.

    Parameters
    ----------
    source : StructureSource
    skipped : list of Skipped, optional
        Takes those that cannot be read, computed or labelled; without it the first of them is an error.

    Raises
    ------
    InputError
        For the first such structure, where none may be skipped; file and index are named. A file that is
        damaged as a whole is always an error.
    """
    for index, unread in enumerate(source.unread()):
        try:
            structure = unread.read()
        except InputError as error:
            if skipped is None:
                raise _with_remedy(error) from error
            skipped.append(Skipped(index, str(error)))
            continue
        yield structure


def _with_remedy(error: InputError) -> InputError:
    """The error, with a way on where it is about one structure and not about the names of labels."""
    text = str(error)
    if "-key" in text:
        return error
    return InputError(f"{text}. To go on without such structures, give --skip-broken (skip_broken=True)")
