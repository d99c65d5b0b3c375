"""Settings of a nudged elastic band on a surrogate."""

from dataclasses import asdict, dataclass
from typing import Any

from castile.errors import InputError

SURROGATES = ("distances", "cartesian", "soap")


@dataclass(frozen=True)
class NebSettings:
    """How a band is made and when it has converged.

    Attributes
    ----------
    n_images : int
        Images between the ends.
    max_force : float
        eV/A; the largest force on an atom that the oracle may find at the climbing image.
    max_deviation : float
        eV; the largest deviation of the energy along the path.
    max_slope_deviation : float
        eV/A; the largest deviation of the slope of the energy along the path.
    max_calls : int
        Of the oracle between the ends.
    max_failures : int
        Calculations that may fail before the band is given up.
    surrogate : "distances", "cartesian" or "soap"
        Gaussian process on inverse distances with pair potentials, on coordinates, or Castile's sparse GAP.
    interpolation : "idpp" or "linear"
        Of the first path.
    relax_ends : bool
        Relax both ends with the oracle first.
    end_force : float
        eV/A; ends are relaxed to it.
    spring : float
        eV/A^2.
    trust : float
        eV; the band on the surrogate stops where the deviation of an energy exceeds it.
    """

    n_images: int = 5
    max_force: float = 0.03
    max_deviation: float = 0.05
    max_slope_deviation: float = 0.1
    max_calls: int = 100
    max_failures: int = 5
    surrogate: str = "distances"
    interpolation: str = "idpp"
    relax_ends: bool = False
    end_force: float = 0.01
    spring: float = 0.1
    trust: float = 0.3

    def __post_init__(self) -> None:
        if self.surrogate not in SURROGATES:
            raise InputError(f"surrogate is {self.surrogate!r}; choose one of {', '.join(SURROGATES)}")
        if self.interpolation not in ("idpp", "linear"):
            raise InputError(f"interpolation is {self.interpolation!r}; choose idpp or linear")
        if self.n_images < 1:
            raise InputError(f"n_images is {self.n_images}; give at least 1 image between the ends")
        if self.max_calls < 1 or self.max_failures < 0:
            raise InputError(
                f"max_calls is {self.max_calls} and max_failures {self.max_failures}; give at least 1 and 0"
            )
        names = ("max_force", "max_deviation", "max_slope_deviation", "end_force", "spring", "trust")
        for name in names:
            if not getattr(self, name) > 0.0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive")

    def to_json_dict(self) -> dict[str, Any]:
        """Return all settings."""
        return asdict(self)
