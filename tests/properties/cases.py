"""Structures and targets for the tests of property models."""

import numpy as np
from ase import Atoms
from ase.build import bulk

from castile.properties.inputs import Inputs


def crystals(n: int, seed: int = 0) -> list[Atoms]:
    """Rattled, strained cells of copper and gold in all mixtures."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True, a=generator.uniform(3.5, 4.3))
        atoms.symbols[:] = generator.choice(["Cu", "Au"], len(atoms))
        atoms.rattle(0.1, rng=generator)
        found.append(atoms)
    return found


def density(structures: list[Atoms]) -> np.ndarray:
    """A smooth target: electrons per volume, per A^3."""
    return np.array([atoms.numbers.sum() / atoms.get_volume() for atoms in structures])


def random_inputs(n: int, seed: int = 0, n_features: int = 3, atoms: bool = False) -> Inputs:
    """Rows of features, one per structure, or one to four."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 5, n) if atoms else np.ones(n, dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    composition = generator.dirichlet(np.ones(2), n)
    if atoms:
        composition = np.stack([counts // 2, counts - counts // 2], axis=1).astype(float)
    return Inputs(generator.normal(size=(first[-1], n_features)), first, composition)
