"""Gaussian process of the energy along a path, learned from energies and gradients.

E(x) = m + f(x) + w . psi(x), f a stationary process of features phi(x), w ~ N(0, b^2): a general function of
all coordinates plus a sum of pair potentials. The second part learns from one structure what every bond of
the same two elements does, the first corrects it. With q = phi(x) - phi(x') and the kernel a^2 g(|q|^2):

    cov(E, E')      =  a^2 g
    cov(E, dE'/dx') = -2 a^2 g' J'^T q
    cov(dE/dx, dE'/dx') = -2 a^2 g' J^T J' - 4 a^2 g'' (J^T q) (J'^T q)^T
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from castile.barriers.neb_features import PathFeatures
from castile.barriers.neb_kernels import RadialKernel
from castile.errors import FitError
from castile.regression import ExactGP, fit_exact

Float64Array = NDArray[np.float64]

ENERGY_NOISE = 1e-3
"""eV."""
GRADIENT_NOISE = 2e-3
"""eV/A."""
JITTER = 1e-10
"""Of the amplitudes, against rounding."""


@dataclass(frozen=True)
class Hyperparameters:
    """Amplitude (eV) and length scale of the stationary part, standard deviation of the pair weights (eV)."""

    amplitude: float
    length: float
    pair_weight: float


@dataclass(frozen=True)
class HyperparameterPrior:
    """Log-normal priors: medians, and standard deviations of the logarithms."""

    medians: Hyperparameters
    spreads: Hyperparameters

    def penalty(self, logs: Float64Array) -> float:
        """Return minus the logarithm of the density, up to a constant."""
        medians, spreads = _as_array(self.medians), _as_array(self.spreads)
        return 0.5 * float((((logs - np.log(medians)) / spreads) ** 2).sum())


@dataclass(frozen=True)
class PathData:
    """Labelled structures: positions (n_atoms, 3) each, energies (eV), gradients (3 n_free,) each (eV/A)."""

    positions: tuple[Float64Array, ...]
    energies: Float64Array
    gradients: Float64Array


class PathProcess:
    """The process conditioned on data.

    Parameters
    ----------
    features : PathFeatures
        phi of the stationary part.
    kernel : RadialKernel
    pairs : PathFeatures or None
        psi of the additive part.
    data : PathData
    prior : HyperparameterPrior
    start : Hyperparameters
        Where the search for the largest posterior density begins.
    evaluations : int
        Of the marginal likelihood; 0 takes ``start`` as it is.

    Raises
    ------
    FitError
        When the labels are not finite.
    """

    def __init__(
        self,
        features: PathFeatures,
        kernel: RadialKernel,
        pairs: PathFeatures | None,
        data: PathData,
        prior: HyperparameterPrior,
        start: Hyperparameters,
        evaluations: int,
    ) -> None:
        self.features, self.kernel, self.pairs = features, kernel, pairs
        self.n_data, self.n_gradients = data.gradients.shape
        self.mean = float(data.energies.max())
        self._targets = np.concatenate([data.energies - self.mean, data.gradients.ravel()])
        gradients = np.full(data.gradients.size, GRADIENT_NOISE**2)
        self._noise = np.concatenate([np.full(self.n_data, ENERGY_NOISE**2), gradients])
        self._collect(data)
        self.hyperparameters = self._search(prior, start, evaluations)
        self._posterior = self._condition(self.hyperparameters)
        self._contract()

    def _collect(self, data: PathData) -> None:
        """Products of features and Jacobians that all hyper-parameters share."""
        points = [self.features.point(place) for place in data.positions]
        n, m = self.n_data, self.n_gradients
        self._phi = np.array([point.values for point in points])
        self._jacobians = [point.jacobian for point in points]
        stacked = sparse.vstack([jacobian.T for jacobian in self._jacobians]).tocsr()
        self._products = (stacked @ stacked.T).toarray().reshape(n, m, n, m)
        own = np.array([j.T @ phi for j, phi in zip(self._jacobians, self._phi, strict=True)])
        # (a, b, m): J_a^T (phi_a - phi_b)
        self._along = own[:, None] - (stacked @ self._phi.T).reshape(n, m, n).transpose(0, 2, 1)
        squares = (self._phi**2).sum(axis=1)
        self._squared = np.maximum(squares[:, None] + squares - 2.0 * self._phi @ self._phi.T, 0.0)
        self._psi = self._pair_kernel = None
        if self.pairs is not None:
            sums = [self.pairs.point(place) for place in data.positions]
            self._psi_origin = sums[0].values
            values = np.array([point.values - self._psi_origin for point in sums])
            slopes = [point.jacobian.T.toarray() for point in sums]
            self._psi = np.vstack([values, *slopes])
            self._pair_kernel = self._psi @ self._psi.T

    def _covariance(self, length: float) -> Float64Array:
        """Covariance of all labels for unit amplitude, without the additive part and noise."""
        n, m = self.n_data, self.n_gradients
        g, g1, g2 = self.kernel(self._squared, length)
        total = np.empty((n * (m + 1), n * (m + 1)))
        total[:n, :n] = g
        cross = 2.0 * g1[:, :, None] * self._along.transpose(1, 0, 2)
        total[:n, n:] = cross.reshape(n, n * m)
        total[n:, :n] = total[:n, n:].T
        block = total[n:, n:].reshape(n, m, n, m)
        left = 4.0 * g2[:, :, None] * self._along
        np.einsum("abi,baj->aibj", left, self._along, out=block)
        block -= 2.0 * g1[:, None, :, None] * self._products
        return total

    def _condition(self, chosen: Hyperparameters, unit: Float64Array | None = None) -> ExactGP:
        total = (self._covariance(chosen.length) if unit is None else unit) * chosen.amplitude**2
        if self._pair_kernel is not None:
            total += chosen.pair_weight**2 * self._pair_kernel
        jitter = JITTER * (chosen.amplitude**2 + chosen.pair_weight**2)
        return fit_exact(total, self._targets, self._noise + jitter)

    def _search(
        self, prior: HyperparameterPrior, start: Hyperparameters, evaluations: int
    ) -> Hyperparameters:
        """Largest marginal likelihood times prior density, by Nelder and Mead's simplex."""
        if not evaluations:
            return start
        size = 2 if self.pairs is None else 3
        fixed = np.log(_as_array(start))
        seen: dict[float, Float64Array] = {}

        def loss(logs: Float64Array) -> float:
            """Minus the logarithm of the posterior density."""
            full = np.concatenate([logs, fixed[size:]])
            chosen = Hyperparameters(*np.exp(full))
            if chosen.length not in seen:
                seen.clear()
                seen[chosen.length] = self._covariance(chosen.length)
            try:
                evidence = self._condition(chosen, seen[chosen.length]).log_evidence
            except FitError:
                return 1e12
            return prior.penalty(full) - evidence

        simplex = np.vstack([fixed[:size], fixed[:size] + 0.4 * np.eye(size)])
        options = {"maxfev": evaluations, "xatol": 0.02, "fatol": 0.05, "initial_simplex": simplex}
        found = minimize(loss, fixed[:size], method="Nelder-Mead", options=options)
        return Hyperparameters(*(float(v) for v in np.exp(np.concatenate([found.x, fixed[size:]]))))

    def _contract(self) -> None:
        """Sums over the rows of the training set that every prediction needs."""
        n, m, chosen = self.n_data, self.n_gradients, self.hyperparameters
        weights = self._posterior.weights
        self._energy_weights = weights[:n] * chosen.amplitude**2
        slopes = weights[n:].reshape(n, m) * chosen.amplitude**2
        self._slope_weights = np.array([j @ w for j, w in zip(self._jacobians, slopes, strict=True)])
        if self._psi is not None:
            self._pair_weights = self._psi.T @ weights * chosen.pair_weight**2

    def predict(self, positions: Float64Array) -> tuple[float, Float64Array]:
        """Return energy (eV) and gradient (3 n_free,) in eV/A of positions (n_atoms, 3)."""
        q = self.features.values(positions) - self._phi
        g, g1, g2 = self.kernel((q * q).sum(axis=1), self.hyperparameters.length)
        along = (q * self._slope_weights).sum(axis=1)
        energy = self.mean + self._energy_weights @ g - 2.0 * g1 @ along
        slopes = (2.0 * g1 * self._energy_weights - 4.0 * g2 * along) @ q - 2.0 * g1 @ self._slope_weights
        gradient = self.features.pull(positions, slopes)
        if self.pairs is not None:
            energy += (self.pairs.values(positions) - self._psi_origin) @ self._pair_weights
            gradient = gradient + self.pairs.pull(positions, self._pair_weights)
        return float(energy), gradient

    def deviations(self, positions: Float64Array, directions: Float64Array) -> Float64Array:
        """Return deviations of the energy (eV) and of slopes along directions (eV/A), (1 + n_directions,).

        Parameters
        ----------
        positions : ndarray, shape (n_atoms, 3)
        directions : ndarray, shape (n_directions, 3 n_free)
            Unit vectors; none is cheaper by far.
        """
        q = self.features.values(positions) - self._phi
        g, g1, g2 = self.kernel((q * q).sum(axis=1), self.hyperparameters.length)
        _, zero, _ = self.kernel(np.zeros(1), self.hyperparameters.length)
        moves = np.empty((0, q.shape[1]))  # the directions in the space of features
        if len(directions):
            moves = np.asarray(self.features.point(positions).jacobian @ directions.T).T
        rows = [(g, -2.0 * g1[:, None] * q)]
        priors = [1.0]
        for move in moves:
            along = q @ move
            rows.append((2.0 * g1 * along, -2.0 * g1[:, None] * move - 4.0 * (g2 * along)[:, None] * q))
            priors.append(-2.0 * float(zero[0]) * float(move @ move))
        covariances = np.array([self._row(energies, slopes) for energies, slopes in rows])
        square = self.hyperparameters.amplitude**2
        covariances, variances = square * covariances, square * np.array(priors)
        if self.pairs is not None and self._psi is not None:
            psi = (self.pairs.values(positions) - self._psi_origin)[None]
            if len(directions):
                psi = np.vstack([psi, (self.pairs.point(positions).jacobian @ directions.T).T])
            square = self.hyperparameters.pair_weight**2
            covariances += square * psi @ self._psi.T
            variances += square * (psi**2).sum(axis=1)
        half = solve_triangular(self._posterior.lower, covariances.T, lower=True)
        return np.sqrt(np.maximum(variances - (half**2).sum(axis=0), 0.0))

    def _row(self, energies: Float64Array, slopes: Float64Array) -> Float64Array:
        """Covariances with all labels, from those with energies (n,) and dk/dphi of the data (n, ...)."""
        gradients = [j.T @ slope for j, slope in zip(self._jacobians, slopes, strict=True)]
        return np.concatenate([energies, *gradients])


def choose_evaluations(n_rows: int) -> int:
    """Return how often the marginal likelihood of so many labels may be computed in some seconds."""
    return int(np.clip(4e10 / max(n_rows, 1) ** 3, 6, 45))


def _as_array(values: Hyperparameters) -> Float64Array:
    return np.array([values.amplitude, values.length, values.pair_weight])


def path_data(
    positions: Sequence[Float64Array], energies: Sequence[float], gradients: Sequence[Float64Array]
) -> PathData:
    """Return data from lists."""
    return PathData(tuple(positions), np.array(energies, dtype=np.float64), np.array(gradients))
