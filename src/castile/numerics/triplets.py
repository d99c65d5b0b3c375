"""Sums over the triplets of a centre and two of its neighbours."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def _distance(vectors, j, k):
    """Distance of the ends of two vectors."""
    x = vectors[k, 0] - vectors[j, 0]
    y = vectors[k, 1] - vectors[j, 1]
    z = vectors[k, 2] - vectors[j, 2]
    return np.sqrt(x * x + y * y + z * z)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def _add_pulls(gradient, row_j, row_k, vectors, j, k, along_j, along_k, across):
    """Add pulls along the vectors of two neighbours and along the side opposite of the centre."""
    for axis in range(3):
        side = across * (vectors[k, axis] - vectors[j, axis])
        gradient[row_j, axis] += along_j * vectors[j, axis] - side
        gradient[row_k, axis] += along_k * vectors[k, axis] + side


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def triplet_response(
    centers, first, roles, vectors, distances, cut, cut_slope, theta, points, weights, constant, form,
    power, energies, gradient,
):  # fmt: skip
    """Add 2 f_j f_k (sum_s w_s K(x / theta, point_s) + constant) of all unordered pairs j, k of neighbours.

    x = (r_j + r_k, (r_j - r_k)^2, r_jk); ``points`` (3, n_sparse) are divided by theta. Two neighbours make a
    triplet where one's ``roles`` has bit 1 and the other's bit 2. ``energies`` (n_centers,) and ``gradient``
    (n_pairs, 3), dE/dr_ij of the pairs of these centres one after the other, are added to. K is
    exp(-rho^2 / 2) for ``form`` 1, (1 - rho)^p (p rho + 1) with p = ``power`` for 4, and (x . point)^p for 2,
    whose theta is 1.
    """
    offset = 0
    for c in range(centers.size):
        begin, end = first[centers[c]], first[centers[c] + 1]
        shift = offset - begin
        for j in range(begin, end):
            for k in range(j + 1, end):
                if not ((roles[j] & 1 and roles[k] & 2) or (roles[j] & 2 and roles[k] & 1)):
                    continue
                opposite = _distance(vectors, j, k)
                difference = distances[j] - distances[k]
                x0 = (distances[j] + distances[k]) / theta[0]
                x1 = difference * difference / theta[1]
                x2 = opposite / theta[2]
                value, g0, g1, g2 = constant, 0.0, 0.0, 0.0
                for s in range(points.shape[1]):
                    u0, u1, u2 = points[0, s], points[1, s], points[2, s]
                    if form != 2:
                        u0, u1, u2 = x0 - u0, x1 - u1, x2 - u2
                        squared = u0 * u0 + u1 * u1 + u2 * u2
                    if form == 2:
                        product = x0 * u0 + x1 * u1 + x2 * u2
                        if product <= 0.0:
                            continue
                        term = weights[s] * product**power
                        pull = term * power / product
                    elif form == 1:
                        term = weights[s] * np.exp(-0.5 * squared)
                        pull = -term
                    elif squared < 1.0:
                        rho = np.sqrt(squared)
                        base = weights[s] * (1.0 - rho) ** (power - 1)
                        term = base * (1.0 - rho) * (power * rho + 1.0)
                        pull = -base * power * (power + 1)
                    else:
                        continue
                    value += term
                    g0 += pull * u0
                    g1 += pull * u1
                    g2 += pull * u2
                both = 2.0 * cut[j] * cut[k]
                energies[c] += both * value
                g0 = both * g0 / theta[0]
                g1 = 2.0 * difference * both * g1 / theta[1]
                g2 = both * g2 / theta[2] / opposite
                along_j = (g0 + g1 + 2.0 * cut_slope[j] * cut[k] * value) / distances[j]
                along_k = (g0 - g1 + 2.0 * cut[j] * cut_slope[k] * value) / distances[k]
                _add_pulls(gradient, j + shift, k + shift, vectors, j, k, along_j, along_k, g2)
        offset += end - begin
