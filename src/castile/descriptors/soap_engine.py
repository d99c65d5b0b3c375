"""SOAP on plain arrays: what the descriptor class and the potential's SOAP terms share.

Structures enter as :class:`SortedPairs`; work goes by chunks of centres that stay in cache.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CutoffFunction
from castile.descriptors.pair_order import by_center_and_element
from castile.descriptors.radial_bases import RadialBasis
from castile.descriptors.radial_scaling import RadialScaling
from castile.descriptors.radial_tables import build_radial_table
from castile.execution.scratch import Scratch
from castile.numerics import density as density_kernels
from castile.numerics import power_spectrum as power_kernels
from castile.numerics.harmonics import harmonics_table
from castile.numerics.soap_chunks import Room, SoapTables
from castile.structures.neighbors import Pairs

CHUNK = 64
_Y00 = np.sqrt(0.25 / np.pi)

Array = NDArray[np.floating]


def chunk_spans(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield chunks of ``CHUNK`` centres; half ones where there are few centres, so that threads can share
    them.
    """
    size = CHUNK if end - begin > 4 * CHUNK else CHUNK // 2
    while begin < end:
        stop = begin + size if end - begin >= 3 * size // 2 else end
        yield begin, stop
        begin = stop


@dataclass(frozen=True)
class SortedPairs:
    """Pairs sorted by centre and element of the neighbour; ``first`` has n_centers * n_elements + 1 entries.

    ``center_elements`` and ``center_atoms`` hold the element index and the atom of each centre, -1 for points
    that are no atoms.
    """

    first: NDArray[np.int64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    element: NDArray[np.int64]
    vectors: Array
    center_elements: NDArray[np.int64]
    center_atoms: NDArray[np.int64]

    @property
    def n_centers(self) -> int:
        """Number of centres."""
        return len(self.center_elements)


@dataclass(frozen=True)
class Chunk:
    """Densities, power spectra and their norms of the centres begin:end (one row each)."""

    begin: int
    end: int
    density: Array
    features: Array
    norms: Array


@dataclass(frozen=True)
class SoapEngine:
    """Density and power spectrum of centres, with their derivatives.

    Parameters
    ----------
    basis, cutoff, scaling
        Factors of the radial functions.
    mixing : ndarray, shape (n_elements, n_channels)
        How much each element adds to each density channel; the identity keeps elements apart.
    central : ndarray, shape (n_elements, n_elements)
        Weight of the central atom's own Gaussian, central[element of the centre, element channel].
    normalize : bool
        Divide each power spectrum by its Euclidean norm.
    dtype : str
        "float64" or "float32".
    """

    basis: RadialBasis
    cutoff: CutoffFunction
    scaling: RadialScaling
    mixing: NDArray[np.float64]
    central: NDArray[np.float64]
    normalize: bool = True
    dtype: str = "float64"
    _tables: SoapTables = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mixing = np.ascontiguousarray(self.mixing, dtype=self.dtype)
        n_elements, n_channels = mixing.shape
        center = self.basis.center() * _Y00
        central = np.ascontiguousarray(self.central[:, :, None] * center, dtype=self.dtype)
        tables = SoapTables(
            radial=build_radial_table(self.basis, self.cutoff, self.scaling, self.dtype),
            harmonics=harmonics_table(self.basis.l_max, self.dtype),
            central=central if central.any() else central[:0],
            mixing=mixing,
            mixes=n_elements != n_channels or not np.array_equal(mixing, np.eye(n_elements)),
            n_max=self.basis.n_max,
            normalize=self.normalize,
        )
        object.__setattr__(self, "_tables", tables)

    @property
    def tables(self) -> SoapTables:
        """What the compiled kernels take of this engine."""
        return self._tables

    @property
    def n_elements(self) -> int:
        """Number of elements that are seen as neighbours."""
        return int(self.mixing.shape[0])

    @property
    def n_channels(self) -> int:
        """Number of density channels of the power spectrum."""
        return int(self.mixing.shape[1])

    @property
    def n_features(self) -> int:
        """Length of a power spectrum: (l_max + 1) K (K + 1) / 2 with K = n_channels n_max."""
        combined = self.n_channels * self.basis.n_max
        return (self.basis.l_max + 1) * combined * (combined + 1) // 2

    @property
    def _n_lm(self) -> int:
        return (self.basis.l_max + 1) ** 2

    @property
    def _n_padded(self) -> int:
        return int(self._tables.radial.n_padded)

    @property
    def _kernel_sizes(self) -> tuple[int, int, int, int, bool]:
        return self.n_channels, self.basis.n_max, self._n_padded, self.basis.l_max, self.normalize

    def restricted(self, present: tuple[int, ...]) -> "tuple[SoapEngine, NDArray[np.int64]]":
        """Return the engine for structures of the elements ``present`` only, and the features it keeps.

        Where elements have channels of their own, those of absent elements are zero and are left out.
        """
        chosen = list(present)
        channels = list(range(self.n_channels)) if self._tables.mixes else chosen
        engine = replace(
            self,
            mixing=self.mixing[np.ix_(chosen, channels)],
            central=self.central[np.ix_(chosen, chosen)],
        )
        n_max, combined = self.basis.n_max, self.n_channels * self.basis.n_max
        k = (np.array(channels)[:, None] * n_max + np.arange(n_max)).ravel()
        rows, columns = np.triu_indices(len(k))
        first, second = k[rows], k[columns]
        position = first * (2 * combined - first - 1) // 2 + second
        per_degree = combined * (combined + 1) // 2
        features = (np.arange(self.basis.l_max + 1)[:, None] * per_degree + position).ravel()
        return engine, features

    def sort(
        self,
        pairs: Pairs,
        elements: NDArray[np.int64],
        center_elements: NDArray[np.int64],
        order: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> SortedPairs:
        """Return the pairs inside this engine's cutoff.

        Parameters
        ----------
        pairs : Pairs
        elements : ndarray, shape (n_atoms,)
            Element index of each atom, -1 for atoms that are not seen.
        center_elements : ndarray, shape (n_centers,)
            Element index of each centre after reordering, -1 for points that are no atoms.
        order : ndarray, shape (n_centers,), optional
            Centres are renumbered so that new centre k is old centre order[k] (only if the centres are the
            atoms).
        threads : int
            That share the work.
        """
        n_centers = len(center_elements)
        atoms = np.full(n_centers, -1, dtype=np.int64) if order is None else order
        centers = np.arange(n_centers) if order is None else order
        first, center, neighbor, element, vectors = by_center_and_element(
            pairs, centers, elements, self.n_elements, self.cutoff.cutoff, threads
        )
        if self.dtype != "float64":
            vectors = vectors.astype(self.dtype)
        return SortedPairs(first, center, neighbor, element, vectors, center_elements, atoms)

    def pair_range(self, pairs: SortedPairs, begin: int, end: int) -> tuple[int, int]:
        """Return the first and last pair of the centres begin:end."""
        return int(pairs.first[begin * self.n_elements]), int(pairs.first[end * self.n_elements])

    def density(self, pairs: SortedPairs, begin: int, end: int, scratch: Scratch | None = None) -> Array:
        """Return c of the centres begin:end, flat [centre, lm, channel, padded n].

        With ``scratch`` it is overwritten by the next density of this thread.
        """
        raw, mixed = self._densities(end - begin, scratch or Scratch())
        density_kernels.expand_density(
            pairs.first,
            begin,
            end,
            self.n_elements,
            pairs.vectors,
            self._tables.radial,
            self._tables.harmonics,
            raw,
        )
        if self._tables.central.size:
            density_kernels.add_central_atoms(
                pairs.center_elements[begin:end], self._tables.central, self._n_lm, self._n_padded, raw
            )
        return self._mixed(raw, end - begin, mixed)

    def _densities(self, count: int, scratch: Scratch, adjoint: str = "") -> tuple[Array, Array]:
        """Return memory for the densities of ``count`` centres, by element and by channel."""
        size = count * self._n_lm * self._n_padded
        raw = scratch.empty(f"{adjoint}density", size * self.n_elements, self.dtype)
        if not self._tables.mixes:
            return raw, raw
        return raw, scratch.empty(f"{adjoint}mixed", size * self.n_channels, self.dtype)

    def _mixed(self, raw: Array, count: int, mixed: Array | None = None) -> Array:
        if not self._tables.mixes:
            return raw
        if mixed is None:
            mixed = np.empty(count * self._n_lm * self.n_channels * self._n_padded, self.dtype)
        density_kernels.mix_channels(raw, count * self._n_lm, self._tables.mixing, self._n_padded, mixed)
        return mixed

    def _unmixed(self, gradient: Array, count: int, scratch: Scratch) -> Array:
        if not self._tables.mixes:
            return gradient
        raw = scratch.empty("unmixed", count * self._n_lm * self.n_elements * self._n_padded, self.dtype)
        density_kernels.mix_channels(
            gradient, count * self._n_lm, np.ascontiguousarray(self._tables.mixing.T), self._n_padded, raw
        )
        return raw

    def power_spectrum(
        self,
        density: Array,
        count: int,
        features: Array | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> tuple[Array, Array]:
        """Return (features, norms) of ``count`` densities, written to the first rows of ``features`` (or to
        ``rows``) if given.
        """
        if features is None:
            features = np.empty((count, self.n_features), dtype=self.dtype)
        if rows is None:
            rows = np.arange(count)
        norms = np.empty(count, dtype=self.dtype)
        power_kernels.power_spectrum(density, count, *self._kernel_sizes, features, rows, norms)
        return features, norms

    def chunk(
        self,
        pairs: SortedPairs,
        begin: int,
        end: int,
        scratch: Scratch | None = None,
        features: Array | None = None,
    ) -> Chunk:
        """Return densities and power spectra of the centres begin:end.

        With ``scratch`` both are overwritten by the next chunk of this thread, except for power spectra that
        are written to given ``features`` (end - begin, n_features).
        """
        if scratch is not None and features is None:
            features = scratch.empty("features", (end - begin, self.n_features), self.dtype)
        density = self.density(pairs, begin, end, scratch)
        return Chunk(begin, end, density, *self.power_spectrum(density, end - begin, features))

    def room(self, count: int, scratch: Scratch) -> Room:
        """Return memory of this thread for the densities of ``count`` centres and their adjoints."""
        raw, mixed = self._densities(count, scratch)
        d_raw, d_mixed = self._densities(count, scratch, "change of ")
        return Room(raw, mixed, d_mixed, d_raw)

    def power_spectrum_vjp(
        self, density: Array, features: Array, norms: Array, cotangent: Array, scratch: Scratch | None = None
    ) -> Array:
        """Return dE/dc given dE/dp (n_centers, n_features); with ``scratch`` the next one overwrites it."""
        gradient = (scratch or Scratch()).empty("gradient", density.size, self.dtype)
        self._power_spectrum_vjp(density, features, norms, cotangent, gradient)
        return gradient

    def _power_spectrum_vjp(
        self, density: Array, features: Array, norms: Array, cotangent: Array, out: Array
    ) -> None:
        """Write dE/dc to ``out``."""
        power_kernels.power_spectrum_vjp(
            density,
            features,
            norms,
            len(norms),
            *self._kernel_sizes,
            np.require(cotangent, self.dtype, ["C", "W"]),
            out,
        )

    def density_vjp(
        self,
        pairs: SortedPairs,
        begin: int,
        end: int,
        gradient: Array,
        out: Array,
        scratch: Scratch | None = None,
    ) -> None:
        """Write dE/dr_ij of the pairs of centres begin:end to ``out`` (n_pairs, 3), given dE/dc."""
        density_kernels.density_vjp(
            pairs.first,
            begin,
            end,
            self.n_elements,
            pairs.vectors,
            self._tables.radial,
            self._tables.harmonics,
            self._unmixed(gradient, end - begin, scratch or Scratch()),
            out,
        )

    def vjp(
        self,
        pairs: SortedPairs,
        chunk: Chunk,
        cotangent: Array,
        out: Array,
        scratch: Scratch | None = None,
    ) -> None:
        """Write dE/dr_ij of the chunk's pairs to ``out`` (n_pairs, 3), given dE/dp."""
        gradient = self.power_spectrum_vjp(chunk.density, chunk.features, chunk.norms, cotangent, scratch)
        self.density_vjp(pairs, chunk.begin, chunk.end, gradient, out, scratch)

    def vjps(
        self, pairs: SortedPairs, chunk: Chunk, cotangents: Iterable[Array], out: Array, scratch: Scratch
    ) -> None:
        """Write dE/dr_ij of the chunk's pairs to ``out`` (n_energies, n_pairs, 3) for several energies at
        once, given their dE/dp.
        """
        if len(out) == 1:  # three cost little more than one there, but more
            self.vjp(pairs, chunk, next(iter(cotangents)), out[0], scratch)
            return
        size = chunk.density.size
        gradients = scratch.empty("gradients", len(out) * size, self.dtype)
        for number, cotangent in enumerate(cotangents):
            mine = gradients[number * size : (number + 1) * size]
            self._power_spectrum_vjp(chunk.density, chunk.features, chunk.norms, cotangent, mine)
        density_kernels.density_vjps(
            pairs.first,
            chunk.begin,
            chunk.end,
            self.n_elements,
            pairs.vectors,
            self._tables.radial,
            self._tables.harmonics,
            self._unmixed(gradients, len(out) * (chunk.end - chunk.begin), scratch),
            out,
        )

    def density_jvp(self, pairs: SortedPairs, begin: int, end: int, pair_tangent: Array) -> Array:
        """Return the change of c of the centres begin:end along pair displacements (n_pairs, 3)."""
        raw = np.empty((end - begin) * self._n_lm * self.n_elements * self._n_padded, dtype=self.dtype)
        density_kernels.density_jvp(
            pairs.first,
            begin,
            end,
            self.n_elements,
            pairs.vectors,
            np.ascontiguousarray(pair_tangent, dtype=self.dtype),
            self._tables.radial,
            self._tables.harmonics,
            raw,
        )
        return self._mixed(raw, end - begin)

    def power_spectrum_jvp(self, density: Array, features: Array, norms: Array, tangent: Array) -> Array:
        """Return the change of the features along the change ``tangent`` of the density."""
        out = np.empty_like(features)
        power_kernels.power_spectrum_jvp(
            density, tangent, norms, features, len(norms), *self._kernel_sizes, out
        )
        return out

    def pair_derivatives(
        self, pairs: SortedPairs, chunk: Chunk, begin: int, end: int, out: Array | None = None
    ) -> Array:
        """Return dp/dr_ij **before normalization** of the pairs begin:end of the chunk, (3 n_pairs,
        n_features), written to the first rows of ``out`` if given.
        """
        count = end - begin
        derivatives = np.empty(count * 3 * self._n_lm * self._n_padded, dtype=self.dtype)
        density_kernels.density_pair_derivatives(
            begin,
            end,
            pairs.vectors,
            self._tables.radial,
            self._tables.harmonics,
            derivatives,
        )
        if out is None:
            out = np.empty((3 * count, self.n_features), dtype=self.dtype)
        power_kernels.power_spectrum_pair_derivatives(
            chunk.density,
            derivatives,
            pairs.center[begin:end] - chunk.begin,
            pairs.element[begin:end],
            self._tables.mixing,
            self.basis.n_max,
            self._n_padded,
            self.basis.l_max,
            out,
        )
        return out
