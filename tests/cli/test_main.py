"""The command as a program: start-up, help, errors as one message, interruption."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from castile.cli.main import app, describe_error
from castile.errors import InputError
from cli.conftest import interrupt

HEAVY = ("numpy", "numba", "scipy", "matplotlib", "ase", "sklearn", "pydantic", "safetensors")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "castile.cli.main", *arguments],
        capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "120", **environment},
    )  # fmt: skip


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom castile.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"
    for name in ("demo", "fit", "update", "evaluate", "predict", "relax", "md", "describe", "info"):
        assert name in done.stdout


def test_every_command_has_help() -> None:
    import typer

    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage" in result.output


def test_version() -> None:
    assert run("--version").stdout.startswith("castile ")


def test_no_arguments_is_help() -> None:
    assert "Usage" in run().stdout


def test_an_error_is_one_message_without_traceback() -> None:
    done = run("describe", "nowhere.xyz", "-o", "x.npz")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("castile: nowhere.xyz")
    assert "Traceback" not in done.stderr


def test_traceback_on_request() -> None:
    done = run("describe", "nowhere.xyz", "-o", "x.npz", CASTILE_TRACEBACK="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_usage_errors_exit_with_two() -> None:
    assert run("describe", "--no-such-option").returncode == 2
    assert run("--threads", "0", "describe", "x", "-o", "y").returncode == 2


def test_threads_reach_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTILE_NUM_THREADS", "7")
    CliRunner().invoke(app, ["--threads", "3", "describe", "nowhere.xyz", "-o", "x.npz"])
    assert os.environ["CASTILE_NUM_THREADS"] == "3"


def test_notes_and_operating_system_errors_are_told() -> None:
    error = InputError("what is wrong")
    error.add_note("what is kept")
    assert describe_error(error) == "what is wrong what is kept"
    assert (
        describe_error(PermissionError(13, "Permission denied", "model.castile"))
        == "model.castile: Permission denied"
    )


@pytest.mark.usefixtures("children_can_be_interrupted")
def test_interruption_exits_with_130(tmp_path: Path) -> None:
    from ase.build import bulk
    from ase.io import write

    write(tmp_path / "many.xyz", [bulk("Si", cubic=True)] * 6000)
    child = subprocess.Popen(
        [sys.executable, "-m", "castile.cli.main", "describe", "many.xyz", "-o", "f.npy"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while child.poll() is None and not list(tmp_path.glob(".f.npy.*/features.npy")):
        time.sleep(0.02)
    assert "interrupted" in interrupt(child)
    assert [path.name for path in tmp_path.iterdir()] == ["many.xyz"]
