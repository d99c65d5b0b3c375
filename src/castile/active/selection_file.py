"""A selection as a file of structures."""

import os
import warnings
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import check, object_to_bytes
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from ase.io.jsonio import encode

from castile.active.selection_result import Selection
from castile.errors import InputError
from castile.evaluation.prediction_file import partial_path
from castile.structures.readers import DATABASES, StructureSource

RANK_KEY = "selection_rank"


def check_selection_file(path: str | os.PathLike[str]) -> None:
    """Check, before any work, that structures can be written to ``path``.

    Raises
    ------
    InputError
        If its suffix names no format, one of single structures, or its folder does not exist.
    """
    target = Path(path)
    try:
        found = ioformats[filetype(str(target), read=False)]
    except (UnknownFileTypeError, KeyError) as error:
        raise InputError(f"{target}: no format is known for this suffix; use .xyz, for example") from error
    if not found.can_write or found.single:
        raise InputError(f"{target}: {found.name} does not hold several structures; use .xyz, for example")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; make it first")


def write_selection(path: str | os.PathLike[str], pool: StructureSource, selection: Selection) -> int:
    """Write the chosen structures, in the order in which they were chosen, with all data of the pool.

    ``selection_rank`` says when each was chosen: a number per structure, or, where atoms were chosen, a
    number per atom with -1 for the others. In an ASE database numbers and words of ``info`` are key-value
    pairs, and the rest is data, as far as ASE can write it. The file appears complete or not at all.

    Raises
    ------
    InputError
        If ``path`` is one of the files of the pool, or as ``check_selection_file``.
    """
    target = Path(path)
    check_selection_file(target)
    pool.refuse_as_output(target)
    ranks: dict[int, list[int]] = {}
    for rank, structure in enumerate(selection.structures.tolist()):
        ranks.setdefault(structure, []).append(rank)
    found: dict[int, Atoms] = {}
    for position, item in enumerate(pool):
        if position in ranks:
            found[position] = _ranked(item.atoms, ranks[position], selection)
    partial = partial_path(target)
    pool.refuse_as_output(partial)
    chosen = [found[position] for position in ranks]
    if filetype(str(target), read=False) in DATABASES:
        partial.unlink(missing_ok=True)
        _write_database(partial, chosen)
    else:
        ase.io.write(str(partial), chosen)
    os.replace(partial, target)
    return len(found)


def _write_database(path: Path, structures: list[Atoms]) -> None:
    """Write rows of an ASE database, with what its reader and its queries can use of ``info``."""
    with connect(str(path), append=False) as database:
        for atoms in structures:
            known = {k: v.item() if isinstance(v, np.generic) else v for k, v in atoms.info.items()}
            pairs = {key: value for key, value in known.items() if _is_pair(key, value)}
            rest = {key: value for key, value in known.items() if key not in pairs and _is_data(value)}
            if RANK_KEY in atoms.arrays:  # a row has no arrays but those that ASE knows
                rest[RANK_KEY] = atoms.arrays[RANK_KEY]
            database.write(atoms, key_value_pairs=pairs, data=rest)


def _is_pair(key: str, value: object) -> bool:
    """Whether ASE takes a key and its value as a pair."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a key that is a formula could not be found by a query
        try:
            check({key: value})
        except (ValueError, UserWarning):
            return False
    return True


def _is_data(value: object) -> bool:
    """Whether ASE can write a value."""
    try:
        object_to_bytes(value)
        encode(value)
    except (TypeError, AttributeError, AssertionError):
        return False
    return True


def _ranked(atoms: Atoms, ranks: list[int], selection: Selection) -> Atoms:
    copy = atoms.copy()
    copy.calc = atoms.calc
    if selection.atoms is None:
        copy.info[RANK_KEY] = ranks[0]
    else:
        marks = np.full(len(copy), -1, dtype=np.int64)
        marks[selection.atoms[ranks]] = ranks
        copy.set_array(RANK_KEY, marks)
    return copy
