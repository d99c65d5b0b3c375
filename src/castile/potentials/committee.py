"""A committee of posterior samples: deviations of energies, forces and stress at a few times the cost of a
prediction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.potentials.calibration import (
    Calibration,
    KindCalibration,
    VarianceParts,
    energy_level,
    levels,
)
from castile.potentials.committee_response import CommitteeResponse, PairCommittee, add_soap_committee
from castile.potentials.committee_terms import SoapSamples, draw_samples
from castile.potentials.energy_samples import EnergySamples, energy_samples
from castile.potentials.environment import Environment
from castile.potentials.exact_variance import TermColumns
from castile.potentials.local_errors import Place
from castile.potentials.member_functions import MemberFunction, forms_pay, member_functions
from castile.potentials.pair_term import PairTerm
from castile.potentials.soap_term import SoapTerm
from castile.regression import Posterior

POSTERIOR_SAMPLES, RESIDUAL_SAMPLES = 32, 8
"""Samples of per-atom energies: a standard deviation from n samples has a relative error of 1 / sqrt(2 n)."""
FORCE_SAMPLES = 8
TOTAL_BYTES = 16_000_000
"""Of the quadratic forms that total energies are sampled with. Every prediction reads them all: there are
fewer where they are larger, at least 16.
"""
ENERGY_PRODUCTS, FORCE_PRODUCTS = 4, 16
"""Products of random projections whose mean is a sample of the prior."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Committee:
    """Samples of all terms.

    Attributes
    ----------
    terms : tuple of TermColumns
    weights : tuple of ndarray
        Posterior mean of each term's weights.
    energy_samples : tuple
        Samples of each term for energies.
    functions : tuple
        Members with forces: a tuple of MemberFunction for each SOAP term, the tables of a pair term.
    calibration : Calibration
        That the members with forces contain.
    n_members : int
    n_total : int
        Samples of the total energy, the first ones of the posterior.
    """

    terms: tuple[TermColumns, ...]
    weights: tuple[Array, ...]
    energy_samples: tuple[EnergySamples | None, ...]
    functions: tuple[tuple[MemberFunction, ...] | PairCommittee, ...]
    calibration: Calibration
    n_members: int
    n_total: int

    @classmethod
    def build(
        cls,
        terms: tuple[TermColumns, ...],
        weights: tuple[Array, ...],
        posterior: Posterior,
        calibration: Calibration,
        n_members: int = FORCE_SAMPLES,
        seed: int = 0,
    ) -> "Committee":
        """Draw the samples."""
        numbers = (max(POSTERIOR_SAMPLES, n_members), max(RESIDUAL_SAMPLES, n_members), ENERGY_PRODUCTS)
        energy = draw_samples(terms, posterior, *numbers, seed)
        force = draw_samples(terms, posterior, n_members, n_members, FORCE_PRODUCTS, seed + 1)
        a, b = calibration.forces.posterior, calibration.forces.residual
        n_total = max(n_members, samples_of_totals(terms))
        kept: list[EnergySamples | None] = []
        functions: list[tuple[MemberFunction, ...] | PairCommittee] = []
        for entry, of_energies, of_forces in zip(terms, energy, force, strict=True):
            if isinstance(of_energies, SoapSamples):
                assert isinstance(entry.term, SoapTerm)
                assert isinstance(of_forces, SoapSamples)
                kept.append(energy_samples(entry.term, of_energies, n_total))
                functions.append(member_functions(entry.term, of_forces, a, b))
            else:
                assert not isinstance(of_forces, SoapSamples)
                kept.append(None)
                functions.append(PairCommittee(of_energies, of_forces, a, b))
        return cls(terms, weights, tuple(kept), tuple(functions), calibration, n_members, n_total)

    def respond(
        self, environment: Environment, threads: int = 1, with_forces: bool = True
    ) -> CommitteeResponse:
        """Return the mean's response and the samples' differences from it (without composition and core)."""
        n_members = self.n_members if with_forces else 0
        response = CommitteeResponse.zeros(
            environment.n_atoms,
            max(POSTERIOR_SAMPLES, self.n_members),
            max(RESIDUAL_SAMPLES, self.n_members),
            self.n_total,
            n_members,
        )
        parts = zip(self.terms, self.weights, self.energy_samples, self.functions, strict=True)
        for entry, weights, samples, functions in parts:
            if isinstance(functions, PairCommittee):
                assert isinstance(entry.term, PairTerm)
                functions.add(entry.term, environment, weights, response, threads)
            else:
                assert isinstance(entry.term, SoapTerm)
                assert samples is not None
                sums = add_soap_committee(
                    entry.term, environment, weights, samples, functions[:n_members], response, threads
                )
                response.spectrum = sums if response.spectrum is None else response.spectrum
        return response


@dataclass(frozen=True)
class SampledEnergy:
    """Calibrated deviations of total and per-atom energies (eV), and the raw variances of the latter."""

    energy: float
    energies: Array
    parts: VarianceParts


@dataclass(frozen=True)
class SampledForces:
    """Calibrated deviations of forces and stress; ``spread``, ``stress_spread`` are those of the members."""

    forces: Array
    stress: Array | None
    spread: Array
    stress_spread: Array | None


def sampled_energies(
    calibration: Calibration, place: Place | None, response: CommitteeResponse, prior: Array
) -> SampledEnergy:
    """Return deviations of the energies from the spread of the samples around the mean of the posterior.

    Parameters
    ----------
    calibration : Calibration
    place : Place or None
        Of the structure, for the local factors.
    response : CommitteeResponse
    prior : ndarray, shape (n_atoms,)
        Prior variances of the per-atom energies, eV^2.
    """
    residual = _mean_square(response.residual) + response.lost
    parts = VarianceParts(_mean_square(response.posterior), residual, prior)
    total = VarianceParts(
        np.array([np.mean(response.total**2)]),
        _mean_square(response.residual.sum(axis=0)[None]) + np.sum(np.sqrt(response.lost)) ** 2,
        np.array([0.0]),
    )
    weighted = float(np.sum(parts.share * residual) / max(residual.sum(), 1e-300))
    kind, given = calibration.energy, (total, np.sqrt(len(prior)), np.array([weighted]))
    factor = calibration.factors("energy", place, energy_level(kind, total, len(prior), given[2]))
    energy = float(kind.deviations(*given, factor)[0])
    return SampledEnergy(energy, kind.deviations(parts, factor=factor), parts)


def sampled_deviations(
    calibration: Calibration,
    place: Place | None,
    response: CommitteeResponse,
    parts: VarianceParts,
    volume: float | None,
) -> SampledForces:
    """Return deviations of forces and stress from the spread of the members around the mean.

    The members contain the posterior and the residual part with the weights of the calibration of forces.
    Where an environment is unknown (grade near 1) the residual part counts in full; the factor is that of the
    energy of the atom, whose variances are ``parts``. ``place`` is that of the structure, for the local
    factors.
    """
    kind = calibration.forces
    near = kind.posterior**2 * parts.posterior + kind.residual**2 * parts.residual
    spread = np.sqrt(np.mean([member.forces**2 for member in response.members], axis=0))

    def forces_with(factor: Array | float) -> Array:
        """Deviations with local factors (n_atoms, 1)."""
        growth = _growth(kind, parts, near, np.ravel(factor))
        return np.asarray(np.sqrt((spread * growth[:, None]) ** 2 + (kind.floor * factor) ** 2))

    stress = stress_spread = None
    if volume is not None:
        virials = np.array([member.virial[VOIGT] for member in response.members])
        stress_spread = np.sqrt(np.mean(virials**2, axis=0)) / volume
        grown = _stress_factor(calibration, parts) * _growth(kind, parts, near, 1.0).max()
        stress = np.sqrt((stress_spread * grown) ** 2 + calibration.stress.floor**2)
        stress *= calibration.factors("stress", place, levels("stress", stress))
    factors = calibration.factors("forces", place, levels("forces", forces_with(1.0).ravel())[::3])
    return SampledForces(forces_with(factors[:, None]), stress, spread, stress_spread)


def _growth(kind: KindCalibration, parts: VarianceParts, near: Array, factor: Array | float) -> Array:
    """What the spread of members on each atom is multiplied by, which contains the variances ``near``."""
    wanted = (kind.posterior * factor) ** 2 * parts.posterior
    wanted += kind.weight(parts.share, factor) * parts.residual
    return np.asarray(np.sqrt(wanted / np.maximum(near, 1e-300)))


def _stress_factor(calibration: Calibration, parts: VarianceParts) -> float:
    """What the spread of members, calibrated for forces, is multiplied by for stress.

    The calibrations of posterior and residual part differ between the two; the share of each is that in the
    energies of the atoms.
    """
    forces, stress = calibration.forces, calibration.stress
    posterior, residual = float(parts.posterior.sum()), float(parts.residual.sum())
    of_forces = forces.posterior**2 * posterior + forces.residual**2 * residual
    of_stress = stress.posterior**2 * posterior + stress.residual**2 * residual
    return float(np.sqrt(of_stress / max(of_forces, 1e-300)))


VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def samples_of_totals(terms: tuple[TermColumns, ...]) -> int:
    """Return how many samples of the total energy there are: as many as of per-atom energies, or fewer where
    their quadratic forms are large.
    """
    sizes = [
        len(entry.term.elements) * entry.term.engine.n_features**2 * 4
        for entry in terms
        if isinstance(entry.term, SoapTerm) and forms_pay(entry.term)
    ]
    return int(np.clip(TOTAL_BYTES // max(sizes, default=1), POSTERIOR_SAMPLES // 2, POSTERIOR_SAMPLES))


def _mean_square(samples: Array) -> Array:
    """Mean over the samples (n, n_samples) of the squared difference from the posterior mean."""
    return np.asarray(np.mean(np.square(samples), axis=1))


__all__ = ["Committee", "SampledEnergy", "SampledForces", "sampled_deviations", "sampled_energies"]
