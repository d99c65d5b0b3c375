"""How good predicted barriers are: errors, ranking of good conductors, calibration of intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from castile.barriers.model import BarrierPrediction

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class BarrierScores:
    """Errors of predicted barriers.

    Attributes
    ----------
    n : int
    mae, rmse, mean_error, median_error : float
        eV; median of the absolute errors.
    r2 : float or None
        Coefficient of determination; None where the barriers do not vary.
    threshold : float
        eV; below it an ion conducts well.
    accuracy, precision, recall : float or None
        Of "more likely than not below the threshold"; None where there is nothing to count.
    coverage : float
        Share of barriers inside their interval.
    expected_coverage : float
        Probability of the intervals.
    interval_width : float
        Mean width, eV.
    """

    n: int
    mae: float
    rmse: float
    mean_error: float
    median_error: float
    r2: float | None
    threshold: float
    accuracy: float
    precision: float | None
    recall: float | None
    coverage: float
    expected_coverage: float
    interval_width: float

    def to_json_dict(self, prefix: str = "") -> dict[str, float | int | None]:
        """Flat numbers with units in their names."""
        return {
            f"{prefix}n_paths": self.n,
            f"{prefix}barrier_mae_ev": self.mae,
            f"{prefix}barrier_rmse_ev": self.rmse,
            f"{prefix}barrier_mean_error_ev": self.mean_error,
            f"{prefix}barrier_median_absolute_error_ev": self.median_error,
            f"{prefix}barrier_r2": self.r2,
            f"{prefix}threshold_ev": self.threshold,
            f"{prefix}classification_accuracy": self.accuracy,
            f"{prefix}classification_precision": self.precision,
            f"{prefix}classification_recall": self.recall,
            f"{prefix}interval_coverage": self.coverage,
            f"{prefix}interval_expected_coverage": self.expected_coverage,
            f"{prefix}interval_mean_width_ev": self.interval_width,
        }


def score(barriers: ArrayLike, prediction: BarrierPrediction, threshold: float = 0.5) -> BarrierScores:
    """Compare predictions with known barriers (n,), eV."""
    y, p = np.asarray(barriers, dtype=np.float64), prediction.barrier
    errors = p - y
    spread = float(np.square(y - y.mean()).sum())
    good, called = y < threshold, prediction.median < threshold  # more likely than not
    hits = int((good & called).sum())
    return BarrierScores(
        n=len(y),
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt(np.square(errors).mean())),
        mean_error=float(errors.mean()),
        median_error=float(np.median(np.abs(errors))),
        r2=1.0 - float(errors @ errors) / spread if spread > 1e-12 else None,
        threshold=threshold,
        accuracy=float((good == called).mean()),
        precision=hits / int(called.sum()) if called.any() else None,
        recall=hits / int(good.sum()) if good.any() else None,
        coverage=float(((prediction.lower <= y) & (y <= prediction.upper)).mean()),
        expected_coverage=prediction.coverage,
        interval_width=float((prediction.upper - prediction.lower).mean()),
    )


@dataclass(frozen=True)
class ClassScore:
    """Errors of the paths of one class."""

    name: str
    n: int
    mae: float
    mean_error: float
    coverage: float


def score_classes(
    names: Sequence[str], barriers: ArrayLike, prediction: BarrierPrediction
) -> tuple[ClassScore, ...]:
    """Errors by class, the largest class first."""
    y, labels = np.asarray(barriers, dtype=np.float64), np.array(names)
    inside = (prediction.lower <= y) & (y <= prediction.upper)
    errors = prediction.barrier - y
    scores = [
        ClassScore(
            str(name),
            int((labels == name).sum()),
            float(np.abs(errors[labels == name]).mean()),
            float(errors[labels == name].mean()),
            float(inside[labels == name].mean()),
        )
        for name in np.unique(labels)
    ]
    return tuple(sorted(scores, key=lambda item: (-item.n, item.name)))


def calibration_curve(
    barriers: ArrayLike,
    prediction: BarrierPrediction,
    shift: float,
    levels: Sequence[float] = tuple(np.linspace(0.05, 0.95, 19)),
) -> tuple[Float64Array, Float64Array]:
    """Expected and observed share of barriers inside central intervals of growing probability.

    Arguments:
        barriers: (n,) eV.
        prediction: of the same paths.
        shift: e_0 of the model, eV.
        levels: probabilities.

    """
    y = np.asarray(barriers, dtype=np.float64)
    center = np.log(prediction.median + shift)
    deviation = (np.log(prediction.upper + shift) - center) / norm.ppf(0.5 + 0.5 * prediction.coverage)
    z = np.abs(np.log(np.maximum(y, 0.01) + shift) - center) / deviation
    expected = np.asarray(levels, dtype=np.float64)
    return expected, np.array([float((z <= norm.ppf(0.5 + 0.5 * level)).mean()) for level in expected])
