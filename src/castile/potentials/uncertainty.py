"""Standard deviations of everything a fitted potential predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.threads import limit_blas, thread_count
from castile.potentials.calibration import RAW, Calibration, VarianceParts, energy_level
from castile.potentials.committee import Committee, sampled_deviations, sampled_energies
from castile.potentials.committee_response import CommitteeResponse
from castile.potentials.environment import Environment, Response
from castile.potentials.exact_variance import (
    StructureVariances,
    TermColumns,
    energy_covariance,
    exact_variances,
    term_columns,
)
from castile.potentials.local_errors import Place
from castile.potentials.mean_soap import MeanSoap
from castile.potentials.model import _VOIGT, PotentialModel, _check_distances, _environment
from castile.potentials.pair_functionals import dense_term, pair_atom_rows, pair_prior_features
from castile.potentials.prediction import EnergyDeviations, Prediction, UncertainPrediction
from castile.potentials.soap_term import SoapTerm
from castile.potentials.training_rows import trainable_terms
from castile.regression import Posterior

FIXED_BELOW, FIXED_STRESS_BELOW = 1e-5, 1e-7
"""Raw deviations below this (eV/A, eV/A^3) are those of components that symmetry makes zero, and rounding."""
EXACT, COMMITTEE, AUTO = "exact", "committee", "auto"
METHODS = (COMMITTEE, EXACT, AUTO)
MOST_EXACT_ATOMS = 64
"""Structures up to this size get exact deviations from method "auto"."""
MEANING = (
    "standard deviation of the predictive distribution of the sparse Gaussian process (deterministic "
    "training conditional: posterior of the weights plus the prior variance that the sparse points leave "
    "open), "
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class UncertaintyModel:
    """A potential with the distribution of its weights.

    Attributes
    ----------
    model : PotentialModel
    posterior : Posterior
    calibration : Calibration
        What the raw deviations are scaled by.
    """

    model: PotentialModel
    posterior: Posterior
    calibration: Calibration = RAW
    terms: tuple[TermColumns, ...] = field(init=False, repr=False)
    mean_soap: MeanSoap | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        terms = term_columns(trainable_terms(self.model.terms), self.posterior)
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "mean_soap", MeanSoap.of(entry.term for entry in terms))

    @property
    def meaning(self) -> str:
        """What the deviations contain, in words."""
        return f"{MEANING}{self.calibration.source}"

    def predict(
        self,
        atoms: Atoms,
        method: str = COMMITTEE,
        threads: int | None = None,
        name: str = "structure",
        n_samples: int | None = None,
    ) -> UncertainPrediction:
        """Return a prediction with deviations.

        Parameters
        ----------
        atoms : ase.Atoms
        method : "committee", "exact" or "auto"
            auto: exact up to 64 atoms.
        threads : int, optional
        name : str
            Of the structure, for messages.
        n_samples : int, optional
            Members of the committee with forces; default 8.

        Raises
        ------
        InputError
            As ``predict`` does, and for another method.
        """
        if method not in METHODS:
            raise InputError(f"method = {method!r}: give one of {', '.join(METHODS)}")
        if n_samples is not None and n_samples < 2:
            raise InputError(f"n_samples = {n_samples}: a spread needs at least 2")
        if method == AUTO:
            method = EXACT if len(atoms) <= MOST_EXACT_ATOMS else COMMITTEE
        if method == EXACT:
            return self._exact(atoms, threads, name)
        return self._sampled(atoms, threads, name, n_samples)

    def variances(self, atoms: Atoms, name: str = "structure") -> StructureVariances:
        """Return the exact raw variances of a structure in their parts."""
        environment = self._environment(atoms, name)
        with limit_blas(1):
            return exact_variances(self.terms, self.posterior, environment)

    def place_of(
        self, atoms: Atoms, prediction: Prediction | None = None, name: str = "structure"
    ) -> Place | None:
        """Return where a structure is among others; None without a SOAP term.

        ``prediction`` is that of the model, which is made where it is not given.
        """
        if self.mean_soap is None:
            return None
        prediction = prediction or self.model.predict(atoms, 1, name)
        with limit_blas(1):
            mean = self.mean_soap.of_environment(self._environment(atoms, name))
        return Place.of(mean, prediction.forces)

    def energy_covariance(self, structures: Sequence[Atoms], calibrated: bool = True) -> Array:
        """Return the covariance between the total energies of structures, (n, n), eV^2; exact.

        Calibrated as each energy for itself; correlations are those of the raw covariance.
        """
        environments = [self._environment(atoms, f"structure {k}") for k, atoms in enumerate(structures)]
        with limit_blas(1):
            posterior, residual, prior = energy_covariance(self.terms, self.posterior, environments)
        if not calibrated:
            return posterior + residual
        parts = VarianceParts(np.diag(posterior), np.maximum(np.diag(residual), 0.0), np.diag(prior))
        kind, sizes = self.calibration.energy, np.array([len(atoms) for atoms in structures], dtype=float)
        seen = energy_level(kind, parts, sizes)
        places = [None if self.calibration.local is None else self.place_of(atoms) for atoms in structures]
        factors = np.array(
            [self.calibration.factors("energy", place, seen[[k]])[0] for k, place in enumerate(places)]
        )
        of_posterior, of_residual = kind.posterior * factors, np.sqrt(kind.weight(parts.share, factors))
        covariance = np.outer(of_posterior, of_posterior) * posterior
        covariance += np.outer(of_residual, of_residual) * residual
        return covariance + np.diag((kind.floor * factors) ** 2 * sizes)

    def _environment(self, atoms: Atoms, name: str) -> Environment:
        self.model.check_elements(atoms, name)
        environment = _environment(atoms, self.model.cutoff, name)
        _check_distances(environment, name)
        return environment

    def _exact(self, atoms: Atoms, threads: int | None, name: str) -> UncertainPrediction:
        prediction = self.model.predict(atoms, threads, name)
        variances = self.variances(atoms, name)
        calibration, root = self.calibration, float(np.sqrt(len(atoms)))
        place = None if calibration.local is None else self.place_of(atoms, prediction, name)
        forces = calibration.deviations("forces", variances.forces, place).reshape(-1, 3)
        stress = None
        if variances.stress is not None:
            stress = calibration.deviations("stress", variances.stress, place)
        seen = energy_level(calibration.energy, variances.energy, len(atoms))
        factor = calibration.factors("energy", place, seen)
        return UncertainPrediction(
            prediction,
            float(calibration.energy.deviations(variances.energy, root, None, factor)[0]),
            calibration.energy.deviations(variances.energies, factor=factor),
            forces,
            stress,
            np.sqrt(variances.energies.share),
            EXACT,
            self.meaning,
            _fixed(variances.forces.raw_deviations).reshape(-1, 3),
            None if variances.stress is None else variances.stress.raw_deviations < FIXED_STRESS_BELOW,
            calibration.tails,
        )

    def committee(self, n_samples: int | None = None) -> Committee:
        """Return the committee of this many members with forces, drawn once."""
        drawn: dict[int | None, Committee] = self.__dict__.setdefault("_committees", {})
        if n_samples not in drawn:
            weights = tuple(self.posterior.weights[entry.columns] for entry in self.terms)
            more = {} if n_samples is None else {"n_members": n_samples}
            drawn[n_samples] = Committee.build(self.terms, weights, self.posterior, self.calibration, **more)
        return drawn[n_samples]

    def energy_deviations(
        self, atoms: Atoms, threads: int | None = None, name: str = "structure"
    ) -> EnergyDeviations:
        """Return a prediction with the deviations of total and per-atom energies only, from samples."""
        environment = self._environment(atoms, name)
        committee = self.committee()
        response = committee.respond(environment, thread_count(threads), with_forces=False)
        prediction = self._complete(environment, response.mean, name)
        place, priors = self._place_at(response, prediction), self._atom_priors(environment)
        found = sampled_energies(self.calibration, place, response, priors)
        return EnergyDeviations(
            prediction, found.energy, found.energies, np.sqrt(found.parts.share), self.meaning
        )

    def _sampled(
        self, atoms: Atoms, threads: int | None, name: str, n_samples: int | None
    ) -> UncertainPrediction:
        environment = self._environment(atoms, name)
        committee = self.committee(n_samples)
        response = committee.respond(environment, thread_count(threads))
        prediction = self._complete(environment, response.mean, name)
        place, priors = self._place_at(response, prediction), self._atom_priors(environment)
        energy = sampled_energies(self.calibration, place, response, priors)
        forces = sampled_deviations(self.calibration, place, response, energy.parts, environment.volume)
        return UncertainPrediction(
            prediction,
            energy.energy,
            energy.energies,
            forces.forces,
            forces.stress,
            np.sqrt(energy.parts.share),
            COMMITTEE,
            self.meaning,
            _fixed(forces.spread),
            None if forces.stress_spread is None else forces.stress_spread < FIXED_STRESS_BELOW,
            self.calibration.tails,
        )

    def _place_at(self, response: CommitteeResponse, prediction: Prediction) -> Place | None:
        """Place of the structure of a response, if it is needed."""
        if self.calibration.local is None or self.mean_soap is None or response.spectrum is None:
            return None
        mean = self.mean_soap.of_sums(response.spectrum, len(response.lost))
        return Place.of(mean, prediction.forces)

    def _complete(self, environment: Environment, response: Response, name: str) -> Prediction:
        """Add composition and core to the response of the terms."""
        response.energies += self.model.composition.atom_energies(environment.numbers)
        if self.model.core is not None:
            self.model.core.add_response(environment, response)
        stress = None
        if environment.volume is not None:
            stress = response.virial[_VOIGT] / environment.volume
        energy = float(response.energies.sum())
        if not (np.isfinite(energy) and np.isfinite(response.forces).all()):
            raise InputError(f"{name}: the predicted energy is {energy}; check positions, cell and the model")
        return Prediction(energy, response.energies, response.forces, stress)

    def _atom_priors(self, environment: Environment) -> Array:
        """Prior variances of the per-atom energies; those of pair terms count where there is no SOAP term."""
        variances = np.zeros(environment.n_atoms)
        for entry in self.terms:
            if isinstance(entry.term, SoapTerm):
                lookup = np.zeros(120)
                lookup[list(entry.term.elements)] = entry.amplitudes**2
                variances += lookup[environment.numbers]
        if not variances.any():
            for entry in self.terms:
                if not isinstance(entry.term, SoapTerm):
                    dense = dense_term(entry.term)
                    rows = pair_atom_rows(dense, environment)
                    features = pair_prior_features(dense, rows, entry.amplitudes)
                    variances += np.einsum("if,if->i", features, features)
        return variances


def _fixed(spread: Array) -> NDArray[np.bool_]:
    """Whether forces with these raw deviations are zero by symmetry."""
    return np.asarray(spread < FIXED_BELOW)
