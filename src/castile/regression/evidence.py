"""Noise levels and amplitudes from the evidence (marginal likelihood) of all labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.errors import FitError
from castile.regression.priors import DEFAULT_JITTER, factor_priors
from castile.regression.problem import LabelFactor, Noise, PriorBlock, check_problem
from castile.regression.whitening import EvidenceDerivatives, WhitenedProblem

Float64Array = NDArray[np.float64]

NOISE_FRACTION = 0.1
"""Start, and center of the hyper-prior, of a noise: this fraction of the root mean square of its targets."""
HYPER_PRIOR_WIDTH = 3.0
"""Standard deviation of the log-normal hyper-priors, a factor of 20: a few labels outweigh it."""
NOISE_RANGE = (1e-6, 1e2)
"""Bounds of a learned noise over the root mean square of its targets."""
AMPLITUDE_RANGE = (1e-4, 1e4)
"""Bounds of a learned amplitude over its scale."""
ABSENT = 1e-12
"""A term with less than this part of the largest squared feature is not in the data: pairs that just touch
the cutoff. Its amplitude starts at 1, not at whatever would make it explain the labels."""
MAX_LOG_STEP = 2.0
GAIN_TOLERANCE = 0.01
"""Converged when the quadratic model promises less than this much log evidence."""


@dataclass(frozen=True)
class EvidenceStep:
    """State after an iteration, for progress reports."""

    iteration: int
    n_evaluations: int
    log_evidence: float
    sigmas: tuple[float, ...]
    amplitudes: tuple[float, ...]


@dataclass(frozen=True)
class EvidenceResult:
    """Learned noise levels and amplitudes.

    Arguments:
        kinds: kinds of label.
        sigmas: their noise, in the unit of the label.
        terms: names of the terms.
        amplitudes: their delta_t, eV.
        jitters: relative jitter of each term's K_mm.
        log_evidence: log p(labels) at the result, without the hyper-priors.
        effective_parameters: how many parameters the labels of each kind fix.
        log_errors: standard errors of (log sigma, log delta), NaN for what was not learned.
        n_iterations: steps taken.
        n_evaluations: matrices factored.
        converged: whether the maximum was reached.
        message: how it ended.

    """

    kinds: tuple[str, ...]
    sigmas: tuple[float, ...]
    terms: tuple[str, ...]
    amplitudes: tuple[float, ...]
    jitters: tuple[float, ...]
    log_evidence: float
    effective_parameters: tuple[float, ...]
    log_errors: tuple[float, ...]
    n_iterations: int
    n_evaluations: int
    converged: bool
    message: str


@dataclass(frozen=True)
class _Parameters:
    """Start, hyper-prior center and bounds of x = (log sigma, log delta); ``learn`` marks what may move."""

    start: Float64Array
    center: Float64Array
    lower: Float64Array
    upper: Float64Array
    learn: NDArray[np.bool_]


@dataclass(frozen=True)
class _Point:
    x: Float64Array
    log_evidence: float
    objective: float
    gradient: Float64Array
    curvature: Float64Array
    derivatives: EvidenceDerivatives


class _Objective:
    """Log evidence plus log hyper-prior as a function of x; counts factorizations."""

    def __init__(self, problem: WhitenedProblem, parameters: _Parameters) -> None:
        self.problem = problem
        self.parameters = parameters
        self.n_evaluations = 0

    def point(self, x: Float64Array, at_least: float = -np.inf) -> _Point | None:
        """Value and derivatives at x; None where the objective is below ``at_least`` or not finite."""
        self.n_evaluations += 1
        n_kinds = len(self.problem.kinds)
        sigmas, amplitudes = np.exp(x[:n_kinds]), np.exp(x[n_kinds:])
        value = self.problem.value(sigmas, amplitudes)
        if value is None:
            return None
        weights = self.parameters.learn / HYPER_PRIOR_WIDTH**2
        shift = x - self.parameters.center
        objective = value.log_evidence - 0.5 * float(np.sum(weights * shift**2))
        if objective < at_least:
            return None
        derivatives = self.problem.derivatives(value, sigmas, amplitudes)
        return _Point(
            x=x,
            log_evidence=value.log_evidence,
            objective=objective,
            gradient=derivatives.gradient - weights * shift,
            curvature=derivatives.information + np.diag(weights),
            derivatives=derivatives,
        )


def maximize_evidence(
    factors: Sequence[LabelFactor],
    blocks: Sequence[PriorBlock],
    noises: Sequence[Noise],
    *,
    jitter: float | Sequence[float] = DEFAULT_JITTER,
    progress: Callable[[EvidenceStep], None] | None = None,
    max_iterations: int = 60,
) -> EvidenceResult:
    """Noise sigma_q and amplitude delta_t that maximize p(y | sigma, delta) p(sigma) p(delta).

    Damped Newton steps with exact gradients and the average information matrix in (log sigma, log delta),
    clipped to the bounds. The hyper-priors are log-normal with a width of a factor 20, centered at a tenth
    of the root mean square of the targets (noise) and at the amplitude with which the prior explains the
    targets' mean square; they decide only where the labels do not, as for the noise of a few labels.

    Arguments:
        factors: labels, one per kind.
        blocks: terms; amplitude None starts at the scale of the targets.
        noises: noise per kind in the order of ``factors``; sigma None starts at the scale of the targets.
        jitter: relative jitter of K_mm to start with; the one used is reported.
        progress: called after every iteration.
        max_iterations: Newton steps at most; ``converged`` is False when they do not suffice.

    Raises FitError for an inconsistent problem, or when the first factorization fails.

    Source: MacKay, Neural Comput. 4, 415 (1992); Rasmussen and Williams (2006), ch. 5; Gilmour et al.,
    Biometrics 51, 1440 (1995).

    """
    check_problem(factors, blocks, noises)
    priors = factor_priors(blocks, jitter)
    problem = WhitenedProblem(factors, priors)
    parameters = _initial_parameters(problem, blocks, noises)
    objective = _Objective(problem, parameters)
    n_kinds = len(factors)

    def report(iteration: int, current: _Point) -> None:
        """Tell the caller how far the ascent has come."""
        if progress is not None:
            scales, count = _scales(current), objective.n_evaluations
            step = EvidenceStep(iteration, count, current.log_evidence, scales[:n_kinds], scales[n_kinds:])
            progress(step)

    first = _first_point(objective)
    point, n_iterations, converged, message = _ascend(objective, first, max_iterations, report)
    return EvidenceResult(
        kinds=tuple(factor.kind for factor in factors),
        sigmas=_scales(point)[:n_kinds],
        terms=tuple(block.name for block in blocks),
        amplitudes=_scales(point)[n_kinds:],
        jitters=tuple(prior.jitter for prior in priors),
        log_evidence=point.log_evidence,
        effective_parameters=point.derivatives.effective_parameters,
        log_errors=_log_errors(point, parameters),
        n_iterations=n_iterations,
        n_evaluations=objective.n_evaluations,
        converged=converged,
        message=message,
    )


def _first_point(objective: _Objective) -> _Point:
    point = objective.point(objective.parameters.start)
    if point is None:
        raise FitError(
            "the evidence cannot be computed at the starting noise and amplitude: the labels are too precise "
            "for double precision; raise the noise or the jitter"
        )
    return point


def _ascend(
    objective: _Objective, point: _Point, max_iterations: int, report: Callable[[int, _Point], None]
) -> tuple[_Point, int, bool, str]:
    """Damped Newton ascent; returns the last point, its iteration, whether it converged, and why it ended."""
    damping = 0.0
    for iteration in range(1, max_iterations + 1):
        report(iteration - 1, point)
        while True:
            step, gain = _newton_step(point, objective.parameters, damping)
            if gain < GAIN_TOLERANCE and damping < 1.0:
                return point, iteration - 1, True, "converged"
            if gain < 1e-6 * GAIN_TOLERANCE:
                return point, iteration - 1, False, "no further rise within double precision"
            trial = objective.point(point.x + step, at_least=point.objective + 1e-4 * gain)
            if trial is not None:
                break
            damping = max(10.0 * damping, 0.1)
        rise = trial.objective - point.objective
        damping = damping / 10.0 if rise > 0.5 * gain else damping
        damping = 0.0 if damping < 0.01 else damping
        point = trial
    return point, max_iterations, False, f"stopped after {max_iterations} iterations"


def _newton_step(point: _Point, parameters: _Parameters, damping: float) -> tuple[Float64Array, float]:
    """Step within the bounds and the gain that the quadratic model promises for it."""
    at_lower = (point.x <= parameters.lower) & (point.gradient <= 0.0)
    at_upper = (point.x >= parameters.upper) & (point.gradient >= 0.0)
    free = parameters.learn & ~at_lower & ~at_upper
    step = np.zeros_like(point.x)
    if not free.any():
        return step, 0.0
    curvature = point.curvature[np.ix_(free, free)]
    damped = curvature + damping * np.diag(np.diagonal(curvature))
    step[free] = np.linalg.solve(damped, point.gradient[free])
    step *= min(1.0, MAX_LOG_STEP / max(float(np.max(np.abs(step))), 1e-300))
    step = np.clip(point.x + step, parameters.lower, parameters.upper) - point.x
    step[~free] = 0.0
    gain = float(point.gradient @ step - 0.5 * step @ point.curvature @ step)
    return step, gain


def _initial_parameters(
    problem: WhitenedProblem, blocks: Sequence[PriorBlock], noises: Sequence[Noise]
) -> _Parameters:
    rms = np.array([np.sqrt(kind.square / kind.n_rows) for kind in problem.kinds])
    rms = np.maximum(rms, max(1e-3 * float(rms.max()), 1e-8))
    noise_scale = NOISE_FRACTION * rms
    amplitude_scale = _amplitude_scales(problem, rms)
    center = np.log(np.concatenate([noise_scale, amplitude_scale]))
    given = [noise.sigma for noise in noises] + [block.amplitude for block in blocks]
    start = np.array(
        [at if value is None else np.log(value) for at, value in zip(center, given, strict=True)]
    )
    lower = np.concatenate([rms * NOISE_RANGE[0], amplitude_scale * AMPLITUDE_RANGE[0]])
    upper = np.concatenate([rms * NOISE_RANGE[1], amplitude_scale * AMPLITUDE_RANGE[1]])
    n_kinds = len(noises)
    lower[:n_kinds] = np.maximum(lower[:n_kinds], [noise.lower for noise in noises])
    upper[:n_kinds] = np.maximum(
        np.minimum(upper[:n_kinds], [noise.upper for noise in noises]), lower[:n_kinds]
    )
    learn = np.array([noise.learn for noise in noises] + [block.learn for block in blocks])
    low, high = np.log(lower), np.log(upper)
    start = np.where(learn, np.clip(start, low, high), start)
    return _Parameters(start=start, center=center, lower=low, upper=high, learn=learn)


def _amplitude_scales(problem: WhitenedProblem, rms: Float64Array) -> Float64Array:
    """Amplitude with which each term alone would explain its share of the targets' mean square."""
    scales = np.empty(len(problem.columns))
    absent = [
        ABSENT * float(np.max(np.diagonal(kind.gram), initial=0.0)) / kind.n_rows for kind in problem.kinds
    ]
    for term, columns in enumerate(problem.columns):
        ratios = []
        for kind, root, least in zip(problem.kinds, rms, absent, strict=True):
            unit_variance = float(np.sum(np.diagonal(kind.gram)[columns])) / kind.n_rows
            if unit_variance > least:
                ratios.append(float(root / np.sqrt(len(problem.columns) * unit_variance)))
        scales[term] = np.exp(np.mean(np.log(ratios))) if ratios else 1.0
    return scales


def _scales(point: _Point) -> tuple[float, ...]:
    return tuple(float(scale) for scale in np.exp(point.x))


def _log_errors(point: _Point, parameters: _Parameters) -> tuple[float, ...]:
    errors = np.full(len(point.x), np.nan)
    free = parameters.learn
    if free.any():
        variances = np.diagonal(np.linalg.inv(point.curvature[np.ix_(free, free)]))
        errors[free] = np.sqrt(np.where(variances > 0.0, variances, np.nan))
    return tuple(float(error) for error in errors)
