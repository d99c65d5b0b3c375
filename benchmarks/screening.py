"""``castile screen``: 100,000 candidates in one pass, a killed run that goes on, and memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.data import data_files
from benchmarks.isolation import ChildFailed, pinned_environment, run_isolated
from benchmarks.records import Check, Record, Table, figure
from benchmarks.stream import run_castile

N_CANDIDATES, QUICK_CANDIDATES = 100_000, 2_000
MOST_SECONDS = 600.0
N_TRAINING = 400
PEROVSKITES = "properties/prop_perov5/perov5_val.extxyz.gz"
SITE_A = (
    "Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba", "Sc", "Y", "La", "Ti", "Zr", "Hf", "V", "Nb",
    "Ta", "Cr", "Mo", "W", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Al", "Ga", "In", "Sn",
)  # fmt: skip
SITE_X = ("O", "N", "F", "S")
GENERATOR = """
[[generator]]
name = "perovskite"
prototypes = ["{prototype}"]
supercell = [1, 1, 2]
substitute = {{{a} = {elements}, {b} = {elements}, {x} = {anions}}}
distort = {{volume = [-0.05, 0.0, 0.05], strain = 0.04, displacement = 0.05, copies = 10}}
distinct = false
number = {number}
"""


def screening(quick: bool, threads: int) -> Record:
    """Throughput and memory of a tenth of the candidates and of all of them; kill and resume."""
    n_all = QUICK_CANDIDATES if quick else N_CANDIDATES
    (perovskites,) = data_files(PEROVSKITES)
    numbers: dict[str, Any] = {}
    rows = []
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as name:
        folder = Path(name)
        fit = {"data": perovskites, "model": str(folder / "model.castile"), "n": 40 if quick else N_TRAINING}
        elements = run_isolated("benchmarks.screening:fit_model", fit, threads)
        for n_candidates in (n_all // 10, n_all):
            write_generator(folder / "candidates.toml", perovskites, elements, n_candidates)
            measured = run_screen(folder, "whole", threads)
            key = f"candidates_{n_candidates}"
            numbers |= {f"{key}_{name}": value for name, value in measured.items()}
            rows.append((
                f"{n_candidates:,}", figure(measured["total_s"]), figure(measured["processor_time_s"]),
                figure(1e3 * measured["processor_time_s"] / n_candidates),
                figure(measured["peak_memory_bytes"] / 1e9),
            ))  # fmt: skip
        write_generator(folder / "candidates.toml", perovskites, elements, n_all // 10)
        run_screen(folder, "whole", threads)
        share = kill_screen(folder, "cut", threads, n_all // 10)
        run_screen(folder, "cut", threads)
        identical = all(
            (folder / f"cut{end}").read_bytes() == (folder / f"whole{end}").read_bytes()
            for end in (".csv", "-all.csv")
        )
    peaks = [numbers[f"candidates_{n}_peak_memory_bytes"] for n in (n_all // 10, n_all)]
    numbers |= {"killed_at_share": share, "resumed_output_identical": identical}
    checks = (
        Check(
            f"{n_all:,} candidates of 10 atoms, wall",
            numbers[f"candidates_{n_all}_total_s"],
            MOST_SECONDS,
            "s",
        ),
        Check(f"peak memory of {n_all:,} over that of {n_all // 10:,}", peaks[1] / peaks[0], 1.1, "x"),
        Check("output after kill -9 and resume is identical", float(identical), 1.0, "", "at least"),
    )
    table = Table(
        f"castile screen, generated ABX3 perovskites of 10 atoms, {threads} threads",
        ("candidates", "wall (s)", "processor (s)", "processor (ms each)", "peak memory (GB)"), tuple(rows),
    )  # fmt: skip
    notes = (
        f"model: Gaussian process on SOAP (6 element channels), {fit['n']} training structures of perov5, "
        "heat of formation; expected improvement, 100 winners, filters off",
        "wall: the whole command, start-up and outputs (winners, all candidates as CSV) included; the kill "
        f"came after {100 * share:.0f} % of the candidates",
    )
    return Record("screening", quick, numbers, checks, (table,), notes)


def fit_model(data: str, model: str, n: int) -> list[str]:
    """Fit the model of the benchmark and save it; returns the elements that it knows."""
    import ase.io
    import numpy as np
    from ase.data import chemical_symbols

    from castile.properties import PropertyModel, make_descriptor

    structures = ase.io.read(data, ":")
    chosen = np.random.default_rng(0).permutation(len(structures))[:n]
    structures = [structures[k] for k in chosen]
    made = PropertyModel(make_descriptor("soap", {"channels": 6}), target="heat_all", unit="eV/atom")
    made.fit(structures, [atoms.info["heat_all"] for atoms in structures])
    made.save(model)
    return [chemical_symbols[z] for z in made.descriptor.seen_.species]


def write_generator(path: Path, data: str, known: list[str], number: int) -> None:
    """Write the file of the generator; only elements that the model knows."""
    import ase.io

    first = ase.io.read(data, 0)
    counts = first.symbols.formula.count()
    x = max(counts, key=lambda symbol: counts[symbol])
    a, b = (symbol for symbol in counts if symbol != x)
    text = GENERATOR.format(
        prototype=f"{data}@0", a=a, b=b, x=x, number=number,
        elements=json.dumps([symbol for symbol in SITE_A if symbol in known]),
        anions=json.dumps([symbol for symbol in SITE_X if symbol in known]),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def screen_command(name: str) -> list[str]:
    """Arguments of the screening."""
    return [
        "screen", "candidates.toml", "--model", "model.castile", "-o", f"{name}.csv",
        "--all", f"{name}-all.csv", "--objective", "ei", "--top", "100", "--json", f"{name}.json",
    ]  # fmt: skip


def run_screen(folder: Path, name: str, threads: int) -> dict[str, float]:
    """Numbers of a run: those of the command, its wall time and the peak memory of its process."""
    start = time.perf_counter()
    peak = run_castile(screen_command(name), folder, threads)
    total = time.perf_counter() - start
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    kept = ("n_read", "n_predicted", "n_skipped", "wall_time_s", "processor_time_s")
    return {key: found[key] for key in kept} | {"total_s": total, "peak_memory_bytes": peak}


def kill_screen(folder: Path, name: str, threads: int, n_candidates: int) -> float:
    """Kill a run when about half of it is in the journal; returns the share that was done.

    Raises:
        ChildFailed: it ended before.

    """
    journal = folder / f"{name}.csv.journal"
    process = subprocess.Popen(
        [sys.executable, "-m", "castile.cli.main", *screen_command(name)],
        cwd=folder, env=pinned_environment(threads), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    n_batches = -(-n_candidates // 64)
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > n_batches // 2:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    if process.wait() != -signal.SIGKILL:
        raise ChildFailed("the screening ended before it could be killed")
    return (journal.read_bytes().count(b"\n") - 1) / n_batches
