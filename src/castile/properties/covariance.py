"""Kernels between rows of features, each with one parameter that the evidence decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from castile.properties.descriptor import Float64Array, Scaling

KernelName = Literal["rbf", "matern", "dot"]
KERNELS: tuple[KernelName, ...] = ("rbf", "matern", "dot")
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scaler:
    """Shift and scale of the features: (x - shift) / scale; unit rows for the dot product.

    Attributes
    ----------
    shift, scale : ndarray, shape (n_features,)
        So scaled, two rows of the training set are at a mean squared distance of 2.
    unit : bool
        Rows are divided by their norm first.
    """

    shift: Float64Array
    scale: Float64Array
    unit: bool

    @classmethod
    def learn(cls, rows: Float64Array, scaling: Scaling, unit: bool) -> Scaler:
        """Return the scaler of training rows (n, n_features)."""
        n_features = rows.shape[1]
        if unit:
            return cls(np.zeros(n_features), np.ones(n_features), unit=True)
        variances = rows.var(axis=0)
        varies = variances > 1e-20 * max(float(variances.max(initial=0.0)), 1e-300)
        if scaling == "each":
            scale = np.sqrt(np.where(varies, variances, np.inf) * max(int(varies.sum()), 1))
        else:
            total = float(variances.sum())
            scale = np.full(n_features, np.sqrt(total) if total > 0 else 1.0)
        return cls(rows.mean(axis=0), scale, unit=False)

    def __call__(self, rows: Float64Array) -> Float64Array:
        """Return the scaled rows."""
        if self.unit:
            return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _SMALLEST)
        return (rows - self.shift) / self.scale


def proximity(kernel: KernelName, X: Float64Array, Z: Float64Array) -> Float64Array:
    """Return what the kernel is a function of: squared distances, or dot products, (n_x, n_z)."""
    products = X @ Z.T
    if kernel == "dot":
        return np.clip(products, _SMALLEST, None)
    squared = np.einsum("if,if->i", X, X)[:, None] + np.einsum("if,if->i", Z, Z)[None]
    return np.maximum(squared - 2.0 * products, 0.0)


def covariance(kernel: KernelName, theta: float, near: Float64Array) -> Float64Array:
    r"""Return the kernel for given proximities.

    .. math:: k_\text{rbf} = e^{-d^2 / 2 l^2}, \qquad
              k_\text{matern} = (1 + \sqrt5 r + 5 r^2 / 3) e^{-\sqrt5 r},\ r = d / l, \qquad
              k_\text{dot} = (p \cdot q)^\zeta

    The exponent is a whole number wherever it is learned: other powers need not be positive definite.

    Parameters
    ----------
    kernel : str
    theta : float
        Logarithm of the length l, or of the exponent zeta.
    near : ndarray
        From :func:`proximity`.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), Eqs. 4.9 and 4.17.
    """
    if kernel == "dot":
        return np.asarray(near ** np.exp(theta))
    scaled = near * np.exp(-2.0 * theta)
    if kernel == "rbf":
        return np.exp(-0.5 * scaled)
    r = np.sqrt(5.0 * scaled)
    return np.asarray((1.0 + r + r * r / 3.0) * np.exp(-r))


def covariance_slope(kernel: KernelName, theta: float, near: Float64Array, k: Float64Array) -> Float64Array:
    """Return dk/dtheta, where k is the kernel for the same arguments."""
    if kernel == "dot":
        return np.asarray(np.exp(theta) * k * np.log(near))
    scaled = near * np.exp(-2.0 * theta)
    if kernel == "rbf":
        return scaled * k
    r = np.sqrt(5.0 * scaled)
    return np.asarray(r * r * (1.0 + r) * np.exp(-r) / 3.0)


def theta_prior(kernel: KernelName) -> tuple[float, float, tuple[float, float]]:
    """Return mean, standard deviation and bounds of the normal prior of theta."""
    if kernel == "dot":
        return float(np.log(4.0)), 2.0, (0.0, float(np.log(3000.0)))
    return 0.0, 1.0, (-4.0, 4.0)
