"""Audits and maps with the errors and deviations of a fitted potential."""

from pathlib import Path

import pytest

import castile
from castile.cli.main import main
from castile.demo.data import silicon_file


@pytest.fixture(scope="module")
def silicon_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "silicon.castile"
    castile.GAP(n_sparse=60, n_max=4, l_max=3).fit(f"{silicon_file('silicon_train.xyz')}@::6").save(path)
    return path


def _run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code in (0, None)


def test_audit_shows_the_errors_of_a_model(silicon_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = (f"{silicon_file(f'silicon_{part}.xyz')}@::6" for part in ("train", "test"))
    _run("audit", train, test, "--cutoff", 4, "--threshold", 0.999, "--model", silicon_model)
    shown = capsys.readouterr().out
    assert "Error by distance to training" in shown
    assert "(eV/atom)" in shown


def test_map_has_errors_and_deviations_of_a_model(silicon_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("chemiscope")
    page = tmp_path / "map.html"
    data = f"{silicon_file('silicon_test.xyz')}@::3"
    _run("map", data, "-o", page, "--cutoff", 4, "--model", silicon_model)
    assert page.stat().st_size > 100_000
    assert (tmp_path / "map.png").exists()
    text = page.read_text(encoding="utf-8")
    assert "deviation" in text
    assert "error" in text
