"""How alike candidates are to each other and to what is known: the kernel of mean power spectra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.kernels.environments import describe_environments, unit_gap
from castile.splits.settings import CODE_CHANNELS, SimilaritySettings

Float64Array = NDArray[np.float64]
_BLOCK = 64
_CUTOFF = 6.0


@dataclass(frozen=True)
class Likeness:
    r"""Similarity of structures, whatever their elements: k = p . q / (|p| |q|) of mean power spectra.

    The elements share six density channels in which each has its own direction.

    Parameters
    ----------
    cutoff : float
        Angstrom.
    """

    cutoff: float = _CUTOFF

    def __post_init__(self) -> None:
        settings = SimilaritySettings(
            kernel="average-soap", cutoff=self.cutoff, n_max=6, l_max=4,
            species=tuple(chemical_symbols[1:104]), channels=CODE_CHANNELS,
        )  # fmt: skip
        object.__setattr__(self, "_descriptor", settings.descriptor())

    def vectors(self, structures: Sequence[Atoms]) -> Float64Array:
        """Return unit vectors, (n_structures, n_features).

        Raises
        ------
        InputError
            For a structure that cannot be described.
        """
        descriptor: SOAP = self._descriptor  # type: ignore[attr-defined]
        means = [
            environments.mean
            for start in range(0, len(structures), _BLOCK)
            for environments in describe_environments(descriptor, list(structures[start : start + _BLOCK]))
        ]
        rows = np.stack(means) if means else np.empty((0, int(descriptor.n_features_out_)))
        return rows / np.linalg.norm(rows, axis=1)[:, None]


def similarities(first: Float64Array, second: Float64Array) -> Float64Array:
    """Return the similarity of unit vectors, (n_first, n_second)."""
    return 1.0 - unit_gap(first, second)


@dataclass(frozen=True)
class KnownStructures:
    """Structures that candidates are compared with.

    Attributes
    ----------
    likeness : Likeness
    vectors : ndarray, shape (n_known, n_features)
    names : tuple of str
    """

    likeness: Likeness
    vectors: Float64Array
    names: tuple[str, ...]

    def nearest(self, structures: Sequence[Atoms]) -> Float64Array:
        """Return the similarity of each structure to the most similar known one, (n,)."""
        return np.asarray(similarities(self.likeness.vectors(structures), self.vectors).max(axis=1))


def know(structures: Iterable[tuple[str, Atoms]], likeness: Likeness | None = None) -> KnownStructures:
    """Describe known structures, given with their names.

    Raises
    ------
    InputError
        If there are none.
    """
    likeness = Likeness() if likeness is None else likeness
    named = list(structures)
    if not named:
        raise InputError("there are no known structures to compare with; name a file that has some")
    vectors = likeness.vectors([atoms for _, atoms in named])
    return KnownStructures(likeness, vectors, tuple(name for name, _ in named))


def choose_diverse(vectors: Float64Array, n: int, most_similar: float) -> tuple[list[int], list[int]]:
    """Go through rows in order and choose those that are not too similar to any chosen before.

    Parameters
    ----------
    vectors : ndarray, shape (n_rows, n_features)
        Unit rows, the best candidate first.
    n : int
        How many are wanted.
    most_similar : float
        Rows with a similarity above this to a chosen one are passed over.

    Returns
    -------
    chosen : list of int
    counts : list of int
        How many rows stand behind each chosen one, itself included, as far as was looked.
    """
    chosen: list[int] = []
    counts: list[int] = []
    for row in range(len(vectors)):
        if chosen:
            near = similarities(vectors[row : row + 1], vectors[chosen])[0]
            closest = int(np.argmax(near))
            if near[closest] > most_similar:
                counts[closest] += 1
                continue
        if len(chosen) == n:
            break
        chosen.append(row)
        counts.append(1)
    return chosen, counts
