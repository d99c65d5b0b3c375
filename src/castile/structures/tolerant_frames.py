"""Frames of extended XYZ text where some are damaged: the others are found and read all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Frame:
    """Text of a frame, or why there is none.

    Attributes
    ----------
    index : int
        Position in the file; damaged stretches count as one.
    text : str
    error : str or None
    """

    index: int
    text: str
    error: str | None = None


def tolerant_frames(file: TextIO, name: str) -> Iterator[Frame]:
    """Yield the frames of an extended XYZ file; a damaged stretch is one frame with an error.

    A frame is damaged when its number of atoms and its lines do not agree. The next one begins at the next
    line that is a number by itself.

    Parameters
    ----------
    file : text file
    name : str
        Of the file, for messages.
    """
    lines = _Lines(file)
    index = 0
    while (line := lines.next()) is not None:
        if not line.strip():
            continue
        start, n_atoms = lines.number, _as_count(line)
        if n_atoms is None:
            lines.skip_to_count()
            found = line.strip()[:60]
            yield Frame(
                index, "", f"{name}[{index}], line {start}: expected a number of atoms, found {found!r}"
            )
        else:
            yield _frame(lines, line, n_atoms, index, f"{name}[{index}], line {start}")
        index += 1


def _frame(lines: _Lines, first: str, n_atoms: int, index: int, where: str) -> Frame:
    """Read the frame whose first line was read; what belongs to the next one is given back."""
    rows = [first]
    comment = lines.next()
    rows += [] if comment is None else [comment]
    while len(rows) < n_atoms + 2 and comment is not None:
        row = lines.next()
        if row is None:
            break
        if _as_count(row) is not None:
            lines.give_back(row)
            break
        rows.append(row)
    if comment is None or len(rows) < n_atoms + 2:
        found = max(0, len(rows) - 2)
        return Frame(index, "", f"{where}: {n_atoms} atoms are announced and {found} follow")
    n_more = 0
    while (row := lines.next()) is not None:
        if row.lstrip().startswith("VEC"):
            rows.append(row)
        elif row.strip() and _as_count(row) is None:
            n_more += 1
        else:
            lines.give_back(row)
            break
    if n_more:
        n_more += lines.skip_to_count()
        return Frame(index, "", f"{where}: {n_atoms} atoms are announced and {n_atoms + n_more} follow")
    return Frame(index, "".join(rows))


class _Lines:
    """Lines of a file, of which the last may be given back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []
        self.number = 0

    def next(self) -> str | None:
        """Return the next line, None at the end."""
        line = self._waiting.pop() if self._waiting else self._file.readline()
        self.number += bool(line)
        return line or None

    def give_back(self, line: str) -> None:
        """Read this line again next time."""
        self._waiting.append(line)
        self.number -= 1

    def skip_to_count(self) -> int:
        """Go to the next line that is a number by itself; returns how many lines with text are skipped."""
        n_skipped = 0
        while (line := self.next()) is not None:
            if _as_count(line) is not None:
                self.give_back(line)
                break
            n_skipped += bool(line.strip())
        return n_skipped


def _as_count(line: str) -> int | None:
    """Return the number that a line is, None for any other line."""
    text = line.strip()
    return int(text) if text.isascii() and text.isdigit() else None
