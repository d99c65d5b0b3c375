"""Error and gain of prediction in single precision."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from benchmarks.data import data_files
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table, figure

ENERGY_TARGET_MEV, FORCE_TARGET_MEV = 0.05, 1.0
MODELS = {
    "default": ("Si, no option (zeta 2)", accuracy.silicon),
    "published": ("Si, published hyper-parameters (zeta 4)", accuracy.silicon_published),
}


def precision(quick: bool, threads: int) -> Record:
    """Two silicon models on the test set, both precisions; single has to stay close to double."""
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        for key, (_, fit) in MODELS.items():
            path = str(Path(folder, f"{key}.castile"))
            fit(quick, threads, path)
            files = [str(file) for file in data_files("mlearn/Si_test.xyz.gz")]
            found = run_isolated("benchmarks.precision:compare", {"model": path, "files": files}, 1)
            numbers |= {f"{key}_{name}": value for name, value in found.items()}
    rows = tuple(
        (
            label,
            "all" if numbers[f"{key}_all_single"] else "none: double precision is kept",
            figure(numbers[f"{key}_largest_energy_change_mev_per_atom"]),
            figure(numbers[f"{key}_largest_force_change_mev_per_angstrom"]),
            figure(numbers[f"{key}_double_us_per_atom"]),
            figure(numbers[f"{key}_single_us_per_atom"]),
        )
        for key, (label, _) in MODELS.items()
    )
    columns = (
        "model", "products in single precision", "largest change of an energy (meV/atom)",
        "of a force component (meV/Å)", "double (µs/atom)", "single (µs/atom)",
    )  # fmt: skip
    checks = tuple(
        check
        for key, (label, _) in MODELS.items()
        for check in (
            Check(f"energy change, {label}", numbers[f"{key}_largest_energy_change_mev_per_atom"],
                  ENERGY_TARGET_MEV, "meV/atom"),
            Check(f"force change, {label}", numbers[f"{key}_largest_force_change_mev_per_angstrom"],
                  FORCE_TARGET_MEV, "meV/Å"),
        )
    )  # fmt: skip
    table = Table(
        "Single against double precision, silicon test set; 512 rattled atoms, one thread", columns, rows
    )
    return Record("precision", quick, numbers, checks, (table,))


def compare(model: str, files: list[str]) -> dict[str, Any]:
    """Largest changes of energies and forces over the structures, and what both precisions cost."""
    import ase.io
    import numpy as np

    import castile
    from benchmarks.systems import rattled, silicon
    from benchmarks.timing import time_interleaved

    double, single = (castile.load(model, precision=name) for name in ("double", "single"))
    energies, forces = [], []
    for path in files:
        for atoms in ase.io.iread(path, ":"):
            expected, found = double.predict(atoms), single.predict(atoms)
            energies.append(abs(found.energy - expected.energy) / len(atoms))
            forces.append(float(np.abs(found.forces - expected.forces).max()))
    large = rattled(silicon((4, 4, 4)), 5)
    timings = time_interleaved(
        {"double": lambda: double.predict(large), "single": lambda: single.predict(large)}, 9
    )
    return {
        "all_single": max(energies) > 0.0,
        "largest_energy_change_mev_per_atom": 1000.0 * max(energies),
        "largest_force_change_mev_per_angstrom": 1000.0 * max(forces),
        "double_us_per_atom": 1e6 * timings["double"].median / len(large),
        "single_us_per_atom": 1e6 * timings["single"].median / len(large),
    }
