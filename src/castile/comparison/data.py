"""Structures and targets of a comparison, and the test sets that all descriptors share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.comparison.curve_points import Split
from castile.errors import InputError
from castile.properties.inputs import Scope
from castile.splits.assignment import assign_components
from castile.splits.dataset import ENERGY, Dataset
from castile.splits.splitters import similar_components

IndexArray = NDArray[np.int64]
Float64Array = NDArray[np.float64]
_FEWEST, _FEWEST_TEST, _MOST_TEST = 60, 15, 500
_FEWEST_LABELS, _FEWEST_SIZES = 10, 3


@dataclass(frozen=True)
class ComparisonData:
    """What is learned from.

    Attributes
    ----------
    structures : tuple of ase.Atoms
    targets : ndarray, shape (n_structures,)
    target : str
        Key.
    unit : str
    n_read : int
        Structures in the files, before a subset was drawn.
    """

    structures: tuple[Atoms, ...]
    targets: Float64Array
    target: str
    unit: str
    n_read: int

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.structures)

    def fingerprint(self) -> str:
        """Hash of structures and targets."""
        digest = hashlib.sha256(self.targets.tobytes())
        for atoms in self.structures:
            for array in (atoms.numbers, np.round(atoms.positions, 8), np.round(atoms.cell[:], 8)):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]


def comparison_data(
    dataset: Dataset, target: str, unit: str, *, scope: Scope = "structure", most: int | None = None
) -> ComparisonData:
    """Return structures and targets of a data set, at most ``most`` of them, drawn at random with seed 0.

    Parameters
    ----------
    dataset : Dataset
        Read with the target among its keys.
    target : str
        Info key, or "energy": the label, per atom, or the total with ``scope="atoms"``.
    unit : str
    scope : "structure" or "atoms"
    most : int, optional

    Raises
    ------
    InputError
        If a structure has no finite number there, or there are fewer than 60 structures.
    """
    values = dataset.target(target)
    if target == ENERGY and scope == "atoms":
        values = values * dataset.table.n_atoms
    n = len(dataset)
    if n < _FEWEST:
        raise InputError(f"{n} structures are too few to compare learning curves; give at least {_FEWEST}")
    if float(np.ptp(values)) == 0.0:
        raise InputError(
            f"target {target!r} is {values[0]:g} for all {n} structures; there is nothing to learn"
        )
    chosen = np.arange(n)
    if most is not None and n > most:
        chosen = np.sort(np.random.default_rng(0).choice(n, most, replace=False))
    structures = tuple(dataset.table.atoms(int(k)) for k in chosen)
    return ComparisonData(structures, values[chosen], target, unit, n)


@dataclass(frozen=True)
class Parts:
    """Test set of one seed, and the pool whose first n structures are the training set of n labels."""

    split: Split
    seed: int
    pool: IndexArray
    test: IndexArray


@dataclass(frozen=True)
class SplitPlan:
    """All parts, and what is to be said of them."""

    parts: tuple[Parts, ...]
    sizes: tuple[int, ...]
    n_components: int
    note: str

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits there are."""
        return tuple(dict.fromkeys(part.split for part in self.parts))


def plan_splits(
    data: ComparisonData, *, n_seeds: int = 3, max_labels: int = 1600, test_fraction: float = 0.2
) -> SplitPlan:
    """Return random and leak-proof test sets for every seed, and the numbers of labels.

    Leak-proof: structures that are more similar than the noise of coordinates are connected, and whole
    components go to the test set (see the page on splits). Sizes double up to ``max_labels`` or what the
    smallest training part holds.

    Raises
    ------
    InputError
        If there are too few structures for three sizes.
    """
    labels, _ = similar_components(list(data.structures), "suggest")
    n_components = int(labels.max()) + 1
    parts = [_random(len(data), seed, test_fraction) for seed in range(n_seeds)]
    note = ""
    try:
        proof = [_leakproof(labels, seed, test_fraction) for seed in range(n_seeds)]
        fewest = min(len(part.test) for part in proof)
        if fewest < _FEWEST_TEST:
            note = f"the leak-proof test sets would have {fewest} structures"
        elif (pool := min(len(part.pool) for part in proof)) < max(0.4 * len(data), 4 * _FEWEST_LABELS):
            note = f"the leak-proof training parts would have {pool} structures"
        else:
            parts += proof
    except InputError as error:
        note = str(error)
    if note:
        note = f"No leak-proof curves: {note}, since the data are few or most are alike; only random splits."
    largest = min(max_labels, min(len(part.pool) for part in parts))
    sizes = _sizes(largest)
    return SplitPlan(tuple(parts), sizes, n_components, note)


def _random(n: int, seed: int, fraction: float) -> Parts:
    order = np.random.default_rng([1, seed]).permutation(n)
    n_test = max(_FEWEST_TEST, round(fraction * n))
    return Parts("random", seed, order[n_test:], order[: min(n_test, _MOST_TEST)])


def _leakproof(labels: IndexArray, seed: int, fraction: float) -> Parts:
    assigned = assign_components(labels, (1.0 - fraction, fraction), seed=seed).parts
    generator = np.random.default_rng([2, seed])
    pool, test = (generator.permutation(np.flatnonzero(assigned == part)) for part in (0, 1))
    return Parts("leak-proof", seed, pool, test[:_MOST_TEST])


def _sizes(largest: int, smallest: int = 25, most: int = 6) -> tuple[int, ...]:
    """Halves of the largest size down to the smallest one, 10 where 25 would leave fewer than three."""
    sizes: list[int] = []
    if largest < 4 * smallest:
        smallest = _FEWEST_LABELS
    size = float(largest)
    while size >= smallest and len(sizes) < most:
        sizes.append(round(size))
        size /= 2.0
    if len(sizes) < _FEWEST_SIZES:
        raise InputError(
            f"{largest} labels for training allow {len(sizes)} sizes of at least {smallest}, three are "
            "needed; give more data or a larger --max-labels"
        )
    return tuple(reversed(sizes))
