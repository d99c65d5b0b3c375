"""Arrays that users pass to descriptors, checked once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError


def checked_array(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return ``values`` as float64.

    Raises
    ------
    InputError
        If the shape is not the expected one, or a number is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; expected {shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} contains NaN or infinite numbers")
    return array
