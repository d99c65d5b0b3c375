"""Packages that only some of Castile needs: imported where used, and named where missing."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from castile.errors import InputError


def import_optional(module: str, need: str, extra: str) -> Any:
    """Return an optional module.

    Parameters
    ----------
    module : str
        Its name, such as "spglib".
    need : str
        What needs which package, for the message: "finding hops needs spglib".
    extra : str
        Group of optional packages that brings it: "barriers".

    Raises
    ------
    InputError
        If it is missing or does not load; with the reason and the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise _missing(f"{need} ({error})", extra) from error


def require_optional(module: str, need: str, extra: str) -> None:
    """Raise as :func:`import_optional` where the module is missing; it is looked for and not loaded."""
    if find_spec(module) is None:
        raise _missing(need, extra)


def _missing(reason: str, extra: str) -> InputError:
    """The error, with its remedy."""
    return InputError(f"{reason}: pip install 'castile[{extra}]'")
