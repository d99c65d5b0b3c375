"""Volume of a cell, in plain arithmetic: small systems ask for it at each step of their dynamics."""

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST_RELATIVE_VOLUME = 1e-7  # below it lattice vectors count as linearly dependent


def spanned_volume(cell: NDArray[np.float64]) -> float:
    """Return |a . (b x c)| in A^3; 0 if the lattice vectors (3, 3) span no volume or are not finite."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    volume = abs(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx))
    scale = math.sqrt(
        (ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz) * (cx * cx + cy * cy + cz * cz)
    )
    return volume if math.isfinite(volume) and volume > SMALLEST_RELATIVE_VOLUME * scale else 0.0
