"""Density channels: one per element, or a few that elements share according to their chemistry."""

import numpy as np
from ase.data import covalent_radii
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError

# Pauling electronegativities (Allred 1961, later values where he has none); 0 marks elements without one.
_ELECTRONEGATIVITY = (
    "0 2.20 0 0.98 1.57 2.04 2.55 3.04 3.44 3.98 0 0.93 1.31 1.61 1.90 2.19 2.58 3.16 0 0.82 1.00 1.36"
    " 1.54 1.63 1.66 1.55 1.83 1.88 1.91 1.90 1.65 1.81 2.01 2.18 2.55 2.96 3.00 0.82 0.95 1.22 1.33 1.6"
    " 2.16 1.9 2.2 2.28 2.20 1.93 1.69 1.78 1.96 2.05 2.1 2.66 2.6 0.79 0.89 1.10 1.12 1.13 1.14 1.13 1.17"
    " 1.2 1.20 1.1 1.22 1.23 1.24 1.25 1.1 1.27 1.3 1.5 2.36 1.9 2.2 2.20 2.28 2.54 2.00 1.62 2.33 2.02"
    " 2.0 2.2 0 0.7 0.9 1.1 1.3 1.5 1.38 1.36 1.28 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3"
)
ELECTRONEGATIVITY = np.array([float(x) for x in _ELECTRONEGATIVITY.split()])

_NOBLE = np.array([0, 2, 10, 18, 36, 54, 86, 118])


def element_properties(numbers: ArrayLike) -> NDArray[np.float64]:
    """Return (period, electrons outside the noble-gas core, electronegativity, covalent radius) in comparable
    units.

    Electrons of filled d and f shells are not counted. Shape (n_elements, 4); a difference of about 1 is
    chemically large.
    """
    z = np.atleast_1d(np.asarray(numbers, dtype=int))
    period = np.searchsorted(_NOBLE, z)
    outer = z - _NOBLE[period - 1]
    outer = np.where((period >= 6) & (outer > 16), outer - 14, outer)
    outer = np.where((period >= 4) & (outer > 12), outer - 10, outer)
    electronegativity = np.where(
        z < len(ELECTRONEGATIVITY), ELECTRONEGATIVITY[np.minimum(z, len(ELECTRONEGATIVITY) - 1)], 1.3
    )
    return np.stack([period / 2.0, outer / 3.0, electronegativity / 0.5, covalent_radii[z] / 0.3], axis=1)


def chemical_mixing(numbers: ArrayLike, n_channels: int) -> NDArray[np.float64]:
    """Return the mixing matrix (n_elements, n_channels) whose channels keep most of the chemical similarity.

    kappa_ab = exp(-|x_a - x_b|^2 / 2) between element properties x; the leading eigenvectors of kappa, scaled
    by the roots of their eigenvalues, reproduce it best: u_a . u_b = kappa_ab.

    Source: Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018), Eqs. 9-12.

    Raises
    ------
    InputError
        If ``n_channels`` is not between 1 and the number of elements.
    """
    kappa = _similarity(numbers)
    if not 1 <= n_channels <= len(kappa):
        raise InputError(
            f"channels = {n_channels}: give a number between 1 and the number of elements ({len(kappa)})"
        )
    values, vectors = np.linalg.eigh(kappa)
    largest = np.argsort(values)[::-1][:n_channels]
    mixing = vectors[:, largest] * np.sqrt(np.maximum(values[largest], 0.0))
    signs = np.sign(mixing[np.abs(mixing).argmax(axis=0), np.arange(n_channels)])
    return mixing * np.where(signs == 0.0, 1.0, signs)


def channels_for_similarity(numbers: ArrayLike, kept: float) -> int:
    """Return the fewest channels that keep the part ``kept`` of the trace of kappa (``chemical_mixing``)."""
    values = np.linalg.eigvalsh(_similarity(numbers))[::-1]
    shares = np.cumsum(values) / np.sum(values)
    return min(int(np.searchsorted(shares, kept)) + 1, len(values))


def _similarity(numbers: ArrayLike) -> NDArray[np.float64]:
    """Return kappa between elements, (n_elements, n_elements)."""
    properties = element_properties(numbers)
    squared = ((properties[:, None] - properties[None, :]) ** 2).sum(axis=2)
    similarity: NDArray[np.float64] = np.exp(-0.5 * squared)
    return similarity


def mixing_matrix(channels: int | ArrayLike | None, numbers: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the mixing matrix (n_elements, n_channels) for the option ``channels``.

    None keeps one channel per element; an integer asks for that many chemically mixed channels; an array is
    the matrix.

    Raises
    ------
    InputError
        If the array has the wrong shape or is not finite.
    """
    if channels is None:
        return np.eye(len(numbers))
    if isinstance(channels, (int, np.integer)):
        return chemical_mixing(numbers, int(channels))
    matrix = np.array(channels, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) != len(numbers) or not np.isfinite(matrix).all():
        raise InputError(
            f"channels has shape {matrix.shape}; give a finite (n_elements, n_channels) matrix "
            f"with {len(numbers)} rows, an integer, or None"
        )
    return matrix
