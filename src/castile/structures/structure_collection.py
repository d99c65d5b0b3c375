"""Collections of structures of any size: files, folders, globs, archives and ASE databases, in one stream."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from castile.errors import InputError
from castile.structures.found_structure import FileContent, UnreadPart, broken_part
from castile.structures.selection_syntax import FrameSelection, split_selection
from castile.structures.unread_files import (
    DATABASES,
    SMALL_FILE,
    archive_parts,
    database_parts,
    frame_parts,
    image_parts,
    may_hold_structures,
)
from castile.structures.xyz_frames import is_xyz

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
_URL_WEIGHT = 1_000_000  # bytes that a database on a server counts as


@dataclass(frozen=True)
class _Source:
    """A file with the structures chosen from it, or the address of a database."""

    path: Path
    name: str
    selection: FrameSelection = field(default_factory=FrameSelection)
    url: str | None = None

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return _URL_WEIGHT if self.url is not None else max(1, self.path.stat().st_size)


class StructureCollection:
    """Structures of files, folders (searched to the bottom), globs, archives and databases; in a fixed order.

    The parts are read where and when they are used, so that a collection larger than the memory is no
    different. Whatever cannot be read is told as a part with an error.

    Parameters
    ----------
    sources : str, path or iterable of them
        "file.xyz", "file.xyz@::10", a folder, a glob, .zip and .tar archives (compressed or not), ASE
        databases (.db, postgresql://...), and any file that ASE reads.

    Raises
    ------
    InputError
        If a source does not exist, a glob matches nothing, or a folder is empty.
    """

    def __init__(self, sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
        listed = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
        if not listed:
            raise InputError("no structures were given; name at least one file or folder")
        found = [source for text in listed for source in _find(os.fspath(text))]
        names = Counter(path.name for path in {source.path for source in found})
        self._sources = tuple(
            source if names[source.path.name] > 1 else _Source(
                source.path, source.path.name, source.selection, source.url
            )
            for source in found
        )  # fmt: skip
        self._weights = [source.n_bytes for source in self._sources]
        self._before = 0
        self._here: Callable[[], float] = float

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        return tuple(source.path for source in self._sources if source.url is None)

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(self._weights)

    @property
    def fraction(self) -> float:
        """How far the pass under way has come, between 0 and 1, by bytes."""
        return min(1.0, (self._before + self._here()) / max(1, self.n_bytes))

    def fingerprint(self) -> str:
        """Hash of paths, sizes and times of change: what a restart relies on."""
        digest = hashlib.sha256()
        for source in self._sources:
            place = source.url or str(source.path.resolve())
            stamp = None if source.url else (source.path.stat().st_size, source.path.stat().st_mtime_ns)
            digest.update(repr((place, source.selection, stamp)).encode())
        return digest.hexdigest()

    def parts(self) -> Iterator[UnreadPart]:
        """Yield all parts, in order."""
        self._before = 0
        for source, weight in zip(self._sources, self._weights, strict=True):
            yield from self._parts_of(source)
            self._before += weight
            self._here = float

    def _parts_of(self, source: _Source) -> Iterator[UnreadPart]:
        n_parts = 0
        for part in self._tolerant_parts_of(source):
            yield part
            n_parts += 1
        if n_parts == 0 and source.selection != FrameSelection():
            chosen = source.selection.text
            error = f"{source.name}: it holds no structure {chosen}; check what follows the @"
            yield broken_part(source.name, error)

    def _tolerant_parts_of(self, source: _Source) -> Iterator[UnreadPart]:
        name = source.name
        try:
            if source.url is not None or source.path.suffix in DATABASES:
                yield from _chosen(lambda: self._rows(source), source.selection)
            elif _is_archive(source.path):
                yield from _chosen(lambda: archive_parts(source.path, name, self._watch), source.selection)
            elif is_xyz(source.path) or source.path.stat().st_size > SMALL_FILE:
                yield from _chosen(lambda: self._file(source), source.selection)
            elif source.selection != FrameSelection():
                yield from _chosen(lambda: image_parts(source.path, name), source.selection)
            else:
                yield FileContent(name, source.path.name, source.path.read_bytes())
        except Exception as error:  # one source must not stop the others
            yield broken_part(name, f"{name}: cannot be read ({type(error).__name__}: {error})")

    def _watch(self, position: Callable[[], float]) -> None:
        self._here = position

    def _file(self, source: _Source) -> Iterator[UnreadPart]:
        if not is_xyz(source.path):
            yield from image_parts(source.path, source.name)
            return
        with source.path.open("rb") as raw:
            self._watch(lambda: 0 if raw.closed else raw.tell())
            yield from frame_parts(raw, source.path, source.name)

    def _rows(self, source: _Source) -> Iterator[UnreadPart]:
        def watch_share(share: Callable[[], float]) -> None:
            """Take the share of the database that was read for bytes."""
            self._watch(lambda: share() * source.n_bytes)

        yield from database_parts(source.url or str(source.path), source.name, watch_share)


def _chosen(
    open_parts: Callable[[], Iterator[UnreadPart]], selection: FrameSelection
) -> Iterator[UnreadPart]:
    """Yield the chosen ones of the parts; they are counted first only where the selection asks for it."""
    if selection == FrameSelection():
        yield from open_parts()
        return
    wanted = selection.indices(sum(1 for _ in open_parts()) if selection.needs_length else None)
    for index, part in enumerate(open_parts()):
        if index in wanted:
            yield part
        if index + 1 >= wanted.stop:
            return


def _find(text: str) -> list[_Source]:
    """Files of one source as the user gave it."""
    if "://" in text:
        return [_Source(Path(text.rpartition("/")[2] or "database"), text.rpartition("/")[2], url=text)]
    pattern, selection = os.path.expanduser(text), FrameSelection()
    if not os.path.exists(pattern):
        pattern, selection = split_selection(pattern)
    if os.path.exists(pattern):
        matches = [pattern]
    else:
        matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    if not matches:
        raise InputError(f"{text}: no such file or folder in {os.getcwd()}; check the path")
    files = [file for match in matches for file in _files_below(Path(match))]
    if not files:
        raise InputError(f"{text}: there is no file with structures in this folder; name another one")
    for file in files:
        if not os.access(file, os.R_OK):
            raise InputError(f"{file}: may not be read; change its permissions")
    return [_Source(file, str(file), selection) for file in files]


def _files_below(path: Path) -> list[Path]:
    if not path.is_dir() or path.suffix == ".aselmdb":
        return [path]
    inside = sorted(child for child in path.rglob("*") if child.is_file())
    return [child for child in inside if may_hold_structures(child.relative_to(path))]


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES)
