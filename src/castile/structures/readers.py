"""Structures from files, globs, slices and lists: read one at a time, as often as wanted."""

import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import TypeVar

import ase.io
from ase import Atoms
from ase.io.formats import filetype

from castile.errors import InputError
from castile.structures.file_search import find_files
from castile.structures.labels import LabelKeys, LabelledStructure
from castile.structures.read_position import ReadPosition
from castile.structures.selection_syntax import FrameSelection
from castile.structures.unread_structure import UnreadStructure
from castile.structures.validation import SMALLEST_DISTANCE
from castile.structures.xyz_frames import is_xyz, iterate_frames

StructureLike = str | os.PathLike[str] | Atoms | LabelledStructure
_T = TypeVar("_T")
DATABASES = ("db", "json")
"""ASE's names of the formats of its databases in files."""
_UNREADABLE = (OSError, EOFError, zlib.error, LZMAError)


@dataclass(frozen=True)
class _FilePart:
    """A file and the structures chosen from it."""

    path: Path
    name: str
    selection: FrameSelection


class StructureSource:
    """Labelled structures, one in memory at a time; may be iterated again and again.

    Every structure is validated and its labels are found when it is read. The order is that of the sources;
    the files of a glob are sorted by name.
    """

    def __init__(
        self,
        sources: StructureLike | Iterable[StructureLike],
        keys: LabelKeys | None = None,
        *,
        file_format: str | None = None,
        smallest_distance: float = SMALLEST_DISTANCE,
        needs_labels: bool = True,
    ) -> None:
        """Find the files; nothing is read yet.

        Args:
            sources: path, "path@::10", glob, `ase.Atoms`, or any iterable of these (a generator is kept as a
                list so that it can be read again).
            keys: names of the labels; automatic where None.
            file_format: ASE's name of the format of all files, if the file names do not tell it.
            smallest_distance: A; atoms closer than this are an error, 0 allows even coincident atoms.
            needs_labels: False leaves out labels that cannot be used (no number, wrong shape, two that
                disagree) and notes them in ``left_out`` of the structure; they are errors otherwise.

        Raises:
            InputError: no sources, a missing, empty or unreadable file, or a glob that matches nothing.

        """
        self.keys = LabelKeys() if keys is None else keys
        self.file_format = file_format
        self.smallest_distance = smallest_distance
        self.needs_labels = needs_labels
        self._parts = _parts(_as_list(sources))
        self._length: int | None = None
        self._position: ReadPosition | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files, without structures given in memory."""
        return tuple(str(part.path) for part in self._parts if isinstance(part, _FilePart))

    def refuse_as_output(self, path: str | os.PathLike[str]) -> None:
        """Check that writing ``path`` would not destroy what is read.

        Raises:
            InputError: ``path`` is one of the files.

        """
        if os.path.exists(path) and any(os.path.samefile(path, file) for file in self.files):
            raise InputError(
                f"{os.fspath(path)}: is also read, and writing it would replace the data; name another file"
            )

    def __len__(self) -> int:
        """Number of structures; counted once."""
        if self._length is None:
            self._length = sum(
                sum(1 for _ in self._indices(part)) if isinstance(part, _FilePart) else len(part)
                for part in self._parts
            )
        return self._length

    def expected_length(self) -> int | None:
        """Number of structures for a display of progress, without a pass over text files just for it.

        While they are read for the first time it is estimated from the bytes read; None before the first
        structure. Elsewhere, and where a slice is chosen, the structures are counted.
        """
        if self._length is None and self._is_all_text:
            position = self._position
            if position is None or position.n_structures == 0:
                return None
            return max(position.n_structures, round(position.n_structures / position.fraction))
        return len(self)

    def __iter__(self) -> Iterator[LabelledStructure]:
        """Validated structures with their labels."""
        return (unread.read() for unread in self.unread())

    def unread(self) -> Iterator[UnreadStructure]:
        """The structures as they stand in files or memory; ``read()`` gives them validated and labelled."""
        n_structures = 0
        n_in_memory = 0
        self._position = position = ReadPosition(sum(os.path.getsize(file) for file in self.files))
        for part in self._parts:
            if isinstance(part, _FilePart):
                for index, content in self._read(part, position):
                    yield self._unread(content, f"{part.name}[{index}]")
                    n_structures += 1
                    position.n_structures = n_structures
            else:
                for item in part:
                    name = f"structure {n_in_memory}"
                    yield self._unread(item, item.name if isinstance(item, LabelledStructure) else name)
                    n_in_memory += 1
        self._length = n_structures + n_in_memory

    def _unread(self, content: str | Atoms | LabelledStructure, name: str) -> UnreadStructure:
        return UnreadStructure(name, content, self.keys, self.smallest_distance, self.needs_labels)

    @property
    def _is_all_text(self) -> bool:
        """Whether all structures are whole text files."""
        return all(
            isinstance(part, _FilePart) and self._streams_text(part) and part.selection == FrameSelection()
            for part in self._parts
        )

    def _streams_text(self, part: _FilePart) -> bool:
        return is_xyz(part.path) if self.file_format is None else self.file_format == "extxyz"

    def _read(self, part: _FilePart, position: ReadPosition) -> Iterator[tuple[int, str | Atoms]]:
        """Chosen structures, parsed or not, and their index in the file."""
        n_read = 0
        for index, content in _choose(_guard(self._images(part, position), part), self._wanted(part)):
            yield index, content
            n_read += 1
        if n_read == 0 and part.selection == FrameSelection():
            raise InputError(f"{part.path}: no structure was found in it; write it again or leave it out")
        if n_read == 0:
            raise InputError(
                f"{part.path}: no structure was found for the selection {part.selection.text}; "
                "check the file and what follows the @"
            )

    def _indices(self, part: _FilePart) -> Iterator[int]:
        """Chosen indices, without parsing where possible."""
        return (index for index, _ in _choose(_guard(self._images(part), part), self._wanted(part)))

    def _wanted(self, part: _FilePart) -> range:
        if not part.selection.needs_length:
            return part.selection.indices(None)
        return part.selection.indices(sum(1 for _ in _guard(self._images(part), part)))

    def _images(self, part: _FilePart, position: ReadPosition | None = None) -> Iterator[str | Atoms]:
        """Texts of all frames, or what ASE reads."""
        return _frame_texts(part, position) if self._streams_text(part) else self._ase_images(part)

    def _ase_images(self, part: _FilePart) -> Iterator[Atoms]:
        if (self.file_format or filetype(str(part.path))) in DATABASES:
            yield from _database_rows(part.path)
            return
        yield from ase.io.iread(
            str(part.path), index=slice(None), format=self.file_format, do_not_split_by_at_sign=True
        )


def as_source(
    structures: StructureSource | StructureLike | Iterable[StructureLike],
    keys: LabelKeys | None = None,
    *,
    needs_labels: bool = True,
) -> StructureSource:
    """The source itself, or a source of whatever `StructureSource` takes; the rest is for a new one only."""
    if isinstance(structures, StructureSource):
        return structures
    return StructureSource(structures, keys, needs_labels=needs_labels)


def _database_rows(path: Path) -> Iterator[Atoms]:
    """Rows of an ASE database with their key-value pairs, which ASE's own reader leaves out."""
    from ase.db import connect

    with connect(str(path), serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            yield atoms


def _frame_texts(part: _FilePart, position: ReadPosition | None) -> Iterator[str]:
    with (position or ReadPosition(0)).reading(part.path) as file:
        yield from iterate_frames(file, part.name)


def _guard(images: Iterator[_T], part: _FilePart) -> Iterator[_T]:
    """Images, with whatever a reader raises turned into an error that names file and structure."""
    n_read = 0
    while True:
        try:
            image = next(images)
        except StopIteration:
            return
        except InputError:
            raise
        except UnicodeDecodeError as error:
            raise InputError(
                f"{part.path}: cannot be read after {n_read} structures: it is not UTF-8 text (byte "
                f"0x{error.object[error.start]:02x}); convert it, for example by "
                "iconv -f latin1 -t utf-8 OLD > NEW"
            ) from error
        except _UNREADABLE as error:
            raise InputError(
                f"{part.path}: cannot be read after {n_read} structures ({error}); the file is damaged or "
                "cut off, or may not be read"
            ) from error
        except Exception as error:
            raise InputError(
                f"{part.path}: ASE cannot read it after {n_read} structures ({type(error).__name__}: "
                f"{error}); check the file, and that its ending is that of its format, such as .xyz"
            ) from error
        yield image
        n_read += 1


def _choose(images: Iterator[_T], wanted: range) -> Iterator[tuple[int, _T]]:
    for index, image in enumerate(images):
        if index in wanted:
            yield index, image
        if index + 1 >= wanted.stop:
            return


def _as_list(sources: StructureLike | Iterable[StructureLike]) -> list[StructureLike]:
    if isinstance(sources, str | os.PathLike | Atoms | LabelledStructure):
        return [sources]
    if not isinstance(sources, Iterable):
        raise InputError(
            f"structures are a {type(sources).__name__}; give a path, a glob, an ase.Atoms or a list of these"
        )
    items = list(sources)
    if not items:
        raise InputError("no structures were given; name at least one file or structure")
    return items


def _parts(items: list[StructureLike]) -> list[_FilePart | list[Atoms | LabelledStructure]]:
    parts: list[_FilePart | list[Atoms | LabelledStructure]] = []
    chosen: list[tuple[Path, FrameSelection]] = []
    for position, item in enumerate(items):
        if isinstance(item, Atoms | LabelledStructure):
            if not parts or isinstance(parts[-1], _FilePart):
                parts.append([])
            in_memory = parts[-1]
            assert isinstance(in_memory, list)
            in_memory.append(item)
        elif isinstance(item, str | os.PathLike):
            for path, selection in find_files(os.fspath(item)):
                chosen.append((path, selection))
                parts.append(_FilePart(path, str(path), selection))
        else:
            raise InputError(
                f"source {position} is a {type(item).__name__}; give a path, a glob or an ase.Atoms object"
            )
    return _with_short_names(parts, [path for path, _ in chosen])


def _with_short_names(
    parts: list[_FilePart | list[Atoms | LabelledStructure]], paths: Sequence[Path]
) -> list[_FilePart | list[Atoms | LabelledStructure]]:
    """Name files by their last component as long as that is unambiguous."""
    folders = Counter(path.name for path in set(paths))
    return [
        _FilePart(
            part.path, part.path.name if folders[part.path.name] == 1 else str(part.path), part.selection
        )
        if isinstance(part, _FilePart)
        else part
        for part in parts
    ]
