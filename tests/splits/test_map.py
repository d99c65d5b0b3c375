"""Maps: coordinates against a direct solution, and the page in a real browser."""

import base64
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write
from sklearn.decomposition import KernelPCA

from castile.cli.main import main
from castile.errors import InputError
from castile.report.packed_points import packed_dataset
from castile.splits.info_columns import InfoColumns
from castile.splits.kernel_map import kernel_map
from castile.splits.kernel_ridge import mean_features
from castile.splits.manifest import read_manifest
from castile.splits.map_properties import point_properties, shown_points, split_columns
from castile.splits.settings import SimilaritySettings
from castile.splits.structure_table import table_of
from castile.structures import LabelledStructure
from splits.browser import open_page

SIMILARITY = SimilaritySettings(cutoff=4.0, n_max=4, l_max=3)
DEEP = """const find = (root, wanted) => { for (const e of root.querySelectorAll('*')) {
  if (e.matches(wanted)) return e;
  if (e.shadowRoot) { const found = find(e.shadowRoot, wanted); if (found) return found; } }
  return null; };"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code or 0


def shapes() -> list[Atoms]:
    generator = np.random.default_rng(0)
    structures = []
    for k in range(18):
        atoms = molecule(("H2O", "NH3", "CH4")[k % 3])
        atoms.positions += generator.normal(scale=0.1, size=atoms.positions.shape)
        atoms.info |= {"kind": ("water", "ammonia", "methane")[k % 3], "number": float(k)}
        structures.append(atoms)
    return structures


def test_components_are_those_of_kernel_pca() -> None:
    table = table_of(shapes())
    placed = kernel_map(table, SIMILARITY)
    features = mean_features(table, SIMILARITY.resolved(table))
    K = features.kernel(np.arange(18), np.arange(18))
    expected = KernelPCA(3, kernel="precomputed").fit_transform(K)
    np.testing.assert_allclose(np.abs(placed.coordinates), np.abs(expected), atol=1e-5)
    assert 0.9 < sum(placed.explained) <= 1.0
    np.testing.assert_array_equal(placed.structure, np.arange(18))


def test_atoms_are_points_of_their_own() -> None:
    table = table_of([bulk("NaCl", "rocksalt", a=5.6, cubic=True), molecule("H2O")])
    placed = kernel_map(table, SIMILARITY, atoms=True)
    assert len(placed.coordinates) == 11
    np.testing.assert_array_equal(placed.atom, [*range(8), 0, 1, 2])
    sodium = placed.coordinates[[0, 2, 4, 6]]
    assert np.ptp(sodium, axis=0).max() < 1e-6


def test_many_landmarks_are_needed_only_beyond_three_hundred_points(shared_data) -> None:
    """Chunks and landmarks give what all points at once give."""
    structures = read(shared_data / "rmd17/ethanol_train.xyz.gz", ":400")
    table = table_of(structures)
    placed = kernel_map(table, SIMILARITY)
    features = mean_features(table, SIMILARITY.resolved(table))
    K = features.kernel(np.arange(400), np.arange(400))
    exact = KernelPCA(3, kernel="precomputed").fit_transform(K)
    correlation = [abs(np.corrcoef(placed.coordinates[:, k], exact[:, k])[0, 1]) for k in range(3)]
    assert min(correlation) > 0.999


def test_umap_keeps_kinds_together_and_is_the_same_every_time() -> None:
    pytest.importorskip("umap", reason="the package umap-learn is missing")
    table = table_of(shapes())
    placed = kernel_map(table, SIMILARITY, umap=True)
    assert placed.method == "UMAP"
    assert placed.coordinates.shape == (18, 2)
    centers = np.array([placed.coordinates[k::3].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(placed.coordinates[:, None] - centers[None], axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.arange(18) % 3)
    np.testing.assert_array_equal(kernel_map(table, SIMILARITY, umap=True).coordinates, placed.coordinates)
    with pytest.raises(InputError, match="UMAP needs"):
        kernel_map(table_of(shapes()[:3]), SIMILARITY, umap=True)


def test_absence_of_umap_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match="umap-learn"):
        kernel_map(table_of(shapes()), SIMILARITY, umap=True)


def test_points_of_a_page_are_bounded_by_the_atoms_of_their_structures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = table_of(shapes())
    whole, per_atom = kernel_map(table, SIMILARITY), kernel_map(table, SIMILARITY, atoms=True)
    assert sorted(shown_points(whole, table, 100)) == list(range(18))
    assert len(shown_points(whole, table, 7)) == 7
    monkeypatch.setattr("castile.splits.map_properties.MOST_ATOMS", 20)
    shown = shown_points(whole, table, 100)
    assert 15 <= table.n_atoms[shown].sum() <= 20
    owners = np.unique(per_atom.structure[shown_points(per_atom, table, 100)])
    assert table.n_atoms[owners].sum() <= 20


def test_properties_of_points() -> None:
    structures = [LabelledStructure(atoms, f"a.xyz[{k}]") for k, atoms in enumerate(shapes()[:4])]
    structures += [LabelledStructure(shapes()[4], "b.xyz[0]", energy=8.0, config_type="late")]
    structures[2].atoms.info |= {"extra": 7, "matrix": np.eye(3), "bad": np.inf, "mixed": 3}
    structures[3].atoms.info |= {"mixed": "three"}
    columns = InfoColumns()
    table = table_of(columns.passing(structures, lambda done: None))
    placed = kernel_map(table, SIMILARITY, atoms=True)
    found = point_properties(table, placed, columns.columns(), np.array([5, 2]))
    assert set(found) == {
        "structure", "file", "config_type", "energy", "kind", "number", "extra", "bad", "mixed", "atoms",
        "composition", "element", "selection order",
    }  # fmt: skip
    of_structure = np.unique(placed.structure, return_index=True)[1]
    assert found["file"][of_structure].tolist() == ["a.xyz"] * 4 + ["b.xyz"]
    assert found["config_type"][of_structure].tolist() == ["(none)"] * 4 + ["late"]
    np.testing.assert_array_equal(found["energy"][of_structure], [np.nan] * 4 + [2.0])
    np.testing.assert_array_equal(found["extra"][of_structure], [np.nan, np.nan, 7.0, np.nan, np.nan])
    assert np.isnan(found["bad"]).all()
    assert found["mixed"][of_structure].tolist() == ["(none)", "(none)", "3.0", "three", "(none)"]
    assert found["element"][:3].tolist() == ["O", "H", "H"]
    assert found["selection order"][[5, 2, 0]].tolist() == [0.0, 1.0, 2.0]


def test_packed_page_has_every_number_again() -> None:
    structures = [bulk("Si"), molecule("H2O")]
    values = np.array([-123456.789012345, np.nan])
    header, text = packed_dataset(
        structures, {"e": values, "n": np.array(["</script>", "x"])}, None, title="t", settings={}
    )
    assert "</script" not in header
    content, block = json.loads(header), gzip.decompress(base64.b64decode(text))

    def unpacked(place: list[int], kind: str) -> np.ndarray:
        return np.frombuffer(block, kind, place[1], place[0])

    numbers, names = content["properties"]
    np.testing.assert_array_equal(unpacked(numbers["numbers"], "<f8"), values)
    assert [names["names"][k] for k in unpacked(names["codes"], "<u4")] == ["</script>", "x"]
    stored = content["structures"]
    assert unpacked(stored["first"], "<u4").tolist() == [0, 2, 5]
    assert [content["symbols"][z] for z in unpacked(stored["numbers"], "u1")] == ["Si", "Si", "O", "H", "H"]
    positions = np.concatenate([atoms.positions for atoms in structures])
    np.testing.assert_allclose(unpacked(stored["positions"], "<f4").reshape(-1, 3), positions, atol=1e-6)
    cells = unpacked(stored["cells"], "<f4").reshape(-1, 3, 3)
    np.testing.assert_allclose(cells, [bulk("Si").cell.array, np.zeros((3, 3))], atol=1e-6)


def test_parts_and_components_of_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("chemiscope", reason="the package chemiscope is missing")
    write(tmp_path / "shapes.xyz", shapes())
    data, page = str(tmp_path / "shapes.xyz"), str(tmp_path / "map.html")
    options = ["--fractions", "0.5", "0.5", "--threshold", "0.99999", "--cutoff", "4"]
    assert run("split", data, "-o", str(tmp_path / "parts"), *options) == 0
    assert run("map", data, "-o", page, "--split", str(tmp_path / "parts"), "--cutoff", "4") == 0
    columns = split_columns(*read_manifest(tmp_path / "parts"), 18)
    assert np.unique(columns["split"], return_counts=True)[1].tolist() == [9, 9]
    assert len(np.unique(columns["component"])) == 18
    assert '"color": {"property": "split"}' in Path(page).read_text(encoding="utf-8")
    capsys.readouterr()
    assert run("map", f"{data}@:9", "-o", page, "--split", str(tmp_path / "parts")) == 1
    assert "splits 18 structures, not the 9" in capsys.readouterr().err


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("chemiscope", reason="the package chemiscope is missing")
    folder = tmp_path_factory.mktemp("map")
    write(folder / "shapes.xyz", shapes())
    with pytest.raises(SystemExit) as ended:
        main(["map", str(folder / "shapes.xyz"), "-o", str(folder / "map.html"), "--color", "number"])
    assert ended.value.code in (0, None)
    assert (folder / "map.png").stat().st_size > 10_000
    return folder / "map.html"


def test_page_renders_and_a_click_shows_the_structure(page_file: Path, tmp_path: Path) -> None:
    with open_page(page_file, tmp_path) as page:
        assert page.wait_for("document.body ? document.body.dataset.ready : ''") == "yes"
        page.wait_for(f"(() => {{ {DEEP} return find(document, '.js-plotly-plot') !== null; }})()")
        read = f"(() => {{ {DEEP} return find(document, 'input[type=number]').value; }})()"
        before = page.wait_for(read)
        place = f"""(() => {{ {DEEP} const plot = find(document, '.js-plotly-plot');
          const box = plot.getBoundingClientRect(), layout = plot._fullLayout, trace = plot.data[0];
          const k = {int(before) + 1};
          return [box.x + layout.xaxis._offset + layout.xaxis.l2p(trace.x[k]),
                  box.y + layout.yaxis._offset + layout.yaxis.l2p(trace.y[k])]; }})()"""
        x, y = page.run(place)
        first = page.picture()
        page.click(x, y)
        page.wait_for(f"{read} !== '{before}'", 20.0)
        assert page.picture() != first
        assert page.run(f"(() => {{ {DEEP} const c = find(document, '#chemiscope-structure canvas') || "
                        "find(document.getElementById('chemiscope-structure'), 'canvas');"
                        " return c === null ? 0 : c.width; })()") > 100  # fmt: skip
        assert not page.problems


def test_unknown_colour_is_explained(page_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = page_file.parent / "shapes.xyz"
    with pytest.raises(SystemExit) as ended:
        main(["map", str(data), "-o", str(page_file.parent / "other.html"), "--color", "magic"])
    assert ended.value.code == 1
    assert "--color magic: not known; give one of" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["map", str(data), "-o", str(data)])
    assert "is also read" in capsys.readouterr().err
