"""Find atoms that came closer than any chemistry allows."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from castile.errors import SimulationError
from castile.structures.neighbors import neighbor_parts

DEFAULT_CONTACT_FRACTION = 0.5


@dataclass(frozen=True)
class CloseContact:
    """The pair of atoms that is shortest relative to its allowed distance (both in A)."""

    first: int
    second: int
    symbols: tuple[str, str]
    distance: float
    allowed: float

    def describe(self) -> str:
        """Say which atoms fused and how close they are."""
        return (
            f"atoms {self.first} ({self.symbols[0]}) and {self.second} ({self.symbols[1]}) fused: they are "
            f"{self.distance:.3f} A apart, less than {self.allowed:.3f} A"
        )


FUSED_REMEDY = (
    "the model does not repel atoms at this distance: fit it with core repulsion (the default), add short "
    "distances to the training data, relax the starting structure first, or use a shorter time step"
)


def find_fused_atoms(atoms: Atoms, fraction: float = DEFAULT_CONTACT_FRACTION) -> CloseContact | None:
    """Return the worst pair with d_ij < fraction (R_i + R_j), or None; also None where a position is no
    number, which is for others to tell.

    Args:
        atoms: structure, periodic in any subset of directions; images of one atom count as pairs.
        fraction: of the sum of the covalent radii R (A) that ASE lists; 0 switches the search off.

    """
    radii = covalent_radii[atoms.numbers]
    if fraction <= 0 or len(atoms) == 0 or not np.isfinite(atoms.positions).all():
        return None
    worst: CloseContact | None = None
    smallest = 1.0
    for pairs in neighbor_parts(atoms, 2 * fraction * float(radii.max())):
        distances = np.sqrt(np.einsum("pa,pa->p", pairs.vectors, pairs.vectors))
        allowed = fraction * (radii[pairs.center] + radii[pairs.neighbor])
        ratios = distances / allowed
        if len(ratios) and ratios.min() < smallest:
            k = int(np.argmin(ratios))
            i, j = sorted((int(pairs.center[k]), int(pairs.neighbor[k])))
            symbols = (atoms[i].symbol, atoms[j].symbol)
            worst = CloseContact(i, j, symbols, float(distances[k]), float(allowed[k]))
            smallest = float(ratios[k])
    return worst


def require_no_fused_atoms(atoms: Atoms, fraction: float, context: str) -> None:
    """Raise `SimulationError` naming the pair when two atoms fused."""
    contact = find_fused_atoms(atoms, fraction)
    if contact is not None:
        raise SimulationError(f"{context}: {contact.describe()}; {FUSED_REMEDY}")
