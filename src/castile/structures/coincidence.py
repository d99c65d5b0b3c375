"""Atoms in one place, refused wherever features or energies of them would be meaningless."""

import math

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.structures.neighbors import Pairs

COINCIDENCE_DISTANCE = 0.05  # A; far inside of any bond, so that compressed structures still pass


def refuse_coincident_atoms(pairs: Pairs, name: str) -> None:
    """Check that no two atoms (periodic images included) are in one place.

    Args:
        pairs: centres are atoms.
        name: of the structure, for the message.

    Raises:
        InputError: two atoms closer than ``COINCIDENCE_DISTANCE``.

    """
    if pairs.closest < 0:
        return
    i, j = int(pairs.center[pairs.closest]), int(pairs.neighbor[pairs.closest])
    refuse_close(pairs.vectors[pairs.closest], i, j, name)


def refuse_close(vector: NDArray[np.floating], i: int, j: int, name: str) -> None:
    """Check that the vector (3,) from atom i to atom j or its image is long enough; arguments and errors as
    above.
    """
    distance = math.sqrt(sum(x * x for x in vector.tolist()))
    if distance < COINCIDENCE_DISTANCE:
        raise InputError(
            f"{name}: atoms {i} and {j} are {distance:.3g} A apart; they coincide, so remove one of them"
        )
