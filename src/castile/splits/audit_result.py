"""What an audit of a split found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.splits.folds import tested_sides
from castile.splits.optimism import N_REPEATS, Optimism, Residuals, errors_of_split, measure_optimism
from castile.splits.similarity_index import SimilarityIndex
from castile.splits.threshold import ThresholdCurve

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]

N_BINS = 5


@dataclass(frozen=True)
class Nearest:
    """Nearest training structure of one tested structure."""

    structure: int
    neighbor: int
    similarity: float

    @property
    def distance(self) -> float:
        """D = sqrt(2 - 2 k)."""
        return float(np.sqrt(max(0.0, 2.0 - 2.0 * self.similarity)))


@dataclass(frozen=True)
class Contradiction:
    """Exact duplicates whose labels differ: structures and labels (energies in eV/atom)."""

    structure: int
    neighbor: int
    label: float
    other_label: float


@dataclass(frozen=True)
class ErrorBin:
    """Mean absolute error of tested structures whose distance to training is between two numbers."""

    low: float
    high: float
    n_structures: int
    mae: float


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes
    ----------
    index : SimilarityIndex
        Of all structures, training and test.
    folds : ndarray, shape (n_structures,)
        0 for training and 1 for test, or the fold of each structure.
    cross_validation : bool
        Whether ``folds`` are folds.
    threshold : float
    curve : ThresholdCurve or None
        If the threshold was suggested.
    nearest : tuple of Nearest
        Of every tested structure, most similar first.
    components : ndarray, shape (n_structures,)
        Of all structures together at the threshold.
    exact : ndarray, shape (n_structures,)
        Equal for exact duplicates.
    duplicates_within : tuple of int
        Structures beyond the first of each set of exact duplicates, within training and within test.
    near_within : tuple of int
        The same at the threshold.
    contradictions : tuple of Contradiction
    bins : tuple of ErrorBin
    optimism : Optimism or None
    n_skipped : int
        Structures of the data that were left out because they cannot be used.
    remarks : tuple of str
        What could not be found out, and why.
    """

    index: SimilarityIndex
    folds: IndexArray
    cross_validation: bool
    threshold: float
    curve: ThresholdCurve | None
    nearest: tuple[Nearest, ...]
    components: IndexArray
    exact: IndexArray
    duplicates_within: tuple[int, ...]
    near_within: tuple[int, ...]
    contradictions: tuple[Contradiction, ...]
    bins: tuple[ErrorBin, ...] = ()
    optimism: Optimism | None = None
    n_skipped: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def leaks(self) -> tuple[Nearest, ...]:
        """Tested structures with a training structure above the threshold, most similar first."""
        return tuple(item for item in self.nearest if item.similarity > self.threshold)

    @property
    def n_exact_duplicates(self) -> int:
        """Tested structures that are also in training."""
        sides = tested_sides(self.folds, self.cross_validation)
        return sum(int(np.isin(self.exact[test], self.exact[train]).sum()) for train, test in sides)

    def with_errors(self, errors: Float64Array) -> Audit:
        """Return this audit with the errors (n_structures,) of a model, NaN where unknown, by distance."""
        return replace(self, bins=_bins(self.nearest, np.abs(errors)))

    def with_learner(
        self, residuals: Residuals, target: str, *, seed: int = 0, n_repeats: int = N_REPEATS
    ) -> Audit:
        """Return this audit with the errors of a learner by distance, and how optimistic the split is.

        Arguments as for :func:`castile.splits.optimism.measure_optimism`. Where there are too few components
        for a leak-proof split, ``remarks`` says so.
        """
        errors = errors_of_split(residuals, self.folds, self.cross_validation)
        found = self.with_errors(errors)
        try:
            optimism = measure_optimism(
                residuals, errors, self.folds, self.cross_validation, self.components, target,
                seed=seed, n_repeats=n_repeats,
            )  # fmt: skip
        except InputError as error:
            text = f"how optimistic the split is cannot be said, as there is no leak-proof one: {error}"
            return replace(found, remarks=(*found.remarks, text))
        return replace(found, optimism=optimism)

    def numbers(self) -> dict[str, object]:
        """Return flat numbers (docs: the page of ``castile audit``)."""
        found: dict[str, object] = {
            "n_structures": len(self.folds),
            "n_skipped": self.n_skipped,
            "n_tested": len(self.nearest),
            "n_exact_duplicates": self.n_exact_duplicates,
            "n_contradicting_duplicates": len(self.contradictions),
            "n_leaks": len(self.leaks),
            "leak_fraction": len(self.leaks) / len(self.nearest),
            "max_cross_similarity": self.nearest[0].similarity,
            "median_cross_similarity": float(np.median([item.similarity for item in self.nearest])),
            "threshold": self.threshold,
            "threshold_suggested": self.curve is not None,
            "n_components": int(self.components.max()) + 1,
        }
        names = ("all",) if self.cross_validation else ("train", "test")
        for name, exact, near in zip(names, self.duplicates_within, self.near_within, strict=True):
            found |= {f"{name}/n_exact_duplicates": exact, f"{name}/n_redundant": near}
        if self.optimism is not None:
            found |= {
                "target_mae": self.optimism.mae,
                "target_rmse": self.optimism.rmse,
                "leakproof_mae": self.optimism.leakproof_mae,
                "leakproof_rmse": self.optimism.leakproof_rmse,
                "leakproof_test_fraction": self.optimism.leakproof_test_fraction,
            }
            if np.isfinite(self.optimism.factor):
                found["optimism_factor"] = self.optimism.factor
        return found


def _bins(nearest: tuple[Nearest, ...], errors: Float64Array) -> tuple[ErrorBin, ...]:
    """Errors in bins of equal numbers of structures, nearest first."""
    known = [item for item in nearest if np.isfinite(errors[item.structure])]
    parts = np.array_split(np.arange(len(known)), min(N_BINS, len(known)))
    bins = []
    for part in parts:
        members = [known[k] for k in part]
        mean = float(np.mean([errors[item.structure] for item in members]))
        bins.append(ErrorBin(members[0].distance, members[-1].distance, len(members), mean))
    return tuple(bins)
