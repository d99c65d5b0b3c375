"""Atoms in one place, refused wherever features or energies of them would be meaningless."""

import numpy as np

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
    if not len(pairs.vectors):
        return
    squared = np.einsum("pa,pa->p", pairs.vectors, pairs.vectors)
    closest = int(squared.argmin())
    if squared[closest] < COINCIDENCE_DISTANCE**2:
        i, j = pairs.center[closest], pairs.neighbor[closest]
        raise InputError(
            f"{name}: atoms {i} and {j} are {np.sqrt(squared[closest]):.3g} A apart; "
            "they coincide, so remove one of them"
        )
