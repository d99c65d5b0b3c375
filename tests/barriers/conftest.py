"""A small fitted model."""

import pytest

from barriers.examples import labelled_paths
from castile.barriers import BarrierModel, MigrationPath


@pytest.fixture(scope="session")
def paths() -> list[MigrationPath]:
    """Rock-salt paths with barriers."""
    return labelled_paths()


@pytest.fixture(scope="session")
def model(paths: list[MigrationPath]) -> BarrierModel:
    """A model of them."""
    return BarrierModel(n_steps=10).fit(paths)
