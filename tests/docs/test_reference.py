"""The API reference has every public name."""

import importlib
import re

import pytest

from docs.test_snippets import ROOT

PAGES = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
SHOWN = set(re.findall(r"^::: (\S+)$", PAGES, re.M))
PACKAGES = (
    "castile",
    "castile.structures",
    "castile.evaluation",
    "castile.simulation",
    "castile.regression",
    "castile.selection",
)
HOMES = {"castile.evaluate": "castile.evaluation.evaluate.evaluate"}
CONSTANTS = {"castile.__version__", "castile.selection.SELECTORS"}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_in_the_reference(package: str) -> None:
    names = {f"{package}.{name}" for name in importlib.import_module(package).__all__} - CONSTANTS
    shown = SHOWN | {name for name, home in HOMES.items() if home in SHOWN}
    elsewhere = {name for name in names if f"castile.{name.rpartition('.')[2]}" in shown}
    assert names - elsewhere <= shown


@pytest.mark.parametrize("path", sorted(SHOWN))
def test_shown_names_exist_and_have_a_docstring(path: str) -> None:
    module, attribute = path, ""
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        module, attribute = ".".join(parts[:end]), ".".join(parts[end:])
        break
    assert attribute, f"{module} cannot be imported"
    for name in attribute.split("."):
        found = getattr(found, name)
    assert found.__doc__
