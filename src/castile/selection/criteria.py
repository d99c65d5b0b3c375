"""What the observation of a block of labels is worth."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.selection.posterior_root import PosteriorRoot
from castile.selection.principal_rows import explained_rows, principal_squares

Float64Array = NDArray[np.float64]


def information_gain(whitened: Float64Array) -> float:
    """Expected information of a block, 1/2 log|1 + Z Z^T| in nats; Z (b, n_columns) in units of its noise.

    Source: Lindley, Ann. Math. Stat. 27, 986 (1956); MacKay, Neural Comput. 4, 590 (1992).
    """
    return float(0.5 * np.sum(np.log1p(principal_squares(whitened))))


def repeated_information(whitened: Float64Array) -> float:
    """Expected information of a block that is observed a second time, 1/2 sum log(1 + s / (1 + s)) in nats.

    s are the eigenvalues of Z Z^T. A block that brings no more than this brings nothing but less noise.
    """
    squares = principal_squares(whitened)
    return float(0.5 * np.sum(np.log1p(squares / (1.0 + squares))))


class Criterion(Protocol):
    """What a block is worth given what was observed before; never grows by more observations."""

    def value(self, whitened: Float64Array) -> float:
        """Return the worth of the block whose Z = B X is ``whitened``."""
        ...

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Take up an observation, before ``root`` does."""
        ...


class Information:
    """Expected information that a block has about the process: the largest predictive variance.

    For a block of one row it grows with the predictive variance in units of the noise, 1/2 log(1 + v / s^2):
    the greedy choice is the pivoted Cholesky factorization of the posterior covariance.
    """

    def value(self, whitened: Float64Array) -> float:
        """Return nats."""
        return information_gain(whitened)

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Nothing to do."""


class OwnVariance:
    r"""Variance of its own labels that a block takes away when it is observed, in units of their noise.

    .. math::

        \operatorname{tr} (C - C') = \operatorname{tr} C (1 + C)^{-1} C = \sum_k \frac{s_k^2}{1 + s_k},
        \quad C = Z Z^T

    with the eigenvalues s of C. For a block of one row it grows with the predictive variance, and the greedy
    choice is the pivoted Cholesky factorization of the posterior covariance, as that of ``Information``. Of
    several rows, those whose variances are small beside the noise count by the square of what they have in
    common: many labels that say little, each about something else, are worth little.
    """

    def value(self, whitened: Float64Array) -> float:
        """Return the variance in units of the noise."""
        squares = principal_squares(whitened)
        return float(np.sum(squares * (squares / (1.0 + squares))))

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Nothing to do."""


class TargetCovariance:
    r"""By how much observing a block lowers the squared covariances of all pairs of targets.

    .. math::

        \operatorname{tr} C_t^2 - \operatorname{tr} C_t'^2 = \operatorname{tr} G^2 - \operatorname{tr} (P G)^2
        = 2 \operatorname{tr} H G^2 H^T - \operatorname{tr} (H G H^T)^2, \quad
        P = (1 + Z^T Z)^{-1} = 1 - H^T H,

    where G = X^T (sum_t a_t a_t^T) X has the eigenvalues of the covariance of the targets. Twice tr G^2 is
    the variance of their summed squared error, whose mean is tr G: what many targets have in common counts
    for more than what each has alone.

    Arguments:
        metric: G, (n_columns, n_columns), in the columns of the blocks.

    Source: Searle, Linear Models (Wiley, 1971), section 2.5 (the variance of a quadratic form); Cohn, Neural
    Netw. 9, 1071 (1996), and Yu, Bi and Tresp, ICML (2006), Eq. 6 (choice by the mean, tr G).

    """

    def __init__(self, metric: ArrayLike) -> None:
        self.metric = np.array(metric, dtype=np.float64)

    @property
    def variance(self) -> float:
        """Summed variance of the targets now."""
        return float(np.trace(self.metric))

    def value(self, whitened: Float64Array) -> float:
        """Return the decrease, in the squared unit of the metric."""
        half = explained_rows(whitened)
        product = half @ self.metric
        between = product @ half.T
        return float(2.0 * np.vdot(product, product) - np.vdot(between, between))

    def observe(self, root: PosteriorRoot, whitened: Float64Array) -> None:
        """Change the metric to the new whitened weights."""
        once = root.shrink(whitened, self.metric)
        self.metric = root.shrink(whitened, once.T)
