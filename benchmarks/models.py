"""Potentials to measure with: random weights, a GAP made by QUIP, a small fit that needs no data."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import castile
from benchmarks.peers import PeerMissing
from benchmarks.systems import System, rattled, silicon
from castile.potentials.composition import Composition
from castile.potentials.model import PotentialModel
from castile.potentials.settings import SoapSettings
from castile.potentials.soap_term import SoapTerm
from castile.potentials.term_builder import build_engine

PUBLISHED_CUTOFF = 5.4


def random_model(system: System, n_sparse: int, zeta: float, seed: int = 0) -> PotentialModel:
    """One SOAP term with sparse points from rattled copies of the system and random weights.

    What it predicts means nothing; what it costs is what a fitted one of the same sizes costs.
    """
    generator = np.random.default_rng(seed)
    numbers = tuple(sorted({int(z) for z in system.copies[0].numbers}))
    settings = SoapSettings(
        cutoff=system.cutoff,
        cutoff_width=system.cutoff_width,
        cutoff_function="cosine",
        n_max=system.n_max,
        l_max=system.l_max,
        sigma=system.sigma,
        radial_basis="equispaced",
        radial_scaling="none",
        channels="elements",
        zeta=zeta,
        n_sparse=n_sparse,
    )
    descriptor = castile.SOAP(
        system.cutoff, system.n_max, system.l_max, system.sigma,
        cutoff_width=system.cutoff_width, radial_basis="equispaced", species=numbers,
    ).fit()  # fmt: skip
    points, counts = [], []
    per_element = -(-n_sparse // len(numbers))
    for number in numbers:
        found: list[np.ndarray] = []
        while sum(map(len, found)) < per_element:
            atoms = rattled(system.copies[0], int(generator.integers(1 << 30)), 0.15)
            found.append(descriptor.transform(atoms, np.flatnonzero(atoms.numbers == number)))
        points.append(np.concatenate(found)[:per_element])
        counts.append(per_element)
    term = SoapTerm(
        "soap", build_engine(settings, numbers), numbers, zeta, np.concatenate(points), tuple(counts)
    )
    weights = generator.normal(size=term.n_columns)
    energies = {number: -1.0 - 0.1 * number for number in numbers}
    return PotentialModel(numbers, Composition(energies, "random"), None, (term,), (weights,))


def silicon_system(repeats: tuple[int, int, int]) -> System:
    """Silicon with the published hyper-parameters of its GAP."""
    copies = (rattled(silicon(repeats), 1), rattled(silicon(repeats), 2))
    return System("si", "Si", copies, PUBLISHED_CUTOFF, 8, 8)


def gap_fit_command() -> str:
    """Path of QUIP's gap_fit.

    Raises:
        PeerMissing: quippy is not installed.

    """
    beside = Path(sys.executable).with_name("gap_fit")
    found = str(beside) if beside.exists() else shutil.which("gap_fit")
    if found is None:
        raise PeerMissing("quippy's gap_fit is not installed")
    return found


def write_for_gap_fit(structures: list[Atoms], path: Path, forces: bool) -> None:
    """Write labels under keys that ASE leaves alone."""
    plain = []
    for atoms in structures:
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        bare.info["dft_energy"] = atoms.get_potential_energy()
        if forces:
            bare.arrays["dft_forces"] = atoms.get_forces()
        plain.append(bare)
    ase.io.write(path, plain, format="extxyz")


def run_gap_fit(structures: list[Atoms], folder: Path, n_sparse: int, forces: bool, method: str) -> Path:
    """Fit a silicon GAP with the published hyper-parameters by QUIP; returns the XML file."""
    write_for_gap_fit(structures, folder / "train.xyz", forces)
    command = [
        gap_fit_command(),
        "at_file=train.xyz",
        "gp_file=gp.xml",
        f"gap={{soap cutoff={PUBLISHED_CUTOFF} cutoff_transition_width=0.5 n_max=8 l_max=8 atom_sigma=0.5 "
        f"zeta=4 delta=1.0 covariance_type=dot_product n_sparse={n_sparse} sparse_method={method}}}",
        "default_sigma={0.0005 0.1 0 0}",
        "energy_parameter_name=dft_energy",
        f"force_parameter_name={'dft_forces' if forces else 'none'}",
        "virial_parameter_name=none",
        "e0_method=average",
        "sparse_jitter=1e-8",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    xml = folder / "gp.xml"
    if done.returncode != 0 or not xml.exists():
        raise RuntimeError(f"gap_fit ended with status {done.returncode}: {done.stderr[-500:]}")
    return xml


def import_quip(xml: Path) -> Any | None:
    """The same GAP in Castile; None while Castile cannot import it."""
    importer = getattr(castile, "import_gap", None)
    return None if importer is None else importer(xml)


def small_fitted_model(path: Path) -> None:
    """Fit copper to the effective-medium potential of ASE and save it: needs no data, takes seconds."""
    frames = []
    for seed in range(8):
        atoms = rattled(bulk("Cu", cubic=True) * (2, 1, 1), seed)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    castile.GAP(n_sparse=40, n_max=6, l_max=4).fit(frames).save(path)
