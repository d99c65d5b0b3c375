"""What every descriptor offers: fit, transform, names of the features, and derivatives."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from castile.errors import InputError


@dataclass(frozen=True)
class Gradient:
    """Derivatives of a scalar with respect to a structure.

    Attributes
    ----------
    positions : ndarray, shape (n_atoms, 3)
        With respect to the atomic positions, 1/A.
    strain : ndarray, shape (3, 3)
        With respect to a homogeneous strain, r -> r (1 + strain).
    centers : ndarray, shape (n_centers, 3), or None
        With respect to the positions of centres that are no atoms, 1/A.
    """

    positions: NDArray[np.floating]
    strain: NDArray[np.floating]
    centers: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class SparseDerivatives:
    """Derivatives of features, stored only where a row of features depends on an atom.

    Attributes
    ----------
    row, atom : ndarray of int64, shape (n_blocks,)
        Row of the features and index of the atom that moves.
    values : ndarray, shape (n_blocks, 3, n_features)
        d features[row] / d position[atom], 1/A.
    strain : ndarray, shape (n_rows, 3, 3, n_features)
        d features[row] / d strain.
    centers : ndarray, shape (n_rows, 3, n_features), or None
        d features[row] / d position of its centre, where the centres are no atoms.
    """

    row: NDArray[np.int64]
    atom: NDArray[np.int64]
    values: NDArray[np.floating]
    strain: NDArray[np.floating]
    centers: NDArray[np.floating] | None = None

    def dense(self, n_atoms: int) -> NDArray[np.floating]:
        """Return d features / d positions as (n_rows, n_atoms, 3, n_features)."""
        n_rows = len(self.strain)
        full = np.zeros((n_rows, n_atoms, *self.values.shape[1:]), dtype=self.values.dtype)
        np.add.at(full, (self.row, self.atom), self.values)
        return full


class Descriptor(TransformerMixin, BaseEstimator, ABC):
    """A map from structures to rows of features, in the manner of scikit-learn.

    ``fit`` learns what depends on the data (the elements, the largest size); fitted attributes end in ``_``.
    """

    @abstractmethod
    def fit(self, structures: Atoms | Iterable[Atoms], y: Any = None) -> "Descriptor":
        """Learn the elements and sizes of ``structures``."""

    @abstractmethod
    def transform(self, structures: Atoms | Iterable[Atoms]) -> NDArray[np.floating]:
        """Return the features, (n_rows, n_features)."""

    @abstractmethod
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the name of each feature."""

    @abstractmethod
    def vjp(self, atoms: Atoms, cotangent: NDArray[np.floating]) -> Gradient:
        """Return the gradient of sum(cotangent * transform(atoms)); ``cotangent`` has the shape of the
        features.
        """


def as_structures(structures: Atoms | Iterable[Atoms]) -> list[Atoms]:
    """Return a list of structures.

    Raises
    ------
    InputError
        If something in it is no ``ase.Atoms`` or has no atoms.
    """
    listed = [structures] if isinstance(structures, Atoms) else list(structures)
    for index, atoms in enumerate(listed):
        if not isinstance(atoms, Atoms):
            raise InputError(f"structure {index} is a {type(atoms).__name__}; give ase.Atoms")
        if len(atoms) == 0:
            raise InputError(f"structure {index} has no atoms; remove it")
        if not np.isfinite(atoms.positions).all():
            atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
            raise InputError(
                f"structure {index}: atom {atom} has position {atoms.positions[atom]}; "
                "repair or remove the structure"
            )
    return listed


def species_numbers(species: Sequence[str | int]) -> tuple[int, ...]:
    """Return sorted atomic numbers of element symbols or numbers; a single symbol may stand alone.

    Raises
    ------
    InputError
        If a symbol is unknown, or an element is named twice.
    """
    numbers = []
    for element in [species] if isinstance(species, str) else species:
        if isinstance(element, str):
            if element not in atomic_numbers or atomic_numbers[element] == 0:
                raise InputError(
                    f"species: {element!r} is no element; give symbols such as 'Si' or atomic numbers"
                )
            numbers.append(atomic_numbers[element])
        elif 0 < int(element) < len(chemical_symbols):
            numbers.append(int(element))
        else:
            raise InputError(f"species: {element!r} is no atomic number")
    if len(set(numbers)) != len(numbers):
        raise InputError(f"species = {list(species)} names an element twice")
    return tuple(sorted(numbers))


def settle_species(
    descriptor: str, given: Sequence[str | int] | None, structures: Atoms | Iterable[Atoms] | None
) -> tuple[int, ...]:
    """Return the sorted atomic numbers that were given, or of all elements in ``structures``.

    Raises
    ------
    InputError
        If there are none, naming the ``descriptor``.
    """
    if given is not None:
        species = species_numbers(given)
    elif structures is not None:
        species = discover_species(as_structures(structures))
    else:
        raise InputError(f"{descriptor}.fit needs structures to discover the elements; or give species=[...]")
    if not species:
        raise InputError(
            f"{descriptor}.fit: there are no elements; give structures with atoms or species=[...]"
        )
    return species


def discover_species(structures: Iterable[Atoms]) -> tuple[int, ...]:
    """Return the sorted atomic numbers of all elements in ``structures``."""
    found: set[int] = set()
    for atoms in structures:
        found.update(int(z) for z in np.unique(atoms.numbers))
    return tuple(sorted(found))


def element_codes(atoms: Atoms, species: tuple[int, ...], name: str) -> NDArray[np.int64]:
    """Return the index in ``species`` of each atom's element.

    Raises
    ------
    InputError
        If an element was not in the species.
    """
    lookup = np.full(len(chemical_symbols) + 2, -1, dtype=np.int64)
    lookup[list(species)] = np.arange(len(species))
    codes = lookup[atoms.numbers]
    if (codes < 0).any():
        unknown = sorted({chemical_symbols[z] for z in atoms.numbers[codes < 0]})
        known = [chemical_symbols[z] for z in species]
        raise InputError(
            f"{name}: element {', '.join(unknown)} is not among the known ones ({', '.join(known)})"
        )
    return codes
