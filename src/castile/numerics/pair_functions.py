"""Pair terms: rows of radial basis functions, and energies and forces from tabulated pair potentials."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def pair_rows(center, neighbor, vectors, values, slopes, energy_row, force_rows, virial_rows):
    """Add the rows of ordered pairs (each bond twice, so half of each) given B_s(r) and B_s'(r), (n_pairs, M)
    each.
    """
    n_columns = values.shape[1]
    with_forces, with_virial = force_rows.shape[0] > 0, virial_rows.shape[0] == 6
    for pair in range(center.size):
        x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
        half = 0.5 / np.sqrt(x * x + y * y + z * z)
        for s in range(n_columns):
            energy_row[s] += 0.5 * values[pair, s]
        if with_forces:
            own, other = 3 * center[pair], 3 * neighbor[pair]
            for axis in range(3):
                direction = half * vectors[pair, axis]
                for s in range(n_columns):
                    change = direction * slopes[pair, s]
                    force_rows[own + axis, s] += change
                    force_rows[other + axis, s] -= change
        if with_virial:
            for s in range(n_columns):
                stretch = half * slopes[pair, s]
                virial_rows[0, s] += stretch * x * x
                virial_rows[1, s] += stretch * y * y
                virial_rows[2, s] += stretch * z * z
                virial_rows[3, s] += stretch * y * z
                virial_rows[4, s] += stretch * x * z
                virial_rows[5, s] += stretch * x * y


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _locate(vector, start, step, n_intervals):
    """Return the length of a vector, its interval in a table, and where it is there (0 to 1 inside)."""
    x, y, z = vector[0], vector[1], vector[2]
    distance = np.sqrt(x * x + y * y + z * z)
    scaled = (distance - start) / step
    interval = min(max(int(scaled), 0), n_intervals - 1)
    return distance, interval, scaled - interval


@njit(nogil=True, cache=True, error_model="numpy")
def tabulated_pair_response(
    center, neighbor, vectors, kinds, table, start, step, cutoff, energies, forces, virial
):
    """Add half of V(r) to the centre of each ordered pair, with forces and virial; ``table[kind, interval,
    power]``.

    ``kinds[pair]`` is negative for pairs without a potential; below ``start`` the first polynomial goes on.
    """
    n_intervals, n_powers = table.shape[1], table.shape[2]
    for pair in range(center.size):
        kind = kinds[pair]
        if kind < 0:
            continue
        distance, interval, t = _locate(vectors[pair], start, step, n_intervals)
        if distance >= cutoff:
            continue
        value = table[kind, interval, n_powers - 1]
        slope = 0.0
        for power in range(n_powers - 2, -1, -1):
            slope = slope * t + value
            value = value * t + table[kind, interval, power]
        energies[center[pair]] += 0.5 * value
        pull = 0.5 * slope / (step * distance)
        for axis in range(3):
            change = pull * vectors[pair, axis]
            forces[center[pair], axis] += change
            forces[neighbor[pair], axis] -= change
            for other in range(3):
                virial[other, axis] += vectors[pair, other] * change


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def tabulated_pair_forces(center, neighbor, vectors, kinds, tables, start, step, cutoff, forces, virials):
    """Add forces (n_atoms, 3, n_models) and virials (3, 3, n_models) of several models as
    :func:`tabulated_pair_response` does for one; ``tables[kind, interval, power, model]``.
    """
    n_intervals, n_powers, n_models = tables.shape[1], tables.shape[2], tables.shape[3]
    pulls = np.empty(n_models)
    for pair in range(center.size):
        kind = kinds[pair]
        if kind < 0:
            continue
        distance, interval, t = _locate(vectors[pair], start, step, n_intervals)
        if distance >= cutoff:
            continue
        pulls[:] = 0.0
        for power in range(n_powers - 1, 0, -1):
            for model in range(n_models):
                pulls[model] = pulls[model] * t + power * tables[kind, interval, power, model]
        factor = 0.5 / (step * distance)
        for axis in range(3):
            along = factor * vectors[pair, axis]
            for model in range(n_models):
                change = along * pulls[model]
                forces[center[pair], axis, model] += change
                forces[neighbor[pair], axis, model] -= change
                for other in range(3):
                    virials[other, axis, model] += vectors[pair, other] * change
