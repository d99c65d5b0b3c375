"""Predictions of a stream of structures, several at a time, with errors that name the structure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import CastileError, InputError
from castile.structures import LabelledStructure

_ANONYMOUS = re.compile(r"^structure( \d+)?: ")


class PredictedValues(Protocol):
    """What a prediction must offer; ``castile.Prediction`` does."""

    @property
    def energy(self) -> float:
        """Total energy, eV."""

    @property
    def energies(self) -> NDArray[np.float64]:
        """(n_atoms,) energies of the atoms, eV."""

    @property
    def forces(self) -> NDArray[np.float64]:
        """(n_atoms, 3) forces, eV/Angstrom."""

    @property
    def stress(self) -> NDArray[np.float64] | None:
        """(6,) stress in ASE's sign and Voigt order, eV/Angstrom^3; None without a volume."""


class Predictor(Protocol):
    """Anything that predicts structures; ``castile.GAP`` does."""

    def predict_many(self, structures: Iterable[Atoms]) -> Iterator[PredictedValues]:
        """Predictions of structures, in order."""


def predict_stream(
    model: Predictor, source: Iterable[LabelledStructure]
) -> Iterator[tuple[LabelledStructure, PredictedValues]]:
    """Yield each structure with its prediction, in order; only those being predicted are in memory.

    Raises:
        InputError: the model cannot predict a structure, which is named, or its prediction is not finite; or
            whatever reading the source raises.

    """
    waiting: deque[LabelledStructure] = deque()
    reading_errors: list[BaseException] = []

    def atoms_of_source() -> Iterator[Atoms]:
        """Atoms for the model, each remembered until its prediction comes."""
        try:
            for structure in source:
                waiting.append(structure)
                yield structure.atoms
        except Exception as error:
            reading_errors.append(error)
            raise

    predictions = model.predict_many(atoms_of_source())
    while True:
        try:
            predicted = next(predictions)
        except StopIteration:
            return
        except CastileError as error:
            if error in reading_errors or not waiting:
                raise
            raise InputError(f"{waiting[0].name}: {_ANONYMOUS.sub('', str(error))}") from error
        structure = waiting.popleft()
        if not (np.isfinite(predicted.energy) and np.all(np.isfinite(predicted.forces))):
            raise InputError(
                f"{structure.name}: the predicted energy or forces are not finite (energy {predicted.energy} "
                "eV); look at the structure: atoms may lie on top of each other."
            )
        yield structure, predicted
