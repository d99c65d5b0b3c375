"""Energies, forces and virial of SOAP kernels: the path of all SOAP terms, chunk by chunk of centres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SoapEngine, SortedPairs
from castile.execution.scratch import Scratch
from castile.execution.threads import share_chunks
from castile.numerics.pair_sorting import add_center_gradients
from castile.potentials.energy_functions import EnergyFunction
from castile.potentials.environment import Response

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """Centres begin:end and their energy as a function of the SOAP vector."""

    begin: int
    end: int
    energy: EnergyFunction


def add_soap_response(
    engine: SoapEngine,
    ordered: SortedPairs,
    pieces: Sequence[Piece],
    response: Response,
    threads: int,
) -> None:
    """Add the energies of all centres with their forces and virial.

    Parameters
    ----------
    engine : SoapEngine
    ordered : SortedPairs
        Of the structure.
    pieces : sequence of Piece
        Chunks of centres.
    response : Response
        Added to.
    threads : int
    """
    scratch = Scratch()

    def work(piece: Piece) -> tuple[Array, Array]:
        """Energies and derivatives of one piece, in memory that the thread keeps."""
        return _piece_response(engine, ordered, piece, scratch)

    results = share_chunks(work, pieces, threads) if threads > 1 else map(work, pieces)
    for piece, (energies, gradient) in zip(pieces, results, strict=True):
        response.energies[ordered.center_atoms[piece.begin : piece.end]] += energies
        add_center_gradients(
            ordered.center_atoms,
            ordered.first,
            engine.n_elements,
            piece.begin,
            piece.end,
            ordered.neighbor,
            ordered.vectors,
            gradient,
            response.forces,
            response.virial,
        )


def _piece_response(
    engine: SoapEngine, ordered: SortedPairs, piece: Piece, scratch: Scratch
) -> tuple[Array, Array]:
    """Return (energies of the centres, dE/dr_ij of their pairs)."""
    chunk = engine.chunk(ordered, piece.begin, piece.end, scratch)
    energies, cotangent = piece.energy.respond(chunk.features)
    first, last = engine.pair_range(ordered, piece.begin, piece.end)
    gradient = np.empty((last - first, 3), dtype=engine.dtype)
    engine.vjp(ordered, chunk, cotangent, gradient, scratch)
    return energies, gradient
