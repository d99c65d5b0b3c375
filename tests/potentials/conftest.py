"""Models that are trained once for all tests of a session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from potentials.quip_models import TRAINED, train


@pytest.fixture(scope="session")
def trained_gap(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """XML file of a potential that gap_fit trains on first use, by its name in ``TRAINED``."""
    files: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in files:
            files[name] = train(tmp_path_factory.mktemp("gap"), TRAINED[name])
        return files[name]

    return get
