"""Atoms sorted into a grid of cells, in which a search of neighbours looks around each centre."""

from typing import NamedTuple

import numpy as np
from numba import njit

_CELLS_PER_POINT = 4
_FEWEST_CELLS = 1024
_CROWDED = 32.0  # atoms that share a cell with an atom, from which small cells pay although most are empty


class CellGrid(NamedTuple):
    """Grid over a cell of lattice vectors ``cell`` (rows), which tile the periodic directions.

    Cell k of a direction holds fractional coordinates origin + [k, k + 1) / scale; ``reach`` cells to both
    sides hold every neighbour.
    """

    cell: np.ndarray
    inverse: np.ndarray
    periodic: np.ndarray
    origin: np.ndarray
    scale: np.ndarray
    shape: np.ndarray
    reach: np.ndarray


class CellList(NamedTuple):
    """Atoms in the order of their cells: atom ``order[k]`` lies at (x[k], y[k], z[k]); those of cell c begin
    at first[c]. Of grids with far more cells than atoms ``first`` is empty, and ``cells[k]`` the cell of the
    atom; ``cells`` is empty otherwise.
    """

    first: np.ndarray
    cells: np.ndarray
    order: np.ndarray
    home: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


@njit(nogil=True, cache=True, error_model="numpy")
def _inverse(cell):
    """Return the inverse of a 3 x 3 matrix."""
    out = np.empty((3, 3))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        for axis in range(3):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            out[axis, k] = cell[i, a] * cell[j, b] - cell[i, b] * cell[j, a]
    volume = cell[0, 0] * out[0, 0] + cell[0, 1] * out[1, 0] + cell[0, 2] * out[2, 0]
    return out / volume


@njit(nogil=True, cache=True, error_model="numpy")
def count_images(cell, periodic, cutoff):
    """Return the number of images of a cell that neighbours within ``cutoff`` may lie in."""
    inverse = _inverse(cell)
    n_images = 1.0
    for k in range(3):
        if periodic[k]:
            inverse_height = np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2)
            n_images *= 2.0 * np.ceil(cutoff * inverse_height) + 1.0
    return n_images


@njit(nogil=True, cache=True, error_model="numpy")
def make_grid(points, cell, periodic, cutoff):
    """Return the grid for atoms at ``points`` (n, 3) and neighbours within ``cutoff``.

    cell: (3, 3) of finite volume, whose vectors in directions that are not periodic may be anything.
    """
    inverse = _inverse(cell)
    origin, extent, shape = np.zeros(3), np.ones(3), np.ones(3, np.int64)
    for k in range(3):
        height = 1.0 / np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2)
        if not periodic[k]:
            low, high = np.inf, -np.inf
            for point in range(points.shape[0]):
                s = points[point, 0] * inverse[0, k] + points[point, 1] * inverse[1, k]
                s += points[point, 2] * inverse[2, k]
                low, high = min(low, s), max(high, s)
            origin[k] = low
            extent[k] = max(high - low, cutoff / height)
        width = extent[k] * height
        shape[k] = int(min(max(np.floor(width / cutoff), 1.0), 2e6))  # numbers of cells fit into 63 bits
    if not _has_empty_majority(shape, points.shape[0]):
        return _grid_of_shape(shape, cell, inverse, periodic, origin, extent, cutoff)
    fewer = shape.copy()
    while _has_empty_majority(fewer, points.shape[0]):
        longest = np.argmax(fewer)
        fewer[longest] = (fewer[longest] + 1) // 2
    coarse = _grid_of_shape(fewer, cell, inverse, periodic, origin, extent, cutoff)
    if _is_crowded(points, coarse):
        return _grid_of_shape(shape, cell, inverse, periodic, origin, extent, cutoff)
    return coarse


@njit(nogil=True, cache=True, error_model="numpy")
def _has_empty_majority(shape, n_points):
    """Whether a grid has far more cells than points."""
    most = max(_FEWEST_CELLS, _CELLS_PER_POINT * n_points)
    return float(shape[0]) * float(shape[1]) * float(shape[2]) > most


@njit(nogil=True, cache=True, error_model="numpy")
def _grid_of_shape(shape, cell, inverse, periodic, origin, extent, cutoff):
    """Return the grid of so many cells over ``extent`` (3,) in fractional coordinates."""
    scale, reach = np.empty(3), np.ones(3, np.int64)
    for k in range(3):
        height = extent[k] / np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2)
        scale[k] = shape[k] / extent[k]
        if periodic[k]:
            reach[k] = int(np.ceil(cutoff * shape[k] / height))
    return CellGrid(cell, inverse, periodic, origin, scale, shape, reach)


@njit(nogil=True, cache=True, error_model="numpy")
def _is_crowded(points, grid):
    """Whether most points lie together in a few cells, so that a search would compare them all."""
    index = _cell_numbers(place_points(points, grid)[1], grid.shape)
    counts = np.zeros(grid.shape[0] * grid.shape[1] * grid.shape[2], np.int64)
    for point in range(index.size):
        counts[index[point]] += 1
    together = 0.0
    for point in range(index.size):
        together += counts[index[point]]
    return together > _CROWDED * index.size


@njit(nogil=True, cache=True, error_model="numpy")
def place_points(points, grid):
    """Return (wrapped points (n, 3), coordinates of their cells (n, 3)); cells may lie outside of the grid in
    directions that are not periodic.
    """
    n_points = points.shape[0]
    wrapped, home = np.empty((n_points, 3)), np.empty((n_points, 3), np.int64)
    for point in range(n_points):
        x, y, z = points[point, 0], points[point, 1], points[point, 2]
        for axis in range(3):
            wrapped[point, axis] = points[point, axis]
        for k in range(3):
            s = x * grid.inverse[0, k] + y * grid.inverse[1, k] + z * grid.inverse[2, k]
            if grid.periodic[k]:
                turns = np.floor(s)
                for axis in range(3):
                    wrapped[point, axis] -= turns * grid.cell[k, axis]
                index = min(int((s - turns) * grid.scale[k]), grid.shape[k] - 1)
            else:
                position = np.floor((s - grid.origin[k]) * grid.scale[k])
                index = int(min(max(position, -2.0), grid.shape[k] + 1.0))
            home[point, k] = index
    return wrapped, home


@njit(nogil=True, cache=True, error_model="numpy")
def _cell_numbers(home, shape):
    """Return the numbers (n,) of the cells ``home`` (n, 3), moving those outside to the edge of the grid."""
    index = np.empty(home.shape[0], np.int64)
    for point in range(home.shape[0]):
        for k in range(3):  # an atom on the upper face, which is at the largest coordinate
            home[point, k] = min(max(home[point, k], 0), shape[k] - 1)
        index[point] = (home[point, 0] * shape[1] + home[point, 1]) * shape[2] + home[point, 2]
    return index


@njit(nogil=True, cache=True, error_model="numpy")
def sort_into_cells(points, grid):
    """Return the list of the atoms at ``points`` (n, 3)."""
    wrapped, found = place_points(points, grid)
    n_points, shape = points.shape[0], grid.shape
    index = _cell_numbers(found, shape)
    if _has_empty_majority(shape, n_points):
        order, first = _ascending(index), np.empty(0, np.int64)
        cells = index[order]
    else:
        order, first = _count_into_cells(index, shape[0] * shape[1] * shape[2])
        cells = np.empty(0, np.int64)
    home = np.empty((n_points, 3), np.int64)
    x, y, z = np.empty(n_points), np.empty(n_points), np.empty(n_points)
    for k in range(n_points):
        point = order[k]
        x[k], y[k], z[k] = wrapped[point, 0], wrapped[point, 1], wrapped[point, 2]
        for axis in range(3):
            home[k, axis] = found[point, axis]
    return CellList(first, cells, order, home, x, y, z)


@njit(nogil=True, cache=True, error_model="numpy")
def _count_into_cells(index, n_cells):
    """Return the order of points by the numbers of their cells, and where each cell begins in it."""
    first = np.zeros(n_cells + 1, np.int64)
    for point in range(index.size):
        first[index[point] + 1] += 1
    for c in range(n_cells):
        first[c + 1] += first[c]
    cursor, order = first[:-1].copy(), np.empty(index.size, np.int64)
    for point in range(index.size):
        order[cursor[index[point]]] = point
        cursor[index[point]] += 1
    return order, first


@njit(nogil=True, cache=True, error_model="numpy")
def _ascending(keys):
    """Return the stable order of ascending keys by merging; NumPy's sorts would take 2 s to compile."""
    order, merged = np.arange(keys.size), np.empty(keys.size, np.int64)
    width = 1
    while width < keys.size:
        for begin in range(0, keys.size, 2 * width):
            middle, end = min(begin + width, keys.size), min(begin + 2 * width, keys.size)
            a, b = begin, middle
            for k in range(begin, end):
                if a < middle and (b >= end or keys[order[a]] <= keys[order[b]]):
                    merged[k] = order[a]
                    a += 1
                else:
                    merged[k] = order[b]
                    b += 1
        order, merged = merged, order
        width *= 2
    return order


@njit(nogil=True, cache=True, error_model="numpy")
def begin_of_cell(cells, cell):
    """Return the first place in the ascending ``cells`` with this cell or one after it."""
    low, high = 0, cells.size
    while low < high:
        middle = (low + high) // 2
        if cells[middle] < cell:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True, error_model="numpy")
def coordinates(atoms):
    """Return the positions of a list of atoms, (n, 3)."""
    points = np.empty((atoms.x.size, 3))
    for k in range(atoms.x.size):
        points[k, 0], points[k, 1], points[k, 2] = atoms.x[k], atoms.y[k], atoms.z[k]
    return points
