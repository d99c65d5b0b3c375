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

LIMITS = {"68": 0.9944578832097532, "95": 1.959963984540054}
"""Half-widths of the central intervals of a normal distribution, in deviations."""
SEED = 11


@dataclass(frozen=True)
class Inside:
    """Labels of one kind in one structure: how many there are and how many are inside each interval."""

    config_type: str
    n: int
    inside: dict[str, int]


def coverage_of(found: Iterable[Inside], level: str) -> Fraction:
    """Return the coverage over structures, whose labels are alike: the interval is Wilson's at the effective
    number of labels, p (1 - p) over the variance of the fraction between structures.
    """
    parts = [part for part in found if part.n]
    n = np.array([part.n for part in parts], dtype=float)
    k = np.array([part.inside[level] for part in parts], dtype=float)
    fraction = float(k.sum() / n.sum())
    effective = n.sum()
    if n.max() > 1 and len(parts) > 1:
        variance = len(n) / (len(n) - 1) * float(np.sum((k - fraction * n) ** 2)) / n.sum() ** 2
        if variance > 0.0:
            effective = min(effective, max(fraction * (1.0 - fraction) / variance, 1.0))
    return wilson(fraction, float(effective))


def calibration_folds(name: str, n_folds: int, quick: bool, threads: int) -> Record:
    """Fit to all folds but one, in turn; compare the errors on it with their deviations."""
    files = data_files(*(f"mlearn/{ELEMENTS[name]}_{part}.xyz.gz" for part in ("training", "test")))
    structures: list[dict[str, Any]] = []
    seconds = []
    for fold in range(n_folds):
        arguments = {"files": files, "n_folds": n_folds, "fold": fold, "quick": quick}
        found = run_isolated("benchmarks.calibration_folds:measure_fold", arguments, threads)
        structures += found["structures"]
        seconds.append(found["fit_seconds"])
        print(f"fold {fold + 1} of {n_folds}: fit {found['fit_seconds']:.0f} s", flush=True)
    numbers: dict[str, Any] = {"n_structures": len(structures), "n_folds": n_folds}
    numbers["fit_seconds"] = float(np.sum(seconds))
    kinds = {kind: [_inside(structure, kind) for structure in structures] for kind in ("energy", "force")}
    rows, checks = [], []
    for kind, parts in kinds.items():
        rows.append(_row(kind, "all", parts, numbers))
        rows += [
            _row(kind, config, [part for part in parts if part.config_type == config], numbers)
            for config in sorted({part.config_type for part in parts})
        ]
        for level, (low, high) in COVERAGE.items():
            value = 100.0 * numbers[f"{kind}/all/coverage_{level}"]
            label = f"{kind}, coverage of {level} % intervals"
            checks += [
                Check(label, value, 100.0 * low, "%", "at least"),
                Check(label, value, 100 * high, "%"),
            ]
    columns = ("", "structures", "labels", "68 % interval", "95 % interval")
    title = f"Standard deviations against errors, {n_folds} folds, each structure held out once"
    notes = (
        "default fits, each calibrated on its own training structures; training and test file together, in "
        f"random folds (seed {SEED}) with equal shares of each config_type; exact deviations",
        "in brackets the 95 % interval of each coverage (Wilson), for forces at the effective number of "
        "labels: those in a structure are alike",
        "components of forces that symmetry makes zero do not count",
    )
    return Record(
        f"calibration-{name}-folds",
        quick,
        numbers,
        tuple(checks),
        (Table(title, columns, tuple(rows)),),
        notes,
    )


def _inside(structure: dict[str, Any], kind: str) -> Inside:
    found = structure[kind]
    return Inside(structure["config_type"], found["n"], {level: found[level] for level in LIMITS})


def _row(kind: str, config: str, parts: list[Inside], numbers: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table; its numbers go into ``numbers``."""
    n = sum(part.n for part in parts)
    cells = []
    for level in LIMITS:
        found = coverage_of(parts, level) if n else None
        cells.append("" if found is None else str(found))
        if found is not None:
            numbers[f"{kind}/{config}/coverage_{level}"] = found.fraction
            numbers[f"{kind}/{config}/coverage_{level}_low"] = found.low
            numbers[f"{kind}/{config}/coverage_{level}_high"] = found.high
    numbers[f"{kind}/{config}/n"] = n
    return (f"{kind}, {config}", str(len(parts)), str(n), *cells)


def stratified_folds(kinds: list[str], n_folds: int, seed: int = SEED) -> list[int]:
    """Return the fold of each structure: random, with shares of each kind that differ by at most one."""
    generator = np.random.default_rng(seed)
    fold_of, position = np.zeros(len(kinds), dtype=int), 0
    for kind in sorted(set(kinds)):
        members = np.flatnonzero(np.array(kinds) == kind)
        for index in generator.permutation(members):
            fold_of[index] = position % n_folds
            position += 1
    return fold_of.tolist()


def measure_fold(files: list[str], n_folds: int, fold: int, quick: bool) -> dict[str, Any]:
    """Fit without a fold and compare on it; counts by structure."""
    import time

    import castile
    from benchmarks.calibration_sets import _labelled
    from castile.structures import as_source

    structures = [structure for file in files for structure in as_source(Path(file))]
    if quick:
        structures = structures[::8]
    fold_of = stratified_folds([structure.config_type for structure in structures], n_folds)
    train = [_labelled(s) for s, f in zip(structures, fold_of, strict=True) if f != fold]
    test = [s for s, f in zip(structures, fold_of, strict=True) if f == fold]
    started = time.perf_counter()
    gap = castile.GAP(**({"n_sparse": 60} if quick else {})).fit(train)
    seconds = time.perf_counter() - started
    predictions = gap.predict_many_with_uncertainty((s.atoms for s in test), method="exact")
    found = []
    for structure, predicted in zip(test, predictions, strict=True):
        energy = np.array([(predicted.prediction.energy - structure.energy) / predicted.energy_std])
        free = ~predicted.forces_fixed
        forces = (predicted.prediction.forces - structure.forces)[free] / predicted.forces_std[free]
        entry = {"config_type": structure.config_type, "n_atoms": len(structure.atoms)}
        found.append(entry | {"energy": _counts(energy), "force": _counts(forces)})
    return {"structures": found, "fit_seconds": seconds}


def _counts(ratios: Any) -> dict[str, int]:
    """How many of the errors, in deviations, there are and are inside of each interval."""
    inside = {level: int(np.sum(np.abs(ratios) <= limit)) for level, limit in LIMITS.items()}
    return {"n": int(np.size(ratios)), **inside}
