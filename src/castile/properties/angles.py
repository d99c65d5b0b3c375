"""Angular distribution: how often each angle between two neighbours of an atom occurs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.base import element_codes
from castile.descriptors.cutoffs import SmoothCutoff
from castile.errors import InputError
from castile.properties.descriptor import Float64Array, Seen, StructureDescriptor
from castile.structures.neighbors import neighbor_pairs


class AngularDistribution(StructureDescriptor):
    r"""Smeared distribution of the angles between pairs of neighbours.

    .. math:: g(\theta) = \frac1N \sum_i \sum_{j < k} f(r_{ij}) f(r_{ik})
              \frac{e^{-(\theta - \theta_{jik})^2 / 2\sigma^2}}{\sqrt{2\pi}\,\sigma}

    on ``n_bins`` angles in the middle of equal bins of [0, 180] degrees, images included; f falls smoothly
    from 1 to 0 over the last half of the cutoff.

    Parameters
    ----------
    cutoff : float
        Largest distance of a neighbour, Angstrom.
    n_bins : int
        Number of angles.
    sigma : float
        Smearing, degrees.
    partial : bool
        One distribution for each element of the central atom.
    """

    kind: ClassVar[str] = "angles"

    def __init__(
        self, cutoff: float = 4.0, n_bins: int = 36, sigma: float = 5.0, partial: bool = False
    ) -> None:
        self.cutoff = cutoff
        self.n_bins = n_bins
        self.sigma = sigma
        self.partial = partial

    def _settle(self, seen: Seen) -> None:
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma = {self.sigma} degrees must be a positive number")
        if self.n_bins < 1:
            raise InputError(f"n_bins = {self.n_bins!r} must be an integer of at least 1")
        self._fade = SmoothCutoff(self.cutoff, 0.5 * self.cutoff)
        self._angles = (np.arange(self.n_bins) + 0.5) * 180.0 / self.n_bins

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the central element and the angle of each feature."""
        symbols = [chemical_symbols[z] for z in self.seen_.species] if self.partial else ["any"]
        return np.array(
            [f"{symbol} {angle:.1f} deg" for symbol in symbols for angle in self._angles], dtype=object
        )

    def _row(self, atoms: Atoms) -> Float64Array:
        n_blocks = len(self.seen_.species) if self.partial else 1
        codes = element_codes(atoms, self.seen_.species, "structure 0") if self.partial else None
        fine = 4 * self.n_bins
        counts = np.zeros((n_blocks, fine))
        pairs = neighbor_pairs(atoms, self.cutoff)
        order = np.argsort(pairs.center, kind="stable")
        vectors, centers = pairs.vectors[order], pairs.center[order]
        distances = np.linalg.norm(vectors, axis=1)
        weights = self._fade.values(distances)
        units = vectors / np.maximum(distances, 1e-12)[:, None]
        bounds = np.searchsorted(centers, np.arange(len(atoms) + 1))
        for i in range(len(atoms)):
            own = slice(bounds[i], bounds[i + 1])
            j, k = np.triu_indices(bounds[i + 1] - bounds[i], 1)
            angles = np.degrees(np.arccos(np.clip((units[own] @ units[own].T)[j, k], -1.0, 1.0)))
            place = np.clip(angles * (fine / 180.0) - 0.5, 0.0, fine - 1.0)
            low = np.minimum(place.astype(np.int64), fine - 2)
            share = place - low  # of the upper one of the two nearest angles of the grid
            product = weights[own][j] * weights[own][k]
            block = 0 if codes is None else int(codes[i])
            counts[block] += np.bincount(low, product * (1.0 - share), minlength=fine)
            counts[block] += np.bincount(low + 1, product * share, minlength=fine)
        return np.asarray(counts @ self._smearing(fine) / len(atoms)).ravel()

    def _smearing(self, fine: int) -> Float64Array:
        """Gaussians of the angles on a fine grid, (fine, n_bins), 1/degree."""
        grid = (np.arange(fine) + 0.5) * 180.0 / fine
        away = (grid[:, None] - self._angles[None]) / self.sigma
        return np.exp(-0.5 * away * away) / (np.sqrt(2.0 * np.pi) * self.sigma)
