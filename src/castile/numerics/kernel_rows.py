"""Training rows of the kernel k = (p . s)^zeta: derivatives with respect to positions and strain, summed over
pairs.
"""

import numpy as np
from numba import njit

from castile.numerics.panel_products import PANEL, ROWS, multiply_panels

_PANELS = 4  # whose products are added to the rows together
_FAST = {"contract", "nsz", "arcp", "reassoc"}


def rows_of_pairs(n_pairs):
    """Return the number of rows of dp/dr of ``n_pairs`` pairs, filled up to whole register blocks."""
    return -(-3 * n_pairs // ROWS) * ROWS


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def add_kernel_rows(
    changes,
    spectra,
    normalized,
    panels,
    dots,
    factors,
    pair_center,
    center_atom,
    neighbor,
    vectors,
    force_rows,
    virial_rows,
):
    """Add dk(p_i, s)/dr_ij of a block of pairs to the force rows and the virial rows of their structure.

    dk/dr_ij = factor_is (dp/dr_ij . s - dots_is (dp/dr_ij . p_i)), the second part only for ``normalized``
    spectra, with the unnormalized dp in ``changes`` (rows_of_pairs(n_pairs), n_features), the p_i in
    ``spectra`` (n_centers, n_features), the sparse points in ``panels`` and factor = zeta dots^(zeta - 1) /
    norm (n_centers, M).
    ``force_rows`` (3 n_atoms, M) receives the derivative of the forces -dE/dr, ``virial_rows`` (6, M) sum r_a
    dk/dr_b in Voigt order (symmetrized). Either may have no rows where the structure has no such labels.
    """
    n_rows, width = changes.shape
    n_columns, n_pairs = dots.shape[1], pair_center.size
    along = np.zeros(3 * n_pairs)
    if normalized:
        for row in range(3 * n_pairs):
            change, spectrum, total = changes[row], spectra[pair_center[row // 3]], 0.0
            for f in range(width):
                total += change[f] * spectrum[f]
            along[row] = total
    at_once = _PANELS * PANEL
    products = np.empty(n_rows * at_once)
    n_panels = (n_columns + PANEL - 1) // PANEL
    for panel in range(0, n_panels, _PANELS):
        last = min(panel + _PANELS, n_panels)
        multiply_panels(
            changes.reshape(n_rows * width), n_rows, width, panels, panel, last, products, at_once
        )
        begin, end = panel * PANEL, min(last * PANEL, n_columns)
        _scatter(
            products, at_once, along, dots, factors, begin, end, pair_center, center_atom, neighbor, vectors,
            force_rows, virial_rows,
        )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _scatter(
    products, stride, along, dots, factors, begin, end, pair_center, center_atom, neighbor, vectors,
    force_rows, virial_rows,
):  # fmt: skip
    """Add the derivatives by the sparse points begin:end, whose products with dp are in ``products``."""
    count = end - begin
    changes = np.empty((3, count))
    for pair in range(pair_center.size):
        center = pair_center[pair]
        factor, dot = factors[center, begin:end], dots[center, begin:end]
        source, target = 3 * center_atom[center], 3 * neighbor[pair]
        for axis in range(3):
            row = 3 * pair + axis
            product, q = products[row * stride : row * stride + count], along[row]
            change = changes[axis]
            for s in range(count):
                change[s] = factor[s] * (product[s] - q * dot[s])
            if force_rows.shape[0] > 0:
                own, other = force_rows[source + axis, begin:end], force_rows[target + axis, begin:end]
                for s in range(count):
                    own[s] += change[s]
                for s in range(count):
                    other[s] -= change[s]
        if virial_rows.shape[0] == 6:
            x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
            for s in range(count):
                g_x, g_y, g_z = changes[0, s], changes[1, s], changes[2, s]
                virial_rows[0, begin + s] += x * g_x
                virial_rows[1, begin + s] += y * g_y
                virial_rows[2, begin + s] += z * g_z
                virial_rows[3, begin + s] += 0.5 * (y * g_z + z * g_y)
                virial_rows[4, begin + s] += 0.5 * (x * g_z + z * g_x)
                virial_rows[5, begin + s] += 0.5 * (x * g_y + y * g_x)
