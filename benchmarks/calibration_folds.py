"""Coverage of the intervals of default fits over folds of a data set: every structure is held out once."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration import COVERAGE, ELEMENTS
from benchmarks.data import data_files
from benchmarks.fractions import Fraction, wilson
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table

LEVELS = {"68": 0.68, "95": 0.95}
NORMAL = {"68": 0.9944578832097532, "95": 1.959963984540054}
"""Half widths of the central intervals of a normal distribution, in deviations."""
PLAIN = "plain "
"""Names of intervals that are these multiples of the deviations, whatever the tails of the errors are."""
SEEDS = (11, 12, 13)
"""Of the random folds; the first also of the leak-proof ones."""
LEAK_PROOF, RANDOM = "leak-proof", "random"


@dataclass(frozen=True)
class Inside:
    """Labels of one kind in one structure: how many there are and how many are inside each interval.

    Structures of one ``component`` are similar.
    """

    config_type: str
    n: int
    inside: dict[str, int]
    component: int


def coverage_of(found: Iterable[Inside], level: str) -> Fraction:
    """Return the coverage over structures. Labels of similar ones are alike: the interval is Wilson's at the
    effective number of labels, p (1 - p) over the variance of the fraction between components.
    """
    parts = [part for part in found if part.n]
    _, component = np.unique([part.component for part in parts], return_inverse=True)
    n = np.bincount(component, [part.n for part in parts])
    k = np.bincount(component, [part.inside[level] for part in parts])
    fraction = float(k.sum() / n.sum())
    effective = n.sum()
    if n.max() > 1 and len(n) > 1:
        variance = len(n) / (len(n) - 1) * float(np.sum((k - fraction * n) ** 2)) / n.sum() ** 2
        if variance > 0.0:
            effective = min(effective, max(fraction * (1.0 - fraction) / variance, 1.0))
    return wilson(fraction, float(effective))


def calibration_folds(name: str, n_folds: int, quick: bool, threads: int) -> Record:
    """Fit to all folds but one, in turn; compare the errors on it with their deviations.

    Once with folds of which no two have similar structures, and three times with random ones.
    """
    from castile.splits import LeakproofKFold

    files = data_files(*(f"mlearn/{ELEMENTS[name]}_{part}.xyz.gz" for part in ("training", "test")))
    structures = _structures(files, quick)
    kinds = [structure.config_type for structure in structures]
    leak_proof = LeakproofKFold(n_folds, stratify=True, random_state=SEEDS[0])
    sides = list(leak_proof.split([structure.atoms for structure in structures], kinds))
    components = leak_proof.components_.tolist()
    n_components = len(set(components))
    fold_of = np.zeros(len(structures), dtype=int)
    for fold, (_, inside) in enumerate(sides):
        fold_of[inside] = fold
    random = [stratified_folds(kinds, n_folds, seed) for seed in SEEDS[: 1 if quick else None]]
    sortings = {RANDOM: random, LEAK_PROOF: [fold_of.tolist()]}
    numbers: dict[str, Any] = {
        "n_structures": len(structures),
        "n_folds": n_folds,
        "n_components": n_components,
        "similarity_threshold": float(leak_proof.threshold_),
        "fit_seconds": 0.0,
    }
    tables = []
    for sorting, all_folds in sortings.items():
        found = [_measure(files, folds, n_folds, quick, threads, numbers) for folds in all_folds]
        tables.append(_table(sorting, n_folds, found, components, numbers))
    seeds = ", ".join(map(str, SEEDS[: len(random)]))
    notes = (
        "default fits, each calibrated on its own training structures; training and test file together, in "
        "folds with like shares of each config_type; exact deviations",
        f"random folds with the seeds {seeds}; a structure counts each time",
        f"leak-proof: no structure of a fold has one in another whose similarity is above "
        f"{leak_proof.threshold_:.6f}, as castile split has it: {n_components} components of "
        f"{len(structures)} structures",
        "in brackets the 95 % interval of each coverage (Wilson) at the effective number of labels: those of "
        "similar structures are alike",
        "last column: errors within the multiples of the deviations that normal errors would ask for",
        "components of forces that symmetry makes zero do not count",
    )
    return Record(f"calibration-{name}-folds", quick, numbers, _checks(numbers), tuple(tables), notes)


def _measure(
    files: list[str], fold_of: list[int], n_folds: int, quick: bool, threads: int, numbers: dict[str, Any]
) -> list[dict[str, Any]]:
    """Counts of every structure, in the order of the structures; adds the time of the fits to ``numbers``."""
    found: list[dict[str, Any]] = [{}] * len(fold_of)
    for fold in range(n_folds):
        arguments = {"files": files, "fold_of": fold_of, "fold": fold, "quick": quick}
        measured = run_isolated("benchmarks.calibration_folds:measure_fold", arguments, threads)
        inside = [index for index, own in enumerate(fold_of) if own == fold]
        for index, structure in zip(inside, measured["structures"], strict=True):
            found[index] = structure
        numbers["fit_seconds"] += measured["fit_seconds"]
        print(f"fold {fold + 1} of {n_folds}: fit {measured['fit_seconds']:.0f} s", flush=True)
    return found


def _table(
    sorting: str,
    n_folds: int,
    found: list[list[dict[str, Any]]],
    components: list[int],
    numbers: dict[str, Any],
) -> Table:
    """Table of the coverages with one kind of folds, which were drawn once or more often."""
    rows = []
    for kind in ("energy", "force"):
        parts = [
            _inside(structure, kind, component)
            for once in found
            for structure, component in zip(once, components, strict=True)
        ]
        rows.append(_row(f"{sorting}/{kind}", "all", parts, numbers))
        rows += [
            _row(f"{sorting}/{kind}", config, [part for part in parts if part.config_type == config], numbers)
            for config in sorted({part.config_type for part in parts})
        ]
    columns = ("", "held out", "labels", "68 % interval", "95 % interval", "0.994, 1.960 deviations")
    times = {1: "once", 2: "twice"}.get(len(found), f"{len(found)} times")
    title = f"Standard deviations against errors, {n_folds} {sorting} folds, each structure held out {times}"
    return Table(title, columns, tuple(rows))


def _checks(numbers: dict[str, Any]) -> tuple[Check, ...]:
    """The coverages in random folds, which are like the published test sets, against the targets."""
    checks = []
    for kind in ("energy", "force"):
        for level, (low, high) in COVERAGE.items():
            value = 100.0 * numbers[f"{RANDOM}/{kind}/all/coverage_{level}"]
            label = f"{RANDOM} folds: {kind}, coverage of {level} % intervals"
            checks += [
                Check(label, value, 100.0 * low, "%", "at least"),
                Check(label, value, 100 * high, "%"),
            ]
    return tuple(checks)


def _inside(structure: dict[str, Any], kind: str, component: int) -> Inside:
    found = structure[kind]
    inside = {level: found[level] for level in (*LEVELS, *(PLAIN + level for level in NORMAL))}
    return Inside(structure["config_type"], found["n"], inside, component)


def _row(kind: str, config: str, parts: list[Inside], numbers: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table; its numbers go into ``numbers``."""
    n = sum(part.n for part in parts)
    cells = []
    for level in (*LEVELS, *(PLAIN + level for level in NORMAL)):
        found = coverage_of(parts, level) if n else None
        if level in LEVELS:
            cells.append("" if found is None else str(found))
        if found is not None:
            numbers[f"{kind}/{config}/coverage_{level}"] = found.fraction
            numbers[f"{kind}/{config}/coverage_{level}_low"] = found.low
            numbers[f"{kind}/{config}/coverage_{level}_high"] = found.high
    if n:
        plain = (100.0 * numbers[f"{kind}/{config}/coverage_{PLAIN}{level}"] for level in NORMAL)
        cells.append(" ".join(f"{value:.1f} %" for value in plain))
    else:
        cells.append("")
    numbers[f"{kind}/{config}/n"] = n
    return (f"{kind.partition('/')[2]}, {config}", str(len(parts)), str(n), *cells)


def stratified_folds(kinds: list[str], n_folds: int, seed: int = SEEDS[0]) -> list[int]:
    """Return the fold of each structure: random, with shares of each kind that differ by at most one."""
    generator = np.random.default_rng(seed)
    fold_of, position = np.zeros(len(kinds), dtype=int), 0
    for kind in sorted(set(kinds)):
        members = np.flatnonzero(np.array(kinds) == kind)
        for index in generator.permutation(members):
            fold_of[index] = position % n_folds
            position += 1
    return fold_of.tolist()


def measure_fold(files: list[str], fold_of: list[int], fold: int, quick: bool) -> dict[str, Any]:
    """Fit without a fold and compare on it; counts by structure."""
    import time

    import castile
    from benchmarks.calibration_sets import _labelled

    structures = _structures(files, quick)
    train = [_labelled(s) for s, f in zip(structures, fold_of, strict=True) if f != fold]
    test = [s for s, f in zip(structures, fold_of, strict=True) if f == fold]
    started = time.perf_counter()
    gap = castile.GAP(**({"n_sparse": 60} if quick else {})).fit(train)
    seconds = time.perf_counter() - started
    predictions = gap.predict_many_with_uncertainty((s.atoms for s in test), method="exact")
    found = []
    for structure, predicted in zip(test, predictions, strict=True):
        errors = {
            "energy": np.array(predicted.prediction.energy - structure.energy),
            "forces": predicted.prediction.forces - structure.forces,
        }
        entry = {"config_type": structure.config_type, "n_atoms": len(structure.atoms)}
        counts = {"energy": _counts("energy", errors["energy"], predicted, np.array(True))}
        counts["force"] = _counts("forces", errors["forces"], predicted, ~predicted.forces_fixed)
        found.append(entry | counts)
    return {"structures": found, "fit_seconds": seconds}


def _structures(files: list[str], quick: bool) -> list[Any]:
    from castile.structures import as_source

    return [s for file in files for s in as_source(Path(file))][:: 8 if quick else 1]


def _counts(kind: str, errors: Any, predicted: Any, counted: Any) -> dict[str, int]:
    """How many of the errors there are and are inside of each interval, and of plain multiples."""
    sizes, deviations = np.abs(errors)[counted], getattr(predicted, f"{kind}_std") * np.ones(np.shape(errors))
    inside = {
        level: int(np.sum(sizes <= predicted.interval(kind, p)[counted])) for level, p in LEVELS.items()
    }
    plain = {
        PLAIN + level: int(np.sum(sizes <= limit * deviations[counted])) for level, limit in NORMAL.items()
    }
    return {"n": int(np.size(sizes)), **inside, **plain}
