"""Crystals from files, databases and folders, one at a time; what cannot be read is yielded as an error."""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
from ase import Atoms

from castile.errors import InputError

_DATABASES = (".db", ".aselmdb")
_SINGLE = (".cif", ".vasp", ".poscar")
_SKIPPED = (".castile", ".html", ".csv", ".parquet", ".jsonl", ".py", ".md", ".txt")


@dataclass(frozen=True)
class Crystal:
    """A structure with its name; or, without atoms, the reason why there is none."""

    name: str
    atoms: Atoms | None
    error: str | None = None


def read_crystals(sources: str | Iterable[str]) -> Iterator[Crystal]:
    """Structures of CIF, POSCAR or any file that ASE reads, ASE databases, and folders of these.

    Raises InputError when a file does not exist or a glob matches nothing.
    """
    seen: dict[str, int] = {}
    for file in crystal_files(sources):
        for crystal in _from_file(file):
            number = seen[crystal.name] = seen.get(crystal.name, -1) + 1
            name = crystal.name if number == 0 else f"{crystal.name}~{number}"
            yield Crystal(name, crystal.atoms, crystal.error)


def crystal_files(sources: str | Iterable[str]) -> list[Path]:
    """Files that ``read_crystals`` reads, in its order."""
    listed = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    if not listed:
        raise InputError("no structures were given; name at least one file or folder")
    files: list[Path] = []
    for source in listed:
        path = Path(source).expanduser()
        matches = (
            [path]
            if path.exists()
            else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        )
        if not matches:
            raise InputError(f"{source}: no such file or folder in {os.getcwd()}; check the path")
        for match in matches:
            inside = (
                sorted(child for child in match.rglob("*") if child.is_file()) if match.is_dir() else [match]
            )
            files += [
                f for f in inside if match.is_file() or not (f.name.startswith(".") or f.suffix in _SKIPPED)
            ]
    if not files:
        raise InputError(f"{listed[0]}: the folder has no files; name one with structures")
    return files


def count_crystals(files: Iterable[Path]) -> int:
    """Number of structures in files, without reading those that hold one."""
    from ase.db import connect

    total = 0
    for file in files:
        if file.suffix in _DATABASES:
            try:
                total += connect(str(file)).count()
            except (sqlite3.Error, OSError, ValueError):  # reading it will say what is wrong
                total += 1
        elif file.suffix.lower() in _SINGLE or file.name in ("POSCAR", "CONTCAR"):
            total += 1
        else:
            total += sum(1 for _ in _from_file(file))
    return total


def _from_file(file: Path) -> Iterator[Crystal]:
    stem = file.parent.name if file.name in ("POSCAR", "CONTCAR") else file.stem
    try:
        if file.suffix in _DATABASES:
            yield from _from_database(file)
            return
        number = -1
        for number, atoms in enumerate(ase.io.iread(str(file), index=":", do_not_split_by_at_sign=True)):
            yield Crystal(str(atoms.info.get("name", stem if number == 0 else f"{stem}-{number}")), atoms)
        if number < 0:
            yield Crystal(stem, None, f"{file}: there is no structure in it")
    except Exception as error:  # ASE's readers raise errors of any kind
        yield Crystal(stem, None, f"{file}: ASE cannot read it ({type(error).__name__}: {error})")


def _from_database(file: Path) -> Iterator[Crystal]:
    from ase.db import connect

    with connect(str(file)) as database:
        for row in database.select():
            name = str(row.key_value_pairs.get("name", f"{file.stem}-{row.id}"))
            try:
                yield Crystal(name, row.toatoms())
            except Exception as error:  # ASE's readers raise errors of any kind
                yield Crystal(name, None, f"{file}, row {row.id}: {type(error).__name__}: {error}")
