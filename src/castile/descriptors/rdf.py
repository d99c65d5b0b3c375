"""Radial distribution function as a descriptor: how many neighbours of each element at each distance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from castile.descriptors.arguments import checked_array
from castile.descriptors.base import (
    Descriptor,
    Gradient,
    SparseDerivatives,
    as_structures,
    element_codes,
    settle_species,
)
from castile.descriptors.cutoffs import SmoothCutoff
from castile.errors import InputError
from castile.structures.neighbors import neighbor_pairs


@dataclass(frozen=True)
class _ChannelPairs:
    """Pairs of one structure with the row and the channel (block of features) that each one adds to."""

    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    vectors: NDArray[np.float64]
    distances: NDArray[np.float64]
    row: NDArray[np.int64]
    channel: NDArray[np.int64]
    n_rows: int
    n_channels: int
    weight: float

    def routing(self) -> csr_array:
        """Matrix (n_rows * n_channels, n_pairs) that adds pairs to their channels."""
        n_pairs = len(self.row)
        target = self.row * self.n_channels + self.channel
        shape = (self.n_rows * self.n_channels, n_pairs)
        return csr_array((np.full(n_pairs, self.weight), (target, np.arange(n_pairs))), shape=shape)


class RadialDistribution(Descriptor):
    r"""Smeared, partial radial distribution function.

    .. math:: g_{s s'}(R) = \frac{1}{N} \sum_{i \in s} \sum_{j \in s'} f(r_{ij})\,
              \frac{e^{-(R - r_{ij})^2 / 2\sigma^2}}{\sqrt{2\pi}\,\sigma}

    on ``n_bins`` distances :math:`R` in the middle of equal bins of [0, cutoff]; :math:`i, j` run over
    ordered pairs, images included. One row per structure, averaged over its :math:`N` atoms, with a block per
    unordered pair of elements; or one row per atom (no average) with a block per element of the neighbour.

    Parameters
    ----------
    cutoff : float
        Largest distance, Angstrom.
    n_bins : int
        Number of distances.
    sigma : float
        Gaussian smearing, Angstrom.
    width : float
        Length over which :math:`f` takes pairs to zero before the cutoff, Angstrom.
    species : sequence of str or int, optional
        Elements; those of the structures given to `fit` by default.
    per_atom : bool
        Whether each atom has a row.
    shell : bool
        Divide by :math:`4\pi R^2`: number density (1/Angstrom^3) in place of neighbours per Angstrom.

    Attributes
    ----------
    species_ : tuple of int
        Atomic numbers, ascending: the order of the channels.
    distances_ : ndarray, shape (n_bins,)
        The distances :math:`R`, Angstrom.
    """

    def __init__(
        self,
        cutoff: float = 6.0,
        n_bins: int = 60,
        sigma: float = 0.1,
        width: float = 1.0,
        species: Sequence[str | int] | None = None,
        per_atom: bool = False,
        shell: bool = False,
    ) -> None:
        self.cutoff = cutoff
        self.n_bins = n_bins
        self.sigma = sigma
        self.width = width
        self.species = species
        self.per_atom = per_atom
        self.shell = shell

    def fit(self, structures: Atoms | Iterable[Atoms] | None = None, y: Any = None) -> "RadialDistribution":
        """Check the parameters and settle the elements.

        Raises
        ------
        InputError
            If a parameter is out of range, an element unknown, or neither structures nor species are given.
        """
        self._cutoff_function = SmoothCutoff(self.cutoff, self.width)
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma = {self.sigma} A must be a positive number")
        if not isinstance(self.n_bins, (int, np.integer)) or self.n_bins < 1:
            raise InputError(f"n_bins = {self.n_bins!r} must be an integer of at least 1")
        species = settle_species("RadialDistribution", self.species, structures)
        self.species_ = species
        self.distances_ = (np.arange(self.n_bins) + 0.5) * self.cutoff / self.n_bins
        n_species = len(species)
        self._n_channels = n_species if self.per_atom else n_species * (n_species + 1) // 2
        self.n_features_out_ = self._n_channels * self.n_bins
        return self

    def transform(self, structures: Atoms | Iterable[Atoms]) -> NDArray[np.float64]:
        """Return the features, (n_structures, n_features), or (n_atoms of all, n_features) with ``per_atom``.

        Raises
        ------
        InputError
            If a structure has an element that is not among ``species_``.
        """
        check_is_fitted(self, "species_")
        rows = [np.empty((0, self.n_features_out_))]
        for index, atoms in enumerate(as_structures(structures)):
            pairs = self._pairs(atoms, f"structure {index}")
            rows.append((pairs.routing() @ self._profiles(pairs.distances)).reshape(pairs.n_rows, -1))
        return np.concatenate(rows)

    def vjp(self, atoms: Atoms, cotangent: ArrayLike) -> Gradient:
        """Return the gradient of sum(cotangent * transform(atoms)).

        Parameters
        ----------
        atoms : ase.Atoms
            One structure.
        cotangent : array_like, shape (n_rows, n_features)
            In the shape of ``transform(atoms)``.
        """
        pairs = self._pairs(as_structures(atoms)[0], "structure 0")
        cotangent = checked_array("cotangent", cotangent, (pairs.n_rows, self.n_features_out_))
        on_pairs = pairs.routing().T @ cotangent.reshape(-1, self.n_bins)
        slope = np.einsum("pb,pb->p", self._slopes(pairs.distances), on_pairs)
        on_vectors = (slope / pairs.distances)[:, None] * pairs.vectors
        positions = np.zeros((len(atoms), 3))
        np.add.at(positions, pairs.neighbor, on_vectors)
        np.subtract.at(positions, pairs.center, on_vectors)
        return Gradient(positions, pairs.vectors.T @ on_vectors)

    def jvp(
        self, atoms: Atoms, positions: ArrayLike | None = None, strain: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return the change of transform(atoms) along a direction.

        Parameters
        ----------
        atoms : ase.Atoms
            One structure.
        positions : array_like, shape (n_atoms, 3), optional
            Displacements of the atoms.
        strain : array_like, shape (3, 3), optional
            Homogeneous strain, r -> r (1 + strain).
        """
        pairs = self._pairs(as_structures(atoms)[0], "structure 0")
        change = np.zeros((len(pairs.row), 3))
        if positions is not None:
            moved = checked_array("positions", positions, (len(atoms), 3))
            change += moved[pairs.neighbor] - moved[pairs.center]
        if strain is not None:
            change += pairs.vectors @ checked_array("strain", strain, (3, 3))
        stretch = np.einsum("pa,pa->p", change, pairs.vectors) / pairs.distances
        changes = pairs.routing() @ (self._slopes(pairs.distances) * stretch[:, None])
        return changes.reshape(pairs.n_rows, -1)

    def derivatives(self, atoms: Atoms) -> SparseDerivatives:
        """Return the derivatives of transform(atoms), one block per row and atom that it depends on."""
        pairs = self._pairs(as_structures(atoms)[0], "structure 0")
        n_pairs, n_atoms = len(pairs.row), len(atoms)
        keys = np.concatenate([pairs.row * n_atoms + pairs.neighbor, pairs.row * n_atoms + pairs.center])
        blocks, block = np.unique(keys, return_inverse=True)
        sign = np.repeat([pairs.weight, -pairs.weight], n_pairs)
        target = block * pairs.n_channels + np.tile(pairs.channel, 2)
        shape = (len(blocks) * pairs.n_channels, n_pairs)
        to_blocks = csr_array((sign, (target, np.tile(np.arange(n_pairs), 2))), shape=shape)
        to_rows = pairs.routing()
        slopes = self._slopes(pairs.distances)
        values = np.empty((len(blocks), 3, self.n_features_out_))
        strain = np.empty((pairs.n_rows, 3, 3, self.n_features_out_))
        for b in range(3):
            along = slopes * (pairs.vectors[:, b] / pairs.distances)[:, None]
            values[:, b] = (to_blocks @ along).reshape(len(blocks), -1)
            for a in range(3):
                strain[:, a, b] = (to_rows @ (along * pairs.vectors[:, a, None])).reshape(pairs.n_rows, -1)
        return SparseDerivatives(blocks // n_atoms, blocks % n_atoms, values, strain)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return names such as "rdf Ga-As 2.45" (distance in Angstrom)."""
        check_is_fitted(self, "species_")
        symbols = [chemical_symbols[z] for z in self.species_]
        if self.per_atom:
            channels = symbols
        else:
            channels = ["-".join(pair) for pair in combinations_with_replacement(symbols, 2)]
        return np.array([f"rdf {name} {r:.5g}" for name in channels for r in self.distances_], dtype=object)

    def _pairs(self, atoms: Atoms, name: str) -> _ChannelPairs:
        check_is_fitted(self, "species_")
        codes = element_codes(atoms, self.species_, name)
        pairs = neighbor_pairs(atoms, self.cutoff)
        first, second = codes[pairs.center], codes[pairs.neighbor]
        if self.per_atom:
            row, channel, n_rows, weight = pairs.center, second, len(atoms), 1.0
        else:
            row, n_rows, weight = np.zeros_like(pairs.center), 1, 1.0 / len(atoms)
            low, high = np.minimum(first, second), np.maximum(first, second)
            channel = low * len(self.species_) - low * (low - 1) // 2 + high - low
        distances = np.linalg.norm(pairs.vectors, axis=1)
        return _ChannelPairs(
            pairs.center,
            pairs.neighbor,
            pairs.vectors,
            distances,
            row,
            channel,
            n_rows,
            self._n_channels,
            weight,
        )

    def _gaussians(self, r: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (R - r) / sigma^2 and the Gaussians, each (n_pairs, n_bins)."""
        away = (self.distances_ - r[:, None]) / self.sigma**2
        height = 1.0 / (np.sqrt(2.0 * np.pi) * self.sigma)
        scale = height / (4.0 * np.pi * self.distances_**2) if self.shell else height
        return away, scale * np.exp(-0.5 * (away * self.sigma) ** 2)

    def _profiles(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._gaussians(r)[1] * self._cutoff_function.values(r)[:, None]

    def _slopes(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        away, gaussians = self._gaussians(r)
        cutoff = self._cutoff_function
        return gaussians * (away * cutoff.values(r)[:, None] + cutoff.derivatives(r)[:, None])
