"""Cutoff functions: they take the density of a neighbour to zero at the cutoff radius."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError


class CutoffFunction(ABC):
    """A function of the distance, 1 up to ``cutoff - width``, 0 from ``cutoff`` on.

    Attributes
    ----------
    cutoff : float
        Radius beyond which the function is zero, Angstrom.
    width : float
        Length of the transition, Angstrom.
    """

    name: ClassVar[str]
    cutoff: float
    width: float

    @property
    def knots(self) -> tuple[float, ...]:
        """Radii in Angstrom at which a derivative jumps; spline tables place a node at each."""
        return (self.cutoff - self.width, self.cutoff)

    @abstractmethod
    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Values at the distances ``r`` (any shape, Angstrom)."""

    @abstractmethod
    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Derivatives with respect to the distance at ``r`` (any shape, Angstrom), 1/Angstrom."""


def _check(cutoff: float, width: float) -> None:
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"cutoff = {cutoff} A must be a positive number")
    if not (np.isfinite(width) and 0 < width <= cutoff):
        raise InputError(f"cutoff width = {width} A must be above 0 and at most the cutoff ({cutoff} A)")


def _transition(cutoff: float, width: float, r: ArrayLike) -> NDArray[np.float64]:
    """Distance from the start of the transition in units of its width, clipped to [0, 1]."""
    return np.clip((np.asarray(r, dtype=np.float64) - (cutoff - width)) / width, 0.0, 1.0)


@dataclass(frozen=True)
class CosineCutoff(CutoffFunction):
    r"""Shifted cosine, as in QUIP and featomic.

    .. math:: f(r) = \tfrac12 [1 + \cos(\pi t)], \quad t = (r - r_c + w) / w, \quad 0 \le t \le 1

    Its first derivative is continuous, its second jumps at both ends of the transition.

    Parameters
    ----------
    cutoff : float
        :math:`r_c`, Angstrom.
    width : float
        :math:`w`, Angstrom, at most ``cutoff``.
    """

    name: ClassVar[str] = "cosine"
    cutoff: float
    width: float = 0.5

    def __post_init__(self) -> None:
        _check(self.cutoff, self.width)

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Values at the distances ``r`` (any shape, Angstrom)."""
        t = _transition(self.cutoff, self.width, r)
        return np.where(t < 1.0, 0.5 * (1.0 + np.cos(np.pi * t)), 0.0)

    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Derivatives with respect to the distance at ``r`` (any shape, Angstrom), 1/Angstrom."""
        t = _transition(self.cutoff, self.width, r)
        return np.where((t > 0.0) & (t < 1.0), -0.5 * np.pi / self.width * np.sin(np.pi * t), 0.0)


@dataclass(frozen=True)
class SmoothCutoff(CutoffFunction):
    r"""Quintic polynomial with continuous first and second derivatives.

    .. math:: f(r) = 1 - 10 t^3 + 15 t^4 - 6 t^5, \quad t = (r - r_c + w) / w, \quad 0 \le t \le 1

    Force constants, and so phonons and elastic constants, do not jump when an atom enters the sphere.

    Parameters
    ----------
    cutoff : float
        :math:`r_c`, Angstrom.
    width : float
        :math:`w`, Angstrom, at most ``cutoff``.
    """

    name: ClassVar[str] = "smooth"
    cutoff: float
    width: float = 1.0

    def __post_init__(self) -> None:
        _check(self.cutoff, self.width)

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Values at the distances ``r`` (any shape, Angstrom)."""
        s = 1.0 - _transition(self.cutoff, self.width, r)
        return s**3 * (10.0 + s * (-15.0 + 6.0 * s))

    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Derivatives with respect to the distance at ``r`` (any shape, Angstrom), 1/Angstrom."""
        t = _transition(self.cutoff, self.width, r)
        return -30.0 / self.width * t**2 * (1.0 - t) ** 2


CUTOFF_FUNCTIONS: tuple[type[CutoffFunction], ...] = (CosineCutoff, SmoothCutoff)
"""Every concrete cutoff function; tests go through this list."""
