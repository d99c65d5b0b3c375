"""Shared fixtures."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real quantum-mechanical data beside the checkout; tests skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data sets not found: {SHARED_DATA} is missing")
    return SHARED_DATA


@pytest.fixture
def children_can_be_interrupted() -> Iterator[None]:
    """SIGINT reaches child processes even where this one ignores it, as jobs in the background do.

    A signal that is ignored stays so in a child; one that is handled has its default action there.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
