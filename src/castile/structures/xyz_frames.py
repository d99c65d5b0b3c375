"""Frames of extended XYZ files as text: one pass, exact indices, nothing dropped on the way.

Parsing of a frame is left to ASE. Finding the frames is done here because the index of a frame must be known
for messages, skipped frames (slices) need not be parsed, and a file cut off in mid-frame must be an error.
"""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, cast

from ase import Atoms
from ase.io.extxyz import read_xyz

from castile.errors import InputError

_OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_SUFFIXES = (".xyz", ".extxyz")


def is_xyz(path: Path) -> bool:
    """True for .xyz and .extxyz, compressed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _OPENERS:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in _SUFFIXES


def open_text(raw: BinaryIO, path: Path) -> TextIO:
    """Text of a possibly compressed file that is open in binary mode."""
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        return TextIOWrapper(raw, encoding="utf-8-sig")
    return cast(TextIO, opener(raw, "rt", encoding="utf-8-sig"))


def iterate_frames(file: TextIO, name: str) -> Iterator[str]:
    """Text of each frame.

    Args:
        file: an open extended XYZ file.
        name: of the file, for messages.

    Raises:
        InputError: a frame without its number of atoms, or cut off.

    """
    index = 0
    line = file.readline()
    while line:
        if not line.strip():
            line = file.readline()
            continue
        try:
            n_atoms = int(line)
        except ValueError as error:
            raise InputError(
                f"{name}[{index}]: expected the number of atoms of a frame, found {line.strip()[:60]!r}; "
                f"check the number of atoms of the frame before it"
            ) from error
        rows = [line, file.readline()] + [file.readline() for _ in range(n_atoms)]
        if not rows[-1]:
            found = sum(1 for row in rows[2:] if row)
            raise InputError(
                f"{name}[{index}]: the file ends after {found} of {n_atoms} atoms of this frame; it was cut "
                "off, so copy it again or remove the last frame"
            )
        line = file.readline()
        while line.lstrip().startswith("VEC"):
            rows.append(line)
            line = file.readline()
        yield "".join(rows)
        index += 1


def parse_frame(text: str) -> Atoms:
    """Structure of one frame, as ASE reads it."""
    return cast(Atoms, next(iter(read_xyz(StringIO(text), index=0))))
