"""Radial scaling: weights that let near neighbours count more than far ones."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError


class RadialScaling(ABC):
    """A smooth weight of a neighbour's density; the central atom's own density is never weighted."""

    name: ClassVar[str]

    @abstractmethod
    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Values at the distances ``r`` (any shape, Angstrom)."""

    @abstractmethod
    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Derivatives with respect to the distance at ``r`` (any shape, Angstrom), 1/Angstrom."""


@dataclass(frozen=True)
class NoScaling(RadialScaling):
    """Every neighbour inside the cutoff counts the same: the weight is 1."""

    name: ClassVar[str] = "none"

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Ones in the shape of ``r``."""
        return np.ones(np.shape(r))

    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Zeros in the shape of ``r``."""
        return np.zeros(np.shape(r))


@dataclass(frozen=True)
class Willatt2018(RadialScaling):
    r"""Weight that is 1 at the centre and falls as a power of the distance.

    .. math:: u(r) = \frac{c}{c + (r / r_0)^m}

    Parameters
    ----------
    rate : float
        :math:`c`, positive, no unit.
    scale : float
        :math:`r_0`, positive, Angstrom.
    exponent : float
        :math:`m`, at least 1, no unit (below 1 the slope at the centre is infinite).

    Notes
    -----
    Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018), section 3; featomic's
    ``Willatt2018`` has the same three names.
    """

    name: ClassVar[str] = "willatt2018"
    rate: float
    scale: float
    exponent: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"radial scaling rate = {self.rate} must be a positive number")
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"radial scaling scale = {self.scale} A must be a positive number")
        if not (np.isfinite(self.exponent) and self.exponent >= 1):
            raise InputError(f"radial scaling exponent = {self.exponent} must be at least 1")

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Values at the distances ``r`` (any shape, Angstrom)."""
        power = (np.asarray(r, dtype=np.float64) / self.scale) ** self.exponent
        return self.rate / (self.rate + power)

    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Derivatives with respect to the distance at ``r`` (any shape, Angstrom), 1/Angstrom."""
        x = np.asarray(r, dtype=np.float64) / self.scale
        denominator = self.rate + x**self.exponent
        slope = self.exponent * x ** (self.exponent - 1.0) / self.scale
        return -self.rate * slope / denominator**2


@dataclass(frozen=True)
class PowerScaling(RadialScaling):
    r"""Pure power of the distance, QUIP's decay with ``cutoff_rate = 0``.

    .. math:: u(r) = (r / r_0)^{-m}

    Infinite at the centre: only for structures whose atoms keep a distance.

    Parameters
    ----------
    scale : float
        :math:`r_0`, positive, Angstrom.
    exponent : float
        :math:`m`, positive, no unit.
    """

    name: ClassVar[str] = "power"
    scale: float
    exponent: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"radial scaling scale = {self.scale} A must be a positive number")
        if not (np.isfinite(self.exponent) and self.exponent > 0):
            raise InputError(f"radial scaling exponent = {self.exponent} must be a positive number")

    def values(self, r: ArrayLike) -> NDArray[np.float64]:
        """Values at the distances ``r`` (any shape, above zero, Angstrom)."""
        return (np.asarray(r, dtype=np.float64) / self.scale) ** -self.exponent

    def derivatives(self, r: ArrayLike) -> NDArray[np.float64]:
        """Derivatives with respect to the distance at ``r`` (above zero, Angstrom), 1/Angstrom."""
        x = np.asarray(r, dtype=np.float64) / self.scale
        return -self.exponent / self.scale * x ** (-self.exponent - 1.0)


def quip_decay(cutoff_dexp: int = 0, cutoff_scale: float = 1.0, cutoff_rate: float = 1.0) -> RadialScaling:
    r"""Radial scaling that QUIP's ``soap`` descriptor applies for these three keys.

    With :math:`m` = ``cutoff_dexp``, :math:`r_s` = ``cutoff_scale`` (Angstrom), :math:`q` = ``cutoff_rate``:
    1 for :math:`m = 0`, :math:`q / (q + (r/r_s)^m)` for :math:`q > 0` and :math:`(r/r_s)^{-m}` for
    :math:`q = 0`.

    Raises
    ------
    InputError
        If a value is negative or ``cutoff_scale`` is zero.
    """
    if cutoff_dexp < 0 or cutoff_rate < 0:
        raise InputError(f"cutoff_dexp = {cutoff_dexp} and cutoff_rate = {cutoff_rate} must not be negative")
    if cutoff_dexp == 0:
        return NoScaling()
    if cutoff_rate == 0:
        return PowerScaling(scale=cutoff_scale, exponent=cutoff_dexp)
    return Willatt2018(rate=cutoff_rate, scale=cutoff_scale, exponent=cutoff_dexp)


RADIAL_SCALINGS: tuple[type[RadialScaling], ...] = (NoScaling, Willatt2018, PowerScaling)
"""Every concrete radial scaling; tests go through this list."""
