"""Widths of intervals that hold their share of known and of unknown hosts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Float64Array = NDArray[np.float64]
_RATIOS = np.geomspace(0.25, 32.0, 57)  # factors on the variance of what is not noise
_FEWEST_GROUPS = 10


@dataclass(frozen=True)
class Residuals:
    """What predictions of training targets from others miss, and the variance they have without noise."""

    errors: Float64Array
    variances: Float64Array


@dataclass(frozen=True)
class IntervalScale:
    r"""Standard deviation of a target,  sigma = spread sqrt(ratio v + noise)."""

    spread: float
    ratio: float
    noise: float

    def deviations(self, variances: Float64Array) -> Float64Array:
        """Return sigma for variances v without noise, (n,)."""
        return np.asarray(self.spread * np.sqrt(self.ratio * variances + self.noise))


def calibrated(
    alone: Residuals, grouped: Residuals, noise: float, coverage: float, n_groups: int
) -> IntervalScale:
    """Scale with which intervals of leave-one-out and of leave-group-out both hold the share ``coverage``.

    The ratio makes both need the same factor, the spread is that factor. Too few groups say nothing about
    other hosts: the ratio is 1 then.

    Arguments:
        alone: each target predicted from all others.
        grouped: from those of other hosts.
        noise: variance of the noise.
        coverage: probability of the intervals.
        n_groups: number of groups.

    """

    def needed(residuals: Residuals, ratio: float) -> float:
        """Factor on the deviations with which the intervals hold their share."""
        deviations = np.sqrt(ratio * residuals.variances + noise)
        return float(np.quantile(np.abs(residuals.errors) / deviations, coverage))

    ratio = 1.0
    if n_groups >= _FEWEST_GROUPS:
        mismatch = [abs(np.log(needed(grouped, r) / max(needed(alone, r), 1e-12))) for r in _RATIOS]
        ratio = float(_RATIOS[int(np.argmin(mismatch))])
        factor = float(np.sqrt(needed(alone, ratio) * needed(grouped, ratio)))
    else:
        factor = needed(alone, ratio)
    return IntervalScale(max(factor, 1e-6) / float(norm.ppf(0.5 + 0.5 * coverage)), ratio, noise)
