"""Matching of two sets whose members have equal weights: assignment, and its entropic form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from castile.errors import CastileError
from castile.numerics.transport import transport_plan

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]
_NEGLIGIBLE = 1e-7


class MatchingError(CastileError):
    """A matching whose iteration did not converge."""


@dataclass(frozen=True)
class EntropicPlan:
    """Transport plan (n, m) with exact marginals 1/n and 1/m, iterations used, and the largest marginal error
    before the plan was made exact.
    """

    plan: Float64Array
    n_iterations: int
    marginal_error: float


def optimal_transport_cost(cost: Float64Array) -> float:
    r"""Return the least cost of matching n rows to m columns of uniform weights.

    .. math:: \min_P \sum_{ij} P_{ij} C_{ij}, \qquad \sum_j P_{ij} = 1/n, \quad \sum_i P_{ij} = 1/m, \quad
        P \ge 0

    For n = m it is the best assignment divided by n; replicating rows or columns does not change it.

    Parameters
    ----------
    cost : ndarray, shape (n, m)
    """
    rows, columns, weights = optimal_plan(cost)
    return float(weights @ cost[rows, columns])


def optimal_plan(cost: Float64Array) -> tuple[IndexArray, IndexArray, Float64Array]:
    """Return (rows, columns, weights) of the plan of least cost; the weights add up to 1."""
    n, m = cost.shape
    if n == m:
        rows, columns = linear_sum_assignment(cost)
        return rows, columns, np.full(n, 1.0 / n)
    common = math.lcm(n, m)
    flow = np.empty((n, m), dtype=np.int64)
    supply, demand = np.full(n, common // n), np.full(m, common // m)
    transport_plan(np.ascontiguousarray(cost, dtype=np.float64), supply, demand, flow)
    rows, columns = np.nonzero(flow)
    return rows, columns, flow[rows, columns] / common


def entropic_plan(
    cost: Float64Array, gamma: float, *, tolerance: float = 1e-9, max_iterations: int = 500
) -> EntropicPlan:
    r"""Return the plan of least cost plus entropy, in the log domain.

    .. math:: \min_P \sum_{ij} P_{ij} C_{ij} + \gamma \sum_{ij} P_{ij} \ln P_{ij}, \qquad
        P_{ij} = e^{(f_i + g_j - C_{ij}) / \gamma}

    Only logarithms of sums are formed, so nothing overflows for any gamma. The potentials follow gamma down
    from the range of the costs in steps of two: a few of Sinkhorn's iterations, then Newton's on the concave
    dual, in which f is eliminated. At the end the marginals are made exact (Altschuler, Weed, Rigollet, 2017,
    algorithm 2). Where gamma is so small that the iteration stops short, the plan is that of least cost: it
    changes the cost by less than gamma ln(n m), a tenth of a millionth of the range of the costs.

    Parameters
    ----------
    cost : ndarray, shape (n, m)
    gamma : float
        In the unit of the costs, positive.
    tolerance : float
        Largest sum of the errors of the marginals before they are made exact.
    max_iterations : int
        Newton iterations for each gamma.

    Raises
    ------
    MatchingError
        If the last step does not reach the tolerance.

    Source: Cuturi, NIPS 2013; De, Bartok, Csanyi, Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016), Eq. 18;
    Brauer, Clason, Lorenz, Wirth, arXiv:1710.06635 (Newton).
    """
    n, m = cost.shape
    g = np.zeros(m)
    step, used = max(gamma, float(np.ptp(cost))), 0
    while True:
        last = step <= gamma
        for _ in range(10):
            f = -step * (math.log(n) + _log_sum((g[None, :] - cost) / step, axis=1))
            g = -step * (math.log(m) + _log_sum((f[:, None] - cost) / step, axis=0))
        g, error, steps = _newton(cost, g, step, tolerance if last else 1e-4, max_iterations if last else 20)
        used += 10 + steps
        if last:
            break
        step = max(gamma, 0.5 * step)
    if error > tolerance and gamma * math.log(n * m) <= _NEGLIGIBLE * float(np.ptp(cost)):
        return EntropicPlan(_dense(n, m, *optimal_plan(cost)), used, 0.0)
    if error > tolerance:
        raise MatchingError(
            f"gamma = {gamma:g}: the matching is off by {error:.1e} after {used} iterations; raise gamma, or "
            "use the best match, which is its limit for small gamma"
        )
    return EntropicPlan(_exact_marginals(_plan(cost, g, gamma)[0]), used, error)


def _dense(n: int, m: int, rows: IndexArray, columns: IndexArray, weights: Float64Array) -> Float64Array:
    plan = np.zeros((n, m))
    plan[rows, columns] = weights
    return plan


def _log_sum(values: Float64Array, axis: int) -> Float64Array:
    """Logarithm of the sum of exponentials."""
    largest = values.max(axis=axis, keepdims=True)
    total: Float64Array = np.log(np.exp(values - largest).sum(axis=axis))
    return total + largest.squeeze(axis)


def _plan(cost: Float64Array, g: Float64Array, gamma: float) -> tuple[Float64Array, float]:
    """Plan with exact row sums for the potentials g, and the dual objective."""
    logits = (g[None, :] - cost) / gamma
    sums = _log_sum(logits, axis=1)
    plan = np.exp(logits - sums[:, None]) / len(cost)
    return plan, float(g.mean() - gamma * sums.mean())


def _newton(
    cost: Float64Array, g: Float64Array, gamma: float, tolerance: float, most: int
) -> tuple[Float64Array, float, int]:
    """Maximize the dual objective; returns potentials, error of the column sums and iterations."""
    n, m = cost.shape
    plan, value = _plan(cost, g, gamma)
    for iteration in range(most):
        sums = plan.sum(axis=0)
        gradient = 1.0 / m - sums
        error = float(np.abs(gradient).sum())
        if error <= tolerance:
            return g, error, iteration
        curvature = (np.diag(sums) - n * (plan.T @ plan)) / gamma
        scale = float(np.trace(curvature)) / m
        curvature += scale / m  # along (1, ..., 1) nothing changes
        curvature[np.diag_indices(m)] += 1e-9 * scale + 1e-300
        direction = np.linalg.solve(curvature, gradient)
        slope, length = float(gradient @ direction), 1.0
        while True:
            trial = g + length * direction
            new_plan, new_value = _plan(cost, trial, gamma)
            if new_value >= value + 1e-4 * length * slope - 1e-15 * (1.0 + abs(value)):
                break
            length *= 0.5
            if length < 1e-9:
                return g, error, iteration
        g, plan, value = trial - trial.mean(), new_plan, new_value
    return g, float(np.abs(1.0 / m - plan.sum(axis=0)).sum()), most


def _exact_marginals(plan: Float64Array) -> Float64Array:
    """The nearest plan (in a simple sense) whose marginals are exactly uniform."""
    n, m = plan.shape
    plan = plan * np.minimum(1.0 / (n * plan.sum(axis=1)), 1.0)[:, None]
    plan = plan * np.minimum(1.0 / (m * plan.sum(axis=0)), 1.0)[None, :]
    rows = np.maximum(1.0 / n - plan.sum(axis=1), 0.0)
    columns = np.maximum(1.0 / m - plan.sum(axis=0), 0.0)
    missing = float(rows.sum())
    return plan + np.outer(rows, columns) / missing if missing > 1e-300 else plan
