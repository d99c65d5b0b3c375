"""Seconds from the command line to the first answer, with a cold and a warm compile cache."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.isolation import pinned_environment
from benchmarks.records import Check, Record, Table, figure

FIRST_ENERGY = """
import sys
import castile
from ase.build import bulk
castile.load(sys.argv[1]).predict(bulk("Cu", cubic=True))
"""


def startup(quick: bool, threads: int) -> Record:
    """Wall times of whole processes; medians."""
    repeats = 3 if quick else 7
    castile = shutil.which("castile", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    command = [castile] if castile else [sys.executable, "-c", "from castile.cli.main import main; main()"]
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        model = Path(folder, "small.castile")
        environment = pinned_environment(threads)
        make = f"from benchmarks.models import small_fitted_model; small_fitted_model({str(model)!r})"
        _run([sys.executable, "-c", make], environment)
        first = [sys.executable, "-c", FIRST_ENERGY, str(model)]
        fresh = environment | {"NUMBA_CACHE_DIR": str(Path(folder, "numba"))}
        cold, output = _run(first, fresh)
        numbers: dict[str, float | bool] = {
            "python_seconds": _median([sys.executable, "-c", "pass"], environment, repeats),
            "help_seconds": _median([*command, "--help"], environment, repeats),
            "import_seconds": _median([sys.executable, "-c", "import castile"], environment, repeats),
            "import_gap_seconds": _median(
                [sys.executable, "-c", "import castile; castile.GAP"], environment, repeats
            ),
            "first_energy_cold_seconds": cold,
            "first_energy_warm_seconds": _median(first, fresh, repeats),
            "says_that_it_compiles": "compil" in output.lower(),
        }
    rows = (
        ("python -c pass", figure(numbers["python_seconds"])),
        ("castile --help", figure(numbers["help_seconds"])),
        ("import castile", figure(numbers["import_seconds"])),
        ("import castile; castile.GAP", figure(numbers["import_gap_seconds"])),
        ("load a model, first energy, warm cache", figure(numbers["first_energy_warm_seconds"])),
        ("load a model, first energy, cold cache", figure(numbers["first_energy_cold_seconds"])),
    )
    checks = (
        Check("castile --help", numbers["help_seconds"], 0.5, "s"),
        Check("import castile", numbers["import_seconds"], 1.0, "s"),
        Check("first energy in a new process, warm cache", numbers["first_energy_warm_seconds"], 2.5, "s"),
        Check("first energy in a new process, cold cache", numbers["first_energy_cold_seconds"], 30.0, "s"),
    )
    said = "says" if numbers["says_that_it_compiles"] else "does not say"
    notes = (f"with a cold cache the process {said} that it is compiling",)
    return Record("startup", quick, numbers, checks, (Table("Whole processes, s", ("", "s"), rows),), notes)


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command[:2])} ended with status {done.returncode}: {done.stderr[-800:]}"
        )
    return seconds, done.stdout + done.stderr


def _median(command: list[str], environment: dict[str, str], repeats: int) -> float:
    _run(command, environment)
    return statistics.median(_run(command, environment)[0] for _ in range(repeats))
