"""From described structures and targets to a process: kernel and hyper-parameters by evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import qr
from scipy.optimize import minimize

from castile.errors import FitError, InputError
from castile.properties.covariance import KERNELS, KernelName, Scaler, proximity, theta_prior
from castile.properties.descriptor import Float64Array, Scaling
from castile.properties.hyperparameters import (
    LINEAR_PRIOR,
    NOISE_BOUNDS,
    NOISE_PRIOR,
    HyperParameters,
    learn_hyperparameters,
    whole_power,
)
from castile.properties.inputs import IndexArray, Inputs
from castile.properties.process import (
    Basis,
    Process,
    condition_exactly,
    condition_sparsely,
    design_rows,
    sparse_evidence,
    whitening,
)
from castile.selection.farthest import farthest_points

Solver = Literal["auto", "exact", "sparse"]
MOST_EXACT = 5000
MOST_SPARSE = 2000
FEWEST = 5
_FIRST_SUBSET, _SUBSET, _ATOM_SUBSET, _ATOM_POINTS = 300, 800, 300, 200
_MOST_ROWS = 20_000
_FAILED = 1e10
_TWIN, _FEWEST_DISTINCT = 0.02, 30
_LINEAR_BOUNDS = (-5.0, 5.0)


@dataclass(frozen=True)
class LearningSettings:
    """How a process is learned.

    Parameters
    ----------
    kernels : sequence of str
        Kernels to choose from by the evidence: "rbf", "matern", "dot".
    scaling : "each" or "all"
        Whether features are scaled one by one.
    solver : "auto", "exact" or "sparse"
        Cholesky of all targets (up to 5000 with "auto"), or a span of ``n_sparse`` rows. Sums over atoms are
        always sparse.
    n_sparse : int
        Number of rows of the span.
    seed : int
    """

    kernels: Sequence[KernelName] = ("rbf", "matern")
    scaling: Scaling = "all"
    solver: Solver = "auto"
    n_sparse: int = MOST_SPARSE
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.kernels or any(name not in KERNELS for name in self.kernels):
            raise InputError(f"kernel = {list(self.kernels)}: give one of {', '.join(KERNELS)}, or 'auto'")
        if self.solver not in ("auto", "exact", "sparse"):
            raise InputError(f"solver = {self.solver!r}: give 'auto', 'exact' or 'sparse'")
        if self.n_sparse < 1:
            raise InputError(f"n_sparse = {self.n_sparse}: give at least 1")


def learn_process(inputs: Inputs, targets: Float64Array, settings: LearningSettings) -> Process:
    """Return the process of ``targets`` (n_structures,) on ``inputs``.

    The kernel and its length (or exponent) are learned on at most 800 structures drawn with the seed (300
    for sums over atoms) without near-twins, noise and amplitude on all.

    Raises
    ------
    InputError
        For fewer than 5 structures, or a target that is not finite.
    FitError
        If the covariance cannot be factorized.
    """
    _check(inputs, targets)
    generator = np.random.default_rng(settings.seed)
    if not inputs.is_global:
        if settings.solver == "exact":
            raise InputError("solver = 'exact' is for targets of whole structures; use 'sparse' or 'auto'")
        return _learn_sums(inputs, targets, settings, generator)
    order = generator.permutation(len(inputs))
    distinct = distinct_structures(inputs, order[:_SUBSET], settings.scaling)
    first = distinct[:_FIRST_SUBSET]
    candidates = [_learn_on(inputs, targets, first, kernel, settings.scaling) for kernel in settings.kernels]
    best = max(range(len(candidates)), key=lambda k: candidates[k][1])
    basis = candidates[best][0]
    if len(distinct) > len(first):
        basis = _learn_on(
            inputs, targets, distinct, settings.kernels[best], settings.scaling, basis.parameters
        )[0]
    sparse = settings.solver == "sparse" or (settings.solver == "auto" and len(inputs) > MOST_EXACT)
    if not sparse:
        return condition_exactly(basis, inputs, targets, refine=len(inputs) > len(distinct))
    points = basis.scaler(inputs.features[order[: settings.n_sparse]])
    return condition_sparsely(basis, points, inputs, targets, refine=True)


def distinct_structures(inputs: Inputs, candidates: IndexArray, scaling: Scaling) -> IndexArray:
    """Return the candidates without near-twins of earlier ones, all of them where fewer than 30 are left.

    Twins share what the features do not tell, so that their labels agree better than the noise allows: with
    them the evidence takes that for structure, and the length becomes too short. Near: 2 % of the
    root-mean-square distance of two structures.
    """
    rows = Scaler.learn(inputs.features[candidates], scaling, unit=False)(inputs.features[candidates])
    squared = proximity("rbf", rows, rows)
    limit = 2.0 * _TWIN**2 + 1e-12
    kept = np.ones(len(candidates), dtype=bool)
    for k in range(1, len(candidates)):
        kept[k] = not (kept[:k] & (squared[k, :k] < limit)).any()
    return candidates[kept] if int(kept.sum()) >= _FEWEST_DISTINCT else candidates


def _check(inputs: Inputs, targets: Float64Array) -> None:
    if len(targets) != len(inputs):
        raise InputError(f"there are {len(targets)} targets for {len(inputs)} structures; give one for each")
    if len(inputs) < FEWEST:
        raise InputError(f"{len(inputs)} structures are too few to learn from; give at least {FEWEST}")
    for name, values in (("target", targets), ("features", inputs.features)):
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if bad.size:
            raise InputError(f"{name} of row {bad[0]} is not finite; remove or recalculate that structure")


def _basis(
    inputs: Inputs, targets: Float64Array, kernel: KernelName, scaling: Scaling, *, per_atom: bool
) -> Basis:
    """Scales from training structures; hyper-parameters to be learned."""
    sizes = inputs.composition.sum(axis=1) if per_atom else np.ones(len(inputs))
    offset = float((targets @ sizes) / (sizes @ sizes))
    spread = float(np.sqrt(np.mean((targets - offset * sizes) ** 2)))
    composition = inputs.composition
    mean = np.zeros(composition.shape[1]) if per_atom else composition.mean(axis=0)
    scale = float(np.sqrt(np.mean(((composition - mean) ** 2).sum(axis=1))))
    return Basis(
        kernel,
        Scaler.learn(inputs.features, scaling, unit=kernel == "dot"),
        HyperParameters(theta_prior(kernel)[0], LINEAR_PRIOR[0], NOISE_PRIOR[0], 1.0),
        mean,
        scale if scale > 1e-12 else 1.0,
        offset,
        spread if spread > 1e-300 else 1.0,
        per_atom,
    )


def _learn_on(
    inputs: Inputs,
    targets: Float64Array,
    subset: IndexArray,
    kernel: KernelName,
    scaling: Scaling,
    start: HyperParameters | None = None,
) -> tuple[Basis, float]:
    """Basis with hyper-parameters learned on some structures, and the log evidence times prior."""
    chosen, y = inputs.take(np.sort(subset)), targets[np.sort(subset)]
    basis = _basis(chosen, y, kernel, scaling, per_atom=False)
    rows, linear = basis.scaler(chosen.features), basis.linear(chosen)
    parameters, evidence = learn_hyperparameters(
        kernel,
        proximity(kernel, rows, rows),
        linear @ linear.T,
        basis.scaled_targets(y, chosen),
        40 if start is None else 12,
        start,
    )
    return _with(basis, parameters), evidence


def _with(basis: Basis, p: HyperParameters) -> Basis:
    return Basis(
        basis.kernel, basis.scaler, p, basis.composition_mean, basis.composition_scale,
        basis.offset, basis.spread, basis.per_atom,
    )  # fmt: skip


def _learn_sums(
    inputs: Inputs, targets: Float64Array, settings: LearningSettings, generator: np.random.Generator
) -> Process:
    """Process of sums over atoms: hyper-parameters by differences of the sparse evidence on a subset."""
    subset = np.sort(generator.permutation(len(inputs))[:_ATOM_SUBSET])
    chosen, y = inputs.take(subset), targets[subset]
    best: tuple[Basis, float] | None = None
    for kernel in settings.kernels:
        found = _learn_sparsely(chosen, y, kernel, settings, generator)
        if best is None or found[1] > best[1]:
            best = found
    if best is None:
        raise FitError("no kernel could be learned; give kernels")
    basis = best[0]
    rows = inputs.features
    if len(rows) > _MOST_ROWS:
        rows = rows[np.sort(generator.choice(len(rows), _MOST_ROWS, replace=False))]
    scaled = basis.scaler(rows)
    points = scaled[farthest_points(scaled, min(settings.n_sparse, len(scaled)), seed=settings.seed)]
    return condition_sparsely(basis, points, inputs, targets, refine=True)


def _learn_sparsely(
    inputs: Inputs,
    targets: Float64Array,
    kernel: KernelName,
    settings: LearningSettings,
    generator: np.random.Generator,
) -> tuple[Basis, float]:
    """Basis learned on the span of a few rows of ``inputs``, and the log evidence times prior."""
    basis = _basis(inputs, targets, kernel, settings.scaling, per_atom=True)
    scaled = basis.scaler(inputs.features)
    drawn = generator.choice(len(scaled), min(_ATOM_POINTS, len(scaled)), replace=False)
    points = scaled[np.sort(drawn)]
    y = basis.scaled_targets(targets, inputs)
    center, width, bounds = theta_prior(kernel)
    mean = np.array([center, LINEAR_PRIOR[0], NOISE_PRIOR[0]])
    deviation = np.array([width, LINEAR_PRIOR[1], NOISE_PRIOR[1]])

    def negative(vector: Float64Array) -> float:
        """Minus the log of evidence times prior."""
        trial = _with(basis, HyperParameters(float(vector[0]), float(vector[1]), float(vector[2]), 1.0))
        try:
            lower = whitening(trial, points)
        except FitError:
            return _FAILED
        rows = design_rows(trial, points, lower, inputs, scaled)
        (R,) = qr(np.hstack([rows, y[:, None]]), mode="r", check_finite=False)
        R = R[: rows.shape[1] + 1]
        U, values, _ = np.linalg.svd(R[:, :-1], full_matrices=False)
        z = U.T @ R[:, -1]
        rest = max(float(R[:, -1] @ R[:, -1] - z @ z), 0.0)
        away = (vector - mean) / deviation
        return sparse_evidence(vector[2], values, z, rest, len(y))[0] + 0.5 * float(away @ away)

    found = minimize(
        negative,
        mean,
        method="L-BFGS-B",
        bounds=[bounds, _LINEAR_BOUNDS, NOISE_BOUNDS],
        options={"maxiter": 15, "eps": 1e-3},
    )
    theta, slope, noise = (float(value) for value in found.x)
    if kernel == "dot":
        theta = whole_power(theta)
    return _with(basis, HyperParameters(theta, slope, noise, 1.0)), -float(found.fun)
