"""Intervals of errors whose distribution has lighter or heavier tails than a normal one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

NORMAL_68, NORMAL_95 = 0.9944578832097532, 1.959963984540054
"""Half widths of the central intervals of 68 and 95 % of a normal distribution, in deviations."""
MIDDLE = float(np.sqrt(NORMAL_68 * NORMAL_95))
"""z_0: the size of errors, in deviations, that the tail does not change."""
LEAST_LABELS = 50
"""With fewer errors the tail is that of a normal distribution."""
HALF_KNOWN = 100.0
"""With errors in so many structures the tail is half of what they ask for."""
TAILS = (-0.5, 1.0)
"""Range of the exponent."""

Array = NDArray[np.float64]


def half_width(level: float, tail: float) -> float:
    r"""Return the half width of the central interval of probability ``level``, in standard deviations.

    .. math::

        w(p) = z \, \bigl(\max(z, z_{68}) / z_0\bigr)^\beta, \quad z = \Phi^{-1}\bigl((1 + p) / 2\bigr)

    with z_68 = 0.994, z_0 = 1.396, the geometric mean of those of 68 and 95 %, and the exponent beta,
    ``tail``: 0 for a normal distribution; with a positive one intervals of less than 83.7 % are narrower, of
    more wider, as those of errors of which few are large.
    """
    z = float(ndtri(0.5 + 0.5 * level))
    return float(z * (max(z, NORMAL_68) / MIDDLE) ** tail)


def normal_sizes(ratios: Array, tail: float) -> Array:
    """Return |error| / deviation as it would be for normal errors of the same rank, (n,): the inverse of
    :func:`half_width`.
    """
    sizes, narrowed = np.abs(ratios), (NORMAL_68 / MIDDLE) ** tail
    beyond = MIDDLE * (np.maximum(sizes, NORMAL_68 * narrowed) / MIDDLE) ** (1.0 / (1.0 + tail))
    return np.where(sizes > NORMAL_68 * narrowed, beyond, sizes / narrowed)


def tail_of(ratios: Sequence[Array]) -> float:
    r"""Return the exponent of the intervals that held-out errors ask for.

    .. math::

        \beta = \frac{n}{n + 100} \,
        \ln \frac{q_{95} / 1.960}{q_{68} / 0.994} \Big/ \ln \frac{1.960}{0.994}

    with the quantiles of |error| / deviation in n structures: few say little about the tails.

    Parameters
    ----------
    ratios : sequence of ndarray
        \|error\| / deviation of each structure.
    """
    together = np.concatenate([np.zeros(0), *ratios])
    if len(together) < LEAST_LABELS:
        return 0.0
    ordered = np.sort(np.abs(together))
    q68, q95 = rank_quantile(ordered, 0.68), rank_quantile(ordered, 0.95)
    if q68 <= 0.0:
        return 0.0
    excess = np.log(q95 / NORMAL_95 * NORMAL_68 / q68) / np.log(NORMAL_95 / NORMAL_68)
    return float(np.clip(excess * len(ratios) / (len(ratios) + HALF_KNOWN), *TAILS))


def rank_quantile(ordered: Array, p: float) -> float:
    """Return the number of rank (n + 1) p, rounded up, of ascending numbers.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), section 2.2.
    """
    rank = int(np.ceil((len(ordered) + 1) * p))
    return float(ordered[min(rank, len(ordered)) - 1])
