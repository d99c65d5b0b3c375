"""What is predicted of a candidate: a property, or an energy of a potential, relaxed or not."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from castile.errors import InputError
from castile.potentials.gap import GAP
from castile.properties import Inputs, PropertyModel, describe
from castile.properties.process import ExactProcess
from castile.simulation.relaxation import relax

Float64Array = NDArray[np.float64]
GRADE_LIMIT = 0.001  # inside the training data of common models grades are a few 1e-4 at most
MOST_MEASURED = 500
ENERGIES = ("energy_per_atom", "energy", "formation_energy")


@dataclass(frozen=True)
class Predicted:
    """Predictions of some structures.

    Attributes
    ----------
    mean : ndarray, shape (n,)
        In the unit of the target.
    std : ndarray, shape (n,)
        Standard deviation of a new label; NaN where the model has none.
    grade : ndarray, shape (n,)
        How far each lies outside the training data; above 1 it does. NaN where the model cannot tell.
    structures : tuple of ase.Atoms
        What was predicted: relaxed, if that was asked for.
    """

    mean: Float64Array
    std: Float64Array
    grade: Float64Array
    structures: tuple[Atoms, ...]


class Target(ABC):
    """Predicts a number per structure; it travels to workers."""

    name: str
    unit: str
    has_deviation: bool

    @abstractmethod
    def predict(self, structures: Sequence[Atoms]) -> Predicted:
        """Return the predictions.

        Raises
        ------
        InputError
            For a structure that cannot be predicted.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of everything that the predictions depend on."""

    def known_labels(self) -> Float64Array:
        """Return the labels that the model was trained on, as far as it keeps them."""
        return np.empty(0)


@dataclass(frozen=True)
class PropertyTarget(Target):
    """A property by a Gaussian process.

    The grade is the standard deviation over the largest that a training structure has when it is left out.

    Parameters
    ----------
    model : PropertyModel
    """

    model: PropertyModel
    largest_deviation: float = field(init=False)

    has_deviation = True

    def __post_init__(self) -> None:
        variances = self.model.process_.leave_one_out()[1]
        object.__setattr__(self, "largest_deviation", float(np.sqrt(variances.max())))

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the property."""
        return self.model.target

    @property
    def unit(self) -> str:  # type: ignore[override]
        """Unit of the property."""
        return self.model.unit

    def predict(self, structures: Sequence[Atoms]) -> Predicted:
        """Return the predictions."""
        inputs = describe(self.model.descriptor, structures, self.model.scope)
        return replace(self.predict_inputs(inputs), structures=tuple(structures))

    def predict_inputs(self, inputs: Inputs) -> Predicted:
        """Return the predictions of structures that are described already, without the structures."""
        mean, std = self.model.predict_inputs(inputs)
        return Predicted(mean, std, std / self.largest_deviation, ())

    def fingerprint(self) -> str:
        """Hash of options and weights."""
        process = self.model.process_
        digest = hashlib.sha256(repr((self.name, self.unit, self.model.scope, process.basis.kernel)).encode())
        digest.update(repr((type(self.model.descriptor).__name__, self.model.descriptor)).encode())
        digest.update(repr(process.basis.parameters).encode())
        for array in (process.weights, process.basis.scaler.shift):  # type: ignore[attr-defined]
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def known_labels(self) -> Float64Array:
        """Training labels of an exact process, y = L L^T w; none of a sparse one."""
        process = self.model.process_
        if not isinstance(process, ExactProcess):
            return np.empty(0)
        scaled = np.round(process.lower @ (process.lower.T @ process.weights), 9)
        return np.asarray(process.basis.offset + process.basis.spread * scaled)


@dataclass(frozen=True)
class RelaxationPlan:
    """A short relaxation before the prediction.

    Parameters
    ----------
    steps : int
        At most so many.
    max_force : float
        eV/A, where it ends.
    cell : bool
        Whether cells relax too.
    """

    steps: int
    max_force: float = 0.05
    cell: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"relaxation: steps = {self.steps}: give at least 1")


@dataclass(frozen=True)
class PotentialTarget(Target):
    """An energy by a GAP.

    The grade is the largest extrapolation grade of an atom over ``grade_limit``.

    Parameters
    ----------
    gap : GAP
    quantity : "energy_per_atom", "energy" or "formation_energy"
        eV/atom, eV, and eV/atom against ``references``.
    references : mapping of str to float
        eV/atom of the elements, for formation energies.
    relaxation : RelaxationPlan, optional
    grade_limit : float
        Extrapolation grade from which an atom counts as unlike the training data; :meth:`limited_by` measures
        it.

    Raises
    ------
    InputError
        For another quantity, or a formation energy without references.
    """

    gap: GAP
    quantity: str = "energy_per_atom"
    references: Mapping[str, float] = field(default_factory=dict)
    relaxation: RelaxationPlan | None = None
    grade_limit: float = GRADE_LIMIT

    def __post_init__(self) -> None:
        if self.quantity not in ENERGIES:
            raise InputError(f"target {self.quantity!r}: of a potential there are {', '.join(ENERGIES)}")
        if self.quantity == "formation_energy" and not self.references:
            raise InputError(
                "a formation energy needs those of the elements: give references, --reference Si=-5.42"
            )
        if not self.grade_limit > 0.0:
            raise InputError(f"grade_limit = {self.grade_limit}: give a positive number")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the quantity."""
        return self.quantity

    @property
    def unit(self) -> str:  # type: ignore[override]
        """EV or eV/atom."""
        return "eV" if self.quantity == "energy" else "eV/atom"

    @property
    def has_deviation(self) -> bool:  # type: ignore[override]
        """Whether the potential knows its deviations."""
        return self.gap.has_uncertainty

    def limited_by(self, training: Sequence[Atoms]) -> PotentialTarget:
        """Return the target with the largest grade of the training structures as the limit.

        At most 500 of them are looked at, evenly spaced. A potential without deviations stays as it is.
        """
        if not self.has_deviation or not training:
            return self
        some = training[:: -(-len(training) // MOST_MEASURED)]
        grades = [self.gap.predict_with_energy_deviations(one).extrapolation_grade.max() for one in some]
        return replace(self, grade_limit=float(max(grades)))

    def predict(self, structures: Sequence[Atoms]) -> Predicted:
        """Return the predictions, one structure after the other."""
        relaxed = [self._relaxed(atoms) for atoms in structures]
        rows = np.array([self._one(atoms) for atoms in relaxed]).reshape(-1, 3)
        return Predicted(rows[:, 0], rows[:, 1], rows[:, 2], tuple(relaxed))

    def _relaxed(self, atoms: Atoms) -> Atoms:
        if self.relaxation is None:
            return atoms
        plan, start = self.relaxation, atoms.copy()
        start.calc = self.gap.calculator()
        result = relax(start, cell=plan.cell, max_force=plan.max_force, max_steps=plan.steps).atoms
        return Atoms(result.numbers, result.positions, cell=result.cell, pbc=result.pbc, info=atoms.info)

    def _one(self, atoms: Atoms) -> tuple[float, float, float]:
        std = grade = float("nan")
        if self.has_deviation:
            found = self.gap.predict_with_energy_deviations(atoms)
            energy, std = found.prediction.energy, found.energy_std
            grade = float(found.extrapolation_grade.max()) / self.grade_limit
        else:
            energy = self.gap.predict(atoms).energy
        if self.quantity == "energy":
            return energy, std, grade
        return (energy - self._reference(atoms)) / len(atoms), std / len(atoms), grade

    def _reference(self, atoms: Atoms) -> float:
        """Energy of the elements of a structure, eV; 0 unless a formation energy is wanted."""
        if self.quantity != "formation_energy":
            return 0.0
        missing = sorted(set(atoms.symbols) - set(self.references))
        if missing:
            raise InputError(f"there is no reference energy of {', '.join(missing)}; give it in eV/atom")
        return float(sum(self.references[symbol] for symbol in atoms.symbols))

    def fingerprint(self) -> str:
        """Hash of options and of the predictions of dimers of all elements."""
        digest = hashlib.sha256(repr(
            (self.quantity, sorted(self.references.items()), self.relaxation, self.grade_limit)
        ).encode())  # fmt: skip
        for atoms in _probes(self.gap):
            digest.update(np.float64(self.gap.predict(atoms).energy).tobytes())
        return digest.hexdigest()


def _probes(gap: GAP) -> list[Atoms]:
    """Small clusters whose energies tell potentials apart."""
    symbols = [chemical_symbols[z] for z in gap.fitted_model.elements]
    places = [(0.0, 0.0, 0.0), (2.4, 0.1, 0.2), (0.9, 2.2, -0.3)]
    return [Atoms(3 * [symbol], places) for symbol in symbols]


def parse_references(text: str) -> dict[str, float]:
    """Return the energies of "Cu=-3.72,Au=-3.2" in eV/atom.

    Raises
    ------
    InputError
        For text that is not of this kind.
    """
    energies = {}
    for part in text.split(","):
        symbol, separator, number = part.partition("=")
        try:
            if not separator or atomic_numbers.get(symbol.strip(), 0) == 0:
                raise ValueError(part)
            energies[symbol.strip()] = float(number)
        except ValueError:
            raise InputError(
                f"references: {part!r} is not understood; write the energies of the elements in eV/atom: "
                "Cu=-3.72,Au=-3.2"
            ) from None
    return energies


def reference_energies(gap: GAP, structures: Sequence[Atoms]) -> dict[str, float]:
    """Return the lowest energy per atom that a potential gives to structures of one element, eV/atom.

    Raises
    ------
    InputError
        For a structure of several elements.
    """
    energies: dict[str, float] = {}
    for atoms in structures:
        symbols = set(atoms.symbols)
        if len(symbols) != 1:
            raise InputError(
                f"references: {atoms.symbols} has several elements; give structures of the elements"
            )
        (symbol,) = symbols
        energy = gap.predict(atoms).energy / len(atoms)
        energies[symbol] = min(energy, energies.get(symbol, np.inf))
    return energies
