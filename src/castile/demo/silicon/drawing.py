"""The structures of the silicon set, drawn with fixed seeds: one generator for each (split, kind, index)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import add_vacuum, bulk, diamond100, diamond111

LATTICE_CONSTANT = 5.47
SHORTEST_DISTANCE = 1.9
VOLUME_FACTORS = (0.80, 0.84, 0.88, 0.91, 0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.07, 1.11, 1.17, 1.25)
DIMER_DISTANCES = (1.9, 2.1, 2.3, 2.7, 3.3)

# Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), with epsilon for the cohesive energy; it only draws
# disordered structures, no label comes from it.
SW_EPSILON, SW_SIGMA = 2.1683, 2.0951  # eV, A
SW_A, SW_B, SW_CUTOFF, SW_LAMBDA, SW_GAMMA = 7.049556, 0.602225, 1.8, 21.0, 1.2
BOLTZMANN = 8.617333e-5  # eV/K


@dataclass(frozen=True)
class Draw:
    """A structure to be labelled: its name (also the file name of its result), split and kind."""

    name: str
    split: str
    kind: str
    atoms: Atoms

    @property
    def metal(self) -> bool:
        """Whether it is a small metallic cell, which needs many more k points."""
        return self.kind == "phase"


def shortest_distance(atoms: Atoms) -> float:
    """Shortest distance between two atoms, periodic images included, in A."""
    distances = atoms.repeat(2).get_all_distances(mic=True)
    return float(distances[np.triu_indices_from(distances, 1)].min())


def strained(atoms: Atoms, rng: np.random.Generator, amplitude: float, volume_factor: float = 1.0) -> Atoms:
    """Cell times (1 + e), e symmetric with components uniform in +-amplitude, then scaled in volume."""
    strain = rng.uniform(-amplitude, amplitude, (3, 3))
    strain = 0.5 * (strain + strain.T)
    np.fill_diagonal(strain, rng.uniform(-amplitude, amplitude, 3))
    result = atoms.copy()
    result.set_cell(result.cell.array @ (np.eye(3) + strain) * volume_factor ** (1 / 3), scale_atoms=True)
    return result


def rattled(atoms: Atoms, rng: np.random.Generator, amplitude: float) -> Atoms:
    """Gaussian displacements (A, standard deviation per component), drawn until no pair is too close."""
    for _ in range(200):
        result = atoms.copy()
        result.positions += rng.normal(0.0, amplitude, result.positions.shape)
        if shortest_distance(result) > SHORTEST_DISTANCE:
            return result
    raise RuntimeError(f"amplitude {amplitude} A: no draw has all distances above {SHORTEST_DISTANCE} A")


def diamond_cubic() -> Atoms:
    """Cubic diamond cell of 8 atoms."""
    return bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True)


def _diamond_volumes(rng: np.random.Generator, index: int) -> Atoms:
    factor = VOLUME_FACTORS[index]
    return bulk("Si", "diamond", a=LATTICE_CONSTANT * factor ** (1 / 3))


def _diamond_strained(rng: np.random.Generator, index: int) -> Atoms:
    amplitude = (0.015, 0.04, 0.08)[index % 3]
    factor = rng.uniform(1 - 1.5 * amplitude, 1 + 1.5 * amplitude)
    atoms = strained(bulk("Si", "diamond", a=LATTICE_CONSTANT), rng, amplitude, factor)
    return rattled(atoms, rng, (0.0, 0.03)[(index // 3) % 2])


def _diamond_rattled(rng: np.random.Generator, index: int) -> Atoms:
    displacement, strain, spread = (
        (0.03, 0.01, 0.02), (0.06, 0.015, 0.04), (0.10, 0.03, 0.08), (0.15, 0.04, 0.12), (0.20, 0.05, 0.15),
    )[index % 5]  # fmt: skip
    atoms = strained(diamond_cubic(), rng, strain, rng.uniform(1 - spread, 1 + spread))
    return rattled(atoms, rng, displacement)


def _diamond_rattled_16(rng: np.random.Generator, index: int) -> Atoms:
    atoms = strained(diamond_cubic().repeat((2, 1, 1)), rng, 0.02, rng.uniform(0.95, 1.05))
    return rattled(atoms, rng, (0.05, 0.12, 0.18)[index % 3])


def _vacancy(rng: np.random.Generator, index: int) -> Atoms:
    atoms = diamond_cubic().repeat((2, 1, 1)) if index % 5 == 4 else diamond_cubic()
    del atoms[int(rng.integers(len(atoms)))]
    atoms = strained(atoms, rng, 0.02, rng.uniform(0.92, 1.05))
    return rattled(atoms, rng, (0.04, 0.08, 0.12)[index % 3])


def _phase(rng: np.random.Generator, index: int) -> Atoms:
    """Beta-tin, simple cubic, bcc, fcc and hexagonal diamond; the strain keeps the main axis, along z."""
    x_tin, z_tin = 2.405, 1.32  # half of a and c
    cells = (
        Atoms("Si2", cell=[[-x_tin, x_tin, z_tin], [x_tin, -x_tin, z_tin], [x_tin, x_tin, -z_tin]], pbc=True,
              scaled_positions=[[-0.125, -0.375, -0.25], [0.125, 0.375, 0.25]]),
        bulk("Si", "sc", a=2.53),
        bulk("Si", "bcc", a=3.08),
        bulk("Si", "fcc", a=3.87),
        Atoms("Si4", cell=[[3.87, 0, 0], [-1.935, 1.935 * 3**0.5, 0], [0, 0, 6.32]], pbc=True,
              scaled_positions=[[1 / 3, 2 / 3, 0.0625], [2 / 3, 1 / 3, 0.5625],
                                [1 / 3, 2 / 3, 0.4375], [2 / 3, 1 / 3, 0.9375]]),
    )  # fmt: skip
    atoms = cells[index % len(cells)].copy()
    plane, axis = rng.uniform(-0.03, 0.03, 2)
    scale = rng.uniform(0.86, 1.16) ** (1 / 3)
    atoms.set_cell(atoms.cell.array * scale * np.array([1 + plane, 1 + plane, 1 + axis]), scale_atoms=True)
    return atoms


def _slab(rng: np.random.Generator, index: int) -> Atoms:
    which = index % 3
    if which == 0:
        atoms = diamond100("Si", size=(1, 1, 8), a=LATTICE_CONSTANT, orthogonal=True)
    elif which == 1:
        atoms = diamond100("Si", size=(2, 1, 4), a=LATTICE_CONSTANT, orthogonal=True)
    else:
        atoms = diamond111("Si", size=(1, 1, 8), a=LATTICE_CONSTANT)
    atoms.center(vacuum=0.0, axis=2)
    add_vacuum(atoms, 8.0)
    in_plane = np.eye(3)
    in_plane[:2, :2] += rng.uniform(-0.02, 0.02, 2) * np.eye(2)
    atoms.set_cell(atoms.cell.array @ in_plane, scale_atoms=True)
    return rattled(atoms, rng, (0.04, 0.10, 0.16)[(index // 3) % 3])


def stillinger_weber_energy(positions: np.ndarray, images: np.ndarray) -> float:
    """Energy (eV) of one cell: `positions` (n_atoms, 3), lattice vectors `images` (n_images, 3), both in A.

    The sum over angles needs no pairs of neighbors. With g_j = exp(gamma / (r_j - a)) and unit vectors u_j,
    sum_jk g_j g_k (u_j.u_k + 1/3)^2 = |sum g u u^T|^2 + 2/3 |sum g u|^2 + 1/9 (sum g)^2;
    the terms j = k are taken off.
    """
    bonds = (positions[None, :, None] + images - positions[:, None, None]) / SW_SIGMA
    bonds = bonds.reshape(len(positions), -1, 3)
    distances = np.linalg.norm(bonds, axis=2)
    distances[distances < 1e-9] = np.inf
    near = distances < SW_CUTOFF - 1e-3
    r = np.where(near, distances, 1.0)
    pair = np.where(near, SW_A * (SW_B * r**-4 - 1.0) * np.exp(1.0 / (r - SW_CUTOFF)), 0.0).sum()
    g = np.where(near, np.exp(SW_GAMMA / (r - SW_CUTOFF)), 0.0)
    u = bonds / r[:, :, None]
    tensor = np.einsum("ij,ija,ijb->iab", g, u, u)
    vector = np.einsum("ij,ija->ia", g, u)
    angles = (tensor**2).sum() + 2 / 3 * (vector**2).sum() + (g.sum(1) ** 2).sum() / 9 - 16 / 9 * (g**2).sum()
    return float(SW_EPSILON * 0.5 * (pair + SW_LAMBDA * angles))


def _metropolis(atoms: Atoms, rng: np.random.Generator, temperature: float, n_sweeps: int) -> None:
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = shifts @ atoms.cell.array
    energy = stillinger_weber_energy(atoms.positions, images)
    for _ in range(n_sweeps):
        for atom in range(len(atoms)):
            trial = atoms.get_positions()
            trial[atom] += rng.normal(0.0, 0.12, 3)
            trial_energy = stillinger_weber_energy(trial, images)
            if rng.random() < np.exp(min(0.0, (energy - trial_energy) / (BOLTZMANN * temperature))):
                atoms.positions, energy = trial, trial_energy


def _disordered(rng: np.random.Generator, index: int) -> Atoms:
    """Melted by Monte Carlo with the Stillinger-Weber potential, then held at 1000 to 4000 K."""
    target = (1000.0, 2000.0, 3000.0, 4000.0)[index % 4]
    factor = rng.uniform(0.85, 1.18)
    for _ in range(20):
        atoms = rattled(strained(diamond_cubic(), rng, 0.06, factor), rng, 0.2)
        _metropolis(atoms, rng, 10000.0, 200)
        _metropolis(atoms, rng, target, 200)
        if shortest_distance(atoms) > SHORTEST_DISTANCE:
            return atoms
    raise RuntimeError(f"no disordered cell with all distances above {SHORTEST_DISTANCE} A, index {index}")


def _dimer(rng: np.random.Generator, index: int) -> Atoms:
    distance = DIMER_DISTANCES[index]
    return Atoms("Si2", positions=[[0, 0, 0], [0, 0, distance]], cell=[12.1, 12.1, 12.1], pbc=True)


def _isolated_atom(rng: np.random.Generator, index: int) -> Atoms:
    return Atoms("Si", positions=[[0.0, 0.0, 0.0]], cell=[12.1, 12.1, 12.1], pbc=True)


# kind: function, number in the training set, number in the test set
KINDS: dict[str, tuple[Callable[[np.random.Generator, int], Atoms], int, int]] = {
    "isolated_atom": (_isolated_atom, 1, 0),
    "diamond_volume": (_diamond_volumes, len(VOLUME_FACTORS), 0),
    "diamond_strained": (_diamond_strained, 24, 8),
    "diamond_rattled": (_diamond_rattled, 35, 10),
    "diamond_rattled_16": (_diamond_rattled_16, 4, 1),
    "vacancy": (_vacancy, 10, 3),
    "phase": (_phase, 20, 5),
    "slab": (_slab, 12, 3),
    "disordered": (_disordered, 20, 6),
    "dimer": (_dimer, len(DIMER_DISTANCES), 0),
}


def draw_all() -> list[Draw]:
    """Every structure of both splits, each from its own seed (1969, split, kind, index)."""
    draws = []
    for kind_number, (kind, (draw, n_train, n_test)) in enumerate(KINDS.items()):
        for split_number, (split, count) in enumerate((("train", n_train), ("test", n_test))):
            for index in range(count):
                rng = np.random.default_rng([1969, split_number, kind_number, index])
                draws.append(Draw(f"{split}_{kind}_{index:02d}", split, kind, draw(rng, index)))
    return draws
