"""Descriptors by name, with options in JSON; others by ``module:Class``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from typing import Any

from castile.errors import InputError
from castile.properties.angles import AngularDistribution
from castile.properties.composition import CompositionStatistics
from castile.properties.descriptor import StructureDescriptor
from castile.properties.distances import PairDistanceHistogram, RadialDistributionVector
from castile.properties.foreign import ForeignDescriptor
from castile.properties.matrices import CoulombEigenvalues, EwaldEigenvalues, SineEigenvalues
from castile.properties.soap_vectors import SOAPVectors

DESCRIPTORS: tuple[type[StructureDescriptor], ...] = (
    CompositionStatistics,
    RadialDistributionVector,
    PairDistanceHistogram,
    CoulombEigenvalues,
    SineEigenvalues,
    EwaldEigenvalues,
    AngularDistribution,
    SOAPVectors,
)
"""Every descriptor of Castile's own or with a wrapper; the tests go through this list."""


def make_descriptor(kind: str, options: Mapping[str, Any] | None = None) -> StructureDescriptor:
    """Return the descriptor of that name.

    Parameters
    ----------
    kind : str
        "composition", "rdf", "pair-histogram", "coulomb", "sine", "ewald", "angles", "soap", or
        "module:Class" of a class with ``transform``, ``create`` or ``featurize``.
    options : mapping, optional
        Arguments of its constructor, as JSON has them.

    Raises
    ------
    InputError
        For an unknown name or option.
    """
    options = {} if options is None else dict(options)
    if ":" in kind:
        return ForeignDescriptor.by_name(kind, options)
    for candidate in DESCRIPTORS:
        if candidate.kind == kind:
            known = list(signature(candidate).parameters)
            unknown = sorted(set(options) - set(known))
            if unknown:
                raise InputError(
                    f"descriptor {kind!r}: there is no option {', '.join(unknown)}; it has {', '.join(known)}"
                )
            for name, value in options.items():
                _check_type(kind, name, value, signature(candidate).parameters[name].default)
            return candidate(**options)
    names = ", ".join(candidate.kind for candidate in DESCRIPTORS)
    raise InputError(f"descriptor {kind!r}: give one of {names}, or module:Class")


def _check_type(kind: str, name: str, value: Any, default: Any) -> None:
    """Refuse a value of another type than the default's; options without a default are whole numbers."""
    wanted: tuple[str, tuple[type, ...]]
    if isinstance(default, bool):
        wanted = "true or false", (bool,)
    elif isinstance(default, str):
        wanted = "a word", (str,)
    elif isinstance(default, float):
        wanted = "a number", (int, float)
    else:
        wanted = "a whole number", (int,)
    right = isinstance(value, wanted[1]) and (isinstance(value, bool) == isinstance(default, bool))
    if not right and not (default is None and value is None):
        raise InputError(f"descriptor {kind!r}: {name} = {value!r}; give {wanted[0]}")


def parse_descriptor(text: str) -> StructureDescriptor:
    """Return the descriptor that ``text`` names: NAME, or NAME={...} with options as JSON, or NAME=a=1,b=2.

    Raises
    ------
    InputError
        For text that cannot be understood.
    """
    kind, separator, rest = text.partition("=")
    if not separator:
        return make_descriptor(text.strip())
    try:
        options = json.loads(rest) if rest.lstrip().startswith("{") else _assignments(rest)
    except ValueError as error:
        raise InputError(
            f"descriptor {text!r}: {error}; write soap=n_max=6,l_max=4 or JSON: "
            'soap={"n_max": 6, "l_max": 4}'
        ) from error
    return make_descriptor(kind.strip(), options)


def _assignments(text: str) -> dict[str, Any]:
    """Options of a=1,b=text; values are JSON where they can be read as such."""
    options: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"{part!r} is no option=value")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value.strip()
    return options
