"""Neighbour search by cells: atoms are sorted into a grid of cells, and a centre looks into the cells around
its own.

Pairs are counted first and written afterwards to where they belong, so that ranges of centres are
independent of each other and threads can share them.
"""

import numpy as np
from numba import njit

from castile.numerics.cell_grid import coordinates, make_grid, sort_into_cells
from castile.numerics.pair_sorting import running_sum

_COINCIDENT = 1e-20  # A^2; a centre that is no atom does not see an atom on which it lies


@njit(nogil=True, cache=True, error_model="numpy")
def _in_same_cell(home, one, other):
    """Whether two centres lie in the same cell."""
    return (
        home[one, 0] == home[other, 0] and home[one, 1] == home[other, 1] and home[one, 2] == home[other, 2]
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _runs(grid, first, home, starts, stops, shifts):
    """Write the runs of consecutive atoms around the cell ``home`` with the translations of their images;
    return their number.
    """
    shape, reach, periodic, cell = grid.shape, grid.reach, grid.periodic, grid.cell
    a, b, c = home[0], home[1], home[2]
    n_runs = 0
    for i in range(a - reach[0], a + reach[0] + 1):
        if not periodic[0] and (i < 0 or i >= shape[0]):
            continue
        image_a = i // shape[0]
        for j in range(b - reach[1], b + reach[1] + 1):
            if not periodic[1] and (j < 0 or j >= shape[1]):
                continue
            image_b = j // shape[1]
            row = ((i - image_a * shape[0]) * shape[1] + j - image_b * shape[1]) * shape[2]
            low, high = c - reach[2], c + reach[2]
            if not periodic[2]:
                low, high = max(low, 0), min(high, shape[2] - 1)
            while low <= high:
                image_c = low // shape[2]
                last = min(high, (image_c + 1) * shape[2] - 1)
                start = first[row + low - image_c * shape[2]]
                stop = first[row + last - image_c * shape[2] + 1]
                if stop > start:
                    starts[n_runs], stops[n_runs] = start, stop
                    for axis in range(3):
                        shift = image_a * cell[0, axis] + image_b * cell[1, axis]
                        shifts[n_runs, axis] = shift + image_c * cell[2, axis]
                    n_runs += 1
                low = last + 1
    return n_runs


@njit(nogil=True, cache=True, error_model="numpy")
def count_pairs(grid, atoms, centers, home, are_atoms, cutoff, begin, end, base, counts):
    """Write the number of neighbours of centre k, for k in begin:end, to counts[k - base].

    centers: (n_centers, 3) wrapped positions; home: (n_centers, 3) their cells; are_atoms: whether centre k
    is atom k of the list, which is no neighbour of itself.
    """
    n_most = (2 * grid.reach[0] + 1) * (2 * grid.reach[1] + 1) * (2 * grid.reach[2] + 1)
    starts, stops = np.empty(n_most, np.int64), np.empty(n_most, np.int64)
    shifts = np.empty((n_most, 3))
    xs, ys, zs = atoms.x, atoms.y, atoms.z
    squared_cutoff = cutoff * cutoff
    smallest = -1.0 if are_atoms else _COINCIDENT
    n_runs = 0
    for center in range(begin, end):
        if center == begin or not _in_same_cell(home, center, center - 1):
            n_runs = _runs(grid, atoms.first, home[center], starts, stops, shifts)
        count = -1 if are_atoms else 0
        for run in range(n_runs):
            x = shifts[run, 0] - centers[center, 0]
            y = shifts[run, 1] - centers[center, 1]
            z = shifts[run, 2] - centers[center, 2]
            for k in range(starts[run], stops[run]):
                d_x, d_y, d_z = xs[k] + x, ys[k] + y, zs[k] + z
                squared = d_x * d_x + d_y * d_y + d_z * d_z
                count += (squared > smallest) & (squared < squared_cutoff)
        counts[center - base] = count


@njit(nogil=True, cache=True, error_model="numpy")
def write_pairs(
    grid, atoms, centers, home, are_atoms, cutoff, begin, end, base, first, center_of, neighbor, vectors
):
    """Write the pairs of centres begin:end, those of centre k to first[k - base] : first[k - base + 1].

    Returns (squared distance, number) of the closest pair.
    """
    n_most = (2 * grid.reach[0] + 1) * (2 * grid.reach[1] + 1) * (2 * grid.reach[2] + 1)
    starts, stops = np.empty(n_most, np.int64), np.empty(n_most, np.int64)
    shifts = np.empty((n_most, 3))
    xs, ys, zs = atoms.x, atoms.y, atoms.z
    squared_cutoff = cutoff * cutoff
    smallest = -1.0 if are_atoms else _COINCIDENT
    closest, closest_pair = np.inf, -1
    near = np.empty(atoms.order.size, np.int64)
    n_runs = 0
    for center in range(begin, end):
        if center == begin or not _in_same_cell(home, center, center - 1):
            n_runs = _runs(grid, atoms.first, home[center], starts, stops, shifts)
        number = atoms.order[center] if are_atoms else center
        pair = first[center - base]
        for run in range(n_runs):
            x = shifts[run, 0] - centers[center, 0]
            y = shifts[run, 1] - centers[center, 1]
            z = shifts[run, 2] - centers[center, 2]
            at_home = are_atoms and shifts[run, 0] == 0.0 and shifts[run, 1] == 0.0 and shifts[run, 2] == 0.0
            # without a branch that nobody can predict: every index is written, and kept if its atom is near
            n_near = 0
            for k in range(starts[run], stops[run]):
                d_x, d_y, d_z = xs[k] + x, ys[k] + y, zs[k] + z
                squared = d_x * d_x + d_y * d_y + d_z * d_z
                near[n_near] = k
                n_near += (squared > smallest) & (squared < squared_cutoff)
            for found in range(n_near):
                k = near[found]
                if at_home and k == center:
                    continue
                d_x, d_y, d_z = xs[k] + x, ys[k] + y, zs[k] + z
                squared = d_x * d_x + d_y * d_y + d_z * d_z
                center_of[pair] = number
                neighbor[pair] = atoms.order[k]
                vectors[pair, 0], vectors[pair, 1], vectors[pair, 2] = d_x, d_y, d_z
                if squared < closest:
                    closest, closest_pair = squared, pair
                pair += 1
    return closest, closest_pair


@njit(nogil=True, cache=True, error_model="numpy")
def atom_pairs(points, cell, periodic, cutoff):
    """Return (order, first, center, neighbor, vectors, closest pair) of atoms at ``points`` (n, 3), all in
    one call.

    Centres follow one another as in ``order``; the pairs of centre order[k] are first[k] : first[k + 1].
    """
    grid = make_grid(points, cell, periodic, cutoff)
    atoms = sort_into_cells(points, grid)
    centers, n_points = coordinates(atoms), points.shape[0]
    counts = np.empty(n_points, np.int64)
    count_pairs(grid, atoms, centers, atoms.home, True, cutoff, 0, n_points, 0, counts)
    first = running_sum(counts)
    center, neighbor = np.empty(first[-1], np.int64), np.empty(first[-1], np.int64)
    vectors = np.empty((first[-1], 3))
    closest = write_pairs(
        grid, atoms, centers, atoms.home, True, cutoff, 0, n_points, 0, first, center, neighbor, vectors
    )
    return atoms.order, first, center, neighbor, vectors, closest[1]
