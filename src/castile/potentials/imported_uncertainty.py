"""What can be said about the certainty of a potential that another program fitted: prior variance only."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from castile.descriptors.soap_engine import CHUNK
from castile.errors import InputError
from castile.potentials.environment import Environment
from castile.potentials.model import PotentialModel, _environment
from castile.potentials.prediction import EnergyDeviations
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.regression import PriorBlock, factor_prior

JITTER = 1e-9

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

    def energy_deviations(self, atoms: Atoms, threads: int | None = None) -> EnergyDeviations:
        """Return a prediction with the deviations of total and per-atom energies.

        Raises
        ------
        InputError
            If the potential has no SOAP term.
        """
        if not self.terms:
            raise InputError(
                "the imported potential has no SOAP term, whose sparse points tell what is known"
            )
        prediction = self.model.predict(atoms, threads)
        environment = _environment(atoms, self.model.cutoff, "structure")
        left, prior, total = np.zeros(len(atoms)), np.zeros(len(atoms)), 0.0
        for term in self.terms:
            part = _open_variance(term, environment)
            left += part.left
            prior += part.prior
            total += part.total
        share = np.clip(left / np.where(prior > 0.0, prior, 1.0), 0.0, 1.0)
        deviations = np.sqrt(np.maximum(left, JITTER * prior))
        energy = float(np.sqrt(max(total, JITTER * float(prior.sum()))))
        return EnergyDeviations(prediction, energy, deviations, np.sqrt(share), self.meaning)


@dataclass(frozen=True)
class _OpenVariance:
    """Variance left open and prior of each atom, and what is left open of the total, eV^2."""

    left: Array
    prior: Array
    total: float


def _open_variance(term: QuipSoapTerm, environment: Environment) -> _OpenVariance:
    view = term.restricted(environment.numbers)
    n_atoms = environment.n_atoms
    atoms, features = _spectra(view, environment)
    offset, variance = view.sigma0**2, view.delta**2

    def kernel(p: Array, q: Array) -> Array:
        """Prior covariance of the energies of environments, eV^2."""
        return np.asarray(variance * np.maximum(p @ q.T + offset, 0.0) ** view.zeta)

    points = view.sparse_points
    block = PriorBlock(view.name, slice(0, len(points)), kernel(points, points))
    lower = factor_prior(block, JITTER).lower
    half = solve_triangular(lower, kernel(points, features), lower=True, check_finite=False)
    own = variance * np.maximum(np.einsum("if,if->i", features, features) + offset, 0.0) ** view.zeta
    left, prior = np.zeros(n_atoms), np.zeros(n_atoms)
    prior[atoms] = own
    left[atoms] = np.maximum(own - np.einsum("si,si->i", half, half), 0.0)
    summed = half.sum(axis=1)
    return _OpenVariance(left, prior, max(float(kernel(features, features).sum() - summed @ summed), 0.0))


def _spectra(term: QuipSoapTerm, environment: Environment) -> tuple[NDArray[np.int64], Array]:
    """Return the atoms that are centres of the term and their power spectra."""
    classes = term._class_of[environment.numbers]
    order = np.argsort(classes, kind="stable")
    first = int(np.count_nonzero(classes < 0))
    channels = term._channel_of[environment.numbers]
    ordered = term.engine.sort(environment.pairs, channels, classes[order], order)
    parts = [
        term.engine.chunk(ordered, begin, min(begin + CHUNK, len(order))).features
        for begin in range(first, len(order), CHUNK)
    ]
    if not parts:
        return order[first:], np.empty((0, term.engine.n_features))
    return order[first:], np.concatenate(parts).astype(np.float64)
