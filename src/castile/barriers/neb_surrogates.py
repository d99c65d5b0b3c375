"""Surrogates of the oracle along a path: a Gaussian process of distances or coordinates, or a sparse GAP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.barriers.neb_ends import free_atoms
from castile.barriers.neb_features import CartesianPositions, InverseDistances, PairSums, PathFeatures
from castile.barriers.neb_kernels import squared_exponential
from castile.barriers.neb_process import (
    HyperparameterPrior,
    Hyperparameters,
    PathProcess,
    choose_evaluations,
    path_data,
)
from castile.errors import InputError
from castile.potentials.gap import GAP

Float64Array = NDArray[np.float64]

MAX_ROWS = 5000
"""Of the dense matrix; structures far from the path are left out beyond it."""
PRIORS = {
    "distances": HyperparameterPrior(Hyperparameters(5.0, 1.5, 1.0), Hyperparameters(1.5, 0.7, 1.0)),
    "cartesian": HyperparameterPrior(Hyperparameters(5.0, 1.0, 1.0), Hyperparameters(1.5, 0.7, 1.0)),
}


@dataclass(frozen=True)
class PathDeviation:
    """Deviations of the energy (eV) and of its slope along the path (eV/A) at one structure."""

    energy: float
    slope: float


class PathSurrogate(ABC):
    """Energy and forces of structures that have the atoms, order and cell of a template."""

    @abstractmethod
    def learn(self, labelled: Sequence[Atoms], path: Sequence[Float64Array]) -> None:
        """Learn from all labelled structures; ``path`` are positions where predictions will be asked for."""

    @abstractmethod
    def predict(self, positions: Float64Array) -> tuple[float, Float64Array]:
        """Return energy (eV) and forces (n_atoms, 3) in eV/A; those on fixed atoms are zero."""

    @abstractmethod
    def energy_deviation(self, positions: Float64Array) -> float:
        """Return the deviation of the energy, eV."""

    @abstractmethod
    def deviation(self, positions: Float64Array, tangent: Float64Array) -> PathDeviation:
        """Return the deviations of the energy and of its slope along a unit vector (n_atoms, 3)."""


class ProcessSurrogate(PathSurrogate):
    """The Gaussian process of `PathProcess`, on top of a given model if there is one.

    Parameters
    ----------
    template : Atoms
        Elements, cell, periodicity and fixed atoms.
    kind : "distances" or "cartesian"
        Of the features; distances come with a sum of pair potentials.
    model : GAP, optional
        Its predictions are the prior mean.
    """

    def __init__(self, template: Atoms, kind: str = "distances", model: GAP | None = None) -> None:
        self._template = template.copy()
        self._free = free_atoms(template)
        self._prior = PRIORS[kind]
        self._start = self._prior.medians
        self._features: PathFeatures
        self._pairs: PathFeatures | None = None
        if kind == "distances":
            self._features = InverseDistances(template, self._free)
            self._pairs = PairSums(template, self._free, self._features.pairs)
        else:
            self._features = CartesianPositions(template, self._free)
        self._baseline = None if model is None else model.calculator()
        self._process: PathProcess | None = None

    def learn(self, labelled: Sequence[Atoms], path: Sequence[Float64Array]) -> None:
        """Condition the process on energies and forces."""
        kept = self._nearest(labelled, path)
        places = [atoms.positions for atoms in kept]
        self._features.cover([*places, *path])
        energies, gradients = [], []
        for atoms in kept:
            energy, forces = self._below(atoms.positions)
            energies.append(atoms.get_potential_energy() - energy)
            gradients.append(-(atoms.get_forces(apply_constraint=False) - forces)[self._free].ravel())
        data = path_data(places, energies, gradients)
        n_rows = len(kept) * (1 + 3 * len(self._free))
        self._process = PathProcess(
            self._features,
            squared_exponential,
            self._pairs,
            data,
            self._prior,
            self._start,
            choose_evaluations(n_rows),
        )
        self._start = self._process.hyperparameters

    def _nearest(self, labelled: Sequence[Atoms], path: Sequence[Float64Array]) -> list[Atoms]:
        """Return all structures, or those nearest to the path when the matrix would become too large."""
        most = max(MAX_ROWS // (1 + 3 * len(self._free)), 8)
        if len(labelled) <= most:
            return list(labelled)
        distances = [min(np.linalg.norm(atoms.positions - place) for place in path) for atoms in labelled]
        return [labelled[index] for index in sorted(np.argsort(distances, kind="stable")[:most])]

    def _below(self, positions: Float64Array) -> tuple[float, Float64Array]:
        """Return energy and forces of the given model, zero without one."""
        if self._baseline is None:
            return 0.0, np.zeros((len(self._template), 3))
        atoms = Atoms(
            self._template.symbols, positions=positions, cell=self._template.cell, pbc=self._template.pbc
        )
        atoms.calc = self._baseline
        return float(atoms.get_potential_energy()), np.array(atoms.get_forces())

    def predict(self, positions: Float64Array) -> tuple[float, Float64Array]:
        """Return energy and forces."""
        assert self._process is not None
        energy, gradient = self._process.predict(positions)
        below, forces = self._below(positions)
        total = np.zeros_like(positions)
        total[self._free] = forces[self._free] - gradient.reshape(-1, 3)
        return below + energy, total

    def energy_deviation(self, positions: Float64Array) -> float:
        """Return the deviation of the energy."""
        assert self._process is not None
        return float(self._process.deviations(positions, np.empty((0, 3 * len(self._free))))[0])

    def deviation(self, positions: Float64Array, tangent: Float64Array) -> PathDeviation:
        """Return deviations of the process."""
        assert self._process is not None
        energy, slope = self._process.deviations(positions, tangent[self._free].reshape(1, -1))
        return PathDeviation(float(energy), float(slope))


class GapSurrogate(PathSurrogate):
    """A sparse GAP (SOAP, pairs, core repulsion) fitted to the labels, or a given one updated with them.

    Parameters
    ----------
    template : Atoms
    model : GAP, optional
    """

    def __init__(self, template: Atoms, model: GAP | None = None) -> None:
        self._template = template.copy()
        self._free = free_atoms(template)
        self._given = model
        self._gap: GAP | None = None
        self._n_learned = 0

    def learn(self, labelled: Sequence[Atoms], path: Sequence[Float64Array]) -> None:
        """Fit all labels, or update the given model with those it has not seen."""
        bare = [_labels_only(atoms) for atoms in labelled]
        if self._given is None:
            self._gap = GAP(n_sparse=MAX_SPARSE, pair=True, composition="least_squares").fit(bare)
        else:
            current = self._gap or self._given
            self._gap = current.update(bare[self._n_learned :])
        self._n_learned = len(bare)

    def _at(self, positions: Float64Array) -> Atoms:
        return Atoms(
            self._template.symbols, positions=positions, cell=self._template.cell, pbc=self._template.pbc
        )

    def predict(self, positions: Float64Array) -> tuple[float, Float64Array]:
        """Return energy and forces."""
        assert self._gap is not None
        prediction = self._gap.predict(self._at(positions))
        forces = np.zeros_like(positions)
        forces[self._free] = prediction.forces[self._free]
        return float(prediction.energy), forces

    def energy_deviation(self, positions: Float64Array) -> float:
        """Return the deviation of the energy."""
        return self.deviation(positions, np.zeros_like(positions)).energy

    def deviation(self, positions: Float64Array, tangent: Float64Array) -> PathDeviation:
        """Return deviations of the GAP; those of forces on atoms are taken as independent along the path."""
        assert self._gap is not None
        uncertain = self._gap.predict_with_uncertainty(self._at(positions), method="auto")
        slope = float(np.sqrt(((uncertain.forces_std * tangent) ** 2).sum()))
        return PathDeviation(float(uncertain.energy_std), slope)


MAX_SPARSE = 600


def _labels_only(atoms: Atoms) -> Atoms:
    """Return a copy without constraints, whose labels are whole."""
    copy = atoms.copy()
    copy.set_constraint()
    copy.info = {}
    copy.calc = atoms.calc
    return copy


def build_surrogate(template: Atoms, kind: str, model: GAP | None) -> PathSurrogate:
    """Return the surrogate of a name.

    Raises
    ------
    InputError
        When the model cannot describe an element of the template.
    """
    if model is not None:
        try:
            model.predict(template)
        except (InputError, KeyError) as error:
            raise InputError(f"model: {error}") from error
    if kind == "soap":
        return GapSurrogate(template, model)
    return ProcessSurrogate(template, kind, model)
