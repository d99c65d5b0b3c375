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
def spread_pair_gradients(center, neighbor, vectors, gradient, on_centers, on_atoms, strain):
    """Add dE/dr_ij of pairs to the gradients of centres and atoms, and r_a dE/dr_b to that of the strain."""
    for pair in range(center.size):
        for axis in range(3):
            g = gradient[pair, axis]
            on_centers[center[pair], axis] -= g
            on_atoms[neighbor[pair], axis] += g
            for other in range(3):
                strain[other, axis] += vectors[pair, other] * g
