"""Active learning with real oracles: calls saved on the fly, and campaigns that are killed or fail."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.isolation import ROOT
from benchmarks.records import Check, Record, Table, figure

N_FRAMES = 50
N_KILLS = 20
ORACLES = ROOT / "tests" / "active"
EMT_MODEL = "\n[model]\npair = []\n\n[[model.soap]]\ncutoff = 4.0\nn_max = 4\nl_max = 3\nn_sparse = 30\n"


@dataclass(frozen=True)
class Flight:
    """One on-the-fly run: structure, oracle, temperature (K), steps and their length (fs), target (eV/A)."""

    key: str
    label: str
    oracle: str
    structure: str
    temperature: float
    n_steps: int
    time_step: float
    target: float


FLIGHTS = (
    Flight("ethanol", "ethanol, GFN2-xTB", 'preset = "tblite"\noptions = { method = "GFN2-xTB" }',
           "ethanol", 500.0, 20_000, 0.5, 0.06),
    Flight("nacl", "NaCl, 8 atoms, GFN1-xTB", 'preset = "tblite"\noptions = { method = "GFN1-xTB" }',
           "nacl", 800.0, 5_000, 2.0, 0.04),
    Flight("si", "Si, 8 atoms, Quantum ESPRESSO (PBE)",
           'preset = "espresso"\noptions = { pseudopotentials = { Si = "Si.pbe-rrkj.UPF" }, '
           "plane_wave_cutoff_ry = 18, k_spacing_per_angstrom = 0.6 }", "si", 600.0, 5_000, 2.0, 0.06),
)  # fmt: skip


def learning(part: str, quick: bool) -> Record:
    """Run one of `PARTS`."""
    with tempfile.TemporaryDirectory(prefix="castile-learning-") as folder:
        flight = next((f for f in FLIGHTS if f.key == part), None)
        if flight is not None:
            found = fly(flight, Path(folder, part), quick)
            table = Table("On the fly, NVT, 10 ps", FLIGHT_COLUMNS, (flight_row(flight, found),))
            checks = flight_checks(flight, found)
        else:
            found = DAMAGES[part](Path(folder, part), quick)
            table, checks = _damage_table(part, found), damage_checks(part, found)
    return Record(f"learning-{part}", quick, found, tuple(checks), (table,))


FLIGHT_COLUMNS = (
    "", "temperature (K)", "steps", "calls", "steps without a call (%)", "force RMSE, 50 later frames (eV/Å)",
    "predicted (eV/Å)", "time (min)", "oracle (s a call)", "oracle for every step (h)",
)  # fmt: skip


def fly(flight: Flight, folder: Path, quick: bool) -> dict[str, Any]:
    """Learn on the fly for 10 ps, then compare 50 frames of another trajectory with the oracle."""
    from castile.active.campaign import run_campaign
    from castile.active.status import campaign_status

    folder.mkdir()
    n_steps = flight.n_steps // 20 if quick else flight.n_steps
    _write_start(flight.structure, folder / "start.xyz")
    path = folder / "campaign.toml"
    path.write_text(
        f"[oracle]\n{flight.oracle}\ntimeout_s = 600\n[[explore]]\nkind = 'md'\nstructures = ['start.xyz']\n"
        f"temperature_k = {flight.temperature}\ntime_step_fs = {flight.time_step}\nn_steps = {n_steps}\n"
        f"[stop]\nforce_error = {flight.target}\nmax_calculations = 1000\nmax_cycles = 1\n"
        f"min_fresh = 20\nn_verified = 8\n"
    )
    started = time.perf_counter()
    outcome = run_campaign(path)
    seconds = time.perf_counter() - started
    status = campaign_status(outcome.directory)
    compared = _compare(flight, path, outcome.directory / "model.castile", n_steps, 5 if quick else N_FRAMES)
    per_call = _seconds_per_call(outcome.directory / "jobs")
    return {
        "target_met": outcome.target_met,
        "n_steps": n_steps,
        "n_calls": status.n_calls,
        "n_labels": len(status.calculations),
        "steps_without_call_percent": 100.0 * (1.0 - status.n_calls / n_steps),
        "predicted_error_ev_per_angstrom": status.state.predicted_error,
        "verified_error_ev_per_angstrom": status.state.verified_error,
        "later_frames_force_rmse_ev_per_angstrom": compared,
        "seconds": seconds,
        "oracle_seconds_per_call": per_call,
        "oracle_hours_for_every_step": per_call * n_steps / 3600.0,
        "n_models": len(status.versions),
        "n_sparse": status.versions[-1].n_sparse,
    }


def _write_start(name: str, path: Path) -> None:
    from ase.build import bulk, molecule
    from ase.io import write

    structures = {
        "ethanol": lambda: molecule("CH3CH2OH"),
        "nacl": lambda: bulk("NaCl", "rocksalt", a=5.5, cubic=True),
        "si": lambda: bulk("Si", cubic=True),
    }
    write(path, structures[name]())


def _compare(flight: Flight, path: Path, model: Path, n_steps: int, n_frames: int) -> float:
    """Force RMSE (eV/A) on random frames of a later trajectory of the same length, with other velocities."""
    import numpy as np
    from ase.io import read

    import castile
    from castile.active.campaign_settings import read_campaign
    from castile.active.oracles import LabelTask, label_structure
    from castile.simulation import MolecularDynamicsSettings, run_molecular_dynamics

    atoms = read(path.parent / "start.xyz")
    potential = castile.load(model)
    atoms.calc = potential.calculator()
    settings = MolecularDynamicsSettings(
        ensemble="langevin", n_steps=n_steps, time_step_fs=flight.time_step, thermostat_time_fs=100.0,
        temperature_k=flight.temperature, seed=12345, trajectory_interval=10, log_interval=1000,
    )  # fmt: skip
    run_molecular_dynamics(atoms, settings, path.parent / "later.xyz")
    frames = read(path.parent / "later.xyz", index=":")
    chosen = np.random.default_rng(1).choice(np.arange(1, len(frames)), size=n_frames, replace=False)
    oracle = read_campaign(path).oracle
    errors = []
    for index in sorted(chosen):
        frame = frames[index].copy()
        result = label_structure(LabelTask(str(path.parent / "later" / str(index)), frame, oracle))
        if result.forces is None:
            raise ValueError(f"frame {index} has no label: {result.reason}")
        errors.append(potential.predict(frame).forces - np.array(result.forces))
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def _seconds_per_call(jobs: Path) -> float:
    import json

    import numpy as np

    seconds = [json.loads(path.read_text())["seconds"] for path in jobs.glob("*/attempt-*/result.json")]
    return float(np.median(seconds))


def flight_checks(flight: Flight, found: dict[str, Any]) -> list[Check]:
    """The two targets of an on-the-fly run."""
    return [
        Check(
            f"{flight.label}: steps without a call",
            found["steps_without_call_percent"], 95.0, "%", "at least",
        ),
        Check(
            f"{flight.label}: force RMSE on later frames",
            found["later_frames_force_rmse_ev_per_angstrom"], 0.1, "eV/Å",
        ),
    ]  # fmt: skip


def flight_row(flight: Flight, found: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table of on-the-fly runs."""
    predicted = found["predicted_error_ev_per_angstrom"]
    return (
        flight.label,
        f"{flight.temperature:.0f}",
        str(found["n_steps"]),
        str(found["n_calls"]),
        f"{found['steps_without_call_percent']:.1f}",
        figure(found["later_frames_force_rmse_ev_per_angstrom"]),
        "–" if predicted is None else figure(predicted),
        figure(found["seconds"] / 60.0),
        figure(found["oracle_seconds_per_call"]),
        figure(found["oracle_hours_for_every_step"]),
    )


def _write_copper(folder: Path, oracle: str, *, delay: float = 0.0, head: str = "", extra: str = "") -> Path:
    """A campaign on copper with effective medium theory, which counts its executions in a log."""
    from ase.build import bulk
    from ase.io import write

    folder.mkdir()
    write(folder / "copper.xyz", bulk("Cu", a=3.62, cubic=True))
    path = folder / "campaign.toml"
    path.write_text(
        f"{head}\n[oracle]\ncalculator = 'counting_oracles.{oracle}'\npython_path = ['{ORACLES}']\n"
        f"options = {{ log = '{folder / 'executions.log'}', delay = {delay} }}\n{extra}\n"
        "[[explore]]\nkind = 'md'\nstructures = ['copper.xyz']\ntemperature_k = 600\nn_steps = 1500\n"
        "time_step_fs = 2.0\ncheck_every = 10\n"
        "[stop]\nforce_error = 0.0002\nmax_calculations = 80\nmax_cycles = 1\n" + EMT_MODEL
    )
    return path


def _start(path: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "castile.cli.main", "learn", str(path)]
    with (path.parent / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def killed(folder: Path, quick: bool) -> dict[str, Any]:
    """Kill -9 at random moments until the campaign has ended."""
    path = _write_copper(folder, "CountingEMT", delay=0.3)
    directory, clock, kills, starts, lost = folder / "campaign", random.Random(11), 0, 0, 0
    wanted = 3 if quick else N_KILLS
    known: dict[int, float] = {}
    while True:
        process = _start(path)
        starts += 1
        if kills < wanted:
            _wait_for_progress(process, directory, len(known))
            time.sleep(clock.uniform(0.0, 1.0))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        process.wait()
        now = _accepted(directory)
        lost += sum(now.get(identifier) != energy for identifier, energy in known.items())
        known = now
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGKILL or starts > 10 * N_KILLS:
            raise ValueError((folder / "output.txt").read_text()[-2000:])
    return {"kills": kills, "starts": starts, "lost_labels": lost, **_account(directory, folder)}


def _wait_for_progress(process: "subprocess.Popen[bytes]", directory: Path, known: int) -> None:
    """Wait until the campaign has begun again: one more label, or half a minute."""
    deadline = time.monotonic() + 30.0
    while process.poll() is None and time.monotonic() < deadline:
        if len(_accepted(directory)) > known:
            return
        time.sleep(0.1)


def _accepted(directory: Path) -> dict[int, float]:
    from castile.active.store import CalculationStore

    if not (directory / "store.db").exists():
        return {}
    atoms = CalculationStore(directory / "store.db").accepted()
    return {a.info["calculation_id"]: a.get_potential_energy() for a in atoms}


def _account(directory: Path, folder: Path) -> dict[str, Any]:
    """What the ledger says beside what the oracle's own log says."""
    from castile.active.status import campaign_status

    status = campaign_status(directory)
    executions = Counter((folder / "executions.log").read_text().split())
    return {
        "finished": bool(status.state.stopped),
        "calculations": len(status.calculations),
        "executions": sum(executions.values()),
        "computed_twice": sum(count - 1 for count in executions.values()),
        **{f"n_{state.value}": count for state, count in status.counts.items()},
    }


def failing(folder: Path, quick: bool) -> dict[str, Any]:
    """An oracle that fails on every third execution and returns NaN on every tenth."""
    del quick
    path = _write_copper(folder, "FlakyEMT", extra="retries = 0")
    done = _start(path).wait()
    if done != 0:
        raise ValueError((folder / "output.txt").read_text()[-2000:])
    found = _account(folder / "campaign", folder)
    n = found["executions"]
    spoiled = {k for k in range(1, n + 1) if k % 3 == 0 or k % 10 == 0}
    return found | {"failures_of_the_oracle": len(spoiled), "wrong_entries": _wrong_entries(folder, spoiled)}


def _wrong_entries(folder: Path, spoiled: set[int]) -> int:
    """Calculations whose state is not what the oracle did; execution k was that of calculation k."""
    from castile.active.ledger import State
    from castile.active.status import campaign_status

    status = campaign_status(folder / "campaign")
    wrong = sum((c.state is State.FAILED) != (c.id in spoiled) for c in status.calculations)
    return wrong + len(spoiled & set(status.versions[-1].ids))


def worker_killed(folder: Path, quick: bool) -> dict[str, Any]:
    """Two Dask workers, of which one is killed five times while it labels."""
    path = _write_copper(
        folder, "CountingEMT", delay=0.5, head="workers = 2", extra="[initial]\nn_rattled = 15"
    )
    process, clock, kills = _start(path), random.Random(5), 0
    wanted = 1 if quick else 5
    while process.poll() is None and kills < wanted:
        time.sleep(clock.uniform(0.5, 2.0))
        workers = list(_workers(process.pid))
        if workers:
            os.kill(clock.choice(workers), signal.SIGKILL)
            kills += 1
            time.sleep(2.0)
    if process.wait() != 0:
        raise ValueError((folder / "output.txt").read_text()[-2000:])
    return {"kills": kills, **_account(folder / "campaign", folder)}


def _workers(ancestor: int) -> Iterator[int]:
    """Processes below ``ancestor`` that have an oracle's process as their child."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            names[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(place.name)] = int(fields[1])
    for pid, name in names.items():
        if b"oracle_process" in name and parents[pid] != ancestor:
            above = parents[pid]
            while above > 1 and above != ancestor:
                above = parents.get(above, 0)
            if above == ancestor:
                yield parents[pid]


def damage_checks(name: str, found: dict[str, Any]) -> list[Check]:
    """Nothing lost, nothing twice, and a ledger that is right."""
    label = {"kill": "killed campaign", "failures": "failing oracle", "worker": "killed Dask worker"}[name]
    checks = [Check(f"{label}: calculations computed twice", found["computed_twice"], 0, "")]
    if name == "kill":
        checks.append(Check(f"{label}: accepted labels lost", found["lost_labels"], 0, ""))
    if name == "failures":
        checks.append(Check(f"{label}: wrong entries in the ledger", found["wrong_entries"], 0, ""))
    unsettled = found["calculations"] - found["n_accepted"] - found["n_failed"]
    return [*checks, Check(f"{label}: calculations without an outcome", unsettled, 0, "")]


def _damage_table(name: str, found: dict[str, Any]) -> Table:
    titles = {
        "kill": "A campaign that is killed (kill -9) at random moments",
        "failures": "An oracle that fails on every third execution and returns NaN on every tenth",
        "worker": "A Dask worker that is killed during labelling",
    }
    rows = tuple((key.replace("n_", "").replace("_", " "), str(value)) for key, value in found.items())
    return Table(titles[name], ("", "number"), rows)


DAMAGES = {"kill": killed, "failures": failing, "worker": worker_killed}
PARTS = (*(flight.key for flight in FLIGHTS), *DAMAGES)
