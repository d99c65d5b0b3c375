"""Connected components, merged link by link."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

IndexArray = NDArray[np.int64]


class DisjointSets:
    """Sets of the integers 0 to n - 1 that grow together.

    Source: Tarjan, J. ACM 22, 215 (1975); the smallest member names a set, so that the result does not depend
    on the order of the links.
    """

    def __init__(self, n: int) -> None:
        self._parent = np.arange(n, dtype=np.int64)

    def find(self, members: ArrayLike) -> IndexArray:
        """Return the smallest member of the set of each of ``members`` (n,)."""
        roots = self._parent[np.asarray(members, dtype=np.int64)]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def union(self, first: ArrayLike, second: ArrayLike) -> int:
        """Merge the sets of first[k] and second[k] for all k; return how many merges there were."""
        roots, others = self.find(first), self.find(second)
        apart = roots != others
        merged = 0
        parent = self._parent
        for a, b in zip(roots[apart].tolist(), others[apart].tolist(), strict=True):
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = int(parent[a])
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = int(parent[b])
            if a != b:
                parent[max(a, b)] = min(a, b)
                merged += 1
        return merged

    def labels(self) -> IndexArray:
        """Return the component of every member (n,), numbered from 0 by their smallest members."""
        roots = self.find(np.arange(len(self._parent)))
        self._parent = roots.copy()
        return np.asarray(np.unique(roots, return_inverse=True)[1], dtype=np.int64)
