"""A band of images of one ion, relaxed in the pair potential of a host that stands still."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def pair_energy(point, positions, coulomb, repulsion, contact, softness, reach, force):
    """Return the energy of the ion at ``point`` and write the force on it.

    Each atom adds c (1/r - 2/R + r/R^2) for r < R, and B exp((r_0 - r) / s).
    """
    energy = 0.0
    force[:] = 0.0
    for j in range(positions.shape[0]):
        x = point[0] - positions[j, 0]
        y = point[1] - positions[j, 1]
        z = point[2] - positions[j, 2]
        squared = x * x + y * y + z * z
        if squared >= reach * reach:
            continue
        r = max(np.sqrt(squared), 0.4)
        energy += coulomb[j] * (1.0 / r - 2.0 / reach + r / (reach * reach))
        slope = coulomb[j] * (1.0 / (reach * reach) - 1.0 / (r * r))
        if r < contact[j] + 8.0 * softness:
            short = repulsion[j] * np.exp(min((contact[j] - r) / softness, 8.0))
            energy += short
            slope -= short / softness
        force[0] -= slope * x / r
        force[1] -= slope * y / r
        force[2] -= slope * z / r
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def relax_band(
    start, positions, coulomb, repulsion, contact, softness, reach, stiffness, n_steps, sideways, at_ends,
    band, energies,
):  # fmt: skip
    """Relax the images ``start`` (n, 3) into ``band``: sideways only, springs along the path.

    No image leaves its start by more than ``sideways`` (the ends: ``at_ends``). An image whose force is below
    0.4 % of the stiffness stays: one on a symmetry axis does not slide off by rounding.
    """
    n = start.shape[0]
    forces, force = np.zeros((n, 3)), np.zeros(3)
    step = 0.06 / stiffness
    band[:] = start
    for iteration in range(n_steps):
        for k in range(n):
            pair_energy(band[k], positions, coulomb, repulsion, contact, softness, reach, force)
            forces[k] = force
        moved = False
        longest = 0.08 * (1.0 - 0.8 * iteration / n_steps)
        previous = band[0].copy()
        for k in range(n):
            here = band[k].copy()
            limit = at_ends
            if 0 < k < n - 1:
                limit = sideways
                _project(forces[k], previous, here, band[k + 1], 3.0 * stiffness)
            size = forces[k, 0] ** 2 + forces[k, 1] ** 2 + forces[k, 2] ** 2
            if size > (0.004 * stiffness) ** 2:
                _move(band[k], start[k], forces[k], step, longest, limit)
                moved = True
            previous = here
        if not moved:
            break
    for k in range(n):
        energies[k] = pair_energy(band[k], positions, coulomb, repulsion, contact, softness, reach, force)


@njit(nogil=True, cache=True, error_model="numpy")
def _project(force, before, here, after, spring):
    """Replace the force along the path by that of springs."""
    ahead, behind, size, along = 0.0, 0.0, 0.0, 0.0
    for axis in range(3):
        tangent = after[axis] - before[axis]
        size += tangent * tangent
        along += force[axis] * tangent
        ahead += (after[axis] - here[axis]) ** 2
        behind += (here[axis] - before[axis]) ** 2
    if size == 0.0:
        return
    wanted = spring * (np.sqrt(ahead) - np.sqrt(behind)) / np.sqrt(size)
    for axis in range(3):
        force[axis] += (wanted - along / size) * (after[axis] - before[axis])


@njit(nogil=True, cache=True, error_model="numpy")
def _move(point, start, force, step, longest, limit):
    """Take a step along the force, no further than ``longest``, and stay within ``limit`` of the start."""
    size = step * np.sqrt(force[0] ** 2 + force[1] ** 2 + force[2] ** 2)
    scale = step if size <= longest else step * longest / size
    away = 0.0
    for axis in range(3):
        point[axis] += scale * force[axis]
        away += (point[axis] - start[axis]) ** 2
    if away > limit * limit:
        back = limit / np.sqrt(away)
        for axis in range(3):
            point[axis] = start[axis] + back * (point[axis] - start[axis])
