"""Running error statistics: what is kept does not grow with the number of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class ErrorStatistics:
    """Errors (predicted minus reference) of one kind of label, in the unit of that label.

    ``rmse = sqrt(mean(e^2))``, ``mae = mean(|e|)``, ``max_abs = max(|e|)``, ``mean_error = mean(e)`` and
    ``r2 = 1 - sum(e^2) / sum((y - mean(y))^2)`` with reference values y.

    Attributes:
        n: number of labels compared.
        rmse: root mean square error.
        mae: mean absolute error.
        max_abs: largest absolute error.
        mean_error: mean signed error.
        r2: coefficient of determination; None where the reference values do not vary.

    """

    n: int
    rmse: float
    mae: float
    max_abs: float
    mean_error: float
    r2: float | None


class ErrorAccumulator:
    """Collects :class:`ErrorStatistics` batch by batch.

    The spread of the reference values is merged pairwise (Chan, Golub, LeVeque, Am. Stat. 37, 242 (1983),
    Eq. 2.1), so that total energies of thousands of eV lose no digits.
    """

    def __init__(self) -> None:
        self._n = 0
        self._sum = 0.0
        self._sum_abs = 0.0
        self._sum_square = 0.0
        self._max_abs = 0.0
        self._reference_mean = 0.0
        self._reference_spread = 0.0

    @property
    def n(self) -> int:
        """Number of labels compared so far."""
        return self._n

    def add(self, reference: ArrayLike, predicted: ArrayLike) -> None:
        """Add labels and predictions of equal shape; empty arrays change nothing."""
        values = np.asarray(reference, dtype=np.float64).ravel()
        errors = np.asarray(predicted, dtype=np.float64).ravel() - values
        if values.size == 0:
            return
        absolute = np.abs(errors)
        self._sum += float(errors.sum())
        self._sum_abs += float(absolute.sum())
        self._sum_square += float(errors @ errors)
        self._max_abs = max(self._max_abs, float(absolute.max()))
        mean = float(values.mean())
        spread = float(np.square(values - mean).sum())
        total = self._n + values.size
        shift = mean - self._reference_mean
        self._reference_spread += spread + shift * shift * self._n * values.size / total
        self._reference_mean += shift * values.size / total
        self._n = total

    def statistics(self) -> ErrorStatistics | None:
        """Statistics of everything added; None when nothing was."""
        if self._n == 0:
            return None
        scale = max(1.0, self._reference_mean**2) * self._n
        varies = self._n > 1 and self._reference_spread > 1e-24 * scale
        return ErrorStatistics(
            n=self._n,
            rmse=float(np.sqrt(self._sum_square / self._n)),
            mae=self._sum_abs / self._n,
            max_abs=self._max_abs,
            mean_error=self._sum / self._n,
            r2=1.0 - self._sum_square / self._reference_spread if varies else None,
        )
