"""Scale factors that make deviations agree with held-out errors."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from castile.potentials.calibration import KindCalibration, VarianceParts, energy_level, levels
from castile.potentials.held_out import ENERGY, FORCES, STRESS, HeldOutLabels
from castile.potentials.intervals import NORMAL_68, NORMAL_95, rank_quantile, tail_of
from castile.potentials.local_errors import LocalErrors, factor_of

LEAST_LABELS = 8
"""Fewer labels of a kind than this do not change its calibration."""
LEAST_FACTOR = 1e-3
"""Smallest a and b before the scale. What the sparse points leave open of structures like those of the fit is
often no more than the jitter of the kernel: b has to be free to say so. Far from the data s restores it. It
is the smallest scale, too: errors that are all zero must not make deviations zero.
"""
LEAST_FLOOR = 0.01
"""Smallest floor over the noise of the labels."""
SYMMETRIC = 1e-10
"""Labels with less than this fraction of the largest prior variance are zero by symmetry and say nothing."""
TAIL = 5.0
"""Errors beyond so many deviations count as if they were at it: single wrong labels must not decide."""
LOCAL_TAIL = 4.0
"""The same for the mean error of a structure."""
LARGEST_LOG = float(np.log(4.0))
"""Of what the ratios of structures are multiplied by."""
FIXED = {ENERGY: 0.0, FORCES: 1e-5, STRESS: 1e-7}
"""Prior deviations (eV per root atom, eV/A, eV/A^3) below this are rounding: such labels say nothing."""
NORMAL_MEAN = 0.7978845608028654
"""Mean |error| / deviation of normal errors."""

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
    informative = np.concatenate(_informative(labels))
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
    scale = max(_quantile_scale(np.abs(errors) / np.sqrt(variance(best))), LEAST_FACTOR)
    return KindCalibration(float(a * scale), float(b * scale), float(c * scale))


def fit_local(kind: KindCalibration, labels: Sequence[HeldOutLabels], local: LocalErrors) -> LocalErrors:
    """Return the local errors with the ratios of one more kind of label.

    Ratios are means of |error| / deviation over the labels of each structure of ``local``, with errors beyond
    four deviations winsorized. They are multiplied by one number, so that the intervals of 68 and 95 % cover
    what they say with the local factor of each structure as if its own errors were not known. Where nothing
    is known the factor is 1: the calibration stays that of :func:`fit_kind`.

    Parameters
    ----------
    kind : KindCalibration
        That of :func:`fit_kind`.
    labels : sequence of HeldOutLabels
        Of one kind; ``structure`` is the number of the structure in ``local``.
    local : LocalErrors
    """
    name, n = labels[0].kind, len(local.means)
    informative = [
        (label, used) for label, used in zip(labels, _informative(labels), strict=True) if used.any()
    ]
    chosen = [label.chosen(used) for label, used in informative]
    seen = [_levels(kind, label)[used] for label, used in informative]
    structure = np.repeat([label.structure for label in chosen], [len(label.errors) for label in chosen])
    errors = np.abs(np.concatenate([label.errors for label in chosen]))
    floor_scale = np.repeat([label.floor_scale for label in chosen], [len(label.errors) for label in chosen])
    parts = _joined([label.parts for label in chosen])

    def mean_of(values: Array) -> Array:
        """Mean over the labels of each structure; NaN without any."""
        counts, sums = (np.bincount(structure, weights, n) for weights in (None, values))
        return np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)

    ratios = mean_of(np.minimum(errors / kind.deviations(parts, floor_scale), LOCAL_TAIL)) / NORMAL_MEAN
    level = np.sqrt(mean_of(np.concatenate(seen) ** 2))
    found = local.with_kind(name, ratios, level)
    if not found.enough(name):
        return found
    sums = [
        found.sums_without(name, *known) for known in zip((c.structure for c in chosen), seen, strict=True)
    ]
    above, below = (np.concatenate(part) for part in zip(*sums, strict=True))

    def excess(log_scale: float) -> float:
        """What deviations lack with the ratios multiplied by a number, as a fraction of them."""
        factors = factor_of(np.exp(log_scale) * above, below)
        return _quantile_scale(errors / kind.deviations(parts, floor_scale, None, factors)) - 1.0

    return local.with_kind(name, ratios * np.exp(_root(excess, -LARGEST_LOG, LARGEST_LOG)), level)


def fit_tail(kind: KindCalibration, labels: Sequence[HeldOutLabels], local: LocalErrors | None) -> float:
    """Return the exponent of the intervals that held-out errors ask for, with the local factor of each
    structure as if its own errors were not known.

    Parameters
    ----------
    kind, labels
        As for :func:`fit_local`.
    local : LocalErrors or None
        What it returned.
    """
    ratios = []
    for label, used in zip(labels, _informative(labels), strict=True):
        factors: Array | float = 1.0
        if local is not None and local.enough(label.kind):
            factors = factor_of(*local.sums_without(label.kind, label.structure, _levels(kind, label)))
        found = np.abs(label.errors) / kind.deviations(label.parts, label.floor_scale, None, factors)
        if used.any():
            ratios.append(found[used])
    return tail_of(ratios)


def _informative(labels: Sequence[HeldOutLabels]) -> list[NDArray[np.bool_]]:
    """Which labels are compared and not zero by symmetry."""
    priors = [label.parts.prior / label.floor_scale**2 for label in labels]
    least = max(SYMMETRIC * max(float(np.max(prior)) for prior in priors), FIXED[labels[0].kind] ** 2)
    return [prior > least for prior in priors]


def _levels(kind: KindCalibration, label: HeldOutLabels) -> Array:
    """What local factors see of the deviations of labels."""
    if label.kind == ENERGY:
        return energy_level(kind, label.parts, label.floor_scale**2)
    return levels(label.kind, kind.deviations(label.parts))


def _joined(parts: Sequence[VarianceParts]) -> VarianceParts:
    """All variances in one."""
    names = ("posterior", "residual", "prior")
    return VarianceParts(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls in steps passes zero; an end where it does not."""
    for _ in range(24):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def _minimum(cost: object, start: Array) -> Array:
    options = {"maxiter": 800, "xatol": 1e-3, "fatol": 1e-6}
    return np.asarray(minimize(cost, start, method="Nelder-Mead", options=options).x)


def _quantile_scale(ratios: Array) -> float:
    """Factor that brings the quantiles of |error| / deviation to those of a normal distribution."""
    ordered = np.sort(ratios)
    q68, q95 = (rank_quantile(ordered, p) for p in (0.68, 0.95))
    if len(ratios) < 50:
        q95 = q68 * NORMAL_95 / NORMAL_68
    return float(np.sqrt(q68 / NORMAL_68 * q95 / NORMAL_95))
