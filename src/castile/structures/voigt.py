"""Stress in the order xx yy zz yz xz xy (eV/A^3, positive under tension) from the shapes that files use."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError

LARGEST_ASYMMETRY = 0.2
"""Antisymmetric part, relative to the largest element, beyond which a tensor is no stress."""


def symmetric_tensor_to_voigt(value: ArrayLike, what: str) -> NDArray[np.float64]:
    """Six components xx yy zz yz xz xy of a symmetric tensor.

    s_v = (t_ab + t_ba) / 2

    Args:
        value: (6,) in Voigt order, (9,) or (3, 3); a full tensor is symmetrized.
        what: the structure and key, for the message.

    Raises:
        InputError: the value is not numeric, has another shape, or is far from symmetric.

    """
    try:
        tensor = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: {value!r} is not a numeric tensor; give 6 or 9 numbers") from error
    if tensor.shape == (6,):
        return tensor.copy()
    if tensor.shape in ((9,), (3, 3)):
        full = tensor.reshape(3, 3)
        half = 0.5 * (full + full.T)
        gap = np.abs(full - half)
        if np.isfinite(full).all() and gap.max() > LARGEST_ASYMMETRY * np.abs(half).max():
            a, b = (int(k) for k in np.unravel_index(int(gap.argmax()), gap.shape))
            raise InputError(
                f"{what}: is not symmetric, its elements {'xyz'[a]}{'xyz'[b]} and {'xyz'[b]}{'xyz'[a]} are "
                f"{full[a, b]:.6g} and {full[b, a]:.6g}; check the file, or name another key"
            )
        return half[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    raise InputError(f"{what}: shape {tensor.shape} is not a tensor; give 6 (Voigt), 9 or 3x3 numbers")


def virial_to_stress(virial: ArrayLike, volume: float, what: str) -> NDArray[np.float64]:
    """Stress of a virial: positive virial (compressed cell) is negative stress.

    sigma = -W / V

    Args:
        virial: eV, (6,), (9,) or (3, 3).
        volume: A^3, positive.
        what: the structure and key, for the message.

    Raises:
        InputError: wrong shape.

    """
    return -symmetric_tensor_to_voigt(virial, what) / volume
