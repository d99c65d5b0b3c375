"""SOAP terms as ``soap`` blocks of QUIP's XML."""

from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.quip_radial_bases import QuipOrbitals, QuipPolynomials
from castile.descriptors.radial_bases import ContractedBasis, EquispacedGaussians, RadialBasis
from castile.descriptors.radial_scaling import NoScaling, PowerScaling, RadialScaling, Willatt2018
from castile.descriptors.soap_engine import SoapEngine
from castile.errors import InputError
from castile.formats.quip_strings import ParameterString, write_list, write_number
from castile.formats.quip_xml import QuipCoordinates
from castile.potentials.quip_soap_engine import WITHOUT_ROOT_BEFORE
from castile.potentials.quip_soap_features import to_quip
from castile.potentials.quip_soap_term import ANY, QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.soap_term import SoapTerm

CURRENT_VERSION = 1686220958
"""``gap_version`` of files without the old conventions."""
_RADIAL_BASES: dict[type[RadialBasis], str] = {
    EquispacedGaussians: "EQUISPACED_GAUSS",
    QuipPolynomials: "POLY",
    QuipOrbitals: "GTO",
}
_REMEDY = 'fit with radial_basis="equispaced", cutoff_function="cosine" and one channel per element'

Array = NDArray[np.float64]


def native_soap_blocks(term: SoapTerm, weights: Array, amplitudes: dict[str, float]) -> list[QuipCoordinates]:
    """Return one block per element that has sparse points.

    Raises
    ------
    InputError
        If QUIP's descriptor has no such density; all reasons are named.
    """
    _refuse(term.name, term.engine, _primitive(term.engine.basis))
    n_elements = len(term.elements)
    central = np.concatenate([term.engine.central, np.zeros((1, n_elements))])
    if n_elements == 1:
        central[:] = term.engine.central
    engine = replace(term.engine, central=central)
    blocks = []
    for element, (label, columns) in enumerate(term.blocks()):
        if columns.start == columns.stop:
            continue
        delta = amplitudes.get(label, 1.0)
        quip_term = QuipSoapTerm(
            f"{term.name} {chemical_symbols[term.elements[element]]}",
            engine,
            term.elements,
            (term.elements[element],),
            term.zeta,
            0.0,
            delta,
            term.points(element),
        )
        blocks.append(quip_soap_block(quip_term, weights[columns]))
    return blocks


def quip_soap_block(term: QuipSoapTerm, weights: Array) -> QuipCoordinates:
    """Return the block of a term.

    Raises
    ------
    InputError
        If QUIP's descriptor has no such density; all reasons are named.
    """
    engine, basis = term.engine, _primitive(term.engine.basis)
    _refuse(term.name, engine, basis)
    assert isinstance(basis, EquispacedGaussians | QuipPolynomials | QuipOrbitals)
    central_weight, everywhere = _central(term)
    n_species, n_centers = len(term.species), len(term.centers)
    words = [
        f"soap cutoff={write_number(engine.cutoff.cutoff)} "
        f"cutoff_transition_width={write_number(engine.cutoff.width)}",
        f"n_max={basis.n_max} l_max={basis.l_max} atom_sigma={write_number(basis.sigma)}",
        f"basis_error_exponent={write_number(basis.basis_error_exponent)} "
        f"central_weight={write_number(central_weight)}",
        f"central_reference_all_species={_flag(everywhere)} normalise={_flag(engine.normalize)}",
        f"covariance_sigma0={write_number(term.sigma0)} zeta={write_number(term.zeta)}",
        f"delta={write_number(term.delta)} covariance_type=dot_product add_species=F",
        f"n_species={n_species} species_Z={_numbers(term.species)} n_Z={n_centers} "
        f"Z={_numbers(term.centers)}",
        *_scaling(engine.scaling),
        *_radial_basis(basis),
    ]
    return QuipCoordinates(
        term.name,
        ParameterString.parse(" ".join(words)),
        2,
        term.delta,
        0.0,
        term.zeta,
        np.empty(0),
        (),
        to_quip(term.sparse_points, n_species * basis.n_max, basis.l_max, term.sigma0),
        weights / term.delta**2,
        np.ones(len(weights)),
    )


def quip_variant_block(term: QuipSoapVariant) -> tuple[ParameterString, Array]:
    """Return descriptor string and sparse points of a variant: those of the file that it came from."""
    text = term.descriptor
    if not ParameterString.parse(text).has("add_species"):
        text += " add_species=F"
    return ParameterString.parse(text), term.points


def quip_version(terms: list[QuipSoapTerm | QuipSoapVariant]) -> int:
    """Return the ``gap_version`` that gives these terms their conventions.

    Raises
    ------
    InputError
        If terms of old and new conventions come together.
    """
    old = [isinstance(term.engine.basis, ContractedBasis) for term in terms]
    if not any(old):
        return CURRENT_VERSION
    if not all(old):
        raise InputError("soap terms with and without 1/sqrt(2l+1) cannot go into one file")
    return WITHOUT_ROOT_BEFORE - 1


def _primitive(basis: RadialBasis) -> RadialBasis:
    """Return the basis without the factors of old XML versions."""
    if not isinstance(basis, ContractedBasis):
        return basis
    roots = (2.0 * np.arange(basis.l_max + 1) + 1.0) ** 0.25
    expected = roots[:, None, None] * np.eye(basis.n_max)
    same = basis.matrix.shape == expected.shape and np.array_equal(basis.matrix, expected)
    return basis.base if same else basis


def _refuse(name: str, engine: SoapEngine, basis: RadialBasis) -> None:
    reasons = []
    if type(basis) not in _RADIAL_BASES:
        reasons.append(f"the radial basis {basis.name}")
    if not isinstance(engine.cutoff, CosineCutoff):
        reasons.append(f"the cutoff function {engine.cutoff.name}")
    n_elements, n_channels = engine.mixing.shape
    if n_elements != n_channels or not np.array_equal(engine.mixing, np.eye(n_elements)):
        reasons.append(f"{n_channels} mixed channels for {n_elements} elements")
    exponent = getattr(engine.scaling, "exponent", 0.0)
    if not isinstance(engine.scaling, NoScaling | Willatt2018 | PowerScaling) or exponent != int(exponent):
        reasons.append(f"the radial scaling {engine.scaling} (QUIP takes whole exponents)")
    if reasons:
        raise InputError(
            f"the SOAP term {name!r} has {', '.join(reasons)}, which QUIP does not have; {_REMEDY}"
        )


def _central(term: QuipSoapTerm) -> tuple[float, bool]:
    """Return (central_weight, central_reference_all_species)."""
    central = term.engine.central
    weight = float(central[0, 0])
    if np.array_equal(central, np.full_like(central, weight)):
        return weight, True
    if np.array_equal(central, weight * np.eye(*central.shape)) and ANY not in term.species:
        return weight, False
    raise InputError(
        f"the SOAP term {term.name!r} weighs the central atom differently from element to element, which "
        "QUIP cannot"
    )


def _scaling(scaling: RadialScaling) -> list[str]:
    if isinstance(scaling, Willatt2018):
        rate = scaling.rate
    elif isinstance(scaling, PowerScaling):
        rate = 0.0
    else:
        return []
    return [
        f"cutoff_dexp={int(scaling.exponent)} cutoff_scale={write_number(scaling.scale)} "
        f"cutoff_rate={write_number(rate)}"
    ]


def _radial_basis(basis: RadialBasis) -> list[str]:
    name = _RADIAL_BASES[type(basis)]
    return [] if name == "EQUISPACED_GAUSS" else [f"radial_basis={name}"]


def _flag(value: bool) -> str:
    return "T" if value else "F"


def _numbers(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(values) == 1 else write_list(values)
