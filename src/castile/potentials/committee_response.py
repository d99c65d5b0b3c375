"""Energies and forces of all members of a committee in one pass over the structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SortedPairs
from castile.execution.scratch import Scratch
from castile.execution.threads import map_chunks
from castile.numerics.pair_functions import tabulated_pair_forces
from castile.numerics.pair_sorting import add_center_gradients
from castile.numerics.sampled_energies import add_rows, add_tabulated_samples
from castile.potentials.committee_terms import PairSamples
from castile.potentials.energy_samples import EnergySamples, SampledEnergies
from castile.potentials.environment import Environment, Response
from castile.potentials.member_functions import MemberFunction, member_slopes
from castile.potentials.pair_term import PairTerm
from castile.potentials.soap_term import SoapTerm, element_chunks
from castile.structures.neighbors import Pairs

Array = NDArray[np.float64]

_TABLE_STEP = 0.02


@dataclass
class CommitteeResponse:
    """What the members of a committee add to a prediction, summed up over terms.

    Attributes
    ----------
    mean : Response
        Of the posterior mean.
    posterior : ndarray, shape (n_atoms, n_posterior)
        Sampled differences of per-atom energies: posterior of the weights, eV.
    residual : ndarray, shape (n_atoms, n_residual)
        The same of what the sparse points leave open, eV.
    lost : ndarray, shape (n_atoms,)
        Prior variance that the samples do not contain, eV^2.
    total : ndarray, shape (n_total,)
        Sampled differences of the total energy: posterior of the weights, eV.
    members : tuple of Response
        Differences of the members with forces.
    spectrum : ndarray, shape (n_elements, n_features), or None
        Sum of the SOAP vectors of the first SOAP term over the atoms of each element.
    """

    mean: Response
    posterior: Array
    residual: Array
    lost: Array
    total: Array
    members: tuple[Response, ...]
    spectrum: Array | None = None

    @classmethod
    def zeros(
        cls, n_atoms: int, n_posterior: int, n_residual: int, n_total: int, n_members: int
    ) -> "CommitteeResponse":
        """Return an empty sum."""
        return cls(
            Response.zeros(n_atoms),
            np.zeros((n_atoms, n_posterior)),
            np.zeros((n_atoms, n_residual)),
            np.zeros(n_atoms),
            np.zeros(n_total),
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
    sampled: SampledEnergies
    gradients: Array
    spectrum: Array


def add_soap_committee(
    term: SoapTerm,
    environment: Environment,
    weights: Array,
    samples: EnergySamples,
    members: Sequence[MemberFunction],
    response: CommitteeResponse,
    threads: int,
) -> Array:
    """Add the mean of a SOAP term, sampled energies, and the members' energies and forces.

    Densities and power spectra are computed once for all. Returns the sum of the SOAP vectors over the atoms
    of each element, (n_elements, n_features).
    """
    present, features = present_elements(term, environment)
    view = term.restricted(environment.numbers)
    ordered = view.sorted_pairs(environment)
    sampler = samples.restricted(present, features)
    functions = [member.restricted(present, features) for member in members]
    pieces = [
        _Piece(begin, end, element, view.columns(element))
        for begin, end, element in element_chunks(ordered.center_elements, len(view.elements))
    ]

    scratch = Scratch()

    def work(piece: _Piece) -> _PieceResult:
        """Response of a piece of the centres."""
        chunk = view.engine.chunk(ordered, piece.begin, piece.end, scratch)
        points = view.points(piece.element)
        energies, slopes = view._energy(piece.element, weights).respond(chunk.features)
        sampled = sampler.values(piece.element, chunk.features, points, piece.columns)
        own = member_slopes(functions, piece.element, chunk.features, points, piece.columns)
        first, last = view.engine.pair_range(ordered, piece.begin, piece.end)
        gradients = np.empty((1 + len(functions), last - first, 3))
        view.engine.vjps(ordered, chunk, chain([slopes], own), gradients, scratch)
        return _PieceResult(piece, energies, sampled, gradients, chunk.features.sum(axis=0))

    moments: dict[int, Array] = {}
    spectrum = np.zeros((len(term.elements), term.engine.n_features))
    for result in map_chunks(work, pieces, threads if len(pieces) > 1 else 1):
        _add_piece(view, ordered, result, response)
        element, moment = result.piece.element, result.sampled.moment
        moments[element] = moments[element] + moment if element in moments else moment
        spectrum[present[element], features] += result.spectrum
    for element, moment in moments.items():
        response.total += sampler.totals(element, moment)
    return spectrum


def present_elements(term: SoapTerm, environment: Environment) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Return the elements of the term in a structure and the features that are not zero there."""
    found = set(environment.numbers.tolist())
    present = tuple(e for e, z in enumerate(term.elements) if z in found)
    if len(present) == len(term.elements):
        return present, np.arange(term.engine.n_features)
    return present, term.engine.restricted(present)[1]


def _add_piece(
    term: SoapTerm, ordered: SortedPairs, result: _PieceResult, response: CommitteeResponse
) -> None:
    piece = result.piece
    atoms = ordered.center_atoms[piece.begin : piece.end]
    response.mean.energies[atoms] += result.energies
    add_rows(atoms, result.sampled.posterior, response.posterior)
    add_rows(atoms, result.sampled.residual, response.residual)
    response.lost[atoms] += result.sampled.lost
    targets = (response.mean, *response.members)
    for gradient, target in zip(result.gradients, targets, strict=True):
        add_center_gradients(
            ordered.center_atoms,
            ordered.first,
            term.engine.n_elements,
            piece.begin,
            piece.end,
            ordered.neighbor,
            ordered.vectors,
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
        radii = np.arange(0.0, self.term.cutoff + 3.0 * _TABLE_STEP, _TABLE_STEP)
        both = np.hstack([samples.posterior, samples.residual])
        tables = [
            self.term.basis(kind, radii)[0] @ both[columns]
            for kind, (_, columns) in enumerate(self.term.blocks())
        ]
        self.tables = np.array(tables, dtype=np.float32)
        weights = posterior * member_samples.posterior + residual * member_samples.residual
        self.member_tables, self.start, self.step = member_samples.dense.tables(weights)

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
        pairs, numbers = environment.pairs, environment.numbers
        kinds = self.term._kind_of[numbers[pairs.center], numbers[pairs.neighbor]]
        if response.members:
            self._add_members(pairs, kinds, response.members)
        found = np.zeros((len(numbers), self.tables.shape[2]), dtype=np.float32)
        add_tabulated_samples(
            pairs.center, pairs.vectors, kinds, self.tables, _TABLE_STEP, self.term.cutoff, found
        )
        n_posterior = response.posterior.shape[1]
        response.posterior += found[:, :n_posterior]
        response.total += found[:, : len(response.total)].sum(axis=0)
        response.residual += found[:, n_posterior:]

    def _add_members(self, pairs: Pairs, kinds: NDArray[np.int64], members: Sequence[Response]) -> None:
        """Add forces and virials of the members."""
        tables = np.ascontiguousarray(self.member_tables[..., : len(members)])
        forces = np.zeros((*members[0].forces.shape, len(members)))
        virials = np.zeros((3, 3, len(members)))
        tabulated_pair_forces(
            pairs.center,
            pairs.neighbor,
            pairs.vectors,
            kinds,
            tables,
            self.start,
            self.step,
            self.term.cutoff,
            forces,
            virials,
        )
        for number, member in enumerate(members):
            member.forces += forces[..., number]
            member.virial += virials[..., number]
