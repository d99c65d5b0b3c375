r"""How alike paths are when every element counts for itself: which of them are near-twins.

The channels of :class:`castile.barriers.path_soap.PathSoap` are shared by all elements, so that a model can
tell about elements it never saw; paths through hosts of one structure and different metals are hardly told
apart by them. Here each element has its own channel, as in the similarity of ``castile split``, and lengths
are not scaled: only paths that agree in elements and positions are near 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.sparse import csr_array

from castile.barriers.features import N_POINTS, symmetric
from castile.barriers.path import MigrationPath
from castile.descriptors.soap import SOAP

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
TWIN_SIMILARITY = 0.99
"""Noise of 0.03 A leaves 0.998, a strain of 1 % 0.995: nearer than this is no difference."""
_SOAP = SOAP(5.0, 6, 4, 0.5, threads=1)  # as ``castile split`` takes it for crystals of many elements
_ASIDE = 1e-4  # A along each axis; a point that is an atom's place would not see that atom
_N_COMBINED = len(chemical_symbols) * _SOAP.n_max


def twin_similarities(paths: Sequence[MigrationPath]) -> Float64Array:
    r"""Return the similarities (n_paths, n_paths) of paths, 1 for the same one.

    .. math:: k = \frac13 \sum_b p_b \cdot p'_b, \qquad b = \text{ends, quarters, middle}

    with unit vectors p of SOAP around the points of the line, one density channel per element. They do not
    depend on direction, rotation, origin, cell and order of atoms.
    """
    rows, columns, values = [], [], []
    for row, path in enumerate(paths):
        spectra, components = _spectra(path)
        for block, spectrum in enumerate(spectra):
            rows.append(np.full(len(spectrum), row))
            columns.append(components * len(spectra) + block)
            values.append(spectrum)
    names, compact = np.unique(np.concatenate(columns), return_inverse=True)
    vectors = csr_array(
        (np.concatenate(values), (np.concatenate(rows), compact)), shape=(len(paths), len(names))
    )
    K = (vectors @ vectors.T).toarray()
    norms = np.sqrt(np.maximum(np.diagonal(K), 1e-12))
    return np.asarray(K / norms[:, None] / norms[None])


def _spectra(path: MigrationPath) -> tuple[Float64Array, IntArray]:
    """Unit power spectra (3, n_features) of ends, quarters, middle, and which component each feature is,
    whatever elements are there.
    """
    elements = np.unique(path.host.numbers)
    soap = SOAP(
        _SOAP.cutoff, _SOAP.n_max, _SOAP.l_max, _SOAP.sigma, species=elements.tolist(), threads=1
    ).fit()
    spectra = symmetric(np.nan_to_num(soap.transform(path.host, centers=path.points(N_POINTS) + _ASIDE)))
    combined = (elements[:, None] * soap.n_max + np.arange(soap.n_max)).reshape(-1)
    first, second = np.triu_indices(len(combined))
    pairs = combined[first] * _N_COMBINED + combined[second]
    degrees = np.arange(soap.l_max + 1) * _N_COMBINED**2
    return spectra, (degrees[:, None] + pairs).reshape(-1).astype(np.int64)
