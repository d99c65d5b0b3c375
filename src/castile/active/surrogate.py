"""The model of a campaign with its calibrated deviations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from castile.active.surprises import Surprise, make_surprise
from castile.potentials.calibration import Calibration, KindCalibration
from castile.potentials.gap import GAP
from castile.potentials.uncertainty import AUTO, UncertaintyModel


@dataclass(frozen=True)
class Assessment:
    """What a model knows about a structure.

    Attributes
    ----------
    deviation : float
        Force deviation, eV/A: the largest norm of the calibrated deviations of the force on an atom.
    mean_square : float
        Mean over components of the calibrated variance of the forces, (eV/A)^2.
    """

    deviation: float
    mean_square: float


@dataclass(frozen=True)
class Surrogate:
    """A fitted model and the calibration of its force deviations.

    Attributes
    ----------
    gap : GAP
    calibration : KindCalibration
        From labels that were predicted before they were learned.
    version : int
        Number of the model in the campaign.
    """

    gap: GAP
    calibration: KindCalibration
    version: int

    @cached_property
    def uncertainty(self) -> UncertaintyModel:
        """The model with the distribution of its weights, calibrated."""
        calibration = Calibration(forces=self.calibration, source="calibrated by the labels of the campaign")
        return UncertaintyModel(self.gap.fitted_model, self.gap.uncertainty.posterior, calibration)

    def knows_elements(self, atoms: Atoms) -> bool:
        """Whether the model has learned of every element of a structure."""
        return set(atoms.numbers.tolist()) <= set(self.gap.fitted_model.elements)

    def assess(self, atoms: Atoms) -> Assessment:
        """Return the deviations of a structure, exact ones up to 64 atoms; infinite with unknown elements."""
        if not self.knows_elements(atoms):
            return Assessment(math.inf, math.inf)
        uncertain = self.uncertainty.predict(atoms, AUTO, self.gap.threads)
        forces = uncertain.forces_std
        return Assessment(uncertain.force_deviation, float(np.mean(forces**2)))

    def calculator(self) -> Calculator:
        """Return a calculator without deviations, for the steps between two assessments."""
        return self.gap.calculator()

    def surprise_of(self, labelled: Atoms) -> Surprise:
        """Compare a label, which must not have been learned, with the prediction."""
        errors = self.gap.predict(labelled).forces - labelled.get_forces(apply_constraint=False)
        variances = self.uncertainty.variances(labelled).forces
        deviations = self.calibration.deviations(variances).reshape(-1, 3)
        deviation = float(np.sqrt((deviations**2).sum(axis=1).max()))
        return make_surprise(
            int(labelled.info.get("calculation_id", 0)), deviation, errors.ravel(), variances
        )
