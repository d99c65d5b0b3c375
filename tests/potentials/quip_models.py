"""Potentials trained by QUIP's own gap_fit, structures to try them on, and quippy's predictions."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import write

from castile.potentials.prediction import Prediction

REASON = "QUIP is not installed; pip install 'castile[peers]' brings quippy and gap_fit"
LABEL = "GAP_test"

POINTS = "n_sparse=12 sparse_method=cur_points covariance_type=dot_product"
SOAP = f"soap n_max=4 l_max=3 atom_sigma=0.5 {POINTS}"
OTHER_SOAP = "soap n_max=4 l_max=3 atom_sigma=0.5 n_sparse=12 sparse_method=cur_points"
CU_CENTERS = "n_species=2 species_Z={{29 47}} Z=29 add_species=F"
PAIR = "distance_2b n_sparse=10 sparse_method=uniform"
TRIPLET = "angle_3b n_sparse=15 sparse_method=random add_species=F"

TRAINED = {
    "soap and pairs, templates expanded": (
        f"{SOAP} zeta=4 cutoff=4.0 delta=0.3 covariance_sigma0=0.2 : "
        f"{PAIR} cutoff=4.5 delta=1.0 theta_uniform=0.8 covariance_type=ard_se f0=0.7"
    ),
    "broken zeta, decay, not normalised, PP, angles": (
        f"{SOAP} zeta=2.5 cutoff=4.0 cutoff_dexp=2 cutoff_scale=3.0 cutoff_rate=0.7 delta=0.3 "
        "central_weight=0.5 n_species=2 species_Z={{47 29}} central_reference_all_species=T "
        "normalise=F add_species=F : "
        f"{PAIR} cutoff=4.5 delta=1.0 theta_uniform=2.0 covariance_type=pp add_species=F : "
        f"{TRIPLET} cutoff=3.5 delta=0.5 theta_fac=0.5 covariance_type=ard_se Z_center=29 Z1=29 Z2=47 : "
        f"{TRIPLET} cutoff=3.2 delta=0.5 theta_uniform=4.0 covariance_type=pp"
    ),
    "exponents, tail, wildcard, soap of few neighbours": (
        f"{PAIR} cutoff=4.5 delta=1.0 theta_fac=0.5 n_exponents=2 exponents={{{{-1 -3}}}} add_species=F "
        "covariance_type=ard_se tail_exponent=2 tail_range=0.8 : "
        f"{PAIR} Z1=47 cutoff=4.0 n_exponents=1 exponents={{{{-6}}}} delta=1.0 theta_uniform=0.001 "
        "covariance_type=ard_se add_species=F : "
        f"{SOAP} zeta=4 cutoff=3.8 delta=0.3 Z=29 n_species=1 species_Z=47 add_species=F : "
        f"{SOAP} zeta=4 cutoff=3.8 delta=0.3 n_Z=2 Z={{{{29 47}}}} n_species=2 species_Z={{{{29 47}}}} "
        "basis_error_exponent=8 add_species=F"
    ),
    "variants of soap, other kernels": " : ".join(
        [
            f"{SOAP} zeta=2 cutoff=3.8 delta=0.1 average=T",
            f"{SOAP} zeta=3 cutoff=3.8 delta=0.1 diagonal_radial=T radial_basis=GTO {CU_CENTERS}",
            f"{SOAP} zeta=2 cutoff=3.8 delta=0.1 nu_R=1 nu_S=0 radial_basis=POLY {CU_CENTERS}",
            f"{SOAP} zeta=2 cutoff=3.8 delta=0.1 Z_map={{{{29 47:29,47}}}} {CU_CENTERS}",
            f"{SOAP} zeta=2 cutoff=3.8 delta=0.1 coupling=F {CU_CENTERS}",
            f"{OTHER_SOAP} covariance_type=ard_se theta_uniform=0.7 f0=0.2 cutoff=3.8 delta=0.1 {CU_CENTERS}",
            f"{OTHER_SOAP} covariance_type=pp theta_uniform=1.5 cutoff=3.8 delta=0.1 {CU_CENTERS}",
            f"{PAIR} covariance_type=dot_product zeta=2 n_exponents=2 exponents={{{{-1 -4}}}} cutoff=4.0 "
            "delta=0.5",
            f"{TRIPLET} covariance_type=dot_product zeta=2 cutoff=3.2 delta=0.01",
        ]
    ),
}
"""Descriptors that gap_fit is given."""


@dataclass(frozen=True)
class Deviation:
    """Largest differences of two predictions: eV, eV/A, eV/A^3, and eV of one atom."""

    energy: float
    forces: float
    stress: float
    energies: float

    def below(self, tolerance: float) -> bool:
        return max(self.energy, self.forces, self.stress, self.energies) < tolerance


def gap_fit_program() -> str:
    """Path of gap_fit; skips the test where it is not installed."""
    beside = Path(sys.executable).with_name("gap_fit")
    program = str(beside) if beside.exists() else shutil.which("gap_fit")
    if program is None:
        pytest.skip(REASON)
    return program


def training_set() -> list[Atoms]:
    """Labelled copper-silver cells under QUIP's keys."""
    rng = np.random.default_rng(3)
    frames = []
    for k in range(8):
        atoms = bulk("Cu", cubic=True, a=3.7)
        atoms.numbers[: k % 3] = 47
        atoms.rattle(0.12, seed=k)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.04 * rng.standard_normal((3, 3))), scale_atoms=True)
        work = atoms.copy()
        work.calc = EMT()
        atoms.info["energy"] = work.get_potential_energy()
        atoms.arrays["force"] = work.get_forces()
        atoms.info["virial"] = -work.get_stress(voigt=False) * atoms.get_volume()
        frames.append(atoms)
    return frames


def train(folder: Path, descriptors: str) -> Path:
    """Run gap_fit and return its XML file."""
    program = gap_fit_program()
    write(folder / "train.xyz", training_set())
    arguments = [
        "at_file=train.xyz",
        f"gap={{{descriptors}}}",
        "default_sigma={0.001 0.01 0.02 0}",
        "e0={Cu:0.1:Ag:-0.2}",
        "sparse_jitter=1e-8",
        "rnd_seed=1",
        "do_copy_at_file=F",
        "gp_file=gp.xml",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "gp.xml"


def structures(first: str = "Cu", second: str = "Ag", lattice: float = 3.8) -> dict[str, Atoms]:
    """Random, strained, slab and molecular structures, and a cell smaller than any cutoff."""
    rng = np.random.default_rng(1)
    crystal = bulk(first, "fcc", cubic=True, a=lattice) * (2, 1, 1)
    crystal.symbols[::3] = second
    crystal.rattle(0.1, seed=1)
    strained = crystal.copy()
    strained.set_cell(crystal.cell @ (np.eye(3) + 0.05 * rng.standard_normal((3, 3))), scale_atoms=True)
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    slab.center(vacuum=8.0, axis=2)
    close = np.array(
        [[0, 0, 0], [1.9, 0.2, 0.1], [0.3, 2.1, -0.2], [1.4, 1.2, 1.9], [-1.5, 0.4, 1.2], [3.4, 1.3, 0.2]]
    )
    return {
        "crystal": crystal,
        "strained": strained,
        "slab": slab,
        "molecule": Atoms(f"{first}3{second}3", positions=close),
        "primitive": bulk(first, "fcc", a=lattice),
        "far atoms": Atoms([first, second], positions=[[0, 0, 0], [30.0, 0, 0]], cell=[60, 60, 60], pbc=True),
    }


def quippy_calculator(path: Path, arguments: str = "") -> Calculator:
    """Return quippy's calculator of an XML file; skips the test where quippy is not installed."""
    potential = pytest.importorskip("quippy.potential", reason=REASON)
    return potential.Potential(arguments, param_filename=str(path))


def quippy_prediction(calculator: Calculator, atoms: Atoms) -> Prediction:
    """Return what quippy's calculator predicts."""
    work = atoms.copy()
    work.calc = calculator
    stress = work.get_stress() if atoms.pbc.all() else None
    energies = np.array(calculator.get_potential_energies(work))
    return Prediction(work.get_potential_energy(), energies, np.array(work.get_forces()), stress)


def deviation(found: Prediction, expected: Prediction) -> Deviation:
    """Largest differences; the stress counts where both have one."""
    stress = 0.0
    if expected.stress is not None and found.stress is not None:
        stress = float(np.abs(found.stress - expected.stress).max())
    return Deviation(
        abs(found.energy - expected.energy),
        float(np.abs(found.forces - expected.forces).max()),
        stress,
        float(np.abs(found.energies - expected.energies).max()),
    )
