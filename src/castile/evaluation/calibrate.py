"""Calibration of a model's standard deviations on labelled structures that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from castile.errors import InputError
from castile.execution.threads import map_chunks
from castile.potentials.calibration import Calibration
from castile.potentials.gap import GAP
from castile.potentials.held_out import ENERGY, FORCES, STRESS, HeldOutLabels
from castile.potentials.hold_out_calibration import calibration_from
from castile.potentials.local_errors import Place
from castile.potentials.prediction import Prediction
from castile.potentials.uncertainty import UncertaintyModel
from castile.structures import LabelKeys, LabelledStructure, StructureSource, as_source
from castile.structures.fingerprints import geometry_hash
from castile.structures.readers import StructureLike


@dataclass(frozen=True)
class CalibrationResult:
    """What a calibration did.

    Attributes:
        calibration: the new scale factors.
        before: those that the model had.
        n_structures: structures used.
        seen: names of structures that the model was trained on; they were left out.

    """

    calibration: Calibration
    before: Calibration
    n_structures: int
    seen: tuple[str, ...]

    def to_json_dict(self) -> dict[str, float | int | str]:
        """Flat numbers with units in the key names."""
        numbers: dict[str, float | int | str] = {
            "n_structures": self.n_structures,
            "n_structures_seen_in_training": len(self.seen),
            "source": self.calibration.source,
        }
        units = (
            ("energy", "ev_per_root_atom"),
            ("forces", "ev_per_angstrom"),
            ("stress", "ev_per_angstrom3"),
        )
        for kind, unit in units:
            found = getattr(self.calibration, kind)
            numbers[f"{kind}_posterior_factor"] = found.posterior
            numbers[f"{kind}_residual_factor"] = found.residual
            numbers[f"{kind}_floor_{unit}"] = found.floor
            numbers[f"{kind}_tail_exponent"] = found.tail
        return numbers


def calibrate(
    model: GAP,
    structures: StructureSource | StructureLike | Iterable[StructureLike],
    *,
    keys: LabelKeys | None = None,
    progress: Callable[[int], None] | None = None,
) -> CalibrationResult:
    """Fit the factors that standard deviations are scaled by; ``model`` uses them from then on.

    Structures whose geometry the model was trained on say nothing about errors elsewhere: they are left out.

    Args:
        model: fitted, not imported.
        structures: a file, a glob, "file@::10", ``ase.Atoms``, a list of these, or a ``StructureSource``.
        keys: names of the labels; automatic where None.
        progress: called with the number of structures done.

    Raises:
        InputError: no labelled structure that the model has not seen, or an imported model.

    """
    uncertainty = model.uncertainty
    seen: list[str] = []
    labels: list[HeldOutLabels] = []
    places: list[Place] = []
    n_structures = 0

    def one(structure: LabelledStructure) -> tuple[list[HeldOutLabels], Place | None]:
        """Errors and variances of a structure, and its place."""
        prediction = uncertainty.model.predict(structure.atoms, 1, structure.name)
        labels = held_out_labels(uncertainty, structure, prediction)
        return labels, uncertainty.place_of(structure.atoms, prediction, structure.name)

    unseen = _unseen(model, as_source(structures, keys), seen)
    for found, place in map_chunks(one, unseen, model.threads):
        labels += [replace(label, structure=n_structures) for label in found]
        places += [] if place is None else [place]
        n_structures += 1
        if progress is not None:
            progress(n_structures)
    if not labels:
        raise InputError(
            f"nothing to calibrate on: {len(seen)} structures were in the training set, and no other has a "
            "label; give structures that the model has not seen"
        )
    source = f"calibrated on the errors of {n_structures} structures that were not in the training set"
    calibration = calibration_from(labels, uncertainty.posterior, source, uncertainty.calibration, places)
    if calibration.source == source:
        calibration = replace(calibration, n_structures=n_structures)
    model.set_calibration(calibration)
    return CalibrationResult(calibration, uncertainty.calibration, n_structures, tuple(seen))


def _unseen(model: GAP, structures: StructureSource, seen: list[str]) -> Iterator[LabelledStructure]:
    """Yield the structures that the model was not trained on; ``seen`` takes the names of the others."""
    known = {bytes(row) for row in model.training_fingerprints}
    for structure in structures:
        if geometry_hash(structure.atoms) in known:
            seen.append(structure.name)
        else:
            yield structure


def held_out_labels(
    uncertainty: UncertaintyModel, structure: LabelledStructure, prediction: Prediction
) -> list[HeldOutLabels]:
    """Return errors of the prediction on the labels of a structure, and their exact raw variances."""
    variances = uncertainty.variances(structure.atoms, structure.name)
    found = []
    if structure.energy is not None:
        error = np.array([prediction.energy - structure.energy])
        found.append(HeldOutLabels(ENERGY, error, variances.energy, float(np.sqrt(len(structure.atoms)))))
    if structure.forces is not None:
        errors = (prediction.forces - np.asarray(structure.forces)).ravel()
        used = np.ones(len(errors), dtype=bool)
        if structure.force_mask is not None:
            used = np.repeat(structure.force_mask, 3)
        if used.any():
            found.append(HeldOutLabels(FORCES, errors[used], variances.forces.chosen(used)))
    if structure.stress is not None and prediction.stress is not None and variances.stress is not None:
        errors = prediction.stress - np.asarray(structure.stress)
        given = np.asarray(structure.stress)
        found.append(HeldOutLabels(STRESS, errors, variances.stress, 1.0, structure.config_type, given))
    return found
