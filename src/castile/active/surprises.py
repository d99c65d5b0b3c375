"""Labels against predictions that were made before they were learned, and the calibration they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from castile.potentials.calibration import KindCalibration, VarianceParts

REMEMBERED = 40
FEWEST = 3
COMPONENTS = 60
"""Force components of a structure that are kept."""
PRIOR_WEIGHT = 0.5
BOUNDS = ((0.2, 10.0), (0.01, 3.0))
_DIGITS = 6

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surprise:
    """A label against the prediction before it was learned.

    Attributes
    ----------
    id : int
        Of the calculation.
    deviation : float
        Calibrated force deviation that was predicted, eV/A.
    mean_square_error : float
        Of the force components, (eV/A)^2.
    n_atoms : int
    errors : tuple of float
        Of force components (at most 60), eV/A.
    posterior, residual, prior : tuple of float
        Parts of their variances, as in `castile.potentials.calibration.VarianceParts`, (eV/A)^2.
    """

    id: int
    deviation: float
    mean_square_error: float
    n_atoms: int
    errors: tuple[float, ...]
    posterior: tuple[float, ...]
    residual: tuple[float, ...]
    prior: tuple[float, ...]

    @property
    def parts(self) -> VarianceParts:
        """The variances as arrays."""
        return VarianceParts(np.array(self.posterior), np.array(self.residual), np.array(self.prior))


def make_surprise(id: int, deviation: float, errors: Array, variances: VarianceParts) -> Surprise:
    """Return what is kept of a label.

    Parameters
    ----------
    id : int
    deviation : float
    errors : ndarray, shape (3 n_atoms,)
        eV/A.
    variances : VarianceParts of (3 n_atoms,)
    """
    chosen = np.arange(len(errors))
    if len(chosen) > COMPONENTS:
        chosen = np.sort(np.random.default_rng(id).permutation(len(errors))[:COMPONENTS])

    def kept(values: Array) -> tuple[float, ...]:
        """The chosen components, rounded."""
        return tuple(float(f"{value:.{_DIGITS}g}") for value in values[chosen])

    return Surprise(
        id, deviation, float(np.mean(errors**2)), len(errors) // 3,
        kept(errors), kept(variances.posterior), kept(variances.residual), kept(variances.prior),
    )  # fmt: skip


def calibrate(surprises: Sequence[Surprise]) -> KindCalibration:
    """Return the factors a, b of the posterior and the residual variance of forces.

    They minimize sum_k mean_c [log v_kc + e_kc^2 / v_kc] / 2 + w [log(a)^2 + log(b)^2 / 4] / 2 over the last
    40 structures k and their components c, with the variance v of
    `castile.potentials.calibration.KindCalibration`: the Gaussian likelihood of the errors, in which
    structures have equal weight because errors within one are correlated, and a weak prior (w = 0.5). Both
    are then multiplied by sqrt(n / (n - 2)) for n structures: the deviation of Student's distribution,
    because a scale that a few errors gave is itself uncertain. Fewer than 3 structures: a = b = 1.
    """
    recent = surprises[-REMEMBERED:]
    if len(recent) < FEWEST:
        return KindCalibration()
    parts = VarianceParts(
        np.concatenate([surprise.posterior for surprise in recent]),
        np.concatenate([surprise.residual for surprise in recent]),
        np.concatenate([surprise.prior for surprise in recent]),
    )
    squares = np.concatenate([surprise.errors for surprise in recent]) ** 2
    weights = np.concatenate([np.full(len(s.errors), 1.0 / len(s.errors)) for s in recent])

    def objective(logarithms: Array) -> float:
        """Negative logarithm of the posterior density of a and b, but for a constant."""
        a, b = np.exp(logarithms)
        variances = KindCalibration(float(a), float(b)).deviations(parts) ** 2 + 1e-12
        prior = 0.5 * PRIOR_WEIGHT * float(logarithms[0] ** 2 + 0.25 * logarithms[1] ** 2)
        return prior + 0.5 * float(np.sum(weights * (np.log(variances) + squares / variances)))

    bounds = [(float(np.log(low)), float(np.log(high))) for low, high in BOUNDS]
    found = minimize(objective, np.zeros(2), bounds=bounds, method="L-BFGS-B")
    a, b = np.exp(found.x) * np.sqrt(len(recent) / (len(recent) - 2))
    return KindCalibration(float(a), float(b))
