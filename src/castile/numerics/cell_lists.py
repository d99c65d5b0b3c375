"""Neighbour search by cells: atoms are sorted into a grid of cells, and a centre looks into the cells around
its own.

Ranges of centres are independent of each other, so that threads can share them. Pairs are written as they
are found, to arrays that grow when they are full: counting them first would cost as much as finding them.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from castile.numerics.cell_grid import begin_of_cell, coordinates, make_grid, sort_into_cells

_COINCIDENT = 1e-20  # A^2; a centre that is no atom does not see an atom on which it lies
_PAIRS_PER_CENTER = 64  # for which there is room at first


class Centers(NamedTuple):
    """Points whose neighbours are searched.

    positions: (n, 3) wrapped into the grid; home: (n, 3) their cells; own: (n,) the atom of the list of atoms
    that a centre is, -1 for points that are no atoms.
    """

    positions: np.ndarray
    home: np.ndarray
    own: np.ndarray


@njit(nogil=True, cache=True, error_model="numpy")
def _in_same_cell(home, one, other):
    """Whether two centres lie in the same cell."""
    return (
        home[one, 0] == home[other, 0] and home[one, 1] == home[other, 1] and home[one, 2] == home[other, 2]
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _turns(cell, size):
    """Return (number of whole turns, cell within the grid) of a cell of a periodic direction."""
    turns = cell // size
    return turns, cell - turns * size


@njit(nogil=True, cache=True, error_model="numpy")
def _runs(grid, atoms, home, starts, stops, shifts):
    """Write the runs of consecutive atoms around the cell ``home`` with the translations of their images;
    return their number.
    """
    shape, reach, periodic, cell = grid.shape, grid.reach, grid.periodic, grid.cell
    first, dense = atoms.first, atoms.first.size > 0
    a, b, c = home[0], home[1], home[2]
    low, high = c - reach[2], c + reach[2]
    if not periodic[2]:
        low, high = max(low, 0), min(high, shape[2] - 1)
    n_runs = 0
    for i in range(a - reach[0], a + reach[0] + 1):
        if not periodic[0] and (i < 0 or i >= shape[0]):
            continue
        image_a, inside_a = _turns(i, shape[0])
        for j in range(b - reach[1], b + reach[1] + 1):
            if not periodic[1] and (j < 0 or j >= shape[1]):
                continue
            image_b, inside_b = _turns(j, shape[1])
            row = (inside_a * shape[1] + inside_b) * shape[2]
            k = low
            while k <= high:
                image_c, inside_c = _turns(k, shape[2])
                last = min(high, k + shape[2] - 1 - inside_c)
                start, stop = row + inside_c, row + inside_c + last - k + 1
                if dense:
                    start, stop = first[start], first[stop]
                else:
                    start, stop = begin_of_cell(atoms.cells, start), begin_of_cell(atoms.cells, stop)
                if stop > start:
                    starts[n_runs], stops[n_runs] = start, stop
                    for axis in range(3):
                        shift = image_a * cell[0, axis] + image_b * cell[1, axis]
                        shifts[n_runs, axis] = shift + image_c * cell[2, axis]
                    n_runs += 1
                k = last + 1
    return n_runs


class _Candidates(NamedTuple):
    """Images of atoms in and around one cell: where they are, and the atoms of the list that they are."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    atom: np.ndarray


@njit(nogil=True, cache=True, error_model="numpy")
def _gather(atoms, own, n_runs, starts, stops, shifts, candidates):
    """Write the candidates of runs of atoms; return how many, and what to add to the number of an atom of the
    same cell as ``own`` to get its candidate.
    """
    n, home = 0, 0
    for run in range(n_runs):
        x, y, z = shifts[run, 0], shifts[run, 1], shifts[run, 2]
        if x == 0.0 and y == 0.0 and z == 0.0 and starts[run] <= own < stops[run]:
            home = n - starts[run]
        for k in range(starts[run], stops[run]):
            candidates.x[n], candidates.y[n], candidates.z[n] = atoms.x[k] + x, atoms.y[k] + y, atoms.z[k] + z
            candidates.atom[n] = k
            n += 1
    return n, home


@njit(nogil=True, cache=True, error_model="numpy")
def _select(candidates, n, x, y, z, itself, smallest, squared_cutoff, squares, near):
    """Write the numbers of the candidates within the cutoff of a point; return how many there are.

    Distances come first, several at a time; then without a branch that nobody can predict: every number is
    written, and kept if its candidate is near.
    """
    for k in range(n):
        d_x, d_y, d_z = candidates.x[k] - x, candidates.y[k] - y, candidates.z[k] - z
        squares[k] = d_x * d_x + d_y * d_y + d_z * d_z
    if itself >= 0:
        squares[itself] = np.inf
    n_near = np.uint64(0)
    for k in range(n):
        near[n_near] = k
        n_near += np.uint64((squares[k] > smallest) & (squares[k] < squared_cutoff))
    return np.int64(n_near)


@njit(nogil=True, cache=True, error_model="numpy")
def _group(kinds, near, n_near, cursor, first, n_pairs):
    """Write the first pair of each kind to ``first`` and ``cursor``; return where the last one ends."""
    cursor[:] = 0
    for f in range(n_near):
        if kinds[near[f]] >= 0:
            cursor[kinds[near[f]]] += 1
    for s in range(cursor.size):
        first[s] = n_pairs
        n_pairs += cursor[s]
        cursor[s] = first[s]
    return n_pairs


@njit(nogil=True, cache=True, error_model="numpy")
def _write(order, candidates, kind_of, near, squares, point, label, cursor, found, closest):
    """Write the pairs of one centre with the candidates ``near`` to where the cursor of their kind is; return
    the closest pair so far as (squared distance, number).
    """
    labels, neighbor, kinds, vectors = found
    for f in range(near.size):
        k = near[f]
        kind = kind_of[k]
        if kind < 0:
            continue
        pair = cursor[kind]
        cursor[kind] += 1
        labels[pair], neighbor[pair], kinds[pair] = label, order[candidates.atom[k]], kind
        vectors[pair, 0] = candidates.x[k] - point[0]
        vectors[pair, 1] = candidates.y[k] - point[1]
        vectors[pair, 2] = candidates.z[k] - point[2]
        if squares[k] < closest[0]:
            closest = (squares[k], pair)
    return closest


@njit(nogil=True, cache=True, error_model="numpy")
def find_pairs(grid, atoms, centers, cutoff, species, n_species, begin, end, labels):
    """Return (first, center, neighbor, kinds, vectors, closest) of the pairs of centres begin:end.

    Those of centre begin + k with neighbours of species s are first[k n_species + s] : first[k n_species + s
    + 1]; center holds labels[k]; neighbours of negative species are left out. closest: (squared distance,
    number) of the closest pair, number -1 where there is none. Centres of one cell should follow one another.
    """
    n_most = (2 * grid.reach[0] + 1) * (2 * grid.reach[1] + 1) * (2 * grid.reach[2] + 1)
    starts, stops, shifts = np.empty(n_most, np.int64), np.empty(n_most, np.int64), np.empty((n_most, 3))
    candidates = _Candidates(np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64))
    squares, near, kind_of = np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    first = np.empty((end - begin) * n_species + 1, np.int64)
    room = _PAIRS_PER_CENTER * (end - begin)
    label, neighbor, kinds = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    vectors = np.empty((room, 3))
    cursor = np.zeros(n_species, np.int64)
    closest = (np.inf, -1)
    n_pairs, n_candidates, home = 0, 0, 0
    for center in range(begin, end):
        if center == begin or not _in_same_cell(centers.home, center, center - 1):
            n_runs = _runs(grid, atoms, centers.home[center], starts, stops, shifts)
            n_candidates = (stops[:n_runs] - starts[:n_runs]).sum()
            if near.size <= n_candidates:
                size = 2 * n_candidates + 1
                candidates = _Candidates(
                    np.empty(size), np.empty(size), np.empty(size), np.empty(size, np.int64)
                )
                squares, near, kind_of = np.empty(size), np.empty(size, np.int64), np.empty(size, np.int64)
            n_candidates, home = _gather(
                atoms, centers.own[center], n_runs, starts, stops, shifts, candidates
            )
            for k in range(n_candidates):
                kind_of[k] = species[atoms.order[candidates.atom[k]]]
        own = centers.own[center]
        x, y, z = centers.positions[center, 0], centers.positions[center, 1], centers.positions[center, 2]
        itself, smallest = (home + own, -1.0) if own >= 0 else (-1, _COINCIDENT)
        n_near = _select(candidates, n_candidates, x, y, z, itself, smallest, cutoff * cutoff, squares, near)
        if n_pairs + n_near > room:
            room = 2 * (n_pairs + n_near)
            label, neighbor, kinds = _longer(label, room), _longer(neighbor, room), _longer(kinds, room)
            vectors = _longer(vectors.ravel(), 3 * room).reshape(room, 3)
        corner = (center - begin) * n_species
        n_pairs = _group(kind_of, near, n_near, cursor, first[corner:], n_pairs)
        found = label, neighbor, kinds, vectors
        closest = _write(
            atoms.order, candidates, kind_of, near[:n_near], squares, (x, y, z), labels[center - begin],
            cursor, found, closest,
        )  # fmt: skip
    first[-1] = n_pairs
    return first, label[:n_pairs], neighbor[:n_pairs], kinds[:n_pairs], vectors[:n_pairs], closest


@njit(nogil=True, cache=True, error_model="numpy")
def _longer(array, size):
    """Return a longer array that begins with ``array``."""
    out = np.empty(size, array.dtype)
    out[: array.size] = array
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def atom_pairs(points, cell, periodic, cutoff):
    """Return (order, first, center, neighbor, vectors, closest pair) of atoms at ``points`` (n, 3), all in
    one call.

    Centres follow one another as in ``order``; the pairs of centre order[k] are first[k] : first[k + 1].
    """
    grid = make_grid(points, cell, periodic, cutoff)
    atoms = sort_into_cells(points, grid)
    n_points = points.shape[0]
    centers = Centers(coordinates(atoms), atoms.home, np.arange(n_points))
    alike = np.zeros(n_points, np.int64)
    first, center, neighbor, _, vectors, closest = find_pairs(
        grid, atoms, centers, cutoff, alike, 1, 0, n_points, atoms.order
    )
    return atoms.order, first, center, neighbor, vectors, closest[1]
