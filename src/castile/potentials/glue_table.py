"""A pair potential as a table of knots for QUIP's Glue splines."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from castile.errors import InputError
from castile.formats.quip_xml import GluePair, GlueType, QuipGlue, QuipSpline
from castile.potentials.glue_core import ExtrapolatedSpline

SHORTEST = 0.2
"""First knot, Angstrom; the table goes on linearly below."""
_VALUE_TOLERANCE, _SLOPE_TOLERANCE = 1e-8, 2e-7
_MOST_KNOTS = 40_000
_PIECES, _DEGREE = 64, 8
"""Of the polynomials that knots are taken from."""

Array = NDArray[np.float64]
Potential = Callable[[Array], tuple[Array, Array]]


def tabulated(potential: Potential, breaks: Iterable[float]) -> QuipSpline:
    """Return knots whose spline reproduces a potential between 0.2 A and its cutoff.

    Knots lie denser at short distances, where a core rises steeply. Between them the energy is within
    1e-8 eV and the slope within 2e-7 eV/A, or 1e-9 and 3e-9 of their values.

    Parameters
    ----------
    potential : callable
        Distances (n,) in Angstrom to energies (eV) and slopes (eV/A).
    breaks : iterable of float
        Radii where its third derivative jumps, Angstrom; it ends at the largest.

    Raises
    ------
    InputError
        If so many knots would be needed that the file is of no use.
    """
    ends = sorted(set(breaks))
    smooth = _WithoutNoise(potential, ends)
    n_knots = 256
    while n_knots <= _MOST_KNOTS:
        knots = _graded(ends, n_knots)
        value, slope = smooth.values(knots), potential(knots[[0, -1]])[1]
        value[-1] = 0.0
        spline = ExtrapolatedSpline(knots, value, float(slope[0]), 0.0)
        checks = (knots[:-1, None] + np.diff(knots)[:, None] * np.array([0.21, 0.5, 0.79])).ravel()
        exact, exact_slope = potential(checks)
        found, found_slope = spline(checks)
        close = np.abs(found - exact) <= _VALUE_TOLERANCE + 1e-9 * np.abs(exact)
        even = np.abs(found_slope - exact_slope) <= _SLOPE_TOLERANCE + 3e-9 * np.abs(exact_slope)
        if close.all() and even.all():
            return QuipSpline(tuple(knots.tolist()), tuple(value.tolist()), float(slope[0]), 0.0)
        n_knots = int(1.5 * n_knots)
    raise InputError(
        f"a pair potential needs more than {_MOST_KNOTS} knots in QUIP's Glue table; fit with pair=False, "
        "core=False"
    )


class _WithoutNoise:
    """Polynomials through a potential, piece by piece.

    Weights of 1e5 eV that cancel leave rounding of 1e-11 eV in the values. Between knots a thousandth of an
    Angstrom apart that would be a slope of 1e-8 eV/A and more; a piece is a hundred times as long.
    """

    def __init__(self, potential: Potential, ends: list[float]) -> None:
        self._edges = _graded(ends, _PIECES)
        nodes = chebyshev.chebpts1(_DEGREE + 1)
        radii = 0.5 * (self._edges[:-1, None] * (1.0 - nodes) + self._edges[1:, None] * (1.0 + nodes))
        values = potential(radii.ravel())[0].reshape(radii.shape)
        self._coefficients = np.linalg.solve(chebyshev.chebvander(nodes, _DEGREE), values.T).T

    def values(self, r: Array) -> Array:
        """Return energies at the distances r, from the first edge to the last."""
        piece = np.clip(np.searchsorted(self._edges, r, side="right") - 1, 0, len(self._edges) - 2)
        low, high = self._edges[piece], self._edges[piece + 1]
        powers = chebyshev.chebvander((2.0 * r - low - high) / (high - low), _DEGREE)
        return np.asarray(np.sum(powers * self._coefficients[piece], axis=1))


def _graded(ends: list[float], n_knots: int) -> Array:
    """Knots at all ``ends``; the spacing between grows with the distance up to 1 A and is even from there."""
    bend = 1.0
    shortest = min(SHORTEST, 0.5 * ends[0])

    def mapped(r: float) -> float:
        """Coordinate in which the knots are equidistant: logarithmic up to the bend."""
        return bend * np.log(r / bend) if r < bend else r - bend

    total = mapped(ends[-1]) - mapped(shortest)
    pieces = [np.array([shortest])]
    for low, high in pairwise([shortest, *ends]):
        count = max(4, int(np.ceil(n_knots * (mapped(high) - mapped(low)) / total)))
        even = np.linspace(mapped(low), mapped(high), count + 1)[1:]
        knots = np.where(even < 0.0, bend * np.exp(np.minimum(even, 0.0) / bend), even + bend)
        knots[-1] = high
        pieces.append(knots)
    return np.concatenate(pieces)


def pair_glue(potentials: dict[tuple[int, int], QuipSpline]) -> QuipGlue:
    """Return a Glue potential that holds pair potentials only.

    Parameters
    ----------
    potentials : dict
        Spline of each pair of atomic numbers.
    """
    numbers = sorted({z for pair in potentials for z in pair})
    nothing = QuipSpline((0.0, 1.0), (0.0, 0.0), 0.0, 0.0)
    density = QuipSpline((0.5, 1.0), (0.0, 0.0), 0.0, 0.0)
    return QuipGlue(
        tuple(GlueType(z, density, False, nothing) for z in numbers),
        tuple(GluePair(pair, spline) for pair, spline in potentials.items()),
    )
