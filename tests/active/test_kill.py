"""Kill -9 at random moments, and a Dask worker killed: nothing is lost, nothing is computed twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from active.campaigns import DYNAMICS, write_campaign
from castile.active.campaign import CampaignEvents, run_campaign
from castile.active.ledger import State
from castile.active.status import campaign_status
from castile.active.store import CalculationStore

N_KILLS = 2


def start(path: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "castile.cli.main", "learn", str(path)]
    with (path.parent / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def accepted_labels(directory: Path) -> dict[int, float]:
    """Energies of accepted calculations."""
    if not (directory / "store.db").exists():
        return {}
    store = CalculationStore(directory / "store.db")
    return {atoms.info["calculation_id"]: atoms.get_potential_energy() for atoms in store.accepted()}


def check_ledger(directory: Path, log: Path) -> None:
    """Every calculation was executed once, and its label is that of the oracle."""
    lines = Counter(log.read_text().split())
    assert set(lines.values()) == {1}, lines.most_common(3)
    status = campaign_status(directory)
    assert status.counts[State.ACCEPTED] == len(status.calculations) == len(lines)
    assert all(c.attempts == 1 for c in status.calculations)
    store = CalculationStore(directory / "store.db")
    for atoms in store.accepted():
        reference = atoms.copy()
        reference.calc = EMT()
        assert np.array_equal(atoms.get_forces(), reference.get_forces())
    assert set(status.versions[-1].ids) == {c.id for c in status.calculations}


def test_campaign_survives_kills_at_random_moments(tmp_path: Path) -> None:
    stop = "force_error = 0.0005\nmax_calculations = 10\nmax_cycles = 1"
    path = write_campaign(tmp_path, delay=0.15, stop=stop)
    directory = tmp_path / "campaign"
    clock = random.Random(7)
    known: dict[int, float] = {}
    kills = 0
    for _ in range(40):
        process = start(path)
        if kills < N_KILLS:
            seen = len(known)
            deadline = time.monotonic() + 30.0
            while process.poll() is None and time.monotonic() < deadline:
                if (tmp_path / "executions.log").exists() and len(accepted_labels(directory)) > seen:
                    break
                time.sleep(0.05)
            time.sleep(clock.uniform(0.0, 0.6))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        process.wait(timeout=120)
        now = accepted_labels(directory)
        assert known.items() <= now.items()
        known = now
        if process.returncode == 0:
            break
    assert process.returncode == 0, (tmp_path / "output.txt").read_text()[-2000:]
    assert kills >= 2
    assert campaign_status(directory).state.stopped
    check_ledger(directory, tmp_path / "executions.log")


def test_killed_dask_worker_loses_and_repeats_nothing(tmp_path: Path) -> None:
    distributed = pytest.importorskip(
        "distributed", reason="distributed is missing: pip install 'castile[distributed]'"
    )
    del distributed
    explorers = DYNAMICS.replace("n_steps = 150", "n_steps = 30")
    path = write_campaign(
        tmp_path, explorers, delay=0.5, head="workers = 2\nthreshold = 10.0",
        stop="force_error = 1.0\nmin_fresh = 1\nn_verified = 2",
    )  # fmt: skip
    path.write_text(path.read_text() + "\n[initial]\nn_rattled = 8\n")
    killed = []

    def settled(_: object) -> None:
        """Kill a worker process when the first label is there."""
        if not killed:
            worker = _worker_processes()[0]
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)

    outcome = run_campaign(path, CampaignEvents(settled=settled))
    assert killed
    assert outcome.finished
    check_ledger(tmp_path / "campaign", tmp_path / "executions.log")


def _worker_processes() -> list[int]:
    """Dask workers below this process: those that have an oracle process as their child."""
    parents = {}
    names = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            names[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(place.name)] = int(fields[1])

    def is_mine(pid: int) -> bool:
        """Whether a process descends from this one."""
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == os.getpid():
                return True
        return False

    oracles = [pid for pid, name in names.items() if b"oracle_process" in name and is_mine(pid)]
    return [parents[pid] for pid in oracles if parents[pid] != os.getpid()]


def test_ctrl_c_writes_the_state_and_the_next_start_goes_on(
    tmp_path: Path, children_can_be_interrupted: None
) -> None:
    path = write_campaign(
        tmp_path, delay=0.1, stop="force_error = 1e-5\nmax_calculations = 9\nmax_cycles = 1"
    )
    process = start(path)
    while not accepted_labels(tmp_path / "campaign"):
        assert process.poll() is None, (tmp_path / "output.txt").read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, (tmp_path / "output.txt").read_text()
    assert "interrupted" in (tmp_path / "output.txt").read_text()
    status = campaign_status(tmp_path / "campaign")
    assert status.counts[State.RUNNING] == 0
    assert status.outlook.startswith("not running")
    outcome = run_campaign(path)
    assert outcome.reason.startswith("budget spent")
    check_ledger(tmp_path / "campaign", tmp_path / "executions.log")


def test_a_campaign_on_a_server(tmp_path: Path, postgres: str) -> None:
    path = write_campaign(
        tmp_path,
        head=f'store = "{postgres}"',
        stop="force_error = 1e-5\nmax_calculations = 8\nmax_cycles = 1",
    )
    outcome = run_campaign(path)
    assert outcome.reason.startswith("budget spent")
    status = campaign_status(outcome.directory)
    assert status.counts[State.ACCEPTED] == 8 == len(status.versions[-1].ids)
    assert not (tmp_path / "campaign" / "store.db").exists()
