"""Gaussian processes on described structures: exact, and sparse for many structures or sums over atoms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cholesky, lapack, qr, solve_triangular

from castile.errors import FitError
from castile.properties.covariance import KernelName, Scaler, covariance, proximity
from castile.properties.descriptor import Float64Array
from castile.properties.hyperparameters import HyperParameters, profiled, refine_noise
from castile.properties.inputs import Inputs

_JITTER = 1e-9
_BLOCK = 512


@dataclass(frozen=True)
class Basis:
    """Everything that fixes the prior.

    Attributes
    ----------
    kernel : str
    scaler : Scaler
    parameters : HyperParameters
    composition_mean : ndarray, shape (n_elements,)
        Subtracted from the composition.
    composition_scale : float
        Divides it.
    offset, spread : float
        Of the targets: y = offset + spread * (process). ``offset`` is per atom where targets are sums.
    per_atom : bool
        Targets are sums over atoms.
    """

    kernel: KernelName
    scaler: Scaler
    parameters: HyperParameters
    composition_mean: Float64Array
    composition_scale: float
    offset: float
    spread: float
    per_atom: bool

    def linear(self, inputs: Inputs) -> Float64Array:
        """Inputs of the linear part, (n_structures, n_elements + 1): a constant and the composition."""
        ones = np.full((len(inputs), 1), 1.0)
        if self.per_atom:
            return inputs.composition / self.composition_scale
        return np.hstack([ones, (inputs.composition - self.composition_mean) / self.composition_scale])

    def scaled_targets(self, y: Float64Array, inputs: Inputs) -> Float64Array:
        """(y - offset) / spread."""
        return (y - self.offset * self.sizes(inputs)) / self.spread

    def sizes(self, inputs: Inputs) -> Float64Array:
        """What the offset is multiplied by: numbers of atoms for sums, else ones."""
        return inputs.composition.sum(axis=1) if self.per_atom else np.ones(len(inputs))

    def prior_variances(self, inputs: Inputs, scaled: Float64Array) -> Float64Array:
        """Prior variance of each structure without the amplitude, (n_structures,)."""
        linear = self.linear(inputs)
        variances = np.exp(2.0 * self.parameters.linear) * np.einsum("ie,ie->i", linear, linear)
        if inputs.is_global:
            return variances + 1.0
        for k in range(len(inputs)):
            rows = scaled[inputs.first[k] : inputs.first[k + 1]]
            near = proximity(self.kernel, rows, rows)
            variances[k] += covariance(self.kernel, self.parameters.theta, near).sum()
        return variances


class Process(ABC):
    """A process conditioned on its targets."""

    basis: Basis

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of the noise, in the unit of the target."""
        p = self.basis.parameters
        return float(self.basis.spread * p.amplitude * np.exp(p.noise))

    def predict(self, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
        """Mean and variance (without noise) of the latent values, (n_structures,) each, in blocks."""
        means, variances = np.empty(len(inputs)), np.empty(len(inputs))
        for start in range(0, len(inputs), _BLOCK):
            chosen = np.arange(start, min(start + _BLOCK, len(inputs)))
            means[chosen], variances[chosen] = self._predict_block(inputs.take(chosen))
        return means, variances

    def _in_units(
        self, inputs: Inputs, mean: Float64Array, relative: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Mean and variance in the unit of the target; ``relative`` variance is without the amplitude."""
        basis = self.basis
        squared = (basis.spread * basis.parameters.amplitude) ** 2
        return (
            basis.offset * basis.sizes(inputs) + basis.spread * mean,
            np.maximum(relative, 1e-12) * squared,
        )

    @abstractmethod
    def _predict_block(self, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
        """Mean and variance of a few structures."""

    @abstractmethod
    def leave_one_out(self) -> tuple[Float64Array, Float64Array]:
        """Residual y - mean of each training target from all others, and the variance (noise included)."""


@dataclass(frozen=True)
class ExactProcess(Process):
    """Cholesky factor of the covariance of all targets; one row of features per structure.

    Attributes
    ----------
    basis : Basis
    rows : ndarray, shape (n, n_features)
        Scaled features of the training structures.
    linear : ndarray, shape (n, n_linear)
        Their inputs of the linear part.
    lower : ndarray, shape (n, n)
    weights : ndarray, shape (n,)
    """

    basis: Basis
    rows: Float64Array
    linear: Float64Array
    lower: Float64Array
    weights: Float64Array

    def _predict_block(self, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
        basis, p = self.basis, self.basis.parameters
        scaled = basis.scaler(inputs.features)
        cross = covariance(basis.kernel, p.theta, proximity(basis.kernel, scaled, self.rows))
        cross += np.exp(2.0 * p.linear) * (basis.linear(inputs) @ self.linear.T)
        half = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
        relative = basis.prior_variances(inputs, scaled) - np.einsum("ij,ij->j", half, half)
        return self._in_units(inputs, cross @ self.weights, relative)

    def leave_one_out(self) -> tuple[Float64Array, Float64Array]:
        """Residuals and variances, (n,) each.

        Source: Rasmussen and Williams (2006), Eqs. 5.12.
        """
        inverse, _ = lapack.dpotri(self.lower, lower=1)
        diagonal = np.diagonal(inverse)
        squared = (self.basis.spread * self.basis.parameters.amplitude) ** 2
        return self.basis.spread * self.weights / diagonal, squared / diagonal


def condition_exactly(basis: Basis, inputs: Inputs, targets: Float64Array, *, refine: bool) -> ExactProcess:
    """Return the exact process; with ``refine`` noise and amplitude are learned again on all targets.

    Raises
    ------
    FitError
        If the covariance is not positive definite.
    """
    p = basis.parameters
    rows, linear = basis.scaler(inputs.features), basis.linear(inputs)
    K = prior_covariance(basis, rows, linear)
    y = basis.scaled_targets(targets, inputs)
    diagonal = np.diag_indices(len(y))
    bare = K[diagonal].copy()

    def value_at(noise: float) -> float:
        """Negative log evidence with this noise."""
        K[diagonal] = bare + np.exp(2.0 * noise)
        solved = profiled(K, y)
        return 1e10 if solved is None else solved[0]

    noise = refine_noise(value_at, p.noise) if refine else p.noise
    K[diagonal] = bare + np.exp(2.0 * noise)
    solved = profiled(K, y)
    if solved is None:
        raise FitError(
            f"the covariance of {len(y)} targets is not positive definite; remove duplicates with one label"
        )
    _, squared, weights, lower = solved
    amplitude = float(np.sqrt(squared)) if refine else p.amplitude
    fixed = replace(basis, parameters=replace(p, noise=noise, amplitude=amplitude))
    return ExactProcess(fixed, rows, linear, lower, weights)


def prior_covariance(basis: Basis, rows: Float64Array, linear: Float64Array) -> Float64Array:
    """Return the covariance of structures without amplitude and noise, (n, n), from scaled rows."""
    p = basis.parameters
    K = covariance(basis.kernel, p.theta, proximity(basis.kernel, rows, rows))
    K += np.exp(2.0 * p.linear) * (linear @ linear.T)
    return K


@dataclass(frozen=True)
class SparseProcess(Process):
    r"""Process on the span of the kernels of a few rows, with the variance that they leave out.

    .. math:: b(x) = \Bigl[L^{-1} \sum_{i \in x} k(s, x_i),\ r\, c(x)\Bigr], \quad K_{ss} = L L^T, \qquad
              y = b \cdot w + \epsilon, \quad w \sim N(0, a^2)

    Attributes
    ----------
    basis : Basis
    points : ndarray, shape (n_sparse, n_features)
        Scaled rows s.
    lower : ndarray, shape (n_sparse, n_sparse)
        L.
    weights : ndarray, shape (n_columns,)
    values : ndarray, shape (n_columns,)
        Singular values of the design matrix.
    vectors : ndarray, shape (n_columns, n_columns)
        Its right singular vectors, in rows.
    residuals, residual_variances : ndarray, shape (n,)
        Leave-one-out residuals of the training targets and their variances.

    Source: Quinonero-Candela and Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005), Sec. 5 (DTC), with the
    variance of the exact prior.
    """

    basis: Basis
    points: Float64Array
    lower: Float64Array
    weights: Float64Array
    values: Float64Array
    vectors: Float64Array
    residuals: Float64Array
    residual_variances: Float64Array

    def _predict_block(self, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
        scaled = self.basis.scaler(inputs.features)
        rows = design_rows(self.basis, self.points, self.lower, inputs, scaled)
        noise = np.exp(2.0 * self.basis.parameters.noise)
        known = (rows @ self.vectors.T) ** 2
        inside = np.einsum("ij,ij->i", rows, rows)
        shrunk = np.maximum(inside - known.sum(axis=1), 0.0) + known @ (noise / (self.values**2 + noise))
        missing = np.maximum(self.basis.prior_variances(inputs, scaled) - inside, 0.0)
        return self._in_units(inputs, rows @ self.weights, missing + shrunk)

    def leave_one_out(self) -> tuple[Float64Array, Float64Array]:
        """Residuals and variances, (n,) each, with the sparse points kept."""
        return self.residuals, self.residual_variances


def design_rows(
    basis: Basis, points: Float64Array, lower: Float64Array, inputs: Inputs, scaled: Float64Array
) -> Float64Array:
    """Return b(x), (n_structures, n_sparse + n_linear)."""
    near = proximity(basis.kernel, scaled, points)
    k = inputs.sums(covariance(basis.kernel, basis.parameters.theta, near))
    whitened = solve_triangular(lower, k.T, lower=True, check_finite=False).T
    return np.hstack([whitened, np.exp(basis.parameters.linear) * basis.linear(inputs)])


def whitening(basis: Basis, points: Float64Array) -> Float64Array:
    """Return L with L L^T = K_ss + jitter.

    Raises
    ------
    FitError
        If the points coincide so far that no factor exists.
    """
    K = covariance(basis.kernel, basis.parameters.theta, proximity(basis.kernel, points, points))
    for jitter in (_JITTER, 1e3 * _JITTER, 1e5 * _JITTER):
        try:
            return np.asarray(cholesky(K + jitter * np.eye(len(K)), lower=True))
        except np.linalg.LinAlgError:
            continue
    raise FitError(
        f"the kernel of {len(points)} sparse rows has no Cholesky factor; use fewer of them, "
        "or another kernel"
    )


def condition_sparsely(
    basis: Basis, points: Float64Array, inputs: Inputs, targets: Float64Array, *, refine: bool
) -> SparseProcess:
    """Return the sparse process from a blocked QR of the design matrix, noise and amplitude learned on all
    targets with ``refine``.
    """
    lower = whitening(basis, points)
    y = basis.scaled_targets(targets, inputs)
    n_columns = lower.shape[1] + basis.linear(inputs.take(np.arange(1))).shape[1]
    R = np.zeros((0, n_columns + 1))
    for start in range(0, len(inputs), _BLOCK):
        chosen = np.arange(start, min(start + _BLOCK, len(inputs)))
        block = inputs.take(chosen)
        rows = design_rows(basis, points, lower, block, basis.scaler(block.features))
        (R,) = qr(np.vstack([R, np.hstack([rows, y[chosen, None]])]), mode="r", check_finite=False)
        R = R[: n_columns + 1]
    U, values, vectors = np.linalg.svd(R[:, :-1], full_matrices=False)
    z = U.T @ R[:, -1]
    rest = max(float(R[:, -1] @ R[:, -1] - z @ z), 0.0)
    noise = refine_noise(lambda s: sparse_evidence(s, values, z, rest, len(y))[0], basis.parameters.noise)
    if not refine:
        noise = basis.parameters.noise
    squared = sparse_evidence(noise, values, z, rest, len(y))[1]
    amplitude = float(np.sqrt(squared)) if refine else basis.parameters.amplitude
    fixed = replace(basis, parameters=replace(basis.parameters, noise=noise, amplitude=amplitude))
    weights = vectors.T @ (values * z / (values**2 + np.exp(2.0 * noise)))
    process = SparseProcess(fixed, points, lower, weights, values, vectors, np.empty(0), np.empty(0))
    residuals, variances = _left_out(process, inputs, targets)
    return replace(process, residuals=residuals, residual_variances=variances)


def sparse_evidence(
    noise: float, values: Float64Array, z: Float64Array, rest: float, n: int
) -> tuple[float, float]:
    """Negative log evidence (up to a constant) and amplitude squared, from the singular values."""
    variance = np.exp(2.0 * noise)
    total = values**2 + variance
    squared = max((float((z * z / total).sum()) + rest / variance) / n, 1e-300)
    log_determinant = float(np.log(total).sum()) + (n - len(values)) * 2.0 * noise
    return 0.5 * (n * np.log(squared) + log_determinant), squared


def _left_out(
    process: SparseProcess, inputs: Inputs, targets: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Leave-one-out residuals and variances: (y - mean) / (1 - h) with the leverage h."""
    basis = process.basis
    noise = np.exp(2.0 * basis.parameters.noise)
    residuals, variances = np.empty(len(targets)), np.empty(len(targets))
    for start in range(0, len(inputs), _BLOCK):
        chosen = np.arange(start, min(start + _BLOCK, len(inputs)))
        block = inputs.take(chosen)
        scaled = basis.scaler(block.features)
        rows = design_rows(basis, process.points, process.lower, block, scaled)
        leverage = np.minimum((rows @ process.vectors.T) ** 2 @ (1.0 / (process.values**2 + noise)), 0.999)
        missing = np.maximum(basis.prior_variances(block, scaled) - np.einsum("ij,ij->i", rows, rows), 0.0)
        mean, relative = process._in_units(block, rows @ process.weights, noise / (1.0 - leverage) + missing)
        residuals[chosen] = (targets[chosen] - mean) / (1.0 - leverage)
        variances[chosen] = relative
    return residuals, variances
