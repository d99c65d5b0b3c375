"""The structures that a campaign begins with, and the explorers that go on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from castile.active.campaign_reasons import FEWEST_LABELS
from castile.active.campaign_settings import (
    CampaignSettings,
    DynamicsSettings,
    InitialSettings,
    PoolSettings,
    RandomSearchSettings,
    RelaxationSettings,
)
from castile.active.dynamics_explorer import DynamicsExplorer
from castile.active.exploration import Candidate, Explorer
from castile.active.minimization_explorer import MinimizationExplorer
from castile.active.pool_explorer import PoolExplorer
from castile.active.random_structures import random_structure
from castile.simulation.potential_calls import require_three_dimensional_crystal
from castile.structures.labels import IGNORE, LabelKeys, LabelledStructure
from castile.structures.readers import StructureSource

POOL_START = 10
"""Structures of a pool that a campaign begins with where no others are given."""
RANDOM_START = 5


def read_structures(files: Sequence[str]) -> list[Atoms]:
    """Return the structures of some files, without labels."""
    return [_bare(structure) for structure in _unlabelled(files)]


def _unlabelled(files: Sequence[str]) -> StructureSource:
    keys = LabelKeys(energy=IGNORE, forces=IGNORE, stress=IGNORE, virial=IGNORE)
    return StructureSource(list(files), keys)


def _bare(structure: LabelledStructure) -> Atoms:
    atoms = structure.atoms.copy()
    atoms.calc = None
    atoms.info = {}
    return atoms


def initial_candidates(settings: CampaignSettings) -> list[Candidate]:
    """Return the first structures to label: given ones or where the explorers start, then rattled copies,
    one of each before the second of any.

    Copies whose number is not given leave half of the budget to exploration; nothing exceeds it.
    """
    initial, generator = settings.initial, np.random.default_rng([settings.seed, 17])
    starts = read_structures(initial.structures) if initial.structures else _starts(settings, generator)
    copies = []
    for number, atoms in enumerate(starts):
        for copy in range(initial.n_rattled):
            rattled = Candidate(f"initial/{number} rattled {copy}", _rattled(atoms, initial, generator), 0.0)
            copies.append((copy, rattled))
    first = [Candidate(f"initial/{number}", atoms, 0.0) for number, atoms in enumerate(starts)]
    found = first + [candidate for _, candidate in sorted(copies, key=lambda entry: entry[0])]
    budget = settings.stop.max_calculations
    if "n_rattled" not in initial.model_fields_set:
        found = found[: max(len(first), budget // 2, FEWEST_LABELS)]
    return found[:budget]


def _starts(settings: CampaignSettings, generator: np.random.Generator) -> list[Atoms]:
    """Return where the explorers start, each structure once."""
    starts: list[Atoms] = []
    for _, explorer in settings.named_explorers():
        if isinstance(explorer, RandomSearchSettings):
            starts += [_draw(explorer, generator) for _ in range(RANDOM_START)]
            continue
        if isinstance(explorer, PoolSettings):
            structures = _some_of(explorer.structures, generator)
        else:
            structures = read_structures(explorer.structures)
        starts += [atoms for atoms in structures if not any(atoms == known for known in starts)]
    return starts


def _some_of(files: Sequence[str], generator: np.random.Generator) -> list[Atoms]:
    """Return some structures of a pool, of which only these are in memory at once."""
    pool = _unlabelled(files)
    chosen = frozenset(generator.permutation(len(pool))[:POOL_START].tolist())
    return [_bare(structure) for index, structure in enumerate(pool) if index in chosen]


def _rattled(atoms: Atoms, initial: InitialSettings, generator: np.random.Generator) -> Atoms:
    """Return a copy with random displacements and, for a crystal, a random strain."""
    moved = atoms.copy()
    moved.set_constraint()
    if moved.pbc.all() and moved.cell.rank == 3 and initial.strain > 0.0:
        strain = generator.uniform(-initial.strain, initial.strain, (3, 3))
        moved.set_cell(moved.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    moved.positions += generator.normal(scale=initial.rattle, size=moved.positions.shape)
    return moved


def build_explorers(settings: CampaignSettings, folder: Path) -> list[Explorer]:
    """Return the explorers, each with its own folder."""
    explorers: list[Explorer] = []
    for name, explorer in settings.named_explorers():
        place = folder / name
        if isinstance(explorer, DynamicsSettings):
            starts = read_structures(explorer.structures)
            explorers.append(DynamicsExplorer(name, place, starts, explorer, settings.seed))
        elif isinstance(explorer, PoolSettings):
            explorers.append(PoolExplorer(name, place, explorer.structures))
        else:
            explorers.append(_minimization(name, place, explorer, settings.seed))
    return explorers


def _minimization(
    name: str, folder: Path, explorer: RelaxationSettings | RandomSearchSettings, seed: int
) -> MinimizationExplorer:
    start: Callable[[int, int], Atoms]
    if isinstance(explorer, RandomSearchSettings):
        start, number = partial(_drawn, explorer, seed), explorer.n_structures
    else:
        structures = read_structures(explorer.structures)
        if explorer.cell:
            for place, atoms in enumerate(structures):
                require_three_dimensional_crystal(atoms, f"explorer {name!r}, structure {place}: cell = true")
        start, number = partial(_perturbed, structures, seed), len(structures)
    return MinimizationExplorer(
        name, folder, number, start,
        cell=explorer.cell, max_force=explorer.max_force, max_steps=explorer.max_steps,
    )  # fmt: skip


def _drawn(explorer: RandomSearchSettings, seed: int, cycle: int, index: int) -> Atoms:
    return _draw(explorer, np.random.default_rng([seed, 23, cycle, index]))


def _draw(explorer: RandomSearchSettings, generator: np.random.Generator) -> Atoms:
    return random_structure(explorer.formula, generator, explorer.volume_per_atom, explorer.contact_fraction)


def _perturbed(structures: list[Atoms], seed: int, cycle: int, index: int) -> Atoms:
    """Return a starting structure; from the second cycle on its atoms are displaced a little."""
    atoms = structures[index].copy()
    if cycle > 0:
        generator = np.random.default_rng([seed, 29, cycle, index])
        atoms.positions += generator.normal(scale=0.02 * cycle, size=atoms.positions.shape)
    return atoms
