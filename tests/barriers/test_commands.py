"""The commands, from files to tables."""

import csv
import json
from pathlib import Path

import pytest
from ase.io import write

from barriers.examples import layered, olivine, simple_cubic
from castile.barriers import BarrierModel, MigrationPath, save_barrier_model
from castile.barriers.crystals import read_crystals
from castile.barriers.screening import ScreenSettings, screen
from castile.cli.main import main
from castile.errors import InputError


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["barriers", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture
def data(tmp_path: Path, paths: list[MigrationPath]) -> Path:
    """Labelled paths in a file."""
    images = []
    for path in paths:
        for image in path.images(5):
            image.info |= {
                "barrier": path.barrier,
                "system": path.system,
                "structure_class": path.structure_class,
            }
            images.append(image)
    write(tmp_path / "data.xyz", images)
    return tmp_path / "data.xyz"


@pytest.fixture
def saved(tmp_path: Path, model: BarrierModel) -> Path:
    """The model in a file."""
    save_barrier_model(model, tmp_path / "m.castile")
    return tmp_path / "m.castile"


@pytest.fixture
def crystals(tmp_path: Path) -> Path:
    """A folder of crystals, one of them broken."""
    folder = tmp_path / "crystals"
    folder.mkdir()
    write(folder / "layered.cif", layered())
    write(folder / "olivine.vasp", olivine(), format="vasp")
    (folder / "broken.cif").write_text("data_x\n_cell_length_a 3\n")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_fit_evaluate_predict(data: Path, tmp_path: Path) -> None:
    model, table = tmp_path / "new.castile", tmp_path / "t.csv"
    assert run("fit", data, "-o", model, "--json", tmp_path / "fit.json") == 0
    assert json.loads((tmp_path / "fit.json").read_text())["n_training_paths"] == 24
    assert run("evaluate", model, data, "--json", tmp_path / "e.json", "--report", tmp_path / "e.html") == 0
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["barrier_mae_ev"] < 0.2
    assert numbers["barrier_r2"] > 0.8
    assert "Calibration" in (tmp_path / "e.html").read_text()
    assert run("predict", model, data, "-o", table) == 0
    written = rows(table)
    assert len(written) == 24
    assert float(written[0]["barrier_lower_ev"]) <= float(written[0]["barrier_median_ev"])
    assert float(written[0]["barrier_median_ev"]) <= float(written[0]["barrier_ev"])
    assert run("fit", data, "-o", tmp_path / "other.castile", "--mixing", "other") == 1
    assert written[0]["path_id"] == "p0"
    assert written[0]["error"] == ""


def test_predict_without_labels_and_with_broken_paths(
    saved: Path, tmp_path: Path, paths: list[MigrationPath]
) -> None:
    images = paths[0].images(5) + paths[1].images(1)
    for image in images:
        assert "barrier" not in image.info
    images[0].numbers[1:3] = [96, 60]
    for image in images[1:5]:
        image.numbers[1:3] = [96, 60]
    write(tmp_path / "new.xyz", images)
    assert (
        run("predict", saved, tmp_path / "new.xyz", "-o", tmp_path / "t.csv", "--json", tmp_path / "t.json")
        == 0
    )
    good, broken = sorted(rows(tmp_path / "t.csv"), key=lambda row: row["path_id"])
    assert float(good["barrier_ev"]) >= 0.0
    assert good["reference_barrier_ev"] == ""
    assert broken["barrier_ev"] == ""
    assert "two ends" in broken["error"]
    assert json.loads((tmp_path / "t.json").read_text())["n_broken"] == 1


def test_parquet_has_the_same_rows(saved: Path, data: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert run("predict", saved, data, "-o", tmp_path / "t.parquet") == 0
    assert run("predict", saved, data, "-o", tmp_path / "t.csv") == 0
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    expected = [float(row["barrier_ev"]) for row in rows(tmp_path / "t.csv")]
    assert table["barrier_ev"] == pytest.approx(expected, rel=1e-4)


def test_crossval(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--folds", 2, "--json", tmp_path / "c.json", "--report", tmp_path / "c.html")
    assert run("crossval", data, *arguments) == 0
    numbers = json.loads((tmp_path / "c.json").read_text())
    assert numbers["random_barrier_mae_ev"] > 0.0
    assert numbers["leak_proof_barrier_mae_ev"] > 0.0
    assert numbers["families_barrier_mae_mean_over_seeds_ev"] > 0.0
    assert 2 <= numbers["families_n_groups"] <= numbers["leak_proof_n_groups"]
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("random, seed 0", "leak-proof, seed 0", "unseen families, seed 0"))


def test_inputs_are_not_overwritten(data: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = data.read_bytes()
    assert run("fit", data, "-o", data) == 1
    assert run("predict", saved, data, "-o", data) == 1
    assert run("predict", saved, data, "-o", saved) == 1
    assert data.read_bytes() == before
    assert "also read" in capsys.readouterr().err


def test_screen_writes_all_outputs(saved: Path, crystals: Path, tmp_path: Path) -> None:
    pytest.importorskip("spglib", reason="spglib is not installed")
    pytest.importorskip("networkx", reason="networkx is not installed")
    from ase.db import connect

    out = {name: tmp_path / f"s.{name}" for name in ("csv", "db", "html", "json")}
    arguments = ("-o", out["csv"], "--hops", tmp_path / "h.csv", "--database", out["db"])
    arguments += ("--report", out["html"], "--json", out["json"], "--longest", 3.5)
    assert run("screen", crystals, "--mobile", "Li", "--model", saved, *arguments) == 0
    table = {row["name"]: row for row in rows(out["csv"])}
    assert table["layered"]["percolation_2d_ev"] != ""
    assert table["layered"]["percolation_3d_ev"] == ""
    assert table["olivine"]["percolation_2d_ev"] == ""
    assert "broken.cif" in table["broken"]["error"]
    assert len(rows(tmp_path / "h.csv")) == 2
    with connect(str(out["db"])) as database:
        assert {row.name for row in database.select()} == {"layered", "olivine"}
    assert "<svg" in out["html"].read_text()
    assert json.loads(out["json"].read_text())["n_skipped"] == 1
    assert not list(tmp_path.glob("*.jsonl"))


def test_screening_goes_on_where_it_was(model: BarrierModel, crystals: Path, tmp_path: Path) -> None:
    pytest.importorskip("spglib", reason="spglib is not installed")
    pytest.importorskip("networkx", reason="networkx is not installed")
    settings, journal = ScreenSettings("Li", longest=3.5), tmp_path / "j.jsonl"
    whole = screen(read_crystals(str(crystals)), model, settings, journal=journal)
    cut = journal.read_text().splitlines()
    journal.write_text("\n".join(cut[:2]) + "\n" + cut[2][:40])  # killed while it wrote the second crystal
    seen = []

    def counted():
        for crystal in read_crystals(str(crystals)):
            seen.append(crystal.name)
            yield crystal

    again = screen(counted(), model, settings, journal=journal)
    assert again == whole
    assert screen(iter(()), model, settings, journal=journal) == whole
    assert screen(iter(()), model, ScreenSettings("Li", longest=3.0), journal=journal) == []


def test_workers_give_the_same(model: BarrierModel, crystals: Path) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    pytest.importorskip("spglib", reason="spglib is not installed")
    pytest.importorskip("networkx", reason="networkx is not installed")
    settings = ScreenSettings("Li", longest=3.5)
    here = screen(read_crystals(str(crystals)), model, settings)
    there = screen(read_crystals(str(crystals)), model, settings, workers=1)
    assert [result.name for result in there] == [result.name for result in here]
    assert there[0].percolating == pytest.approx(here[0].percolating, abs=1e-9)


def test_databases_and_duplicate_names(tmp_path: Path) -> None:
    from ase.db import connect

    with connect(str(tmp_path / "x.db")) as database:
        for _ in range(2):
            database.write(simple_cubic(), name="same")
    assert [crystal.name for crystal in read_crystals(str(tmp_path / "x.db"))] == ["same", "same~1"]
    with pytest.raises(InputError, match="no such file"):
        list(read_crystals(str(tmp_path / "absent")))
