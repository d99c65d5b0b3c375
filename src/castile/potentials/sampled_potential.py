"""Samples of a whole potential: each predicts like the model and can be simulated with."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.execution.threads import map_chunks
from castile.numerics.pair_sorting import add_pair_gradients
from castile.potentials.calibration import KindCalibration
from castile.potentials.committee_terms import SoapSamples, draw_samples
from castile.potentials.environment import Environment, Response
from castile.potentials.exact_variance import TermColumns
from castile.potentials.model import PotentialModel
from castile.potentials.pair_term import PairTerm
from castile.potentials.prior_paths import PolynomialPaths
from castile.potentials.soap_term import SoapTerm, element_chunks
from castile.potentials.stored_term import PredictingTerm, StoredTerm
from castile.regression import Posterior

N_PRODUCTS = 16

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PathTerm:
    """A random function with the prior covariance of a SOAP term, as a term without weights.

    Attributes
    ----------
    term : SoapTerm
    paths : tuple of PolynomialPaths
        One sample for each element.
    amplitudes : ndarray, shape (n_elements,)
        eV.
    """

    term: SoapTerm
    paths: tuple[PolynomialPaths, ...]
    amplitudes: Array

    @property
    def kind(self) -> str:
        """Name of the class of terms."""
        return "path"

    @property
    def name(self) -> str:
        """Label of the term."""
        return f"{self.term.name} path"

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self.term.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return 0

    def store(self) -> StoredTerm:
        """Return the form for files, which samples do not have."""
        raise NotImplementedError("samples of a potential are drawn again from its model file, not stored")

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the path."""
        ordered, engine = self.term.sorted_pairs(environment), self.term.engine

        def work(piece: tuple[int, int, int]) -> tuple[int, int, Array, Array]:
            """Energies of some centres of one element, and derivatives with respect to their pairs."""
            begin, end, element = piece
            chunk = engine.chunk(ordered, begin, end)
            first, last = engine.pair_range(ordered, begin, end)
            gradient = np.empty((last - first, 3))
            path, amplitude = self.paths[element], self.amplitudes[element]
            engine.vjp(ordered, chunk, amplitude * path.gradient(chunk.features, 0), gradient)
            return begin, end, amplitude * path.values(chunk.features)[:, 0], gradient

        pieces = element_chunks(ordered.center_elements, len(self.term.elements))
        for begin, end, energies, gradient in map_chunks(work, pieces, threads):
            response.energies[ordered.center_atoms[begin:end]] += energies
            first, last = engine.pair_range(ordered, begin, end)
            add_pair_gradients(
                ordered.center_atoms[ordered.center[first:last]],
                ordered.neighbor[first:last],
                ordered.vectors[first:last],
                gradient,
                response.forces,
                response.virial,
            )


def sampled_potentials(
    model: PotentialModel,
    terms: tuple[TermColumns, ...],
    posterior: Posterior,
    calibration: KindCalibration,
    n_samples: int,
    seed: int,
) -> tuple[PotentialModel, ...]:
    """Return potentials drawn from the predictive distribution of the sparse Gaussian process.

    The posterior part and the part that the sparse points leave open are multiplied by a and b of the
    calibration; the floor is not part of any function.
    """
    samples = draw_samples(terms, posterior, n_samples, n_samples, N_PRODUCTS, seed)
    a, b = calibration.posterior, calibration.residual
    drawn = []
    for s in range(n_samples):
        parts: list[tuple[PredictingTerm, Array]] = []
        for entry, mean, sample in zip(terms, model.weights, samples, strict=True):
            if isinstance(sample, SoapSamples):
                assert isinstance(entry.term, SoapTerm)
                parts += _soap_parts(entry.term, mean, sample, s, a, b)
                continue
            assert isinstance(entry.term, PairTerm)
            weights = a * sample.posterior[:, s] + b * sample.residual[:, s]
            n_own, n_both = entry.term.points.shape[1], sample.dense.points.shape[1]
            by_kind = weights.reshape(-1, n_both)
            by_kind[:, :n_own] += mean.reshape(-1, n_own)
            parts.append((replace(sample.dense), by_kind.ravel()))
        drawn.append(
            replace(
                model,
                terms=tuple(term for term, _ in parts),
                weights=tuple(weights for _, weights in parts),
            )
        )
    return tuple(drawn)


def _soap_parts(
    term: SoapTerm, mean: Array, samples: SoapSamples, s: int, a: float, b: float
) -> list[tuple[PredictingTerm, Array]]:
    paths = tuple(PolynomialPaths(path.directions[:, s : s + 1]) for path in samples.paths)
    path = PathTerm(term, paths, b * samples.amplitudes)
    weights, residual = mean + a * samples.posterior[:, s], b * samples.residual[:, s]
    if samples.zeta == term.zeta:
        return [(term, weights + residual), (path, np.empty(0))]
    return [(term, weights), (replace(term, zeta=float(samples.zeta)), residual), (path, np.empty(0))]
