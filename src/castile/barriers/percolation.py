"""Lowest barrier at which hops connect a crystal through, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.barriers.hops import Edge
from castile.errors import InputError
from castile.execution.optional_packages import import_optional

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Percolation:
    """Lowest barriers (eV) below which a connected network of hops runs on in 1, 2 and 3 dimensions.

    None where no network of the hops found does. ``edges`` are positions of the hops on a network of one
    dimension at its lowest barrier.
    """

    one: float | None
    two: float | None
    three: float | None


def percolation(edges: Sequence[tuple[Edge, float]]) -> Percolation:
    """Add hops in the order of their barriers until networks run through.

    A network runs on in as many dimensions as the lattice vectors between equivalent sites span that its
    closed walks collect (the rank of its cycles, not of its extent).

    Arguments:
        edges: (start, stop, (a, b, c)) of every hop in the cell, with its barrier in eV.

    Source: Blatov, Carlucci, Ciani, Proserpio, CrystEngComm 6, 377 (2004), for periodic nets as labelled
    quotient graphs.

    """
    if not all(np.isfinite(barrier) for _, barrier in edges):
        raise InputError("a barrier is not finite; leave its hop out")
    found: dict[int, float] = {}
    network: Any = import_networkx().MultiGraph()
    ordered = sorted(edges, key=lambda item: item[1])
    for position, ((start, stop, shift), barrier) in enumerate(ordered):
        network.add_edge(start, stop, shift=np.array(shift, dtype=int), start=start)
        following = ordered[position + 1][1] if position + 1 < len(ordered) else None
        if following is not None and following <= barrier + 1e-12:
            continue  # hops of one barrier come together
        dimensions = network_dimensions(network)
        for wanted in range(1, dimensions + 1):
            found.setdefault(wanted, float(barrier))
        if dimensions == 3:
            break
    return Percolation(found.get(1), found.get(2), found.get(3))


def network_dimensions(network: Any) -> int:
    """Largest number of dimensions in which a connected part of a quotient graph runs on."""
    graph = import_networkx()
    largest = 0
    for nodes in graph.connected_components(network):
        part = network.subgraph(nodes)
        root = next(iter(nodes))
        where: dict[int, IntArray] = {root: np.zeros(3, dtype=int)}
        for parent, child in graph.bfs_edges(part, root):
            data = next(iter(part.get_edge_data(parent, child).values()))
            where[child] = where[parent] + (data["shift"] if data["start"] == parent else -data["shift"])
        windings = [
            where[data["start"]] + data["shift"] - where[second if data["start"] == first else first]
            for first, second, data in part.edges(data=True)
        ]
        if windings:
            largest = max(largest, int(np.linalg.matrix_rank(np.array(windings))))
    return largest


def import_networkx() -> Any:
    """Return networkx; InputError where it is missing."""
    return import_optional("networkx", "networks of hops need networkx", "barriers")
