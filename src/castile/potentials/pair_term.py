"""The pair term: E = sum over bonds of f(r) sum_s w_s exp(-(r - r_s)^2 / 2 theta^2), one set of points per
pair of elements.
"""

from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CutoffFunction
from castile.numerics.pair_functions import pair_rows, tabulated_pair_response
from castile.potentials.environment import Environment, Response, Rows
from castile.potentials.stored_term import StoredTerm, restore_cutoff, store_cutoff

_STEP = 0.02
_NODES = np.array([0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0])


def _hermite() -> NDArray[np.float64]:
    """Return the map from values at the nodes and slopes at the ends to the powers of a quintic."""
    powers = np.arange(len(_NODES) + 2)
    ends = np.array([[float(k == 1) for k in powers], [float(k) for k in powers]])
    return np.linalg.inv(np.vstack([np.vander(_NODES, len(powers), increasing=True), ends]))


_HERMITE = _hermite()

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairTerm:
    """Squared-exponential kernel of pair distances, multiplied by a cutoff function.

    Parameters
    ----------
    name : str
    elements : tuple of int
        Atomic numbers.
    cutoff_function : CutoffFunction
        f(r).
    theta : float
        Length scale of the kernel, Angstrom.
    points : ndarray, shape (n_kinds, n_points)
        Distances r_s of the sparse points of each unordered pair of elements, in the order of :attr:`kinds`.
    """

    kind: ClassVar[str] = "pair"
    name: str
    elements: tuple[int, ...]
    cutoff_function: CutoffFunction
    theta: float
    points: Array
    _kind_of: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lookup = np.full((120, 120), -1, dtype=np.int64)
        for kind, (a, b) in enumerate(self.kinds):
            lookup[a, b] = lookup[b, a] = kind
        object.__setattr__(self, "_kind_of", lookup)

    @property
    def kinds(self) -> list[tuple[int, int]]:
        """Unordered pairs of atomic numbers."""
        return list(combinations_with_replacement(self.elements, 2))

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self.cutoff_function.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return int(self.points.size)

    def blocks(self) -> list[tuple[str, slice]]:
        """Return (label, columns) of the parts whose prior covariance is independent of the others'."""
        n_points = self.points.shape[1]
        return [
            (f"{self.name}/{a}-{b}", slice(kind * n_points, (kind + 1) * n_points))
            for kind, (a, b) in enumerate(self.kinds)
        ]

    def gram(self, columns: slice) -> Array:
        """Return K_mm of unit amplitude between the sparse points in ``columns``."""
        points = self.points.ravel()[columns]
        return np.exp(-0.5 * ((points[:, None] - points[None, :]) / self.theta) ** 2)

    def store(self) -> StoredTerm:
        """Return the term without its weights."""
        header = {
            "name": self.name,
            "elements": list(self.elements),
            "cutoff": store_cutoff(self.cutoff_function),
            "theta": self.theta,
        }
        return StoredTerm(header, {"points": self.points})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "PairTerm":
        """Return the term that :meth:`store` described."""
        header = stored.header
        cutoff = restore_cutoff(header["cutoff"])
        return cls(
            header["name"], tuple(header["elements"]), cutoff, header["theta"], stored.arrays["points"]
        )

    def basis(self, kind: int, r: Array) -> tuple[Array, Array]:
        """Return B_s(r) = f(r) k(r, r_s) and its derivative, (n_r, n_points) each; r in Angstrom."""
        scaled = (r[:, None] - self.points[kind]) / self.theta
        kernel = np.exp(-0.5 * scaled**2)
        cut, slope = self.cutoff_function.values(r), self.cutoff_function.derivatives(r)
        return kernel * cut[:, None], kernel * (slope[:, None] - cut[:, None] * scaled / self.theta)

    def add_rows(self, environment: Environment, rows: Rows) -> None:
        """Add the training rows of a structure; rows of one kind that are not wanted have length zero."""
        pairs, numbers = environment.pairs, environment.numbers
        distances = np.linalg.norm(pairs.vectors, axis=1)
        kinds = self._kind_of[numbers[pairs.center], numbers[pairs.neighbor]]
        kinds[distances >= self.cutoff] = -1
        for kind, (_, columns) in enumerate(self.blocks()):
            chosen = np.flatnonzero(kinds == kind)
            if not chosen.size:
                continue
            values, slopes = self.basis(kind, distances[chosen])
            pair_rows(
                pairs.center[chosen],
                pairs.neighbor[chosen],
                pairs.vectors[chosen],
                values,
                slopes,
                rows.energy[columns],
                rows.forces[:, columns],
                rows.virial[:, columns],
            )

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the term, given its weights (n_columns,)."""
        pairs, numbers = environment.pairs, environment.numbers
        table, start, step = self._table(weights)
        tabulated_pair_response(
            pairs.center,
            pairs.neighbor,
            pairs.vectors,
            self._kind_of[numbers[pairs.center], numbers[pairs.neighbor]],
            table,
            start,
            step,
            self.cutoff,
            response.energies,
            response.forces,
            response.virial,
        )

    def _table(self, weights: Array) -> tuple[Array, float, float]:
        """Return quintic polynomials of all pair potentials, joined with continuous forces."""
        cached = self.__dict__.get("_tabulated")
        if cached is not None and np.array_equal(cached[0], weights):
            return cached[1]
        tables, start, step = self.tables(weights[:, None])
        tabulated = (np.ascontiguousarray(tables[..., 0]), start, step)
        object.__setattr__(self, "_tabulated", (weights.copy(), tabulated))
        return tabulated

    def tables(self, weights: Array) -> tuple[Array, float, float]:
        """Return quintic polynomials of the pair potentials of several models, given their weights
        (n_columns, n_models): coefficients (n_kinds, n_intervals, 6, n_models), and where the intervals begin
        and how long they are, Angstrom.
        """
        width = self.cutoff_function.width
        step = width / np.ceil(width / _STEP)
        n_intervals = int(self.cutoff / step)
        start = self.cutoff - n_intervals * step
        lower = start + step * np.arange(n_intervals)
        radii = (lower[:, None] + step * _NODES).ravel()
        n_models = weights.shape[1]
        table = np.empty((len(self.kinds), n_intervals, len(_HERMITE), n_models))
        for kind, (_, columns) in enumerate(self.blocks()):
            values, slopes = ((part @ weights[columns]).reshape(n_intervals, -1, n_models)
                              for part in self.basis(kind, radii))  # fmt: skip
            table[kind] = _HERMITE @ np.concatenate([values, step * slopes[:, [0, -1]]], axis=1)
        return table, start, step
