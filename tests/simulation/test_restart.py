"""Interrupted runs continue as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from castile.errors import InputError
from castile.simulation.md_checkpoint import read_checkpoint
from castile.simulation.md_record import MolecularDynamicsFiles, read_log
from castile.simulation.md_settings import MolecularDynamicsSettings
from castile.simulation.molecular_dynamics import run_molecular_dynamics
from simulation.conftest import copper_block

SHORT = MolecularDynamicsSettings(
    n_steps=40,
    time_step_fs=2.0,
    temperature_k=500,
    log_interval=2,
    trajectory_interval=4,
    checkpoint_interval=7,
)

VICTIM = """
import sys
from ase.build import bulk
from ase.calculators.emt import EMT
from castile.simulation.md_settings import MolecularDynamicsSettings
from castile.simulation.molecular_dynamics import run_molecular_dynamics
atoms = bulk("Cu", cubic=True) * (2, 2, 2)
atoms.calc = EMT()
settings = MolecularDynamicsSettings(
    ensemble=sys.argv[1], n_steps=100000, time_step_fs=2.0, temperature_k=500,
    log_interval=2, trajectory_interval=4, checkpoint_interval=7,
)
result = run_molecular_dynamics(atoms, settings, sys.argv[2])
print("interrupted at", result.n_steps, result.completed)
"""


class Killed(BaseException):
    """Stands for a process that ends without any chance to clean up."""


def run_until(step, settings, output, restart=False):
    def stop(progress):
        if progress.row.step >= step:
            raise Killed

    with pytest.raises(Killed):
        run_molecular_dynamics(copper_block(), settings, output, restart=restart, progress=stop)


def assert_same_files(actual, expected):
    assert actual.log.read_text().count("\n") == expected.log.read_text().count("\n")
    for ours, theirs in zip(read_log(actual.log), read_log(expected.log), strict=True):
        assert ours.step == theirs.step
        np.testing.assert_allclose(
            [ours.total_energy_ev, ours.temperature_k, ours.pressure_gpa],
            [theirs.total_energy_ev, theirs.temperature_k, theirs.pressure_gpa],
            rtol=1e-9,
            atol=1e-9,
        )
    frames, references = ase.io.read(actual.trajectory, ":"), ase.io.read(expected.trajectory, ":")
    assert [frame.info["step"] for frame in frames] == [frame.info["step"] for frame in references]
    for frame, reference in zip(frames, references, strict=True):
        np.testing.assert_allclose(frame.positions, reference.positions, atol=1e-7)
        np.testing.assert_allclose(frame.get_momenta(), reference.get_momenta(), atol=1e-7)


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "npt"])
def test_a_killed_run_continues_exactly(ensemble, tmp_path):
    settings = replace(SHORT, ensemble=ensemble)
    whole = run_molecular_dynamics(copper_block(), settings, tmp_path / "whole.xyz")
    output = tmp_path / "parts.xyz"
    run_until(10, settings, output)  # three steps after the checkpoint of step 7
    run_until(26, settings, output, restart=True)
    resumed = run_molecular_dynamics(copper_block(), settings, output, restart=True)
    np.testing.assert_allclose(resumed.atoms.positions, whole.atoms.positions, atol=1e-10)
    np.testing.assert_allclose(resumed.atoms.get_momenta(), whole.atoms.get_momenta(), atol=1e-10)
    np.testing.assert_allclose(resumed.atoms.cell, whole.atoms.cell, atol=1e-10)
    np.testing.assert_allclose(
        resumed.column("conserved_energy_ev"), whole.column("conserved_energy_ev"), atol=1e-9
    )
    assert_same_files(
        MolecularDynamicsFiles.beside(output), MolecularDynamicsFiles.beside(tmp_path / "whole.xyz")
    )


@pytest.mark.usefixtures("children_can_be_interrupted")
@pytest.mark.parametrize("stop_signal", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_stopped_by_a_signal_leaves_a_usable_checkpoint(stop_signal, tmp_path):
    output = tmp_path / "run.xyz"
    files = MolecularDynamicsFiles.beside(output)
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM, "langevin", str(output)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (files.log.exists() and len(files.log.read_bytes()) > 4000):
        time.sleep(0.01)
    process.send_signal(stop_signal)
    printed = process.communicate(timeout=30)[0]
    stopped = read_checkpoint(files.checkpoint).step
    assert stopped > 0
    if stop_signal == signal.SIGINT:
        assert printed == f"interrupted at {stopped} False\n"
    settings = replace(SHORT, ensemble="langevin", n_steps=stopped + 6)
    run_molecular_dynamics(copper_block(), settings, output, restart=True)
    run_molecular_dynamics(copper_block(), settings, tmp_path / "whole.xyz")
    whole = MolecularDynamicsFiles.beside(tmp_path / "whole.xyz")
    logged = [row.step for row in read_log(files.log)]
    assert logged == [row.step for row in read_log(whole.log)]
    steps = [frame.info["step"] for frame in ase.io.read(files.trajectory, ":")]
    assert steps == [frame.info["step"] for frame in ase.io.read(whole.trajectory, ":")]


def test_a_finished_run_can_be_prolonged(tmp_path):
    output = tmp_path / "run.xyz"
    run_molecular_dynamics(copper_block(), SHORT, output)
    longer = run_molecular_dynamics(copper_block(), replace(SHORT, n_steps=60), output, restart=True)
    whole = run_molecular_dynamics(copper_block(), replace(SHORT, n_steps=60))
    assert longer.n_steps == 60
    np.testing.assert_allclose(longer.atoms.positions, whole.atoms.positions, atol=1e-10)
    assert [row.step for row in longer.rows] == list(range(0, 61, 2))


def test_restart_before_the_first_step_and_without_a_checkpoint(tmp_path):
    output = tmp_path / "run.xyz"
    run_until(0, SHORT, output)
    assert not read_checkpoint(tmp_path / "run.checkpoint").recorded
    first = run_molecular_dynamics(copper_block(), SHORT, output, restart=True)
    fresh = run_molecular_dynamics(copper_block(), SHORT, tmp_path / "fresh.xyz", restart=True)
    assert len(first.rows) == len(fresh.rows) == 21
    assert len(ase.io.read(output, ":")) == 11


def test_an_existing_run_is_not_overwritten_by_accident(tmp_path):
    output = tmp_path / "run.xyz"
    run_molecular_dynamics(copper_block(), SHORT, output)
    with pytest.raises(InputError, match="exists: continue that run with restart"):
        run_molecular_dynamics(copper_block(), SHORT, output)
    run_molecular_dynamics(copper_block(), SHORT, output, overwrite=True)
    assert len(ase.io.read(output, ":")) == 11


def test_a_restart_with_other_conditions_is_refused(tmp_path):
    output = tmp_path / "run.xyz"
    run_molecular_dynamics(copper_block(), SHORT, output)
    with pytest.raises(InputError, match=r"time_step_fs is 1.0 but the checkpoint was written with 2.0"):
        run_molecular_dynamics(copper_block(), replace(SHORT, time_step_fs=1.0), output, restart=True)
    other = bulk("Ag", cubic=True) * (2, 2, 2)
    other.calc = EMT()
    with pytest.raises(InputError, match="not those of the structure"):
        run_molecular_dynamics(other, SHORT, output, restart=True)
    changed = copper_block()
    changed.calc = EMT(asap_cutoff=True)
    with pytest.raises(InputError, match="give the model that the run was started with"):
        run_molecular_dynamics(changed, SHORT, output, restart=True)


def test_damaged_files_are_named(tmp_path):
    output = tmp_path / "run.xyz"
    run_molecular_dynamics(copper_block(), SHORT, output)
    content = output.read_bytes()
    output.write_bytes(content[:100])
    with pytest.raises(InputError, match=r"run.xyz: has 100 bytes but held \d+"):
        run_molecular_dynamics(copper_block(), SHORT, output, restart=True)
    checkpoint = tmp_path / "run.checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-8])
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        run_molecular_dynamics(copper_block(), SHORT, output, restart=True)
    with pytest.raises(InputError, match=r"ends in \.xyz"):
        MolecularDynamicsFiles.beside("run.traj")


def test_results_are_plain_json(tmp_path):
    result = run_molecular_dynamics(copper_block(), SHORT)
    assert json.loads(json.dumps(result.to_json_dict()))["n_steps"] == 40
