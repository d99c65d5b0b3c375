"""Bands on a surrogate: the barrier of a plain band, few calls, nothing repeated, failures survived."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS

from barriers.neb_cases import counting, hop, lines
from castile import GAP
from castile.active.oracle_settings import OracleSettings
from castile.active.store import CalculationStore
from castile.barriers.neb import neb
from castile.barriers.neb_ends import first_path, prepare_ends
from castile.barriers.neb_oracle import read_oracle
from castile.barriers.neb_result import NebResult
from castile.barriers.neb_settings import NebSettings
from castile.barriers.neb_surprises import SurpriseFile
from castile.barriers.path_reading import BrokenPath, read_paths
from castile.cli.main import main
from castile.errors import InputError, SimulationError

THREE = NebSettings(n_images=3)
EMT_ORACLE = OracleSettings.model_validate({"preset": "emt"})


@pytest.fixture(scope="module")
def ends() -> tuple[Atoms, Atoms]:
    return hop()


@pytest.fixture(scope="module")
def plain(ends: tuple[Atoms, Atoms]) -> tuple[float, int]:
    """Barrier and number of calls of a plain climbing-image band."""
    calls = [0]

    class Counted(EMT):
        def calculate(self, *arguments: object, **names: object) -> None:
            calls[0] += 1
            super().calculate(*arguments, **names)

    images = first_path(*prepare_ends(*ends), 3, "idpp")
    for image in images:
        image.calc = Counted() if image not in (images[0], images[-1]) else EMT()
    assert BFGS(NEB(images, climb=True, method="improvedtangent"), logfile=None).run(fmax=0.03, steps=200)
    energies = [image.get_potential_energy() for image in images]
    return max(energies) - energies[0], calls[0]


@dataclass(frozen=True)
class Finished:
    """A band that has converged, and the log of its oracle."""

    result: NebResult
    folder: Path
    log: Path


@pytest.fixture(scope="module")
def finished(ends: tuple[Atoms, Atoms], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    log, band = folder / "log", folder / "Cu hop"
    return Finished(neb(*ends, counting(log), band, THREE), band, log)


@pytest.fixture
def ends_files(ends: tuple[Atoms, Atoms], tmp_path: Path) -> tuple[str, str]:
    for name, end in zip(("initial.traj", "final.traj"), ends, strict=True):
        ase.io.write(tmp_path / name, end)
    return str(tmp_path / "initial.traj"), str(tmp_path / "final.traj")


def test_barrier_is_that_of_a_plain_band_with_a_fifth_of_its_calls(
    finished: Finished, ends: tuple[Atoms, Atoms], plain: tuple[float, int]
) -> None:
    result, log = finished.result, finished.log
    assert result.converged
    assert result.barrier == pytest.approx(plain[0], abs=0.005)
    assert result.reverse_barrier == pytest.approx(result.barrier, abs=1e-3)
    assert 5 * result.n_oracle_calls <= plain[1]
    assert len(lines(log)) == result.n_oracle_calls + result.n_end_calls
    assert result.n_end_calls == 2
    top = result.images[result.climbing_image].copy()
    top.calc = EMT()
    assert np.linalg.norm(top.get_forces(), axis=1).max() == pytest.approx(result.climbing_force, rel=1e-6)
    assert result.climbing_force <= THREE.max_force
    assert top.get_potential_energy() - result.images[0].get_potential_energy() == pytest.approx(
        result.barrier
    )
    assert result.largest_deviation <= THREE.max_deviation
    assert result.largest_slope_deviation <= THREE.max_slope_deviation
    for image in result.images:
        assert np.array_equal(image.positions[:4], ends[0].positions[:4])


def test_path_file_has_the_keys_of_paths_and_energies(finished: Finished) -> None:
    result, folder = finished.result, finished.folder
    frames = ase.io.read(folder / "path.xyz", ":")
    assert [frame.info["image"] for frame in frames] == [0, 1, 2, 3, 4]
    for frame, image in zip(frames, result.images, strict=True):
        assert frame.info["path_id"] == "Cu hop"
        assert frame.info["barrier"] == pytest.approx(result.barrier)
        assert frame.info["mobile_index"] == 8
        assert frame.get_potential_energy() == pytest.approx(image.get_potential_energy())
        assert frame.constraints[0].index.tolist() == [0, 1, 2, 3]
    assert frames[2].info["source"] == frames[0].info["source"] == "oracle"
    assert frames[1].info["source"] == "surrogate"
    (path,) = read_paths(folder)
    assert (path.path_id, path.mobile, path.barrier) == ("Cu hop", 29, frames[0].info["barrier"])
    numbers = json.loads((folder / "neb.json").read_text())
    assert numbers == result.to_json_dict()
    assert numbers["barrier_ev"] == result.barrier


def test_finished_band_asks_nothing_again(finished: Finished, ends: tuple[Atoms, Atoms]) -> None:
    executed = len(lines(finished.log))
    again = neb(*ends, counting(finished.log), finished.folder, THREE)
    assert len(lines(finished.log)) == executed
    assert again.barrier == pytest.approx(finished.result.barrier, abs=1e-3)
    assert again.n_oracle_calls == finished.result.n_oracle_calls


def test_killed_band_goes_on_and_repeats_nothing(
    ends_files: tuple[str, str], plain: tuple[float, int], tmp_path: Path
) -> None:
    log, band = tmp_path / "log", tmp_path / "band"
    (tmp_path / "oracle.toml").write_text(
        f'[oracle]\ncalculator = "counting_oracles.CountingEMT"\noptions = {{log = "{log}", delay = 0.15}}\n'
        f'python_path = ["{Path(__file__).parents[1] / "active"}"]\n'
    )
    command = [sys.executable, "-m", "castile.cli.main", "neb", *ends_files, "--images", "3"]
    command += ["--oracle", str(tmp_path / "oracle.toml"), "-o", str(band)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(1200):
            if len(lines(log)) >= 3:
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    executed = lines(log)
    assert len(executed) == len(set(executed)) >= 4
    numbers = json.loads((band / "neb.json").read_text())
    assert numbers["converged"]
    assert numbers["barrier_ev"] == pytest.approx(plain[0], abs=0.005)
    assert numbers["n_oracle_calls"] + numbers["n_end_calls"] == len(executed)


def test_failed_calculations_are_gone_around(
    ends: tuple[Atoms, Atoms], plain: tuple[float, int], tmp_path: Path
) -> None:
    flaky = counting(tmp_path / "log", "FlakyEMT", retries=0)
    result = neb(*ends, flaky, tmp_path / "band", NebSettings(n_images=3, max_failures=12))
    assert result.n_failed_calls >= 1
    assert result.converged
    assert result.barrier == pytest.approx(plain[0], abs=0.005)
    states = [c.state for c in CalculationStore(tmp_path / "band" / "calculations.db").calculations()]
    assert states.count("failed") == result.n_failed_calls


def test_oracle_that_always_fails_is_named(ends: tuple[Atoms, Atoms], tmp_path: Path) -> None:
    broken = counting(tmp_path / "log", "UnconvergedEMT")
    with pytest.raises(SimulationError, match="end initial is unconverged: the calculator says"):
        neb(*ends, broken, tmp_path / "band", THREE)


def test_too_many_failures_end_the_band(ends: tuple[Atoms, Atoms], tmp_path: Path) -> None:
    settings = NebSettings(n_images=3, max_failures=0)
    with pytest.raises(SimulationError, match=r"more than max_failures = 0; the last one: .*third time"):
        neb(*ends, counting(tmp_path / "log", "FlakyEMT", retries=0), tmp_path / "band", settings)


def test_budget_ends_the_band_honestly_and_a_larger_one_goes_on(
    ends: tuple[Atoms, Atoms], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    short = neb(*ends, counting(log), tmp_path / "band", NebSettings(n_images=3, max_calls=1))
    assert not short.converged
    assert short.reason == "all 1 calls are spent"
    (path,) = read_paths(tmp_path / "band" / "path.xyz")
    assert isinstance(path, BrokenPath)  # nothing learns from it
    assert neb(*ends, counting(log), tmp_path / "band", THREE).converged
    assert len(lines(log)) == len(set(lines(log)))


def test_ends_are_relaxed_and_counted_separately(ends: tuple[Atoms, Atoms], tmp_path: Path) -> None:
    rough = [end.copy() for end in ends]
    for seed, end in enumerate(rough):
        end.rattle(0.03, seed=seed)
    settings = NebSettings(n_images=3, relax_ends=True)
    result = neb(*rough, counting(tmp_path / "log"), tmp_path / "band", settings)
    assert result.n_end_calls > 4
    assert len(lines(tmp_path / "log")) == result.n_end_calls + result.n_oracle_calls
    for index in (0, -1):
        assert np.linalg.norm(result.images[index].get_forces(), axis=1).max() < settings.end_force


def test_final_end_in_another_periodic_image_is_the_same(ends: tuple[Atoms, Atoms], tmp_path: Path) -> None:
    wrapped = ends[1].copy()
    wrapped.positions += wrapped.cell[0] * np.arange(9)[:, None] - wrapped.cell[1]
    first, last = prepare_ends(ends[0], wrapped)
    assert last.positions == pytest.approx(prepare_ends(*ends)[1].positions)
    images = first_path(first, last, 3, "idpp")
    steps = [np.abs(b.positions - a.positions).max() for a, b in pairwise(images)]
    assert max(steps) < 1.5


@pytest.mark.parametrize("surrogate", ["cartesian", "soap"])
def test_other_surrogates_find_the_same_barrier(
    surrogate: str, ends: tuple[Atoms, Atoms], plain: tuple[float, int], tmp_path: Path
) -> None:
    result = neb(*ends, EMT_ORACLE, tmp_path / "band", NebSettings(n_images=3, surrogate=surrogate))
    assert result.converged
    assert result.barrier == pytest.approx(plain[0], abs=0.005)


@pytest.fixture(scope="module")
def model(ends: tuple[Atoms, Atoms]) -> GAP:
    """A model of copper that has seen rattled slabs."""
    frames = []
    for seed in range(8):
        atoms = ends[seed % 2].copy()
        atoms.set_constraint()
        atoms.rattle(0.15, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    return GAP(n_sparse=60, n_max=5, l_max=4).fit(frames)


@pytest.mark.parametrize("surrogate", ["distances", "soap"])
def test_given_model_is_where_the_surrogate_begins(
    surrogate: str, model: GAP, ends: tuple[Atoms, Atoms], plain: tuple[float, int], tmp_path: Path
) -> None:
    settings = NebSettings(n_images=3, surrogate=surrogate)
    result = neb(*ends, EMT_ORACLE, tmp_path / "band", settings, model=model)
    assert result.converged
    assert result.barrier == pytest.approx(plain[0], abs=0.005)


def test_model_of_other_elements_is_refused(model: GAP, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Al"):
        neb(*hop("Al"), EMT_ORACLE, tmp_path / "band", THREE, model=model)


def test_path_downhill_has_no_barrier(ends: tuple[Atoms, Atoms], tmp_path: Path) -> None:
    slope = ends[0].copy()
    slope.positions[-1, 2] += 0.5
    result = neb(slope, ends[0], EMT_ORACLE, tmp_path / "band", THREE)
    assert result.converged
    assert result.climbing_image is None
    assert result.barrier == 0.0
    assert result.reverse_barrier > 0.1


def other_order(initial: Atoms, final: Atoms) -> tuple[Atoms, Atoms]:
    initial.numbers[0], final.numbers[1] = 79, 79
    return initial, final


def other_element(initial: Atoms, final: Atoms) -> tuple[Atoms, Atoms]:
    final.numbers[3] = 79
    return initial, final


def other_cell(initial: Atoms, final: Atoms) -> tuple[Atoms, Atoms]:
    final.cell[1, 1] += 0.1
    return initial, final


def fixed_moves(initial: Atoms, final: Atoms) -> tuple[Atoms, Atoms]:
    final.set_constraint()
    final.positions[0, 0] += 0.3
    return initial, final


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a, b[:-1]), "INITIAL has 9 atoms .* and FINAL 8"),
        (other_order, "atom 0 is Au in INITIAL and Cu in FINAL; the elements are the same in another order"),
        (other_element, "atom 3 is Cu in INITIAL and Au in FINAL; the elements differ"),
        (other_cell, r"cell vector 1 is .* in INITIAL and .* in FINAL"),
        (fixed_moves, r"atom 0 \(Cu\) is fixed but 0.300 A"),
        (lambda a, b: (a, a), "the same structure"),
    ],
)
def test_ends_that_do_not_fit_are_named(
    change: object, message: str, ends: tuple[Atoms, Atoms], tmp_path: Path
) -> None:
    changed = change(*(end.copy() for end in ends))
    with pytest.raises(InputError, match=message):
        neb(*changed, EMT_ORACLE, tmp_path / "band", THREE)


def test_folder_of_another_band_is_refused(ends: tuple[Atoms, Atoms], tmp_path: Path) -> None:
    neb(*ends, EMT_ORACLE, tmp_path / "band", NebSettings(n_images=3, max_calls=1))
    with pytest.raises(InputError, match="another oracle; choose another directory"):
        neb(*ends, counting(tmp_path / "log"), tmp_path / "band", THREE)
    moved = ends[0].copy()
    moved.positions[-1, 2] += 0.1
    with pytest.raises(InputError, match="another initial; choose"):
        neb(moved, ends[1], EMT_ORACLE, tmp_path / "band", THREE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "give tblite, espresso"),
        ("missing.toml", "there is no such file"),
        ("bad.toml", "not TOML"),
        ("keys.toml", "preset.*'vasp'"),
    ],
)
def test_oracles_that_cannot_be_read_are_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.toml").write_text("oracle = [")
    (tmp_path / "keys.toml").write_text('[oracle]\npreset = "vasp"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        read_oracle(text)


def test_deviations_grow_with_the_errors_that_were_found(tmp_path: Path) -> None:
    surprises = SurpriseFile(tmp_path / "surprises.json")
    assert surprises.scale == 1.0
    surprises.add(3, 0.1)
    assert surprises.scale == 1.0
    surprises.add(4, -4.0)
    assert surprises.scale == pytest.approx(np.sqrt((1.0 + 0.01 + 16.0) / 3.0))
    assert SurpriseFile(tmp_path / "surprises.json").scale == surprises.scale
    (tmp_path / "surprises.json").write_text("[1")
    with pytest.raises(InputError, match="is damaged"):
        SurpriseFile(tmp_path / "surprises.json")


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    return capsys


def test_command_writes_numbers_report_and_figure(
    ends_files: tuple[str, str], tmp_path: Path, quiet: pytest.CaptureFixture[str]
) -> None:
    band = tmp_path / "band"
    outputs = [f"--{kind}={tmp_path / 'x'}.{suffix}" for kind, suffix in
               (("json", "json"), ("html", "html"), ("figure", "svg"))]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(["neb", *ends_files, "--oracle", "emt", "-o", str(band), "--images", "3", *outputs])
    assert not ended.value.code
    numbers = json.loads((tmp_path / "x.json").read_text())
    assert numbers == json.loads((band / "neb.json").read_text())
    page = (tmp_path / "x.html").read_text()
    assert f"{numbers['barrier_ev']:.3f}" in page
    assert "length of the path" in (tmp_path / "x.svg").read_text()
    assert f"{numbers['barrier_ev']:.4f} eV" in quiet.readouterr().out


def test_command_says_when_it_did_not_converge(
    ends_files: tuple[str, str], tmp_path: Path, quiet: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["neb", *ends_files, "--oracle", "emt", "-o", str(tmp_path / "band"), "--max-calls", "1"])
    assert ended.value.code == 1
    assert "did not converge: all 1 calls are spent" in quiet.readouterr().err
    assert (tmp_path / "band" / "path.xyz").exists()


def test_command_does_not_replace_its_input(
    ends: tuple[Atoms, Atoms], tmp_path: Path, quiet: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "band").mkdir()
    ase.io.write(tmp_path / "band" / "path.xyz", list(ends))
    source = str(tmp_path / "band" / "path.xyz")
    with pytest.raises(SystemExit):
        main(["neb", f"{source}@0", f"{source}@1", "--oracle", "emt", "-o", str(tmp_path / "band")])
    assert "is also read" in quiet.readouterr().err
    assert len(ase.io.read(source, ":")) == 2


def test_settings_are_checked() -> None:
    for changes in ({"n_images": 0}, {"max_force": 0.0}, {"surrogate": "magic"}, {"interpolation": "cubic"}):
        with pytest.raises(InputError, match=next(iter(changes))):
            NebSettings(**changes)


def test_vacancy_in_a_crystal_without_constraints(tmp_path: Path) -> None:
    crystal = bulk("Al", cubic=True) * (2, 2, 1)
    initial = crystal[1:]
    final = initial.copy()
    final.positions[0] = crystal.positions[0]
    for end in (initial, final):
        end.calc = EMT()
        BFGS(end, logfile=None).run(fmax=0.01)
        end.calc = None
    result = neb(initial, final, EMT_ORACLE, tmp_path / "band", THREE)
    assert result.converged
    assert 0.1 < result.barrier < 1.5
