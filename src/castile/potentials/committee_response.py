"""Energies and forces of all members of a committee in one pass over the structure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from castile.descriptors.soap_engine import Chunk, SortedPairs
from castile.execution.threads import map_chunks
from castile.numerics.kernel_powers import raise_dots, weigh_powers
from castile.numerics.pair_sorting import add_pair_gradients
from castile.potentials.committee_terms import PairSamples, SoapSamples
from castile.potentials.environment import Environment, Response
from castile.potentials.member_functions import MemberFunction
from castile.potentials.pair_term import PairTerm
from castile.potentials.soap_term import SoapTerm, element_chunks

Array = NDArray[np.float64]

_TABLE_STEP = 0.02


@dataclass
class CommitteeResponse:
    """What the members of a committee add to a prediction, summed up over terms.

    Attributes
    ----------
    mean : Response
        Of the posterior mean.
    posterior, residual : ndarray, shape (n_atoms, n_samples)
        Sampled differences of per-atom energies, in two parts, eV.
    members : tuple of Response
        Differences of the members with forces.
    """

    mean: Response
    posterior: Array
    residual: Array
    members: tuple[Response, ...]

    @classmethod
    def zeros(cls, n_atoms: int, n_samples: int, n_members: int) -> "CommitteeResponse":
        """Return an empty sum."""
        return cls(
            Response.zeros(n_atoms),
            np.zeros((n_atoms, n_samples)),
            np.zeros((n_atoms, n_samples)),
            tuple(Response.zeros(n_atoms) for _ in range(n_members)),
        )


@dataclass(frozen=True)
class _Piece:
    begin: int
    end: int
    element: int
    columns: slice


@dataclass(frozen=True)
class _PieceResult:
    piece: _Piece
    energies: Array
    posterior: Array
    residual: Array
    gradients: tuple[Array, ...]


def add_soap_committee(
    term: SoapTerm,
    environment: Environment,
    weights: Array,
    samples: SoapSamples,
    members: Sequence[MemberFunction],
    response: CommitteeResponse,
    threads: int,
) -> None:
    """Add the mean of a SOAP term, sampled energies, and the members' energies and forces.

    Densities, power spectra and the kernels with the sparse points are computed once for all.
    """
    present, features = present_elements(term, environment)
    view = term.restricted(environment.numbers)
    ordered = view.sorted_pairs(environment)
    paths = [samples.paths[e].restricted(features) for e in present]
    functions = [member.restricted(present, features) for member in members]
    pieces = [
        _Piece(begin, end, element, view.columns(element))
        for begin, end, element in element_chunks(ordered.center_elements, len(view.elements))
    ]

    def work(piece: _Piece) -> _PieceResult:
        chunk = view.engine.chunk(ordered, piece.begin, piece.end)
        points = view.points(piece.element)
        dots = chunk.features @ points.T
        powers = np.empty_like(dots)
        raise_dots(dots, view.zeta, powers)
        kernel = powers * dots
        path = paths[piece.element].values(chunk.features)
        open_kernel = kernel if samples.zeta == view.zeta else np.maximum(dots, 0.0) ** samples.zeta
        posterior = kernel @ samples.posterior[piece.columns]
        residual = open_kernel @ samples.residual[piece.columns]
        residual += amplitudes[piece.element] * path
        slopes = np.empty_like(dots)
        np.copyto(slopes, powers)
        energies = np.empty(piece.end - piece.begin)
        weigh_powers(dots, slopes, weights[piece.columns], view.zeta, energies)
        gradients = [_pair_gradient(view, ordered, chunk, slopes @ points)]
        for function in functions:
            cotangent = function.gradient(piece.element, chunk.features, dots, powers, points, piece.columns)
            gradients.append(_pair_gradient(view, ordered, chunk, cotangent))
        return _PieceResult(piece, energies, posterior, residual, tuple(gradients))

    amplitudes = samples.amplitudes[list(present)]
    for result in map_chunks(work, pieces, threads if len(pieces) > 1 else 1):
        _add_piece(view, ordered, result, response)


def present_elements(term: SoapTerm, environment: Environment) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Return the elements of the term in a structure and the features that are not zero there."""
    found = set(environment.numbers.tolist())
    present = tuple(e for e, z in enumerate(term.elements) if z in found)
    if len(present) == len(term.elements):
        return present, np.arange(term.engine.n_features)
    return present, term.engine.restricted(present)[1]


def _pair_gradient(term: SoapTerm, ordered: SortedPairs, chunk: Chunk, cotangent: Array) -> Array:
    first, last = term.engine.pair_range(ordered, chunk.begin, chunk.end)
    gradient = np.empty((last - first, 3))
    term.engine.vjp(ordered, chunk, cotangent, gradient)
    return gradient


def _add_piece(
    term: SoapTerm, ordered: SortedPairs, result: _PieceResult, response: CommitteeResponse
) -> None:
    piece = result.piece
    atoms = ordered.center_atoms[piece.begin : piece.end]
    response.mean.energies[atoms] += result.energies
    response.posterior[atoms] += result.posterior
    response.residual[atoms] += result.residual
    first, last = term.engine.pair_range(ordered, piece.begin, piece.end)
    centers = ordered.center_atoms[ordered.center[first:last]]
    targets = (response.mean, *response.members)
    for gradient, target in zip(result.gradients, targets, strict=True):
        add_pair_gradients(
            centers,
            ordered.neighbor[first:last],
            ordered.vectors[first:last],
            gradient,
            target.forces,
            target.virial,
        )


class PairCommittee:
    """Tables of a pair term's samples.

    ``samples`` are for per-atom energies, ``member_samples`` for members with forces, whose two parts are
    multiplied by ``posterior`` and ``residual``.
    """

    def __init__(
        self, samples: PairSamples, member_samples: PairSamples, posterior: float, residual: float
    ) -> None:
        self.term = samples.dense
        self.radii = np.arange(0.0, self.term.cutoff + 3.0 * _TABLE_STEP, _TABLE_STEP)
        both = np.hstack([samples.posterior, samples.residual])
        self.tables = [
            self.term.basis(kind, self.radii)[0] @ both[columns]
            for kind, (_, columns) in enumerate(self.term.blocks())
        ]
        weights = posterior * member_samples.posterior + residual * member_samples.residual
        # every member keeps a term of its own, because a term remembers the table of its last weights
        self.members = [(replace(member_samples.dense), w) for w in np.ascontiguousarray(weights.T)]

    def add(
        self,
        term: PairTerm,
        environment: Environment,
        weights: Array,
        response: CommitteeResponse,
        threads: int,
    ) -> None:
        """Add the mean of a pair term, sampled energies, and the members' energies and forces."""
        term.add_response(environment, weights, response.mean, threads)
        for (member, own), target in zip(self.members, response.members, strict=False):
            member.add_response(environment, own, target, threads)
        pairs, numbers = environment.pairs, environment.numbers
        distances = np.linalg.norm(pairs.vectors, axis=1)
        kinds = self.term._kind_of[numbers[pairs.center], numbers[pairs.neighbor]]
        kinds[distances >= self.term.cutoff] = -1
        n_samples = response.posterior.shape[1]
        for kind, table in enumerate(self.tables):
            chosen = np.flatnonzero(kinds == kind)
            if chosen.size:
                found = self._interpolate(pairs.center[chosen], distances[chosen], len(numbers)) @ table
                response.posterior[:] += found[:, :n_samples]
                response.residual[:] += found[:, n_samples:]

    def _interpolate(self, centers: NDArray[np.int64], distances: Array, n_atoms: int) -> csr_array:
        """Half the cubic interpolation of each pair, summed up per centre: (n_atoms, n_radii)."""
        first = np.clip((distances / _TABLE_STEP).astype(np.int64) - 1, 0, len(self.radii) - 4)
        t = distances / _TABLE_STEP - first
        values = [
            -(t - 1.0) * (t - 2.0) * (t - 3.0) / 6.0,
            t * (t - 2.0) * (t - 3.0) / 2.0,
            -t * (t - 1.0) * (t - 3.0) / 2.0,
            t * (t - 1.0) * (t - 2.0) / 6.0,
        ]
        columns = first[:, None] + np.arange(4)
        half = 0.5 * np.stack(values, axis=1)
        entries = (half.ravel(), (np.repeat(centers, 4), columns.ravel()))
        return coo_array(entries, shape=(n_atoms, len(self.radii))).tocsr()
