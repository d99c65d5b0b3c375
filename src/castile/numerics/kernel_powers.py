"""Element-wise work on the dot products of the kernel k = (p . s)^zeta, and its scatter into training
rows.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def raise_dots(dots, zeta, powers):
    """Write powers = dots ** (zeta - 1), by repeated multiplication for whole zeta.

    Products of power spectra are negative by rounding only; where zeta is not whole, such count as zero.
    """
    n_rows, n_columns = dots.shape
    whole = int(zeta)
    repeats = whole - 1 if whole == zeta else -1
    exponent = zeta - 1.0
    for row in range(n_rows):
        dot, power = dots[row], powers[row]
        if repeats >= 0:
            for s in range(n_columns):
                power[s] = 1.0
            for _ in range(repeats):
                for s in range(n_columns):
                    power[s] *= dot[s]
        else:
            for s in range(n_columns):
                power[s] = max(dot[s], 0.0) ** exponent if dot[s] > 0.0 or exponent == 0.0 else 0.0


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def weigh_powers(dots, powers, weights, zeta, energies):
    """Write energies = sum_s w_s dots^zeta and overwrite ``powers`` by dE/d(dots) = zeta w_s dots^(zeta -
    1).
    """
    n_rows, n_columns = dots.shape
    for row in range(n_rows):
        dot, power = dots[row], powers[row]
        energy = 0.0
        for s in range(n_columns):
            slope = weights[s] * power[s]
            energy += slope * dot[s]
            power[s] = zeta * slope
        energies[row] = energy


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def scatter_kernel_rows(
    products, along, dots, factors, pair_center, center_atom, neighbor, vectors, force_rows, virial_rows
):
    """Add dk(p_i, s)/dr_ij of a block of pairs to the force rows and the virial rows of their structure.

    dk/dr_ij = factor_is (dp/dr_ij . s - dots_is (dp/dr_ij . p_i)): ``products`` (3 n_pairs, M) and ``along``
    (3 n_pairs) hold the two products with the unnormalized dp, factor = zeta dots^(zeta - 1) / norm.
    ``force_rows`` (3 n_atoms, M)
    receives the derivative of the forces -dE/dr, ``virial_rows`` (6, M) sum r_a dk/dr_b in Voigt order
    (symmetrized). Either may have no rows where the structure has no such labels.
    """
    n_columns = dots.shape[1]
    with_forces = force_rows.shape[0] > 0
    change = np.empty((3, n_columns))
    for pair in range(pair_center.size):
        center = pair_center[pair]
        factor, dot = factors[center], dots[center]
        source, target = 3 * center_atom[center], 3 * neighbor[pair]
        x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
        for axis in range(3):
            product, q = products[3 * pair + axis], along[3 * pair + axis]
            line = change[axis]
            for s in range(n_columns):
                line[s] = factor[s] * (product[s] - q * dot[s])
            if with_forces:
                own, other = force_rows[source + axis], force_rows[target + axis]
                for s in range(n_columns):
                    own[s] += line[s]
                    other[s] -= line[s]
        if virial_rows.shape[0] == 6:
            for s in range(n_columns):
                g_x, g_y, g_z = change[0, s], change[1, s], change[2, s]
                virial_rows[0, s] += x * g_x
                virial_rows[1, s] += y * g_y
                virial_rows[2, s] += z * g_z
                virial_rows[3, s] += 0.5 * (y * g_z + z * g_y)
                virial_rows[4, s] += 0.5 * (x * g_z + z * g_x)
                virial_rows[5, s] += 0.5 * (x * g_y + y * g_x)
