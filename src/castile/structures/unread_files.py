"""Unread parts of single files: frames of text, images that ASE reads, rows of databases, archives."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast

import ase.io

from castile.structures.found_structure import (
    FileContent,
    FoundStructure,
    FrameText,
    ReadyPart,
    UnreadPart,
    broken_part,
)
from castile.structures.tolerant_frames import tolerant_frames
from castile.structures.xyz_frames import is_xyz, open_text

DATABASES = (".db", ".aselmdb")
SMALL_FILE = 1_000_000  # bytes; smaller files are read where the work is done
_NO_STRUCTURES = (
    ".castile", ".html", ".csv", ".parquet", ".jsonl", ".py", ".md", ".txt", ".log", ".toml", ".yaml", ".yml",
    ".png", ".svg", ".pdf", ".npz", ".npy", ".pkl", ".sh", ".journal",
)  # fmt: skip
Watch = Callable[[Callable[[], float]], None]
"""Takes a function that tells how many bytes were read."""


def may_hold_structures(inside: Path) -> bool:
    """Whether a file of a folder or an archive is tried."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in inside.parts)
    return not hidden and inside.suffix.lower() not in _NO_STRUCTURES


def database_parts(url: str, name: str, watch_share: Watch) -> Iterator[UnreadPart]:
    """Yield the rows of an ASE database; ``watch_share`` takes a function that tells the share done."""
    from ase.db import connect

    with connect(url) as database:
        total, done = max(1, len(database)), 0
        watch_share(lambda: done / total)
        for row in database.select(sort="id"):
            label = str(row.key_value_pairs.get("name", f"{name}[{row.id}]"))
            done += 1
            try:
                atoms = row.toatoms()
                atoms.info.update(row.key_value_pairs)
                yield ReadyPart(label, FoundStructure(label, atoms))
            except Exception as error:  # ASE's readers raise errors of any kind
                yield broken_part(label, f"{name}, row {row.id}: {type(error).__name__}: {error}")


def frame_parts(raw: IO[bytes], path: Path, name: str) -> Iterator[UnreadPart]:
    """Yield the frames of an extended XYZ file, compressed or not."""
    index = 0
    try:
        with open_text(cast(BinaryIO, raw), path) as text:
            for frame in tolerant_frames(text, name):
                index = frame.index + 1
                label = f"{name}[{frame.index}]"
                yield FrameText(label, frame.text) if frame.error is None else broken_part(label, frame.error)
    except (OSError, EOFError, ValueError) as error:
        label = f"{name}[{index}]"
        yield broken_part(label, f"{label}: the file cannot be read from here on ({error})")
        return
    if index == 0:
        yield broken_part(name, f"{name}: there is no structure in it")


def image_parts(path: Path, name: str) -> Iterator[UnreadPart]:
    """Yield what ASE reads of a large file, one structure in memory at a time."""
    n_read = 0
    try:
        for n_read, atoms in enumerate(ase.io.iread(str(path), index=":", do_not_split_by_at_sign=True), 1):
            label = f"{name}[{n_read - 1}]"
            yield ReadyPart(label, FoundStructure(label, atoms))
    except Exception as error:  # ASE's readers raise errors of any kind
        label = f"{name}[{n_read}]"
        yield broken_part(label, f"{label}: ASE cannot read it ({type(error).__name__}: {error})")
        return
    if not n_read:
        yield broken_part(name, f"{name}: there is no structure in it")


def archive_parts(path: Path, name: str, watch: Watch) -> Iterator[UnreadPart]:
    """Yield the parts of all files in an archive, in its order."""
    with path.open("rb") as raw:
        watch(lambda: 0 if raw.closed else raw.tell())
        if zipfile.is_zipfile(raw):
            with zipfile.ZipFile(raw) as packed:
                for entry in packed.infolist():
                    if not entry.is_dir() and may_hold_structures(Path(entry.filename)):
                        opened = partial(packed.open, entry)
                        yield from _member(opened, entry.filename, entry.file_size, name)
            return
        raw.seek(0)
        with tarfile.open(fileobj=raw, mode="r:*") as tar:
            for item in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                if item.isfile() and may_hold_structures(Path(item.name)):
                    yield from _member(partial(_extracted, tar, item), item.name, item.size, name)


def _extracted(tar: tarfile.TarFile, item: tarfile.TarInfo) -> IO[bytes]:
    """Return the contents of an ordinary file of an archive."""
    opened = tar.extractfile(item)
    assert opened is not None
    return opened


def _member(
    open_member: Callable[[], IO[bytes]], inside: str, n_bytes: int, archive: str
) -> Iterator[UnreadPart]:
    """Yield the parts of one file of an archive."""
    name, path = f"{archive}/{inside}", Path(inside)
    try:
        with open_member() as raw:
            if is_xyz(path):
                yield from frame_parts(raw, path, name)
            elif n_bytes <= SMALL_FILE and path.suffix not in DATABASES:
                yield FileContent(name, path.name, raw.read())
            else:
                yield from _unpacked(raw, path, name)
    except Exception as error:  # a wrong checksum of one file must not hide the others
        yield broken_part(name, f"{name}: cannot be unpacked ({type(error).__name__}: {error})")


def _unpacked(raw: IO[bytes], path: Path, name: str) -> Iterator[UnreadPart]:
    """Yield the parts of a large file or a database of an archive, from a copy on the disk."""
    with tempfile.TemporaryDirectory(prefix="castile-") as folder:
        copy = Path(folder) / path.name
        with copy.open("wb") as file:
            while piece := raw.read(1 << 20):
                file.write(piece)
        if path.suffix in DATABASES:
            yield from database_parts(str(copy), name, lambda position: None)
        else:
            yield from image_parts(copy, name)
