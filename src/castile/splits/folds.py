"""Which structures a split tests: from an info key of the user, or at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError

IndexArray = NDArray[np.int64]


def random_folds(n_structures: int, n_folds: int, seed: int = 0) -> IndexArray:
    """Return the fold of each structure (n_structures,), at random and of equal sizes.

    Raises
    ------
    InputError
        For fewer than two folds, or more than structures.
    """
    if not 2 <= n_folds <= n_structures:
        raise InputError(f"{n_folds} folds of {n_structures} structures: give 2 to {n_structures}")
    return np.random.default_rng(seed).permutation(np.arange(n_structures) % n_folds)


def marked_sides(values: Sequence[object], key: str, test_value: str = "test") -> IndexArray:
    """Return 1 for structures whose value says that they are for testing, else 0, (n_structures,).

    Parameters
    ----------
    values : sequence, length n_structures
        Of the info key; upper and lower case are the same.
    key : str
        For messages.
    test_value : str

    Raises
    ------
    InputError
        If no structure, or every one, is for testing.
    """
    words = [str(value).strip().lower() for value in values]
    sides = np.array([word == test_value.lower() for word in words], dtype=np.int64)
    if sides.all() or not sides.any():
        known = ", ".join(sorted(set(words))[:8])
        raise InputError(
            f"info key {key!r} has the values {known}: {'all' if sides.all() else 'none'} of them "
            f"is {test_value!r}. Say which value marks test structures (--test-value), or audit all values "
            "as folds (--fold-key)"
        )
    return sides


def given_folds(values: Sequence[object], key: str) -> IndexArray:
    """Return the fold (n_structures,) of each structure from the values of an info key.

    Raises
    ------
    InputError
        If there are fewer than two folds.
    """
    names, folds = np.unique([str(value).strip() for value in values], return_inverse=True)
    if len(names) < 2:
        raise InputError(f"info key {key!r} is {names[0]!r} everywhere: folds need two values or more")
    return np.asarray(folds, dtype=np.int64)


def tested_sides(folds: IndexArray, cross_validation: bool) -> list[tuple[IndexArray, IndexArray]]:
    """Return (training, test) indices of every test of a split."""
    tested = np.unique(folds) if cross_validation else [1]
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in tested]
