"""Terms and sizes of a GAP against errors of forces and energies and the cost of a prediction."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.comparison.curve_points import PointStore
from castile.errors import InputError
from castile.evaluation import evaluate
from castile.potentials.gap import GAP
from castile.splits.assignment import assign_components
from castile.splits.splitters import similar_components
from castile.structures import LabelledStructure, StructureSource

Progress = Callable[[str, int, int | None], None]
_FEWEST, _FEWEST_TEST = 12, 3
_TEST_SHARE = 0.2
_MOST = 400
_TIMED_ATOMS = 2000


@dataclass(frozen=True)
class Variant:
    """Settings of a GAP, as :class:`castile.GAP` takes them, and a name."""

    label: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class PotentialPoint:
    """One fit.

    Attributes
    ----------
    variant, split : str
    seed, n_train, n_test : int
        Structures.
    force_rmse : float
        On the test set, eV/A.
    energy_rmse : float
        eV/atom; NaN is not stored: -1 where there are no energies.
    fit_cpu_s : float
    us_per_atom : float
        Processor time of energy, forces and stress, microseconds per atom.
    n_weights : int
        Weights of the model.
    """

    variant: str
    split: str
    seed: int
    n_train: int
    n_test: int
    force_rmse: float
    energy_rmse: float
    fit_cpu_s: float
    us_per_atom: float
    n_weights: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells points apart."""
        return self.variant, self.split, self.seed, self.n_train


@dataclass(frozen=True)
class PotentialComparison:
    """All variants.

    Attributes
    ----------
    points : tuple of PotentialPoint
    variants : tuple of str
    split : str
        "leak-proof", or "random" where structures are too alike; ``note`` says why.
    n_read : int
        Structures in the files.
    note : str
    """

    points: tuple[PotentialPoint, ...]
    variants: tuple[str, ...]
    split: str
    n_read: int
    note: str

    def of(self, variant: str) -> tuple[PotentialPoint, ...]:
        """Return the points of a variant, one per seed."""
        return tuple(point for point in self.points if point.variant == variant)

    def mean(self, variant: str, name: str) -> float:
        """Return the mean of a number over the seeds."""
        return float(np.mean([getattr(point, name) for point in self.of(variant)]))

    def pareto_front(self) -> list[str]:
        """Variants that no other beats both in force error and in cost, from cheap to dear."""
        pairs = {v: (self.mean(v, "force_rmse"), self.mean(v, "us_per_atom")) for v in self.variants}
        front = [
            v for v, (e, c) in pairs.items()
            if not any(a <= e and b <= c and (a, b) != (e, c) for a, b in pairs.values())
        ]  # fmt: skip
        return sorted(front, key=lambda v: pairs[v][1])

    def numbers(self) -> dict[str, object]:
        """Flat numbers with units."""
        found: dict[str, object] = {"split": self.split, "n_read": self.n_read}
        for variant in self.variants:
            name = "_".join("".join(c if c.isalnum() else " " for c in variant.lower()).split())
            found[f"{name}_force_rmse_ev_per_a"] = self.mean(variant, "force_rmse")
            energy = self.mean(variant, "energy_rmse")
            found[f"{name}_energy_rmse_mev_per_atom"] = None if energy < 0 else 1000.0 * energy
            found[f"{name}_us_per_atom"] = self.mean(variant, "us_per_atom")
            found[f"{name}_fit_cpu_s"] = self.mean(variant, "fit_cpu_s")
            found[f"{name}_n_weights"] = self.of(variant)[0].n_weights
        found["pareto_front"] = "; ".join(self.pareto_front())
        return found


def default_variants(*, quick: bool = False) -> tuple[Variant, ...]:
    """Return GAPs from a pair term alone to SOAP with many sparse points; the rest comes from the data."""
    sizes = (
        ((4, 3, 100), (6, 4, 300))
        if quick
        else ((4, 3, 200), (6, 4, 200), (6, 4, 600), (8, 6, 600), (8, 6, 1500))
    )
    found = [Variant("pair", {"soap": (), "calibrate": False})]
    for n_max, l_max, n_sparse in sizes:
        soap = {"n_max": n_max, "l_max": l_max, "n_sparse": n_sparse}
        label = f"pair + soap n{n_max} l{l_max}, {n_sparse} sparse"
        found.append(Variant(label, {"soap": (soap,), "calibrate": False}))
    n_max, l_max, n_sparse = sizes[-2]
    alone = {"n_max": n_max, "l_max": l_max, "n_sparse": n_sparse}
    label = f"soap n{n_max} l{l_max}, {n_sparse} sparse"
    found.append(Variant(label, {"soap": (alone,), "pair": (), "calibrate": False}))
    return tuple(found)


def compare_potentials(
    source: StructureSource,
    variants: Sequence[Variant],
    *,
    n_seeds: int = 1,
    max_labels: int | None = None,
    points: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> PotentialComparison:
    """Fit every variant on the same training structures and judge it on structures that are not like them.

    Parameters
    ----------
    source : StructureSource
        With energies and forces.
    variants : sequence of Variant
    n_seeds : int
        Number of test sets.
    max_labels : int, optional
        Most training structures. Default: 400.
    points : path, optional
        File of the results: those in it are not computed again.
    progress : callable, optional

    Raises
    ------
    InputError
        For data without forces, or too few structures.
    """
    report = progress or (lambda step, done, total: None)
    most = max_labels or _MOST
    structures = list(source)
    n_read = len(structures)
    if not any(structure.forces is not None for structure in structures):
        raise InputError(f"{structures[0].name}: there are no forces to compare potentials on; name others")
    wanted = round(most / (1.0 - _TEST_SHARE))
    if n_read > wanted:
        chosen = np.sort(np.random.default_rng(0).choice(n_read, wanted, replace=False))
        structures = [structures[int(k)] for k in chosen]
    if len(structures) < _FEWEST:
        raise InputError(f"{len(structures)} structures are too few to compare; give at least {_FEWEST}")
    report("finding similar structures", 0, 1)
    sides, split, note = _sides(structures, n_seeds)
    report("finding similar structures", 1, 1)
    note = " ".join(text for text in (note, _missing(structures)) if text)
    store = PointStore(PotentialPoint, points, _fingerprint(structures, split))
    found, done = [], 0
    for seed, (train, test) in enumerate(sides):
        for variant in variants:
            point = store.get((variant.label, split, seed, len(train)))
            if point is None:
                fitted = _fit(variant, [structures[int(k)] for k in train])
                point = _judged(variant, *fitted, [structures[int(k)] for k in test], split, seed, len(train))
                store.add(point)
            found.append(point)
            done += 1
            report("potentials", done, len(sides) * len(variants))
    return PotentialComparison(tuple(found), tuple(v.label for v in variants), split, n_read, note)


def _sides(
    structures: Sequence[LabelledStructure], n_seeds: int
) -> tuple[list[tuple[NDArray[np.int64], NDArray[np.int64]]], str, str]:
    """Training and test indices of each seed, the kind of split, and why it is not leak-proof."""
    labels, _ = similar_components([structure.atoms for structure in structures], "suggest")
    try:
        sides = []
        for seed in range(n_seeds):
            parts = assign_components(labels, (1.0 - _TEST_SHARE, _TEST_SHARE), seed=seed).parts
            sides.append((np.flatnonzero(parts == 0), np.flatnonzero(parts == 1)))
        enough = all(len(test) >= _FEWEST_TEST and len(train) >= len(test) for train, test in sides)
        if enough:
            return sides, "leak-proof", ""
        note = "the leak-proof parts would be too small"
    except InputError as error:
        note = str(error)
    n_test = max(_FEWEST_TEST, round(_TEST_SHARE * len(structures)))
    orders = [np.random.default_rng([1, seed]).permutation(len(structures)) for seed in range(n_seeds)]
    random = [(np.sort(order[n_test:]), np.sort(order[:n_test])) for order in orders]
    return random, "random", f"Random test sets: {note}, since the data are few or most are alike."


def _missing(structures: Sequence[LabelledStructure]) -> str:
    """What is to be said of labels that some structures lack."""
    parts = []
    for name in ("energy", "forces"):
        lacking = [structure.name for structure in structures if getattr(structure, name) is None]
        if lacking:
            parts.append(
                f"{len(lacking)} of {len(structures)} structures have no {name} (the first: {lacking[0]})"
            )
    return f"Labels are missing: {'; '.join(parts)}." if parts else ""


def _fit(variant: Variant, train: Sequence[LabelledStructure]) -> tuple[GAP, float]:
    start = time.process_time()
    try:
        gap = GAP(settings=variant.settings, allow_missing=("energy", "forces", "stress")).fit(train)
    except InputError as error:
        raise InputError(f"variant {variant.label!r}: {error}") from error
    return gap, time.process_time() - start


def _judged(
    variant: Variant,
    gap: GAP,
    fit_cpu_s: float,
    test: Sequence[LabelledStructure],
    split: str,
    seed: int,
    n_train: int,
) -> PotentialPoint:
    """Errors on the test set, and the time of predictions after a first one."""
    overall = evaluate(gap, test).overall
    if overall.force is None:
        raise InputError("the test set has no forces; give data where most structures have them")
    timed = test[: max(1, _count_up_to(test, _TIMED_ATOMS))]
    start = time.process_time()
    for structure in timed:
        gap.predict(structure.atoms)
    seconds = time.process_time() - start
    energy = overall.energy_per_atom
    return PotentialPoint(
        variant.label, split, seed, n_train, len(test),
        overall.force.rmse,
        -1.0 if energy is None else energy.rmse,
        fit_cpu_s,
        1e6 * seconds / sum(len(structure.atoms) for structure in timed),
        sum(len(weights) for weights in gap.model_.weights),
    )  # fmt: skip


def _count_up_to(structures: Sequence[LabelledStructure], n_atoms: int) -> int:
    """Number of structures that have ``n_atoms`` together."""
    total = np.cumsum([len(structure.atoms) for structure in structures])
    return int(np.searchsorted(total, n_atoms)) + 1


def _fingerprint(structures: Sequence[LabelledStructure], split: str) -> str:
    digest = hashlib.sha256(json.dumps([split, len(structures)]).encode())
    for structure in structures:
        digest.update(np.ascontiguousarray(np.round(structure.atoms.positions, 8)).tobytes())
        if structure.forces is not None:
            digest.update(np.ascontiguousarray(structure.forces).tobytes())
    return digest.hexdigest()[:32]
