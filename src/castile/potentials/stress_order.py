"""Stress labels whose shear components stand in another order than they should."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")
LEAST_STRUCTURES = 4
MUCH_BETTER = 0.6
"""Another order is told when the root mean square misfit in it is below this part of that as given."""
GPA = 160.21766208

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StressOrder:
    """Stress labels of one kind of structure that agree better with the forces in another order.

    Attributes
    ----------
    config_type : str
    n_structures : int
    order : tuple of str
        What the six components of the labels seem to be.
    misfit, misfit_reordered : float
        Root mean square of predicted minus given shear components, eV/A^3.
    """

    config_type: str
    n_structures: int
    order: tuple[str, ...]
    misfit: float
    misfit_reordered: float

    @property
    def message(self) -> str:
        """What to tell the user."""
        which = f"of config_type {self.config_type}" if self.config_type else "without config_type"
        return (
            f"stress labels {which} seem to be in the order {' '.join(self.order)} and not "
            f"{' '.join(NAMES)}: the shear components are {self.misfit * GPA:.3g} GPa off as given and "
            f"{self.misfit_reordered * GPA:.3g} GPa in that order ({self.n_structures} structures); "
            "correct the data, or leave stress out"
        )


def suspicious_orders(
    predicted: Sequence[Array], labels: Sequence[Array], config_types: Sequence[str]
) -> tuple[StressOrder, ...]:
    """Return the kinds of structure whose shear stress agrees much better in another order.

    Energies and forces determine a model's stress, so it tells a wrong order of the labels.

    Parameters
    ----------
    predicted, labels : sequence of ndarray, shape (6,)
        eV/A^3, of structures that the model has not seen.
    config_types : sequence of str
    """
    found = []
    for kind in sorted(set(config_types)):
        mine = [k for k, name in enumerate(config_types) if name == kind]
        if len(mine) < LEAST_STRUCTURES:
            continue
        shear = np.array([predicted[k][3:] for k in mine])
        given = np.array([labels[k][3:] for k in mine])
        misfits = {
            order: float(np.sqrt(np.mean((shear[:, order] - given) ** 2))) for order in permutations(range(3))
        }
        best = min(misfits, key=lambda order: misfits[order])
        if misfits[best] < MUCH_BETTER * misfits[0, 1, 2]:
            names = (*NAMES[:3], *(NAMES[3 + k] for k in best))
            found.append(StressOrder(kind, len(mine), names, misfits[0, 1, 2], misfits[best]))
    return tuple(found)


__all__ = ["StressOrder", "suspicious_orders"]
