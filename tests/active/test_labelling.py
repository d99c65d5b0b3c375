"""Oracles: labels are those of the calculator, failures are results, nothing is computed twice."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from active.counting_oracles import executions
from castile.active.label_files import LabelResult, read_result, write_task
from castile.active.labelling import Labeller
from castile.active.ledger import State
from castile.active.oracle_settings import OracleSettings
from castile.active.oracles import LabelTask, close_oracle_processes, label_structure
from castile.active.presets import PSEUDOPOTENTIALS, find_pseudopotential, k_points
from castile.active.settings_base import parse_section
from castile.active.store import CalculationStore
from castile.errors import InputError
from castile.execution.task_pool import SerialPool


def other(settings: OracleSettings, **changes: object) -> OracleSettings:
    return settings.model_copy(update=changes)


def rattled(copper: Atoms, number: int) -> list[Atoms]:
    structures = [copper.copy() for _ in range(number)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
    return structures


def labeller(tmp_path: Path, oracle: OracleSettings) -> Labeller:
    store = CalculationStore(tmp_path / "store.db")
    return Labeller(store, tmp_path / "jobs", oracle, SerialPool(), "test")


def test_labels_are_those_of_the_calculator_to_the_last_digit(tmp_path: Path, copper: Atoms) -> None:
    result = label_structure(LabelTask(str(tmp_path / "job"), copper, OracleSettings(preset="emt")))
    copper.calc = EMT()
    assert (result.status, result.reason) == ("converged", "")
    assert result.energy == copper.get_potential_energy(force_consistent=True)
    assert np.array_equal(result.forces, copper.get_forces())
    assert np.array_equal(result.stress, copper.get_stress())


def test_answers_that_arrive_together_are_not_waited_for(tmp_path: Path, copper: Atoms) -> None:
    from castile.active.oracles import OracleProcess

    process = OracleProcess(1)
    try:
        process._received = b"started\ndone\n"
        started = time.monotonic()
        assert [process._answer(30.0), process._answer(30.0)] == ["started", "done"]
        assert time.monotonic() - started < 10.0
    finally:
        process.close()


def test_a_finished_folder_is_not_computed_again(
    tmp_path: Path, copper: Atoms, counting: OracleSettings
) -> None:
    task = LabelTask(str(tmp_path / "job"), copper, counting)
    assert label_structure(task) == label_structure(task)
    assert executions(tmp_path / "executions.log") == 1


def test_what_another_process_computes_is_waited_for(
    tmp_path: Path, copper: Atoms, counting: OracleSettings
) -> None:
    slow = other(counting, options=counting.options | {"delay": 1.5})
    folder = tmp_path / "job"
    folder.mkdir()
    write_task(folder, copper, slow)
    serve = [sys.executable, "-c", "from castile.active.oracle_process import serve; serve()"]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        first.stdin.write(f"{folder}\n")
        first.stdin.flush()
        assert first.stdout.readline() == "started\n"
        first.stdin.close()  # as when the campaign was killed: it goes on to the end
        result = label_structure(LabelTask(str(folder), copper, slow))
    assert result.status == "converged"
    assert executions(tmp_path / "executions.log") == 1


@pytest.mark.parametrize(
    ("name", "options", "status", "reason"),
    [
        ("CrashingEMT", {}, "failed", "signal 11 (SIGSEGV)\nend of log.txt:\nabout to crash"),
        ("CountingEMT", {"delay": 60.0}, "failed", "killed after the time-out of 1 s"),
        ("UnconvergedEMT", {}, "unconverged", "the calculator says that it has not converged"),
        ("CountingEMT", {"nonsense": 1}, "failed", "unexpected keyword argument 'nonsense'"),
        ("MissingEMT", {}, "failed", "has no attribute 'MissingEMT'; check its name"),
    ],
)
def test_failures_are_results_with_a_reason(
    name: str, options: dict, status: str, reason: str,
    tmp_path: Path, copper: Atoms, counting: OracleSettings,
) -> None:  # fmt: skip
    oracle = other(counting, calculator=f"counting_oracles.{name}", options=counting.options | options)
    result = label_structure(LabelTask(str(tmp_path / "job"), copper, other(oracle, timeout_s=1.0)))
    assert (result.status, result.energy, result.forces) == (status, None, None)
    assert reason in result.reason
    assert read_result(tmp_path / "job") == result


def test_a_timeout_kills_programs_that_the_oracle_started(tmp_path: Path, copper: Atoms) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    oracle = OracleSettings(command=f"{sys.executable} {script}", timeout_s=1.5)
    assert "time-out" in label_structure(LabelTask(str(tmp_path / "job"), copper, oracle)).reason
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} still runs")


def test_a_command_reads_and_writes_files(tmp_path: Path, copper: Atoms) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import ase.io\nfrom ase.calculators.emt import EMT\natoms = ase.io.read('in.traj')\n"
        "atoms.calc = EMT()\natoms.get_forces()\natoms.get_stress()\nase.io.write('out.traj', atoms)\n"
    )
    oracle = OracleSettings(
        command=f"{sys.executable} {script}", input_file="in.traj", output_file="out.traj"
    )
    result = label_structure(LabelTask(str(tmp_path / "job"), copper, oracle))
    copper.calc = EMT()
    assert result.status == "converged", result.reason
    np.testing.assert_allclose(result.forces, copper.get_forces(), atol=1e-12)
    np.testing.assert_allclose(result.stress, copper.get_stress(), atol=1e-12)
    oracle = other(oracle, command=f"{sys.executable} -c 'raise SystemExit(3)'")
    assert "status 3" in label_structure(LabelTask(str(tmp_path / "bad"), copper, oracle)).reason


def test_output_that_says_so_is_not_converged(tmp_path: Path, copper: Atoms) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import ase.io\nfrom ase.calculators.emt import EMT\natoms = ase.io.read('input.xyz')\n"
        "atoms.calc = EMT()\natoms.get_forces()\nase.io.write('output.xyz', atoms)\n"
        "print('SCF: 99 cycles, NO')\n"
    )
    oracle = OracleSettings(command=f"{sys.executable} {script}", unconverged_text=r"SCF: \d+ cycles, NO")
    result = label_structure(LabelTask(str(tmp_path / "job"), copper, oracle))
    assert (result.status, result.energy) == ("unconverged", None)
    assert "SCF: 99 cycles, NO" in result.reason


def test_failures_are_tried_again_and_entered(
    tmp_path: Path, copper: Atoms, counting: OracleSettings
) -> None:
    flaky = other(counting, calculator="counting_oracles.FlakyEMT", retries=1)
    work = labeller(tmp_path, flaky)
    for number, atoms in enumerate(rattled(copper, 12)):
        work.store.request(atoms, f"k{number}")
    settled = work.label()
    assert sorted(c.id for c in settled) == list(range(1, 13))
    counts = work.store.counts()
    assert counts[State.ACCEPTED] + counts[State.FAILED] == 12
    spoiled = [change for change in work.store.history() if change.after is State.FAILED]
    n = executions(tmp_path / "executions.log")
    assert n == sum(c.attempts for c in work.store.calculations())
    assert len(spoiled) == sum(1 for k in range(1, n + 1) if k % 3 == 0 or k % 10 == 0)
    assert any("nan" in change.reason for change in spoiled)
    assert any("the third execution ends badly" in change.reason for change in spoiled)
    for atoms in work.store.accepted():
        reference = atoms.copy()
        reference.calc = EMT()
        assert np.array_equal(atoms.get_forces(), reference.get_forces())


def test_absurd_forces_and_fused_atoms_are_rejected(
    tmp_path: Path, copper: Atoms, counting: OracleSettings
) -> None:
    work = labeller(tmp_path, other(counting, max_force=3.0))
    close, fused = copper.copy(), copper.copy()
    close.positions[1] = close.positions[0] + [1.8, 0.0, 0.0]
    fused.positions[1] = fused.positions[0] + [0.6, 0.0, 0.0]
    for number, atoms in enumerate([copper, close, fused]):
        work.store.request(atoms, f"k{number}")
    fine, absurd, melted = work.label()
    assert fine.state is State.ACCEPTED
    assert (absurd.state, melted.state) == (State.REJECTED, State.REJECTED)
    assert "above the limit of 3 eV/A" in absurd.reason
    assert "fused: they are 0.600 A apart" in melted.reason
    assert len(work.store.accepted()) == 1


def test_what_a_killed_program_left_is_put_in_order(
    tmp_path: Path, copper: Atoms, counting: OracleSettings
) -> None:
    work = labeller(tmp_path, counting)
    for number, atoms in enumerate(rattled(copper, 4)):
        work.store.request(atoms, f"k{number}")
    labelled = label_structure(
        LabelTask(str(tmp_path / "jobs/000001/attempt-1"), work.store.structure(1), counting)
    )
    for identifier in (1, 2, 3, 4):
        work.store.claim("test", [identifier])
    work.store.record(2, labelled.labelled(work.store.structure(2)))
    work.store.fail(3, "boom")
    assert {c.id for c in replace(work).recover()} == {1, 4}
    assert work.store.calculation(2).state is State.ACCEPTED
    work.label()
    assert work.store.counts()[State.ACCEPTED] == 4
    assert executions(tmp_path / "executions.log") == 3
    assert [c.attempts for c in work.store.calculations()] == [1, 1, 2, 1]


def test_processes_end_with_their_program(tmp_path: Path, copper: Atoms) -> None:
    label_structure(LabelTask(str(tmp_path / "job"), copper, OracleSettings(preset="emt")))
    from castile.active import oracles

    (process,) = [p for key, p in oracles._processes.items() if key[0] == os.getpid()]
    close_oracle_processes()
    assert process._process.returncode == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "exactly one of preset, calculator and command, not none"),
        ({"preset": "emt", "command": "x"}, "not preset and command"),
        ({"calculator": "EMT"}, r"'package\.module\.Class'"),
        ({"preset": "vasp"}, "preset = 'vasp'"),
        ({"preset": "emt", "timeout": 3}, "timeout: unknown key"),
        ({"preset": "emt", "timeout_s": 0}, "timeout_s = 0"),
        ({"preset": "emt", "unconverged_text": "("}, "no regular expression"),
    ],
)
def test_bad_settings_are_named(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_section(OracleSettings, values, "campaign.toml")


def test_tblite_labels_a_molecule(tmp_path: Path) -> None:
    pytest.importorskip("tblite", reason="tblite is missing: pip install 'castile[oracles]'")
    water = molecule("H2O")
    result = label_structure(LabelTask(str(tmp_path / "job"), water, OracleSettings(preset="tblite")))
    assert result.status == "converged", result.reason
    assert abs(result.energy + 137.97) < 0.1  # -5.0705 Hartree
    assert result.stress is None
    assert np.abs(np.sum(result.forces, axis=0)).max() < 1e-6


def test_quantum_espresso_labels_a_crystal(tmp_path: Path) -> None:
    if shutil.which("pw.x") is None or not Path(PSEUDOPOTENTIALS).is_dir():
        pytest.skip("pw.x or its pseudopotentials are missing: apt-get install quantum-espresso")
    silicon = bulk("Si", a=5.43)
    silicon.positions[1] += [0.1, 0.0, 0.0]
    options = {"plane_wave_cutoff_ry": 12, "k_spacing_per_angstrom": 1.5, "convergence_ry": 1e-5}
    options["pseudopotentials"] = {"Si": "Si.pbe-rrkj.UPF"}
    oracle = OracleSettings(preset="espresso", options=options)
    result = label_structure(LabelTask(str(tmp_path / "job"), silicon, oracle))
    assert result.status == "converged", result.reason
    assert result.forces[1][0] < -0.3  # back to its place
    assert abs(result.forces[0][0] + result.forces[1][0]) < 0.05
    assert len(result.stress) == 6
    hurried = other(oracle, options=options | {"input_data": {"electrons": {"electron_maxstep": 1}}})
    stuck = label_structure(LabelTask(str(tmp_path / "stuck"), silicon, hurried))
    assert stuck.status == "unconverged", stuck.reason


def test_k_points_and_pseudopotentials(tmp_path: Path) -> None:
    for name in ("Si.pbe-n-rrkj.UPF", "Si.pbesol-n.UPF", "S.pbe.UPF", "si_pbe_v1.uspp.upf"):
        (tmp_path / name).touch()
    assert find_pseudopotential(tmp_path, "S", "pbe") == "S.pbe.UPF"
    assert find_pseudopotential(tmp_path, "Si", "pbe") == "Si.pbe-n-rrkj.UPF"
    assert find_pseudopotential(tmp_path, "Si", "pbesol") == "Si.pbesol-n.UPF"
    with pytest.raises(InputError, match="no pseudopotential of Ge"):
        find_pseudopotential(tmp_path, "Ge", "pbe")
    assert k_points(bulk("Si", a=5.43, cubic=True), 0.3) == (4, 4, 4)
    slab = bulk("Si", a=5.43, cubic=True)
    slab.set_cell([5.43, 5.43, 20.0])
    assert k_points(slab, 0.3) == (4, 4, 1)


def test_pyscf_forces_are_derivatives_of_the_energy(tmp_path: Path) -> None:
    pytest.importorskip("pyscf", reason="pyscf is missing: pip install pyscf")
    oracle = OracleSettings(preset="pyscf", options={"basis": "sto-3g", "xc": "lda,vwn"})
    water = molecule("H2O")
    result = label_structure(LabelTask(str(tmp_path / "job"), water, oracle))
    assert result.status == "converged", result.reason
    energies = []
    for step in (-0.01, 0.01):
        moved = water.copy()
        moved.positions[0, 2] += step
        energies.append(label_structure(LabelTask(str(tmp_path / f"job{step}"), moved, oracle)).energy)
    assert abs(-(energies[1] - energies[0]) / 0.02 - result.forces[0][2]) < 2e-3
    stuck = other(oracle, options=oracle.options | {"max_cycle": 1})
    assert label_structure(LabelTask(str(tmp_path / "stuck"), water, stuck)).status == "unconverged"


def test_a_neuro_evolution_potential_labels_a_metal(tmp_path: Path, shared_data: Path) -> None:
    pytest.importorskip("calorine", reason="calorine is missing: pip install calorine")
    model = shared_data / "oracle" / "unep_v1_nep.txt"
    if not model.is_file():
        pytest.skip(f"{model} is missing")
    oracle = OracleSettings(preset="unep", options={"model_filename": str(model)})
    crystal = bulk("Mo", cubic=True)
    crystal.rattle(0.1, seed=1)

    def labels(name: str, atoms: Atoms) -> LabelResult:
        result = label_structure(LabelTask(str(tmp_path / name), atoms, oracle))
        assert result.status == "converged", result.reason
        return result

    energies = []
    for step in (-1e-3, 1e-3):
        moved = crystal.copy()
        moved.positions[1, 1] += step
        energies.append(labels(f"moved {step}", moved).energy)
    found = labels("crystal", crystal)
    assert abs(-(energies[1] - energies[0]) / 2e-3 - found.forces[1][1]) < 1e-4
    assert -11.5 < found.energy / 2 < -9.5  # eV per atom; the reference of the potential is -10.9
    assert len(found.stress) == 6
    silicon = label_structure(LabelTask(str(tmp_path / "silicon"), bulk("Si"), oracle))
    assert silicon.status == "failed"
    assert "species that are not supported" in silicon.reason
