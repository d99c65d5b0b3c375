"""Environments that sparse points are chosen from."""

import numpy as np
import pytest

from castile import SOAP
from castile.potentials import sparse_selection
from castile.potentials.sparse_selection import candidate_environments
from castile.structures.readers import StructureSource
from potentials.examples import alloy_set

SOAP_VECTORS = SOAP(species=["Cu", "Au"], cutoff=4.0, n_max=3, l_max=2).fit()
ELEMENTS = (29, 79)


def _candidates(wanted: tuple[int, int]) -> list[np.ndarray]:
    structures = list(StructureSource(alloy_set()))
    counts = tuple(sum(int(np.sum(s.atoms.numbers == z)) for s in structures) for z in ELEMENTS)
    return candidate_environments(
        structures, SOAP_VECTORS.engine_, ELEMENTS, counts, wanted, 0, 2, lambda: None
    )


def _all_environments() -> list[np.ndarray]:
    structures = alloy_set()
    return [
        np.concatenate([SOAP_VECTORS.transform(a, np.flatnonzero(a.numbers == z)) for a in structures])
        for z in ELEMENTS
    ]


def test_all_environments_are_candidates_where_memory_holds_them() -> None:
    for found, expected in zip(_candidates((2, 2)), _all_environments(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-13)


def test_a_sample_of_ten_per_point_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_selection, "CANDIDATE_BYTES", 0)
    for found, expected in zip(_candidates((1, 1)), _all_environments(), strict=True):
        assert 3 <= len(found) < len(expected)
        distances = np.linalg.norm(found[:, None] - expected[None], axis=2)
        assert np.all(distances.min(axis=1) < 1e-12)
        assert len(np.unique(distances.argmin(axis=1))) == len(found)
