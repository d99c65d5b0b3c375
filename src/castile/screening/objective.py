"""What makes a candidate worth having: its mean, a bound, the expected improvement, or a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, ndtr

from castile.errors import InputError

Float64Array = NDArray[np.float64]
KINDS = ("mean", "bound", "improvement", "probability")
GOALS = ("minimise", "maximise", "value")
_INVERSE_ROOT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class Objective:
    r"""Merit of a candidate whose value is normal with mean m and standard deviation s; larger is better.

    With the goal to minimise, the best value b that is known, and z = (b - m) / s:

    .. math::

        \text{mean: } -m, \qquad \text{bound: } -(m - \kappa s), \qquad
        \text{improvement: } \mathrm{E}[\max(b - y, 0)] = s\,[z\,\Phi(z) + \varphi(z)], \qquad
        \text{probability: } P(\text{above} < y < \text{below})

    To maximise is to minimise -y. To come near a value t is to minimise |y - t|: the bound is the smallest
    distance within kappa s, the improvement that of |y - t| over ``best`` (then a distance).

    Parameters
    ----------
    kind : "mean", "bound", "improvement" or "probability"
    goal : "minimise", "maximise" or "value"
    value : float, optional
        t, with the goal "value".
    kappa : float
        Standard deviations of the bound; negative ones make it cautious.
    best : float, optional
        b, for the improvement.
    below, above : float, optional
        Ends of the wanted interval, for the probability.

    Raises
    ------
    InputError
        For a combination that means nothing.

    Source: Jones, Schonlau, Welch, J. Glob. Optim. 13, 455 (1998), Eq. 15; Srinivas et al., IEEE Trans. Inf.
    Theory 58, 3250 (2012), for the bound.
    """

    kind: str = "mean"
    goal: str = "minimise"
    value: float | None = None
    kappa: float = 2.0
    best: float | None = None
    below: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"objective {self.kind!r}: give one of {', '.join(KINDS)}")
        if self.goal not in GOALS:
            raise InputError(f"goal {self.goal!r}: give minimise, maximise, or a number to come near to")
        if (self.goal == "value") != (self.value is not None):
            raise InputError(f"goal {self.goal!r}, value {self.value}: 'value' needs a number, others none")
        if self.kind == "probability":
            if self.below is None and self.above is None:
                raise InputError("the probability needs the interval: give --below, --above, or both")
            if self.below is not None and self.above is not None and not self.above < self.below:
                raise InputError(f"no number is above {self.above} and below {self.below}")
        numbers = (self.value, self.kappa, self.best, self.below, self.above)
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise InputError("value, kappa, best, below and above must be finite numbers")

    @property
    def needs_deviation(self) -> bool:
        """Whether it makes sense only with standard deviations."""
        return self.kind != "mean"

    @property
    def needs_best(self) -> bool:
        """Whether ``best`` is still to be given."""
        return self.kind == "improvement" and self.best is None

    def with_best(self, labels: ArrayLike) -> Objective:
        """Return it with the best of known labels as ``best``."""
        known = np.asarray(labels, dtype=np.float64)
        if not known.size:
            raise InputError("the expected improvement needs a best known value, and there are no labels")
        merits = self.merits_of_values(known)
        winner = float(known[int(np.argmax(merits))])
        return replace(self, best=abs(winner - self.value) if self.value is not None else winner)

    def merits_of_values(self, values: ArrayLike) -> Float64Array:
        """Return how good known values are, (n,); larger is better."""
        y = np.asarray(values, dtype=np.float64)
        if self.kind == "probability":
            return _depth(y, self.above, self.below)
        if self.value is not None:
            return -np.abs(y - self.value)
        return y if self.goal == "maximise" else -y

    def scores(self, mean: ArrayLike, std: ArrayLike) -> Float64Array:
        """Return the merits, (n,).

        Parameters
        ----------
        mean, std : array, shape (n,)
            Of the predictions, in the unit of the target.

        Raises
        ------
        InputError
            If the improvement has no ``best``.
        """
        m, s = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
        if self.kind == "mean":
            return self.merits_of_values(m)
        if self.kind == "probability":
            return interval_probability(m, s, self.above, self.below)
        if self.kind == "bound":
            if self.value is not None:
                distance = np.abs(m - self.value) - self.kappa * s
                return -(np.maximum(distance, 0.0) if self.kappa > 0.0 else distance)
            return (m if self.goal == "maximise" else -m) + self.kappa * s
        if self.best is None:
            raise InputError("the expected improvement needs the best value that is known: give best")
        if self.value is not None:
            return improvement_near(m, s, self.value, self.best)
        return expected_improvement(m - self.best if self.goal == "maximise" else self.best - m, s)


def expected_improvement(gain: ArrayLike, std: ArrayLike) -> Float64Array:
    r"""Return E[max(g, 0)] of normal gains, s [z Phi(z) + phi(z)] with z = g / s, (n,).

    For z < 0 it is s phi(z) [1 - |z| sqrt(pi/2) erfcx(|z|/sqrt 2)], which keeps its digits.
    """
    g, s = np.broadcast_arrays(np.asarray(gain, dtype=np.float64), np.asarray(std, dtype=np.float64))
    out = np.maximum(g, 0.0)
    known = s > 0.0
    z, width = g[known] / s[known], s[known]
    density = _INVERSE_ROOT_2PI * np.exp(-0.5 * z * z)
    away = np.abs(z)
    tail = density * np.maximum(1.0 - away * math.sqrt(math.pi / 2.0) * erfcx(away / math.sqrt(2.0)), 0.0)
    out[known] = width * (tail + np.maximum(z, 0.0))
    return out


def improvement_near(mean: ArrayLike, std: ArrayLike, value: float, distance: float) -> Float64Array:
    r"""Return E[max(d - |y - t|, 0)] of normal values, (n,).

    It is the sum of two improvements of a ramp: E[(y-(t-d))+] - 2 E[(y-t)+] + E[(y-(t+d))+].
    """
    m = np.asarray(mean, dtype=np.float64)
    parts = (expected_improvement(m - value - shift, std) for shift in (-distance, 0.0, distance))
    low, middle, high = parts
    return np.maximum(low - 2.0 * middle + high, 0.0)


def interval_probability(
    mean: ArrayLike, std: ArrayLike, above: float | None, below: float | None
) -> Float64Array:
    """Return P(above < y < below) of normal values, (n,); certain values give 0 or 1."""
    m, s = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64))
    out = (_depth(m, above, below) > 0.0).astype(np.float64)
    known = s > 0.0
    low = np.full(known.sum(), -np.inf) if above is None else (above - m[known]) / s[known]
    high = np.full(known.sum(), np.inf) if below is None else (below - m[known]) / s[known]
    mirrored = low > 0.0  # the small tail is subtracted from the small tail
    out[known] = np.where(mirrored, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return out


def _depth(values: Float64Array, above: float | None, below: float | None) -> Float64Array:
    """How far values are inside the interval."""
    left = np.inf if above is None else values - above
    right = np.inf if below is None else below - values
    return np.asarray(np.minimum(left, right), dtype=np.float64)
