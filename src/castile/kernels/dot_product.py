"""Powers of the dot product of two descriptors: the kernel of SOAP."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class DotProductKernel:
    r"""Kernel of two environments with descriptors p and q.

    .. math:: k(\mathbf p, \mathbf q) = \max(\mathbf p \cdot \mathbf q, 0)^\zeta

    Between power spectra of unit length it is 1 for equal environments and 0 for those that share nothing;
    a larger zeta tells similar ones apart more sharply. The amplitude delta^2 is not part of it.

    Parameters
    ----------
    zeta : float
        Exponent, whole or not, at least 1: below, the derivative is infinite where the product is 0.

    Raises
    ------
    InputError
        If ``zeta`` is smaller than 1 or no number.

    Source: Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013).
    """

    zeta: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.zeta) and self.zeta >= 1.0):
            raise InputError(f"zeta = {self.zeta!r}: must be a number of at least 1, for example 2")

    def matrix(self, P: ArrayLike, Q: ArrayLike) -> Float64Array:
        """Return max(P Q^T, 0)^zeta, (n_p, n_q).

        Parameters
        ----------
        P : array, shape (n_p, n_features)
        Q : array, shape (n_q, n_features)
        """
        return np.maximum(_dots(P, Q), 0.0) ** self.zeta

    def diagonal(self, P: ArrayLike) -> Float64Array:
        """Return k(p, p) = |p|^(2 zeta) of each row of P, (n_p,)."""
        p = np.asarray(P, dtype=np.float64)
        return np.einsum("if,if->i", p, p) ** self.zeta

    def derivative(self, P: ArrayLike, Q: ArrayLike) -> Float64Array:
        """Return dk/d(p . q) = zeta max(p . q, 0)^(zeta - 1), (n_p, n_q); zero where the product is negative.

        With it dk/dp = (dk/d(p . q)) q.
        """
        dots = _dots(P, Q)
        return np.where(dots < 0.0, 0.0, self.zeta * np.maximum(dots, 0.0) ** (self.zeta - 1.0))


def _dots(P: ArrayLike, Q: ArrayLike) -> Float64Array:
    return np.asarray(P, dtype=np.float64) @ np.asarray(Q, dtype=np.float64).T
