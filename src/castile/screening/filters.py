"""Which candidates are looked at at all: composition, size, and whether they are known already."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from ase import Atoms
from ase.data import atomic_numbers
from ase.formula import Formula

from castile.errors import InputError
from castile.screening.likeness import KnownStructures
from castile.structures.fingerprints import geometry_hash


@dataclass(frozen=True)
class Filters:
    """What a candidate must be; None or empty: anything.

    Parameters
    ----------
    only : tuple of str
        Elements that may occur.
    required : tuple of str
        Elements that must occur.
    excluded : tuple of str
        Elements that must not.
    formulas : tuple of str
        Wanted compositions, such as "SrTiO3" (reduced).
    patterns : tuple of str
        Wanted proportions, such as "ABC3".
    min_atoms, max_atoms : int, optional
    min_volume, max_volume : float, optional
        Angstrom^3 per atom; structures without a volume pass.
    known : KnownStructures, optional
        What candidates are compared with.
    most_similar : float, optional
        Candidates more similar to a known structure than this are left out.
    labelled : frozenset of bytes
        Hashes of geometries that are left out.

    Raises
    ------
    InputError
        For something that is no element or formula, or an empty range.
    """

    only: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    min_atoms: int | None = None
    max_atoms: int | None = None
    min_volume: float | None = None
    max_volume: float | None = None
    known: KnownStructures | None = None
    most_similar: float | None = None
    labelled: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        for option in ("only", "required", "excluded"):
            for symbol in getattr(self, option):
                if atomic_numbers.get(symbol, 0) == 0:
                    raise InputError(f"{option}: {symbol!r} is no element; give symbols such as 'Si'")
        for option in ("formulas", "patterns"):
            for text in getattr(self, option):
                _counts(text, option)
        for low, high in (("min_atoms", "max_atoms"), ("min_volume", "max_volume")):
            smallest, largest = getattr(self, low), getattr(self, high)
            if smallest is not None and largest is not None and smallest > largest:
                raise InputError(f"{low} = {smallest} is larger than {high} = {largest}")
        if self.most_similar is not None:
            if not 0.0 < self.most_similar <= 1.0:
                raise InputError(f"most_similar = {self.most_similar}: give a number above 0, up to 1")
            if self.known is None:
                raise InputError("most_similar needs the known structures to compare with")

    def reason(self, atoms: Atoms) -> str | None:
        """Return which filter leaves a structure out ("composition", "size", "volume", "labelled")."""
        symbols = set(atoms.symbols)
        if (self.only and not symbols <= set(self.only)) or not symbols >= set(self.required):
            return "composition"
        if symbols & set(self.excluded) or not self._has_wanted_formula(atoms):
            return "composition"
        if len(atoms) < (self.min_atoms or 0):
            return "size"
        if self.max_atoms is not None and len(atoms) > self.max_atoms:
            return "size"
        if not self._has_wanted_volume(atoms):
            return "volume"
        return "labelled" if self.labelled and geometry_hash(atoms) in self.labelled else None

    def _has_wanted_formula(self, atoms: Atoms) -> bool:
        if not (self.formulas or self.patterns):
            return True
        counts = atoms.symbols.formula.reduce()[0].count()
        if any(counts == _counts(text, "formulas") for text in self.formulas):
            return True
        proportions = sorted(counts.values())
        return any(proportions == sorted(_counts(text, "patterns").values()) for text in self.patterns)

    def _has_wanted_volume(self, atoms: Atoms) -> bool:
        if (self.min_volume is None and self.max_volume is None) or atoms.cell.rank < 3:
            return True
        volume = atoms.get_volume() / len(atoms)
        return (self.min_volume or 0.0) <= volume and (self.max_volume is None or volume <= self.max_volume)

    def without(self, structures: Sequence[Atoms]) -> Filters:
        """Return the filters that leave out these structures too."""
        return replace(self, labelled=self.labelled | {geometry_hash(atoms) for atoms in structures})

    def fingerprint(self) -> str:
        """Hash of everything that decides."""
        digest = hashlib.sha256()
        known = self.known
        plain = replace(self, known=None, most_similar=None, labelled=frozenset())
        digest.update(repr((plain, self.most_similar, sorted(self.labelled))).encode())
        if known is not None:
            digest.update(repr(known.likeness).encode() + known.vectors.tobytes())
        return digest.hexdigest()


@cache
def _counts(text: str, option: str) -> dict[str, int]:
    """Reduced counts of a formula."""
    try:
        counts: dict[str, int] = Formula(text).reduce()[0].count()
    except (ValueError, KeyError) as error:
        raise InputError(f"{option}: {text!r} is no formula; write for example SrTiO3") from error
    if not counts:
        raise InputError(f"{option}: the formula is empty; write for example SrTiO3")
    return counts
