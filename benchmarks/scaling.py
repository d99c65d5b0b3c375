"""Cost and memory of an energy-and-forces call with the number of atoms."""

from typing import Any

from benchmarks.isolation import peak_memory_bytes, run_isolated
from benchmarks.records import Check, Record, Table, figure

REPEATS = {1_000: (5, 5, 5), 10_648: (11, 11, 11), 97_336: (23, 23, 23), 1_000_000: (50, 50, 50)}
QUICK_REPEATS = {512: (4, 4, 4), 1_000: (5, 5, 5), 10_648: (11, 11, 11)}


def scaling(quick: bool, threads: int) -> Record:
    """Silicon from a thousand to a million atoms, 1000 sparse points, each size in a process of its own."""
    sizes = QUICK_REPEATS if quick else REPEATS
    runs: dict[int, dict[str, float]] = {}
    for n_atoms, repeats in sizes.items():
        arguments: dict[str, Any] = {
            "repeats": list(repeats),
            "threads": threads,
            "n_sparse": 100 if quick else 1000,
        }
        runs[n_atoms] = run_isolated("benchmarks.scaling:measure_size", arguments, threads)
    rows = tuple(
        (str(n), figure(run["us_per_atom"]), figure(run["peak_memory_bytes"] / 1e9))
        for n, run in runs.items()
    )
    costs = [run["us_per_atom"] for run in runs.values()]
    largest = max(runs)
    checks = (
        Check("microseconds per atom, largest over smallest", max(costs) / min(costs), 1.3, "x"),
        Check(f"peak memory, {largest} atoms", runs[largest]["peak_memory_bytes"] / 1e9, 8.0, "GB"),
    )
    numbers = {f"atoms_{n}_{key}": value for n, run in runs.items() for key, value in run.items()}
    title = f"Si, 1000 sparse points, n 8, l 8, zeta 4, cutoff 5.4 A, {threads} threads"
    table = Table(title, ("atoms", "microseconds per atom", "peak memory (GB)"), rows)
    return Record("scaling", quick, numbers, checks, (table,))


def measure_size(repeats: list[int], threads: int, n_sparse: int) -> dict[str, float]:
    """Median microseconds per atom of energy, forces and stress, and the peak memory of the process."""
    import statistics
    import time

    from benchmarks.models import random_model, silicon_system
    from benchmarks.systems import rattled, silicon

    model = random_model(silicon_system((4, 4, 4)), n_sparse, 4.0)
    model.predict(rattled(silicon((2, 2, 2)), 3), threads)
    atoms = rattled(silicon((repeats[0], repeats[1], repeats[2])), 4)
    seconds = []
    for _ in range(7 if len(atoms) < 50_000 else 3 if len(atoms) < 500_000 else 1):
        started = time.perf_counter()
        model.predict(atoms, threads)
        seconds.append(time.perf_counter() - started)
    return {
        "us_per_atom": 1e6 * statistics.median(seconds) / len(atoms),
        "peak_memory_bytes": float(peak_memory_bytes()),
    }
