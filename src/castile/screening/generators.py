"""Candidates made from prototypes: all combinations, each from its number, so that nothing is stored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols

from castile.errors import InputError
from castile.screening.distortions import (
    decorate_sites,
    random_strain,
    replace_elements,
    scale_to_radii,
    shuffled,
    strain_cell,
)
from castile.screening.generator_settings import GeneratorSettings, PrototypeSettings, read_generators
from castile.structures.found_structure import FoundStructure, UnreadPart, require_atoms
from castile.structures.structure_collection import StructureCollection

_STEP = 64


@dataclass(frozen=True)
class Family:
    """Prototypes and what is done to them; combination k is the same whenever it is asked for.

    Attributes
    ----------
    name : str
    settings : GeneratorSettings
    prototypes : tuple of ase.Atoms
    """

    name: str
    settings: GeneratorSettings
    prototypes: tuple[Atoms, ...]

    def __len__(self) -> int:
        """Number of candidates, those included that turn out to use an element twice."""
        wanted = self.settings.number
        return self.n_combinations if wanted is None else min(wanted, self.n_combinations)

    @cached_property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """Decorated atoms of each prototype."""
        decorate = self.settings.decorate
        if decorate is None:
            return tuple(() for _ in self.prototypes)
        return tuple(_sites(atoms, decorate.sites, self.name) for atoms in self.prototypes)

    @cached_property
    def n_substitutions(self) -> int:
        """Number of ways to substitute."""
        return math.prod(len(new) for new in self.settings.substitute.values())

    @cached_property
    def n_distortions(self) -> int:
        """Number of distortions of each structure, the undistorted one included."""
        distort = self.settings.distort
        return 1 if distort is None else len(distort.volume) * distort.copies + distort.keep_original

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of combinations of each prototype."""
        decorate = self.settings.decorate
        n_elements = 1 if decorate is None else len(decorate.elements)
        per_prototype = self.n_substitutions * self.n_distortions
        return tuple(per_prototype * n_elements ** len(sites) for sites in self.sites)

    @cached_property
    def n_combinations(self) -> int:
        """Number of all combinations."""
        return sum(self.counts)

    def candidate(self, index: int) -> FoundStructure | None:
        """Return a candidate; None where an element would stand in two roles."""
        combination = index
        if self.settings.number is not None:
            combination = shuffled(index, self.n_combinations, self.settings.seed)
        name = f"{self.name}#{combination}"
        prototype, rest = 0, combination
        while rest >= self.counts[prototype]:
            rest -= self.counts[prototype]
            prototype += 1
        rest, distortion = divmod(rest, self.n_distortions)
        original = self.prototypes[prototype]
        rest, replacements = self._replacements(rest)
        if replacements is None:
            return None
        atoms = replace_elements(original, replacements)
        if self.settings.decorate is not None:
            elements, symbols = self.settings.decorate.elements, []
            for _ in self.sites[prototype]:
                rest, digit = divmod(rest, len(elements))
                symbols.append(elements[digit])
            atoms = decorate_sites(atoms, self.sites[prototype], symbols)
        if self.settings.scale == "radii":
            scale_to_radii(atoms, original)
        self._distort(atoms, distortion, combination)
        atoms.info = {"name": name}
        return FoundStructure(name, atoms)

    def _replacements(self, rest: int) -> tuple[int, list[tuple[str, str]] | None]:
        """Take the digits of the substitution from a number."""
        chosen = []
        for old, new in self.settings.substitute.items():
            rest, digit = divmod(rest, len(new))
            chosen.append((old, new[digit]))
        if self.settings.distinct and len({new for _, new in chosen}) < len(chosen):
            return rest, None
        return rest, chosen

    def _distort(self, atoms: Atoms, distortion: int, combination: int) -> None:
        distort = self.settings.distort
        if distort is None:
            return
        if distort.keep_original:
            if distortion == 0:
                return
            distortion -= 1
        generator = np.random.default_rng([self.settings.seed, combination])
        strain = random_strain(generator, distort.strain)
        strain_cell(atoms, distort.volume[distortion % len(distort.volume)], strain)
        if distort.displacement > 0.0:
            atoms.positions += generator.normal(0.0, distort.displacement, (len(atoms), 3))


@dataclass(frozen=True)
class MadePart(UnreadPart):
    """A few candidates of a family, made where they are used."""

    family: Family
    first: int
    last: int

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the first."""
        return f"{self.family.name}#{self.first}"

    def read(self) -> Iterator[FoundStructure]:
        """Make the candidates."""
        for index in range(self.first, self.last):
            found = self.family.candidate(index)
            if found is not None:
                yield found

    @property
    def n_bytes(self) -> int:
        """About the size of the candidates."""
        return (self.last - self.first) * (200 + 32 * len(self.family.prototypes[0]))


def n_parts(family: Family) -> int:
    """Return the number of pieces of a family."""
    return -(-len(family) // _STEP)


def made_parts(family: Family, start: int = 0) -> Iterator[MadePart]:
    """Yield the candidates of a family in pieces, from piece ``start`` on."""
    for first in range(start * _STEP, len(family), _STEP):
        yield MadePart(family, first, min(first + _STEP, len(family)))


def open_families(path: Path) -> tuple[Family, ...]:
    """Return the families that a TOML file describes, with their prototypes read.

    Raises
    ------
    InputError
        For a wrong setting, or a prototype that cannot be read; the file and the key are named.
    """
    families = []
    for position, settings in enumerate(read_generators(path)):
        name = settings.name or (path.stem if position == 0 else f"{path.stem}-{position}")
        prototypes = [atoms for one in settings.prototypes for atoms in _prototypes(one, path)]
        repeated = tuple(_repeated(atoms, settings.supercell) for atoms in prototypes)
        family = Family(name, settings, repeated)
        _check(family, path)
        families.append(family)
    return tuple(families)


def family_fingerprint(family: Family) -> str:
    """Hash of everything that the candidates depend on."""
    digest = hashlib.sha256(family.settings.model_dump_json().encode())
    for atoms in family.prototypes:
        for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _prototypes(given: str | PrototypeSettings, path: Path) -> Iterator[Atoms]:
    if isinstance(given, PrototypeSettings):
        try:
            yield bulk(given.elements, given.structure, a=given.a, c=given.c, cubic=given.cubic)
        except (ValueError, RuntimeError, KeyError) as error:
            raise InputError(
                f"{path}: prototype {given.structure} of {given.elements}: ASE cannot build it ({error})"
            ) from error
        return
    place = given if Path(given).expanduser().is_absolute() else str(path.parent / given)
    try:
        for part in StructureCollection(place).parts():
            for found in part.read():
                yield require_atoms(found)
    except InputError as error:
        raise InputError(f"{path}: prototype {given}: {error}") from error


def _repeated(atoms: Atoms, supercell: tuple[int, int, int]) -> Atoms:
    """Bare supercell."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return bare if supercell == (1, 1, 1) else bare.repeat(supercell)


def _sites(atoms: Atoms, sites: str | tuple[int, ...], name: str) -> tuple[int, ...]:
    if isinstance(sites, str):
        found = range(len(atoms)) if sites == "all" else np.flatnonzero(atoms.symbols == sites).tolist()
        if not found:
            raise InputError(
                f"generator {name}: decorate.sites = {sites!r}: {atoms.symbols} has no such atom"
            )
        return tuple(found)
    outside = [site for site in sites if site >= len(atoms)]
    if outside:
        raise InputError(
            f"generator {name}: decorate.sites: there is no atom {outside[0]} in a prototype of {len(atoms)}"
        )
    return tuple(sites)


def _check(family: Family, path: Path) -> None:
    present = {chemical_symbols[z] for atoms in family.prototypes for z in np.unique(atoms.numbers)}
    for symbol in family.settings.substitute:
        if symbol not in present:
            raise InputError(
                f"{path}: substitute.{symbol}: no prototype has this element; they have "
                f"{', '.join(sorted(present))}"
            )
    if family.n_combinations >= 2**62:
        raise InputError(
            f"{path}: {family.name} has {family.n_combinations:.2g} combinations; shorten the lists"
        )
