"""What a file of generators may say."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from ase.data import atomic_numbers
from pydantic import Field, model_validator

from castile.active.settings_base import AtLeastOne, Count, Section, parse_section
from castile.errors import InputError

Fraction = Annotated[float, Field(gt=-0.9, lt=10.0)]
Size = Annotated[float, Field(ge=0.0, le=0.5)]


class PrototypeSettings(Section):
    """A prototype as ``ase.build.bulk`` makes it."""

    elements: str = Field(description="chemical formula, such as NaCl")
    structure: str = Field(
        description="sc, fcc, bcc, hcp, diamond, zincblende, rocksalt, cesiumchloride, fluorite or wurtzite"
    )
    a: Annotated[float, Field(gt=0.0)] = Field(description="lattice constant, Angstrom")
    c: Annotated[float, Field(gt=0.0)] | None = Field(None, description="second lattice constant, Angstrom")
    cubic: bool = Field(False, description="the cubic cell instead of the primitive one")


class DecorationSettings(Section):
    """Every way to put elements on sites."""

    sites: str | tuple[Count, ...] = Field(description="an element of the prototype, 'all', or atom numbers")
    elements: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="what may sit there")


class StrainSettings(Section):
    """Distorted copies of each structure."""

    volume: tuple[Fraction, ...] = Field((0.0,), description="fractions by which the volume changes")
    strain: Size = Field(0.0, description="largest component of a random strain")
    displacement: Size = Field(0.0, description="standard deviation of random displacements, Angstrom")
    copies: AtLeastOne = Field(1, description="random distortions of each volume")
    keep_original: bool = Field(True, description="also the structure without distortion")


class GeneratorSettings(Section):
    """One family of candidates: all combinations of what is listed."""

    name: str = Field("", description="in the names of the candidates")
    prototypes: Annotated[tuple[str | PrototypeSettings, ...], Field(min_length=1)] = Field(
        description="files (as on the command line, relative to this file) or built-in crystals"
    )
    supercell: tuple[AtLeastOne, AtLeastOne, AtLeastOne] = Field((1, 1, 1), description="repetitions")
    substitute: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="element of the prototype = elements that take its place"
    )
    decorate: DecorationSettings | None = None
    distort: StrainSettings | None = None
    scale: Literal["radii", "none"] = Field(
        "radii", description="cells follow the covalent radii of the new elements, or stay"
    )
    distinct: bool = Field(True, description="no element in two roles of the substitution")
    number: AtLeastOne | None = Field(None, description="a random choice of so many of all combinations")
    seed: int = Field(0, ge=0, description="of the choice and of the distortions")

    @model_validator(mode="after")
    def _elements_exist(self) -> Self:
        listed = [*self.substitute, *(e for new in self.substitute.values() for e in new)]
        if self.decorate is not None:
            listed += self.decorate.elements
        wrong = [symbol for symbol in listed if atomic_numbers.get(symbol, 0) == 0]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no element; give symbols such as 'Si'")
        empty = [symbol for symbol, new in self.substitute.items() if not new]
        if empty:
            raise ValueError(f"substitute.{empty[0]} is an empty list; list elements, or leave it out")
        return self


class GeneratorFile(Section):
    """All families of a file."""

    generator: Annotated[tuple[GeneratorSettings, ...], Field(min_length=1)]


def read_generators(path: Path) -> tuple[GeneratorSettings, ...]:
    """Return the families of a TOML file.

    Raises
    ------
    InputError
        Naming the file, the key, its value and what is allowed.
    """
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from error
    return parse_section(GeneratorFile, values, str(path)).generator
