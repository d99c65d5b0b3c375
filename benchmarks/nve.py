"""Energy conservation of a trajectory with a fitted silicon model."""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.accuracy import silicon as fit_silicon
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table, figure

DRIFT_TARGET = 0.1
TEMPERATURE = 600.0


def nve(quick: bool, threads: int, model: str | None = None) -> Record:
    """216 silicon atoms, 10 ps at constant energy, 1 fs a step; fits the model if none is given."""
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        if model is None:
            model = str(Path(folder, "si.castile"))
            fit_silicon(quick, threads, model)
        arguments = {"model": str(Path(model).resolve()), "n_steps": 200 if quick else 10_000}
        numbers: dict[str, Any] = run_isolated("benchmarks.nve:run_trajectory", arguments, threads)
    drift = abs(numbers["drift_mev_per_atom_per_ps"])
    rows = (
        ("atoms", str(numbers["n_atoms"])),
        ("length (ps)", figure(numbers["time_ps"])),
        ("mean temperature (K)", figure(numbers["mean_temperature_k"])),
        ("drift (meV/atom/ps)", figure(numbers["drift_mev_per_atom_per_ps"])),
        ("fluctuation of the total energy (meV/atom)", figure(numbers["fluctuation_mev_per_atom"])),
        ("wall time per step and atom (microseconds)", figure(numbers["us_per_atom_step"])),
    )
    check = Check("size of the energy drift", drift, DRIFT_TARGET, "meV/atom/ps")
    return Record("nve", quick, numbers, (check,), (Table("NVE, silicon, 1 fs", ("", "value"), rows),))


def run_trajectory(model: str, n_steps: int) -> dict[str, Any]:
    """Run the trajectory from a relaxed crystal; flat numbers."""
    import numpy as np

    import castile
    from benchmarks.systems import silicon
    from castile.simulation import MolecularDynamicsSettings, relax, run_molecular_dynamics

    calculator = castile.load(model).calculator()
    cell = silicon((1, 1, 1))
    cell.calc = calculator
    atoms = relax(cell, cell=True).atoms * (3, 3, 3)
    atoms.calc = calculator
    settings = MolecularDynamicsSettings(n_steps=n_steps, temperature_k=TEMPERATURE, log_interval=10, seed=1)
    started = time.perf_counter()
    result = run_molecular_dynamics(atoms, settings)
    seconds = time.perf_counter() - started
    energies = result.column("conserved_energy_ev") / len(atoms)
    return result.to_json_dict() | {
        "fluctuation_mev_per_atom": 1000.0 * float(np.std(energies)),
        "us_per_atom_step": 1e6 * seconds / (n_steps * len(atoms)),
        "seconds": seconds,
    }
