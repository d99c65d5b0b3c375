"""Predictions with deviations in the stream of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.evaluation.deviations import (
    DeviationReport,
    DeviationStatistics,
    deviation_statistics,
    rank_correlation,
)
from castile.evaluation.prediction_stream import PredictedValues
from castile.potentials.stress_order import suspicious_orders
from castile.structures import LabelledStructure

COMMITTEE_SAMPLES = 32
"""Members of the committee of an evaluation: their deviations are known to 1 / sqrt(64) = 12 %."""

Array = NDArray[np.float64]


class Deviations(Protocol):
    """What a prediction with deviations must offer; ``castile.UncertainPrediction`` does."""

    @property
    def prediction(self) -> PredictedValues:
        """The prediction."""

    @property
    def energy_std(self) -> float:
        """Of the total energy, eV."""

    @property
    def energies_std(self) -> Array:
        """Of the per-atom energies, (n_atoms,), eV."""

    @property
    def forces_std(self) -> Array:
        """(n_atoms, 3), eV/Angstrom."""

    @property
    def stress_std(self) -> Array | None:
        """(6,), eV/Angstrom^3."""

    @property
    def stress_fixed(self) -> NDArray[np.bool_] | None:
        """(6,) components that symmetry makes zero."""

    @property
    def forces_fixed(self) -> NDArray[np.bool_]:
        """(n_atoms, 3) components that symmetry makes zero."""

    @property
    def extrapolation_grade(self) -> Array:
        """(n_atoms,)."""

    @property
    def tails(self) -> Mapping[str, float]:
        """Exponents of the intervals of each kind."""

    @property
    def meaning(self) -> str:
        """What the deviations contain."""


class UncertainModel(Protocol):
    """Anything that predicts structures with deviations; ``castile.GAP`` does."""

    def predict_many_with_uncertainty(
        self, structures: Iterable[Atoms], *, method: str = "auto", n_samples: int | None = None
    ) -> Iterator[Deviations]:
        """Predictions with deviations, in order."""


@dataclass(frozen=True)
class UncertainValues:
    """A prediction together with its deviations."""

    deviations: Deviations

    @property
    def energy(self) -> float:
        """Total energy, eV."""
        return self.deviations.prediction.energy

    @property
    def energies(self) -> Array:
        """(n_atoms,) energies of the atoms, eV."""
        return self.deviations.prediction.energies

    @property
    def forces(self) -> Array:
        """(n_atoms, 3) forces, eV/Angstrom."""
        return self.deviations.prediction.forces

    @property
    def stress(self) -> Array | None:
        """(6,) stress, eV/Angstrom^3."""
        return self.deviations.prediction.stress


@dataclass(frozen=True)
class UncertainPredictor:
    """A model whose predictions come with deviations by ``method`` ("committee", "exact" or "auto"), with
    ``n_samples`` members where it is a committee.
    """

    model: UncertainModel
    method: str
    n_samples: int | None = None

    def predict_many(self, structures: Iterable[Atoms]) -> Iterator[UncertainValues]:
        """Predictions with deviations, in order."""
        found = self.model.predict_many_with_uncertainty(
            structures, method=self.method, n_samples=self.n_samples
        )
        yield from map(UncertainValues, found)


@dataclass(frozen=True)
class _Stress:
    """Predicted and given stress of a structure, its deviations, and which of them symmetry leaves free."""

    predicted: Array
    given: Array
    std: Array
    free: NDArray[np.bool_]
    config_type: str

    def pairs(self, without_shear: bool) -> Array:
        """Return errors and deviations of the components that count, (n, 2)."""
        used = self.free.copy()
        used[3:] &= not without_shear
        return np.column_stack([self.predicted - self.given, self.std])[used]


class DeviationCollector:
    """Errors and deviations of an evaluation; grows by two numbers a label.

    Components that symmetry makes zero do not count, nor do shear stresses whose labels are in a wrong order.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, list[Array]] = {"energy": [], "force": [], "norm": []}
        self._stresses: list[_Stress] = []
        self._grades: list[Array] = []
        self._meaning = ""
        self._tails: Mapping[str, float] = {}

    def add(self, structure: LabelledStructure, found: Deviations) -> None:
        """Add a labelled structure with its prediction."""
        prediction, n_atoms = found.prediction, len(structure.atoms)
        self._grades.append(np.asarray(found.extrapolation_grade))
        self._meaning, self._tails = found.meaning, found.tails
        if structure.energy is not None:
            error = (prediction.energy - structure.energy) / n_atoms
            self._pairs["energy"].append(np.array([[error, found.energy_std / n_atoms]]))
        if structure.stress is not None and prediction.stress is not None and found.stress_std is not None:
            free = np.ones(6, dtype=bool) if found.stress_fixed is None else ~found.stress_fixed
            given = np.asarray(structure.stress)
            self._stresses.append(
                _Stress(prediction.stress, given, found.stress_std, free, structure.config_type)
            )
        if structure.forces is not None:
            used = np.ones(n_atoms, dtype=bool) if structure.force_mask is None else structure.force_mask
            errors = (prediction.forces - structure.forces)[used]
            spreads, free = found.forces_std[used], ~found.forces_fixed[used]
            self._pairs["force"].append(np.column_stack([errors[free], spreads[free]]))
            norms = np.linalg.norm(errors, axis=1), np.linalg.norm(spreads, axis=1)
            self._pairs["norm"].append(np.column_stack(norms)[free.any(axis=1)])

    def report(self) -> DeviationReport | None:
        """Return what was found; None when nothing was added."""
        if not self._grades:
            return None
        pairs = {
            kind: np.concatenate(parts) if parts else np.empty((0, 2)) for kind, parts in self._pairs.items()
        }
        grades, norms = np.concatenate(self._grades), pairs["norm"]
        orders = suspicious_orders(
            [stress.predicted for stress in self._stresses],
            [stress.given for stress in self._stresses],
            [stress.config_type for stress in self._stresses],
        )
        wrong = {order.config_type for order in orders}
        counted = [stress.pairs(stress.config_type in wrong) for stress in self._stresses]
        return DeviationReport(
            energy=self._statistics("energy", pairs["energy"]),
            force=self._statistics("forces", pairs["force"]),
            force_norm_spearman=rank_correlation(norms[:, 1], norms[:, 0]) if len(norms) > 1 else None,
            stress=self._statistics("stress", np.concatenate([np.empty((0, 2)), *counted])),
            mean_grade=float(grades.mean()),
            max_grade=float(grades.max()),
            meaning=self._meaning,
            remarks=tuple(order.message for order in orders),
        )

    def _statistics(self, kind: str, pairs: Array) -> DeviationStatistics | None:
        """Statistics of errors and deviations (n, 2) with the intervals of the model."""
        return deviation_statistics(pairs[:, 0], pairs[:, 1], self._tails.get(kind, 0.0))
