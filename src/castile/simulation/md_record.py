"""The log and the trajectory of a molecular-dynamics run, appended to and cut back to a checkpoint."""

import csv
import os
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TextIO

import ase.io
from ase import Atoms

from castile.errors import InputError


@dataclass(frozen=True)
class MolecularDynamicsFiles:
    """Where a run writes: extended-xyz trajectory, CSV log, checkpoint, and the frame of a failure."""

    trajectory: Path
    log: Path
    checkpoint: Path
    failure: Path

    @classmethod
    def beside(cls, trajectory: str | Path) -> "MolecularDynamicsFiles":
        """Name the other files after the trajectory: run.xyz, run.csv, run.checkpoint, run.failed.xyz.

        Raises:
            InputError: the name ends neither in .xyz nor in .extxyz.

        """
        path = Path(trajectory)
        if path.suffix not in (".xyz", ".extxyz"):
            raise InputError(
                f"{path}: the trajectory is written as extended xyz, so that it can be continued after a "
                "crash; give a name that ends in .xyz or .extxyz"
            )
        return cls(
            path,
            path.with_suffix(".csv"),
            path.with_suffix(".checkpoint"),
            path.with_suffix(f".failed{path.suffix}"),
        )


@dataclass(frozen=True)
class LogRow:
    """One row of the log; the names of the columns are the names of these fields.

    ``conserved_energy_ev`` is the total energy less the heat that the thermostat gave; it is nan under
    constant pressure. ``pressure_gpa`` and ``volume_ang3`` are nan without a stress or a cell. The last two
    columns, largest and mean norm of the standard deviation of the force on an atom, are there only when the
    run was asked for them (else nan here).
    """

    step: int
    time_fs: float
    potential_energy_ev: float
    kinetic_energy_ev: float
    total_energy_ev: float
    conserved_energy_ev: float
    temperature_k: float
    target_temperature_k: float
    pressure_gpa: float
    volume_ang3: float
    max_force_deviation_ev_per_ang: float = float("nan")
    mean_force_deviation_ev_per_ang: float = float("nan")


ALL_COLUMNS = tuple(field.name for field in fields(LogRow))
DEVIATION_COLUMNS = 2
LOG_COLUMNS = ALL_COLUMNS[:-DEVIATION_COLUMNS]
"""Columns of a log without deviations."""


def read_log(path: str | Path) -> list[LogRow]:
    """Read the rows of a log.

    Raises:
        InputError: the columns or a row are not those of a log.

    """
    with Path(path).open(newline="") as handle:
        rows = list(csv.reader(handle))
    if not rows or tuple(rows[0]) not in (LOG_COLUMNS, ALL_COLUMNS):
        raise InputError(
            f"{path}: not a molecular-dynamics log; its first line must be {','.join(LOG_COLUMNS)}"
        )
    try:
        return [LogRow(int(row[0]), *(float(value) for value in row[1:])) for row in rows[1:]]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path}: a row is damaged ({error})") from error


class RecordWriter:
    """Appends rows and frames; `sync` forces them to the disk and tells the sizes for the checkpoint.

    Raises:
        InputError: the log that goes on has no columns of deviations and should, or the other way round.

    """

    def __init__(
        self,
        files: MolecularDynamicsFiles,
        log_bytes: int = 0,
        trajectory_bytes: int = 0,
        deviations: bool = False,
    ) -> None:
        self._columns = ALL_COLUMNS if deviations else LOG_COLUMNS
        if log_bytes:
            _require_columns(files.log, self._columns)
        self._log = _open_cut_back(files.log, log_bytes)
        self._trajectory = _open_cut_back(files.trajectory, trajectory_bytes)
        if log_bytes == 0:
            csv.writer(self._log, lineterminator="\n").writerow(self._columns)

    def add_row(self, row: LogRow) -> None:
        """Append a row to the log and make it visible to readers."""
        values = astuple(row)[: len(self._columns)]
        csv.writer(self._log, lineterminator="\n").writerow([repr(value) for value in values])
        self._log.flush()

    def add_frame(self, atoms: Atoms) -> None:
        """Append a frame to the trajectory."""
        ase.io.write(self._trajectory, atoms, format="extxyz")
        self._trajectory.flush()

    def sync(self) -> tuple[int, int]:
        """Force both files to the disk and return their sizes in bytes (log, trajectory)."""
        sizes = []
        for handle in (self._log, self._trajectory):
            handle.flush()
            os.fsync(handle.fileno())
            sizes.append(os.fstat(handle.fileno()).st_size)
        return sizes[0], sizes[1]

    def close(self) -> None:
        """Close both files."""
        self._log.close()
        self._trajectory.close()


def require_resumable(files: MolecularDynamicsFiles, log_bytes: int, trajectory_bytes: int) -> None:
    """Raise `InputError` when the log or the trajectory lost what they held at the checkpoint."""
    for path, size in ((files.log, log_bytes), (files.trajectory, trajectory_bytes)):
        actual = path.stat().st_size if path.exists() else 0
        if actual < size:
            raise InputError(
                f"{path}: has {actual} bytes but held {size} when {files.checkpoint} was written; "
                "restore the file, or start a new run under another output name"
            )


def _require_columns(path: Path, columns: tuple[str, ...]) -> None:
    with path.open(newline="") as handle:
        header = tuple(next(csv.reader(handle), []))
    if header != columns:
        change = "without" if len(header) < len(columns) else "with"
        raise InputError(
            f"{path}: was written {change} deviations; continue the run as it began, or start a new one"
        )


def _open_cut_back(path: Path, size: int) -> TextIO:
    with path.open("ab") as handle:
        handle.truncate(size)
    return path.open("a", newline="", encoding="utf-8")
