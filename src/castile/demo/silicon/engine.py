"""One calculation with pw.x of Quantum ESPRESSO: the settings, and a result kept on disk."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.calculators.singlepoint import SinglePointCalculator


@dataclass(frozen=True)
class EngineSettings:
    """Everything that decides a number; the same for every structure but the free atom.

    Cells of up to four atoms get the finer k-point spacing: they are cheap, and with it their grids match
    those of the larger cells (the 8 x 8 x 8 points of the primitive diamond cell hold the 4 x 4 x 4 points of
    the cubic one). Small metallic cells get a still finer one; the symmetry of their strains makes it cheap.
    """

    command: str = "pw.x"
    pseudopotential_folder: str = "/usr/share/espresso/pseudo"
    pseudopotential: str = "Si.pbe-rrkj.UPF"
    functional: str = "PBE"
    plane_wave_cutoff_ry: float = 24.0
    smearing: str = "mv"
    smearing_width_ry: float = 0.04
    convergence_ry: float = 1e-8
    k_spacing_small_per_angstrom: float = 0.26
    k_spacing_large_per_angstrom: float = 0.33
    k_spacing_metal_per_angstrom: float = 0.13
    small_cell_atoms: int = 4


def k_point_grid(atoms: Atoms, spacing: float) -> tuple[int, int, int]:
    """Gamma-centered grid with |b_i| / n_i <= spacing (1/A, b_i with the factor 2 pi).

    Directions along which the cell is longer than 12 A get one point: only vacuum is that long here.
    """
    reciprocal = 2.0 * math.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    lengths = atoms.cell.lengths()
    n1, n2, n3 = (
        1 if length > 12.0 else max(1, math.ceil(b / spacing - 1e-9))
        for b, length in zip(reciprocal, lengths, strict=True)
    )
    return n1, n2, n3


def _calculator(atoms: Atoms, settings: EngineSettings, metal: bool, folder: Path) -> Espresso:
    lone_atom = len(atoms) == 1 and atoms.get_volume() > 500.0
    system = {
        "ecutwfc": settings.plane_wave_cutoff_ry,
        "occupations": "smearing",
        "smearing": settings.smearing,
        "degauss": 0.002 if lone_atom else settings.smearing_width_ry,
    }
    if lone_atom:  # 3s2 3p2 is a triplet
        system |= {"nspin": 2, "tot_magnetization": 2.0}
    small = len(atoms) <= settings.small_cell_atoms
    spacing = settings.k_spacing_small_per_angstrom if small else settings.k_spacing_large_per_angstrom
    if metal:
        spacing = settings.k_spacing_metal_per_angstrom
    return Espresso(
        profile=EspressoProfile(command=settings.command, pseudo_dir=settings.pseudopotential_folder),
        directory=folder,
        pseudopotentials={"Si": settings.pseudopotential},
        input_data={
            "control": {"tprnfor": True, "tstress": True, "disk_io": "none"},
            "system": system,
            "electrons": {"conv_thr": settings.convergence_ry, "electron_maxstep": 150, "mixing_beta": 0.5},
        },
        kpts=k_point_grid(atoms, spacing),
        koffset=(0, 0, 0),
    )


def label(atoms: Atoms, name: str, settings: EngineSettings, work: Path, metal: bool = False) -> Atoms | None:
    """Copy of `atoms` with energy (eV), forces (eV/A) and stress (eV/A^3, ASE sign), kept on disk.

    What is on disk under the same name is not computed again, so a name must always stand for the same
    structure and settings. Returns None if pw.x did not converge; its output stays in the work folder.
    Raises CalculationFailed only where pw.x cannot be started at all.
    """
    record = work / "results" / f"{name}.json"
    if not record.exists():
        folder = work / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        record_text = _run(atoms, settings, metal, folder)
        record_text["wall_s"] = round(time.perf_counter() - started, 2)
        partial = record.with_suffix(".part")
        partial.write_text(json.dumps(record_text))
        partial.replace(record)
    stored = json.loads(record.read_text())
    if stored["energy"] is None:
        return None
    labelled = Atoms(
        "Si" * len(stored["positions"]), positions=stored["positions"], cell=stored["cell"], pbc=True
    )
    labelled.calc = SinglePointCalculator(
        labelled,
        energy=stored["energy"],
        forces=np.array(stored["forces"]),
        stress=np.array(stored["stress"]),
    )
    return labelled


def _run(atoms: Atoms, settings: EngineSettings, metal: bool, folder: Path) -> dict[str, object]:
    work = Atoms("Si" * len(atoms), positions=atoms.positions, cell=atoms.cell, pbc=True)
    work.calc = _calculator(work, settings, metal, folder)
    stored: dict[str, object] = {"positions": work.positions.tolist(), "cell": work.cell.array.tolist()}
    try:
        stored["energy"] = float(work.get_potential_energy())
        stored["forces"] = work.get_forces().tolist()
        stored["stress"] = work.get_stress().tolist()
    except CalculationFailed as error:
        if not (folder / "espresso.pwo").exists():
            raise
        stored |= {"energy": None, "error": str(error)}
    return stored
