"""A fitted potential as plain data: terms, weights, and what they were made from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.threads import thread_count
from castile.potentials.composition import Composition
from castile.potentials.environment import Environment, Response
from castile.potentials.prediction import Prediction
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.soap_term import SoapTerm
from castile.potentials.stored_term import Core, PredictingTerm
from castile.structures.coincidence import refuse_coincident_atoms
from castile.structures.validation import cell_volume

Precision = Literal["double", "single"]

_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@dataclass(frozen=True)
class PotentialModel:
    """Sum of composition, core repulsion and weighted terms.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers that the model knows.
    composition, core, terms
        What is added up; the core may be None.
    weights : tuple of ndarray
        Weights of each term's columns.
    """

    elements: tuple[int, ...]
    composition: Composition
    core: Core | None
    terms: tuple[PredictingTerm, ...]
    weights: tuple[NDArray[np.float64], ...]

    @property
    def cutoff(self) -> float:
        """Largest cutoff of all terms, Angstrom."""
        cutoffs = [term.cutoff for term in self.terms] + ([self.core.cutoff] if self.core else [])
        return max(cutoffs, default=1.0)

    def in_precision(self, precision: Precision) -> "PotentialModel":
        """Return the same model with products between SOAP vectors and sparse points in another precision.

        In single precision SOAP vectors and sparse points are taken relative to the mean sparse point, so the
        rounding acts on small differences only; densities, powers, sums and forces stay in double precision.
        Terms without such products do not change.

        Raises
        ------
        InputError
            For another word than "double" and "single".
        """
        if precision not in get_args(Precision):
            raise InputError(f"precision = {precision!r}: give one of {', '.join(get_args(Precision))}")
        wanted = "float32" if precision == "single" else "float64"
        terms = tuple(
            replace(term, precision=wanted) if isinstance(term, SoapTerm | QuipSoapTerm) else term
            for term in self.terms
        )
        return replace(self, terms=terms)

    def predict(self, atoms: Atoms, threads: int | None = None, name: str = "structure") -> Prediction:
        """Return energy, per-atom energies, forces and stress of a structure.

        Raises
        ------
        InputError
            For an element that the model does not know, NaN positions, or two atoms in one place.
        """
        self.check_elements(atoms, name)
        count = thread_count(threads)
        response = Response.zeros(len(atoms))
        response.energies += self.composition.atom_energies(np.asarray(atoms.numbers))
        whole = any(isinstance(term, QuipSoapVariant) and term.average for term in self.terms)
        for part in _parts(atoms, self.cutoff, name, count, whole):
            _check_distances(part, name)
            if self.core is not None:
                self.core.add_response(part, response)
            for term, weights in zip(self.terms, self.weights, strict=True):
                term.add_response(part, weights, response, count)
        volume = cell_volume(atoms)
        stress = response.virial[_VOIGT] / volume if volume > 0.0 else None
        energy = float(response.energies.sum())
        if not (np.isfinite(energy) and np.isfinite(response.forces).all()):
            raise InputError(f"{name}: the predicted energy is {energy}; check positions, cell and the model")
        return Prediction(energy, response.energies, response.forces, stress)

    def check_elements(self, atoms: Atoms, name: str) -> None:
        """Raise InputError where ``atoms`` hold an element that the model does not know."""
        numbers = atoms.numbers if len(atoms) < 1000 else np.unique(atoms.numbers)
        unknown = sorted(set(numbers.tolist()) - set(self.elements))
        if unknown:
            known = ", ".join(chemical_symbols[z] for z in self.elements)
            symbols = ", ".join(chemical_symbols[z] for z in unknown)
            raise InputError(f"{name}: the model was not trained on {symbols}; it knows {known}")


def _environment(atoms: Atoms, cutoff: float, name: str) -> Environment:
    _refuse_empty(atoms, name)
    try:
        return Environment.of(atoms, cutoff)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _parts(atoms: Atoms, cutoff: float, name: str, threads: int, whole: bool) -> Iterator[Environment]:
    _refuse_empty(atoms, name)
    if whole:  # a term sees all centres at once
        yield _environment(atoms, cutoff, name)
        return
    parts = Environment.parts(atoms, cutoff, threads)
    while True:
        try:
            part = next(parts, None)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        if part is None:
            return
        yield part


def _refuse_empty(atoms: Atoms, name: str) -> None:
    if len(atoms) == 0:
        raise InputError(f"{name}: has no atoms; leave it out")


def _check_distances(environment: Environment, name: str) -> None:
    refuse_coincident_atoms(environment.pairs, name)
