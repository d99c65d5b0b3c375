"""One calculation of labels in the folder that is current: the calculator runs, its result is checked."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
import traceback
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from castile.active.label_files import LabelResult, bare_structure
from castile.active.oracle_settings import UNCONVERGED_TEXT, OracleSettings
from castile.active.presets import build_calculator
from castile.active.same_atoms import same_atoms
from castile.errors import CastileError

PRESET_UNCONVERGED = {"espresso": r"convergence NOT achieved"}


def compute_labels(atoms: Atoms, oracle: OracleSettings, folder: Path) -> LabelResult:
    """Return the labels of a structure, or why there are none; errors of the oracle are results too.

    Parameters
    ----------
    atoms : Atoms
    oracle : OracleSettings
    folder : Path
        The current folder, where outputs are searched for signs of missing convergence.
    """
    started = time.perf_counter()
    try:
        energy, forces, stress = _run(atoms, oracle)
    except CastileError as error:
        return LabelResult("failed", str(error), seconds=time.perf_counter() - started)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        sys.stderr.flush()
        reason = f"{type(error).__name__}: {error}"
        text = f"{reason}\n{_outputs(folder, oracle)}"
        patterns = [p for p in (oracle.unconverged_text, PRESET_UNCONVERGED.get(oracle.name)) if p]
        lost = re.search(UNCONVERGED_TEXT, reason, re.IGNORECASE) or _found(patterns, text)
        return LabelResult("unconverged" if lost else "failed", reason, seconds=time.perf_counter() - started)
    seconds = time.perf_counter() - started
    problem = _problem(atoms, energy, forces, stress)
    if problem:
        return LabelResult("failed", problem, seconds=seconds)
    unconverged = _lack_of_convergence(atoms, oracle, folder)
    if unconverged:
        return LabelResult("unconverged", unconverged, seconds=seconds)
    return LabelResult(
        "converged",
        "",
        energy,
        forces.tolist(),
        None if stress is None else stress.tolist(),
        seconds,
    )


def _run(atoms: Atoms, oracle: OracleSettings) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy (the free energy where there is one), forces, stress of a crystal."""
    if oracle.command is not None:
        return _labels_of_output(atoms, _run_command(atoms, oracle), oracle)
    atoms.calc = build_calculator(oracle, atoms)
    forces = np.array(atoms.get_forces(apply_constraint=False), dtype=float)
    energy = float(atoms.get_potential_energy())
    free = getattr(atoms.calc, "results", {}).get("free_energy")
    stress = None
    if oracle.stress == "auto" and atoms.pbc.all() and atoms.cell.rank == 3:
        try:
            stress = np.array(atoms.get_stress(apply_constraint=False), dtype=float)
        except (PropertyNotImplementedError, NotImplementedError):
            stress = None
    return energy if free is None else float(free), forces, stress


def _labels_of_output(
    atoms: Atoms, done: Atoms, oracle: OracleSettings
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy, forces in the order of ``atoms``, stress of a crystal, from what a command has written."""
    atoms.calc = done.calc
    results = getattr(done.calc, "results", {})
    energy = results.get("free_energy", results.get("energy"))
    if energy is None or results.get("forces") is None:
        raise RuntimeError(f"{oracle.output_file} holds no energy and forces that ASE can read")
    forces = np.array(results["forces"], dtype=float)
    order = same_atoms(atoms, done, oracle.output_file)
    stress = results.get("stress") if oracle.stress == "auto" and atoms.pbc.all() else None
    if forces.shape == (len(atoms), 3):
        forces = forces[order]
    return float(energy), forces, None if stress is None else np.array(stress, dtype=float)


def _run_command(atoms: Atoms, oracle: OracleSettings) -> Atoms:
    """Write the input, run the program, read the output."""
    ase.io.write(oracle.input_file, bare_structure(atoms), format=oracle.input_format)
    Path(oracle.output_file).unlink(missing_ok=True)
    done = subprocess.run(shlex.split(str(oracle.command)), check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"status {done.returncode} of {oracle.command}")
    if not Path(oracle.output_file).exists():
        raise RuntimeError(f"{oracle.command} wrote no {oracle.output_file}")
    read = ase.io.read(oracle.output_file, index=-1, format=oracle.output_format)
    assert isinstance(read, Atoms)
    return read


def _problem(atoms: Atoms, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> str:
    """Say what makes the numbers useless, if anything."""
    if not np.isfinite(energy):
        return f"the energy is {energy}"
    if forces.shape != (len(atoms), 3):
        return f"forces have shape {forces.shape} for {len(atoms)} atoms"
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
    if len(bad):
        return f"the force on atom {bad[0]} is {forces[bad[0]]}"
    if stress is not None and not (stress.shape == (6,) and np.isfinite(stress).all()):
        return f"the stress is {stress}"
    return ""


def _lack_of_convergence(atoms: Atoms, oracle: OracleSettings, folder: Path) -> str:
    """Say how a calculation that gave numbers shows that it has not converged, if it does."""
    calculator = atoms.calc
    said = getattr(calculator, "converged", None)
    said = said() if callable(said) else said
    listed = getattr(calculator, "results", {}).get("converged")
    if said is False or listed is False:
        return "the calculator says that it has not converged"
    patterns = [p for p in (oracle.unconverged_text, PRESET_UNCONVERGED.get(oracle.name)) if p]
    match = _found(patterns, _outputs(folder, oracle))
    return f"the output says {match!r}" if match else ""


def _found(patterns: list[str], text: str) -> str:
    """Return the first match of several regular expressions, empty if there is none."""
    for pattern in patterns:
        match = re.search(pattern, text)
        if match:
            return match[0]
    return ""


def _outputs(folder: Path, oracle: OracleSettings) -> str:
    """Return all output files of the calculation."""
    sys.stdout.flush()
    sys.stderr.flush()
    paths = sorted({path for pattern in oracle.output_files for path in folder.glob(pattern)})
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file())
