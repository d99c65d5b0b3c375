"""A model of migration barriers: fit on paths with known barriers, predict others with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator, RegressorMixin

from castile.barriers.calibration import Residuals, calibrated
from castile.barriers.channel_mixing import FIXED, Mixing, checked_mixing
from castile.barriers.features import DESCRIPTORS, Featurizer, PathFeatures
from castile.barriers.gaussian_process import FittedProcess, fit_process
from castile.barriers.host_groups import host_families
from castile.barriers.path import MigrationPath
from castile.barriers.path_ends import settled
from castile.barriers.process_inputs import Inputs
from castile.barriers.views import VIEWS, View, columns, soap_blocks
from castile.errors import InputError, NotFittedError

Float64Array = NDArray[np.float64]
SMALLEST_TARGET = 0.01  # eV; barriers below are taken as this
_SIGMA_COVERAGE = 0.6827
IMPLAUSIBLE = (0.02, 5.0)  # eV; below is no barrier at room temperature, above bonds break
_SUSPICIOUS = 2.5  # standard deviations


@dataclass(frozen=True)
class BarrierPrediction:
    """Barriers of paths, (n_paths,) each.

    Attributes
    ----------
    barrier : ndarray
        Mean of the predictive distribution, eV: what misses least on average, squared.
    median : ndarray
        Its median, eV: never larger, since barriers are skewed to high values.
    std : ndarray
        Its standard deviation, eV.
    lower, upper : ndarray
        Interval that holds the barrier with the probability ``coverage``, eV.
    coverage : float
    extrapolation_grade : ndarray
        Variance of the prediction without noise over the 99 % largest among the training paths, each
        predicted from the others; above 1 the path is unlike the training paths.
    """

    barrier: Float64Array
    median: Float64Array
    std: Float64Array
    lower: Float64Array
    upper: Float64Array
    coverage: float
    extrapolation_grade: Float64Array

    @property
    def extrapolates(self) -> NDArray[np.bool_]:
        """Whether each path is unlike the training paths."""
        return np.asarray(self.extrapolation_grade > 1.0)

    def probability_below(self, threshold: float, model: BarrierModel) -> Float64Array:
        """Probability that each barrier lies below ``threshold`` eV."""
        center = np.log(self.median + model.shift)
        scale = (np.log(self.upper + model.shift) - center) / norm.ppf(0.5 + 0.5 * self.coverage)
        return np.asarray(norm.cdf((np.log(threshold + model.shift) - center) / scale))


@dataclass(frozen=True)
class SuspiciousLabel:
    """A training barrier that all others contradict, or that no ion is likely to have."""

    path_id: str
    system: str
    barrier_ev: float
    expected_ev: float
    deviations: float
    reason: str


@dataclass(frozen=True)
class Support:
    """A training path that a prediction leans on, and its weight in the prediction (of the logarithm)."""

    path_id: str
    system: str
    barrier_ev: float
    weight: float


class BarrierModel(RegressorMixin, BaseEstimator):
    r"""Gaussian processes on the logarithm of the barrier, their predictions averaged.

    .. math:: \ln(E_b + e_0) = f(\text{path}) + \text{Student-t noise}

    Length scales, amplitudes and noise are learned by evidence. Each process counts by the inverse of its
    variance. The width of the intervals is set so that those of leave-one-out and of leave-host-out hold
    their share of the training paths.

    Parameters
    ----------
    shift : float
        e_0, eV: below it, differences of barriers count absolutely rather than relatively.
    n_steps : int
        Steps of the search for hyper-parameters.
    robust : bool
        Whether labels that all others contradict lose weight.
    coverage : float
        Probability of the intervals.
    views : sequence of View
        Inputs of the processes that are averaged.
    straight : bool
        Reduce each path to the straight line between its ends, as published data sets have them; otherwise
        images are used as they are.
    mixing : "fixed" or "learned"
        Whether the weights of the density channels of SOAP, properties of the elements, are learned too.

    Attributes
    ----------
    features_ : PathFeatures
        Of the training paths.
    processes_ : tuple of FittedProcess
    scale_of_intervals_ : IntervalScale
        What makes the intervals hold their share.
    path_ids_, systems_ : tuple of str
    """

    def __init__(
        self,
        shift: float = 0.1,
        n_steps: int = 30,
        *,
        robust: bool = True,
        coverage: float = _SIGMA_COVERAGE,
        views: Sequence[View] = VIEWS,
        straight: bool = True,
        mixing: Mixing = "fixed",
    ) -> None:
        self.shift = shift
        self.n_steps = n_steps
        self.robust = robust
        self.coverage = coverage
        self.views = views
        self.straight = straight
        self.mixing = mixing

    def featurize(self, paths: Sequence[MigrationPath]) -> PathFeatures:
        """Features of paths as this model sees them."""
        return Featurizer().many(self.prepare(path) for path in paths)

    def prepare(self, path: MigrationPath) -> MigrationPath:
        """Return the path as this model sees it: ends settled; straight, where the model is one of lines."""
        path = settled(path)
        return path.straightened() if self.straight else path

    def fit(self, paths: Sequence[MigrationPath], y: ArrayLike | None = None) -> BarrierModel:
        """Learn from paths with barriers.

        Parameters
        ----------
        paths : sequence of MigrationPath
        y : array, shape (n_paths,), optional
            Barriers, eV; those of the paths by default.

        Raises
        ------
        InputError
            If there are fewer than 5 paths, or a barrier is missing, negative or not finite.
        """
        _checked_barriers(paths, y)  # before the features, which take longer
        return self.fit_features(self.featurize(paths), paths, y)

    def fit_features(
        self, features: PathFeatures, paths: Sequence[MigrationPath], y: ArrayLike | None = None
    ) -> BarrierModel:
        """As ``fit``, with features that are known already."""
        barriers = _checked_barriers(paths, y)
        if self.shift <= 0.0 or not 0.0 < self.coverage < 1.0:
            raise InputError(
                f"shift = {self.shift}, coverage = {self.coverage}: give shift > 0 and 0 < coverage < 1"
            )
        checked_mixing(self.mixing)
        single = tuple(
            blocks.astype(np.float32).astype(np.float64) for blocks in features.soap
        )  # as in files
        features = PathFeatures(features.names, features.physical, single)
        self.features_ = features
        self.barriers_ = barriers
        self.path_ids_ = tuple(path.path_id for path in paths)
        self.systems_ = tuple(path.system for path in paths)
        self.mobile_ = tuple(sorted({path.symbol for path in paths}))
        self.center_ = features.physical.mean(axis=0)
        deviations = features.physical.std(axis=0)
        self.scale_ = np.where(deviations > 1e-9, deviations, 1.0)
        targets = np.log(np.maximum(barriers, SMALLEST_TARGET) + self.shift)
        self.offset_ = float(targets.mean())
        rounds = 2 if self.robust else 0
        self.processes_ = tuple(
            fit_process(inputs, targets - self.offset_, n_steps=self.n_steps, n_reweightings=rounds)
            for inputs in self._inputs(features)
        )
        self._calibrate(host_families(paths, features), targets - self.offset_)
        return self

    def _calibrate(self, groups: NDArray[np.int64], targets: Float64Array) -> None:
        """Set the width of intervals and the scale of the extrapolation grade by leaving out."""
        mean, variance = self._combine([process.leave_one_out() for process in self.processes_])
        other, wider = self._combine([process.leave_groups_out(groups) for process in self.processes_])
        noise = float(np.mean([process.noise_variance for process in self.processes_]))
        self.scale_of_intervals_ = calibrated(
            Residuals(targets - mean, variance),
            Residuals(targets - other, wider),
            noise,
            self.coverage,
            len(np.unique(groups)),
        )
        self.usual_variance_ = float(np.quantile(variance, 0.99))

    def _inputs(self, features: PathFeatures) -> list[Inputs]:
        """Standardized inputs of each view."""
        numbers = (features.physical - self.center_) / self.scale_
        inputs = []
        for view in self.views:
            chosen = np.clip(numbers[:, columns(view, features.names)], -view.limit, view.limit)
            learned = self.mixing == "learned" and view.soap is not None
            channels = DESCRIPTORS[view.soap or 0].channels_of_features() if learned else FIXED
            inputs.append(Inputs(chosen, soap_blocks(features, view.soap), channels))
        return inputs

    @staticmethod
    def _combine(parts: Sequence[tuple[Float64Array, Float64Array]]) -> tuple[Float64Array, Float64Array]:
        """Mean and variance (without noise) of the average of the processes, weighted by 1 / variance."""
        means, variances = np.stack([mean for mean, _ in parts]), np.stack([value for _, value in parts])
        weights = 1.0 / variances
        weights /= weights.sum(axis=0)
        mean = (weights * means).sum(axis=0)
        return mean, (weights * (variances + np.square(means - mean))).sum(axis=0)

    def predict(self, paths: Sequence[MigrationPath]) -> Float64Array:
        """Barriers, eV, (n_paths,)."""
        return self.predict_intervals(paths).barrier

    def predict_intervals(self, paths: Sequence[MigrationPath]) -> BarrierPrediction:
        """Barriers with intervals.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InputError
            For a path whose features are not finite.
        """
        self._require_fitted()
        return self.predict_features(self.featurize(paths))

    def predict_features(self, features: PathFeatures) -> BarrierPrediction:
        """As ``predict_intervals``, with features that are known already."""
        self._require_fitted()
        pairs = zip(self.processes_, self._inputs(features), strict=True)
        return self._in_ev(*self._combine([process.predict(inputs) for process, inputs in pairs]))

    def leave_one_out(self) -> BarrierPrediction:
        """Barriers of the training paths, each from all others (hyper-parameters kept)."""
        self._require_fitted()
        return self._in_ev(*self._combine([process.leave_one_out() for process in self.processes_]))

    def _in_ev(self, mean: Float64Array, variance: Float64Array) -> BarrierPrediction:
        """Shifted log-normal distribution in eV from mean and variance of the logarithm."""
        center, deviation = mean + self.offset_, self.scale_of_intervals_.deviations(variance)
        center = np.clip(center, np.log(self.shift) - 5.0, np.log(self.shift + 100.0))
        width = norm.ppf(0.5 + 0.5 * self.coverage) * deviation
        squared = np.minimum(deviation**2, 4.0)

        def barrier(logarithm: Float64Array) -> Float64Array:
            """E_b of ln(E_b + e_0), at least 0."""
            return np.maximum(np.exp(logarithm) - self.shift, 0.0)

        return BarrierPrediction(
            barrier=barrier(center + 0.5 * squared),
            median=barrier(center),
            std=np.exp(center + 0.5 * squared) * np.sqrt(np.expm1(squared)),
            lower=barrier(center - width),
            upper=barrier(center + width),
            coverage=self.coverage,
            extrapolation_grade=variance / max(self.usual_variance_, 1e-12),
        )

    def suspicious_labels(self, threshold: float = _SUSPICIOUS) -> tuple[SuspiciousLabel, ...]:
        """Training barriers more than ``threshold`` standard deviations from what others say, worst first."""
        self._require_fitted()
        mean, variance = self._combine([process.leave_one_out() for process in self.processes_])
        targets = np.log(np.maximum(self.barriers_, SMALLEST_TARGET) + self.shift) - self.offset_
        z = (targets - mean) / self.scale_of_intervals_.deviations(variance)
        expected = self._in_ev(mean, variance).median
        contradicted = np.abs(z) > threshold
        odd = (self.barriers_ < IMPLAUSIBLE[0]) | (self.barriers_ > IMPLAUSIBLE[1])
        order = [int(i) for i in np.argsort(-np.abs(z)) if contradicted[i] or odd[i]]
        return tuple(
            SuspiciousLabel(
                self.path_ids_[i],
                self.systems_[i],
                float(self.barriers_[i]),
                float(expected[i]),
                float(z[i]),
                "contradicted" if contradicted[i] else "implausible size",
            )
            for i in order
        )

    def support(self, features: PathFeatures, n_shown: int = 5) -> list[tuple[Support, ...]]:
        """Return for each path the training paths with the largest weights in its prediction."""
        self._require_fitted()
        pairs = zip(self.processes_, self._inputs(features), strict=True)
        weights = np.mean([process.leverage(inputs) for process, inputs in pairs], axis=0)
        return [
            tuple(
                Support(self.path_ids_[i], self.systems_[i], float(self.barriers_[i]), float(row[i]))
                for i in np.argsort(-np.abs(row))[:n_shown]
            )
            for row in weights
        ]

    @property
    def processes(self) -> tuple[FittedProcess, ...]:
        """The Gaussian processes."""
        self._require_fitted()
        return self.processes_

    def _require_fitted(self) -> None:
        if not hasattr(self, "processes_"):
            raise NotFittedError("this BarrierModel is not fitted; call fit(paths) or load a model")


def _checked_barriers(paths: Sequence[MigrationPath], y: ArrayLike | None) -> Float64Array:
    """Labels in eV; missing ones name their path."""
    values = [path.barrier for path in paths] if y is None else list(np.asarray(y, dtype=np.float64))
    if len(values) != len(paths):
        raise InputError(f"there are {len(values)} barriers for {len(paths)} paths; give one for each")
    for path, value in zip(paths, values, strict=True):
        if value is None or not np.isfinite(value) or value < 0.0:
            raise InputError(f"path {path.path_id}: its barrier is {value}; give a number of at least 0 eV")
    if len(values) < 5:
        raise InputError(f"{len(values)} paths are too few to learn from; give at least 5")
    return np.array(values, dtype=np.float64)
