"""Audits find what was planted, and say what it does to errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from castile.cli.main import main
from castile.errors import InputError
from castile.splits.audit import audit
from castile.splits.audit_result import Audit
from castile.splits.dataset import Dataset, joined, read_dataset
from castile.splits.folds import random_folds
from castile.splits.kernel_ridge import mean_features, predict_out_of_sample
from castile.splits.settings import SimilaritySettings
from castile.splits.structure_table import table_of
from castile.structures import StructureSource

SIMILARITY = SimilaritySettings(cutoff=4.0, n_max=4, l_max=3)


def stretched(n: int, seed: int) -> list[Atoms]:
    """Water of many shapes, with a smooth energy."""
    generator = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        atoms = molecule("H2O")
        atoms.positions += generator.normal(scale=0.15, size=atoms.positions.shape)
        a, b = atoms.get_distance(0, 1), atoms.get_distance(0, 2)
        atoms.info |= {"energy": 5.0 * ((a - 1.0) ** 2 + (b - 1.0) ** 2), "bond": a + b}
        structures.append(atoms)
    return structures


def turned(atoms: Atoms, **info) -> Atoms:
    other = atoms.copy()
    other.rotate(70.0, (1, 1, 0))
    other.info |= info
    return other


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code or 0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("audit")
    train = stretched(40, 0)
    train.append(turned(train[3]))
    near = train[5].copy()
    near.positions[0, 0] += 0.005
    test = [turned(train[0]), turned(train[1], energy=3.0), near, *stretched(12, 1)]
    write(folder / "train.xyz", train)
    write(folder / "test.xyz", test)
    return folder / "train.xyz", folder / "test.xyz"


def read_all(files: tuple[Path, Path]) -> tuple[Dataset, np.ndarray]:
    parts = [read_dataset(StructureSource(path), ["bond"]) for path in files]
    return joined(*parts), np.repeat([0, 1], [len(part) for part in parts])


@pytest.fixture(scope="module")
def found(files: tuple[Path, Path]) -> Audit:
    data, sides = read_all(files)
    return audit(data, sides, settings=SIMILARITY, threshold=0.9999, target="energy")


def test_planted_leaks_and_duplicates_are_found(found: Audit) -> None:
    names = found.index.table.names
    pairs = {(names[item.structure], names[item.neighbor]) for item in found.leaks}
    assert pairs == {(f"test.xyz[{k}]", f"train.xyz[{n}]") for k, n in ((0, 0), (1, 1), (2, 5))}
    assert found.n_exact_duplicates == 2
    assert found.duplicates_within == (1, 0)
    ((contradiction),) = found.contradictions
    assert names[contradiction.structure] == "test.xyz[1]"
    assert contradiction.label == pytest.approx(1.0)
    assert found.numbers()["n_leaks"] == 3


def test_learner_knows_its_neighbours_better(found: Audit) -> None:
    assert sum(b.n_structures for b in found.bins) == 15
    assert [b.low for b in found.bins] == sorted(b.low for b in found.bins)
    assert found.optimism is not None
    assert found.optimism.n_leakproof == 5
    assert found.optimism.leakproof_mae > 0.0


def test_no_leak_in_folds_that_are_leakproof() -> None:
    structures = stretched(30, 3)
    structures += [turned(atoms) for atoms in structures]
    table = table_of(structures)
    energies = np.array([atoms.info["energy"] for atoms in structures])
    data = Dataset(table, energies, ("",) * 60, {})
    random = audit(data, random_folds(60, 5), cross_validation=True, settings=SIMILARITY, threshold=0.9999,
                   target="energy")  # fmt: skip
    assert random.n_exact_duplicates > 30
    assert random.optimism.factor > 1.5
    paired = np.tile(np.arange(30) % 5, 2)
    proof = audit(data, paired, cross_validation=True, settings=SIMILARITY, threshold=0.9999)
    assert proof.n_exact_duplicates == 0
    assert proof.duplicates_within == (30,)


def test_learner_agrees_with_a_direct_solution() -> None:
    structures = stretched(25, 4)
    table = table_of(structures)
    features = mean_features(table, SIMILARITY.resolved(table))
    y = np.array([atoms.info["bond"] for atoms in structures])
    train, test = np.arange(20), np.arange(20, 25)
    predicted = predict_out_of_sample(features, y, train, test)
    K = features.kernel(train, train)
    y0 = y[train].mean()
    largest = np.linalg.eigvalsh(K)[-1]
    best, expected = np.inf, None
    for ridge in 10.0 ** np.arange(-10.0, 0.5) * largest:
        loo = []
        for k in range(20):
            rest = np.delete(train, k)
            weights = np.linalg.solve(K[np.ix_(rest, rest)] + ridge * np.eye(19), y[rest] - y0)
            loo.append(K[k, rest] @ weights - (y[k] - y0))
        if np.mean(np.square(loo)) < best:
            best = np.mean(np.square(loo))
            weights = np.linalg.solve(K + ridge * np.eye(20), y[train] - y0)
            expected = y0 + features.kernel(test, train) @ weights
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_command_line(tmp_path: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    report, numbers = tmp_path / "audit.html", tmp_path / "audit.json"
    arguments = ["audit", *map(str, files), "--cutoff", "4", "--report", str(report), "--json", str(numbers)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--target", "bond", "--threshold", "0.9999"])
    assert ended.value.code in (0, None)
    values = json.loads(numbers.read_text())
    assert values["n_exact_duplicates"] == 2
    assert values["n_leaks"] == 3
    assert values["max_cross_similarity"] == pytest.approx(1.0)
    page = report.read_text()
    assert page.count("<svg") >= 4
    assert "test.xyz[2]" in page
    assert "test.xyz[0]" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(files[0])])
    assert ended.value.code == 1
    assert "name TRAIN and TEST" in capsys.readouterr().err


def test_split_column(tmp_path: Path) -> None:
    structures = stretched(20, 5)
    for k, atoms in enumerate(structures):
        atoms.info["part"] = "test" if k % 4 == 0 else "train"
    structures[4].positions = structures[1].positions
    path = tmp_path / "data.xyz"
    write(path, structures)
    numbers = tmp_path / "numbers.json"
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(path), "--split-key", "part", "--threshold", "0.99999", "--json", str(numbers)])
    assert ended.value.code in (0, None)
    values = json.loads(numbers.read_text())
    assert values["n_tested"] == 5
    assert values["n_exact_duplicates"] == 1
    assert values["n_contradicting_duplicates"] == 1


def test_folds_and_words_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structures = stretched(20, 5)
    for k, atoms in enumerate(structures):
        atoms.info |= {"fold": k % 4, "use": "holdout" if k < 3 else "fit"}
    structures[6].positions = structures[4].positions  # across folds
    structures[8].positions = structures[12].positions  # within one fold
    path, numbers = tmp_path / "data.xyz", tmp_path / "numbers.json"
    write(path, structures)
    shared = [str(path), "--threshold", "0.99999", "--cutoff", "4", "--json", str(numbers)]
    assert run("audit", *shared, "--fold-key", "fold", "--target", "bond") == 0
    values = json.loads(numbers.read_text())
    assert values["n_tested"] == 20
    assert values["n_exact_duplicates"] == 2
    assert values["all/n_exact_duplicates"] == 2
    assert values["leakproof_test_fraction"] == 1.0
    assert values["optimism_factor"] > 0.0
    assert run("audit", *shared, "--split-key", "use", "--test-value", "Holdout") == 0
    assert json.loads(numbers.read_text())["n_tested"] == 3
    for options, message in (
        (["--split-key", "use"], "has the values fit, holdout: none of them is 'test'"),
        (["--fold-key", "use", "--folds", "3"], "name TRAIN and TEST, or one file with"),
        (["--fold-key", "none"], r"data.xyz[0]: has no info key 'none'"),
    ):
        assert run("audit", *shared, *options) == 1
        assert message in capsys.readouterr().err


def test_broken_structures_are_left_out_of_both_sides(tmp_path: Path) -> None:
    structures = stretched(16, 6)
    structures[2].positions[1] = structures[2].positions[0]
    structures[13].positions[0, 2] = np.inf
    write(tmp_path / "train.xyz", structures[:10])
    write(tmp_path / "test.xyz", structures[10:])
    files, numbers = [str(tmp_path / f"{side}.xyz") for side in ("train", "test")], tmp_path / "numbers.json"
    options = ["--threshold", "0.9999", "--cutoff", "4", "--json", str(numbers)]
    assert run("audit", *files, *options) == 1
    assert run("audit", *files, *options, "--skip-broken", "--target", "bond") == 0
    values = json.loads(numbers.read_text())
    assert (values["n_structures"], values["n_tested"], values["n_skipped"]) == (14, 5, 2)


def test_audit_of_one_family_goes_on_without_a_leakproof_split() -> None:
    structures = stretched(12, 7)
    energies = np.array([atoms.info["energy"] for atoms in structures])
    data = Dataset(table_of(structures), energies, ("",) * 12, {})
    found = audit(data, np.arange(12) % 2, settings=SIMILARITY, threshold=0.5, target="energy")
    assert found.optimism is None
    assert "no leak-proof one" in found.remarks[0]
    assert len(found.bins) == 5


def test_a_common_environment_makes_no_duplicate() -> None:
    lone = [Atoms("Cu"), Atoms("CuH", positions=[[0, 0, 0], [30.0, 0, 0]]), Atoms("H")]
    data = Dataset(table_of(lone), np.full(3, np.nan), ("",) * 3, {})
    settings = SimilaritySettings(kernel="largest", cutoff=4.0, n_max=4, l_max=3)
    found = audit(data, np.array([0, 1, 0]), settings=settings, threshold=0.99)
    assert len(found.leaks) == 1
    assert found.n_exact_duplicates == 0


def test_one_sided_splits_are_errors(files: tuple[Path, Path]) -> None:
    data, sides = read_all(files)
    with pytest.raises(InputError, match="at least one of each"):
        audit(data, np.zeros_like(sides))
    with pytest.raises(InputError, match="give 2 to"):
        random_folds(3, 7)
