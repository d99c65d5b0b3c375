"""Maps: coordinates against a direct solution, and the page in a real browser."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from sklearn.decomposition import KernelPCA

from castile.cli.main import main
from castile.errors import InputError
from castile.splits.kernel_map import kernel_map
from castile.splits.kernel_ridge import mean_features
from castile.splits.settings import SimilaritySettings
from castile.splits.structure_table import table_of
from splits.browser import open_page

SIMILARITY = SimilaritySettings(cutoff=4.0, n_max=4, l_max=3)
DEEP = """const find = (root, wanted) => { for (const e of root.querySelectorAll('*')) {
  if (e.matches(wanted)) return e;
  if (e.shadowRoot) { const found = find(e.shadowRoot, wanted); if (found) return found; } }
  return null; };"""


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


def test_absence_of_umap_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match="umap-learn"):
        kernel_map(table_of(shapes()), SIMILARITY, umap=True)


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


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
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
