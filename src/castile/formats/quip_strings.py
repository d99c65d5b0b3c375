"""QUIP's parameter strings: ``soap cutoff=5.0 species_Z={14 8} normalise=T``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from castile.errors import InputError

_TOKEN = re.compile(r"""([^\s={}"']+)\s*(?:=\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|"[^"]*"|'[^']*'|[^\s]+))?""")
HEAVIEST = 118
"""Largest atomic number."""
_TRUE, _FALSE = {"t", "true", ".true."}, {"f", "false", ".false."}


@dataclass(frozen=True)
class ParameterString:
    """Keys and values of one string; keys are in lower case, a bare key has the value "T".

    Parameters
    ----------
    text : str
        The string.
    values : Mapping
        Value of each key, without its braces or quotes.
    """

    text: str
    values: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "ParameterString":
        """Return the keys and values of ``text``."""
        values = {}
        for match in _TOKEN.finditer(text):
            value = match.group(2)
            values[match.group(1).lower()] = "T" if value is None else value.strip("{}\"' ")
        return cls(" ".join(text.split()), values)

    def has(self, *names: str) -> bool:
        """Whether one of the keys is there."""
        return any(name.lower() in self.values for name in names)

    def text_of(self, name: str, default: str, *aliases: str) -> str:
        """Return the value of a key, or of the first alias that is there."""
        for key in (name, *aliases):
            if key.lower() in self.values:
                return self.values[key.lower()]
        return default

    def real(self, name: str, default: float | None = None, *aliases: str) -> float:
        """Return a number; a key without default is required."""
        text = self.text_of(name, "", *aliases)
        if not text:
            if default is None:
                raise InputError(f"{name} is missing in the QUIP string '{self.text}'")
            return default
        try:
            return quip_float(text)
        except ValueError:
            raise InputError(f"{name}={text} is not a number in the QUIP string '{self.text}'") from None

    def whole(self, name: str, default: int | None = None, *aliases: str) -> int:
        """Return an integer; a key without default is required."""
        value = self.real(name, default, *aliases)
        if value != int(value):
            raise InputError(f"{name}={value} must be an integer in the QUIP string '{self.text}'")
        return int(value)

    def flag(self, name: str, default: bool, *aliases: str) -> bool:
        """Return a truth value."""
        text = self.text_of(name, "T" if default else "F", *aliases).lower()
        if text not in _TRUE | _FALSE:
            raise InputError(f"{name}={text} is neither T nor F in the QUIP string '{self.text}'")
        return text in _TRUE

    def integers(self, name: str, default: tuple[int, ...], count: int | None = None) -> tuple[int, ...]:
        """Return a list of integers; ``count`` is the announced length."""
        numbers = self.reals(name, tuple(float(x) for x in default), count)
        if any(value != int(value) for value in numbers):
            raise InputError(f"{name} must be integers in the QUIP string '{self.text}'")
        return tuple(int(value) for value in numbers)

    def elements(self, name: str, default: tuple[int, ...], count: int | None = None) -> tuple[int, ...]:
        """Return a list of atomic numbers, in which 0 stands for any element."""
        numbers = self.integers(name, default, count)
        wrong = [number for number in numbers if not 0 <= number <= HEAVIEST]
        if wrong:
            raise InputError(f"{name} has {wrong[0]}, which is no atomic number, in '{self.text}'")
        return numbers

    def element(self, name: str, *aliases: str) -> int:
        """Return an atomic number, 0 (any element) where the key is not there."""
        number = self.whole(name, 0, *aliases)
        if not 0 <= number <= HEAVIEST:
            raise InputError(f"{name}={number} is no atomic number in the QUIP string '{self.text}'")
        return number

    def reals(self, name: str, default: tuple[float, ...], count: int | None = None) -> tuple[float, ...]:
        """Return a list of numbers; ``count`` is the announced length."""
        if not self.has(name):
            return default
        try:
            numbers = tuple(quip_float(word) for word in self.text_of(name, "").split())
        except ValueError:
            raise InputError(
                f"{name}={{{self.text_of(name, '')}}} is no list of numbers in the QUIP string '{self.text}'"
            ) from None
        if count is not None and len(numbers) != count:
            raise InputError(
                f"{name} has {len(numbers)} entries but {count} are announced in the QUIP string "
                f"'{self.text}'"
            )
        return numbers

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Return the keys that are not among ``known``."""
        names = {name.lower() for name in known}
        return [key for key in self.values if key not in names]


def quip_float(text: str) -> float:
    """Return a number as Fortran writes it (``.5E+000``, ``1.0D-3``, ``.10000000-100``)."""
    text = text.strip().lower().replace("d", "e")
    try:
        return float(text)
    except ValueError:
        return float(re.sub(r"(?<=[\d.])([+-]\d+)$", r"e\1", text))


def write_number(value: float) -> str:
    """Return a number with all its digits."""
    return repr(float(value))


def write_list(values: Iterable[float]) -> str:
    """Return a list in braces."""
    return (
        "{" + " ".join(f"{value:g}" if value == int(value) else repr(float(value)) for value in values) + "}"
    )
