"""Which features the processes of a barrier model see."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from castile.barriers.features import PathFeatures

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """Inputs of one Gaussian process.

    Attributes
    ----------
    patterns : tuple of str
        Of feature names.
    soap : int or None
        Which of the SOAP descriptors is among the inputs.
    limit : float
        Standard deviations; numbers further out count as that far.
    """

    patterns: tuple[str, ...]
    soap: int | None
    limit: float = 4.0


_CHEMISTRY = (
    "length", "ion_charge", "ion_radius", "anion_electronegativity", "cation_electronegativity",
    "mobile_share", "metal_charge", "metal_radius",
)  # fmt: skip
_PHYSICS = (
    "soft_barrier", "soft_quarter", "soft_middle", "long_barrier", "long_quarter", "soft_detour",
    "soft_uneven", "soft_ends", "relaxed_narrowest", "relaxed_cation_highest", "straight_cation_ends",
    "straight_squeeze_top", "relaxed_crowding_top", "straight_blocked", "site_*",
)  # fmt: skip
VIEWS = (
    View(_CHEMISTRY + _PHYSICS, soap=0),
    View(_CHEMISTRY + _PHYSICS, soap=1),
    View(
        ("length", "ion_*", "anion_*", "cation_*", "host_*", "soft_*", "straight_*", "relaxed_*"),
        soap=None,
        limit=3.0,
    ),
)


@lru_cache(maxsize=64)
def columns(view: View, names: tuple[str, ...]) -> list[int]:
    """Columns of the numbers that a view takes."""
    return [k for k, name in enumerate(names) if any(fnmatchcase(name, p) for p in view.patterns)]


def soap_blocks(features: PathFeatures, soap: int | None) -> Float64Array:
    """SOAP of ends, quarters and middle, and the difference of middle and ends, (n, 4, n_soap)."""
    if soap is None:
        return np.empty((len(features), 0, 0))
    blocks = features.soap[soap]
    return np.concatenate([blocks, blocks[:, 2:] - blocks[:, :1]], axis=1)
