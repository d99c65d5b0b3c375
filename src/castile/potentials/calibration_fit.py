"""Scale factors that make deviations agree with held-out errors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from castile.potentials.calibration import KindCalibration
from castile.potentials.held_out import HeldOutLabels
from castile.potentials.local_errors import LocalErrors

LEAST_LABELS = 8
"""Fewer labels of a kind than this do not change its calibration."""
LEAST_FACTOR = 1e-3
"""Smallest a and b before the scale. What the sparse points leave open of structures like those of the fit is
often no more than the jitter of the kernel: b has to be free to say so. Far from the data s restores it.
"""
LEAST_FLOOR = 0.01
"""Smallest floor over the noise of the labels."""
SYMMETRIC = 1e-10
"""Labels with less than this fraction of the largest prior variance are zero by symmetry and say nothing."""
TAIL = 5.0
"""Errors beyond so many deviations count as if they were at it: single wrong labels must not decide."""
LOCAL_TAIL = 4.0
"""The same for the mean error of a structure."""
NORMAL_68, NORMAL_95 = 0.9944578832097532, 1.959963984540054

Array = NDArray[np.float64]


def fit_kind(labels: Sequence[HeldOutLabels], noise: float) -> KindCalibration | None:
    """Return a, b and c of the largest likelihood of held-out errors, scaled to their quantiles; None where
    there are too few.

    The likelihood is that of independent normal errors, with errors beyond five deviations winsorized. All
    three are then multiplied by (q68 / 0.994)^(1/2) (q95 / 1.960)^(1/2) with the quantiles of
    |error| / deviation, so that the intervals of 68 and 95 % cover what they say also for errors that are not
    normal. The quantile p of n errors is the one of rank (n + 1) p, rounded up: that of one more error is
    below it with at least this probability.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), section 2.2 (the rank).

    Parameters
    ----------
    labels : sequence of HeldOutLabels
        Of one kind.
    noise : float
        Of the labels, in the unit of the floor: its start and scale.
    """
    if sum(len(label.errors) for label in labels) < LEAST_LABELS:
        return None
    parts = [np.concatenate([getattr(label.parts, name) / label.floor_scale**2 for label in labels])
             for name in ("posterior", "residual", "prior")]  # fmt: skip
    errors = np.concatenate([label.errors / label.floor_scale for label in labels])
    informative = parts[2] > SYMMETRIC * np.max(parts[2])
    errors = errors[informative]
    if len(errors) < LEAST_LABELS:
        return None
    posterior, residual, prior = (part[informative] for part in parts)
    share = np.clip(residual / np.where(prior > 0.0, prior, np.inf), 0.0, 1.0)
    least = np.array([LEAST_FACTOR, LEAST_FACTOR, LEAST_FLOOR * noise])

    def variance(logs: Array) -> Array:
        """Calibrated variances."""
        a, b, c = np.maximum(np.exp(logs), least)
        return a**2 * posterior + (b**2 + (1.0 - b**2) * share) * residual + c**2

    def cost(logs: Array) -> float:
        """Mean negative log likelihood, with a weak prior on the factors."""
        found = variance(logs)
        misfit = np.minimum(errors**2 / found, TAIL**2)
        return float(np.mean(np.log(found) + misfit)) + 1e-4 * float(logs @ logs)

    starts = [
        np.log([a, b, c]) for a, b, c in ((1.0, 1.0, noise), (4.0, 0.2, 0.1 * noise), (0.1, 0.1, noise))
    ]
    best = min((_minimum(cost, start) for start in starts), key=cost)
    a, b, c = np.maximum(np.exp(best), least)
    scale = _quantile_scale(np.abs(errors) / np.sqrt(variance(best)))
    return KindCalibration(float(a * scale), float(b * scale), float(c * scale))


def fit_local(
    kind: KindCalibration, labels: Sequence[HeldOutLabels], local: LocalErrors
) -> tuple[KindCalibration, Array]:
    """Return the calibration to use with local factors, and the ratios that these come from.

    Ratios are means of |error| / deviation over the labels of each structure of ``local``, with errors beyond
    four deviations winsorized. The calibration is scaled to the quantiles of |error| / deviation once more,
    now with the local factor of each structure as if its own errors were not known.

    Parameters
    ----------
    kind : KindCalibration
        That of :func:`fit_kind`.
    labels : sequence of HeldOutLabels
        Of one kind; ``structure`` is the number of the structure in ``local``.
    local : LocalErrors
    """
    largest = max(float(np.max(label.parts.prior / label.floor_scale**2)) for label in labels)
    kept, sums, counts = [], np.zeros(len(local.means)), np.zeros(len(local.means))
    for label in labels:
        used = label.parts.prior / label.floor_scale**2 > SYMMETRIC * largest
        if used.any():
            ratios = np.abs(label.errors) / kind.deviations(label.parts, label.floor_scale)
            sums[label.structure] += np.sum(np.minimum(ratios[used], LOCAL_TAIL))
            counts[label.structure] += np.count_nonzero(used)
            kept.append((label, used))
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    factors = local.left_out(means)
    found = [
        np.abs(label.errors[used])
        / kind.scaled(factors[label.structure]).deviations(label.parts, label.floor_scale)[used]
        for label, used in kept
    ]
    return kind.scaled(_quantile_scale(np.concatenate(found))), means


def _minimum(cost: object, start: Array) -> Array:
    options = {"maxiter": 800, "xatol": 1e-3, "fatol": 1e-6}
    return np.asarray(minimize(cost, start, method="Nelder-Mead", options=options).x)


def _quantile_scale(ratios: Array) -> float:
    """Factor that brings the quantiles of |error| / deviation to those of a normal distribution."""
    ordered = np.sort(ratios)
    q68, q95 = (_quantile(ordered, p) for p in (0.68, 0.95))
    if len(ratios) < 50:
        q95 = q68 * NORMAL_95 / NORMAL_68
    return float(np.sqrt(q68 / NORMAL_68 * q95 / NORMAL_95))


def _quantile(ordered: Array, p: float) -> float:
    """Return the number of rank (n + 1) p, rounded up, of ascending numbers."""
    rank = int(np.ceil((len(ordered) + 1) * p))
    return float(ordered[min(rank, len(ordered)) - 1])
