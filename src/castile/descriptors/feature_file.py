"""Features of many structures written to a file, one structure in memory at a time."""

from __future__ import annotations

import csv
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from ase import Atoms
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.batches import Batch, split_batches
from castile.execution.task_pool import SerialPool, TaskPool, Workers, open_task_pool
from castile.structures import LabelKeys, StructureSource, as_source
from castile.structures.readers import StructureLike
from castile.structures.unread_structure import UnreadStructure

SUFFIXES = (".npz", ".npy", ".csv")


class Transformer(Protocol):
    """What a descriptor must offer, in scikit-learn's terms."""

    def fit(self, structures: Iterable[Atoms]) -> Any:
        """Check the settings and find the species."""

    def transform(self, structures: Iterable[Atoms]) -> NDArray[Any]:
        """(n_rows, n_features): one row per atom, or one per structure."""

    def get_feature_names_out(self) -> Any:
        """(n_features,) names."""


@dataclass(frozen=True)
class FeatureFile:
    """What was written: file, numbers of structures, rows and features, and what a row stands for."""

    path: Path
    n_structures: int
    n_rows: int
    n_features: int
    row_per_atom: bool


@dataclass(frozen=True)
class _Rows:
    """What each row belongs to; ``atom`` and ``number`` are -1 in rows that stand for a structure."""

    structure: NDArray[np.int64]
    atom: NDArray[np.int64]
    number: NDArray[np.int64]
    names: tuple[str, ...]
    per_atom: bool


def write_features(
    descriptor: Transformer,
    structures: StructureSource | StructureLike | Iterable[StructureLike],
    path: str | os.PathLike[str],
    *,
    keys: LabelKeys | None = None,
    fitted: bool = False,
    workers: Workers = None,
    progress: Callable[[int], None] | None = None,
) -> FeatureFile:
    """Describe structures and write the features; the file appears complete or not at all.

    ``.npz`` holds ``features`` (n_rows, n_features), ``feature_names``, ``structure`` (n_rows,) index into
    ``structure_names``, and, where rows stand for atoms, ``atom`` (index in the structure) and ``number``
    (atomic number). ``.npy`` holds the features alone. ``.csv`` holds one line per row with the same columns.

    Args:
        descriptor: e.g. ``castile.SOAP(cutoff=5.0)``; fitted to the structures (which finds the species).
        structures: a file, a glob, "file@::10", ``ase.Atoms``, a list of these, or a ``StructureSource``.
        path: file to write: .npz, .npy or .csv.
        keys: names of the labels of the structures; automatic where None.
        fitted: whether the descriptor is fitted already and shall be used as it is.
        workers: where structures are read and described: None for this process, a number of processes, the
            address of a Dask scheduler, or the TOML file of a batch system.
        progress: called with the number of structures done after each structure.

    Raises:
        InputError: another suffix, a missing folder, or a structure that cannot be described.

    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise InputError(
            f"{target}: features are written as {', '.join(SUFFIXES)}; choose one of these suffixes."
        )
    if not target.parent.is_dir():
        raise InputError(f"{target}: the folder {str(target.parent)!r} does not exist; make it first.")
    source = as_source(structures, keys, needs_labels=False)
    if not fitted:
        descriptor.fit(structure.atoms for structure in source)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        matrix = Path(folder) / "features.npy"
        with open_task_pool(workers) as pool:
            rows = _stream_features(_described(descriptor, source, pool), matrix, progress)
        finished = Path(folder) / f"finished{target.suffix}"
        names = [str(name) for name in descriptor.get_feature_names_out()]
        if target.suffix == ".npy":
            finished = matrix
        elif target.suffix == ".npz":
            _write_npz(finished, matrix, names, rows)
        else:
            _write_csv(finished, matrix, names, rows)
        os.replace(finished, target)
    return FeatureFile(target, len(rows.names), len(rows.structure), len(names), rows.per_atom)


@dataclass(frozen=True)
class _Described:
    """Features of a structure, its name, and its atomic numbers."""

    name: str
    numbers: NDArray[np.int64]
    features: NDArray[Any]


def _described(descriptor: Transformer, source: StructureSource, pool: TaskPool) -> Iterator[_Described]:
    """Yield the features of all structures in order; workers read the structures, too."""
    if isinstance(pool, SerialPool):
        yield from (_describe(descriptor, unread) for unread in source.unread())
        return
    work = partial(_describe_batch, descriptor)
    for batch in pool.map(work, split_batches(source.unread(), _n_atoms)):
        yield from batch


def _describe_batch(descriptor: Transformer, batch: Batch[UnreadStructure]) -> list[_Described]:
    return [_describe(descriptor, unread) for unread in batch.items]


def _describe(descriptor: Transformer, unread: UnreadStructure) -> _Described:
    structure = unread.read()
    try:
        features = np.ascontiguousarray(descriptor.transform([structure.atoms]))
    except InputError as error:
        message = str(error).removeprefix("structure 0: ")
        raise InputError(f"{structure.name}: {message}") from error
    return _Described(structure.name, np.asarray(structure.atoms.numbers, dtype=np.int64), features)


def _n_atoms(structure: UnreadStructure) -> int:
    return structure.n_atoms


def _stream_features(
    described: Iterator[_Described], path: Path, progress: Callable[[int], None] | None
) -> _Rows:
    """Append the features of every structure to a .npy file and set its length at the end."""
    names: list[str] = []
    counts: list[int] = []
    numbers: list[NDArray[np.int64]] = []
    first: NDArray[Any] | None = None
    with open(path, "wb") as stream:
        for structure in described:
            features = structure.features
            if first is None:
                first = features
                _write_header(stream, features, 0)
            stream.write(features.tobytes())
            names.append(structure.name)
            counts.append(len(features))
            numbers.append(structure.numbers)
            if progress is not None:
                progress(len(names))
        if first is None:
            raise InputError("nothing to describe: the data contain no structure.")
        stream.seek(0)
        _write_header(stream, first, sum(counts))
    per_atom = all(count == len(number) for count, number in zip(counts, numbers, strict=True))
    structure_index = np.repeat(np.arange(len(counts)), counts)
    if not per_atom:
        absent = np.full(len(structure_index), -1)
        return _Rows(structure_index, absent, absent, tuple(names), per_atom)
    atom = np.concatenate([np.arange(count) for count in counts])
    return _Rows(structure_index, atom, np.concatenate(numbers), tuple(names), per_atom)


def _write_header(stream: IO[bytes], features: NDArray[Any], n_rows: int) -> None:
    """Header of a .npy file; numpy pads it so that its length does not depend on the number of rows."""
    header = {
        "descr": npy_format.dtype_to_descr(features.dtype),
        "fortran_order": False,
        "shape": (n_rows, features.shape[1]),
    }
    npy_format.write_array_header_1_0(stream, header)


def _write_npz(path: Path, matrix: Path, names: list[str], rows: _Rows) -> None:
    labels: dict[str, NDArray[Any]] = {
        "structure": rows.structure,
        "structure_names": np.array(rows.names),
        "feature_names": np.array(names),
    }
    if rows.per_atom:
        labels |= {"atom": rows.atom, "number": rows.number}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.write(matrix, "features.npy")
        for name, values in labels.items():
            with archive.open(f"{name}.npy", "w") as stream:
                npy_format.write_array(stream, values, allow_pickle=False)


def _write_csv(path: Path, matrix: Path, names: list[str], rows: _Rows) -> None:
    features = np.load(matrix, mmap_mode="r")
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(["structure", "atom", "number"] if rows.per_atom else ["structure"]), *names])
        for index, values in enumerate(features):
            label: list[object] = [rows.names[rows.structure[index]]]
            if rows.per_atom:
                label += [int(rows.atom[index]), int(rows.number[index])]
            writer.writerow([*label, *(repr(float(value)) for value in values)])
