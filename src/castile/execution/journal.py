"""A journal of finished work: what is in it survives a kill, and is not done again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_SYNC_SECONDS = 2.0
_KEY = "castile_journal"


class Journal:
    """Records of finished pieces of work, one line of JSON each; a line that a kill cut off is taken away.

    Parameters
    ----------
    path : path or None
        None: nothing is kept.
    key : str
        Of everything that the records depend on. A journal of another key is begun anew.
    """

    def __init__(self, path: str | os.PathLike[str] | None, key: str) -> None:
        self.path = None if path is None else Path(path)
        self.key = key
        self._file: IO[bytes] | None = None
        self._synced = 0.0

    def records(self) -> Iterator[Any]:
        """Yield what earlier runs of this key recorded."""
        if self.path is None or journal_key(self.path) != self.key:
            return
        for line in _complete_lines(self.path, skip=1):
            yield json.loads(line)

    def __enter__(self) -> Journal:
        if self.path is not None:
            if journal_key(self.path) == self.key:
                self._file = self.path.open("r+b")
                self._file.truncate(sum(len(line) for line in _complete_lines(self.path)))
                self._file.seek(0, os.SEEK_END)
            else:
                self._file = self.path.open("wb")
                self._write({_KEY: self.key})
        return self

    def add(self, record: Any) -> None:
        """Append a record (numbers, text, lists and mappings of them)."""
        if self._file is not None:
            self._write(record)

    def _write(self, record: Any) -> None:
        assert self._file is not None
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > _SYNC_SECONDS:  # against a loss of power
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def journal_key(path: Path) -> str | None:
    """Return the key of a journal; None where there is none."""
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline())
        return str(first[_KEY])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _complete_lines(path: Path, skip: int = 0) -> Iterator[bytes]:
    """Yield the lines of a journal up to the first that is not complete."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            try:
                json.loads(line)
            except ValueError:
                return
            if number >= skip:
                yield line
