"""What can be said about the certainty of a potential that another program fitted: prior variance only."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.threads import limit_blas
from castile.potentials.model import PotentialModel, _environment
from castile.potentials.open_variance import JITTER, OpenVariance, open_variance
from castile.potentials.prediction import EnergyDeviations, UncertainPrediction
from castile.potentials.quip_soap_term import QuipSoapTerm

FIXED_BELOW = 1e-5
"""Deviations of the prior below this (eV/A) are those of components that symmetry makes zero."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ImportedUncertainty:
    r"""Prior variance of SOAP terms that their sparse points leave open.

    .. math:: v = \delta^2 k_{**} - \delta^2 \mathbf k_m^T \mathbf K^{-1} \mathbf k_m

    The file of an imported potential holds neither labels nor their noise, so there is no posterior.

    Attributes
    ----------
    model : PotentialModel
    """

    model: PotentialModel

    @property
    def terms(self) -> tuple[QuipSoapTerm, ...]:
        """The terms that count."""
        return tuple(term for term in self.model.terms if isinstance(term, QuipSoapTerm))

    @property
    def meaning(self) -> str:
        """What the deviations contain, in words."""
        others = [term.name for term in self.model.terms if not isinstance(term, QuipSoapTerm)]
        left_out = f", without the terms {', '.join(others)}" if others else ""
        return (
            "prior standard deviation that the sparse points of the SOAP terms leave open, with the "
            f"amplitudes of the imported file{left_out}; the file holds no labels and no noise, so nothing "
            "of a posterior is in it and it is not calibrated: it tells known environments from unknown "
            "ones and is no error bar"
        )

    def energy_deviations(
        self, atoms: Atoms, threads: int | None = None, name: str = "structure"
    ) -> EnergyDeviations:
        """Return a prediction with the deviations of total and per-atom energies.

        Raises
        ------
        InputError
            If the potential has no SOAP term.
        """
        prediction = self.model.predict(atoms, threads, name)
        found = self._open(atoms, name, with_forces=False)
        total = _deviations(np.array([found.total]), np.array([found.total_prior]))
        energies = _deviations(found.energies, found.energies_prior)
        return EnergyDeviations(prediction, float(total[0]), energies, found.grades, self.meaning)

    def predict(
        self,
        atoms: Atoms,
        method: str = "exact",
        threads: int | None = None,
        name: str = "structure",
        n_samples: int | None = None,
    ) -> UncertainPrediction:
        """Return a prediction with the deviations of energies, forces and stress.

        They are exact whatever ``method`` and ``n_samples`` say, since there is no posterior to draw from.

        Raises
        ------
        InputError
            As above, and if the structure is too large for this.
        """
        prediction = self.model.predict(atoms, threads, name)
        found = self._open(atoms, name, with_forces=True)
        total = _deviations(np.array([found.total]), np.array([found.total_prior]))
        stress = None
        if prediction.stress is not None:
            stress = _deviations(found.virial, found.virial_prior) / atoms.get_volume()
        return UncertainPrediction(
            prediction,
            float(total[0]),
            _deviations(found.energies, found.energies_prior),
            _deviations(found.forces, found.forces_prior),
            stress,
            found.grades,
            "exact",
            self.meaning,
            np.sqrt(found.forces_prior) < FIXED_BELOW,
        )

    def _open(self, atoms: Atoms, name: str, with_forces: bool) -> OpenVariance:
        if not self.terms:
            raise InputError(
                "the imported potential has no SOAP term with a dot-product kernel of whole spectra of "
                "atoms, whose sparse points tell what is known"
            )
        environment = _environment(atoms, self.model.cutoff, name)
        total = OpenVariance.zeros(len(atoms))
        with limit_blas(1):
            for term in self.terms:
                total += open_variance(term, environment, with_forces)
        return total


def _deviations(left: Array, prior: Array) -> Array:
    """Roots of what is left open, which rounding knows to a part of the prior only."""
    return np.sqrt(np.maximum(left, JITTER * prior))
