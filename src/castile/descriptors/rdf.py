"""Radial distribution function as a descriptor: how many neighbours of each element at each distance."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from castile.descriptors.cutoffs import SmoothCutoff
from castile.descriptors.derivatives import Derivatives, Gradients, as_structures, checked_array
from castile.errors import InputError
from castile.structures.neighbors import neighbor_pairs


@dataclass(frozen=True)
class _RoutedPairs:
    """Pairs of one structure; ``routing`` (n_rows * n_channels, n_pairs) adds them to the feature blocks."""

    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    vectors: NDArray[np.float64]
    distances: NDArray[np.float64]
    routing: csr_array
    n_rows: int


class RadialDistribution(TransformerMixin, BaseEstimator):
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
    species : sequence of str, optional
        Elements in channel order; those of the structures given to `fit` by default.
    per_atom : bool
        Whether each atom has a row.
    shell : bool
        Divide by :math:`4\pi R^2`: number density (1/Angstrom^3) in place of neighbours per Angstrom.

    Attributes
    ----------
    species_ : tuple of str
        Elements in channel order.
    distances_ : ndarray, shape (n_bins,)
        The distances :math:`R`, Angstrom.
    """

    def __init__(
        self,
        cutoff: float = 6.0,
        n_bins: int = 60,
        sigma: float = 0.1,
        width: float = 1.0,
        species: tuple[str, ...] | list[str] | None = None,
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

    def fit(self, structures: Atoms | Iterable[Atoms], y: object = None) -> "RadialDistribution":
        """Check the parameters and settle the elements.

        Raises
        ------
        InputError
            If a parameter is out of range or an element unknown.
        """
        self._cutoff_function = SmoothCutoff(self.cutoff, self.width)
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma = {self.sigma} A must be a positive number")
        if not isinstance(self.n_bins, (int, np.integer)) or self.n_bins < 1:
            raise InputError(f"n_bins = {self.n_bins!r} must be an integer of at least 1")
        if self.species is None:
            numbers = {int(z) for atoms in as_structures(structures) for z in atoms.numbers}
            species = tuple(chemical_symbols[z] for z in sorted(numbers))
        else:
            species = tuple(self.species)
        unknown = [symbol for symbol in species if symbol not in atomic_numbers]
        if unknown or not species or len(set(species)) < len(species):
            raise InputError(f"species = {species} must be different chemical symbols, at least one")
        self.species_ = species
        self.distances_ = (np.arange(self.n_bins) + 0.5) * self.cutoff / self.n_bins
        return self

    def transform(self, structures: Atoms | Iterable[Atoms]) -> NDArray[np.float64]:
        """Return the features, (n_structures, n_features), or (n_atoms of all, n_features) with ``per_atom``.

        Raises
        ------
        InputError
            If a structure has an element that is not among ``species_``.
        """
        check_is_fitted(self, "species_")
        rows = []
        for index, atoms in enumerate(as_structures(structures)):
            pairs = self._pairs(atoms, index)
            rows.append((pairs.routing @ self._profiles(pairs.distances)).reshape(pairs.n_rows, -1))
        return np.concatenate(rows)

    def derivatives(self, atoms: Atoms) -> Derivatives:
        """Return the features of one structure and their dense derivatives."""
        check_is_fitted(self, "species_")
        pairs = self._pairs(atoms, 0)
        values = (pairs.routing @ self._profiles(pairs.distances)).reshape(pairs.n_rows, -1)
        slopes = self._slopes(pairs.distances)
        shape = (len(atoms), 3, pairs.n_rows, values.shape[1])
        positions, strain = np.zeros(shape), np.zeros((3, 3, *shape[2:]))
        units = pairs.vectors / pairs.distances[:, None]
        for b in range(3):
            along = slopes * units[:, b, None]
            for a in range(3):
                strain[a, b] = (pairs.routing @ (along * pairs.vectors[:, a, None])).reshape(shape[2:])
            for atom in range(len(atoms)):
                sign = (pairs.neighbor == atom).astype(float) - (pairs.center == atom)
                positions[atom, b] = (pairs.routing @ (along * sign[:, None])).reshape(shape[2:])
        return Derivatives(values, np.moveaxis(positions, 2, 0), np.moveaxis(strain, 2, 0))

    def vjp(self, structures: Atoms | Iterable[Atoms], cotangent: ArrayLike) -> Gradients:
        """Vector-Jacobian product: gradient of ``sum(cotangent * transform(structures))``.

        Parameters
        ----------
        structures : Atoms or iterable of Atoms
            One or many.
        cotangent : array_like
            In the shape of ``transform(structures)``.

        Raises
        ------
        InputError
            If the cotangent has another shape.
        """
        check_is_fitted(self, "species_")
        listed = as_structures(structures)
        n_rows = sum(len(atoms) for atoms in listed) if self.per_atom else len(listed)
        cotangent = checked_array(cotangent, (n_rows, self._n_features), "cotangent")
        positions, strain, row = [], [], 0
        for index, atoms in enumerate(listed):
            pairs = self._pairs(atoms, index)
            own = cotangent[row : row + pairs.n_rows].reshape(-1, self.n_bins)
            row += pairs.n_rows
            slope = np.einsum("pb,pb->p", self._slopes(pairs.distances), pairs.routing.T @ own)
            force = (slope / pairs.distances)[:, None] * pairs.vectors
            gradient = np.zeros((len(atoms), 3))
            np.add.at(gradient, pairs.neighbor, force)
            np.subtract.at(gradient, pairs.center, force)
            positions.append(gradient)
            strain.append(pairs.vectors.T @ force)
        return Gradients(np.concatenate(positions), np.stack(strain))

    def jvp(
        self, structures: Atoms | Iterable[Atoms], displacements: ArrayLike, strain: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Jacobian-vector product: change of ``transform(structures)`` per unit of a motion.

        Parameters
        ----------
        structures : Atoms or iterable of Atoms
            One or many.
        displacements : array_like, shape (n_atoms of all structures, 3)
            Angstrom.
        strain : array_like, shape (n_structures, 3, 3), optional
            Strain on top of the displacements; none by default.
        """
        check_is_fitted(self, "species_")
        listed = as_structures(structures)
        n_atoms = sum(len(atoms) for atoms in listed)
        displacements = checked_array(displacements, (n_atoms, 3), "displacements")
        strain = np.zeros((len(listed), 3, 3)) if strain is None else strain
        strain = checked_array(strain, (len(listed), 3, 3), "strain")
        rows, atom = [], 0
        for index, atoms in enumerate(listed):
            pairs = self._pairs(atoms, index)
            moved = displacements[atom : atom + len(atoms)]
            atom += len(atoms)
            change = moved[pairs.neighbor] - moved[pairs.center] + pairs.vectors @ strain[index]
            stretch = np.einsum("pa,pa->p", change, pairs.vectors) / pairs.distances
            rows.append(
                (pairs.routing @ (self._slopes(pairs.distances) * stretch[:, None])).reshape(pairs.n_rows, -1)
            )
        return np.concatenate(rows)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return names such as "rdf Ga-As 2.45" (distance in Angstrom)."""
        check_is_fitted(self, "species_")
        if self.per_atom:
            channels = list(self.species_)
        else:
            channels = ["-".join(pair) for pair in combinations_with_replacement(self.species_, 2)]
        return np.array(
            [f"rdf {channel} {r:.4g}" for channel in channels for r in self.distances_], dtype=object
        )

    @property
    def _n_features(self) -> int:
        n_species = len(self.species_)
        return self.n_bins * (n_species if self.per_atom else n_species * (n_species + 1) // 2)

    def _pairs(self, atoms: Atoms, index: int) -> _RoutedPairs:
        element = np.full(len(chemical_symbols), -1)
        for s, symbol in enumerate(self.species_):
            element[atomic_numbers[symbol]] = s
        species = element[atoms.numbers]
        if (species < 0).any():
            atom = int(np.flatnonzero(species < 0)[0])
            symbol = chemical_symbols[atoms.numbers[atom]]
            raise InputError(
                f"structure {index}: atom {atom} is {symbol}, not among the species {self.species_}; "
                "fit on structures with all elements or pass species"
            )
        pairs = neighbor_pairs(atoms, self.cutoff)
        n_species, n_pairs = len(self.species_), len(pairs.center)
        if self.per_atom:
            n_rows, weight = len(atoms), 1.0
            target = pairs.center * n_species + species[pairs.neighbor]
            n_channels = n_species
        else:
            n_rows, weight = 1, 1.0 / max(len(atoms), 1)
            n_channels = n_species * (n_species + 1) // 2
            low = np.minimum(species[pairs.center], species[pairs.neighbor])
            high = np.maximum(species[pairs.center], species[pairs.neighbor])
            target = low * n_species - low * (low - 1) // 2 + high - low
        routing = csr_array(
            (np.full(n_pairs, weight), (target, np.arange(n_pairs))), shape=(n_rows * n_channels, n_pairs)
        )
        distances = np.linalg.norm(pairs.vectors, axis=1)
        return _RoutedPairs(pairs.center, pairs.neighbor, pairs.vectors, distances, routing, n_rows)

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
