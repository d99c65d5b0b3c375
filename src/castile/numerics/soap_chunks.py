"""Power spectra of a chunk of centres, and their gradient, from the search of their neighbours on, in one
call.

Threads that share a structure take the interpreter's lock once for each call, so few calls keep them out of
each other's way.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from castile.numerics.cell_lists import find_pairs
from castile.numerics.density import (
    RadialTable,
    add_central_atoms,
    density_vjp,
    expand_density,
    mix_channels,
)
from castile.numerics.harmonics import HarmonicsTable
from castile.numerics.pair_sorting import sum_over_centers
from castile.numerics.power_spectrum import power_spectrum, power_spectrum_vjp


class SoapTables(NamedTuple):
    """What power spectra depend on besides the positions.

    central: density of the central atom, [its element, element channel, n], of size zero where there is none;
    mixing: (n_elements, n_channels); mixes: whether it is not the identity.
    """

    radial: RadialTable
    harmonics: HarmonicsTable
    central: np.ndarray
    mixing: np.ndarray
    mixes: bool
    n_max: int
    normalize: bool


class Room(NamedTuple):
    """Memory of a thread for the densities of a chunk, by element and, where they mix, by channel; the second
    two are for their adjoints.
    """

    raw: np.ndarray
    mixed: np.ndarray
    d_mixed: np.ndarray
    d_raw: np.ndarray


@njit(nogil=True, cache=True, error_model="numpy")
def find_spectra(
    grid, atoms, centers, cutoff, elements, begin, end, center_elements, tables, room, features, rows
):
    """Write the power spectra of centres begin:end of a search to ``rows`` of ``features``; return the
    squared distance (A^2) of the closest pair.

    elements: of the atoms, center_elements: of the chunk's centres.
    """
    first, _, _, _, vectors, closest = find_pairs(
        grid, atoms, centers, cutoff, elements, tables.mixing.shape[0], begin, end, np.arange(end - begin)
    )
    given, norms = _in_precision_of(features, vectors), np.empty(end - begin, features.dtype)
    _spectra(first, given, center_elements, tables, room, features, rows, norms)
    return closest[0]


@njit(nogil=True, cache=True, error_model="numpy")
def _spectra(first, vectors, center_elements, tables, room, features, rows, norms):
    """Write the power spectra and their norms; return the density that they are made of."""
    count, n_elements, n_channels = norms.size, tables.mixing.shape[0], tables.mixing.shape[1]
    l_max, n_padded = tables.radial.l_max, tables.radial.n_padded
    expand_density(first, 0, count, n_elements, vectors, tables.radial, tables.harmonics, room.raw)
    if tables.central.size > 0:
        add_central_atoms(center_elements, tables.central, (l_max + 1) ** 2, n_padded, room.raw)
    density = room.raw
    if tables.mixes:
        mix_channels(room.raw, count * (l_max + 1) ** 2, tables.mixing, n_padded, room.mixed)
        density = room.mixed
    power_spectrum(
        density, count, n_channels, tables.n_max, n_padded, l_max, tables.normalize, features, rows, norms
    )
    return density


@njit(nogil=True, cache=True, error_model="numpy")
def find_gradients(
    grid, atoms, centers, cutoff, elements, begin, end, center_elements, tables, room, weights, rows
):
    """Return (squared distance of the closest pair, whether weights are finite, neighbours of the pairs,
    dE/dr_ij, minus their sums over each centre, strain) for E = sum of weights[rows] times power spectra of
    centres begin:end of a search.
    """
    count, n_elements, n_channels = end - begin, tables.mixing.shape[0], tables.mixing.shape[1]
    l_max, n_padded = tables.radial.l_max, tables.radial.n_padded
    first, _, neighbor, _, vectors, closest = find_pairs(
        grid, atoms, centers, cutoff, elements, n_elements, begin, end, np.arange(count)
    )
    given, norms = _in_precision_of(weights, vectors), np.empty(count, weights.dtype)
    features = np.empty((count, weights.shape[1]), weights.dtype)
    density = _spectra(first, given, center_elements, tables, room, features, np.arange(count), norms)
    cotangent = weights[rows]
    power_spectrum_vjp(
        density, features, norms, count, n_channels, tables.n_max, n_padded, l_max, tables.normalize,
        cotangent, room.d_mixed,
    )  # fmt: skip
    change = room.d_mixed
    if tables.mixes:
        unmixing = np.ascontiguousarray(tables.mixing.T)
        mix_channels(room.d_mixed, count * (l_max + 1) ** 2, unmixing, n_padded, room.d_raw)
        change = room.d_raw
    gradient = np.empty((neighbor.size, 3), weights.dtype)
    density_vjp(first, 0, count, n_elements, given, tables.radial, tables.harmonics, change, gradient)
    on_centers, strain = np.zeros((count, 3)), np.zeros((3, 3))
    sum_over_centers(first, n_elements, given, gradient, on_centers, strain)
    return closest[0], np.isfinite(cotangent).all(), neighbor, gradient, on_centers, strain


def _in_precision_of(like, vectors):
    """Return vectors in the precision of ``like``."""
    return vectors.astype(like.dtype)


@overload(_in_precision_of)
def _compiled_in_precision_of(like, vectors):
    if isinstance(like, types.Array) and like.dtype == vectors.dtype:
        return lambda like, vectors: vectors
    return lambda like, vectors: vectors.astype(like.dtype)
