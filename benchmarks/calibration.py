"""Standard deviations of default fits against errors on published test sets, and what they cost."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.accuracy import molybdenum, silicon
from benchmarks.data import data_files
from benchmarks.fractions import wilson
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table, figure

ELEMENTS = {"si": "Si", "mo": "Mo"}
FITS = {"si": silicon, "mo": molybdenum}
COVERAGE = {"68": (0.63, 0.73), "95": (0.92, 0.98)}
SPEARMAN = 0.7
STRESS_NOTE = (
    "stress: shear components whose labels stand in a wrong order, and those that symmetry makes zero, count "
    "in the RMSE only"
)
ENERGIES_AT_MOST, COMMITTEE_AT_MOST = 2.0, 6.0


def calibration(name: str, quick: bool, threads: int, model: str | None = None) -> Record:
    """Coverage, ranks and scores on the test set of a default fit, which calibrated itself."""
    (test,) = data_files(f"mlearn/{ELEMENTS[name]}_test.xyz.gz")
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        if model is None:
            model = str(Path(folder, "model.castile"))
            FITS[name](quick, threads, model)
        arguments = {"model": str(Path(model).resolve()), "test": f"{test}@::8" if quick else test}
        numbers = run_isolated("benchmarks.calibration:measure", arguments, threads)
    rows = []
    for method in ("exact", "committee"):
        for kind, unit in (("energy", "mev_per_atom"), ("force", "ev_per_angstrom"), ("stress", "gpa")):
            rows.append(_row(numbers, method, kind, unit))
    columns = (
        "", "68 % interval", "95 % interval", "miscalibration area", "rms deviation", "RMSE", "Spearman",
    )  # fmt: skip
    table = Table("Standard deviations against errors on the test set", columns, tuple(rows))
    n = numbers["n_structures"]
    intervals = [wilson(numbers[f"exact/energy_coverage_{level}"], n) for level in COVERAGE]
    notes = (
        f"{n} structures: each energy moves the coverage by {100 / n:.1f} %; the coverages of the exact "
        f"deviations of energies are known as {intervals[0]} and {intervals[1]} (Wilson's 95 % intervals)",
        f"rank correlation of the norms of deviation and error of the force on an atom: "
        f"{numbers['exact/force_norm_deviation_spearman']:.3f}",
        "energies in meV/atom, forces in eV/A, stresses in GPa; force components that symmetry makes zero do "
        "not count; the test set was not used for the calibration",
        STRESS_NOTE,
    )
    return Record(f"calibration-{name}", quick, numbers, tuple(_checks(name, numbers)), (table,), notes)


def _row(numbers: dict[str, Any], method: str, kind: str, unit: str) -> tuple[str, ...]:
    prefix = f"{method}/{kind}"
    spearman = numbers.get(f"{prefix}_deviation_spearman")
    return (
        f"{kind}, {method}",
        f"{100 * numbers[f'{prefix}_coverage_68']:.1f} %",
        f"{100 * numbers[f'{prefix}_coverage_95']:.1f} %",
        f"{numbers[f'{prefix}_miscalibration_area']:.3f}",
        figure(numbers[f"{prefix}_rms_deviation_{unit}"]),
        figure(numbers[f"{prefix}_rmse_{unit}"]),
        "" if spearman is None else f"{spearman:.3f}",
    )


def _checks(name: str, numbers: dict[str, Any]) -> list[Check]:
    checks = []
    for kind in ("energy", "force"):
        for level, (low, high) in COVERAGE.items():
            value = 100.0 * numbers[f"exact/{kind}_coverage_{level}"]
            label = f"{kind}, coverage of {level} % intervals"
            checks.append(Check(label, value, 100.0 * low, "%", "at least"))
            checks.append(Check(label, value, 100.0 * high, "%"))
    if name == "si":
        found = numbers["exact/force_norm_deviation_spearman"]
        label = "rank correlation of force deviation and error"
        checks.append(Check(label, found, SPEARMAN, "", "at least"))
    return checks


def measure(model: str, test: str) -> dict[str, Any]:
    """Evaluate both methods; flat numbers."""
    import castile

    gap = castile.load(model)
    numbers: dict[str, Any] = {"calibration": gap.uncertainty.calibration.source}
    for method in ("exact", "committee"):
        found = castile.evaluate(gap, test, uncertainty=method).to_json_dict()
        numbers["n_structures"] = found["n_structures"]
        numbers |= {f"{method}/{key}": value for key, value in found.items() if not key.startswith("config/")}
    return numbers


def cost(quick: bool, model: str | None = None) -> Record:
    """Processor time of deviations over that of a plain prediction, one thread, silicon."""
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        if model is None:
            model = str(Path(folder, "si.castile"))
            silicon(quick, 2, model)
        arguments = {"model": str(Path(model).resolve()), "rounds": 3 if quick else 25}
        numbers: dict[str, Any] = run_isolated("benchmarks.calibration:measure_cost", arguments, 1)
    rows = [
        (label, figure(numbers[f"{key}_us_per_atom"]), figure(numbers[f"{key}_ratio"]))
        for key, label in (
            ("plain", "energy and forces"),
            ("energies", "and deviations of the per-atom energies"),
            ("committee", "and deviations of forces and stress, committee of 8"),
            ("exact", "the same, exact"),
        )
    ]
    columns = ("", "processor time per atom (microseconds)", "over plain")
    table = Table(f"Cost of deviations, {numbers['n_atoms']} silicon atoms, one thread", columns, tuple(rows))
    checks = (
        Check(
            "per-atom energy deviations, cost with prediction",
            numbers["energies_ratio"],
            ENERGIES_AT_MOST,
            "x",
        ),
        Check("committee of 8, cost with prediction", numbers["committee_ratio"], COMMITTEE_AT_MOST, "x"),
    )
    note = "smallest processor time of interleaved rounds; the exact method on a part of 64 atoms"
    return Record("uncertainty-cost", quick, numbers, checks, (table,), (note,))


def measure_cost(model: str, rounds: int) -> dict[str, Any]:
    """Time the ways to predict a rattled crystal; flat numbers."""
    import castile
    from benchmarks.systems import rattled, silicon

    gap = castile.load(model, threads=1)
    large, small = rattled(silicon((4, 4, 4)), 1), rattled(silicon((2, 2, 2)), 1)
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "plain": (len(large), lambda: gap.predict(large)),
        "energies": (len(large), lambda: gap.predict_with_energy_deviations(large)),
        "committee": (len(large), lambda: gap.predict_with_uncertainty(large)),
        "exact": (len(small), lambda: gap.predict_with_uncertainty(small, method="exact")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _, call in calls.values():
        call()
    for k in range(rounds):
        for name, (_, call) in calls.items():
            if name == "exact" and k >= 3:
                continue
            started = time.process_time()
            call()
            seconds[name].append(time.process_time() - started)
    best = {name: 1e6 * min(seconds[name]) / n_atoms for name, (n_atoms, _) in calls.items()}
    numbers: dict[str, Any] = {"n_atoms": len(large)}
    numbers |= {f"{name}_us_per_atom": value for name, value in best.items()}
    return numbers | {f"{name}_ratio": value / best["plain"] for name, value in best.items()}
