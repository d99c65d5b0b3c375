"""Element-wise work on the dot products of the kernel k = (p . s)^zeta."""

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
