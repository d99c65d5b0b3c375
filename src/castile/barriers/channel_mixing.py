r"""Learned mixing of species channels: how much each property of the elements counts in SOAP.

The density channels c of a descriptor are fixed functions u_c(Z) of the elements: their number, their
electronegativity, radius, charge. Weights w_c make the mixing of the elements

.. math:: \kappa(Z, Z') = \sum_c w_c^2\, u_c(Z)\, u_c(Z')

learnable: a component of a power spectrum is a product of two channels, and is multiplied by both weights.
Any element has all properties, so that what is learned holds for elements that no training path had.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mixing = Literal["fixed", "learned"]
FIXED: IntArray = np.empty((0, 2), dtype=np.int64)  # no weights
LARGEST_MEMORY = 4.0  # GB of distances during learning


def checked_mixing(mixing: str) -> Mixing:
    """Return the option ``mixing``; raises InputError for what it is not."""
    if mixing == "fixed":
        return "fixed"
    if mixing == "learned":
        return "learned"
    raise InputError(f"mixing = {mixing!r}: give 'fixed' or 'learned'")


def channels_of_features(n_channels: int, n_max: int, l_max: int) -> IntArray:
    """Return the two channels of each component of a power spectrum, (n_features, 2)."""
    first, second = np.triu_indices(n_channels * n_max)
    return np.tile(np.stack([first // n_max, second // n_max], axis=1), (l_max + 1, 1)).astype(np.int64)


def channel_pairs(channels: IntArray) -> IntArray:
    """Return the distinct pairs of channels, (n_pairs, 2); empty without weights."""
    return np.unique(channels, axis=0) if len(channels) else FIXED


def mixed(vectors: Float64Array, channels: IntArray, weights: Float64Array) -> Float64Array:
    """Multiply the components of vectors (..., m) by exp(weights) of their two channels."""
    return vectors * np.exp(weights[channels].sum(axis=1)) if len(channels) else vectors


def distances_by_pair(vectors: Float64Array, channels: IntArray) -> Float64Array:
    """Squared distances between rows, one matrix for each block and pair of channels.

    Arguments:
        vectors: (n, n_blocks, m).
        channels: (m, 2), or (0, 2) for all components together.

    Returns an array (n_blocks, max(n_pairs, 1), n, n). Raises InputError when it would not fit into memory.

    """
    pairs, (n, n_blocks, m) = channel_pairs(channels), vectors.shape
    memory = 8e-9 * n_blocks * max(len(pairs), 1) * n * n
    if len(pairs) and memory > LARGEST_MEMORY:
        raise InputError(
            f"mixing = 'learned' with {n} paths needs {memory:.0f} GB of distances; use mixing = 'fixed', "
            f"or at most {int(n * (LARGEST_MEMORY / memory) ** 0.5)} paths"
        )
    kept = [(channels == pair).all(axis=1) for pair in pairs] or [np.ones(m, dtype=bool)]
    distances = np.empty((n_blocks, len(kept), n, n))
    for block in range(n_blocks):
        for k, chosen in enumerate(kept):
            part = np.ascontiguousarray(vectors[:, block, chosen])
            sizes = np.einsum("im,im->i", part, part)
            np.maximum(sizes[:, None] + sizes[None] - 2.0 * part @ part.T, 0.0, out=distances[block, k])
    return distances


def pair_weights(pairs: IntArray, weights: Float64Array) -> Float64Array:
    """Return w_c^2 w_d^2 of each pair of channels (n_pairs,); one 1 where nothing is weighted."""
    return np.exp(2.0 * weights[pairs].sum(axis=1)) if len(pairs) else np.ones(1)


def weight_gradient(pairs: IntArray, by_pair: Float64Array, n_channels: int) -> Float64Array:
    """Gradient by the logarithms of the weights, given that by the logarithm of each pair's factor."""
    gradient = np.zeros(n_channels)
    for column in range(2 if len(pairs) else 0):
        np.add.at(gradient, pairs[:, column], 2.0 * by_pair)
    return gradient
