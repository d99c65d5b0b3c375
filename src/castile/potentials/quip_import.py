"""A model from QUIP's XML: each block becomes a term; what cannot be done exactly is refused."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CosineCutoff
from castile.errors import InputError
from castile.formats.quip_strings import HEAVIEST
from castile.formats.quip_xml import QuipCoordinates, QuipPotential, read_quip_xml
from castile.potentials.composition import Composition
from castile.potentials.gap import GAP, loaded_gap
from castile.potentials.glue_core import GlueCore
from castile.potentials.imported import ImportedModel, Origin, reference_structure
from castile.potentials.model import PotentialModel
from castile.potentials.quip_kernels import quip_kernel
from castile.potentials.quip_keys import CLUSTER_KEYS, PAIR_KEYS, TRIPLET_KEYS, refuse_unknown
from castile.potentials.quip_pair_term import QuipPairTerm
from castile.potentials.quip_soap_import import soap_term
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.quip_triplet_term import QuipTripletTerm

ANY = 0
_SUPPORTED = ("soap", "distance_2b", "distance_nb", "angle_3b")

QuipTerm = QuipSoapTerm | QuipSoapVariant | QuipPairTerm | QuipTripletTerm


def import_gap(path: str | Path, elements: Collection[str] | None = None) -> GAP:
    """Return the model of a GAP's XML file as QUIP and quippy write it.

    Descriptors soap, distance_2b (and distance_Nb of order 2), angle_3b; kernels dot_product, ard_se, PP;
    a Glue core.

    Parameters
    ----------
    path : path
        The XML file; its sparse-point files must lie beside it.
    elements : collection of str, optional
        Elements that the model may be used for; by default those that the file names, or all where a block
        acts on any element.

    Raises
    ------
    InputError
        If the file is incomplete, or holds something that Castile cannot evaluate exactly; it is named.
    """
    potential = read_quip_xml(path)
    terms = []
    for block in potential.coordinates:
        try:
            terms.append(_term(block, potential.gap_version))
        except InputError as error:
            raise InputError(f"{path}: gpCoordinates {block.label}: {error}") from error
    core = None if potential.glue is None else GlueCore(potential.glue)
    known = _elements(potential, [term for term, _ in terms], elements)
    energies = {z: dict(potential.energies).get(z, potential.default_energy) for z in known}
    model = PotentialModel(
        known,
        Composition(energies, f"e0 of {Path(path).name}"),
        core,
        tuple(term for term, _ in terms),
        tuple(weights for _, weights in terms),
    )
    named = tuple(sorted(_named_elements(potential, [term for term, _ in terms]) & set(known)))
    origin = Origin("QUIP", Path(path).name, potential.label, potential.gap_version)
    return loaded_gap(ImportedModel(model, origin, reference_structure(named or known)))


def _term(block: QuipCoordinates, version: int) -> tuple[QuipTerm, NDArray[np.float64]]:
    """Return a block's term and weights."""
    kinds = [kind for kind in _SUPPORTED if kind in block.descriptor.values]
    if not kinds:
        name = next(iter(block.descriptor.values), "")
        raise InputError(
            f"descriptor {name!r} is not supported; Castile imports soap, distance_2b, distance_Nb of "
            "order 2 and angle_3b"
        )
    if kinds[0] == "soap":
        return soap_term(block, version)
    if kinds[0] == "angle_3b":
        return _triplet_term(block), block.alpha * block.sparse_cutoff
    return _pair_term(block, kinds[0]), block.alpha * block.sparse_cutoff


def _pair_term(block: QuipCoordinates, kind: str) -> QuipPairTerm:
    string = block.descriptor
    if kind == "distance_nb":
        if string.whole("order") != 2 or not string.flag("compact_clusters", False):
            raise InputError(
                f"distance_Nb with order={string.whole('order')} and compact_clusters="
                f"{string.text_of('compact_clusters', 'F')} is not supported, only order=2 with "
                "compact_clusters=T"
            )
        refuse_unknown(string, CLUSTER_KEYS)
        first, second = string.elements("Z", (), 2)
        exponents: tuple[float, ...] = (1.0,)
    else:
        refuse_unknown(string, PAIR_KEYS)
        filters = [name for name in ("only_intra", "only_inter") if string.flag(name, False)]
        if filters:
            raise InputError(f"the distance_2b option {', '.join(filters)} is not supported")
        first, second = string.element("Z1"), string.element("Z2")
        count = string.whole("n_exponents", 1)
        default = (1.0,) if count == 1 else tuple(-float(k + 1) for k in range(count))
        exponents = string.reals("exponents", default, count)
    return QuipPairTerm(
        block.label,
        (first, second),
        _envelope(block),
        exponents,
        string.whole("tail_exponent", 0),
        string.real("tail_range", 1.0),
        quip_kernel(block, len(exponents)),
        block.sparse_points,
        block.sparse_cutoff,
    )


def _triplet_term(block: QuipCoordinates) -> QuipTripletTerm:
    string = block.descriptor
    refuse_unknown(string, TRIPLET_KEYS)
    return QuipTripletTerm(
        block.label,
        string.element("Z_center", "Z"),
        (string.element("Z1"), string.element("Z2")),
        _envelope(block),
        quip_kernel(block, 3),
        block.sparse_points,
        block.sparse_cutoff,
    )


def _envelope(block: QuipCoordinates) -> CosineCutoff:
    return CosineCutoff(
        block.descriptor.real("cutoff"), block.descriptor.real("cutoff_transition_width", 0.5)
    )


def _named_elements(potential: QuipPotential, terms: Iterable[QuipTerm]) -> set[int]:
    named: set[int] = set()
    for term in terms:
        named.update(_numbers(term))
    if potential.glue is not None:
        named.update(entry.number for entry in potential.glue.types)
    return named - {ANY}


def _numbers(term: QuipTerm) -> set[int]:
    """Return the atomic numbers that a term names, 0 for any."""
    if isinstance(term, QuipSoapTerm | QuipSoapVariant):
        return {*term.species, *term.centers}
    if isinstance(term, QuipPairTerm):
        return set(term.numbers)
    return {term.center, *term.numbers}


def _elements(
    potential: QuipPotential, terms: list[QuipTerm], chosen: Collection[str] | None
) -> tuple[int, ...]:
    if chosen is not None:
        unknown = [symbol for symbol in chosen if symbol not in atomic_numbers]
        if unknown or not chosen:
            raise InputError(f"elements = {list(chosen)} must be chemical symbols, at least one")
        return tuple(sorted({atomic_numbers[symbol] for symbol in chosen}))
    if any(ANY in _numbers(term) for term in terms):
        return tuple(range(1, min(HEAVIEST, len(chemical_symbols) - 1) + 1))
    named = _named_elements(potential, terms)
    return tuple(sorted(named))
