"""QUIP's ``soap`` block: sparse points that all its centres share, central atoms by QUIP's rules."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SoapEngine, SortedPairs, chunk_spans
from castile.potentials.energy_functions import EnergyFunction, energy_function
from castile.potentials.environment import Environment, Response
from castile.potentials.soap_response import Piece, add_soap_response
from castile.potentials.stored_term import StoredTerm, restore_engine, store_engine

ANY = 0
_N_NUMBERS = 120

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QuipSoapTerm:
    r"""SOAP kernel with a constant added to the dot product and one set of sparse points for all its centres.

    .. math:: E = \sum_{i \in Z} \sum_s w_s (\mathbf p_i \cdot \mathbf p_s + \sigma_0^2)^\zeta

    Parameters
    ----------
    name : str
    engine : SoapEngine
        Row k of its ``central`` belongs to centres of ``species[k]``, the last row to all others.
    species : tuple of int
        Atomic number of each density channel; (0,) puts all elements into one.
    centers : tuple of int
        Atomic numbers of the centres; (0,) takes every atom.
    zeta : float
    sigma0 : float
        Square root of the constant.
    delta : float
        Amplitude, eV; the weights contain its square.
    sparse_points : ndarray, shape (n_sparse, n_features)
    precision : "float64" or "float32"
        Of the products with the sparse points.

    Source: the ``soap`` descriptor of QUIP; Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013).
    """

    kind: ClassVar[str] = "quip_soap"
    name: str
    engine: SoapEngine
    species: tuple[int, ...]
    centers: tuple[int, ...]
    zeta: float
    sigma0: float
    delta: float
    sparse_points: Array
    precision: str = "float64"
    _channel_of: NDArray[np.int64] = field(init=False, repr=False)
    _class_of: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        others = len(self.species)
        if self.species == (ANY,):
            channel, center_class = np.zeros(_N_NUMBERS, dtype=np.int64), np.full(_N_NUMBERS, others)
        else:
            channel, center_class = np.full(_N_NUMBERS, -1), np.full(_N_NUMBERS, others)
            channel[list(self.species)] = center_class[list(self.species)] = np.arange(others)
        if ANY not in self.centers:
            allowed = np.zeros(_N_NUMBERS, dtype=bool)
            allowed[list(self.centers)] = True
            center_class[~allowed] = -1
        object.__setattr__(self, "_channel_of", channel.astype(np.int64))
        object.__setattr__(self, "_class_of", center_class.astype(np.int64))

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self.engine.cutoff.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return len(self.sparse_points)

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the term, given its weights (n_columns,)."""
        self.restricted(environment.numbers)._add_response(environment, weights, response, threads)

    def restricted(self, numbers: NDArray[np.int64]) -> "QuipSoapTerm":
        """Return the term without the channels that are empty in structures of these elements."""
        if len(self.species) == 1:
            return self
        found = set(np.flatnonzero(np.bincount(numbers)).tolist())
        present = [channel for channel, z in enumerate(self.species) if z in found]
        if not present or len(present) == len(self.species):
            return self
        absent = [channel for channel in range(len(self.species)) if channel not in present]
        rows = [*present, len(self.species)]
        if self.engine.central[np.ix_(rows, absent)].any():
            return self
        views: dict[tuple[int, ...], QuipSoapTerm] = self.__dict__.setdefault("_views", {})
        if tuple(present) not in views:
            engine, features = self.engine.restricted(tuple(present))
            engine = replace(engine, central=self.engine.central[np.ix_(rows, present)])
            points = np.ascontiguousarray(self.sparse_points[:, features])
            species = tuple(self.species[channel] for channel in present)
            views[tuple(present)] = replace(self, engine=engine, species=species, sparse_points=points)
        return views[tuple(present)]

    def sorted_centers(self, environment: Environment, threads: int = 1) -> tuple[SortedPairs, int] | None:
        """Return the pairs sorted by centre and the first centre that counts, or None if there is none."""
        order = environment.pairs.order
        classes = self._class_of[environment.numbers[order]]
        if classes.min() < classes.max():
            ascending = np.argsort(classes, kind="stable")
            order, classes = order[ascending], classes[ascending]
        n_skipped = int(np.count_nonzero(classes < 0))
        if n_skipped == len(order):
            return None
        channels = self._channel_of[environment.numbers]
        return self.engine.sort(environment.pairs, channels, classes, order, threads), n_skipped

    def _add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int
    ) -> None:
        found = self.sorted_centers(environment, threads)
        if found is None:
            return
        ordered, begin = found
        energy = self._energy(weights)
        pieces = [Piece(*span, energy) for span in chunk_spans(begin, ordered.n_centers)]
        add_soap_response(self.engine, ordered, pieces, response, threads)

    def _energy(self, weights: Array) -> EnergyFunction:
        """Return the energy of an atom; kept until other weights come."""
        cached: tuple[Array, EnergyFunction] | None = self.__dict__.get("_cached_energy")
        if cached is None or not np.array_equal(cached[0], weights):
            offset = self.sigma0**2
            function = energy_function(self.sparse_points, weights, self.zeta, offset, self.precision)
            cached = weights.copy(), function
            object.__setattr__(self, "_cached_energy", cached)
        return cached[1]

    def store(self) -> StoredTerm:
        """Return the term without its weights."""
        engine = store_engine(self.engine)
        header = {
            "name": self.name,
            "species": list(self.species),
            "centers": list(self.centers),
            "zeta": self.zeta,
            "sigma0": self.sigma0,
            "delta": self.delta,
            "engine": dict(engine.header),
        }
        return StoredTerm(header, {**engine.arrays, "sparse_points": self.sparse_points})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "QuipSoapTerm":
        """Return the term that :meth:`store` described."""
        header = stored.header
        return cls(
            header["name"],
            restore_engine(StoredTerm(header["engine"], stored.arrays)),
            tuple(header["species"]),
            tuple(header["centers"]),
            header["zeta"],
            header["sigma0"],
            header["delta"],
            stored.arrays["sparse_points"],
        )
