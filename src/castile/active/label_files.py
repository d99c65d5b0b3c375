"""The folder of one calculation: task, result and log; files appear complete or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import ase.io.jsonio
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from castile.active.oracle_settings import OracleSettings
from castile.errors import InputError

TASK, RESULT, LOG, LOCK, PROCESS = "task.json", "result.json", "log.txt", "lock", "process.json"
LOG_TAIL_CHARACTERS = 1500

Status = Literal["converged", "unconverged", "failed"]


@dataclass(frozen=True)
class LabelResult:
    """What came of a calculation.

    Attributes
    ----------
    status : "converged", "unconverged" or "failed"
    reason : str
        Why it is not converged, with the end of the log.
    energy : float or None
        eV, the free energy where the oracle gives it, because forces are its derivative.
    forces : list or None
        (n_atoms, 3), eV/A.
    stress : list or None
        (6,), eV/A^3, ASE's sign and order.
    seconds : float
        Wall time.
    """

    status: Status
    reason: str = ""
    energy: float | None = None
    forces: list[list[float]] | None = None
    stress: list[float] | None = None
    seconds: float = 0.0

    def labelled(self, atoms: Atoms) -> Atoms:
        """Return a copy of the structure that carries the labels."""
        copy = atoms.copy()
        results: dict[str, object] = {"energy": self.energy, "free_energy": self.energy}
        if self.forces is not None:
            results["forces"] = np.array(self.forces)
        if self.stress is not None:
            results["stress"] = np.array(self.stress)
        copy.calc = SinglePointCalculator(copy, **results)
        return copy


def bare_structure(atoms: Atoms) -> Atoms:
    """Return what an oracle sees of a structure: elements, positions, cell, periodicity, charges, moments."""
    bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("initial_charges"):
        bare.set_initial_charges(atoms.get_initial_charges())
    if atoms.has("initial_magmoms"):
        bare.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return bare


def write_task(folder: Path, atoms: Atoms, oracle: OracleSettings) -> None:
    """Write what is asked for; positions keep every digit."""
    bare = atoms.copy()
    bare.info = {}
    content = {"atoms": ase.io.jsonio.encode(bare.todict()), "oracle": oracle.model_dump(mode="json")}
    _replace(folder / TASK, json.dumps(content))


def read_task(folder: Path) -> tuple[Atoms, OracleSettings]:
    """Read what `write_task` wrote."""
    content = json.loads((folder / TASK).read_text(encoding="utf-8"))
    atoms = Atoms.fromdict(ase.io.jsonio.decode(content["atoms"]))
    return atoms, OracleSettings.model_validate(content["oracle"])


def write_result(folder: Path, result: LabelResult) -> None:
    """Write the result; once it is there, the calculation is done."""
    _replace(folder / RESULT, json.dumps(asdict(result)))


def read_result(folder: Path) -> LabelResult | None:
    """Return the result, None where there is none yet.

    Raises
    ------
    InputError
        If the file was changed by hand so that it cannot be read.
    """
    path = folder / RESULT
    try:
        return LabelResult(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a result of a calculation ({error}); delete it") from None


def log_tail(folder: Path) -> str:
    """Return the end of the log."""
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-LOG_TAIL_CHARACTERS:].strip()


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
