"""Time, memory and pruning of an exact split with the number of structures or environments."""

import time
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.isolation import peak_memory_bytes, run_isolated
from benchmarks.records import Check, Record, Table, figure

SIZES, QUICK_SIZES = (10_000, 30_000, 100_000), (300, 1000)
THRESHOLDS = {"environments": 0.9999, "structures": 0.9992}
KINDS = ("environments", "structures")
MILLION = 1_000_000


def split_scale(quick: bool, threads: int) -> Record:
    """Components and certificate of molecules and crystals of many shapes, each size in its own process."""
    runs: dict[tuple[str, int], dict[str, float]] = {}
    for kind in KINDS:
        for n in QUICK_SIZES if quick else SIZES:
            arguments: dict[str, Any] = {"kind": kind, "n": n, "threads": threads}
            runs[kind, n] = run_isolated("benchmarks.split_scale:measure", arguments, threads)
    rows = tuple(
        (
            f"{n:,} {kind}", figure(run["describe_seconds"]), figure(run["components_seconds"]),
            figure(run["certificate_seconds"]), figure(run["total_seconds"] / 60.0),
            figure(run["peak_memory_bytes"] / 1e9), f"{100.0 * run['pruned_fraction']:.4f}",
            f"{int(run['n_components']):,}",
        )
        for (kind, n), run in runs.items()
    )  # fmt: skip
    columns = (
        "", "describing (s)", "components (s)", "certificate (s)", "in all (min)", "peak memory (GB)",
        "pairs excluded by bounds (%)", "components",
    )  # fmt: skip
    numbers = {f"{kind}_{n}_{key}": value for (kind, n), run in runs.items() for key, value in run.items()}
    checks, notes = [], []
    for kind in KINDS:
        largest = max(n for k, n in runs if k == kind)
        run = runs[kind, largest]
        if not quick:
            checks.append(Check(f"{largest:,} {kind}", run["total_seconds"] / 60.0, 15.0, "min"))
            checks.append(Check(f"{largest:,} {kind}", run["peak_memory_bytes"] / 1e9, 6.0, "GB"))
        hours = extrapolated(run, largest, MILLION) / 3600.0
        numbers[f"{kind}_million_extrapolated_hours"] = hours
        notes.append(
            f"a million {kind}, extrapolated from {largest:,} (describing in proportion, pairs as the square)"
            f": {hours:.1f} h"
        )
    title = f"Exact split of rattled molecules (best match) and environments (largest), {threads} threads"
    return Record("split-scale", quick, numbers, tuple(checks), (Table(title, columns, rows),), tuple(notes))


def extrapolated(run: dict[str, float], n: int, wanted: int) -> float:
    """Seconds for ``wanted`` rows: describing grows in proportion, comparing with the square."""
    factor = wanted / n
    pairs = run["components_seconds"] + run["certificate_seconds"]
    return factor * run["describe_seconds"] + factor**2 * pairs


def measure(kind: str, n: int, threads: int) -> dict[str, float]:
    """Seconds of the steps, peak memory and pruning."""
    from castile.splits.assignment import assign_components
    from castile.splits.certificate import certify
    from castile.splits.search import find_components
    from castile.splits.settings import SimilaritySettings
    from castile.splits.similarity_index import build_index
    from castile.splits.structure_table import table_of

    table = table_of(many_molecules(n) if kind == "structures" else many_crystals(n))
    settings = SimilaritySettings(kernel="best-match" if kind == "structures" else "largest")
    build_index(table_of([table.atoms(0), table.atoms(1)]), settings)
    started = time.perf_counter()
    index = build_index(table, settings)
    described = time.perf_counter()
    components = find_components(index, THRESHOLDS[kind])
    connected = time.perf_counter()
    parts = assign_components(components.labels, (0.8, 0.1, 0.1)).parts
    certificate = certify(index, parts)
    ended = time.perf_counter()
    assert certificate.largest_similarity <= THRESHOLDS[kind]
    return {
        "describe_seconds": described - started,
        "components_seconds": connected - described,
        "certificate_seconds": ended - connected,
        "total_seconds": ended - started,
        "peak_memory_bytes": float(peak_memory_bytes()),
        "pruned_fraction": components.cost.pruned_fraction,
        "n_components": float(len(components.sizes)),
        "n_candidates": float(components.cost.n_candidates),
        "n_exact": float(components.cost.n_exact),
        "n_rows": float(len(index.owner)),
    }


def many_molecules(n: int) -> list[Atoms]:
    """Organic molecules in thermal motion: every tenth is a near-twin of the one before."""
    from ase.build import molecule

    names = (
        "CH3CH2OH", "CH3COOH", "CH3CHO", "C2H6NH", "CH3CH2NH2", "CH3CONH2", "CH3COCH3", "isobutane",
        "trans-butane", "C6H6", "C5H5N", "C4H4O", "C4H4NH", "CH3OCH3", "CH3NO2", "C3H8",
    )  # fmt: skip
    generator = np.random.default_rng(0)
    structures: list[Atoms] = []
    for k in range(n):
        if k % 10 == 9:
            atoms, scale = structures[-1].copy(), 0.005
        else:
            atoms, scale = molecule(names[k % len(names)]), 0.08
        atoms.positions += generator.normal(scale=scale, size=atoms.positions.shape)
        structures.append(atoms)
    return structures


def many_crystals(n: int) -> list[Atoms]:
    """Rattled silicon cells with n atoms in all."""
    from ase.build import bulk

    generator = np.random.default_rng(1)
    structures: list[Atoms] = []
    while 8 * len(structures) < n:
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell.array * generator.uniform(0.92, 1.08, size=(3, 1)), scale_atoms=True)
        atoms.positions += generator.normal(scale=0.15, size=atoms.positions.shape)
        structures.append(atoms)
    return structures
