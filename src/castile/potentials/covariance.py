"""Stationary kernels of a few scalar features, as QUIP's distance and angle descriptors use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError

Array = NDArray[np.float64]

SQUARED_EXPONENTIAL, PIECEWISE_POLYNOMIAL = "ard_se", "pp"


@dataclass(frozen=True)
class ScalarKernel:
    r"""Kernel of features x (d,) with one length scale each.

    .. math::

        k(x, y) = \delta^2 K(\rho) + f_0^2, \quad \rho^2 = \sum_i (x_i - y_i)^2 / \theta_i^2

    with :math:`K = e^{-\rho^2 / 2}` (``ard_se``) or :math:`K = (1-\rho)^{j+1} [(j+1)\rho + 1]` for
    :math:`\rho < 1`, :math:`j = \lfloor d/2 \rfloor + 2` (``pp``).

    Parameters
    ----------
    form : "ard_se" or "pp"
    delta, f0 : float
        eV.
    theta : tuple of float, length d
        In the units of the features.
    """

    form: str
    delta: float
    f0: float
    theta: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.form not in (SQUARED_EXPONENTIAL, PIECEWISE_POLYNOMIAL):
            raise InputError(f"kernel {self.form!r} of scalar features is not known; use ard_se or pp")
        if not self.theta or min(self.theta) <= 0.0:
            raise InputError(f"theta = {self.theta} must be positive")

    @classmethod
    def restore(cls, header: Mapping[str, Any]) -> "ScalarKernel":
        """Return the kernel whose fields are ``header``, as JSON keeps them."""
        return cls(header["form"], header["delta"], header["f0"], tuple(header["theta"]))

    @property
    def power(self) -> int:
        """Exponent j + 1 of the piecewise polynomial."""
        return len(self.theta) // 2 + 3

    def values(self, x: Array, points: Array) -> tuple[Array, Array]:
        """Return k (n, n_sparse) and its derivative by x (n, n_sparse), for one feature (d = 1)."""
        scaled = (x[:, None] - points[None, :]) / self.theta[0]
        if self.form == SQUARED_EXPONENTIAL:
            shape = np.exp(-0.5 * scaled**2)
            slope = -scaled * shape
        else:
            distance = np.minimum(np.abs(scaled), 1.0)
            p = self.power
            shape = (1.0 - distance) ** p * (p * distance + 1.0)
            slope = -p * (p + 1) * scaled * (1.0 - distance) ** (p - 1)
        variance = self.delta**2
        return variance * shape + self.f0**2, variance * slope / self.theta[0]

    def weighted(self, x: Array, points: Array, weights: Array) -> tuple[Array, Array]:
        """Return sum_s w_s k(x, x_s) (n,) and its gradient with respect to x (n, d)."""
        theta = np.array(self.theta)
        scaled = (x[:, None, :] - points[None, :, :]) / theta
        squared = np.einsum("nsd,nsd->ns", scaled, scaled)
        if self.form == SQUARED_EXPONENTIAL:
            shape = np.exp(-0.5 * squared)
            pull = -shape
        else:
            distance = np.minimum(np.sqrt(squared), 1.0)
            p = self.power
            shape = (1.0 - distance) ** p * (p * distance + 1.0)
            pull = -p * (p + 1) * (1.0 - distance) ** (p - 1)
        energy = self.delta**2 * (shape @ weights) + self.f0**2 * weights.sum()
        gradient = self.delta**2 * np.einsum("ns,nsd->nd", pull * weights, scaled) / theta
        return energy, gradient
