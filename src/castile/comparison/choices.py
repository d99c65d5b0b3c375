"""Which descriptors are compared when none are named: from the elements and sizes of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from ase import Atoms

from castile.properties.angles import AngularDistribution
from castile.properties.composition import CompositionStatistics
from castile.properties.descriptor import StructureDescriptor
from castile.properties.distances import PairDistanceHistogram, RadialDistributionVector
from castile.properties.inputs import Scope
from castile.properties.matrices import CoulombEigenvalues, EwaldEigenvalues, SineEigenvalues
from castile.properties.registry import parse_descriptor
from castile.properties.soap_vectors import SOAPVectors
from castile.structures.neighbors import neighbor_pairs

_OWN_CHANNELS, _MIXED, _CODED = 4, 4, 6
_MOST_PARTIAL = 30
_MOST_EWALD = 60
_SURVEYED = 100


@dataclass(frozen=True)
class NamedDescriptor:
    """A descriptor and its name in tables."""

    label: str
    descriptor: StructureDescriptor


def named_descriptors(texts: Sequence[str]) -> tuple[NamedDescriptor, ...]:
    """Return the descriptors that users name, see :func:`castile.properties.parse_descriptor`."""
    return tuple(NamedDescriptor(text, parse_descriptor(text)) for text in dict.fromkeys(texts))


def default_descriptors(
    structures: Sequence[Atoms], *, scope: Scope = "structure", quick: bool = False
) -> tuple[NamedDescriptor, ...]:
    """Return descriptors from cheap to dear that suit the data.

    Matrices of Coulomb kind for molecules, sine and Ewald ones for crystals (the latter where DScribe is
    installed); functions for pairs of elements where those are few; SOAP in three sizes, with a density
    channel for each element up to four and shared channels besides.
    """
    species = np.unique(np.concatenate([np.unique(atoms.numbers) for atoms in structures]))
    cutoff = _cutoff(structures)
    found = [("composition", CompositionStatistics())] if scope == "structure" else []
    found += _functions(len(species), cutoff, scope, quick)
    if scope == "structure":
        found += _matrices(structures, quick)
    found += _soaps(len(species), cutoff, quick)
    return tuple(NamedDescriptor(label, descriptor) for label, descriptor in found)


def _cutoff(structures: Sequence[Atoms]) -> float:
    """2.4 nearest-neighbour distances, from 4.5 to 6.5 A."""
    step = max(1, len(structures) // _SURVEYED)
    nearest = []
    for atoms in structures[::step][:_SURVEYED]:
        pairs = neighbor_pairs(atoms, 6.0)
        if len(pairs.center):
            lengths = np.full(len(atoms), np.inf)
            np.minimum.at(lengths, pairs.center, np.linalg.norm(pairs.vectors, axis=1))
            nearest.append(lengths[np.isfinite(lengths)])
    bond = float(np.median(np.concatenate(nearest))) if nearest else 2.0
    return round(float(np.clip(2.4 * bond, 4.5, 6.5)), 1)


def _functions(
    n_species: int, cutoff: float, scope: Scope, quick: bool
) -> list[tuple[str, StructureDescriptor]]:
    partial = 1 < n_species * (n_species + 1) // 2 <= _MOST_PARTIAL
    found: list[tuple[str, StructureDescriptor]] = []
    if not (quick and partial):
        found.append(("rdf total", RadialDistributionVector(cutoff, partial=False)))
    if partial:
        found.append(("rdf partial", RadialDistributionVector(cutoff, partial=True)))
    if scope == "structure" and not quick:
        found.append(("pair histogram", PairDistanceHistogram(cutoff)))
        found.append(("angles", AngularDistribution(min(cutoff, 4.0))))
    return found


def _matrices(structures: Sequence[Atoms], quick: bool) -> list[tuple[str, StructureDescriptor]]:
    if not any(atoms.pbc.any() for atoms in structures):
        return [("coulomb", CoulombEigenvalues())]
    if not all(atoms.pbc.all() for atoms in structures):
        return []
    found: list[tuple[str, StructureDescriptor]] = [("sine", SineEigenvalues())]
    largest = max(len(atoms) for atoms in structures)
    if not quick and largest <= _MOST_EWALD and find_spec("dscribe") is not None:
        found.append(("ewald", EwaldEigenvalues()))
    return found


def _soaps(n_species: int, cutoff: float, quick: bool) -> list[tuple[str, StructureDescriptor]]:
    """Three sizes, the inner average, and the other kind of channels.

    With more than four elements, similar ones share four channels, which was better than six coded channels
    on all three sets of that kind (docs/comparison.md).
    """
    own = n_species <= _OWN_CHANNELS
    channels = None if own else _MIXED
    suffix = "" if own else f" {_MIXED} mixed"
    found: list[tuple[str, StructureDescriptor]] = []
    for n_max, l_max in ((6, 4),) if quick else ((4, 3), (6, 4), (8, 6)):
        found.append(
            (f"soap n{n_max} l{l_max}{suffix}", SOAPVectors(cutoff, n_max, l_max, channels=channels))
        )
    if quick:
        return found
    inner = SOAPVectors(cutoff, 6, 4, average="inner", channels=channels)
    found.append((f"soap n6 l4 inner{suffix}", inner))
    if not own:
        coded = SOAPVectors(cutoff, 6, 4, channels=_CODED, mixing="coded")
        found.append((f"soap n6 l4 {_CODED} coded", coded))
    elif n_species > 1:
        mixed = SOAPVectors(cutoff, 6, 4, channels=n_species - 1)
        found.append((f"soap n6 l4 {n_species - 1} mixed", mixed))
    return found
