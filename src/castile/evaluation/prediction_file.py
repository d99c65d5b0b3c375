"""Predictions written to a structure file while they are computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Protocol

from ase import Atoms
from ase.io import write
from ase.io.formats import UnknownFileTypeError, filetype, ioformats, open_with_compression
from ase.io.trajectory import TrajectoryWriter

from castile.errors import InputError
from castile.evaluation.predicted_frames import (
    PREDICTED_ARRAYS,
    REFERENCE_PREFIX,
    Form,
    PredictedFrame,
    extended_xyz,
    predicted_atoms,
    predicted_frames,
)
from castile.evaluation.prediction_stream import Predictor
from castile.execution.task_pool import Workers, open_task_pool
from castile.structures import LabelKeys, StructureSource, as_source
from castile.structures.readers import StructureLike

COMPRESSIONS = (".gz", ".bz2", ".xz")


def write_predictions(
    model: Predictor,
    structures: StructureSource | StructureLike | Iterable[StructureLike],
    path: str | os.PathLike[str],
    *,
    keys: LabelKeys | None = None,
    workers: Workers = None,
    progress: Callable[[int], None] | None = None,
    left_out: Callable[[str], None] | None = None,
) -> int:
    """Predict structures one after the other and write them, with their own labels kept.

    Energy, energies of the atoms, forces and stress are stored as results of a calculator, where
    ``ase.io.read`` puts them back; labels of the source move to ``reference_energy``, ``reference_stress``
    and ``reference_forces`` (in ``arrays`` or, in ASE trajectories, in ``info``). The file appears under its
    name when it is complete. When a structure fails, or on an interruption, those before it stay in a file
    with ``.partial`` before the suffix, and a note on the exception says so. Extended XYZ and ASE
    trajectories are written one structure at a time; other formats hold all of them in memory until the end.
    Of an ``UncertainPredictor``, ``energy_std`` and ``stress_std`` go into ``info``, ``energies_std``,
    ``forces_std`` and ``extrapolation_grade`` into ``arrays`` (``info`` in ASE trajectories).

    Args:
        model: the model.
        structures: a file, a glob, "file@::10", ``ase.Atoms``, a list of these, or a ``StructureSource``;
            labelled or not.
        path: file to write; its suffix selects the format, any that ASE writes.
        keys: names of the labels to keep; automatic where None.
        workers: where structures are read, predicted and put into words: None for this process, a number of
            processes, the address of a Dask scheduler, or the TOML file of a batch system.
        progress: called with the number of structures done after each structure.
        left_out: called with each label that cannot be used (no number, say) and is therefore not kept. A
            ``StructureSource`` leaves labels out if it was made with ``needs_labels=False``.

    Returns:
        Number of structures written.

    Raises:
        InputError: unknown format, a file that is also read, no structure, or a structure that the model
            cannot predict.

    """
    target = Path(path)
    partial = partial_path(target)
    source = as_source(structures, keys, needs_labels=False)
    for output in (target, partial):
        source.refuse_as_output(output)
    with open_task_pool(workers) as pool:
        writer = _open_writer(target, partial)
        frames = predicted_frames(model, source, pool, writer.form)
        done = _write_frames(writer, frames, partial, progress, left_out)
    os.replace(partial, target)
    return done


def _write_frames(
    writer: _Writer,
    frames: Iterable[PredictedFrame],
    partial: Path,
    progress: Callable[[int], None] | None,
    left_out: Callable[[str], None] | None,
) -> int:
    """Write all frames and close the file; return their number. What an error leaves stays in ``partial``."""
    done = 0
    try:
        for written in frames:
            writer.write(written.content)
            done += 1
            if left_out is not None:
                for reason in written.left_out:
                    left_out(reason)
            if progress is not None:
                progress(done)
        if done == 0:
            raise InputError("nothing to predict: the data contain no structure.")
    except BaseException as error:
        _keep_partial(writer, partial, done, error)
        raise
    writer.close()
    return done


def partial_path(path: Path) -> Path:
    """Return the name of an unfinished file: ``out.xyz`` -> ``out.partial.xyz``."""
    suffix = path.suffix
    if suffix in COMPRESSIONS:
        suffix = path.with_suffix("").suffix + suffix
    stem = path.name[: len(path.name) - len(suffix)]
    return path.with_name(f"{stem}.partial{suffix}")


class _Writer(Protocol):
    """Where predictions go, frame by frame."""

    @property
    def form(self) -> Form:
        """What ``write`` takes."""

    def write(self, frame: Any) -> None:
        """Take the next frame."""

    def close(self) -> None:
        """Leave a finished file."""


class _ExtendedXYZWriter:
    """Takes the text of each frame, which workers have made."""

    form = staticmethod(extended_xyz)

    def __init__(self, path: Path) -> None:
        self._stream: IO[str] = open_with_compression(str(path), "w")

    def write(self, frame: str) -> None:
        """Append the text of a frame."""
        self._stream.write(frame)

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()


class _TrajectoryWriter:
    """ASE trajectories keep no further per-atom arrays: reference forces and deviations go into ``info``."""

    form = staticmethod(predicted_atoms)

    def __init__(self, path: Path) -> None:
        self._writer = TrajectoryWriter(str(path), "w")

    def write(self, atoms: Atoms) -> None:
        """Append a frame, with the arrays that the format lacks in ``info``."""
        for key in (REFERENCE_PREFIX + "forces", *PREDICTED_ARRAYS):
            if key in atoms.arrays:
                atoms.info[key] = atoms.arrays[key]
        self._writer.write(atoms)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class _CollectingWriter:
    """For formats that can only be written in one go."""

    form = staticmethod(predicted_atoms)

    def __init__(self, path: Path, format_name: str) -> None:
        self._path = path
        self._format = format_name
        self._images: list[Atoms] = []

    def write(self, atoms: Atoms) -> None:
        """Keep a frame until the end."""
        if self._images and ioformats[self._format].single:
            raise InputError(
                f"a file of format {self._format!r} holds one structure only; write extended XYZ (.xyz)."
            )
        self._images.append(atoms)

    def close(self) -> None:
        """Write all frames."""
        write(self._path, self._images, format=self._format)


def _open_writer(target: Path, partial: Path) -> _Writer:
    try:
        name = filetype(str(target), read=False)
    except UnknownFileTypeError as error:
        raise InputError(
            f"{target}: the suffix names no format that ASE writes; use e.g. .xyz (extended XYZ) or .traj."
        ) from error
    if not target.parent.is_dir():
        raise InputError(f"{target}: the folder {str(target.parent)!r} does not exist; make it first.")
    if name == "extxyz":
        return _ExtendedXYZWriter(partial)
    if name == "traj":
        return _TrajectoryWriter(partial)
    if name not in ioformats or not ioformats[name].can_write:
        raise InputError(
            f"{target}: ASE does not write format {name!r}; use e.g. .xyz (extended XYZ) or .traj."
        )
    return _CollectingWriter(partial, name)


def _keep_partial(writer: _Writer, partial: Path, done: int, error: BaseException) -> None:
    if done:
        writer.close()
        error.add_note(f"The {done} structures before are kept in {partial}.")
        return
    if not isinstance(writer, _CollectingWriter):
        writer.close()
    partial.unlink(missing_ok=True)
