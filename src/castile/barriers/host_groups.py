"""Which paths belong together: to one host, to near-twins of it, or to one family of structures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from castile.barriers.features import PathFeatures
from castile.barriers.near_twins import TWIN_SIMILARITY, twin_similarities
from castile.barriers.path import MigrationPath
from castile.splits import similar_components

FAMILY_SIMILARITY = 0.999  # of SOAP in channels that all elements share


def host_formulas(paths: Sequence[MigrationPath]) -> NDArray[np.str_]:
    """Return the composition of each host without the moving element; of all, where nothing else is there."""
    return np.array([path.host_formula or path.formula for path in paths])


def twin_groups(paths: Sequence[MigrationPath], similarity: float = TWIN_SIMILARITY) -> NDArray[np.int64]:
    """Return the group (n_paths,) of each path: one composition of the host, or agreement in elements and
    positions (:func:`castile.barriers.near_twins.twin_similarities`), directly or through others.
    """
    likeness = twin_similarities(paths)
    return similar_components(likeness, similarity, groups=host_formulas(paths), precomputed=True)[0]


def host_families(
    paths: Sequence[MigrationPath], features: PathFeatures, similarity: float = FAMILY_SIMILARITY
) -> NDArray[np.int64]:
    """Return the family (n_paths,) of each path: one composition of the host, or likeness in the channels of
    SOAP that all elements share, directly or through others.
    """
    vectors = features.soap[0].reshape(len(paths), -1)
    return similar_components(vectors, similarity, groups=host_formulas(paths))[0]
