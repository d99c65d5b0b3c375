"""Rows of the design matrix, structure by structure, reduced to one triangular factor per kind of label."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.threads import limit_blas
from castile.potentials.composition import Composition
from castile.potentials.environment import Environment, Response, Rows
from castile.potentials.pair_term import PairTerm
from castile.potentials.settings import FitSettings, KindNoise
from castile.potentials.soap_term import SoapTerm
from castile.potentials.stored_term import Core, PredictingTerm
from castile.regression import LabelFactor, PackedFactor, StreamingQR
from castile.structures.labels import LabelledStructure

Term = SoapTerm | PairTerm
Array = NDArray[np.float64]

KINDS = ("energy", "forces", "stress", "fixed")
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@dataclass(frozen=True)
class LabelRows:
    """Rows and targets of one structure that share a kind of noise, and their noise relative to that
    kind's.
    """

    kind: str
    rows: Array
    targets: Array
    relative_sigmas: Array


class FactorSet:
    """Triangular factors of all rows seen, one per kind of label.

    BLAS has one thread in every reduction, so that the factors do not depend on the number of cores.
    """

    def __init__(self, n_columns: int, packed: Iterable[PackedFactor] = ()) -> None:
        """Start empty, or go on from factors that were packed before."""
        self.streams = {kind: StreamingQR(n_columns, kind=kind) for kind in KINDS}
        self.streams.update({factor.kind: StreamingQR.unpack(factor) for factor in packed})

    def add(self, labels: Iterable[LabelRows]) -> None:
        """Reduce the rows of one structure."""
        with limit_blas(1):
            for label in labels:
                self.streams[label.kind].add(label.rows, label.targets, label.relative_sigmas)

    def factors(self) -> list[LabelFactor]:
        """Return the factors of the kinds that have labels."""
        with limit_blas(1):
            return [stream.label_factor() for stream in self.streams.values() if stream.n_rows]

    def merge(self, factors: Iterable[PackedFactor] | None) -> None:
        """Add the rows of other factors."""
        with limit_blas(1):
            for factor in factors or ():
                addend, stream = StreamingQR.unpack(factor), self.streams[factor.kind]
                if stream.n_rows:
                    stream.merge(addend)
                else:
                    self.streams[factor.kind] = addend

    def packed(self) -> tuple[PackedFactor, ...]:
        """Return the factors without their zeros, for a file or another process."""
        with limit_blas(1):
            return tuple(stream.pack() for stream in self.streams.values() if stream.n_rows)


@dataclass(frozen=True)
class RowBuilder:
    """Turns a labelled structure into rows.

    Parameters
    ----------
    terms : sequence of terms
        With sparse points; their columns follow one another.
    composition, core
        What is subtracted from the labels.
    settings : FitSettings
    """

    terms: tuple[Term, ...]
    composition: Composition
    core: Core | None
    settings: FitSettings

    @property
    def n_columns(self) -> int:
        """Number of weights of all terms."""
        return sum(term.n_columns for term in self.terms)

    @property
    def cutoff(self) -> float:
        """Largest cutoff of all terms, Angstrom."""
        cutoffs = [term.cutoff for term in self.terms] + ([self.core.cutoff] if self.core else [])
        return max(cutoffs)

    def column_slices(self) -> list[slice]:
        """Return the columns of each term."""
        ends = np.cumsum([0] + [term.n_columns for term in self.terms])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def __call__(self, structure: LabelledStructure) -> list[LabelRows]:
        """Return the rows of all labels of a structure."""
        environment = Environment.of(structure.atoms, self.cutoff)
        n_atoms = environment.n_atoms
        settings = self.settings
        with_forces = settings.use_forces and structure.forces is not None
        with_stress = settings.use_stress and structure.stress is not None and environment.volume is not None
        rows = Rows(
            np.zeros(self.n_columns),
            np.zeros((3 * n_atoms if with_forces else 0, self.n_columns)),
            np.zeros((6 if with_stress else 0, self.n_columns)),
        )
        for term, columns in zip(self.terms, self.column_slices(), strict=True):
            term.add_rows(
                environment, Rows(rows.energy[columns], rows.forces[:, columns], rows.virial[:, columns])
            )
        base = Response.zeros(n_atoms)
        if self.core:
            self.core.add_response(environment, base)
        override = settings.noise.config_types.get(structure.config_type, KindNoise())
        labels = []
        if settings.use_energies and structure.energy is not None:
            offset = base.energies.sum() + self.composition.atom_energies(environment.numbers).sum()
            target = np.array([structure.energy - offset])
            fixed = structure.energy_sigma
            if fixed is None and override.energy is not None:
                fixed = override.energy * np.sqrt(n_atoms)
            labels.append(_scaled("energy", rows.energy[None], target, fixed, np.sqrt(n_atoms)))
        if with_forces:
            labels.append(self._force_rows(structure, rows.forces, base, override))
        if with_stress:
            volume = environment.volume or 1.0
            target = np.asarray(structure.stress) - base.virial[_VOIGT] / volume
            fixed = structure.stress_sigma if structure.stress_sigma is not None else override.stress
            labels.append(_scaled("stress", rows.virial / volume, target, fixed, 1.0))
        return labels

    def _force_rows(
        self, structure: LabelledStructure, rows: Array, base: Response, override: KindNoise
    ) -> LabelRows:
        target = np.ravel(np.asarray(structure.forces) - base.forces)
        fixed = structure.force_sigma if structure.force_sigma is not None else override.forces
        if fixed is not None and np.ndim(fixed) == 1:
            fixed = np.repeat(fixed, 3)
        if structure.force_mask is not None and not structure.force_mask.all():
            used = np.repeat(structure.force_mask, 3)
            rows, target = rows[used], target[used]
            fixed = fixed[used] if isinstance(fixed, np.ndarray) and fixed.ndim == 1 else fixed
        return _scaled("forces", rows, target, fixed, 1.0)


def trainable_terms(terms: tuple[PredictingTerm, ...]) -> tuple[Term, ...]:
    """Return the terms, all of which must be of a class that makes training rows.

    Raises
    ------
    InputError
        Naming the terms that do not.
    """
    trainable = tuple(term for term in terms if isinstance(term, SoapTerm | PairTerm))
    if len(trainable) < len(terms):
        names = ", ".join(term.name for term in terms if not isinstance(term, SoapTerm | PairTerm))
        raise InputError(f"terms {names} come from another program and cannot be fitted; fit a new model")
    return trainable


def _scaled(
    kind: str, rows: Array, targets: Array, fixed: float | Array | None, relative: float
) -> LabelRows:
    """Attach the noise: the given one (kind "fixed", whose own noise is 1), or the relative one of a learned
    kind.
    """
    sigmas = np.broadcast_to(np.asarray(relative if fixed is None else fixed, dtype=float), targets.shape)
    return LabelRows(kind if fixed is None else "fixed", rows, targets, sigmas)
