"""The ``soap`` block of QUIP's XML as a term."""

import numpy as np

from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.radial_bases import ContractedBasis, EquispacedGaussians, RadialBasis
from castile.descriptors.radial_scaling import quip_decay
from castile.descriptors.soap_engine import SoapEngine
from castile.errors import InputError
from castile.formats.quip_strings import ParameterString
from castile.formats.quip_xml import QuipCoordinates
from castile.potentials.quip_keys import SOAP_KEYS, refuse_unknown
from castile.potentials.quip_soap_features import from_quip
from castile.potentials.quip_soap_term import ANY, QuipSoapTerm

WITHOUT_ROOT_BEFORE = 1423143769
"""Versions of the XML whose power spectrum lacks 1 / sqrt(2l + 1)."""
ALL_CENTRAL_BEFORE = 1426512068
"""Versions of the XML in which the central atom adds to every density channel."""


def soap_term(block: QuipCoordinates, version: int) -> QuipSoapTerm:
    """Return the term of a ``soap`` block.

    Parameters
    ----------
    block : QuipCoordinates
    version : int
        ``gap_version`` of the XML.

    Raises
    ------
    InputError
        For variants that are not supported, by name.
    """
    string = block.descriptor
    _refuse_variants(block)
    species, centers = _species(string)
    n_max, l_max = string.whole("n_max"), string.whole("l_max")
    cutoff = CosineCutoff(string.real("cutoff"), string.real("cutoff_transition_width", 0.5))
    basis: RadialBasis = EquispacedGaussians(
        n_max,
        l_max,
        cutoff.cutoff,
        string.real("atom_sigma", None, "atom_gaussian_width"),
        string.real("basis_error_exponent", 10.0),
    )
    if version < WITHOUT_ROOT_BEFORE:
        roots = (2.0 * np.arange(l_max + 1) + 1.0) ** 0.25
        basis = ContractedBasis(basis, roots[:, None, None] * np.eye(n_max))
    scaling = quip_decay(
        string.whole("cutoff_dexp", 0), string.real("cutoff_scale", 1.0), string.real("cutoff_rate", 1.0)
    )
    everywhere = string.flag("central_reference_all_species", len(species) == 1)
    if version < ALL_CENTRAL_BEFORE or species == (ANY,):
        everywhere = True
    shape = (len(species) + 1, len(species))
    central = string.real("central_weight", 1.0) * (np.ones(shape) if everywhere else np.eye(*shape))
    normalize = string.flag("normalise", True, "normalize")
    engine = SoapEngine(basis, cutoff, scaling, np.eye(len(species)), central, normalize)
    if block.sparse_points.shape[1] != engine.n_features + 1:
        raise InputError(
            f"the file has {block.sparse_points.shape[1]} dimensions; n_max={n_max}, l_max={l_max} and "
            f"{len(species)} species make {engine.n_features + 1}"
        )
    return QuipSoapTerm(
        block.label,
        engine,
        species,
        centers,
        block.zeta,
        string.real("covariance_sigma0", 0.0),
        block.delta,
        from_quip(block.sparse_points, n_max * len(species), l_max),
    )


def _species(string: ParameterString) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (density channels, centres)."""
    species = string.integers("species_Z", (ANY,), string.whole("n_species", 1))
    centers = string.integers("Z", (ANY,), string.whole("n_Z", 1))
    if len(set(species)) < len(species) or (ANY in species and len(species) > 1):
        raise InputError(f"species_Z={{{' '.join(map(str, species))}}} must name each element once, or be 0")
    if ANY in centers:
        centers = (ANY,)
    return species, centers


def _refuse_variants(block: QuipCoordinates) -> None:
    string = block.descriptor
    if block.covariance_type != 2:
        raise InputError(
            f"soap with covariance_type {block.covariance_type} is not supported, only dot_product"
        )
    refused = [
        name
        for name in ("average", "diagonal_radial", "R_mix", "Z_mix", "sym_mix")
        if string.flag(name, False)
    ]
    refused += [f"{name}={string.whole(name)}" for name in ("nu_R", "nu_S") if string.whole(name, 2) != 2]
    if not string.flag("coupling", True):
        refused.append("coupling=F")
    if string.text_of("Z_map", ""):
        refused.append("Z_map")
    radial = string.text_of("radial_basis", "EQUISPACED_GAUSS").upper()
    if radial != "EQUISPACED_GAUSS":
        refused.append(f"radial_basis={radial}")
    if refused:
        raise InputError(f"the soap option {', '.join(refused)} is not supported; fit again without it")
    refuse_unknown(string, SOAP_KEYS)
