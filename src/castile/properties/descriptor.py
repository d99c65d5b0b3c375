"""One interface for descriptors of whole structures: fit, transform, names, and what they cost."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from castile.descriptors.base import as_structures
from castile.errors import InputError
from castile.execution.threads import map_chunks

Float64Array = NDArray[np.float64]
Scaling = Literal["each", "all"]
_BATCH = 16


@dataclass(frozen=True)
class Seen:
    """What a descriptor learns from the structures that it is fitted on.

    Attributes
    ----------
    species : tuple of int
        Atomic numbers, ascending.
    n_atoms_max : int
        Atoms of the largest structure.
    """

    species: tuple[int, ...]
    n_atoms_max: int


@dataclass(frozen=True)
class Cost:
    """What transforming has cost so far.

    Attributes
    ----------
    n_structures : int
    cpu_s : float
        Processor time of all threads, s.
    wall_s : float
        Time on the clock, s.
    n_bytes : int
        Of the features.
    """

    n_structures: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    n_bytes: int = 0

    @property
    def cpu_s_per_structure(self) -> float:
        """Processor seconds per structure; NaN before the first."""
        return self.cpu_s / self.n_structures if self.n_structures else float("nan")

    @property
    def bytes_per_structure(self) -> float:
        """Bytes of features per structure; NaN before the first."""
        return self.n_bytes / self.n_structures if self.n_structures else float("nan")


@dataclass(frozen=True)
class AtomFeatures:
    """Rows of features of the atoms of several structures.

    Attributes
    ----------
    features : ndarray, shape (n_atoms of all, n_features)
    first : ndarray of int64, shape (n_structures + 1,)
        The atoms of structure k are the rows first[k] to first[k + 1].
    """

    features: Float64Array
    first: NDArray[np.int64]


class StructureDescriptor(TransformerMixin, BaseEstimator, ABC):
    """A map from structures to one row of features each, in the manner of scikit-learn.

    ``fit`` notes the elements and the largest size; ``transform`` counts what it costs in ``cost_``.
    Subclasses give ``_settle`` (what follows from elements and size), ``_row`` and the names; those that
    describe atoms also ``_atom_rows``.

    Attributes
    ----------
    seen_ : Seen
    cost_ : Cost
        Of all calls of ``transform`` and ``transform_atoms`` since ``fit`` or ``reset_cost``.
    """

    kind: ClassVar[str]
    scaling: ClassVar[Scaling] = "all"
    """Whether features are to be scaled one by one, or all by the same factor."""
    describes_atoms: ClassVar[bool] = False
    """Whether there are rows for atoms, as sums over atoms need them."""
    uses_threads: ClassVar[bool] = False
    """Whether most of the work is done outside Python's lock."""

    def fit(self, structures: Atoms | Iterable[Atoms], y: Any = None) -> Self:
        """Note elements and the largest size of ``structures``, and check the options.

        Raises
        ------
        InputError
            For no structure, a bad one, or an option out of range.
        """
        listed = as_structures(structures)
        if not listed:
            raise InputError(f"{self.kind}: there are no structures to fit on; give at least one")
        species = np.unique(np.concatenate([np.unique(atoms.numbers) for atoms in listed]))
        return self.settle(Seen(tuple(int(z) for z in species), max(len(atoms) for atoms in listed)))

    def settle(self, seen: Seen) -> Self:
        """Fit on elements and size that are known already, as a model file has them."""
        self.seen_ = seen
        self.reset_cost()
        self._settle(seen)
        return self

    def reset_cost(self) -> None:
        """Count the cost from zero again."""
        self.cost_ = Cost()

    def transform(self, structures: Atoms | Iterable[Atoms]) -> Float64Array:
        """Return the features, (n_structures, n_features), and add to ``cost_``.

        Raises
        ------
        InputError
            For a structure that cannot be described; it is named by its index.
        """
        listed = self._listed(structures)
        watch = _Watch()
        if self.uses_threads:
            blocks = [listed[k : k + _BATCH] for k in range(0, len(listed), _BATCH)]
            starts = range(0, len(listed), _BATCH)
            parts = list(map_chunks(lambda piece: self._block(*piece), zip(starts, blocks, strict=True)))
        else:
            parts = [self._block(0, listed)] if listed else []
        width = len(self.get_feature_names_out()) if not parts else parts[0].shape[1]
        features = np.concatenate(parts) if parts else np.empty((0, width))
        self._account(watch, len(listed), features.nbytes)
        return features

    def transform_atoms(self, structures: Atoms | Iterable[Atoms]) -> AtomFeatures:
        """Return the features of every atom, and add to ``cost_``.

        Raises
        ------
        InputError
            If this descriptor has no rows for atoms.
        """
        if not self.describes_atoms:
            raise InputError(
                f"{self.kind}: describes structures as a whole; a sum over atoms needs one with a row per "
                "atom, such as 'soap' or 'rdf'"
            )
        listed = self._listed(structures)
        watch = _Watch()
        rows = list(
            map_chunks(
                lambda item: self._atoms_of(*item), enumerate(listed), None if self.uses_threads else 1
            )
        )
        first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        features = np.concatenate(rows) if rows else np.empty((0, 0))
        self._account(watch, len(listed), features.nbytes)
        return AtomFeatures(features, first)

    @abstractmethod
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the name of each feature."""

    @abstractmethod
    def _settle(self, seen: Seen) -> None:
        """Check options and prepare; InputError for what cannot be."""

    @abstractmethod
    def _row(self, atoms: Atoms) -> Float64Array:
        """Return the features of a structure, (n_features,)."""

    def _rows(self, listed: Sequence[Atoms]) -> Float64Array:
        """Return the features of several structures; faster than one by one where overridden."""
        return np.stack([self._row(atoms) for atoms in listed])

    def _atom_rows(self, atoms: Atoms) -> Float64Array:
        """Return the features of the atoms of a structure, (n_atoms, n_features)."""
        raise NotImplementedError

    def _listed(self, structures: Atoms | Iterable[Atoms]) -> list[Atoms]:
        check_is_fitted(self, "seen_")
        return as_structures(structures)

    def _block(self, start: int, listed: Sequence[Atoms]) -> Float64Array:
        try:
            return np.asarray(self._rows(listed), dtype=np.float64)
        except InputError:
            rows = []
            for index, atoms in enumerate(listed):  # again one by one, to name the structure at fault
                rows.append(_named(lambda one: np.asarray(self._rows([one])[0]), start + index, atoms))
            return np.stack(rows).astype(np.float64)

    def _atoms_of(self, index: int, atoms: Atoms) -> Float64Array:
        return np.asarray(_named(self._atom_rows, index, atoms), dtype=np.float64)

    def _account(self, watch: _Watch, n_structures: int, n_bytes: int) -> None:
        cost = self.cost_
        cpu, wall = watch.elapsed()
        self.cost_ = Cost(
            cost.n_structures + n_structures, cost.cpu_s + cpu, cost.wall_s + wall, cost.n_bytes + n_bytes
        )


class _Watch:
    """Processor and wall time since it was made."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def elapsed(self) -> tuple[float, float]:
        """Seconds of processor and clock."""
        return time.process_time() - self.cpu, time.perf_counter() - self.wall


def _named(function: Any, index: int, atoms: Atoms) -> Any:
    """function(atoms), with the index of the structure in the message of an error."""
    try:
        return function(atoms)
    except InputError as error:
        message = str(error).removeprefix("structure 0: ").removeprefix("structure 0 ")
        raise InputError(f"structure {index} ({atoms.get_chemical_formula()}): {message}") from error
