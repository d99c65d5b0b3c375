"""Power spectra of a chunk of centres from the search of their neighbours on, in one call.

Threads that share a structure take the interpreter's lock once for each call, so few calls keep them out of
each other's way.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from castile.numerics.cell_lists import find_pairs
from castile.numerics.density import RadialTable, add_central_atoms, expand_density, mix_channels
from castile.numerics.harmonics import HarmonicsTable
from castile.numerics.power_spectrum import power_spectrum


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


@njit(nogil=True, cache=True, error_model="numpy")
def find_spectra(
    grid, atoms, centers, cutoff, elements, begin, end, center_elements, tables, raw, mixed, features, rows
):
    """Write the power spectra of centres begin:end of a search to ``rows`` of ``features``; return the
    squared distance (A^2) of the closest pair.

    elements: of the atoms, center_elements: of the chunk's centres; raw, mixed: memory for densities by
    element and, where they mix, by channel.
    """
    count, n_elements, n_channels = end - begin, tables.mixing.shape[0], tables.mixing.shape[1]
    l_max, n_padded = tables.radial.l_max, tables.radial.n_padded
    n_lm = (l_max + 1) ** 2
    first, _, _, _, vectors, closest = find_pairs(
        grid, atoms, centers, cutoff, elements, n_elements, begin, end, np.arange(count)
    )
    given = _in_precision_of(features, vectors)
    expand_density(first, 0, count, n_elements, given, tables.radial, tables.harmonics, raw)
    if tables.central.size > 0:
        add_central_atoms(center_elements, tables.central, n_lm, n_padded, raw)
    density = raw
    if tables.mixes:
        mix_channels(raw, count * n_lm, tables.mixing, n_padded, mixed)
        density = mixed
    norms = np.empty(count, features.dtype)
    power_spectrum(
        density, count, n_channels, tables.n_max, n_padded, l_max, tables.normalize, features, rows, norms
    )
    return closest[0]


def _in_precision_of(like, vectors):
    """Return vectors in the precision of ``like``."""
    return vectors.astype(like.dtype)


@overload(_in_precision_of)
def _compiled_in_precision_of(like, vectors):
    if isinstance(like, types.Array) and like.dtype == vectors.dtype:
        return lambda like, vectors: vectors
    return lambda like, vectors: vectors.astype(like.dtype)
