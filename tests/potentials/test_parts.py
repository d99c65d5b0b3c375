"""Large structures are predicted part by part: the sum is that of the whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import castile
from castile.errors import InputError
from castile.potentials.environment import Environment
from castile.structures import neighbors
from potentials.examples import alloy_set, metal
from potentials.quip_models import TRAINED, deviation, structures
from potentials.test_quip_import import copied, with_core


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def shrink() -> None:
        monkeypatch.setattr(neighbors, "PART", 7)
        monkeypatch.setattr(neighbors, "PARALLEL_CENTERS", 3)
        monkeypatch.setattr(neighbors, "_BLOCK", 2)

    return shrink


def test_parts_share_out_the_pairs(small_parts: Callable[[], None]) -> None:
    atoms = (metal(3) * (3, 2, 2))[:25]
    whole = Environment.of(atoms, 4.0).pairs
    small_parts()
    parts = [part.pairs for part in Environment.parts(atoms, 4.0, threads=2)]
    assert [len(part.order) for part in parts] == [7, 7, 7, 4]
    for name in ("order", "center", "neighbor", "vectors"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_a_fitted_model(small_parts: Callable[[], None]) -> None:
    settings = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "n_sparse": 12}
    model = castile.GAP(**settings).fit(alloy_set())
    atoms = metal(50, "Cu2Au2") * (2, 2, 2)
    atoms.positions[0] += 0.9 * (atoms.positions[1] - atoms.positions[0])  # the core repels
    atoms.rattle(0.05, seed=1)
    whole = [model.fitted_model.predict(atoms, threads) for threads in (1, 2)]
    small_parts()
    for threads, expected in zip((1, 2), whole, strict=True):
        found = model.fitted_model.predict(atoms, threads)
        scale = np.abs(expected.forces).max()
        assert deviation(found, expected).below(1e-11 * scale)
    atoms.positions[5, 0] = np.nan
    with pytest.raises(InputError, match=r"here: atom 5 has position"):
        model.fitted_model.predict(atoms, name="here")


@pytest.mark.parametrize("name", TRAINED)
def test_terms_and_core_of_quip(
    name: str, trained_gap: Callable[[str], Path], tmp_path: Path, small_parts: Callable[[], None]
) -> None:
    model = castile.import_gap(copied(trained_gap(name), tmp_path, with_core)).fitted_model
    cases: dict[str, Atoms] = structures()
    cases["large"] = cases["strained"] * (2, 1, 1)
    whole = {key: model.predict(atoms) for key, atoms in cases.items()}
    small_parts()
    for key, atoms in cases.items():
        assert deviation(model.predict(atoms, 2), whole[key]).below(1e-10), key
