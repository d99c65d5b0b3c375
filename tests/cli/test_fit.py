"""``castile fit`` and ``castile update`` as programs."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.io import read, write
from typer.testing import CliRunner, Result

import castile
from castile.cli.main import app
from castile.demo.data import silicon_file
from castile.potentials.settings import FitSettings
from cli.conftest import interrupt
from evaluation.emt_model import labelled_copper

SMALL = ("--cutoff", "4.5", "--n-max", "4", "--l-max", "3", "--n-sparse", "15", "--threads", "1")
DOCS = Path(__file__).parents[2] / "docs" / "commands"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    frames = labelled_copper(14, noise=0.01)
    write(folder / "train.xyz", frames[:8])
    write(folder / "new.xyz", frames[8:11])
    write(folder / "test.xyz", frames[11:])
    return folder


@pytest.fixture(scope="module")
def fitted(data: Path) -> Result:
    result = invoke(
        "fit", data / "train.xyz", "-o", data / "m.castile", "--test", data / "test.xyz",
        "--json", data / "m.json", "--report", data / "m.html", *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return result


def test_what_a_fit_prints_and_writes(data: Path, fitted: Result) -> None:
    out = fitted.stdout
    titles = ["Label census", "Settings taken from the data", "Noise levels", "Amplitudes", "Timings"]
    positions = [out.index(title) for title in [*titles, "Errors on the test structures"]]
    assert positions == sorted(positions)
    assert "learned × 0.3" in out
    assert "The noise of energy is 0.3 times what the marginal likelihood found" in out
    assert re.search(r"times the root of n: .* meV/atom for the median structure of 6 atoms", out)
    before_work = fitted.stderr.index("Estimated peak memory: 0.")
    assert before_work < fitted.stderr.index("training rows")
    assert "Complete settings" in fitted.stderr
    assert sorted(path.name for path in data.iterdir() if path.name.startswith("m.")) == [
        "m.castile", "m.html", "m.json", "m.toml",
    ]  # fmt: skip
    assert "Test structures against their labels" in (data / "m.html").read_text(encoding="utf-8")


def test_json_is_flat_and_documented(data: Path, fitted: Result) -> None:
    numbers = json.loads((data / "m.json").read_text())
    model = castile.load(data / "m.castile")
    report = model.fit_report
    assert numbers["n_structures"] == 8
    assert numbers["n_sparse"] == report.n_columns
    assert numbers["energy_noise_mev_per_root_atom"] == 1000 * report.noise("energy").sigma
    assert numbers["force_noise_ev_per_angstrom"] == report.noise("forces").sigma
    assert numbers["stress_noise_ev_per_angstrom3"] == report.noise("stress").sigma
    assert numbers["train_force_rmse_ev_per_angstrom"] == report.noise("forces").training_rmse
    assert (numbers["energy_noise_factor"], numbers["force_noise_factor"]) == (0.3, 1.0)
    assert numbers["test_n_structures"] == 3
    assert numbers["n_atoms"] == sum(len(atoms) for atoms in read(data / "train.xyz", ":"))
    errors = castile.evaluate(model, data / "test.xyz").to_json_dict()
    of_the_fit = {"n_structures", "n_atoms"}
    assert errors.keys() & report.to_json_dict().keys() == of_the_fit
    for key in errors.keys() - of_the_fit - {"prediction_seconds"}:
        assert numbers[key] == numbers[f"test_{key}"] == pytest.approx(errors[key], rel=1e-6, abs=1e-9), key
    text = (DOCS / "fit.md").read_text(encoding="utf-8")
    for key in report.to_json_dict():
        name = re.sub(r"^(amplitude|composition|seconds)/.*?(_ev|_n_sparse|)$", r"\1/<name>\2", key)
        assert f"`{name}`" in text, key


def test_the_written_settings_give_the_same_model(data: Path, fitted: Result, tmp_path: Path) -> None:
    result = invoke(
        "fit",
        data / "train.xyz",
        "-o",
        tmp_path / "again.castile",
        "--config",
        data / "m.toml",
        "--threads",
        1,
    )
    assert result.exit_code == 0, result.output
    assert "Settings taken from the data" not in result.stdout
    one, two = castile.load(data / "m.castile"), castile.load(tmp_path / "again.castile")
    assert one.settings_ == two.settings_
    for atoms in read(data / "test.xyz", ":"):
        assert one.predict(atoms).energy == two.predict(atoms).energy
    assert (tmp_path / "again.toml").read_text() == (data / "m.toml").read_text()


def test_the_users_own_settings_are_not_overwritten(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "copper.toml"
    config.write_text("# mine\nseed = 3\n[[soap]]\nn_max = 4\nl_max = 2\nn_sparse = 9\n")
    result = invoke("fit", data / "train.xyz", "-o", tmp_path / "copper.castile", "--config", config)
    assert result.exit_code == 0, result.output
    assert config.read_text().startswith("# mine")
    assert "seed = 3" in (tmp_path / "copper.complete.toml").read_text()
    result = invoke("fit", data / "train.xyz", "-o", tmp_path / "copper.castile", "--n-sparse", 9)
    assert result.exit_code == 0, result.output
    assert config.read_text().startswith("# mine")  # also where the fit did not read it


def test_update_is_a_call_of_the_api(data: Path, fitted: Result, tmp_path: Path) -> None:
    out = tmp_path / "m2.castile"
    result = invoke(
        "update", data / "m.castile", data / "new.xyz", "-o", out, "--test", data / "test.xyz",
        "--json", tmp_path / "u.json", "--threads", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = castile.load(data / "m.castile", threads=1).update(data / "new.xyz")
    atoms = read(data / "test.xyz", 0)
    assert castile.load(out).predict(atoms).energy == pytest.approx(expected.predict(atoms).energy, abs=1e-10)
    assert json.loads((tmp_path / "u.json").read_text())["n_energy_labels"] == 11
    again = invoke("update", data / "m.castile", data / "new.xyz", "-o", out, "--relearn", "--threads", 1)
    assert again.exit_code == 0
    assert "learned" in again.stdout
    assert "castile calibrate MODEL DATA" in again.stderr  # three structures are too few to calibrate on
    assert "castile calibrate MODEL DATA" in " ".join(invoke("info", out).stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "no/such/m.castile"), "no folder"),
        (("-o", "m.toml"), ".toml is for the settings"),
        (("-o", "m.castile", "--test", "none.xyz"), "none.xyz"),
        (("-o", "m.castile", "--config", "none.toml"), "none.toml"),
        (("-o", "m.castile", "--energy-key", "dft"), "dft"),
        (("-o", "m.castile", "--memory", "0.1"), "--memory 0.1 GB is too little"),
        (("-o", "m.castile", "--atom-energy", "Cu"), "SYMBOL=EV"),
        (("-o", "m.castile", "--atom-energy", "Cu=1", "--composition", "none"), "contradict"),
        (("-o", "m.castile", "--cutoff", "-2"), "cutoff = -2.0"),
        (("-o", "m.castile", "--channels", "few"), "channels = 'few'"),
    ],
)
def test_errors_come_before_the_work_and_leave_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("fit", data / "train.xyz", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "training rows" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_reach_the_model(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.castile"
    result = invoke(
        "fit", f"{data}/train.xyz@:4", "-o", out, "--no-core", "--no-pair", "--atom-energy", "Cu=0.02",
        "--energy-noise", 0.002, "--selection", "random", "--seed", 5, "--channels", 1, "--zeta", 2, *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    settings = castile.load(out).settings_
    assert (settings.pair, settings.core.enabled, settings.seed) == ((), False, 5)
    assert (settings.selection, settings.noise.energy) == ("random", 0.002)
    assert (settings.soap[0].channels, settings.soap[0].zeta) == (1, 2.0)
    assert settings.composition.energies == {"Cu": 0.02}


@pytest.mark.usefixtures("children_can_be_interrupted")
def test_interruption_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "many.xyz", labelled_copper(12) * 60)
    child = subprocess.Popen(
        [sys.executable, "-m", "castile.cli.main", "fit", "many.xyz", "-o", "m.castile", *SMALL],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("Estimated"):
            break
    time.sleep(0.3)
    assert "interrupted. Nothing was written." in interrupt(child)
    assert [path.name for path in tmp_path.iterdir()] == ["many.xyz"]


def test_every_setting_is_on_the_page() -> None:
    text = (DOCS / "fit.md").read_text(encoding="utf-8")
    stack: list[tuple[str, type]] = [("", FitSettings)]
    while stack:
        prefix, model = stack.pop()
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]
            inner = [t for t in _models(field.annotation) if t is not model]
            for other in inner:
                stack.append((f"{prefix}{name}.", other))
            if not inner:
                row = re.search(rf"^\| `{re.escape(prefix + name)}` \|.*$", text, re.MULTILINE)
                assert row, f"{prefix}{name} is not documented"
                default = field.get_default(call_default_factory=True)
                if isinstance(default, (bool, int, float, str)):
                    assert f"`{json.dumps(default)}`" in row[0], f"{prefix}{name}: default {default!r}"


def _models(annotation: object) -> list[type]:
    if hasattr(annotation, "model_fields"):
        return [annotation]  # type: ignore[list-item]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def test_every_option_is_on_the_page() -> None:
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name in ("fit", "update"):
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        for parameter in commands[name].params:
            option = parameter.opts[0]
            if option.startswith("--"):
                assert f"`{option}" in text, f"{name} {option}"


def test_memory_is_a_cap_that_a_real_fit_keeps(tmp_path: Path) -> None:
    """In a process of its own: the peak of this one is that of all tests."""
    cap = 0.45
    options = ["--n-sparse", "1500", "--n-max", "5", "--l-max", "3", "--memory", str(cap), "--threads", "1"]
    arguments = [
        "fit",
        str(silicon_file("silicon_train.xyz")),
        "-o",
        "m.castile",
        "--json",
        "m.json",
        *options,
    ]
    subprocess.run(
        [sys.executable, "-m", "castile.cli.main", *arguments], cwd=tmp_path, check=True, capture_output=True
    )
    numbers = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert 50 < numbers["amplitude/soap/14_n_sparse"] < 1500
    assert 0.1 < numbers["peak_memory_gb"] <= cap
    assert numbers["estimated_memory_gb"] <= cap
