r"""Radial bases of QUIP's ``soap`` fitted to the density on a grid: polynomials and Gaussian orbitals.

With :math:`\alpha = 1/(2\sigma^2)`, :math:`R = r_c + \sigma\sqrt{2\epsilon\ln 10}` and grid points
:math:`r_a = (a-1) R / (3 n_{max})`, the Gaussian of a neighbour at distance r has the values
:math:`E_{la}(r) = e^{-\alpha (r^2 + r_a^2)}\, i_l(2 \alpha r r_a)` there, and

.. math:: R_{nl}(r) = \sum_a [(B L^{-T})^+]_{na} E_{la}(r), \quad B_{ai} = \phi_i(r_a), \quad
          L L^T = \int_0^R r^2 \phi_i \phi_j\, dr

with :math:`^+` for the least-squares inverse.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, lstsq, solve_triangular

from castile.descriptors.radial_bases import RadialBasis, scaled_bessel
from castile.errors import InputError

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_POINTS_PER_FUNCTION = 3
_LARGEST_CONDITION = 1e11

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FittedBasis(RadialBasis):
    """Functions of which subclasses give the form.

    Parameters
    ----------
    n_max, l_max : int
    cutoff, sigma : float
        Cutoff and Gaussian width, Angstrom.
    basis_error_exponent : float
        epsilon: the functions reach to where the Gaussian of an atom at the cutoff has fallen to
        10^-epsilon.

    Raises
    ------
    InputError
        If so many functions were asked for that rounding makes the coefficients: 8 polynomials, 13 orbitals.

    Source: the ``soap`` descriptor of QUIP.
    """

    n_max: int
    l_max: int
    cutoff: float
    sigma: float
    basis_error_exponent: float = 10.0

    def __post_init__(self) -> None:
        _ = self._projector

    @abstractmethod
    def _functions(self, r: Array, degree: int) -> Array:
        """phi_i at the distances r (n_r,), for one angular channel; shape (n_r, n_max)."""

    @property
    def _reach(self) -> float:
        return float(self.cutoff + self.sigma * np.sqrt(2.0 * self.basis_error_exponent * np.log(10.0)))

    @property
    def _grid(self) -> Array:
        n_points = _POINTS_PER_FUNCTION * self.n_max
        return np.arange(n_points) * self._reach / n_points

    @cached_property
    def _projector(self) -> Array:
        """From densities on the grid to coefficients, (l_max+1, n_grid, n_max)."""
        nodes, weights = 0.5 * self._reach * (_NODES + 1.0), 0.5 * self._reach * _WEIGHTS
        projectors = []
        for degree in range(self.l_max + 1):
            primitives = self._functions(nodes, degree)
            scale = 1.0 / np.sqrt((weights * nodes**2) @ primitives**2)
            primitives = primitives * scale
            overlap = primitives.T @ ((weights * nodes**2)[:, None] * primitives)
            if np.linalg.cond(overlap) > _LARGEST_CONDITION:
                raise InputError(
                    f"n_max = {self.n_max} functions of the radial basis {self.name} are so nearly dependent "
                    "that QUIP's own numbers are rounding noise (1e-5 eV and more); fit again with fewer, or "
                    "with EQUISPACED_GAUSS"
                )
            lower = cholesky(overlap, lower=True)
            on_grid = self._functions(self._grid, degree) * scale
            orthonormal = solve_triangular(lower, on_grid.T, lower=True).T
            projectors.append(lstsq(orthonormal, np.eye(len(self._grid)))[0].T)
        return np.stack(projectors)

    def values(self, r: ArrayLike) -> Array:
        """R_nl at the distances ``r`` (n_r,), Angstrom; shape (n_r, l_max+1, n_max)."""
        r = np.asarray(r, dtype=np.float64)[:, None]
        density = scaled_bessel(self.l_max, r * self._grid / self.sigma**2)
        density *= np.exp(-0.5 * ((r - self._grid) / self.sigma) ** 2)
        return np.moveaxis(density @ self._projector, 0, 1)

    def center(self) -> Array:
        """R_n0 of an atom at the centre itself, shape (n_max,)."""
        return np.asarray(np.exp(-0.5 * (self._grid / self.sigma) ** 2) @ self._projector[0])


@dataclass(frozen=True)
class QuipPolynomials(FittedBasis):
    r"""``radial_basis=POLY``: :math:`\phi_i = (R - r)^{i+2}`."""

    name: ClassVar[str] = "quip_poly"

    def _functions(self, r: Array, degree: int) -> Array:
        return np.asarray((1.0 - r / self._reach)[:, None] ** (np.arange(self.n_max) + 3.0))


@dataclass(frozen=True)
class QuipOrbitals(FittedBasis):
    r"""``radial_basis=GTO``: :math:`\phi_{il} = r^l e^{-\beta_{il} r^2}`, that have fallen to
    :math:`10^{-3}` at :math:`\rho_i = i R / n_{max}`.
    """

    name: ClassVar[str] = "quip_gto"

    def _functions(self, r: Array, degree: int) -> Array:
        ends = np.arange(1, self.n_max + 1) * self._reach / self.n_max
        rates = -(np.log(1e-3) - degree * np.log(ends)) / ends**2
        return np.asarray(r[:, None] ** degree * np.exp(-rates * r[:, None] ** 2))


QUIP_BASES: tuple[type[FittedBasis], ...] = (QuipPolynomials, QuipOrbitals)
"""Every fitted radial basis; tests go through this list."""
