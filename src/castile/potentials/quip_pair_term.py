"""QUIP's ``distance_2b`` block: a kernel of the distance, times a cutoff function and an optional tail."""

from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from castile.descriptors.cutoffs import CosineCutoff
from castile.numerics.pair_functions import tabulated_pair_response
from castile.numerics.pair_sorting import add_pair_gradients
from castile.potentials.covariance import ScalarKernel
from castile.potentials.environment import Environment, Response
from castile.potentials.stored_term import StoredTerm

ANY = 0
_POWERS = 6
_SHORTEST = 0.4
_COARSEST, _MOST_INTERVALS = 0.05, 40_000
_VALUE_TOLERANCE, _SLOPE_TOLERANCE, _LARGEST_SLOPE_ERROR = 1e-11, 1e-10, 2e-7
_BLOCK = 4096
_NODES, _CHECKS = np.linspace(0.0, 1.0, _POWERS - 1), np.array([0.13, 0.3, 0.61, 0.85])
_FROM_SLOPES = np.linalg.inv(np.vander(_NODES, increasing=True)) / np.arange(1, _POWERS)[:, None]
"""Coefficients of t, t^2, ... of the quintic with given slopes at the nodes."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairTable:
    """Quintic polynomials of a pair potential between start and cutoff, Angstrom."""

    coefficients: Array
    start: float
    step: float


@dataclass(frozen=True)
class QuipPairTerm:
    r"""Kernel of a pair's distance.

    .. math:: E = \sum_{(i,j)} f_c(r) \sum_s w_s\, k(r^{e}, x_s), \quad
              f_c(r) = f(r)\, [\mathrm{erf}(\beta r) / r]^t

    over ordered pairs, each bond twice; half of each goes to either atom.

    Parameters
    ----------
    name : str
    numbers : tuple of two int
        Atomic numbers in any order; 0 stands for every element.
    envelope : CosineCutoff
        f(r).
    exponents : tuple of float
        e; several make several features.
    tail_exponent : int
        t; 0 for no tail.
    tail_range : float
        beta, 1/Angstrom.
    kernel : ScalarKernel
    points : ndarray, shape (n_sparse, n_exponents)
        x_s.
    sparse_cutoffs : ndarray, shape (n_sparse,)
        f_c of the sparse points, which the weights contain.
    """

    kind: ClassVar[str] = "quip_pair"
    name: str
    numbers: tuple[int, int]
    envelope: CosineCutoff
    exponents: tuple[float, ...]
    tail_exponent: int
    tail_range: float
    kernel: ScalarKernel
    points: Array
    sparse_cutoffs: Array
    _kind_of: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        matches = [np.arange(120) == z if z != ANY else np.ones(120, dtype=bool) for z in self.numbers]
        either = np.outer(matches[0], matches[1])
        object.__setattr__(self, "_kind_of", np.where(either | either.T, 0, -1).astype(np.int64))

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self.envelope.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return len(self.points)

    def potential(self, r: Array, weights: Array) -> tuple[Array, Array]:
        """Return V(r) of a bond, eV, and its derivative, eV/A, at the distances r (n_r,), Angstrom."""
        value, slope = np.empty_like(r), np.empty_like(r)
        for begin in range(0, len(r), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            value[part], slope[part] = self._potential(r[part], weights)
        return value, slope

    def _potential(self, r: Array, weights: Array) -> tuple[Array, Array]:
        exponents = np.array(self.exponents)
        features = r[:, None] ** exponents
        feature_slopes = exponents * r[:, None] ** (exponents - 1.0)
        if len(exponents) == 1:
            values, slopes = self.kernel.values(features[:, 0], self.points[:, 0])
            energy, slope = values @ weights, (slopes @ weights) * feature_slopes[:, 0]
        else:
            energy, gradient = self.kernel.weighted(features, self.points, weights)
            slope = np.einsum("re,re->r", gradient, feature_slopes)
        cut, cut_slope = self._cut(r)
        return 2.0 * cut * energy, 2.0 * (cut * slope + cut_slope * energy)

    def _cut(self, r: Array) -> tuple[Array, Array]:
        cut, slope = self.envelope.values(r), self.envelope.derivatives(r)
        t, beta = self.tail_exponent, self.tail_range
        if t == 0:
            return cut, slope
        screened = erf(beta * r)
        ratio = screened / r
        ratio_slope = 2.0 * beta / np.sqrt(np.pi) * np.exp(-((beta * r) ** 2)) / r - screened / r**2
        tail = ratio**t
        return cut * tail, slope * tail + cut * t * ratio ** (t - 1) * ratio_slope

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the term, given its weights (n_columns,)."""
        pairs, numbers = environment.pairs, environment.numbers
        kinds = self._kind_of[numbers[pairs.center], numbers[pairs.neighbor]]
        table = self._table(weights)
        squared = np.einsum("pa,pa->p", pairs.vectors, pairs.vectors)
        reach = self.cutoff if table is None else table.start
        direct = np.flatnonzero((kinds == 0) & (squared < reach**2))
        if direct.size:
            kinds[direct] = -1
            distances = np.sqrt(squared[direct])
            value, slope = self.potential(distances, weights)
            center = pairs.center[direct]
            np.add.at(response.energies, center, 0.5 * value)
            vectors = pairs.vectors[direct]
            gradient = (0.5 * slope / distances)[:, None] * vectors
            add_pair_gradients(
                center, pairs.neighbor[direct], vectors, gradient, response.forces, response.virial
            )
        if table is not None:
            tabulated_pair_response(
                pairs.center,
                pairs.neighbor,
                pairs.vectors,
                kinds,
                table.coefficients,
                table.start,
                table.step,
                self.cutoff,
                response.energies,
                response.forces,
                response.virial,
            )

    def _table(self, weights: Array) -> PairTable | None:
        """Return a table that is exact to the tolerances, or None where none of a sensible size is."""
        cached = self.__dict__.get("_tabulated")
        if cached is None or not np.array_equal(cached[0], weights):
            cached = (weights.copy(), self._build_table(weights))
            object.__setattr__(self, "_tabulated", cached)
        table: PairTable | None = cached[1]
        return table

    def _build_table(self, weights: Array) -> PairTable | None:
        """Return a table, its step halved until it is exact to the tolerance or to rounding.

        Its slopes are interpolated and its values their integrals from the cutoff inwards: differences of
        values, with the rounding of large weights that cancel, would be slopes of ever more noise.
        """
        width, cutoff = self.envelope.width, self.cutoff
        step = width / np.ceil(width / _COARSEST)
        best, least = None, np.inf
        while (n_intervals := int((cutoff - min(_SHORTEST, 0.5 * cutoff)) / step + 1e-9)) <= _MOST_INTERVALS:
            start = cutoff - n_intervals * step
            lower = start + step * np.arange(n_intervals)
            _, slope = self._on_intervals(lower, step, _NODES, weights)
            rising = step * slope @ _FROM_SLOPES.T
            value = -np.cumsum(rising.sum(axis=1)[::-1])[::-1]
            coefficients = np.concatenate([value[:, None], rising], axis=1)
            value_error, slope_error = self._table_errors(coefficients, lower, step, weights)
            if value_error < _VALUE_TOLERANCE and slope_error < _SLOPE_TOLERANCE:
                return PairTable(coefficients[None], start, step)
            if slope_error > 0.7 * least:
                return best if least < _LARGEST_SLOPE_ERROR else None
            best, least = PairTable(coefficients[None], start, step), slope_error
            step *= 0.5
        return None

    def _on_intervals(
        self, lower: Array, step: float, fractions: Array, weights: Array
    ) -> tuple[Array, Array]:
        """Return V and V' at these fractions of each interval, (n_intervals, n_fractions)."""
        value, slope = self.potential((lower[:, None] + step * fractions).ravel(), weights)
        return value.reshape(len(lower), -1), slope.reshape(len(lower), -1)

    def _table_errors(
        self, coefficients: Array, lower: Array, step: float, weights: Array
    ) -> tuple[float, float]:
        value, slope = self._on_intervals(lower, step, _CHECKS, weights)
        powers = np.vander(_CHECKS, _POWERS, increasing=True)
        slopes = (coefficients[:, 1:] * np.arange(1, _POWERS)) @ powers[:, :-1].T / step
        value_error = np.abs(coefficients @ powers.T - value).max()
        return float(value_error), float(np.abs(slopes - slope).max())

    def store(self) -> StoredTerm:
        """Return the term without its weights."""
        header = {
            "name": self.name,
            "numbers": list(self.numbers),
            "cutoff": self.envelope.cutoff,
            "cutoff_width": self.envelope.width,
            "exponents": list(self.exponents),
            "tail_exponent": self.tail_exponent,
            "tail_range": self.tail_range,
            "kernel": asdict(self.kernel),
        }
        return StoredTerm(header, {"points": self.points, "sparse_cutoffs": self.sparse_cutoffs})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "QuipPairTerm":
        """Return the term that :meth:`store` described."""
        header = stored.header
        first, second = header["numbers"]
        return cls(
            header["name"],
            (first, second),
            CosineCutoff(header["cutoff"], header["cutoff_width"]),
            tuple(header["exponents"]),
            header["tail_exponent"],
            header["tail_range"],
            ScalarKernel.restore(header["kernel"]),
            stored.arrays["points"],
            stored.arrays["sparse_cutoffs"],
        )
