"""Throughput and memory of ``castile predict`` over a long file of small structures."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.build import bulk

from benchmarks.isolation import ChildFailed, pinned_environment
from benchmarks.records import Check, Record, Table, figure
from castile.demo.data import silicon_file

N_STRUCTURES, QUICK_STRUCTURES = 100_000, 2_000
FLAT = 1.1
_POLL_SECONDS = 0.1


def stream(quick: bool, threads: int) -> Record:
    """A tenth of the file and all of it, by the threads of one process and by as many worker processes."""
    n_all = QUICK_STRUCTURES if quick else N_STRUCTURES
    numbers: dict[str, float] = {}
    rows = []
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as name:
        folder = Path(name)
        fit = ["fit", str(silicon_file("silicon_train.xyz")), "-o", "model.castile", "--n-sparse", "500"]
        run_castile(fit, folder, threads)
        for n_structures in (n_all // 10, n_all):
            write_structures(folder / "structures.xyz", n_structures)
            for workers in (0, threads):
                key = f"structures_{n_structures}_workers_{workers}"
                rate, peak = predict(folder, n_structures, threads, workers)
                numbers |= {f"{key}_per_second": rate, f"{key}_peak_memory_bytes": peak}
                who = f"{workers} worker processes" if workers else "one process"
                rows.append((f"{n_structures}, {who}", figure(rate), figure(peak / 1e9)))
    flat = [
        Check(
            f"peak memory of {n_all} structures over that of {n_all // 10}, {label}",
            numbers[f"structures_{n_all}_workers_{workers}_peak_memory_bytes"]
            / numbers[f"structures_{n_all // 10}_workers_{workers}_peak_memory_bytes"],
            FLAT,
            "x",
        )
        for workers, label in ((0, "one process"), (threads, "worker processes"))
    ]
    table = Table(
        f"castile predict, rattled 8-atom Si structures, 500 sparse points, {threads} threads",
        ("structures", "structures per second", "peak memory of all processes (GB)"),
        tuple(rows),
    )
    return Record("stream", quick, numbers, tuple(flat), (table,))


def write_structures(path: Path, n_structures: int) -> None:
    """Write rattled cubic cells; the text is made here, since ASE's writer would take most of the time."""
    crystal = bulk("Si", cubic=True)
    generator = np.random.default_rng(0)
    lattice = " ".join(f"{x:.8f}" for x in crystal.cell.array.ravel())
    head = f'{len(crystal)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(n_structures):
            positions = crystal.positions + generator.normal(scale=0.1, size=crystal.positions.shape)
            file.write(head + "".join(f"Si {x:.8f} {y:.8f} {z:.8f}\n" for x, y, z in positions))


def predict(folder: Path, n_structures: int, threads: int, workers: int) -> tuple[float, float]:
    """Structures per second, and the peak memory of all processes in bytes."""
    arguments = ["predict", "model.castile", "structures.xyz", "-o", "out.xyz", "--json", "out.json"]
    peak = run_castile([*arguments, *(["--workers", str(workers)] if workers else [])], folder, threads)
    result = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    if result["n_structures"] != n_structures:
        raise ChildFailed(f"{result['n_structures']} of {n_structures} structures were written")
    return n_structures / result["prediction_time_s"], peak


def run_castile(arguments: list[str], folder: Path, threads: int) -> float:
    """Run a command in a process of its own; returns the peak memory of it and its children in bytes.

    Raises:
        ChildFailed: it failed.

    """
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "castile.cli.main", *arguments],
            cwd=folder, env=pinned_environment(threads), stdout=log, stderr=log,
        )  # fmt: skip
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(peak_bytes(each) for each in family(process.pid)))
            time.sleep(_POLL_SECONDS)
    if process.returncode != 0:
        tail = (folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise ChildFailed(f"castile {' '.join(arguments)} ended with status {process.returncode}:\n{tail}")
    return peak


def family(process: int) -> Iterator[int]:
    """Yield a process and all its descendants, from Linux's /proc."""
    yield process
    try:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in children.read_text(encoding="ascii").split():
                yield from family(int(child))
    except OSError:  # it has ended
        return


def peak_bytes(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
