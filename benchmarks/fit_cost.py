"""What a fit costs: with the number of structures, and beside QUIP's gap_fit."""

import tempfile
from typing import Any

from benchmarks.accuracy import GAP_FIT_BYTES, GAP_FIT_SECONDS, PUBLISHED
from benchmarks.data import data_files
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table, figure


def fit_memory(quick: bool, threads: int) -> Record:
    """The silicon set once, three times and ten times: peak memory and time."""
    (train,) = data_files("mlearn/Si_training.xyz.gz")
    options = PUBLISHED | ({"n_sparse": 100} if quick else {})
    source = f"{train}@::20" if quick else train
    runs: dict[int, dict[str, Any]] = {}
    for times in (1, 3, 10):
        arguments = {"train": [source] * times, "options": options}
        runs[times] = run_isolated("benchmarks.fits:fit_only", arguments, threads)
    rows = tuple(
        (
            str(times),
            str(run["n_structures"]),
            figure(run["fit_seconds"]),
            figure(1e3 * run["fit_seconds"] / run["n_structures"]),
            figure(run["fit_peak_memory_bytes"] / 1e9),
        )
        for times, run in runs.items()
    )
    memory = runs[10]["fit_peak_memory_bytes"] / runs[1]["fit_peak_memory_bytes"]
    columns = ("repeats", "structures", "wall time (s)", "per structure (ms)", "peak memory (GB)")
    checks = (Check("peak memory, ten times the set over once", memory, 1.15, "x"),)
    numbers = {
        f"repeats_{times}_{key}": run[key]
        for times, run in runs.items()
        for key in ("fit_seconds", "fit_peak_memory_bytes", "n_structures")
    }
    title = "Si set repeated, published hyper-parameters, forces and energies"
    return Record("fit-memory", quick, numbers, checks, (Table(title, columns, rows),))


def fit_ratio(quick: bool, threads: int) -> Record:
    """Castile and gap_fit on the silicon set, same sizes, forces and energies."""
    from benchmarks.models import gap_fit_command

    gap_fit_command()
    (train,) = data_files("mlearn/Si_training.xyz.gz")
    source, n_sparse = (f"{train}@::40", 100) if quick else (train, 1000)
    arguments: dict[str, Any] = {"train": [source], "options": PUBLISHED | {"n_sparse": n_sparse}}
    own = run_isolated("benchmarks.fits:fit_only", arguments, threads)
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        arguments = {"frames": source, "n_sparse": n_sparse, "folder": folder}
        other = run_isolated("benchmarks.fits:gap_fit_cost", arguments, threads)
    rows = tuple(
        (name, figure(run["fit_seconds"]), figure(run["fit_peak_memory_bytes"] / 1e9))
        for name, run in (("castile", own), ("gap_fit", other))
    )
    checks = (
        Check(
            "gap_fit's time over Castile's", other["fit_seconds"] / own["fit_seconds"], 25, "x", "at least"
        ),
        Check("Castile's peak memory", own["fit_peak_memory_bytes"] / 1e9, GAP_FIT_BYTES / 10 / 1e9, "GB"),
    )
    numbers = {
        f"{name}_{key}": run[key]
        for name, run in (("castile", own), ("gap_fit", other))
        for key in ("fit_seconds", "fit_peak_memory_bytes")
    }
    title = f"{own['n_structures']} Si structures, {own['n_atoms']} atoms, {n_sparse} sparse points"
    notes = (
        "Castile's time includes what gap_fit does not do: noise learned from the evidence, and deviations "
        "calibrated on structures that are left out",
        f"the memory target is a tenth of what gap_fit took on another machine: {GAP_FIT_BYTES / 1e9:g} GB, "
        f"in {GAP_FIT_SECONDS} s",
    )
    table = Table(title, ("", "wall time (s)", "peak memory (GB)"), rows)
    return Record("fit-ratio", quick, numbers, checks, (table,), notes)
