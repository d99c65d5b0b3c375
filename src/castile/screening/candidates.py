"""Candidates from everywhere, in batches that are the same in every run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ase import Atoms

from castile.errors import InputError
from castile.screening.generators import (
    Family,
    MadePart,
    family_fingerprint,
    made_parts,
    n_parts,
    open_families,
)
from castile.structures.fingerprints import geometry_hash
from castile.structures.found_structure import FoundStructure, ReadyPart, UnreadPart
from castile.structures.structure_collection import StructureCollection

BATCH_PARTS = 64
BATCH_BYTES = 400_000
_MADE_WEIGHT = 500  # bytes that a made structure counts as

Sources = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | Atoms]


@dataclass(frozen=True)
class CandidateBatch:
    """Parts of the stream that are worked on together.

    Attributes
    ----------
    name : str
        Of the first part.
    first, last : int
        Positions of the parts in the stream.
    parts : tuple of UnreadPart
    """

    name: str
    first: int
    last: int
    parts: tuple[UnreadPart, ...]

    def read(self) -> Iterator[FoundStructure]:
        """Yield the structures."""
        for part in self.parts:
            yield from part.read()


class CandidateStream:
    """All candidates of files, folders, globs, archives, databases and generators (TOML), in a fixed order.

    Parameters
    ----------
    sources : str, path, ase.Atoms, or iterable of them
        A path that ends in .toml is a file of generators; anything else as for
        :class:`castile.structures.structure_collection.StructureCollection`.

    Raises
    ------
    InputError
        If a source does not exist or a generator is wrong.
    """

    def __init__(self, sources: Sources) -> None:
        listed = [sources] if isinstance(sources, str | os.PathLike | Atoms) else list(sources)
        if not listed:
            raise InputError("there are no candidates; name files, folders, databases or generators")
        self._pieces: list[Family | StructureCollection | list[Atoms]] = []
        self._files: list[Path] = []
        ordinary: list[str | os.PathLike[str]] = []
        for source in listed:
            if isinstance(source, Atoms) or Path(source).suffix.lower() == ".toml":
                self._add_ordinary(ordinary)
                ordinary = []
                self._add_other(source)
            else:
                ordinary.append(source)
        self._add_ordinary(ordinary)
        self._share = 0.0
        self._here = 0

    def _add_ordinary(self, sources: list[str | os.PathLike[str]]) -> None:
        if sources:
            collection = StructureCollection(sources)
            self._pieces.append(collection)
            self._files += collection.files

    def _add_other(self, source: str | os.PathLike[str] | Atoms) -> None:
        if isinstance(source, Atoms):
            if not self._pieces or not isinstance(self._pieces[-1], list):
                self._pieces.append([])
            last = self._pieces[-1]
            assert isinstance(last, list)
            last.append(source)
            return
        path = Path(source).expanduser()
        if not path.is_file():
            raise InputError(f"{source}: no such file in {os.getcwd()}; check the path")
        self._pieces += open_families(path)
        self._files.append(path)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        return tuple(self._files)

    def refuse_as_output(self, path: str | os.PathLike[str]) -> None:
        """Raise InputError where writing ``path`` would destroy what is read."""
        if os.path.exists(path) and any(os.path.samefile(path, file) for file in self._files):
            raise InputError(
                f"{os.fspath(path)}: is also read, and writing it would replace the data; name another file"
            )

    def fingerprint(self) -> str:
        """Hash of what the stream depends on: a restart must find the same."""
        digest = hashlib.sha256()
        for piece in self._pieces:
            if isinstance(piece, Family):
                digest.update(family_fingerprint(piece).encode())
            elif isinstance(piece, StructureCollection):
                digest.update(piece.fingerprint().encode())
            else:
                digest.update(b"".join(geometry_hash(atoms) for atoms in piece))
        return digest.hexdigest()

    @property
    def fraction(self) -> float:
        """How far the pass under way has come, between 0 and 1."""
        piece = self._pieces[min(self._here, len(self._pieces) - 1)]
        weights = [_weight(each) for each in self._pieces]
        inside = piece.fraction if isinstance(piece, StructureCollection) else self._share
        done = sum(weights[: self._here]) + (inside * _weight(piece) if self._here < len(weights) else 0.0)
        return min(1.0, done / max(1, sum(weights)))

    def parts(self, start: int = 0) -> Iterator[UnreadPart]:
        """Yield the parts from position ``start`` on; those before it are not made or parsed."""
        for position, piece in enumerate(self._pieces):
            self._here, self._share = position, 0.0
            if isinstance(piece, Family):
                skipped = min(start, n_parts(piece))
                for made in made_parts(piece, skipped):
                    self._share = made.first / max(1, len(piece))
                    yield made
            elif isinstance(piece, list):
                skipped = min(start, len(piece))
                for index in range(skipped, len(piece)):
                    self._share = index / len(piece)
                    name = str(piece[index].info.get("name", f"structure {index}"))
                    yield ReadyPart(name, FoundStructure(name, piece[index]))
            else:
                skipped = 0
                for part in piece.parts():
                    if skipped < start:
                        skipped += 1
                    else:
                        yield part
            start -= skipped
        self._here = len(self._pieces)

    def batches(self, start: int = 0) -> Iterator[CandidateBatch]:
        """Yield the parts from position ``start`` on in batches that depend on the stream alone."""
        parts, first = self.parts(start), start
        while True:
            batch: list[UnreadPart] = []
            n_bytes = 0
            for part in islice(parts, BATCH_PARTS):
                batch.append(part)
                n_bytes += part.n_bytes
                if n_bytes >= BATCH_BYTES or isinstance(part, MadePart):
                    break
            if not batch:
                return
            yield CandidateBatch(batch[0].name, first, first + len(batch), tuple(batch))
            first += len(batch)


def _weight(piece: Family | StructureCollection | list[Atoms]) -> int:
    if isinstance(piece, StructureCollection):
        return piece.n_bytes
    return _MADE_WEIGHT * len(piece)
