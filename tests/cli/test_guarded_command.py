"""No command writes over what it reads, nor one output over another; it says so before any work."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from castile.cli.guarded_command import INPUTS, NUMBERS, GuardedCommand, check_outputs
from castile.cli.main import app
from castile.errors import InputError

OPTIONS = {"json": "--json", "report": "--report", "output": "--output"}


def test_every_command_is_guarded() -> None:
    groups = [typer.main.get_command(app)]
    while groups:
        for command in groups.pop().commands.values():  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                groups.append(command)
                continue
            assert isinstance(command, GuardedCommand), command.name
            names = {parameter.name for parameter in command.params}
            assert names & {"json", "json_file"} or command.name in ("import-gap", "export-gap")
            arguments = {p.name for p in command.params if p.param_type_name == "argument"}
            assert arguments <= {*INPUTS, "initial", "final", "directory"}, command.name


@pytest.mark.parametrize("option", ["--json", "--report"])
@pytest.mark.parametrize("suffix", ["", "@:3"])
def test_numbers_do_not_replace_data_or_model(
    option: str, suffix: str, tmp_path: Path, copper_data: Path, copper_model: Path
) -> None:
    data, model = tmp_path / "data.xyz", tmp_path / "model.castile"
    data.write_bytes(copper_data.read_bytes())
    model.write_bytes(copper_model.read_bytes())
    (tmp_path / "link.xyz").symlink_to(data)
    for target in (data, model, tmp_path / "link.xyz"):
        command = ["evaluate", str(model), f"{data}{suffix}", option, str(target)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert f"{option} {target}: is also read" in result.stderr
    assert data.read_bytes() == copper_data.read_bytes()
    assert model.read_bytes() == copper_model.read_bytes()


def test_globs_are_seen_through(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("data")
    with pytest.raises(InputError, match="is also read"):
        check_outputs({"data": [f"{tmp_path}/*.xyz@::2"], "json": tmp_path / "a.xyz"}, OPTIONS)
    check_outputs({"data": [f"{tmp_path}/*.xyz@::2"], "json": tmp_path / "b.json"}, OPTIONS)


@pytest.mark.parametrize("command", ["predict", "relax", "select", "fit", "describe", "map", "calibrate"])
def test_an_output_that_is_a_folder_is_one_message(command: str, tmp_path: Path, copper_data: Path) -> None:
    model = ["no.castile"] if command in ("predict", "relax", "calibrate") else []
    count = ["-n", "2"] if command == "select" else []
    for folder in (tmp_path, "."):
        arguments = [command, *model, str(copper_data), *count, "-o", str(folder)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert f"--output {folder}: is a folder; name a file in it" in result.stderr


def test_outputs_that_are_folders_may_exist(tmp_path: Path) -> None:
    check_outputs({"output": tmp_path}, OPTIONS, {"output"})


def test_outputs_must_differ_and_have_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--json and --output both name"):
        check_outputs({"json": tmp_path / "x", "output": tmp_path / "." / "x"}, OPTIONS)
    for name in NUMBERS:
        with pytest.raises(InputError, match="there is no folder"):
            check_outputs({name: tmp_path / "nowhere" / "x"}, OPTIONS)
        with pytest.raises(InputError, match="is a folder"):
            check_outputs({name: tmp_path}, OPTIONS)


def test_a_model_may_be_replaced_by_its_update(tmp_path: Path) -> None:
    model = tmp_path / "model.castile"
    model.write_text("model")
    check_outputs({"model": model, "output": model}, OPTIONS)
