"""Structures with their predictions, as atoms or text, made by this process or by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_xyz

from castile.errors import CastileError
from castile.evaluation.deviation_collector import Deviations, UncertainValues
from castile.evaluation.prediction_stream import PredictedValues, Predictor, predict_stream
from castile.execution.batches import Batch, split_batches
from castile.execution.task_pool import SerialPool, TaskPool
from castile.potentials.batch_prediction import ManyPredictor
from castile.potentials.gap import GAP
from castile.structures import LabelledStructure, StructureSource
from castile.structures.unread_structure import UnreadStructure

REFERENCE_PREFIX = "reference_"
PREDICTED_KEYS = ("energy", "free_energy", "energies", "forces", "stress")
PREDICTED_ARRAYS = ("energies_std", "forces_std", "extrapolation_grade")

Form = Callable[[LabelledStructure, PredictedValues], Any]
"""Makes what is written from a structure and its prediction: ``predicted_atoms`` or ``extended_xyz``."""


def predicted_atoms(structure: LabelledStructure, predicted: PredictedValues) -> Atoms:
    """Return a copy with the predictions as calculator results and the labels under ``reference_`` keys."""
    atoms = structure.atoms.copy()
    for key in (*PREDICTED_KEYS, "energy_std", "stress_std", *PREDICTED_ARRAYS):
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    if structure.energy is not None:
        atoms.info[REFERENCE_PREFIX + "energy"] = float(structure.energy)
    if structure.stress is not None:
        atoms.info[REFERENCE_PREFIX + "stress"] = structure.stress
    if structure.forces is not None:
        atoms.set_array(REFERENCE_PREFIX + "forces", structure.forces, shape=(3,))
    results: dict[str, Any] = {
        "energy": float(predicted.energy),
        "energies": predicted.energies,
        "forces": predicted.forces,
    }
    if predicted.stress is not None:
        results["stress"] = predicted.stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    if isinstance(predicted, UncertainValues):
        _add_deviations(atoms, predicted.deviations)
    return atoms


def _add_deviations(atoms: Atoms, found: Deviations) -> None:
    """Put deviations into ``info`` and ``arrays``; ASE's formats hold no such calculator results."""
    atoms.info["energy_std"] = float(found.energy_std)
    if found.stress_std is not None:
        atoms.info["stress_std"] = found.stress_std
    atoms.set_array("energies_std", found.energies_std, shape=())
    atoms.set_array("forces_std", found.forces_std, shape=(3,))
    atoms.set_array("extrapolation_grade", found.extrapolation_grade, shape=())


def extended_xyz(structure: LabelledStructure, predicted: PredictedValues) -> str:
    """Return the same as the text of an extended XYZ frame."""
    text = StringIO()
    write_xyz(text, predicted_atoms(structure, predicted))
    return text.getvalue()


@dataclass(frozen=True)
class PredictedFrame:
    """What is written of a structure, and its labels that had to be left out."""

    content: Any
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Frames:
    """What a batch gave, up to a structure that cannot be predicted."""

    frames: tuple[PredictedFrame, ...]
    error: CastileError | None


def predicted_frames(
    model: Predictor, source: StructureSource, pool: TaskPool, form: Form
) -> Iterator[PredictedFrame]:
    """Yield ``form(structure, prediction)`` of all structures in order; workers read the structures, too.

    Raises:
        InputError: for the first structure that cannot be read or predicted, after those before it.

    """
    if isinstance(pool, SerialPool):
        yield from _frames(model, source, form)
        return
    work = partial(_predict_batch, lean_predictor(model), form)
    for batch in pool.map(work, split_batches(source.unread(), _n_atoms)):
        yield from batch.frames
        if batch.error is not None:
            raise batch.error


def lean_predictor(model: Predictor) -> Predictor:
    """Return what of a model has to travel to workers."""
    return ManyPredictor(model.fitted_model) if isinstance(model, GAP) else model


def _frames(
    model: Predictor, structures: Iterable[LabelledStructure], form: Form
) -> Iterator[PredictedFrame]:
    for structure, predicted in predict_stream(model, structures):
        yield PredictedFrame(form(structure, predicted), structure.left_out)


def _n_atoms(structure: UnreadStructure) -> int:
    return structure.n_atoms


def _predict_batch(model: Predictor, form: Form, batch: Batch[UnreadStructure]) -> _Frames:
    """Read, predict and form a batch; what comes before a structure that cannot be read is predicted, too."""
    structures: list[LabelledStructure] = []
    frames: list[PredictedFrame] = []
    failure: CastileError | None = None
    try:
        for unread in batch.items:
            structures.append(unread.read())
    except CastileError as error:
        failure = error
    try:
        for frame in _frames(model, structures, form):
            frames.append(frame)
    except CastileError as error:
        failure = error
    return _Frames(tuple(frames), failure)
