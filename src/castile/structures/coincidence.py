"""Atoms in one place, refused wherever features or energies of them would be meaningless."""

import math

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
    distance = math.sqrt(sum(x * x for x in pairs.vectors[pairs.closest].tolist()))
    if distance < COINCIDENCE_DISTANCE:
        i, j = pairs.center[pairs.closest], pairs.neighbor[pairs.closest]
        raise InputError(
            f"{name}: atoms {i} and {j} are {distance:.3g} A apart; they coincide, so remove one of them"
        )
