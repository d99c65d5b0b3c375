"""Splitters of scikit-learn that keep similar structures together."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from castile.errors import InputError
from castile.splits import LeakproofKFold, LeakproofSplit


def clustered_rows(n_clusters: int, per_cluster: int, seed: int = 0) -> np.ndarray:
    """Unit rows in tight clusters, the members of a cluster one after another."""
    generator = np.random.default_rng(seed)
    centers = np.abs(generator.normal(size=(n_clusters, 12)))
    rows = np.repeat(centers, per_cluster, axis=0) + 1e-3 * generator.normal(
        size=(n_clusters * per_cluster, 12)
    )
    return rows / np.linalg.norm(rows, axis=1)[:, None]


def test_no_cluster_is_cut_and_all_rows_are_tested_once() -> None:
    X = clustered_rows(12, 5)
    folds = list(LeakproofKFold(4, threshold=0.9999).split(X))
    assert len(folds) == 4
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(60))
    for train, test in folds:
        assert not set(train // 5) & set(test // 5)
        assert (X[train] @ X[test].T).max() <= 0.9999
        assert len(test) == 15


def test_precomputed_similarities_give_the_same_folds_as_features() -> None:
    X = clustered_rows(10, 4)
    direct = [test.tolist() for _, test in LeakproofKFold(3, threshold=0.9999).split(X)]
    folds = LeakproofKFold(3, threshold=0.9999, precomputed=True).split(X @ X.T)
    assert [test.tolist() for _, test in folds] == direct


def test_groups_are_kept_together_whatever_their_similarity() -> None:
    X = clustered_rows(12, 5)
    groups = np.arange(60) % 20
    for train, test in LeakproofKFold(3, threshold=0.9999).split(X, groups=np.arange(60) // 10):
        assert not set(train // 10) & set(test // 10)
    with pytest.raises(InputError, match="1 component"):
        list(LeakproofKFold(3, threshold=0.9999).split(X, groups=groups % 2 * 0))


def test_same_seed_same_folds_and_another_seed_others() -> None:
    X = clustered_rows(40, 2)

    def folds(seed: int) -> list[list[int]]:
        splitter = LeakproofKFold(4, threshold=0.9999, random_state=seed)
        return [test.tolist() for _, test in splitter.split(X)]

    assert folds(3) == folds(3)
    assert folds(3) != folds(4)


def test_works_inside_cross_validation() -> None:
    X = clustered_rows(20, 3)
    splitter = clone(LeakproofKFold(4, threshold=0.9999))
    scores = cross_val_score(Ridge(1e-6), X, X[:, 0] ** 2, cv=splitter)
    assert scores.shape == (4,)
    assert splitter.get_n_splits(X) == 4


def test_structures_with_their_rotated_copies_stay_together() -> None:
    names = ["H2O", "CH3OH", "NH3", "CH4", "C2H6", "CO2", "N2", "H2CO"]
    structures = []
    for name in names:
        atoms = molecule(name)
        turned = atoms.copy()
        turned.rotate(50.0, (1, 2, 3))
        structures += [atoms, turned]
    splitter = LeakproofSplit((0.5, 0.25, 0.25))
    ((train, test),) = splitter.split(structures)
    assert len(np.unique(splitter.components_)) == len(names)
    assert len(train) == 8
    assert len(test) == 4
    assert not set(train // 2) & set(test // 2)
    assert sorted(np.bincount(splitter.parts_)) == [4, 4, 8]


def test_supercells_stay_with_their_cells() -> None:
    structures = [bulk("Cu"), bulk("Cu", cubic=True).repeat((2, 1, 1)), bulk("Al"), bulk("Al").repeat(2)]
    splitter = LeakproofSplit((0.5, 0.5), threshold=0.9999)
    ((train, test),) = splitter.split(structures)
    assert {tuple(train), tuple(test)} == {(0, 1), (2, 3)}


def test_stratified_folds_share_the_distribution() -> None:
    X = clustered_rows(60, 2)
    y = np.repeat(np.arange(60) % 3, 2)
    for _, test in LeakproofKFold(4, threshold=0.9999, stratify=True).split(X, y):
        assert np.bincount(y[test]).tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"threshold": "suggest"}, "needs structures"),
        ({"threshold": 0.9, "n_splits": 1}, "at least 2"),
        ({"threshold": 0.9, "stratify": True}, "needs y"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(LeakproofKFold(**arguments).split(clustered_rows(6, 2)))


def test_bad_features_are_named() -> None:
    X = clustered_rows(3, 2)
    X[4, 2] = np.nan
    with pytest.raises(InputError, match="row 4"):
        list(LeakproofKFold(2, threshold=0.9).split(X))


def test_bad_structures_are_named() -> None:
    structures = [bulk("Cu"), bulk("Al"), bulk("Ni")]
    structures[1].positions[0, 0] = np.nan
    with pytest.raises(InputError, match="structure 1: atom 0"):
        list(LeakproofKFold(2).split(structures))
