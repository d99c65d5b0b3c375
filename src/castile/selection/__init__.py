"""Choice of sparse points: farthest point, CUR, k-means, random."""

from collections.abc import Sequence
from typing import Protocol

from numpy.typing import ArrayLike

from castile.selection.clusters import kmeans_points
from castile.selection.cur import cur_points
from castile.selection.distances import IndexArray
from castile.selection.farthest import farthest_points
from castile.selection.uniform import random_points


class Selector(Protocol):
    """Signature of every selector: new indices among the rows of ``features``, deterministic, unique."""

    def __call__(
        self, features: ArrayLike, n_select: int, *, seed: int = 0, initial: Sequence[int] | IndexArray = ()
    ) -> IndexArray:
        """Indices (n_select,) or fewer."""
        ...


SELECTORS: dict[str, Selector] = {
    "farthest": farthest_points,
    "cur": cur_points,
    "kmeans": kmeans_points,
    "random": random_points,
}
"""Selector of each name that options and settings files take."""

__all__ = ["SELECTORS", "Selector", "cur_points", "farthest_points", "kmeans_points", "random_points"]
