"""One posterior sample of a SOAP term as a function of power spectra, in the form that is cheapest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.numerics.compilation import call_kernel
from castile.numerics.kernel_powers import raise_dots
from castile.numerics.panel_products import pack_panels, times_panels
from castile.potentials.committee_terms import SoapSamples
from castile.potentials.prior_paths import PolynomialPaths
from castile.potentials.soap_term import SoapTerm

FORM_BYTES = 32_000_000
"""Most memory of the quadratic forms of one member."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MemberFunction:
    r"""Difference between a sample of a SOAP term and its mean.

    .. math:: g(p) = \sum_s w_s (p \cdot p_s)^\zeta + \sum_s v_s (p \cdot p_s)^{\zeta'} + \delta z(p)

    For zeta = 2 and a path with two factors this is the quadratic form :math:`p^T A p`, whose cost does not
    depend on the number of sparse points.

    Attributes
    ----------
    zeta, open_zeta : float, int
        Exponents zeta and zeta'.
    weights, open_weights : ndarray, shape (n_columns,)
        w and v; v is added to w where the exponents are equal.
    paths : tuple of PolynomialPaths
        One sample of z for each element.
    amplitudes : ndarray, shape (n_elements,)
        delta, eV.
    forms : tuple of ndarray, shape (n_features, n_features), or None
        A of each element, where that is cheaper.
    """

    zeta: float
    open_zeta: int
    weights: Array
    open_weights: Array
    paths: tuple[PolynomialPaths, ...]
    amplitudes: Array
    forms: tuple[Array, ...] | None = None

    def restricted(self, present: tuple[int, ...], features: NDArray[np.int64]) -> "MemberFunction":
        """Return the function for structures of the elements ``present``, whose other features are zero."""
        if len(present) == len(self.paths):
            return self
        forms = None
        if self.forms is not None:
            forms = tuple(self.forms[e][np.ix_(features, features)] for e in present)
        return MemberFunction(
            self.zeta,
            self.open_zeta,
            self.weights,
            self.open_weights,
            tuple(self.paths[e].restricted(features) for e in present),
            self.amplitudes[list(present)],
            forms,
        )

    def panels(self, element: int) -> Array:
        """Return the form of an element, packed for products."""
        assert self.forms is not None
        packed: dict[int, Array] = self.__dict__.setdefault("_panels", {})
        if element not in packed:
            packed[element] = call_kernel(pack_panels, self.forms[element])
        return packed[element]

    def gradient(
        self,
        element: int,
        features: NDArray[np.floating],
        dots: Array,
        powers: Array,
        points: Array,
        own: slice,
    ) -> Array:
        """Return dg/dp (n, n_features), given p . p_s and its power zeta - 1, (n, n_points) each, and the
        columns of the points.
        """
        cotangent = (powers * (self.zeta * self.weights[own])) @ points
        if self.open_zeta != self.zeta:
            open_powers = np.empty_like(dots)
            raise_dots(np.maximum(dots, 0.0), float(self.open_zeta), open_powers)
            cotangent += (open_powers * (self.open_zeta * self.open_weights[own])) @ points
        cotangent += self.amplitudes[element] * self.paths[element].gradient(features, 0)
        return np.asarray(cotangent)


def member_slopes(
    members: Sequence[MemberFunction],
    element: int,
    features: NDArray[np.floating],
    points: Array,
    columns: slice,
) -> Iterator[Array]:
    """Yield dg/dp (n, n_features) of each member; the dot products with the sparse points are shared."""
    if not members:
        return
    if members[0].forms is not None:
        for member in members:
            yield times_panels(features, member.panels(element), features.shape[1])
        return
    dots = features @ points.T
    powers = np.empty_like(dots)
    raise_dots(dots, members[0].zeta, powers)
    for member in members:
        yield member.gradient(element, features, dots, powers, points, columns)


def member_functions(
    term: SoapTerm, samples: SoapSamples, posterior: float, residual: float
) -> tuple[MemberFunction, ...]:
    """Return the samples as functions, their two parts multiplied by ``posterior`` and ``residual``."""
    functions = []
    for s in range(samples.posterior.shape[1]):
        paths = tuple(PolynomialPaths(path.directions[:, s : s + 1]) for path in samples.paths)
        weights, open_weights = posterior * samples.posterior[:, s], residual * samples.residual[:, s]
        if samples.zeta == term.zeta:
            weights, open_weights = weights + open_weights, np.zeros_like(weights)
        amplitudes = residual * samples.amplitudes
        forms = None
        if forms_pay(term):
            forms = tuple(
                quadratic_form(term.points(e), weights[term.columns(e)], paths[e], amplitudes[e])
                for e in range(len(term.elements))
            )
        functions.append(
            MemberFunction(term.zeta, samples.zeta, weights, open_weights, paths, amplitudes, forms)
        )
    return tuple(functions)


def forms_pay(term: SoapTerm) -> bool:
    """Whether zeta = 2 and quadratic forms of the features cost less than kernels with the sparse points."""
    size = term.engine.n_features
    fits = len(term.elements) * size**2 * 8 <= FORM_BYTES
    return term.zeta == 2.0 and fits and size < max(term.counts, default=0)


def quadratic_form(points: Array, weights: Array, path: PolynomialPaths, amplitude: float) -> Array:
    """Return twice the symmetric A of sum_s w_s (p . p_s)^2 + delta z(p) = p^T A p."""
    form = 2.0 * (points.T * weights) @ points
    directions = path.directions[:, 0]
    product = directions[:, :, 0] @ directions[:, :, 1].T * (amplitude / np.sqrt(directions.shape[1]))
    return np.asarray(form + product + product.T)
