"""Total budgets: labels, training, and candidates to be described and predicted."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.comparison.power_law import Estimate, LearningCurve
from castile.errors import InputError

Float64Array = NDArray[np.float64]
_DURATION = re.compile(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-z]*)\s*\Z")
_WORDS = {
    1e-3: "ms", 1.0: "s sec second seconds", 60.0: "m min minute minutes", 3600.0: "h hour hours",
    86400.0: "d day days",
}  # fmt: skip
_UNITS = {"": 1.0} | {word: seconds for seconds, words in _WORDS.items() for word in words.split()}
HOUR = 3600.0


def parse_duration(text: str) -> float:
    """Return seconds of "3600s", "1h", "20min", "2d" or "3600".

    Raises
    ------
    InputError
        If it is no positive duration.
    """
    match = _DURATION.match(text.lower())
    try:
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    except (KeyError, ValueError):
        seconds = 0.0
    if not (np.isfinite(seconds) and seconds > 0):
        raise InputError(f"duration {text!r}: give for example 3600s, 20min, 1h or 2d")
    return seconds


@dataclass(frozen=True)
class PowerCost:
    """A cost that grows as a power of the number of labels: seconds = factor * n^power."""

    factor: float
    power: float

    def __call__(self, n_labels: ArrayLike) -> Float64Array:
        """Return seconds at ``n_labels``."""
        return np.asarray(self.factor * np.asarray(n_labels, dtype=np.float64) ** self.power)


def fit_cost(labels: ArrayLike, seconds: ArrayLike, low: float, high: float) -> PowerCost:
    """Return the power law through measured seconds, by least squares of logarithms.

    The power is kept between ``low`` and ``high``, and the law passes through the mean at the largest size,
    from where it is extrapolated.
    """
    n, s = np.asarray(labels, dtype=np.float64), np.maximum(np.asarray(seconds, dtype=np.float64), 1e-9)
    x, y = np.log(n), np.log(s)
    spread = float(((x - x.mean()) ** 2).sum())
    power = float(((x - x.mean()) @ y) / spread) if spread > 0 else low
    power = float(np.clip(power, low, high))
    last = n == n.max()
    return PowerCost(float(np.exp(y[last].mean() - power * x[last].mean())), power)


@dataclass(frozen=True)
class CostModel:
    """What labels, training and candidates cost, in processor seconds.

    Attributes
    ----------
    label_s : float
        Of one label.
    descriptor_s : float
        Of the descriptor of one structure.
    training : PowerCost
        Of a fit with n labels.
    prediction : PowerCost
        Of the prediction of one described structure by a model of n labels.
    """

    label_s: float
    descriptor_s: float
    training: PowerCost
    prediction: PowerCost

    def fixed(self, n_labels: ArrayLike) -> Float64Array:
        """Return n (c_label + c_descriptor) + c_training(n): what does not depend on the candidates."""
        n = np.asarray(n_labels, dtype=np.float64)
        return n * (self.label_s + self.descriptor_s) + self.training(n)

    def per_candidate(self, n_labels: ArrayLike) -> Float64Array:
        """Return c_descriptor + c_prediction(n)."""
        return self.descriptor_s + self.prediction(n_labels)

    def total(self, n_labels: ArrayLike, n_candidates: ArrayLike) -> Float64Array:
        r"""Return the budget.

        .. math:: B = n (c_\text{label} + c_\text{desc}) + c_\text{train}(n)
                  + N (c_\text{desc} + c_\text{pred}(n))
        """
        candidates = np.asarray(n_candidates, dtype=np.float64)
        return np.asarray(self.fixed(n_labels) + candidates * self.per_candidate(n_labels))


@dataclass(frozen=True)
class Budget:
    """What a wanted error costs.

    Attributes
    ----------
    error : float
        Wanted, in the unit of the target.
    n_candidates : int
    reach_probability : float
        That the error is reached with at most ``most_labels``.
    most_labels : float
    labels : Estimate or None
        Labels needed; None where it is more likely that the error is not reached.
    cpu_hours : Estimate or None
    cpu_hours_std : float
        Standard deviation over the draws that reach the error.
    """

    error: float
    n_candidates: int
    reach_probability: float
    most_labels: float
    labels: Estimate | None
    cpu_hours: Estimate | None
    cpu_hours_std: float

    @property
    def reached(self) -> bool:
        """Whether the error is likely reached."""
        return self.cpu_hours is not None


def budget(
    curve: LearningCurve,
    costs: CostModel,
    error: float,
    n_candidates: int,
    most_labels: float,
    coverage: float = 0.9,
) -> Budget:
    """Return the budget for ``error`` on ``n_candidates``, with the interval of the learning curve.

    Quantiles are over all draws of the curve; those that do not reach the error count as infinite, so an
    upper end may be infinite.
    """
    needed = curve.labels_needed(error, most_labels)
    reached = np.isfinite(needed)
    share = float(reached.mean())
    if share < 0.5:
        return Budget(error, n_candidates, share, most_labels, None, None, float("nan"))
    hours = np.full(len(needed), np.inf)
    hours[reached] = costs.total(needed[reached], n_candidates) / HOUR
    labels, cpu_hours = (_estimate(values, coverage) for values in (needed, hours))
    return Budget(error, n_candidates, share, most_labels, labels, cpu_hours, float(np.std(hours[reached])))


def _estimate(values: Float64Array, coverage: float) -> Estimate:
    quantiles = np.quantile(values, [0.5, 0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage], method="nearest")
    return Estimate(*(float(q) for q in quantiles))


def crossing_candidates(
    labels_a: float, costs_a: CostModel, labels_b: float, costs_b: CostModel
) -> float | None:
    r"""Return the number of candidates at which the budgets of two descriptors are equal.

    .. math:: N_\times = (F_b - F_a) / (v_a - v_b)

    with the fixed cost F and the cost per candidate v; None where one is cheaper for any number.
    """
    fixed = float(costs_b.fixed(labels_b) - costs_a.fixed(labels_a))
    slope = float(costs_a.per_candidate(labels_a) - costs_b.per_candidate(labels_b))
    if slope == 0.0 or fixed / slope <= 0.0:
        return None
    return fixed / slope
