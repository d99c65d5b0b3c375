"""From raw variances to calibrated standard deviations."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.potentials.local_errors import LocalErrors, Place

Array = NDArray[np.float64]

KINDS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class VarianceParts:
    """Variance of some quantities in two parts.

    Attributes
    ----------
    posterior : ndarray, shape (n,)
        Of the weights given the labels.
    residual : ndarray, shape (n,)
        Prior variance that the sparse points leave open.
    prior : ndarray, shape (n,)
        Prior variance.
    """

    posterior: Array
    residual: Array
    prior: Array

    def chosen(self, which: slice | NDArray[np.bool_]) -> "VarianceParts":
        """Return the parts of some of the quantities."""
        return VarianceParts(self.posterior[which], self.residual[which], self.prior[which])

    def divided(self, divisor: Array | float) -> "VarianceParts":
        """Return all variances divided by a number."""
        return VarianceParts(self.posterior / divisor, self.residual / divisor, self.prior / divisor)

    @property
    def raw_deviations(self) -> Array:
        """Root of posterior and residual variance together, not calibrated, (n,)."""
        return np.sqrt(self.posterior + self.residual)

    @property
    def share(self) -> Array:
        """Fraction of the prior variance that the sparse points leave open, between 0 and 1, (n,)."""
        positive = np.where(self.prior > 0.0, self.prior, 1.0)
        return np.clip(np.where(self.prior > 0.0, self.residual / positive, 0.0), 0.0, 1.0)


@dataclass(frozen=True)
class KindCalibration:
    r"""Calibration of one kind of quantity.

    .. math::

        \sigma^2 = a^2 v_\text{posterior} + [b^2 + (1 - b^2) s]\, v_\text{residual} + c^2,
        \quad s = v_\text{residual} / v_\text{prior}

    Near the data s is nearly 0 and a, b and c are what held-out errors ask for; far from all data s is 1 and
    the deviation is that of the prior, whatever b is.

    Attributes
    ----------
    posterior : float
        a.
    residual : float
        b.
    floor : float
        c: eV per root atom for energies, eV/A, eV/A^3.
    tail : float
        Exponent of the intervals, :func:`castile.potentials.intervals.half_width`.
    """

    posterior: float = 1.0
    residual: float = 1.0
    floor: float = 0.0
    tail: float = 0.0

    def weight(self, share: Array, factor: Array | float = 1.0) -> Array:
        """Return b^2 + (1 - b^2) s, what the residual variance is multiplied by, with b times a factor."""
        squared = (self.residual * factor) ** 2
        return np.asarray(squared + (1.0 - squared) * share)

    def deviations(
        self,
        parts: VarianceParts,
        floor_scale: Array | float = 1.0,
        share: Array | None = None,
        factor: Array | float = 1.0,
    ) -> Array:
        """Return the calibrated standard deviations, (n,).

        ``floor_scale`` multiplies the floor; ``share`` (n,) stands for s where the prior is not at hand;
        ``factor`` multiplies a, b and c: far from all data the deviation stays the prior's.
        """
        weight = self.weight(parts.share if share is None else share, factor)
        variance = (self.posterior * factor) ** 2 * parts.posterior + weight * parts.residual
        return np.asarray(np.sqrt(variance + (self.floor * floor_scale * factor) ** 2))


@dataclass(frozen=True)
class Calibration:
    """Calibration of energies, forces and stress, and where it comes from.

    Attributes
    ----------
    energy, forces, stress : KindCalibration
        That of energies holds for total and per-atom energies.
    source : str
        In words.
    n_structures : int
        Structures whose errors it comes from.
    n_updated : int
        Those of them that came with updates.
    remarks : tuple of str
        What its data showed that a user should know, such as labels in a wrong order.
    local : LocalErrors or None
        By what factor errors are larger near the structures that it comes from.
    """

    energy: KindCalibration = KindCalibration()
    forces: KindCalibration = KindCalibration()
    stress: KindCalibration = KindCalibration()
    source: str = "not calibrated"
    n_structures: int = 0
    n_updated: int = 0
    remarks: tuple[str, ...] = ()
    local: LocalErrors | None = field(default=None, repr=False, compare=False)

    def factors(self, kind: str, place: Place | None, levels: Array) -> Array:
        """Return the local factors of labels of one kind in a structure, (n,); 1 where there are none.

        ``place`` is that of the structure among others, ``levels`` (n,) are :func:`levels`.
        """
        if self.local is None or place is None:
            return np.ones(len(levels))
        return self.local.factors(kind, place, levels)

    def deviations(self, kind: str, parts: VarianceParts, place: Place | None) -> Array:
        """Return the deviations of forces or stress with their local factors, (n,)."""
        own: KindCalibration = getattr(self, kind)
        factors = self.factors(kind, place, levels(kind, own.deviations(parts)))
        return own.deviations(parts, factor=factors)

    @property
    def tails(self) -> dict[str, float]:
        """Exponents of the intervals of each kind."""
        return {kind: float(getattr(self, kind).tail) for kind in KINDS}

    def to_header(self) -> dict[str, Any]:
        """Return the calibration without its local factors as JSON values."""
        values = asdict(replace(self, local=None))
        del values["local"]
        return values

    @classmethod
    def from_header(cls, values: Mapping[str, Any] | None, local: LocalErrors | None = None) -> "Calibration":
        """Return the calibration of JSON values and local factors; None: none."""
        if values is None:
            return cls()
        kinds = {kind: KindCalibration(**values[kind]) for kind in KINDS}
        return cls(
            source=values["source"],
            n_structures=int(values.get("n_structures", 0)),
            n_updated=int(values.get("n_updated", 0)),
            remarks=tuple(values.get("remarks", ())),
            local=local,
            **kinds,
        )


def levels(kind: str, deviations: Array) -> Array:
    """Return what local factors see of deviations without them, (n,): no rotation changes it.

    The root mean square of the three of the force on an atom, and of the nine of a stress, of which six (or
    three) are given; energies as they are.
    """
    if kind == "forces":
        return np.repeat(np.sqrt(np.mean(deviations.reshape(-1, 3) ** 2, axis=1)), 3)
    if kind == "stress":
        counts = np.repeat([1.0, 2.0], 3)[: len(deviations)]
        return np.full(len(deviations), np.sqrt(np.average(deviations**2, weights=counts)))
    return deviations


def energy_level(
    energy: KindCalibration, parts: VarianceParts, n_atoms: Array | float, share: Array | None = None
) -> Array:
    """Return what local factors see of the deviations of total energies, (n,): those per atom, which are the
    same for a supercell, and the floor of one atom.
    """
    return energy.deviations(parts.divided(np.square(n_atoms)), 1.0, share)


RAW = Calibration()
"""Scale factors of one."""
