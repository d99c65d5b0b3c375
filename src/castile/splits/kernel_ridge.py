"""One plain learner for comparing splits: kernel ridge regression on the kernel of mean power spectra."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.kernels.structure_kernels import AverageSOAPKernel
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, run_tasks
from castile.splits.structure_table import StructureTable
from castile.splits.verification import Describer

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]
ZETA = 2.0
MOST_TRAINING = 3000
_RIDGES = 10.0 ** np.arange(-10.0, 0.5)


@dataclass(frozen=True)
class MeanFeatures:
    """Unit mean power spectra (n_structures, n_features) and mole fractions (n_structures, n_elements)."""

    features: Float64Array
    composition: Float64Array

    def kernel(self, rows: IndexArray, columns: IndexArray) -> Float64Array:
        """Return (p . q)^2, (n_rows, n_columns)."""
        return np.maximum(self.features[rows] @ self.features[columns].T, 0.0) ** ZETA


def mean_features(
    table: StructureTable, settings: SimilaritySettings, progress: Progress | None = None
) -> MeanFeatures:
    """Describe all structures by their mean power spectra."""
    describer = Describer(table, replace(settings, kernel=AverageSOAPKernel.name).descriptor())
    rows = []
    for row in run_tasks(_Mean(describer), range(len(table)), None):
        rows.append(row)
        if progress is not None and len(rows) % 64 == 0:
            progress("describing for the learner", len(rows), len(table))
    elements = np.unique(table.numbers)
    owner = np.repeat(np.arange(len(table)), table.n_atoms)
    composition = np.zeros((len(table), len(elements)))
    np.add.at(composition, (owner, np.searchsorted(elements, table.numbers)), 1.0)
    return MeanFeatures(np.stack(rows), composition / table.n_atoms[:, None])


@dataclass(frozen=True)
class _Mean:
    describer: Describer

    def __call__(self, index: int) -> Float64Array:
        mean = self.describer.environments(index).mean
        unit: Float64Array = mean / np.linalg.norm(mean)
        return unit


def predict_out_of_sample(
    features: MeanFeatures, y: Float64Array, train: IndexArray, test: IndexArray, *, seed: int = 0
) -> Float64Array:
    r"""Return predictions for ``test`` of a ridge regression on ``train``.

    y is centred by least squares on the composition; the ridge is the one of a grid whose leave-one-out error
    on the training structures is least, from the eigenvectors of K. At most 3000 training structures are
    used, drawn with the seed.
    """
    if len(train) > MOST_TRAINING:
        train = np.sort(np.random.default_rng(seed).choice(train, MOST_TRAINING, replace=False))
    coefficients = np.linalg.lstsq(features.composition[train], y[train], rcond=1e-8)[0]
    residual = y[train] - features.composition[train] @ coefficients
    values, vectors = np.linalg.eigh(features.kernel(train, train))
    values = np.maximum(values, 0.0)
    projected = vectors.T @ residual
    best, weights = np.inf, np.zeros(len(train))
    for ridge in _RIDGES * max(float(values[-1]), 1e-300):
        shrunk = 1.0 / (values + ridge)
        alpha = vectors @ (shrunk * projected)
        diagonal = (vectors**2) @ shrunk
        error = float(np.mean((alpha / diagonal) ** 2))
        if error < best:
            best, weights = error, alpha
    return features.composition[test] @ coefficients + features.kernel(test, train) @ weights
