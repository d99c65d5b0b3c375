"""Order of the components of QUIP's power spectrum and of Castile's."""

import numpy as np
from numpy.typing import NDArray


def quip_positions(n_combined: int, l_max: int) -> NDArray[np.int64]:
    """Return, for each of Castile's components (l, k, k') with k <= k', its index in QUIP's vector.

    QUIP goes over k' and then k <= k', with l fastest; Castile over l, then k, then k'.

    Parameters
    ----------
    n_combined : int
        Number of channels times n_max.
    l_max : int
    """
    k, other = np.triu_indices(n_combined)
    pair = other * (other + 1) // 2 + k
    return (np.arange(l_max + 1)[:, None] + pair * (l_max + 1)).ravel()


def from_quip(points: NDArray[np.float64], n_combined: int, l_max: int) -> NDArray[np.float64]:
    """Return QUIP's vectors (n, d + 1), whose last component is a constant, in Castile's order (n, d)."""
    return np.ascontiguousarray(points[:, quip_positions(n_combined, l_max)])


def to_quip(points: NDArray[np.float64], n_combined: int, l_max: int, sigma0: float) -> NDArray[np.float64]:
    """Return Castile's vectors (n, d) in QUIP's order with the constant component behind them (n, d + 1)."""
    result = np.full((len(points), points.shape[1] + 1), sigma0)
    result[:, quip_positions(n_combined, l_max)] = points
    return result
