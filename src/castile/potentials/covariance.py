"""Kernels of a few scalar features, or of a long vector of them, as QUIP's descriptors use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError

_FEW = 8

Array = NDArray[np.float64]

SQUARED_EXPONENTIAL, PIECEWISE_POLYNOMIAL, DOT_PRODUCT = "ard_se", "pp", "dot_product"


@dataclass(frozen=True)
class ScalarKernel:
    r"""Kernel of features x (d,) with one length scale each.

    .. math::

        k(x, y) = \delta^2 K(\rho) + f_0^2, \quad \rho^2 = \sum_i (x_i - y_i)^2 / \theta_i^2

    with :math:`K = e^{-\rho^2 / 2}` (``ard_se``) or :math:`K = (1-\rho)^{j+1} [(j+1)\rho + 1]` for
    :math:`\rho < 1`, :math:`j = \lfloor d/2 \rfloor + 2` (``pp``); or

    .. math:: k(x, y) = \delta^2 (x \cdot y)^\zeta

    (``dot_product``; a negative product counts as zero where zeta is not whole).

    Parameters
    ----------
    form : "ard_se", "pp" or "dot_product"
    delta, f0 : float
        eV; f0 means nothing for dot_product.
    theta : tuple of float, length d
        In the units of the features; empty for dot_product.
    zeta : float
        Of dot_product.
    """

    form: str
    delta: float
    f0: float
    theta: tuple[float, ...]
    zeta: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in (SQUARED_EXPONENTIAL, PIECEWISE_POLYNOMIAL, DOT_PRODUCT):
            raise InputError(
                f"kernel {self.form!r} of scalar features is not known; use ard_se, pp or dot_product"
            )
        if self.form == DOT_PRODUCT:
            if not self.zeta > 0.0:
                raise InputError(f"zeta = {self.zeta} must be positive")
        elif not self.theta or min(self.theta) <= 0.0:
            raise InputError(f"theta = {self.theta} must be positive")

    @classmethod
    def restore(cls, header: Mapping[str, Any]) -> "ScalarKernel":
        """Return the kernel whose fields are ``header``, as JSON keeps them."""
        zeta = header.get("zeta", 1.0)
        return cls(header["form"], header["delta"], header["f0"], tuple(header["theta"]), zeta)

    @property
    def power(self) -> int:
        """Exponent j + 1 of the piecewise polynomial."""
        return len(self.theta) // 2 + 3

    def values(self, x: Array, points: Array) -> tuple[Array, Array]:
        """Return k (n, n_sparse) and its derivative by x (n, n_sparse), for one feature (d = 1)."""
        if self.form == DOT_PRODUCT:
            energy, slope = self.power_of(x[:, None] * points[None, :])
            return energy, slope * points
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

    def power_of(self, products: Array) -> tuple[Array, Array]:
        """Return delta^2 t^zeta of dot products t, and its derivative."""
        base = products if self.zeta == int(self.zeta) else np.maximum(products, 0.0)
        with np.errstate(divide="ignore"):
            lower = base ** (self.zeta - 1.0)
        lower = np.where(np.isfinite(lower), lower, 0.0)
        return self.delta**2 * lower * base, self.delta**2 * self.zeta * lower

    def weighted(self, x: Array, points: Array, weights: Array) -> tuple[Array, Array]:
        """Return sum_s w_s k(x, x_s) (n,) and its gradient with respect to x (n, d)."""
        if self.form == DOT_PRODUCT:
            values, slopes = self.power_of(x @ points.T)
            return values @ weights, (slopes * weights) @ points
        theta = np.array(self.theta)
        center = points.mean(axis=0) if len(points) else np.zeros_like(theta)
        scaled, nodes = (x - center) / theta, (points - center) / theta
        shape, pull = self._shape(_squared_distances(scaled, nodes))
        pull *= weights
        energy = self.delta**2 * (shape @ weights) + self.f0**2 * weights.sum()
        if len(theta) <= _FEW:
            gradient = np.einsum("ns,nsd->nd", pull, scaled[:, None, :] - nodes[None, :, :])
        else:
            gradient = pull.sum(axis=1)[:, None] * scaled - pull @ nodes
        return energy, self.delta**2 * gradient / theta

    def _shape(self, squared: Array) -> tuple[Array, Array]:
        """Return K and its derivative by half the squared distance."""
        if self.form == SQUARED_EXPONENTIAL:
            shape = np.exp(-0.5 * squared)
            return shape, -shape
        distance = np.minimum(np.sqrt(squared), 1.0)
        p = self.power
        shape = (1.0 - distance) ** p * (p * distance + 1.0)
        return shape, -p * (p + 1) * (1.0 - distance) ** (p - 1)


def _squared_distances(x: Array, y: Array) -> Array:
    """Squared distances of x (n, d) and y (m, d): by differences where d is small, else by products."""
    if x.shape[1] <= _FEW:
        return np.asarray(np.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=2))
    squared = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1)[None, :] - 2.0 * (x @ y.T)
    return np.asarray(np.maximum(squared, 0.0))
