"""Optional packages that are there, missing, or broken."""

from pathlib import Path

import pytest

from castile.errors import InputError
from castile.execution.optional_packages import import_optional, require_optional


def test_a_present_module_is_returned() -> None:
    assert import_optional("os.path", "paths need os", "none").sep == "/"
    require_optional("os.path", "paths need os", "none")


def test_a_missing_one_is_named_with_its_remedy() -> None:
    expected = r"^maps need nowhere \(No module named 'nowhere'\): pip install 'castile\[maps\]'$"
    with pytest.raises(InputError, match=expected):
        import_optional("nowhere", "maps need nowhere", "maps")
    with pytest.raises(InputError, match=r"^maps need nowhere: pip install 'castile\[maps\]'$"):
        require_optional("nowhere", "maps need nowhere", "maps")


def test_one_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halfway.py").write_text("raise ImportError('its library is too old')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="its library is too old"):
        import_optional("halfway", "maps need halfway", "maps")
