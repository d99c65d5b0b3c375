"""Settings of a molecular-dynamics run."""

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from castile.errors import InputError
from castile.simulation.close_contacts import DEFAULT_CONTACT_FRACTION


class Ensemble(StrEnum):
    """What is held constant besides the number of atoms."""

    NVE = "nve"
    LANGEVIN = "langevin"
    NPT = "npt"


@dataclass(frozen=True)
class MolecularDynamicsSettings:
    """Everything that defines a run, besides the structure and the calculator.

    Args:
        ensemble: ``nve`` (constant energy), ``langevin`` (constant temperature) or ``npt`` (constant
            temperature and isotropic pressure).
        n_steps: number of time steps, counted from the very start (a restart continues to the same number).
        time_step_fs: time step in fs.
        temperature_k: temperature in K of the initial velocities and of the thermostat.
        final_temperature_k: temperature in K at the last step, reached linearly; None keeps it constant.
        pressure_gpa: external pressure in GPa (``npt``).
        seed: seed of the initial velocities and of the thermostat.
        keep_velocities: start from the velocities of the structure instead of drawing new ones.
        thermostat_time_fs: inverse friction of the thermostat in fs.
        barostat_time_fs: relaxation time of the pressure in fs (``npt``).
        bulk_modulus_gpa: rough stiffness of the material in GPa (``npt``); a wrong guess changes only how
            fast the volume relaxes, not where to.
        log_interval: steps between rows of the log.
        trajectory_interval: steps between frames of the trajectory.
        checkpoint_interval: steps between checkpoints.
        check_interval: steps between searches for fused atoms.
        contact_fraction: a pair closer than this fraction of the sum of covalent radii has fused; 0 is off.
        temperature_limit_k: the run stops above this; None means ten times the highest target and
            at least 3000 K.

    Raises:
        InputError: a value out of its range.

    """

    ensemble: Ensemble = Ensemble.NVE
    n_steps: int = 1000
    time_step_fs: float = 1.0
    temperature_k: float = 300.0
    final_temperature_k: float | None = None
    pressure_gpa: float = 0.0
    seed: int = 0
    keep_velocities: bool = False
    thermostat_time_fs: float = 200.0
    barostat_time_fs: float = 1000.0
    bulk_modulus_gpa: float = 100.0
    log_interval: int = 10
    trajectory_interval: int = 100
    checkpoint_interval: int = 100
    check_interval: int = 10
    contact_fraction: float = DEFAULT_CONTACT_FRACTION
    temperature_limit_k: float | None = None

    def __post_init__(self) -> None:
        """Check every range."""
        try:
            object.__setattr__(self, "ensemble", Ensemble(self.ensemble))
        except ValueError:
            names = ", ".join(Ensemble)
            raise InputError(f"ensemble is {self.ensemble!r}; choose one of {names}") from None
        for name in ("time_step_fs", "thermostat_time_fs", "barostat_time_fs", "bulk_modulus_gpa"):
            _require(name, getattr(self, name), "positive", lambda value: value > 0)
        for name in ("log_interval", "trajectory_interval", "checkpoint_interval", "check_interval"):
            _require(name, getattr(self, name), "at least 1", lambda value: value >= 1)
        for name in ("n_steps", "temperature_k", "contact_fraction", "seed"):
            _require(name, getattr(self, name), "zero or positive", lambda value: value >= 0)
        _require("pressure_gpa", self.pressure_gpa, "a finite number", lambda value: True)
        for name in ("final_temperature_k", "temperature_limit_k"):
            if getattr(self, name) is not None:
                _require(name, getattr(self, name), "zero or positive", lambda value: value >= 0)
        if self.ensemble is Ensemble.NVE and self.final_temperature_k is not None:
            raise InputError("final_temperature_k needs a thermostat; choose ensemble 'langevin' or 'npt'")

    def target_temperature(self, step: int) -> float:
        """Return the temperature of the thermostat (K) in the given step."""
        if self.final_temperature_k is None or self.n_steps == 0:
            return self.temperature_k
        progress = step / self.n_steps
        return self.temperature_k + (self.final_temperature_k - self.temperature_k) * progress

    def temperature_limit(self) -> float:
        """Return the temperature (K) above which the run stops."""
        if self.temperature_limit_k is not None:
            return self.temperature_limit_k
        return max(10.0 * max(self.temperature_k, self.final_temperature_k or 0.0), 3000.0)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the fields under their own names, for the checkpoint."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def require_same_run(self, stored: dict[str, Any]) -> None:
        """Raise `InputError` when ``stored`` settings describe another physical run than this one.

        How often files are written, the limits that stop a run and, without a temperature ramp, the number of
        steps may change.
        """
        free = set(CHANGEABLE_ON_RESTART)
        if self.final_temperature_k is None:
            free.add("n_steps")
        for name, value in self.to_json_dict().items():
            if name not in free and stored.get(name) != value:
                raise InputError(
                    f"restart: {name} is {value!r} but the checkpoint was written with {stored.get(name)!r}; "
                    "give the same value, or start a new run under another output name"
                )


CHANGEABLE_ON_RESTART = (
    "checkpoint_interval",
    "check_interval",
    "contact_fraction",
    "temperature_limit_k",
)


def _require(name: str, value: float, condition: str, holds: Any) -> None:
    if not math.isfinite(value) or not holds(value):
        raise InputError(f"{name} is {value}; it must be {condition}")
