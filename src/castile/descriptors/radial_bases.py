r"""Radial bases: the functions R_nl(r) that expand the Gaussian density of one neighbour.

A neighbour at distance :math:`r` in direction :math:`\mathbf u` adds
:math:`f(r)\, u(r)\, R_{nl}(r)\, Y_{lm}(\mathbf u)` to the density coefficients of a centre. A radial basis
gives :math:`R_{nl}` alone; cutoff function :math:`f` and radial scaling :math:`u` multiply outside.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, solve
from scipy.special import erf, gamma

from castile.errors import InputError

_UPWARD_FROM = 64.0
_MOST_WIDTHS = 200  # of the Gaussian in the cutoff; narrower ones take quadratures without end


class RadialBasis(ABC):
    """Radial functions of the density of one neighbour.

    Attributes
    ----------
    n_max : int
        Number of radial functions.
    l_max : int
        Largest angular channel.
    cutoff : float
        Largest distance at which the functions are used, Angstrom.
    sigma : float
        Width (standard deviation) of the Gaussian on each atom, Angstrom.
    """

    name: ClassVar[str]
    n_max: int
    l_max: int
    cutoff: float
    sigma: float

    @abstractmethod
    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """R_nl at the distances ``r`` (n_r,), Angstrom; shape (n_r, l_max+1, n_max)."""

    @abstractmethod
    def center(self) -> NDArray[np.float64]:
        """R_n0 of an atom at the centre itself, shape (n_max,); its factor is Y_00."""


def scaled_bessel(l_max: int, x: ArrayLike) -> NDArray[np.float64]:
    r"""Exponentially scaled modified spherical Bessel functions of the first kind.

    .. math:: e^{-x}\, i_l(x), \qquad i_{l-1} - i_{l+1} = \frac{2l+1}{x} i_l

    The ratios :math:`i_{l+1}/i_l` come from the downward recursion where the upward one loses digits
    (small x), so that even :math:`i_l \sim x^l` near zero keeps its relative precision.

    Parameters
    ----------
    l_max : int
        Largest order.
    x : array_like, shape (...)
        Arguments, not negative.

    Returns
    -------
    ndarray, shape (l_max+1, ...)

    Notes
    -----
    NIST Digital Library of Mathematical Functions, 10.51.4 and 10.49.8.
    """
    x = np.asarray(x, dtype=np.float64)
    result = np.empty((l_max + 1, *x.shape))
    large = x > max(_UPWARD_FROM, float(l_max) ** 2)
    result[:, large] = _scaled_bessel_upward(l_max, x[large])
    result[:, ~large] = _scaled_bessel_downward(l_max, x[~large])
    return result


def _scaled_bessel_upward(l_max: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.empty((l_max + 1, x.size))
    decay = np.exp(-2.0 * x)
    values[0] = (1.0 - decay) / (2.0 * x)
    if l_max > 0:
        values[1] = (1.0 + decay) / (2.0 * x) - values[0] / x
    for l in range(2, l_max + 1):
        values[l] = values[l - 2] - (2 * l - 1) / x * values[l - 1]
    return values


def _scaled_bessel_downward(l_max: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    start = l_max + 20 + int(np.sqrt(40.0 * max(_UPWARD_FROM, float(l_max) ** 2)))
    ratio = np.zeros_like(x)
    ratios = np.empty((l_max + 1, x.size))
    for l in range(start, 0, -1):
        ratio = x / (2 * l + 1 + x * ratio)
        if l <= l_max:
            ratios[l] = ratio
    small = x < 1e-5
    safe = np.where(small, 1.0, x)
    ratios[0] = np.where(small, 1.0 - x + 2.0 / 3.0 * x**2, -np.expm1(-2.0 * safe) / (2.0 * safe))
    return np.multiply.accumulate(ratios, axis=0)


def _check(n_max: int, l_max: int, cutoff: float, sigma: float) -> None:
    for argument, value, least in (("n_max", n_max, 1), ("l_max", l_max, 0)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"{argument} = {value!r} must be an integer of at least {least}")
    for argument, length in (("cutoff", cutoff), ("sigma", sigma)):
        if not (isinstance(length, (int, float, np.number)) and np.isfinite(length) and length > 0):
            raise InputError(f"{argument} = {length!r} A must be a positive number")
    if cutoff > _MOST_WIDTHS * sigma:
        raise InputError(
            f"sigma = {sigma!r} A is less than a {_MOST_WIDTHS}th of the cutoff ({cutoff!r} A): atoms would "
            "hardly overlap; the usual width is 0.2 to 1 A"
        )


@dataclass(frozen=True)
class EquispacedGaussians(RadialBasis):
    r"""Equispaced Gaussians, the radial basis of QUIP's ``soap``.

    With :math:`\alpha = 1/(2\sigma^2)`, centres :math:`r_a = (a-1) R / n_{max}` and
    :math:`R = r_c + \sigma \sqrt{2 \epsilon \ln 10}`,

    .. math::

        R_{nl}(r) = \sum_a e^{-\alpha (r^2 + r_a^2)}\, i_l(2 \alpha r r_a)\, [C^{-1} L]_{an}

    where :math:`C_{ab}` is the Gaussian of centre b at centre a and :math:`L` the Cholesky factor of the
    overlaps :math:`S_{ab} = \int_0^\infty r^2 e^{-\alpha (r-r_a)^2 - \alpha (r-r_b)^2} dr`.

    Parameters
    ----------
    n_max, l_max : int
        Number of radial functions, largest angular channel.
    cutoff, sigma : float
        Cutoff and Gaussian width, Angstrom.
    basis_error_exponent : float
        :math:`\epsilon`: how far the centres reach beyond the cutoff.

    Notes
    -----
    Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013), in the normalisation of QUIP.
    """

    name: ClassVar[str] = "equispaced"
    n_max: int
    l_max: int
    cutoff: float
    sigma: float
    basis_error_exponent: float = 10.0

    def __post_init__(self) -> None:
        _check(self.n_max, self.l_max, self.cutoff, self.sigma)
        if not (np.isfinite(self.basis_error_exponent) and self.basis_error_exponent > 0):
            raise InputError(f"basis_error_exponent = {self.basis_error_exponent} must be a positive number")

    @cached_property
    def _centers(self) -> NDArray[np.float64]:
        reach = self.cutoff + self.sigma * np.sqrt(2.0 * self.basis_error_exponent * np.log(10.0))
        return np.arange(self.n_max) * reach / self.n_max

    @cached_property
    def _cholesky(self) -> NDArray[np.float64]:
        alpha = 0.5 / self.sigma**2
        a, b = self._centers[:, None], self._centers[None, :]
        total, difference = a + b, a - b
        overlap = np.sqrt(2.0) * alpha**1.5 * total * np.exp(-alpha * (a**2 + b**2))
        overlap += (
            alpha
            * np.sqrt(np.pi)
            * np.exp(-0.5 * alpha * difference**2)
            * (1.0 + alpha * total**2)
            * (1.0 + erf(total * np.sqrt(0.5 * alpha)))
        )
        return cholesky(overlap / np.sqrt(128.0 * alpha**5), lower=True)

    @cached_property
    def _transform(self) -> NDArray[np.float64]:
        difference = self._centers[:, None] - self._centers[None, :]
        gaussians = np.exp(-0.5 * (difference / self.sigma) ** 2)
        return solve(gaussians, self._cholesky, assume_a="pos")

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """R_nl at the distances ``r`` (n_r,), Angstrom; shape (n_r, l_max+1, n_max)."""
        r = np.asarray(r, dtype=np.float64)[:, None]
        radial = scaled_bessel(self.l_max, r * self._centers / self.sigma**2)
        radial *= np.exp(-0.5 * ((r - self._centers) / self.sigma) ** 2)
        return np.moveaxis(radial @ self._transform, 0, 1)

    def center(self) -> NDArray[np.float64]:
        """R_n0 of an atom at the centre itself, shape (n_max,): zero for all but the first function."""
        return self._cholesky[0].copy()


@dataclass(frozen=True)
class GTO(RadialBasis):
    r"""Gaussian-type orbitals, the ``Gto`` radial basis of featomic.

    The Gaussian density :math:`(\pi\sigma^2)^{-3/4} e^{-r^2/2\sigma^2}` of a neighbour is projected on

    .. math:: \phi_n(r) = r^n e^{-r^2 / 2\sigma_n^2}, \quad \sigma_n = \max(\sqrt n, 1)\, r_c / n_{max}

    (n from 0, the same for every l) after symmetric orthonormalisation with the weight :math:`r^2` on
    :math:`[0, \infty)`:

    .. math::

        R_{nl}(r) = \frac{4\pi}{(\pi\sigma^2)^{3/4}} \int_0^\infty x^2 \tilde\phi_n(x)\,
        e^{-(x^2 + r^2)/2\sigma^2}\, i_l(x r/\sigma^2)\, dx

    Parameters
    ----------
    n_max, l_max : int
        Number of radial functions (featomic's ``max_radial`` + 1), largest angular channel.
    cutoff, sigma : float
        Cutoff and Gaussian width, Angstrom.

    Raises
    ------
    InputError
        If so many functions were asked for that they are linearly dependent in double precision.
    """

    name: ClassVar[str] = "gto"
    n_max: int
    l_max: int
    cutoff: float
    sigma: float

    def __post_init__(self) -> None:
        _check(self.n_max, self.l_max, self.cutoff, self.sigma)
        _ = self._transform

    @cached_property
    def _widths(self) -> NDArray[np.float64]:
        return np.maximum(np.sqrt(np.arange(self.n_max)), 1.0) * self.cutoff / self.n_max

    @cached_property
    def _transform(self) -> NDArray[np.float64]:
        """Columns turn the primitive functions into orthonormal ones, (n_max, n_max)."""
        n = np.arange(self.n_max)
        power = 0.5 * (n[:, None] + n[None, :] + 3)
        rate = 0.5 * (self._widths[:, None] ** -2 + self._widths[None, :] ** -2)
        # relative to the geometric mean of the two rates, so that no power over- or underflows
        log_norm = -0.5 * (n + 1.5) * np.log(self._widths**-2.0)
        overlap = gamma(power) * np.exp(-power * np.log(rate) - log_norm[:, None] - log_norm[None, :])
        norm = 1.0 / np.sqrt(np.diag(overlap))
        eigenvalues, vectors = np.linalg.eigh(overlap * norm[:, None] * norm[None, :])
        if eigenvalues[0] < 1e-13 * eigenvalues[-1]:
            raise InputError(
                f"n_max = {self.n_max} Gaussian-type orbitals are linearly dependent in double precision; "
                "use a smaller n_max or the equispaced basis"
            )
        inverse_root = (vectors / np.sqrt(eigenvalues)) @ vectors.T
        return np.sqrt(2.0) * (norm * np.exp(-log_norm))[:, None] * inverse_root

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """R_nl at the distances ``r`` (n_r,), Angstrom; shape (n_r, l_max+1, n_max)."""
        r = np.asarray(r, dtype=np.float64)
        nodes, weights = self._quadrature(float(r.max(initial=0.0)))
        primitives = nodes[:, None] ** np.arange(self.n_max) * np.exp(
            -0.5 * (nodes[:, None] / self._widths) ** 2
        )
        projector = (weights * nodes**2)[:, None] * (primitives @ self._transform)
        projector *= 4.0 * np.pi * (np.pi * self.sigma**2) ** -0.75
        result = np.empty((r.size, self.l_max + 1, self.n_max))
        block = 256
        for first in range(0, r.size, block):
            distances = r[first : first + block, None]
            density = scaled_bessel(self.l_max, distances * nodes / self.sigma**2)
            density *= np.exp(-0.5 * ((distances - nodes) / self.sigma) ** 2)
            result[first : first + block] = np.moveaxis(density @ projector, 0, 1)
        return result

    def _quadrature(self, r_largest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gauss-Legendre nodes and weights that resolve the narrowest Gaussian up to ``r_largest``."""
        end = r_largest + 9.0 * self.sigma
        narrowest = 1.0 / np.sqrt(self.sigma**-2 + self._widths.min() ** -2)
        nodes, weights = np.polynomial.legendre.leggauss(40 + int(np.ceil(5.0 * end / narrowest)))
        return 0.5 * end * (nodes + 1.0), 0.5 * end * weights

    def center(self) -> NDArray[np.float64]:
        """R_n0 of an atom at the centre itself, shape (n_max,)."""
        return self.values(np.zeros(1))[0, 0]


@dataclass(frozen=True, eq=False)
class ContractedBasis(RadialBasis):
    r"""Linear combinations of another basis, chosen per angular channel.

    .. math:: R_{ql}(r) = \sum_n R^{base}_{nl}(r)\, M^l_{nq}

    Parameters
    ----------
    base : RadialBasis
        The primitive functions.
    matrix : ndarray, shape (l_max+1, base.n_max, n_max)
        :math:`M`, for instance from `principal_contraction`.
    """

    name: ClassVar[str] = "contracted"
    base: RadialBasis
    matrix: NDArray[np.float64]
    n_max: int = field(init=False)
    l_max: int = field(init=False)
    cutoff: float = field(init=False)
    sigma: float = field(init=False)

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        expected = (self.base.l_max + 1, self.base.n_max)
        if matrix.ndim != 3 or matrix.shape[:2] != expected or matrix.shape[2] < 1:
            raise InputError(
                f"contraction matrix has shape {matrix.shape}; it must be (l_max+1, base.n_max, n_max) with "
                f"(l_max+1, base.n_max) = {expected}"
            )
        if not np.isfinite(matrix).all():
            raise InputError("contraction matrix contains values that are not finite")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "n_max", matrix.shape[2])
        for attribute in ("l_max", "cutoff", "sigma"):
            object.__setattr__(self, attribute, getattr(self.base, attribute))

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """R_ql at the distances ``r`` (n_r,), Angstrom; shape (n_r, l_max+1, n_max)."""
        return np.einsum("rln,lnq->rlq", self.base.values(r), self.matrix)

    def center(self) -> NDArray[np.float64]:
        """R_q0 of an atom at the centre itself, shape (n_max,)."""
        return self.base.center() @ self.matrix[0]


def principal_contraction(
    base: RadialBasis, distances: ArrayLike, n_max: int, weights: ArrayLike | None = None
) -> ContractedBasis:
    r"""Contraction that keeps most of the radial density of the given pairs.

    Per angular channel the ``n_max`` leading eigenvectors of

    .. math:: V^l_{nn'} = \sum_p w_p^2\, R_{nl}(r_p)\, R_{n'l}(r_p)

    span the radial functions of the pairs with the least squared error among all bases of that size.

    Parameters
    ----------
    base : RadialBasis
        Primitive functions, more than are wanted in the end.
    distances : array_like, shape (n_pairs,)
        Pair distances met in the data, Angstrom.
    n_max : int
        Number of contracted functions, at most ``base.n_max``.
    weights : array_like, shape (n_pairs,), optional
        Cutoff function times radial scaling of each pair; 1 if not given.

    Notes
    -----
    The pair form of Goscinski, Musil, Pozdnyakov, Nigam, Ceriotti, J. Chem. Phys. 155, 104106 (2021),
    who diagonalise the covariance of whole environments.
    """
    if not 1 <= n_max <= base.n_max:
        raise InputError(f"n_max = {n_max} contracted functions must lie between 1 and {base.n_max}")
    distances = np.asarray(distances, dtype=np.float64)
    if distances.ndim != 1 or distances.size == 0:
        raise InputError(f"distances must be a non-empty list of pair distances, got shape {distances.shape}")
    values = base.values(distances)
    if weights is not None:
        values = values * np.asarray(weights, dtype=np.float64)[:, None, None]
    covariance = np.einsum("rln,rlk->lnk", values, values)
    vectors = np.linalg.eigh(covariance)[1][:, :, ::-1][:, :, :n_max]
    # fixed sign: the largest entry of each column is positive, so that refits give the same features
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None, :], axis=1)
    return ContractedBasis(base, vectors * np.sign(largest))


RADIAL_BASES: tuple[type[RadialBasis], ...] = (EquispacedGaussians, GTO)
"""Every basis made from (n_max, l_max, cutoff, sigma); tests go through this list."""
