"""Training rows of some structures, kept in a temporary file between the fit and its calibration."""

import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import IO

import numpy as np

from castile.potentials.training_rows import LabelRows, RowBuilder
from castile.structures.fingerprints import labelled_bytes
from castile.structures.labels import LabelledStructure

MOST_BYTES = 500_000_000
"""Rows that do not fit into a file of this size are computed again."""


def structure_key(structure: LabelledStructure) -> bytes:
    """Return a hash of all that the rows of a structure depend on."""
    return hashlib.blake2b(labelled_bytes(structure), digest_size=16).digest()


class RowFile:
    """Rows of structures in a temporary file that vanishes with this object; memory holds targets only."""

    def __init__(self, wanted: Iterable[bytes], most_bytes: int = MOST_BYTES) -> None:
        """Open the file for the structures with these keys."""
        self._wanted = set(wanted)
        self._most_bytes = most_bytes
        self._kept: dict[bytes, list[tuple[int, LabelRows]]] = {}
        self._lock = threading.Lock()
        try:
            self._file: IO[bytes] | None = tempfile.TemporaryFile(buffering=0, prefix="castile-rows-")  # noqa: SIM115
        except OSError:  # no place for temporary files: all rows are computed again
            self._file = None
        else:
            weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        """Number of structures whose rows are kept."""
        return len(self._kept)

    def put(self, key: bytes, labels: list[LabelRows]) -> None:
        """Keep the rows of a structure, if they are wanted and there is room."""
        if self._file is None or key not in self._wanted or key in self._kept:
            return
        n_bytes = sum(label.rows.size for label in labels) * 8
        with self._lock, suppress(OSError):  # where the disk is full the rows are computed again
            position = self._file.seek(0, os.SEEK_END)
            if position + n_bytes > self._most_bytes:
                return
            entries = []
            for label in labels:
                content = np.ascontiguousarray(label.rows, dtype=np.float64).tobytes()
                if self._file.write(content) < len(content):
                    return
                shape = np.broadcast_to(0.0, label.rows.shape)
                entries.append((position, replace(label, rows=shape, targets=label.targets.copy())))
                position += label.rows.size * 8
            self._kept[key] = entries

    def get(self, key: bytes) -> list[LabelRows] | None:
        """Return the rows of a structure; None if they were not kept."""
        if self._file is None or key not in self._kept:
            return None
        found = []
        for position, label in self._kept[key]:
            with self._lock:
                self._file.seek(position)
                content = self._file.read(label.rows.size * 8)
            found.append(replace(label, rows=np.frombuffer(content).reshape(label.rows.shape)))
        return found


@dataclass(frozen=True)
class RememberingBuilder(RowBuilder):
    """A builder that computes the rows of some structures once.

    Attributes
    ----------
    file : RowFile
    """

    file: RowFile = field(default_factory=lambda: RowFile(()))

    @classmethod
    def of(cls, builder: RowBuilder, structures: Iterable[LabelledStructure]) -> "RememberingBuilder":
        """Return a builder of the same rows that remembers those of ``structures``."""
        parts = {part.name: getattr(builder, part.name) for part in fields(RowBuilder)}
        return cls(**parts, file=RowFile(structure_key(structure) for structure in structures))

    def __call__(self, structure: LabelledStructure) -> list[LabelRows]:
        """Return the rows of all labels of a structure."""
        key = structure_key(structure)
        found = self.file.get(key)
        if found is None:
            found = super().__call__(structure)
            self.file.put(key, found)
        return found


__all__ = ["RememberingBuilder", "RowFile", "structure_key"]
