"""QUIP's Glue potential as a core: splines of a pair potential, a density and its embedding energy."""

from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from castile.formats.quip_xml import GluePair, GlueType, QuipGlue, QuipSpline
from castile.numerics.pair_sorting import add_pair_gradients
from castile.potentials.environment import Environment, Response
from castile.potentials.stored_term import StoredTerm

NATURAL = 0.99e30
"""End slopes above this stand for a zero second derivative."""

Array = NDArray[np.float64]


class ExtrapolatedSpline:
    """Cubic spline with given end slopes (None: zero second derivative), linear outside its knots."""

    def __init__(self, x: Array, y: Array, first_slope: float | None, last_slope: float | None) -> None:
        ends = [
            (2, 0.0) if slope is None or slope > NATURAL else (1, slope)
            for slope in (first_slope, last_slope)
        ]
        self.first, self.last = float(x[0]), float(x[-1])
        self._spline = CubicSpline(x, y, bc_type=(ends[0], ends[1]))
        self._slope = self._spline.derivative()

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return values and derivatives."""
        inside = np.clip(x, self.first, self.last)
        slope = self._slope(inside)
        return self._spline(inside) + slope * (x - inside), slope


class CubicDensity:
    """Density b (c - r)^3 up to the last knot c, fitted to the knots."""

    def __init__(self, x: Array, y: Array) -> None:
        self.last = float(x[-1])
        cubes = (self.last - x) ** 3
        self._factor = float(y @ cubes / (cubes @ cubes))

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return values and derivatives."""
        gap = self.last - x
        return self._factor * gap**3, -3.0 * self._factor * gap**2


@dataclass(frozen=True)
class GlueCore:
    r"""Pair potential and embedded density.

    .. math:: E = \tfrac12 \sum_{ij} V_{Z_i Z_j}(r_{ij}) + \sum_i F_{Z_i}(\rho_i), \quad
              \rho_i = \sum_j \varrho_{Z_j}(r_{ij})

    Each function ends at its last knot. Elements without an entry feel nothing.

    Parameters
    ----------
    glue : QuipGlue
        Knots of all functions.
    """

    kind: ClassVar[str] = "glue"
    glue: QuipGlue
    _pairs: dict[tuple[int, int], ExtrapolatedSpline] = field(init=False, repr=False)
    _densities: dict[int, ExtrapolatedSpline | CubicDensity] = field(init=False, repr=False)
    _embeddings: dict[int, ExtrapolatedSpline] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pairs, densities, embeddings = {}, {}, {}
        for pair in self.glue.pairs:
            first, second = sorted(pair.numbers)
            pairs[first, second] = _spline(pair.potential, 0.0)
        for entry in self.glue.types:
            x, y = np.array(entry.density.x), np.array(entry.density.y)
            densities[entry.number] = (
                _spline(entry.density, 0.0) if entry.density_is_spline else CubicDensity(x, y)
            )
            embeddings[entry.number] = _spline(entry.embedding, None)
        object.__setattr__(self, "_pairs", pairs)
        object.__setattr__(self, "_densities", densities)
        object.__setattr__(self, "_embeddings", embeddings)

    @property
    def cutoff(self) -> float:
        """Largest distance at which a function acts, Angstrom."""
        return max(f.last for f in (*self._pairs.values(), *self._densities.values()))

    def add_response(self, environment: Environment, response: Response) -> None:
        """Add energies, forces and virial."""
        pairs = environment.pairs
        squared = np.einsum("pa,pa->p", pairs.vectors, pairs.vectors)
        close = np.flatnonzero(squared < self.cutoff**2)
        center, neighbor = pairs.center[close], pairs.neighbor[close]
        vectors, distances = pairs.vectors[close], np.sqrt(squared[close])
        numbers = environment.numbers
        slopes = self._pair_energies(numbers[center], numbers[neighbor], distances, center, response.energies)
        slopes += self._embedding(numbers, pairs.order, center, neighbor, distances, response.energies)
        gradient = (slopes / distances)[:, None] * vectors
        add_pair_gradients(center, neighbor, vectors, gradient, response.forces, response.virial)

    def _pair_energies(
        self,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        distances: Array,
        center: NDArray[np.int64],
        energies: Array,
    ) -> Array:
        slopes = np.zeros_like(distances)
        low, high = np.minimum(first, second), np.maximum(first, second)
        for (a, b), potential in self._pairs.items():
            chosen = np.flatnonzero((low == a) & (high == b) & (distances < potential.last))
            value, slope = potential(distances[chosen])
            np.add.at(energies, center[chosen], 0.5 * value)
            slopes[chosen] = 0.5 * slope
        return slopes

    def _embedding(
        self,
        numbers: NDArray[np.int64],
        centers: NDArray[np.int64],
        center: NDArray[np.int64],
        neighbor: NDArray[np.int64],
        distances: Array,
        energies: Array,
    ) -> Array:
        """Add F(rho_i) of the ``centers`` to the energies and return dE/dr of each ordered pair."""
        density, density_slopes = np.zeros(len(numbers)), np.zeros_like(distances)
        for z, function in self._densities.items():
            chosen = np.flatnonzero((numbers[neighbor] == z) & (distances < function.last))
            value, density_slopes[chosen] = function(distances[chosen])
            np.add.at(density, center[chosen], value)
        slopes = np.zeros(len(numbers))
        for z, embedding in self._embeddings.items():
            atoms = centers[numbers[centers] == z]
            value, slopes[atoms] = embedding(density[atoms])
            energies[atoms] += value
        return slopes[center] * density_slopes

    def store(self) -> StoredTerm:
        """Return the core."""
        return StoredTerm({"glue": asdict(self.glue)}, {})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "GlueCore":
        """Return the core that :meth:`store` described."""
        glue = stored.header["glue"]
        types = tuple(
            GlueType(
                entry["number"],
                QuipSpline(**entry["density"]),
                entry["density_is_spline"],
                QuipSpline(**entry["embedding"]),
            )
            for entry in glue["types"]
        )
        pairs = tuple(
            GluePair((entry["numbers"][0], entry["numbers"][1]), QuipSpline(**entry["potential"]))
            for entry in glue["pairs"]
        )
        return cls(QuipGlue(types, pairs))


def _spline(spline: QuipSpline, default_slope: float | None) -> ExtrapolatedSpline:
    ends = [default_slope if slope is None else slope for slope in (spline.first_slope, spline.last_slope)]
    return ExtrapolatedSpline(np.array(spline.x), np.array(spline.y), ends[0], ends[1])
