"""Results of a screening as tables, structures and an ASE database."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import ase.io
from ase import Atoms

from castile.errors import InputError
from castile.formats.table_file import Cell, TableWriter
from castile.screening.records import Row
from castile.screening.result import Screening, Winner
from castile.screening.screening import journal_rows

_STRUCTURES = (".xyz", ".extxyz")
Columns = tuple[tuple[str, type], ...]


def unit_suffix(unit: str) -> str:
    """Return a unit as the end of a column name: "eV/atom" is "_ev_per_atom"."""
    text = unit.replace("/", " per ").replace("^", "").replace("*", " ")
    plain = "".join(letter if letter.isalnum() else " " for letter in text)
    return "".join(f"_{word.lower()}" for word in plain.split())


def prediction_columns(target: str, unit: str) -> Columns:
    """Return the columns of a prediction: value, deviation, score, grade, flag and similarity."""
    ending = unit_suffix(unit)
    return (
        ("name", str), ("formula", str), ("n_atoms", int), (f"{target}{ending}", float),
        (f"{target}_std{ending}", float), ("score", float), ("extrapolation_grade", float),
        ("extrapolates", bool), ("similarity_to_known", float),
    )  # fmt: skip


def write_winners(path: str | os.PathLike[str], screening: Screening) -> None:
    """Write the winners: a table (.csv, .parquet) or structures (.xyz) by the ending of the name.

    Raises
    ------
    InputError
        For another ending.
    """
    if Path(path).suffix in _STRUCTURES:
        _write_structures(Path(path), screening)
        return
    columns: Columns = (("rank", int), ("index", int), ("n_alike", int))
    columns += prediction_columns(screening.target, screening.unit)
    with TableWriter(path, columns) as table:
        table.add((w.rank, w.row.index, w.n_alike, *_cells(w.row)) for w in screening.winners)


def write_all(path: str | os.PathLike[str], journal: str | os.PathLike[str], target: str, unit: str) -> None:
    """Write every candidate that was predicted or is broken, row by row, from the journal."""
    columns: Columns = (("index", int), *prediction_columns(target, unit), ("error", str))
    empty = (None,) * (len(columns) - 3)
    with TableWriter(path, columns) as table:
        for one in journal_rows(journal):
            if isinstance(one, Row):
                table.add([(one.index, *_cells(one), None)])
            else:
                index, name, text = one
                table.add([(index, name, *empty, text)])


def write_database(path: str | os.PathLike[str], screening: Screening) -> None:
    """Write the winners into a new ASE database, best first, with their numbers as keys."""
    from ase.db import connect

    target = Path(path)
    if target.suffix != ".db":
        raise InputError(f"{target}: databases are written as .db; change the ending")
    partial = target.with_name(f".{target.name}.partial.db")
    partial.unlink(missing_ok=True)
    try:
        with connect(str(partial), type="db") as database:
            for winner in screening.winners:
                database.write(winner.candidate.atoms, key_value_pairs=_keys(winner, screening))
    except sqlite3.Error as error:
        raise InputError(f"{target}: cannot be written ({error}); check the folder") from error
    os.replace(partial, target)


def _keys(winner: Winner, screening: Screening) -> dict[str, object]:
    """Key-value pairs of a winner as ASE takes them."""
    row = winner.row
    name = f"predicted_{''.join(c if c.isalnum() else '_' for c in screening.target)}"
    keys: dict[str, object] = {
        "rank": winner.rank, "candidate": row.name, "candidate_index": row.index, "score": row.scores[0],
        "extrapolates": row.extrapolates, name: row.mean,
    }  # fmt: skip
    optional = {
        f"{name}_std": row.std, "extrapolation_grade": row.grade, "similarity_to_known": row.similarity,
    }  # fmt: skip
    return keys | {key: value for key, value in optional.items() if not math.isnan(value)}


def _write_structures(path: Path, screening: Screening) -> None:
    structures: list[Atoms] = []
    for winner in screening.winners:
        atoms = winner.candidate.atoms.copy()
        atoms.info = {"name": winner.row.name} | _keys(winner, screening)
        atoms.info.pop("candidate")
        structures.append(atoms)
    partial = path.with_name(f".{path.name}.partial.xyz")
    ase.io.write(str(partial), structures, format="extxyz")
    os.replace(partial, path)


def _cells(row: Row) -> Sequence[Cell]:
    """Cells of a row; empty where there is no number."""
    std, grade, similarity = (None if math.isnan(v) else v for v in (row.std, row.grade, row.similarity))
    return (
        row.name, row.formula, row.n_atoms, row.mean, std, row.scores[0], grade, row.extrapolates, similarity
    )  # fmt: skip
