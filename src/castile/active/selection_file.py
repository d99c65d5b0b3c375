"""A selection as a file of structures."""

import os
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, ioformats

from castile.active.selection_result import Selection
from castile.errors import InputError
from castile.evaluation.prediction_file import partial_path
from castile.structures.readers import StructureSource

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
    number per atom with -1 for the others. The file appears complete or not at all.

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
    ase.io.write(str(partial), [found[position] for position in ranks])
    os.replace(partial, target)
    return len(found)


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
