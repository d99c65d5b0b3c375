"""Small paths with a known rule, and crystals whose percolation is known."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from castile.barriers import MigrationPath, path_from_ends


def rocksalt_path(symbol: str, anion: str, length: float, path_id: str, barrier: float | None = None):
    """A hop to an empty neighbour in a rock-salt cell of 64 atoms."""
    cell = bulk(symbol + anion, "rocksalt", a=length, cubic=True).repeat(2)
    chosen = [k for k in range(len(cell)) if cell.symbols[k] == symbol]
    first = chosen[0]
    second = min(chosen[1:], key=lambda k: (round(cell.get_distance(first, k, mic=True), 3), k))
    initial, final = cell.copy(), cell.copy()
    final.positions[first] += cell.get_distance(first, second, mic=True, vector=True)
    keep = [k for k in range(len(cell)) if k != second]
    path = path_from_ends(initial[keep], final[keep], path_id)
    return MigrationPath(path.path_id, path.host, path.mobile, path.track, barrier, f"{symbol}{anion}", anion)


def labelled_paths(n_paths: int = 24, seed: int = 0) -> list[MigrationPath]:
    """Paths whose barrier falls with the size of the cell."""
    generator = np.random.default_rng(seed)
    paths = []
    for number in range(n_paths):
        symbol, anion = (("Li", "O"), ("Na", "O"), ("Li", "S"), ("Na", "S"))[number % 4]
        length = {"O": 4.6, "S": 5.4}[anion] * generator.uniform(0.95, 1.1)
        barrier = 0.3 + 3.0 * np.exp(-2.5 * (length / {"O": 4.6, "S": 5.4}[anion] - 0.9) / 0.2)
        paths.append(rocksalt_path(symbol, anion, length, f"p{number}", float(barrier)))
    return paths


def layered() -> Atoms:
    """LiCoO2: lithium in planes."""
    cell = (2.82, 2.82, 14.05, 90, 90, 120)
    return crystal(["Li", "Co", "O"], [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.24)], spacegroup=166, cellpar=cell)


def olivine() -> Atoms:
    """LiFePO4: lithium in chains along the b axis."""
    positions = [
        (0, 0, 0), (0.282, 0.25, 0.975), (0.095, 0.25, 0.418), (0.097, 0.25, 0.743), (0.457, 0.25, 0.206),
        (0.166, 0.046, 0.285),
    ]  # fmt: skip
    cell = (10.33, 6.01, 4.69, 90, 90, 90)
    return crystal(["Li", "Fe", "P", "O", "O", "O"], positions, spacegroup=62, cellpar=cell)


def simple_cubic() -> Atoms:
    """One lithium per cubic cell of 3.4 A, an oxygen ion in the middle."""
    return Atoms("LiO", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[3.4] * 3, pbc=True)
