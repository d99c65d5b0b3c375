"""Explicit derivatives of SOAP features with respect to positions and strain."""

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.base import SparseDerivatives
from castile.descriptors.soap_engine import SoapEngine, SortedPairs

_PAIRS_AT_ONCE = 256

Array = NDArray[np.floating]


def explicit_derivatives(
    engine: SoapEngine, ordered: SortedPairs, free: bool, average: str | None
) -> SparseDerivatives:
    """Return the derivatives of the features of all centres, or of their average.

    Parameters
    ----------
    engine : SoapEngine
    ordered : SortedPairs
        Pairs of the structure, sorted by centre.
    free : bool
        Whether the centres are points that move on their own.
    average : None, "inner" or "outer"
    """
    if average == "inner":
        return _inner(engine, ordered, free)
    rows, atoms, values = [], [], []
    strain = np.zeros((ordered.n_centers, 3, 3, engine.n_features), dtype=engine.dtype)
    on_centers = np.zeros((ordered.n_centers, 3, engine.n_features), dtype=engine.dtype)
    for center in range(ordered.n_centers):
        first, last = engine.pair_range(ordered, center, center + 1)
        changes = _pair_changes(engine, ordered, center, first, last)
        strain[center] = np.einsum("pa,pbf->abf", ordered.vectors[first:last], changes)
        on_centers[center] = -changes.sum(axis=0)
        neighbors = ordered.neighbor[first:last]
        if not free:
            neighbors = np.append(neighbors, ordered.center_atoms[center])
            changes = np.concatenate([changes, on_centers[center][None]])
        unique, inverse = np.unique(neighbors, return_inverse=True)
        summed = np.zeros((len(unique), 3, engine.n_features), dtype=engine.dtype)
        np.add.at(summed, inverse, changes)
        rows.append(np.full(len(unique), center, dtype=np.int64))
        atoms.append(unique)
        values.append(summed)
    row = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    atom = np.concatenate(atoms) if atoms else np.empty(0, dtype=np.int64)
    value = np.concatenate(values) if values else np.empty((0, 3, engine.n_features), dtype=engine.dtype)
    if average == "outer":
        return _outer(atom, value, strain, on_centers if free else None)
    return SparseDerivatives(row, atom, value, strain, on_centers if free else None)


def _pair_changes(engine: SoapEngine, ordered: SortedPairs, center: int, first: int, last: int) -> Array:
    """Return d features / d r_ij of one centre's pairs, (n_pairs, 3, n_features)."""
    chunk = engine.chunk(ordered, center, center + 1)
    parts = []
    for begin in range(first, last, _PAIRS_AT_ONCE):
        end = min(begin + _PAIRS_AT_ONCE, last)
        changes = engine.pair_derivatives(ordered, chunk, begin, end)
        if engine.normalize:
            spectrum = chunk.features[0]
            norm = chunk.norms[0] if chunk.norms[0] > 0.0 else np.inf
            changes = (changes - np.outer(changes @ spectrum, spectrum)) / norm
        parts.append(changes.reshape(end - begin, 3, engine.n_features))
    return np.concatenate(parts) if parts else np.empty((0, 3, engine.n_features), dtype=engine.dtype)


def _outer(
    atom: NDArray[np.int64], value: Array, strain: Array, on_centers: Array | None
) -> SparseDerivatives:
    unique, inverse = np.unique(atom, return_inverse=True)
    summed = np.zeros((len(unique), *value.shape[1:]), dtype=value.dtype)
    np.add.at(summed, inverse, value)
    count = len(strain)
    return SparseDerivatives(
        np.zeros(len(unique), dtype=np.int64),
        unique,
        summed / count,
        strain.mean(axis=0, keepdims=True),
        None if on_centers is None else on_centers / count,
    )


def _inner(engine: SoapEngine, ordered: SortedPairs, free: bool) -> SparseDerivatives:
    """Derivatives of the power spectrum of the mean density: one forward product per coordinate."""
    n_centers = ordered.n_centers
    density = engine.density(ordered, 0, n_centers).reshape(n_centers, -1).mean(axis=0)
    features, norms = engine.power_spectrum(density, 1)

    def change(pair_tangent: Array) -> Array:
        """Change of the features by that of the vectors of all pairs."""
        tangent = engine.density_jvp(ordered, 0, n_centers, pair_tangent).reshape(n_centers, -1).mean(axis=0)
        return engine.power_spectrum_jvp(density, features, norms, tangent)[0]

    own = ordered.center_atoms[ordered.center] if not free else np.full(len(ordered.center), -1)
    atoms = np.unique(np.concatenate([ordered.neighbor, own[own >= 0]]))
    values = np.empty((len(atoms), 3, engine.n_features), dtype=engine.dtype)
    for block, atom in enumerate(atoms):
        sign = (ordered.neighbor == atom).astype(float) - (own == atom)
        for axis in range(3):
            values[block, axis] = change(sign[:, None] * np.eye(3)[axis])
    strain = np.empty((1, 3, 3, engine.n_features), dtype=engine.dtype)
    for a in range(3):
        for b in range(3):
            strain[0, a, b] = change(ordered.vectors[:, a, None] * np.eye(3)[b])
    on_centers = None
    if free:
        on_centers = np.empty((n_centers, 3, engine.n_features), dtype=engine.dtype)
        for center in range(n_centers):
            mask = (ordered.center == center).astype(float)
            for axis in range(3):
                on_centers[center, axis] = change(-mask[:, None] * np.eye(3)[axis])
    return SparseDerivatives(np.zeros(len(atoms), dtype=np.int64), atoms, values, strain, on_centers)
