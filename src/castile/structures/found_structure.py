"""Structures of large collections: found first, read later, and broken ones told rather than raised."""

from __future__ import annotations

import io
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
from ase import Atoms
from ase.io.cif import parse_cif

from castile.errors import InputError
from castile.structures.xyz_frames import parse_frame


@dataclass(frozen=True)
class FoundStructure:
    """A structure with its name; or, without atoms, the reason why there is none."""

    name: str
    atoms: Atoms | None
    error: str | None = None


class UnreadPart(ABC):
    """A piece of a collection that is not parsed yet; it travels to where that is done."""

    name: str

    @abstractmethod
    def read(self) -> Iterator[FoundStructure]:
        """Yield its structures; nothing is raised for what is broken."""

    @property
    def n_bytes(self) -> int:
        """About the size of what travels."""
        return 1000


@dataclass(frozen=True)
class FrameText(UnreadPart):
    """Text of one extended XYZ frame."""

    name: str
    text: str

    def read(self) -> Iterator[FoundStructure]:
        """Yield the structure."""
        try:
            yield FoundStructure(self.name, parse_frame(self.text))
        except Exception as error:  # ASE's readers raise errors of any kind
            yield FoundStructure(self.name, None, f"{self.name}: not a readable extended XYZ frame ({error})")

    @property
    def n_bytes(self) -> int:
        """Length of the text."""
        return len(self.text)


@dataclass(frozen=True)
class ReadyPart(UnreadPart):
    """A structure, or the reason why there is none, that was read already."""

    name: str
    found: FoundStructure

    def read(self) -> Iterator[FoundStructure]:
        """Yield it."""
        yield self.found

    @property
    def n_bytes(self) -> int:
        """Size of positions and numbers."""
        return 200 if self.found.atoms is None else 200 + 32 * len(self.found.atoms)


@dataclass(frozen=True)
class FileContent(UnreadPart):
    """A small file in any format that ASE reads; ``file_name`` tells the format."""

    name: str
    file_name: str
    content: bytes

    def read(self) -> Iterator[FoundStructure]:
        """Yield the structures of the file."""
        with tempfile.TemporaryDirectory(prefix="castile-") as folder:
            path = Path(folder) / Path(self.file_name).name
            path.write_bytes(self.content)
            yield from read_any_file(path, self.name)

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return len(self.content)


def broken_part(name: str, error: str) -> ReadyPart:
    """Return the part that stands for something that cannot be read."""
    return ReadyPart(name, FoundStructure(name, None, error))


def read_any_file(path: Path, name: str) -> Iterator[FoundStructure]:
    """Yield the structures of a file that ASE reads; the first is called ``name``, others ``name[k]``."""
    if path.suffix.lower() == ".cif":
        yield from _read_cif(path, name)
        return
    n_read = 0
    try:
        for atoms in ase.io.iread(str(path), index=":", do_not_split_by_at_sign=True):
            yield FoundStructure(_numbered(name, n_read), atoms)
            n_read += 1
    except Exception as error:  # ASE's readers raise errors of any kind
        after = f" after {n_read} structures" if n_read else ""
        text = f"{name}: ASE cannot read it{after} ({type(error).__name__}: {error})"
        yield FoundStructure(_numbered(name, n_read), None, text)
        return
    if not n_read:
        yield FoundStructure(name, None, f"{name}: there is no structure in it")


def _read_cif(path: Path, name: str) -> Iterator[FoundStructure]:
    """Yield the blocks of a CIF, each on its own: one that is broken does not hide those after it."""
    n_read = 0
    try:
        blocks = list(parse_cif(io.BytesIO(path.read_bytes())))
    except Exception as error:  # ASE's readers raise errors of any kind
        yield FoundStructure(name, None, f"{name}: not a readable CIF ({type(error).__name__}: {error})")
        return
    for block in blocks:
        if not block.has_structure():
            continue
        label = _numbered(name, n_read)
        n_read += 1
        try:
            yield FoundStructure(label, block.get_atoms())
        except Exception as error:  # ASE's readers raise errors of any kind
            yield FoundStructure(
                label, None, f"{label}: not a usable CIF block ({type(error).__name__}: {error})"
            )
    if not n_read:
        yield FoundStructure(name, None, f"{name}: there is no structure in it")


def _numbered(name: str, index: int) -> str:
    return name if index == 0 else f"{name}[{index}]"


def require_atoms(found: FoundStructure) -> Atoms:
    """Return the structure; raises InputError with the reason where there is none."""
    if found.atoms is None:
        raise InputError(found.error or f"{found.name}: there is no structure")
    return found.atoms
