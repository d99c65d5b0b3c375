"""What descriptors take and give back besides features: structures, dense derivatives, gradients."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError


@dataclass(frozen=True)
class Derivatives:
    """Features of one structure and their derivatives, dense.

    Attributes
    ----------
    values : ndarray, shape (n_rows, n_features)
    positions : ndarray, shape (n_rows, n_atoms, 3, n_features)
        Derivative with respect to the position of each atom (all its images move along), 1/Angstrom.
    strain : ndarray, shape (n_rows, 3, 3, n_features)
        Derivative with respect to the strain e that moves positions and cell rows as r (1 + e).
    """

    values: NDArray[np.float64]
    positions: NDArray[np.float64]
    strain: NDArray[np.float64]


@dataclass(frozen=True)
class Gradients:
    """Gradient of a scalar function of the features of several structures.

    Attributes
    ----------
    positions : ndarray, shape (n_atoms of all structures, 3)
        Per Angstrom.
    strain : ndarray, shape (n_structures, 3, 3)
        With respect to the strain e that moves positions and cell rows as r (1 + e).
    """

    positions: NDArray[np.float64]
    strain: NDArray[np.float64]


def as_structures(structures: Atoms | Iterable[Atoms]) -> list[Atoms]:
    """Return a list of structures; one ``Atoms`` counts as a list of one.

    Raises
    ------
    InputError
        If there is no structure, or an item is not an ``ase.Atoms``.
    """
    listed = [structures] if isinstance(structures, Atoms) else list(structures)
    if not listed:
        raise InputError("no structures were given; pass at least one ase.Atoms")
    for index, item in enumerate(listed):
        if not isinstance(item, Atoms):
            raise InputError(f"structure {index} is a {type(item).__name__}; pass ase.Atoms objects")
        if not np.isfinite(item.positions).all():
            raise InputError(f"structure {index} has positions that are not finite; repair or remove it")
    return listed


def checked_array(value: ArrayLike, shape: tuple[int, ...], argument: str) -> NDArray[np.float64]:
    """Return ``value`` as float64 if it has the shape that the structures ask for.

    Raises
    ------
    InputError
        If the shape differs.
    """
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{argument} has shape {array.shape}; for these structures it must be {shape}")
    return array
