"""Sorting of neighbour pairs by centre and species, and sums over pairs."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def sort_pairs(center, neighbor, species, squared_cutoff, vectors, n_centers, n_species):
    """Return (first, order): pairs inside the cutoff, counting-sorted by centre * n_species + species of the
    neighbour.

    Pairs whose neighbour has a negative species are left out.
    """
    n_segments = n_centers * n_species
    first = np.zeros(n_segments + 1, np.int64)
    segment = np.empty(center.size, np.int64)
    for pair in range(center.size):
        segment[pair] = -1
        kind = species[neighbor[pair]]
        if kind < 0:
            continue
        squared = vectors[pair, 0] ** 2 + vectors[pair, 1] ** 2 + vectors[pair, 2] ** 2
        if squared < squared_cutoff:
            segment[pair] = center[pair] * n_species + kind
            first[segment[pair] + 1] += 1
    for s in range(n_segments):
        first[s + 1] += first[s]
    order = np.empty(first[n_segments], np.int64)
    cursor = first[:-1].copy()
    for pair in range(center.size):
        if segment[pair] >= 0:
            order[cursor[segment[pair]]] = pair
            cursor[segment[pair]] += 1
    return first, order


@njit(nogil=True, cache=True)
def count_grouped(first, groups, neighbor, species, squared_cutoff, vectors, n_species, begin, end, counts):
    """Count the pairs of centres begin:end by species of the neighbour, inside the cutoff.

    The pairs of centre k are those of group g = groups[k], first[g] : first[g + 1]; counts:
    (n_centers * n_species,). Pairs whose neighbour has a negative species are left out.
    """
    for k in range(begin, end):
        corner = k * n_species
        counts[corner : corner + n_species] = 0
        for pair in range(first[groups[k]], first[groups[k] + 1]):
            kind = species[neighbor[pair]]
            squared = vectors[pair, 0] ** 2 + vectors[pair, 1] ** 2 + vectors[pair, 2] ** 2
            if kind >= 0 and squared < squared_cutoff:
                counts[corner + kind] += 1


@njit(nogil=True, cache=True)
def write_grouped(
    first, groups, neighbor, species, squared_cutoff, vectors, n_species, begin, end, segments, out
):
    """Write the pairs of centres begin:end, sorted by species; those of centre k and species s go to
    segments[k n_species + s] onwards.

    out: (center, neighbor, species, vectors).
    """
    new_center, new_neighbor, new_species, new_vectors = out
    cursor = np.empty(n_species, np.int64)
    for k in range(begin, end):
        cursor[:] = segments[k * n_species : (k + 1) * n_species]
        for pair in range(first[groups[k]], first[groups[k] + 1]):
            kind = species[neighbor[pair]]
            squared = vectors[pair, 0] ** 2 + vectors[pair, 1] ** 2 + vectors[pair, 2] ** 2
            if kind >= 0 and squared < squared_cutoff:
                place = cursor[kind]
                cursor[kind] += 1
                new_center[place], new_neighbor[place], new_species[place] = k, neighbor[pair], kind
                for axis in range(3):
                    new_vectors[place, axis] = vectors[pair, axis]


@njit(nogil=True, cache=True)
def running_sum(counts):
    """Return 0, counts[0], counts[0] + counts[1], ..."""
    total = np.empty(counts.size + 1, np.int64)
    total[0] = 0
    for k in range(counts.size):
        total[k + 1] = total[k] + counts[k]
    return total


@njit(nogil=True, cache=True)
def sort_grouped(first, groups, neighbor, species, squared_cutoff, vectors, n_species):
    """Return (segments, center, neighbor, species, vectors) of all centres; see :func:`write_grouped`."""
    n_centers = groups.size
    counts = np.empty(n_centers * n_species, np.int64)
    count_grouped(first, groups, neighbor, species, squared_cutoff, vectors, n_species, 0, n_centers, counts)
    segments = running_sum(counts)
    total = segments[-1]
    center, others = np.empty(total, np.int64), np.empty(total, np.int64)
    kinds, kept = np.empty(total, np.int64), np.empty((total, 3))
    out = (center, others, kinds, kept)
    write_grouped(
        first, groups, neighbor, species, squared_cutoff, vectors, n_species, 0, n_centers, segments, out
    )
    return segments, center, others, kinds, kept


@njit(nogil=True, cache=True)
def add_pair_gradients(center, neighbor, vectors, gradient, forces, virial):
    """Add the forces and the virial sum r_a dE/dr_b of pairs, given dE/dr_ij in ``gradient`` (n_pairs, 3)."""
    for pair in range(center.size):
        for axis in range(3):
            g = gradient[pair, axis]
            forces[center[pair], axis] += g
            forces[neighbor[pair], axis] -= g
            for other in range(3):
                virial[other, axis] += vectors[pair, other] * g


@njit(nogil=True, cache=True)
def add_center_gradients(atoms, first, step, begin, end, neighbor, vectors, gradient, forces, virial):
    """The same for the pairs of centres begin:end, sorted by centre: atoms[k] is the atom of centre k,
    first[step k] its first pair; ``gradient`` begins with that of centre ``begin``.
    """
    origin = first[step * begin]
    v_xx, v_xy, v_xz, v_yx, v_yy, v_yz, v_zx, v_zy, v_zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for center in range(begin, end):
        f_x, f_y, f_z = 0.0, 0.0, 0.0
        for pair in range(first[step * center], first[step * (center + 1)]):
            g_x, g_y, g_z = gradient[pair - origin, 0], gradient[pair - origin, 1], gradient[pair - origin, 2]
            x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
            other = neighbor[pair]
            forces[other, 0] -= g_x
            forces[other, 1] -= g_y
            forces[other, 2] -= g_z
            f_x, f_y, f_z = f_x + g_x, f_y + g_y, f_z + g_z
            v_xx, v_xy, v_xz = v_xx + x * g_x, v_xy + x * g_y, v_xz + x * g_z
            v_yx, v_yy, v_yz = v_yx + y * g_x, v_yy + y * g_y, v_yz + y * g_z
            v_zx, v_zy, v_zz = v_zx + z * g_x, v_zy + z * g_y, v_zz + z * g_z
        forces[atoms[center], 0] += f_x
        forces[atoms[center], 1] += f_y
        forces[atoms[center], 2] += f_z
    virial[0, 0] += v_xx
    virial[0, 1] += v_xy
    virial[0, 2] += v_xz
    virial[1, 0] += v_yx
    virial[1, 1] += v_yy
    virial[1, 2] += v_yz
    virial[2, 0] += v_zx
    virial[2, 1] += v_zy
    virial[2, 2] += v_zz


@njit(nogil=True, cache=True)
def sum_over_centers(first, n_species, vectors, gradient, on_centers, strain):
    """Add dE/dr_ij of pairs, sorted by centre and species, to the gradients of the centres (-dE/dr_ij) and
    r_a dE/dr_b to that of the strain.
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for center in range(on_centers.shape[0]):
        g_x, g_y, g_z = 0.0, 0.0, 0.0
        for pair in range(first[center * n_species], first[(center + 1) * n_species]):
            a, b, c = gradient[pair, 0], gradient[pair, 1], gradient[pair, 2]
            x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
            g_x, g_y, g_z = g_x + a, g_y + b, g_z + c
            xx, xy, xz = xx + x * a, xy + x * b, xz + x * c
            yx, yy, yz = yx + y * a, yy + y * b, yz + y * c
            zx, zy, zz = zx + z * a, zy + z * b, zz + z * c
        on_centers[center, 0] -= g_x
        on_centers[center, 1] -= g_y
        on_centers[center, 2] -= g_z
    for row, values in enumerate(((xx, xy, xz), (yx, yy, yz), (zx, zy, zz))):
        for column in range(3):
            strain[row, column] += values[column]


@njit(nogil=True, cache=True)
def add_to_atoms(neighbor, gradient, on_atoms):
    """Add dE/dr_ij of pairs to the gradients of the neighbours."""
    for pair in range(neighbor.size):
        for axis in range(3):
            on_atoms[neighbor[pair], axis] += gradient[pair, axis]
