"""`python -m benchmarks barriers-screening`: ten thousand hops of generated crystals, once killed."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import write
from ase.spacegroup import crystal

from benchmarks.data import data_files
from benchmarks.isolation import ChildFailed, pinned_environment
from benchmarks.records import Check, Record, Table, figure
from benchmarks.stream import family, peak_bytes

N_HOPS, QUICK_HOPS = 10_000, 60
SECONDS = 120.0
_POLL_SECONDS = 0.1
_KILL_POLL_SECONDS = 0.01
_OLIVINE = [
    (0, 0, 0), (0.282, 0.25, 0.975), (0.095, 0.25, 0.418), (0.097, 0.25, 0.743), (0.457, 0.25, 0.206),
    (0.166, 0.046, 0.285),
]  # fmt: skip
METALS = ("Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni")


@dataclass(frozen=True)
class Run:
    """What one screening took: seconds of wall and of processor time, peak memory of all its processes."""

    wall: float
    processor: float
    peak_bytes: float
    n_hops: int
    n_crystals: int
    ranking: tuple[str, ...]


def barriers_screening(quick: bool, threads: int) -> Record:
    """Screen generated crystals in one process killed half-way and started again, then by workers."""
    wanted = QUICK_HOPS if quick else N_HOPS
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as name:
        folder = Path(name)
        n_written = write_crystals(folder / "crystals", wanted)
        data = data_files("barriers/train.xyz.gz")[0]
        _castile(["barriers", "fit", str(data), "-o", "model.castile"], folder, threads)
        one = _screen(folder, "one", [])
        workers = _screen(folder, "workers", ["--workers", str(threads)])
        killed, n_kept = _killed_and_restarted(folder)
    numbers: dict[str, float | int] = {"n_crystals": one.n_crystals, "n_hops": one.n_hops}
    rows = []
    runs = (("one process", one), (f"{threads} worker processes", workers), ("killed, restarted", killed))
    for (label, run), key in zip(runs, ("one", "workers", "restarted"), strict=True):
        numbers |= {
            f"{key}_wall_seconds": run.wall,
            f"{key}_peak_memory_bytes": run.peak_bytes,
            f"{key}_same_ranking": int(run.ranking == one.ranking),
        }
        cells = ["", ""]  # worker processes are not waited for, so that their processor time is not known
        if key != "workers":
            numbers[f"{key}_cpu_seconds"] = run.processor
            cells = [figure(run.processor), figure(1000 * run.processor / run.n_hops)]
        rows.append((label, figure(run.wall), *cells, figure(run.peak_bytes / 1e9)))
    numbers["restart_n_crystals_kept"] = n_kept
    scale = N_HOPS / max(one.n_hops, 1)
    checks = (
        Check("10,000 hops, wall time, the faster way", scale * min(one.wall, workers.wall), SECONDS, "s"),
        Check("rankings that differ from the first", sum(r.ranking != one.ranking for _, r in runs), 0.0, ""),
    )
    columns = ("castile barriers screen", "wall (s)", "processor (s)", "ms per hop", "peak memory (GB)")
    table = Table(f"{one.n_hops} hops of {one.n_crystals} crystals, {threads} threads", columns, tuple(rows))
    notes = (
        f"Crystals: {n_written} oxides, olivines, spinels, anti-perovskites and fluorides of lithium, "
        "strained and rattled at random, half as CIF files, half in an ASE database. The third run was ended "
        f"by SIGKILL; {n_kept} crystals were kept and not done again; its processor time is that of the "
        "second part. Start of the program is included.",
    )
    return Record("barriers-screening", quick, numbers, checks, (table,), notes)


def prototype(kind: int, generator: np.random.Generator) -> Atoms:
    """One of five families of lithium compounds, its metal, size and atoms varied at random."""
    metal, stretch = str(generator.choice(METALS)), float(generator.uniform(0.97, 1.05))
    if kind == 0:
        cell = (2.85 * stretch, 2.85 * stretch, 14.1 * stretch, 90, 90, 120)
        atoms = crystal(
            ["Li", metal, "O"], [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.24)], spacegroup=166, cellpar=cell
        )
    elif kind == 1:
        cell = (10.33 * stretch, 6.01 * stretch, 4.69 * stretch, 90, 90, 90)
        atoms = crystal(["Li", metal, "P", "O", "O", "O"], _OLIVINE, spacegroup=62, cellpar=cell)
    elif kind == 2:
        places, length = [(0.125,) * 3, (0.5,) * 3, (0.2625,) * 3], 8.2 * stretch
        atoms = crystal(
            ["Li", metal, "O"],
            places,
            spacegroup=227,
            setting=2,
            cellpar=[length] * 3 + [90] * 3,
            primitive_cell=True,
        )
    elif kind == 3:
        halogen = str(generator.choice(("Cl", "Br")))
        places = [(0.5, 0, 0.5), (0.5, 0.5, 0.5), (0, 0, 0)]
        atoms = crystal(["Li", "O", halogen], places, spacegroup=221, cellpar=[3.95 * stretch] * 3 + [90] * 3)
    else:
        places = [(0.25, 0.25, 0.25), (0, 0, 0), (0.24, 0, 0)]
        atoms = crystal(["Li", metal, "F"], places, spacegroup=225, cellpar=[8.4 * stretch] * 3 + [90] * 3)
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    plain.positions += generator.normal(0.0, 0.03, plain.positions.shape)
    return plain


def write_crystals(folder: Path, n_hops: int) -> int:
    """Write crystals until they have ``n_hops`` symmetry-distinct hops; returns their number."""
    from castile.barriers.hops import find_hops

    folder.mkdir()
    generator, number, found = np.random.default_rng(0), 0, 0
    with connect(str(folder / "crystals.db")) as database:
        while found < n_hops:
            atoms = prototype(number % 5, generator)
            if number % 2:
                write(folder / f"crystal{number}.cif", atoms)
            else:
                database.write(atoms, name=f"crystal{number}")
            found += sum(1 for _ in find_hops(atoms, "Li", "x", most=100))
            number += 1
    return number


def _screen(folder: Path, name: str, options: list[str]) -> Run:
    """Screen all crystals, from nothing or from the journal that is there."""
    arguments = [
        "barriers", "screen", "crystals", "--mobile", "Li", "--model", "model.castile", "-o", f"{name}.csv",
        "--json", f"{name}.json", *options,
    ]  # fmt: skip
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = _started(arguments, folder, 1)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(peak_bytes(each) for each in family(process.pid)))
        time.sleep(_POLL_SECONDS)
    wall = time.perf_counter() - started
    _require_success(process, arguments, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    counts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with open(folder / f"{name}.csv", encoding="utf-8", newline="") as file:
        ranking = tuple(",".join(row) for row in csv.reader(file))
    return Run(wall, processor, peak, counts["n_hops"], counts["n_crystals"], ranking)


def _killed_and_restarted(folder: Path) -> tuple[Run, int]:
    """Kill a screening when about half of its crystals are in the journal, and let it go on."""
    journal = folder / "killed.csv.journal.jsonl"
    enough = (folder / "one.csv").read_text(encoding="utf-8").count("\n") // 2
    arguments = [
        "barriers", "screen", "crystals", "--mobile", "Li", "--model", "model.castile", "-o", "killed.csv",
    ]  # fmt: skip
    started = time.perf_counter()
    process = _started(arguments, folder, 1)
    while process.poll() is None and _lines(journal) < enough:
        time.sleep(_KILL_POLL_SECONDS)
    if process.poll() is not None:
        raise RuntimeError("the screening ended before it could be killed; give it more hops")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = time.perf_counter() - started
    kept = _lines(journal) - 1
    run = _screen(folder, "killed", [])
    return Run(first + run.wall, run.processor, run.peak_bytes, run.n_hops, run.n_crystals, run.ranking), kept


def _lines(path: Path) -> int:
    """Lines of a file, 0 where there is none yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _castile(arguments: list[str], folder: Path, threads: int) -> None:
    """Run a command to its end."""
    process = _started(arguments, folder, threads)
    process.wait()
    _require_success(process, arguments, folder)


def _started(arguments: list[str], folder: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start a command with its output in the file ``log``."""
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "castile.cli.main", *arguments],
            cwd=folder, env=pinned_environment(threads), stdout=log, stderr=log,
        )  # fmt: skip


def _require_success(process: subprocess.Popen[bytes], arguments: list[str], folder: Path) -> None:
    """Raise ChildFailed with the end of the output."""
    if process.returncode != 0:
        tail = (folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise ChildFailed(f"castile {' '.join(arguments)} ended with status {process.returncode}:\n{tail}")
