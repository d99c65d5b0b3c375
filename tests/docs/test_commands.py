"""Commands in README.md and docs/ exist with the options shown; those of the tutorial run."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from ase.build import bulk
from ase.io import read, write

from castile.cli.main import app, main
from castile.demo.data import silicon_file
from docs.test_snippets import PAGES, ROOT

BLOCK = re.compile(r"^(?P<indent>[ \t]*)```(?:console|bash)\n(?P<body>.*?)^(?P=indent)```", re.M | re.S)
COMMAND = re.compile(r"^\s*(?:\$ )?(?P<command>(?:\.venv/bin/)?castile .*)$", re.M)
COMMANDS = typer.main.get_command(app).commands


def shown_commands(text: str) -> list[list[str]]:
    """Arguments of every ``castile ...`` in shell blocks; a backslash continues a line."""
    bodies = [match["body"].replace("\\\n", " ") for match in BLOCK.finditer(text)]
    return [shlex.split(match["command"])[1:] for body in bodies for match in COMMAND.finditer(body)]


SHOWN = [
    pytest.param(arguments, id=f"{page.relative_to(ROOT).as_posix()}-{number}")
    for page in PAGES
    for number, arguments in enumerate(shown_commands(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("arguments", SHOWN)
def test_shown_command_is_understood(arguments: list[str]) -> None:
    name, *rest = arguments
    assert name in COMMANDS, f"there is no command {name}"
    COMMANDS[name].make_context(name, rest)


def test_every_command_has_a_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"commands/{name}.md" not in navigation]
    assert not missing
    assert not [name for name in COMMANDS if not (ROOT / "docs" / "commands" / f"{name}.md").exists()]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if f": {page}\n" not in navigation]


def test_commands_of_the_tutorial_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare_tutorial()
    commands = shown_commands((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    assert {arguments[0] for arguments in commands} >= {"fit", "evaluate", "relax", "elastic", "md", "update"}
    for arguments in commands:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code in (0, None), " ".join(arguments)
    assert Path("model.castile").exists()
    assert Path("report.html").exists()


def prepare_tutorial() -> None:
    """Write what the Python blocks of the tutorial have written before its commands."""
    for part in ("train", "test"):
        shutil.copy(silicon_file(f"silicon_{part}.xyz"), f"{part}.xyz")
    frames = read("train.xyz", "1:13")
    write("odd.xyz", [with_odd_names(atoms.copy(), atoms.calc.results) for atoms in frames])
    for atoms in frames[:3]:
        del atoms.calc.results["stress"]
    write("patchy.xyz", frames)
    write("cell.xyz", bulk("Si", cubic=True))
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    settings = re.search(r'Path\("two\.toml"\)\.write_text\("""\n(.*?)"""\)', text, re.S)
    assert settings is not None
    Path("two.toml").write_text(settings[1], encoding="utf-8")


def with_odd_names(atoms, results):
    """Labels under names of one's own, without the stress."""
    atoms.info["U_pbe"], atoms.arrays["minus_gradient"] = results["energy"], results["forces"]
    return atoms
