"""A small family of alloys, a model of their lattice energy, and its screening."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

import castile
from castile.properties import PropertyModel, make_descriptor
from castile.screening.candidates import CandidateStream
from castile.screening.targets import PropertyTarget
from evaluation.emt_model import labelled_copper

TOML = """
[[generator]]
name = "fcc"
prototypes = [{elements = "Cu", structure = "fcc", a = 3.7, cubic = true}]
decorate = {sites = "all", elements = ["Cu", "Au", "Pd"]}
distort = {volume = [-0.03, 0.03], strain = 0.03, copies = 2}
"""


def energy(atoms: Atoms) -> float:
    """eV/atom by the effective medium theory."""
    copy = atoms.copy()
    copy.calc = EMT()
    return float(copy.get_potential_energy() / len(copy))


def random_alloys(n: int, seed: int, displacement: float = 0.05) -> list[Atoms]:
    generator = np.random.default_rng(seed)
    alloys = []
    for _ in range(n):
        atoms = bulk("Cu", "fcc", a=float(generator.uniform(3.6, 4.0)), cubic=True)
        atoms.symbols = generator.choice(["Cu", "Au", "Pd"], 4)
        atoms.rattle(displacement, rng=generator)
        alloys.append(atoms)
    return alloys


@pytest.fixture(scope="session")
def model() -> PropertyModel:
    structures = random_alloys(40, 1)
    descriptor = make_descriptor("soap", {"cutoff": 4.0, "n_max": 4, "l_max": 2})
    made = PropertyModel(descriptor, kernel="dot", target="energy", unit="eV/atom")
    return made.fit(structures, [energy(atoms) for atoms in structures])


@pytest.fixture(scope="session")
def target(model: PropertyModel) -> PropertyTarget:
    return PropertyTarget(model)


@pytest.fixture(scope="session")
def gap() -> castile.GAP:
    return castile.GAP(n_sparse=15, n_max=4, l_max=3, cutoff=4.5, seed=0).fit(labelled_copper(10, noise=0.01))


@pytest.fixture
def generator_file(tmp_path: Path) -> Path:
    path = tmp_path / "alloys.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def stream(generator_file: Path) -> CandidateStream:
    return CandidateStream(generator_file)
