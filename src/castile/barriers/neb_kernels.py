"""Stationary kernels of the squared distance, with the derivatives that rows of gradients need."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
RadialKernel = Callable[[Float64Array, float], tuple[Float64Array, Float64Array, Float64Array]]


def squared_exponential(s: Float64Array, length: float) -> tuple[Float64Array, Float64Array, Float64Array]:
    """g(s) = exp(-s / (2 l^2)) of the squared distance s, with dg/ds and d2g/ds2.

    Parameters
    ----------
    s : ndarray
        Squared distances.
    length : float
        Length scale l.
    """
    g = np.exp(-s / (2.0 * length**2))
    return g, -g / (2.0 * length**2), g / (4.0 * length**4)


def matern52(s: Float64Array, length: float) -> tuple[Float64Array, Float64Array, Float64Array]:
    """g(s) = (1 + a + a^2/3) exp(-a), a = sqrt(5 s) / l, with dg/ds and d2g/ds2; finite at s = 0.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), Eq. 4.17.
    """
    a = np.sqrt(5.0 * s) / length
    decay = np.exp(-a)
    first = -5.0 / (6.0 * length**2) * (1.0 + a) * decay
    return (1.0 + a + a * a / 3.0) * decay, first, 25.0 / (12.0 * length**4) * decay


KERNELS: dict[str, RadialKernel] = {"squared_exponential": squared_exponential, "matern52": matern52}
