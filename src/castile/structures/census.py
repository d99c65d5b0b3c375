"""The label census: taken in one pass, and judged before anything is fitted."""

from collections.abc import Collection, Iterable

from castile.errors import InputError
from castile.structures.census_counter import CensusCounter
from castile.structures.kind_census import KindCensus
from castile.structures.label_census import KINDS, LabelCensus
from castile.structures.labels import LabelKeys, LabelledStructure
from castile.structures.readers import StructureSource

_KEY_OPTIONS = {"energy": "--energy-key", "forces": "--forces-key", "stress": "--stress-key or --virial-key"}


def take_census(structures: Iterable[LabelledStructure], keys: LabelKeys | None = None) -> LabelCensus:
    """Census of structures in one pass; memory grows only by one hash a structure.

    Args:
        structures: a `StructureSource`, or labelled structures.
        keys: names that were asked for; those of the source where None.

    Raises:
        InputError: no structures, or what reading a structure raises.

    """
    if keys is None:
        keys = structures.keys if isinstance(structures, StructureSource) else LabelKeys()
    counter = CensusCounter(keys)
    for structure in structures:
        counter.add(structure)
    return counter.result()


def check_census(census: LabelCensus, allow_missing: Collection[str] = ()) -> None:
    """Refuse data for a fit whose labels are absent or half-present.

    Args:
        census: from `take_census`.
        allow_missing: kinds ("energy", "forces", "stress") that some structures may lack.

    Raises:
        InputError: no label of any kind, a key that was asked for and is nowhere, or a kind that some
            structures have and others lack, unless allowed.

    """
    unknown = sorted(set(allow_missing) - set(KINDS))
    if unknown:
        raise InputError(f"--allow-missing {unknown[0]}: not a kind of label; use {', '.join(KINDS)}")
    for name in KINDS:
        kind = census.kind(name)
        if kind.requested and kind.n_present == 0:
            raise InputError(
                f"the {name} key {kind.requested!r} is in none of {census.n_structures} structures; "
                f"correct {_KEY_OPTIONS[name]}. {_available(census)}"
            )
    if not any(census.kind(name).n_present for name in KINDS):
        raise InputError(
            f"none of {census.n_structures} structures has an energy, forces or a stress under a usual name; "
            f"name the keys (--energy-key, --forces-key, --stress-key, --virial-key). {_available(census)}"
        )
    for name in KINDS:
        kind = census.kind(name)
        if kind.half_present and name not in allow_missing:
            raise InputError(_half_present(kind))


def _half_present(kind: KindCensus) -> str:
    names = ", ".join(kind.missing_names)
    more = ", ..." if kind.n_missing > len(kind.missing_names) else ""
    keys = ", ".join(repr(key) for key, _ in kind.keys)
    return (
        f"{kind.kind}: found in {kind.n_present} structures (key {keys}) but missing in {kind.n_missing}: "
        f"{names}{more}. If that is intended, say --allow-missing {kind.kind} (in Python "
        f"allow_missing=['{kind.kind}']); if they have it under another "
        f"name, say {_KEY_OPTIONS[kind.kind]}; to ignore this label everywhere, give the key as none"
    )


def _available(census: LabelCensus) -> str:
    info = ", ".join(census.info_keys) or "nothing"
    arrays = ", ".join(census.array_keys) or "nothing"
    return f"The data hold per structure: {info}; per atom: {arrays}"
