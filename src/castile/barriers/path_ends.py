"""What the two ends of a path leave open: a site that is written twice, and which image of it is meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray

from castile.barriers.ionic_band import PairPotential, ionic_band
from castile.barriers.path import MigrationPath
from castile.barriers.surroundings import HostChemistry, Ion, host_chemistry, moving_ion, surroundings

Float64Array = NDArray[np.float64]
SAME_SITE = 1.0  # A; two ions of one kind that are closer are one site written twice
LONGER = 0.4  # A; other images of the final site may be that much further away
CHEAPER = 0.3  # eV; and their way must be easier by so much
_STRAIGHT = 0.05  # A; a track that leaves its line by more was relaxed, and says itself where it runs
_N_IMAGES = 11
_REACH = 9.0  # A


def settled(path: MigrationPath) -> MigrationPath:
    """Return the path with its end sites emptied, and to the image of the final site that is in reach.

    Structures in small periodic cells tell the end of a hop only up to a lattice vector, and a line drawn to
    the wrong image may run through an atom. Of images of the final site that are about as near, another than
    the given is taken where the way there is clearly easier in the ionic potential of the features. Paths
    whose images are not on one line, and paths whose ends are certain, keep theirs.
    """
    if path.certain:
        return path
    path = _emptied(path)
    if _bend(path) > _STRAIGHT or not path.host.pbc.any():
        return path
    others = _other_images(path)
    if not len(others):
        return path
    chemistry, ion = host_chemistry(path.host), moving_ion(path)
    lowest, chosen = _cost(path, chemistry, ion) - CHEAPER, path
    for displacement in others:
        track = np.stack([path.track[0], path.track[0] + displacement])
        other = replace(path, track=track)
        cost = _cost(other, chemistry, ion)
        if cost < lowest:
            lowest, chosen = cost, other
    if chosen is path:
        return path
    note = (
        f"another image of the final site is taken, {chosen.length:.2f} A away instead of {path.length:.2f} A"
    )
    return replace(chosen, warnings=(*path.warnings, note))


def _bend(path: MigrationPath) -> float:
    """How far the track leaves the line between its ends, Angstrom."""
    along = (path.track[-1] - path.track[0]) / max(path.length, 1e-9)
    away = path.track - path.track[0]
    return float(np.linalg.norm(away - np.outer(away @ along, along), axis=1).max())


def _emptied(path: MigrationPath) -> MigrationPath:
    """The path without ions of its kind in its end sites."""
    host = path.host
    cell = complete_cell(host.cell.array)
    alike = np.flatnonzero(host.numbers == path.mobile)
    fractions = (host.positions[alike][:, None] - path.track[[0, -1]][None]) @ np.linalg.inv(cell)
    fractions = np.where(host.pbc, fractions - np.round(fractions), fractions)
    near = alike[(np.linalg.norm(fractions @ cell, axis=2) < SAME_SITE).any(axis=1)]
    if len(near) == 0 or len(near) == len(host):
        return path
    host = host.copy()
    del host[near]
    note = f"{len(near)} {path.symbol} of the host less than {SAME_SITE} A from an end of the path: left out"
    return replace(path, host=host, warnings=(*path.warnings, note))


def _other_images(path: MigrationPath) -> Float64Array:
    """Displacements to other images of the final site that are hardly longer, (n, 3), Angstrom.

    An ion may move to the next image of its own site; that site itself is no end of a hop.
    """
    displacement = path.track[-1] - path.track[0]
    ranges = [(-1, 0, 1) if periodic else (0,) for periodic in path.host.pbc]
    steps = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    images = displacement + steps[(steps != 0).any(axis=1)] @ path.host.cell.array
    lengths = np.linalg.norm(images, axis=1)
    return np.asarray(images[(lengths > SAME_SITE) & (lengths < path.length + LONGER)])


def _cost(path: MigrationPath, chemistry: HostChemistry, ion: Ion) -> float:
    """Barrier of a band relaxed in the ionic potential, eV."""
    around = surroundings(path, chemistry, path.points(5), _REACH)
    if len(around.numbers) == 0:
        return 0.0
    return ionic_band(ion, around, path.points(_N_IMAGES), PairPotential()).barrier
