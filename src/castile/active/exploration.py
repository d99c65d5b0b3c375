"""What every explorer has in common: what guides it, what it finds, and the record of its way."""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path

import ase.io
from ase import Atoms

from castile.active.campaign_files import GrowingFile
from castile.active.label_files import bare_structure
from castile.active.surrogate import Assessment, Surrogate


@dataclass(frozen=True)
class Candidate:
    """A structure that is worth a label; ``key`` names it in the campaign, ``deviation`` is in eV/A."""

    key: str
    atoms: Atoms
    deviation: float


@dataclass(frozen=True)
class Exploration:
    """What an explorer found: structures to label, and whether it is at its end in this cycle."""

    candidates: tuple[Candidate, ...]
    finished: bool


@dataclass(frozen=True)
class Observation:
    """What an explorer sees on its way, for the record and for progress.

    Attributes
    ----------
    cycle, walker, step : int
        Where: pass through the explorers; trajectory, relaxation or pool; step in it.
    time_fs, temperature_k : float
        NaN where there is no time.
    deviation : float
        Calibrated force deviation, eV/A.
    model : int
        Version that said so.
    called : int
        1 where a label was asked for.
    """

    cycle: int
    walker: int
    step: int
    time_fs: float
    temperature_k: float
    deviation: float
    model: int
    called: int


@dataclass(frozen=True)
class Guide:
    """What guides an explorer.

    Attributes
    ----------
    surrogate : Surrogate
    threshold : float
        Force deviation at which a label is asked for, eV/A.
    cycle : int
    is_settled : callable
        Whether a key has been labelled, or has failed: it is not asked for again.
    interrupted : callable
        Whether the explorer shall write its state and return.
    observe : callable
        Called with the explorer's name, an observation and the total number of steps.
    was_computed : callable
        Whether this very structure was computed, whoever asked: it says nothing about the error elsewhere.
    """

    surrogate: Surrogate
    threshold: float
    cycle: int
    is_settled: Callable[[str], bool]
    interrupted: Callable[[], bool] = lambda: False
    observe: Callable[[str, Observation, int], None] = lambda name, observation, total: None
    was_computed: Callable[[Atoms], bool] = lambda atoms: False


class Explorer(ABC):
    """Goes where the model will be used and stops where it does not know enough.

    All state is in ``folder``: an explorer that is made again goes on where the last one wrote it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def explore(self, guide: Guide) -> Exploration:
        """Go on until labels are needed, or to the end."""


class Record:
    """Trace (csv) and sampled structures (xyz) of one way.

    Parameters
    ----------
    folder : Path
    name : str
        Of the files, without suffix.
    lengths : (int, int), optional
        Bytes of both files that a checkpoint knows of; what follows is cut off.
    """

    def __init__(self, folder: Path, name: str, lengths: tuple[int, int] | None = None) -> None:
        header = ",".join(field.name for field in fields(Observation)) + "\n"
        trace, frames = (None, None) if lengths is None else lengths
        self._trace = GrowingFile(folder / f"{name}.csv", header, trace)
        self._frames = GrowingFile(folder / f"{name}.xyz", "", frames)

    def add(self, observation: Observation) -> None:
        """Add a line to the trace."""
        values = [getattr(observation, field.name) for field in fields(Observation)]
        self._trace.append(",".join(repr(v) if isinstance(v, float) else str(v) for v in values) + "\n")

    def add_frame(self, atoms: Atoms, observation: Observation, assessment: Assessment) -> None:
        """Add a structure on which the error of the model is estimated."""
        frame = bare_structure(atoms)
        frame.info = {
            "cycle": observation.cycle,
            "model": observation.model,
            "step": observation.step,
            "deviation": assessment.deviation,
            "mean_square": assessment.mean_square,
        }
        text = StringIO()
        ase.io.write(text, frame, format="extxyz")
        self._frames.append(text.getvalue())

    def sync(self) -> tuple[int, int]:
        """Force both files to the disk; returns their lengths."""
        return self._trace.sync(), self._frames.sync()


@dataclass(frozen=True)
class FreshFrame:
    """An explored structure without a label: ``mean_square`` is the calibrated variance of its forces."""

    atoms: Atoms
    mean_square: float


def read_fresh(folder: Path, cycle: int, version: int) -> list[FreshFrame]:
    """Return the structures that explorers below ``folder`` met in a cycle with a version of the model."""
    found = []
    for path in sorted(folder.glob("*/*.xyz")):
        if path.stat().st_size == 0:
            continue
        for atoms in ase.io.iread(path, index=":", format="extxyz"):
            if atoms.info["cycle"] == cycle and atoms.info["model"] == version:
                mean_square = float(atoms.info["mean_square"])
                atoms.info = {}
                found.append(FreshFrame(atoms, mean_square))
    return found


def read_trace(path: Path) -> Iterator[Observation]:
    """Yield the lines of a trace; a last line that is incomplete is left out."""
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            try:
                yield Observation(
                    cycle=int(row["cycle"]),
                    walker=int(row["walker"]),
                    step=int(row["step"]),
                    time_fs=float(row["time_fs"]),
                    temperature_k=float(row["temperature_k"]),
                    deviation=float(row["deviation"]),
                    model=int(row["model"]),
                    called=int(row["called"]),
                )
            except (TypeError, ValueError):
                return


NO_TIME = math.nan
