"""Which paths belong to one host, or to hosts so alike that knowing one tells about the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from castile.barriers.features import PathFeatures
from castile.barriers.path import MigrationPath
from castile.splits import similar_components

SIMILARITY = 0.999  # paths whose SOAP vectors are more alike than this stay together


def host_formulas(paths: Sequence[MigrationPath]) -> NDArray[np.str_]:
    """Return the composition of each host without the moving element; of all, where nothing else is there."""
    return np.array([path.host_formula or path.formula for path in paths])


def host_groups(
    paths: Sequence[MigrationPath], features: PathFeatures, similarity: float = SIMILARITY
) -> NDArray[np.int64]:
    """Return the group (n_paths,) of each path: one composition of the host, or similar SOAP vectors."""
    vectors = features.soap[0].reshape(len(paths), -1)
    return similar_components(vectors, similarity, groups=host_formulas(paths))[0]
