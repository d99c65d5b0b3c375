"""Cholesky factors of the kernel matrices between sparse points, with an explicit, reported jitter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from castile.errors import FitError
from castile.regression.problem import PriorBlock

Float64Array = NDArray[np.float64]

DEFAULT_JITTER = 1e-10
MAX_JITTER = 1e-4


@dataclass(frozen=True)
class PriorFactor:
    """K_mm + jitter mean(diag K_mm) I = L L^T of one term.

    ``lower`` is L, (n, n), Fortran order, zero above the diagonal; ``jitter`` is the relative jitter that was
    needed, which can be larger than the one asked for.
    """

    name: str
    columns: slice
    lower: Float64Array
    jitter: float


def factor_prior(block: PriorBlock, jitter: float = DEFAULT_JITTER) -> PriorFactor:
    """Factor K_mm + jitter mean(diag) I = L L^T, multiplying the jitter by 10 until it succeeds.

    Arguments:
        block: the term.
        jitter: smallest relative jitter to try; 1e-14 is tried in place of 0 on failure.

    Raises FitError when K_mm is not finite, or still not positive definite at the largest jitter (1e-4).

    """
    K_mm = np.asarray(block.K_mm, dtype=np.float64)
    mean_diagonal = float(np.mean(np.diagonal(K_mm)))
    if not np.isfinite(K_mm).all() or mean_diagonal <= 0.0:
        raise FitError(
            f"term {block.name}: the kernel matrix of the sparse points has mean diagonal {mean_diagonal}; "
            "check the descriptors of the sparse points"
        )
    attempt = jitter
    while True:
        shifted = np.array(K_mm, order="F")
        shifted[np.diag_indices_from(shifted)] += attempt * mean_diagonal
        lower, info = lapack.dpotrf(shifted, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return PriorFactor(name=block.name, columns=block.columns, lower=lower, jitter=attempt)
        attempt = max(attempt * 10.0, 1e-14)
        if attempt > MAX_JITTER * 1.001:
            raise FitError(
                f"term {block.name}: the kernel matrix of its {len(K_mm)} sparse points is not positive "
                f"definite with a jitter of {MAX_JITTER:g}; use fewer sparse points, or "
                "remove near-duplicates, or raise zeta"
            )


def factor_priors(
    blocks: Sequence[PriorBlock], jitter: float | Sequence[float] = DEFAULT_JITTER
) -> tuple[PriorFactor, ...]:
    """``factor_prior`` of every block; ``jitter`` one number or one per block."""
    jitters = [jitter] * len(blocks) if isinstance(jitter, int | float) else list(jitter)
    return tuple(factor_prior(block, float(value)) for block, value in zip(blocks, jitters, strict=True))
