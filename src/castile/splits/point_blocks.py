"""Pairs of points that may be close, by matrix products in single precision with a margin that is proven.

Points are put in blocks that are compact in space, so that many pairs of blocks are excluded by the distance
of their centers. In the others all distances come from one matrix product of coordinates about a common
center, with the largest possible rounding error added: a pair is excluded only if it is too far for certain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.splits.compression import Float64Array

IndexArray = NDArray[np.int64]
BLOCK = 512
_UNIT = 2.0**-24  # relative rounding error of single precision


@dataclass(frozen=True)
class PointBlocks:
    """Points in compact blocks.

    Attributes
    ----------
    points : ndarray, shape (n_rows, n_dimensions)
        In the order of the caller.
    order : ndarray, shape (n_rows,)
        Row of the caller at each place.
    first : ndarray, shape (n_blocks + 1,)
        Places first[b] to first[b + 1] are block b.
    centers : ndarray, shape (n_blocks, n_dimensions)
    radii : ndarray, shape (n_blocks,)
    """

    points: NDArray[np.floating]
    order: IndexArray
    first: IndexArray
    centers: Float64Array
    radii: Float64Array

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.radii)

    def rows(self, block: int) -> IndexArray:
        """Rows of the caller in a block."""
        return self.order[self.first[block] : self.first[block + 1]]

    def block_bounds(self, block: int, other: PointBlocks | None = None) -> Float64Array:
        """Return the least distance that any point of ``block`` can have to one of each block."""
        other = self if other is None else other
        difference = other.centers - self.centers[block]
        distances = np.sqrt(np.einsum("bd,bd->b", difference, difference))
        return np.maximum(distances - self.radii[block] - other.radii, 0.0)

    def least_squares(
        self, block: int, other_block: int, other: PointBlocks | None = None
    ) -> tuple[NDArray[np.float32], float]:
        """Return (squared distances in single precision, bound on their error) of two blocks' points.

        The bound: a product of n terms is off by at most (n + 2) u |x| |x'|, and norms and sums add a few u.
        """
        other = self if other is None else other
        center = self.centers[block]
        x = self.points[self.rows(block)] - center
        y = x if other is self and block == other_block else other.points[other.rows(other_block)] - center
        x_norms, y_norms = np.einsum("id,id->i", x, x), np.einsum("id,id->i", y, y)
        squared = x.astype(np.float32) @ y.astype(np.float32).T
        squared *= np.float32(-2.0)
        squared += x_norms.astype(np.float32)[:, None]
        squared += y_norms.astype(np.float32)[None, :]
        terms = 4.0 * (x.shape[1] + 12) * _UNIT
        return squared, terms * (float(x_norms.max()) + float(y_norms.max()))


def make_blocks(
    points: NDArray[np.floating], rows: IndexArray | None = None, size: int = BLOCK
) -> PointBlocks:
    """Return points in blocks of at most ``size``, cut again and again at the median of the widest
    coordinate.

    Parameters
    ----------
    points : ndarray, shape (n_rows, n_dimensions)
    rows : ndarray of int, optional
        Those that are put in blocks; default all.
    """
    parts: list[IndexArray] = []
    waiting = [np.arange(len(points)) if rows is None else rows]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= size:
            parts.append(rows)
            continue
        sample = rows if len(rows) < 4096 else rows[:: len(rows) // 2048]
        widest = int(np.argmax(points[sample].var(axis=0)))
        half = (len(rows) // 2 + size - 1) // size * size if len(rows) > 2 * size else len(rows) // 2
        ranked = rows[np.argpartition(points[rows, widest], half)]
        waiting += [np.sort(ranked[half:]), np.sort(ranked[:half])]
    first = np.concatenate([[0], np.cumsum([len(rows) for rows in parts])]).astype(np.int64)
    centers = np.stack([np.asarray(points[rows], dtype=np.float64).mean(axis=0) for rows in parts])
    spread = [np.asarray(points[rows], dtype=np.float64) - c for rows, c in zip(parts, centers, strict=True)]
    radii = np.array([np.sqrt(np.einsum("id,id->i", x, x).max()) for x in spread])
    return PointBlocks(points, np.concatenate(parts), first, centers, radii * (1.0 + 1e-12) + 1e-12)
