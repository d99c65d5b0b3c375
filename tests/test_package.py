"""The public names of the package are loaded on first use."""

import subprocess
import sys

import pytest

import castile


def test_every_public_name_has_a_home() -> None:
    assert set(castile.__all__) == {*castile._HOMES, "__version__"}
    assert dir(castile) == sorted(castile.__all__)


@pytest.mark.parametrize("name", castile.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(castile, name) is not None


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SOUP'"):
        castile.SOUP  # noqa: B018


def test_import_loads_nothing() -> None:
    code = "import sys, castile; print([name for name in ('numpy', 'ase', 'numba') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
