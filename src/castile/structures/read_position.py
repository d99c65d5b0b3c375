"""How far a pass over files has come, from which the number of structures in them is estimated."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from castile.structures.xyz_frames import open_text


class ReadPosition:
    """How far a pass over the files has come: structures, and bytes of all files."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.n_structures = 0
        self._before = 0
        self._raw: BinaryIO | None = None

    @property
    def fraction(self) -> float:
        """Part of the bytes that were read, between 0 and 1."""
        here = 0 if self._raw is None or self._raw.closed else self._raw.tell()
        return min(1.0, (self._before + here) / max(self.n_bytes, 1))

    @contextmanager
    def reading(self, path: Path) -> Iterator[TextIO]:
        """Open a file; its position counts while it is read."""
        with open(path, "rb") as self._raw, open_text(self._raw, path) as text:
            yield text
        self._before += path.stat().st_size
