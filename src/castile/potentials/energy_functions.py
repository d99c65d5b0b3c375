"""The energy of an atom as a function of its SOAP vector, in the cheapest exact form."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from castile.numerics.kernel_products import (
    SparsePoints,
    kernel_response,
    pack_quadratic_form,
    pack_sparse_points,
    quadratic_response,
)

SAFE_ENERGY_ERROR = 1e-5  # eV per atom
SAFE_SLOPE_ERROR = 1e-4  # eV per unit of the SOAP vector, of order eV/A
_N_PROBES = 200

Array = NDArray[np.float64]
Features = NDArray[np.floating]


class EnergyFunction(Protocol):
    """Energies of atoms and their derivatives with respect to the SOAP vectors."""

    def respond(self, features: Features) -> tuple[Array, Features]:
        """Return (energies (n_atoms,), dE/dp (n_atoms, n_features)) of SOAP vectors (n_atoms, n_features)."""


@dataclass(frozen=True)
class KernelSum:
    r"""Sum over the sparse points.

    .. math:: E(\mathbf p) = \sum_s w_s (\mathbf p \cdot \mathbf p_s + o)^\zeta

    Parameters
    ----------
    points : SparsePoints
    weights : ndarray, shape (n_sparse,)
    zeta, offset : float
    """

    points: SparsePoints
    weights: Array
    zeta: float
    offset: float

    def respond(self, features: Features) -> tuple[Array, Features]:
        """Return energies and slopes."""
        energies, slopes = np.empty(len(features)), np.empty_like(features)
        kernel_response(features, self.points, self.weights, self.zeta, self.offset, energies, slopes)
        return energies, slopes


@dataclass(frozen=True)
class QuadraticForm:
    r"""The same for :math:`\zeta = 2` and no offset, whatever the number of sparse points.

    .. math:: E(\mathbf p) = \mathbf p^T A \mathbf p, \quad A = \sum_s w_s \mathbf p_s \mathbf p_s^T

    Weights of sparse points that resemble each other are large and cancel; in A they have cancelled already.

    Parameters
    ----------
    matrix : SparsePoints
        Rows of A.
    """

    matrix: SparsePoints

    def respond(self, features: Features) -> tuple[Array, Features]:
        """Return energies and slopes."""
        energies, slopes = np.empty(len(features)), np.empty_like(features)
        quadratic_response(features, self.matrix, energies, slopes)
        return energies, slopes


def energy_function(
    points: Array, weights: Array, zeta: float, offset: float, precision: str
) -> EnergyFunction:
    """Return the cheaper of the two forms.

    Parameters
    ----------
    points : ndarray, shape (n_sparse, n_features)
    weights : ndarray, shape (n_sparse,)
    zeta, offset : float
        Of the kernel (p . p_s + offset)^zeta.
    precision : "float64" or "float32"
        Of the matrix products; single precision only where it is safe: where energies and slopes at the
        sparse points change by less than ``SAFE_ENERGY_ERROR`` and ``SAFE_SLOPE_ERROR``.
    """
    double = _form(points, weights, zeta, offset, "float64")
    if precision == "float64" or not len(points):
        return double
    single = _form(points, weights, zeta, offset, precision)
    return single if _is_close(double, single, points) else double


def _form(points: Array, weights: Array, zeta: float, offset: float, precision: str) -> EnergyFunction:
    n_sparse, n_features = points.shape
    if zeta == 2.0 and offset == 0.0 and n_features < n_sparse:
        matrix = (points.T * weights) @ points
        return QuadraticForm(pack_quadratic_form(matrix, points.mean(axis=0), precision))
    return KernelSum(pack_sparse_points(points, precision), weights, zeta, offset)


def _is_close(double: EnergyFunction, single: EnergyFunction, points: Array) -> bool:
    """Whether two forms agree at points between pairs of sparse points, as new environments are."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(points), (2, _N_PROBES))
    probes = np.ascontiguousarray(0.5 * (points[first] + points[second]))
    energies, slopes = double.respond(probes)
    other_energies, other_slopes = single.respond(probes)
    return bool(
        np.abs(energies - other_energies).max() < SAFE_ENERGY_ERROR
        and np.linalg.norm(slopes - other_slopes, axis=1).max() < SAFE_SLOPE_ERROR
    )
