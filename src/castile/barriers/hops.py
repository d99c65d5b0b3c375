"""Symmetry-distinct hops of an ion in a crystal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from castile.barriers.ions import IONIC_RADIUS
from castile.barriers.path import MigrationPath
from castile.errors import InputError
from castile.execution.optional_packages import import_optional
from castile.structures.neighbors import neighbor_pairs
from castile.structures.validation import validate_structure

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
_SAME = 0.15  # A; points closer than this are one site
_SMALLEST_VOID = 0.75  # share of the sum of radii that an interstitial site must leave


@dataclass(frozen=True)
class Hop:
    """A hop between two sites of the crystal and all hops that symmetry makes of it.

    Attributes
    ----------
    path : MigrationPath
    start, stop : int
        Sites.
    edges : tuple of (start, stop, (a, b, c))
        All equivalent hops: from site to site, which lies in the cell displaced by a, b, c.
    """

    path: MigrationPath
    start: int
    stop: int
    edges: tuple[tuple[int, int, tuple[int, int, int]], ...]


def find_hops(
    atoms: Atoms,
    mobile: str,
    name: str,
    *,
    longest: float = 5.0,
    interstitials: bool = False,
    tolerance: float = 0.01,
    most: int = 200,
) -> Iterator[Hop]:
    """Yield the symmetry-distinct hops of ``mobile`` into a vacancy, shortest first.

    The host of each path is the crystal without the two sites of the hop, in a supercell in which the images
    of the moving ion are at least 8 A apart: one vacancy beside the moving ion, all else in place.

    Arguments:
        atoms: a crystal, periodic in three directions, with atoms of the moving element (not needed with
            ``interstitials``).
        mobile: symbol of the moving element.
        name: of the crystal, for messages and path identifiers.
        longest: A; hops up to this distance.
        interstitials: also hops between voids, and between sites and voids, of the complete crystal.
        tolerance: A, of the symmetry.
        most: number of distinct hops at which to stop.

    Raises InputError when the crystal has no such atoms, or cannot be used.

    """
    _check(atoms, mobile, name, longest, interstitials)
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    number = atomic_numbers[mobile]
    rotations, translations = _symmetry(bare, tolerance)
    sites = bare.get_scaled_positions(wrap=True)[bare.numbers == number]
    n_occupied = len(sites)
    if interstitials:
        sites = np.concatenate([sites, find_voids(bare, number, rotations, translations)])
    if len(sites) == 0:
        raise InputError(
            f"{name}: there is no {mobile} in it; name another --mobile, or ask for --interstitials"
        )
    edges = _edges(sites, bare.cell.array, longest)
    groups = _orbits(sites, edges, rotations, translations)
    groups.sort(key=lambda group: _length(edges[group[0]], sites, bare.cell.array))
    for serial, group in enumerate(groups[:most]):
        start, stop, _ = edges[group[0]]
        path = _path(bare, number, sites, n_occupied, edges[group[0]], f"{name}:{mobile}{serial}")
        yield Hop(path, start, stop, tuple(edges[k] for k in group))


def _check(atoms: Atoms, mobile: str, name: str, longest: float, interstitials: bool) -> None:
    if mobile not in atomic_numbers:
        raise InputError(f"mobile = {mobile!r} is no element; give a symbol such as Li")
    if not 0.5 < longest <= 12.0:
        raise InputError(f"longest hop = {longest} A; give a distance between 0.5 and 12 A")
    validate_structure(atoms, name, 0.5)
    if not atoms.pbc.all() or abs(np.linalg.det(atoms.cell.array)) < 1.0:
        raise InputError(f"{name}: it is not periodic in three directions; hops need a crystal")
    occupancies = atoms.info.get("occupancy")
    if occupancies and any(sum(site.values()) < 0.999 or len(site) > 1 for site in occupancies.values()):
        raise InputError(f"{name}: has partly occupied sites; give an ordered structure")
    if not interstitials and mobile not in atoms.get_chemical_symbols():
        raise InputError(
            f"{name}: there is no {mobile} in it; name another --mobile, or ask for --interstitials"
        )


def _symmetry(atoms: Atoms, tolerance: float) -> tuple[IntArray, Float64Array]:
    """Rotations and translations of the space group in fractional coordinates; at least the identity."""
    spglib = import_spglib()
    with warnings.catch_warnings():
        # spglib announces on every call that failures will raise one day; both ways are handled here
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry(
                (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=tolerance
            )
        except getattr(spglib, "SpglibError", ()):  # releases before 2.7 have none, and return None
            found = None
    if found is None:
        return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
    return np.asarray(found["rotations"], dtype=np.int64), np.asarray(found["translations"])


def import_spglib() -> Any:
    """Return spglib; InputError where it is missing."""
    return import_optional("spglib", "finding hops needs spglib", "barriers")


def find_voids(atoms: Atoms, number: int, rotations: IntArray, translations: Float64Array) -> Float64Array:
    """Fractional positions of voids that can hold the ion: vertices of the Voronoi cells of the atoms."""
    radius = 0.5 * float(np.max(atoms.cell.lengths())) + 6.0
    cell = atoms.cell.array
    counts = np.ceil(
        radius
        / np.abs(np.linalg.det(cell))
        * np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    )
    shifts = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in np.minimum(counts, 3)), indexing="ij"), -1
    ).reshape(-1, 3)
    points = (atoms.positions[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
    vertices = Voronoi(points).vertices
    fractions = vertices @ np.linalg.inv(cell)
    inside = fractions[((fractions > -1e-6) & (fractions < 1.0 - 1e-6)).all(axis=1)]
    if len(inside) == 0:
        return np.empty((0, 3))
    pairs = neighbor_pairs(atoms, 6.0, inside @ cell)
    room = np.full(len(inside), np.inf)
    allowed = _SMALLEST_VOID * (IONIC_RADIUS[number] + IONIC_RADIUS[atoms.numbers[pairs.neighbor]])
    np.minimum.at(room, pairs.center, np.linalg.norm(pairs.vectors, axis=1) - allowed)
    chosen: list[Float64Array] = []
    for k in np.argsort(-room, kind="stable"):
        if room[k] < 0.0:
            break
        if all(_distance(inside[k] - other, cell) > 4 * _SAME for other in chosen):
            orbit = (inside[k] @ np.swapaxes(rotations, 1, 2) + translations) % 1.0
            for image in orbit:
                if all(_distance(image - other, cell) > 4 * _SAME for other in chosen):
                    chosen.append(image)
    return np.array(chosen).reshape(-1, 3)


def _distance(fraction: Float64Array, cell: Float64Array) -> float:
    return float(np.linalg.norm((fraction - np.round(fraction)) @ cell))


Edge = tuple[int, int, tuple[int, int, int]]


def _edges(sites: Float64Array, cell: Float64Array, longest: float) -> list[Edge]:
    """Hops between sites up to ``longest``, each in one direction only."""
    dummy = Atoms(["H"] * len(sites), scaled_positions=sites, cell=cell, pbc=True)
    pairs = neighbor_pairs(dummy, longest)
    inverse = np.linalg.inv(cell)
    wrapped = dummy.positions @ inverse
    shifts = np.round(pairs.vectors @ inverse - wrapped[pairs.neighbor] + wrapped[pairs.center]).astype(int)
    edges: set[Edge] = set()
    for i, j, shift in zip(
        pairs.center.tolist(), pairs.neighbor.tolist(), map(tuple, shifts.tolist()), strict=True
    ):
        edges.add(_canonical((i, j, shift)))
    return sorted(edges, key=lambda edge: (_length(edge, sites, cell), edge))


def _canonical(edge: Edge) -> Edge:
    """One of the two directions of a hop."""
    start, stop, (a, b, c) = edge
    return min((start, stop, (a, b, c)), (stop, start, (-a, -b, -c)))


def _length(edge: Edge, sites: Float64Array, cell: Float64Array) -> float:
    start, stop, shift = edge
    return round(float(np.linalg.norm((sites[stop] + np.array(shift) - sites[start]) @ cell)), 6)


def _orbits(
    sites: Float64Array, edges: list[Edge], rotations: IntArray, translations: Float64Array
) -> list[list[int]]:
    """Groups of equivalent hops, as positions in ``edges``."""
    images, cells = [], []
    for rotation, translation in zip(rotations, translations, strict=True):
        moved = sites @ rotation.T + translation
        difference = moved[:, None] - sites[None]
        whole = np.round(difference)
        nearest = np.abs(difference - whole).max(axis=2).argmin(axis=1)
        images.append(nearest)
        cells.append(whole[np.arange(len(sites)), nearest].astype(int))
    position = {edge: k for k, edge in enumerate(edges)}
    group_of = np.full(len(edges), -1)
    groups: list[list[int]] = []
    for first, edge in enumerate(edges):
        if group_of[first] >= 0:
            continue
        members = {first}
        for rotation, image, cell in zip(rotations, images, cells, strict=True):
            start, stop, shift = edge
            there = rotation @ np.array(shift) + cell[stop] - cell[start]
            moved = _canonical((int(image[start]), int(image[stop]), tuple(int(v) for v in there)))  # type: ignore[arg-type]
            if moved in position:
                members.add(position[moved])
        group_of[list(members)] = len(groups)
        groups.append(sorted(members))
    return groups


def _path(
    atoms: Atoms, number: int, sites: Float64Array, n_occupied: int, edge: Edge, path_id: str
) -> MigrationPath:
    """Straight path of a hop through the crystal without its two sites."""
    start, stop, shift = edge
    cell = atoms.cell.array
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    repeat = np.maximum(np.ceil(8.0 / heights - 1e-9), 1).astype(int)
    host = atoms.repeat(repeat)
    ends = np.stack([sites[start], sites[stop] + np.array(shift)]) @ cell
    inverse = np.linalg.inv(host.cell.array)
    emptied = []
    for site, point in ((start, ends[0]), (stop, ends[1])):
        if site < n_occupied:
            fractions = (host.positions - point) @ inverse
            distances = np.linalg.norm((fractions - np.round(fractions)) @ host.cell.array, axis=1)
            distances[host.numbers != number] = np.inf
            emptied.append(int(np.argmin(distances)))
    del host[sorted(set(emptied))]
    if len(host) == 0:
        raise InputError(f"path {path_id}: nothing is left beside the moving ion")
    return MigrationPath(path_id, host, number, ends, certain=True)
