"""SOAP: smooth overlap of atomic positions, the power spectrum of the neighbour density of each centre."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from castile.descriptors.base import (
    Descriptor,
    Gradient,
    SparseDerivatives,
    as_structures,
    settle_species,
)
from castile.descriptors.channels import mixing_matrix
from castile.descriptors.cutoffs import CosineCutoff, CutoffFunction, SmoothCutoff
from castile.descriptors.radial_bases import GTO, EquispacedGaussians, RadialBasis
from castile.descriptors.radial_scaling import NoScaling, RadialScaling
from castile.descriptors.soap_centers import Centers, find_centers, sorted_pairs
from castile.descriptors.soap_derivatives import explicit_derivatives
from castile.descriptors.soap_engine import SoapEngine, SortedPairs, chunk_spans
from castile.errors import InputError
from castile.execution.scratch import Scratch
from castile.execution.threads import share_chunks, thread_count
from castile.numerics.pair_sorting import add_to_atoms, sum_over_centers

_BASES: dict[str, type[RadialBasis]] = {"gto": GTO, "equispaced": EquispacedGaussians}
_CUTOFFS: dict[str, type[CutoffFunction]] = {"cosine": CosineCutoff, "smooth": SmoothCutoff}


class SOAP(Descriptor):
    r"""Smooth overlap of atomic positions.

    .. math::

        c^q_{nlm}(i) = \sum_j u_{q}(Z_j)\, f(r_{ij})\, R_{nl}(r_{ij})\, Y_{lm}(\hat r_{ij}), \qquad
        p_{l,kk'} = \frac{\sqrt{2 - \delta_{kk'}}}{\sqrt{2l+1}} \sum_m c_{klm}\, c_{k'lm}, \quad k = (q, n)
        \le k'

    Feature order: l slowest, then k, then k'; see the page on conventions.

    Parameters
    ----------
    cutoff : float
        Radius of the environment, Angstrom.
    n_max, l_max : int
        Number of radial functions, largest angular channel.
    sigma : float
        Width of the Gaussian on each atom, Angstrom.
    cutoff_width : float
        Length over which the cutoff function falls from 1 to 0, Angstrom.
    cutoff_function : "cosine", "smooth" or CutoffFunction
    radial_basis : "gto", "equispaced" or RadialBasis
        featomic's orthonormalized Gaussian-type orbitals, or QUIP's equispaced Gaussians.
    radial_scaling : RadialScaling, optional
        Weight of the density by distance.
    central_weight : float
        Weight of the central atom's own Gaussian (centres that are no atoms have none).
    species : sequence of str or int, optional
        Elements seen; discovered by ``fit`` if not given.
    channels : int or array, optional
        None: one density channel per element. An integer: that many channels that elements share by chemical
        similarity. An array (n_species, n_channels): the mixing matrix itself.
    normalize : bool
        Divide each power spectrum by its norm.
    average : None, "inner" or "outer"
        One row per centre; or one per structure, from the mean density or the mean power spectrum.
    dtype : "float64" or "float32"
    threads : int, optional
        Default: ``CASTILE_NUM_THREADS`` or all cores.

    Attributes
    ----------
    species_ : tuple of int
        Atomic numbers, ascending.
    mixing_ : ndarray, shape (n_species, n_channels)
    average_, dtype_
        As fitted; arguments that are changed later count from the next ``fit``.
    n_features_out_ : int

    Source: Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013), Eqs. 25-36; Musil et al., Chem. Rev. 121,
    9759 (2021).
    """

    def __init__(
        self,
        cutoff: float = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float = 0.5,
        *,
        cutoff_width: float = 0.5,
        cutoff_function: Literal["cosine", "smooth"] | CutoffFunction = "cosine",
        radial_basis: Literal["gto", "equispaced"] | RadialBasis = "gto",
        radial_scaling: RadialScaling | None = None,
        central_weight: float = 1.0,
        species: Sequence[str | int] | None = None,
        channels: int | ArrayLike | None = None,
        normalize: bool = True,
        average: Literal["inner", "outer"] | None = None,
        dtype: Literal["float64", "float32"] = "float64",
        threads: int | None = None,
    ) -> None:
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.cutoff_width = cutoff_width
        self.cutoff_function = cutoff_function
        self.radial_basis = radial_basis
        self.radial_scaling = radial_scaling
        self.central_weight = central_weight
        self.species = species
        self.channels = channels
        self.normalize = normalize
        self.average = average
        self.dtype = dtype
        self.threads = threads

    def fit(self, structures: Atoms | Iterable[Atoms] | None = None, y: Any = None) -> "SOAP":
        """Discover the elements (unless ``species`` is given) and build the spline tables.

        Raises
        ------
        InputError
            If an option is out of range, or neither structures nor species are given.
        """
        self.species_ = settle_species("SOAP", self.species, structures)
        self.mixing_ = mixing_matrix(self.channels, self.species_)
        self.engine_ = self._engine()
        self.n_features_out_ = self.engine_.n_features
        self.average_, self.dtype_, self._by_element = self.average, self.dtype, self.channels is None
        self._fitted_by_itself = False
        return self

    def set_params(self, **params: Any) -> "SOAP":
        """Change arguments; all but ``threads`` count from the next :meth:`fit`.

        Until then everything goes on as it was fitted; with ``species`` given and no call of :meth:`fit` so
        far, the next call of any method fits anew.

        Raises
        ------
        ValueError
            If there is no such argument.
        """
        super().set_params(**params)
        if getattr(self, "_fitted_by_itself", False):
            del self.engine_
        return self

    def _engine(self) -> SoapEngine:
        if self.average not in (None, "inner", "outer"):
            raise InputError(f"average = {self.average!r}: give None, 'inner' or 'outer'")
        if self.dtype not in ("float64", "float32"):
            raise InputError(f"dtype = {self.dtype!r}: give 'float64' or 'float32'")
        if not np.isfinite(self.central_weight):
            raise InputError(f"central_weight = {self.central_weight}: give a finite number")
        basis, cutoff = self.radial_basis, self.cutoff_function
        if isinstance(basis, str):
            basis = _choice("radial_basis", basis, _BASES)(self.n_max, self.l_max, self.cutoff, self.sigma)
        if isinstance(cutoff, str):
            cutoff = _choice("cutoff_function", cutoff, _CUTOFFS)(self.cutoff, self.cutoff_width)
        return SoapEngine(
            basis,
            cutoff,
            self.radial_scaling or NoScaling(),
            self.mixing_,
            self.central_weight * np.eye(len(self.species_)),
            self.normalize,
            self.dtype,
        )

    def _fitted(self) -> SoapEngine:
        if not hasattr(self, "engine_") and self.species is not None:
            self.fit()
            self._fitted_by_itself = True
        check_is_fitted(self, "engine_")
        return self.engine_

    def transform(
        self, structures: Atoms | Iterable[Atoms], centers: Centers | Sequence[Centers] = None
    ) -> NDArray[np.floating]:
        """Return the power spectra.

        Parameters
        ----------
        structures : ase.Atoms or iterable of them
        centers : array or list of arrays, optional
            For one structure, or per structure: indices of atoms (n_centers,), or positions in Angstrom
            (n_centers, 3) of points that need not be atoms. Default: all atoms.

        Returns
        -------
        ndarray, shape (n_rows, n_features)
            Rows: all centres of the first structure, then of the next; one row per structure with
            ``average``.

        Raises
        ------
        InputError
            For an unknown element, an index or position out of range, atoms in one place, or another bad
            structure; it is named.
        """
        engine = self._fitted()
        listed = as_structures(structures)
        per_structure: Sequence[Any] = (
            [centers] if isinstance(structures, Atoms) else _per_structure(centers, len(listed))
        )
        named = [
            (atoms, chosen, f"structure {index}")
            for index, (atoms, chosen) in enumerate(zip(listed, per_structure, strict=True))
        ]
        if self.average_ is not None:
            rows = [self._averaged(self._sorted_pairs(*given)[0])[0] for given in named]
            return np.concatenate(rows) if rows else np.empty((0, engine.n_features), dtype=self.dtype_)
        found = [find_centers(engine, atoms, self.species_, chosen, name) for atoms, chosen, name in named]
        offsets = np.cumsum([0] + [len(of_structure) for of_structure in found])
        out = np.empty((offsets[-1], engine.n_features), dtype=self.dtype_)
        scratch = Scratch()

        def work(piece: tuple[int, int, int]) -> None:
            """Write the spectra of some centers of one structure to their rows; pieces share no row."""
            index, begin, end = piece
            own = out[offsets[index] : offsets[index + 1]]
            found[index].write_spectra(begin, end, own, scratch)

        pieces = [
            (k, *span) for k, of_structure in enumerate(found) for span in chunk_spans(0, len(of_structure))
        ]
        share_chunks(work, pieces, self.threads)
        return out

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return names ``l<l> <channel><n> <channel'><n'>``; channels are elements, or c0, c1, ... where
        mixed.
        """
        engine = self._fitted()
        if self._by_element:
            labels = [chemical_symbols[z] for z in self.species_]
        else:
            labels = [f"c{q}" for q in range(engine.n_channels)]
        combined = [f"{label}:{n}" for label in labels for n in range(engine.basis.n_max)]
        return np.array(
            [
                f"l{degree} {combined[k]} {combined[k2]}"
                for degree in range(engine.basis.l_max + 1)
                for k in range(len(combined))
                for k2 in range(k, len(combined))
            ],
            dtype=object,
        )

    def vjp(self, atoms: Atoms, cotangent: ArrayLike, centers: Centers = None) -> Gradient:
        """Return the gradient of sum(cotangent * transform(atoms, centers)), never forming the derivatives.

        Parameters
        ----------
        atoms : ase.Atoms
        cotangent : array, shape (n_rows, n_features)
        centers : array, optional
            As for :meth:`transform`.
        """
        engine = self._fitted()
        atoms = as_structures(atoms)[0]
        found = find_centers(engine, atoms, self.species_, centers, "structure 0")
        n_centers = len(found)
        n_rows = n_centers if self.average_ is None else 1
        weights = self._shaped("cotangent", cotangent, (n_rows, engine.n_features))
        scratch, span_rows = Scratch(), found.rows
        if self.average_ is not None:
            weights, span_rows = weights / n_centers, np.zeros(n_centers, dtype=np.int64)
        averaged = None
        if self.average_ == "inner":
            _check_finite("cotangent", weights)
            ordered = self._sorted_pairs(atoms, centers, "structure 0")[0]
            averaged = self._averaged_cotangent(ordered, weights * n_centers)

        def work(span: tuple[int, int]) -> tuple[NDArray[Any], ...]:
            """Gradients on the neighbours of some centers, which share one cotangent under inner averages."""
            if averaged is None:
                return found.gradients(*span, weights, span_rows[slice(*span)], scratch)
            pairs, count = found.pairs(*span), span[1] - span[0]
            gradient = np.empty((len(pairs.center), 3), dtype=self.dtype_)
            engine.density_vjp(pairs, 0, count, np.tile(averaged, count), gradient)
            own, strain = np.zeros((count, 3)), np.zeros((3, 3))
            sum_over_centers(pairs.first, engine.n_elements, pairs.vectors, gradient, own, strain)
            return pairs.neighbor, gradient, own, strain

        positions, strain = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        on_centers = np.zeros((n_centers, 3))
        spans = list(chunk_spans(0, n_centers))
        for (begin, end), (neighbor, gradient, own, part) in zip(
            spans, share_chunks(work, spans, self.threads), strict=True
        ):
            add_to_atoms(neighbor, gradient, positions)
            on_centers[found.rows[begin:end]] = own
            strain += part
            if not found.free:
                add_to_atoms(found.atoms[begin:end], own, positions)
        return Gradient(positions, strain, on_centers if found.free else None)

    def jvp(
        self,
        atoms: Atoms,
        positions: ArrayLike | None = None,
        strain: ArrayLike | None = None,
        centers: Centers = None,
        center_tangent: ArrayLike | None = None,
    ) -> NDArray[np.floating]:
        """Return the change of transform(atoms, centers) along a direction.

        Parameters
        ----------
        atoms : ase.Atoms
        positions : array, shape (n_atoms, 3), optional
            Displacements of the atoms.
        strain : array, shape (3, 3), optional
            Homogeneous strain, r -> r (1 + strain).
        centers : array, optional
            As for :meth:`transform`.
        center_tangent : array, shape (n_centers, 3), optional
            Displacements of centres that are no atoms.
        """
        engine = self._fitted()
        ordered, free = self._sorted_pairs(as_structures(atoms)[0], centers, "structure 0")
        tangent = self._pair_tangent(ordered, free, len(atoms), positions, strain, center_tangent)
        if self.average_ == "inner":
            features, density, norms = self._averaged(ordered)
            change = np.zeros_like(density)
            for begin, end in chunk_spans(0, ordered.n_centers):
                change += (
                    engine.density_jvp(ordered, begin, end, tangent).reshape(end - begin, -1).sum(axis=0)
                )
            change /= ordered.n_centers
            return engine.power_spectrum_jvp(density, features, norms, change)
        rows = []
        for begin, end in chunk_spans(0, ordered.n_centers):
            chunk = engine.chunk(ordered, begin, end)
            change = engine.density_jvp(ordered, begin, end, tangent)
            rows.append(engine.power_spectrum_jvp(chunk.density, chunk.features, chunk.norms, change))
        changes = np.concatenate(rows)
        return changes if self.average_ is None else changes.mean(axis=0, keepdims=True)

    def derivatives(self, atoms: Atoms, centers: Centers = None) -> SparseDerivatives:
        """Return the derivatives of transform(atoms, centers), one block per centre and atom that it depends
        on.

        Prefer :meth:`vjp` where only a gradient is needed: it costs hundreds of times less.
        """
        engine = self._fitted()
        ordered, free = self._sorted_pairs(as_structures(atoms)[0], centers, "structure 0")
        return explicit_derivatives(engine, ordered, free, self.average_)

    def _sorted_pairs(self, atoms: Atoms, centers: Centers, name: str) -> tuple[SortedPairs, bool]:
        """Return all pairs of a structure, and whether its centres are points that move on their own."""
        threads = thread_count(self.threads)
        return sorted_pairs(self._fitted(), atoms, self.species_, centers, name, threads)

    def _averaged(
        self, ordered: SortedPairs
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        """Return (features (1, n), mean density, norm) of a structure; the last two only for the inner
        average.
        """
        engine = self._fitted()
        if ordered.n_centers == 0:
            raise InputError("an average needs at least one centre")
        if self.average_ == "outer":
            total = np.zeros(engine.n_features, dtype=self.dtype_)
            for begin, end in chunk_spans(0, ordered.n_centers):
                total += engine.chunk(ordered, begin, end).features.sum(axis=0)
            empty = np.empty(0, dtype=self.dtype_)
            return (total / ordered.n_centers)[None], empty, empty
        mean: NDArray[np.floating] = np.zeros(1, dtype=self.dtype_)
        for begin, end in chunk_spans(0, ordered.n_centers):
            part = engine.density(ordered, begin, end).reshape(end - begin, -1).sum(axis=0)
            mean = mean + part
        density = np.asarray(mean / ordered.n_centers, dtype=self.dtype_)
        features, norms = engine.power_spectrum(density, 1)
        return features, density, norms

    def _averaged_cotangent(
        self, ordered: SortedPairs, weights: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        features, density, norms = self._averaged(ordered)
        gradient = self._fitted().power_spectrum_vjp(density, features, norms, weights)
        return gradient / ordered.n_centers

    def _pair_tangent(
        self,
        ordered: SortedPairs,
        free: bool,
        n_atoms: int,
        positions: ArrayLike | None,
        strain: ArrayLike | None,
        center_tangent: ArrayLike | None,
    ) -> NDArray[np.floating]:
        tangent = np.zeros((len(ordered.center), 3))
        if positions is not None:
            moved = self._checked("positions", positions, (n_atoms, 3))
            tangent += moved[ordered.neighbor]
            if not free:
                tangent -= moved[ordered.center_atoms[ordered.center]]
        if strain is not None:
            tangent += ordered.vectors @ self._checked("strain", strain, (3, 3))
        if center_tangent is not None:
            if not free:
                raise InputError(
                    "center_tangent needs centers given as positions; atoms move with positions="
                )
            tangent -= self._checked("center_tangent", center_tangent, (ordered.n_centers, 3))[ordered.center]
        return tangent

    def _checked(self, name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.floating]:
        array = self._shaped(name, values, shape)
        _check_finite(name, array)
        return array

    def _shaped(self, name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.floating]:
        array = np.asarray(values, dtype=self.dtype_)
        if array.shape != shape:
            raise InputError(f"{name} has shape {array.shape}; expected {shape}")
        return array


def _check_finite(name: str, array: NDArray[np.floating]) -> None:
    if not np.isfinite(array).all():
        raise InputError(f"{name} contains NaN or infinite numbers")


def _choice(option: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise InputError(f"{option} = {name!r}: give one of {', '.join(known)}")
    return known[name]


def _per_structure(centers: Any, n_structures: int) -> list[Centers]:
    if centers is None:
        return [None] * n_structures
    listed = list(centers)
    if len(listed) != n_structures:
        raise InputError(
            f"centers has {len(listed)} entries for {n_structures} structures; give one entry for each"
        )
    return listed
