"""Density and power spectrum of QUIP's ``soap`` from its descriptor string."""

from dataclasses import dataclass

import numpy as np

from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.quip_radial_bases import QuipOrbitals, QuipPolynomials
from castile.descriptors.radial_bases import ContractedBasis, EquispacedGaussians, RadialBasis
from castile.descriptors.radial_scaling import quip_decay
from castile.descriptors.soap_engine import SoapEngine
from castile.errors import InputError
from castile.formats.quip_strings import ParameterString

ANY = 0
WITHOUT_ROOT_BEFORE = 1423143769
"""Versions of the XML whose power spectrum lacks 1 / sqrt(2l + 1)."""
ALL_CENTRAL_BEFORE = 1426512068
"""Versions of the XML in which the central atom adds to every density channel."""
_BASES: dict[str, type[EquispacedGaussians] | type[QuipPolynomials] | type[QuipOrbitals]] = {
    "EQUISPACED_GAUSS": EquispacedGaussians,
    "POLY": QuipPolynomials,
    "GTO": QuipOrbitals,
}


@dataclass(frozen=True)
class QuipDensity:
    """What a ``soap`` string says of the density.

    Attributes
    ----------
    engine : SoapEngine
        Row k of its ``central`` belongs to centres of ``species[k]``, the last row to all others.
    species, centers : tuple of int
        Atomic numbers of the density channels, and of the centres; (0,) stands for all.
    """

    engine: SoapEngine
    species: tuple[int, ...]
    centers: tuple[int, ...]


def quip_density(string: ParameterString, version: int, normalize: bool) -> QuipDensity:
    """Return density and power spectrum of a descriptor string.

    Parameters
    ----------
    string : ParameterString
    version : int
        ``gap_version`` of the XML.
    normalize : bool
        Divide each power spectrum by its norm.

    Raises
    ------
    InputError
        For values that make no descriptor.
    """
    species, centers = _species(string)
    cutoff = CosineCutoff(string.real("cutoff"), string.real("cutoff_transition_width", 0.5))
    scaling = quip_decay(
        string.whole("cutoff_dexp", 0), string.real("cutoff_scale", 1.0), string.real("cutoff_rate", 1.0)
    )
    shape = (len(species) + 1, len(species))
    everywhere = central_everywhere(string, version)
    central = string.real("central_weight", 1.0) * (np.ones(shape) if everywhere else np.eye(*shape))
    basis = _basis(string, version, cutoff.cutoff)
    engine = SoapEngine(basis, cutoff, scaling, np.eye(len(species)), central, normalize)
    return QuipDensity(engine, species, centers)


def central_everywhere(string: ParameterString, version: int) -> bool:
    """Whether the central atom adds to the density of every species."""
    species, _ = _species(string)
    if version < ALL_CENTRAL_BEFORE or species == (ANY,):
        return True
    return string.flag("central_reference_all_species", len(species) == 1)


def _basis(string: ParameterString, version: int, cutoff: float) -> RadialBasis:
    n_max, l_max = string.whole("n_max"), string.whole("l_max")
    name = string.text_of("radial_basis", "EQUISPACED_GAUSS").upper()
    if name not in _BASES:
        raise InputError(
            f"the soap option radial_basis={name} is not supported; known are {', '.join(_BASES)}"
        )
    sigma = string.real("atom_sigma", None, "atom_gaussian_width")
    basis: RadialBasis = _BASES[name](n_max, l_max, cutoff, sigma, string.real("basis_error_exponent", 10.0))
    if version < WITHOUT_ROOT_BEFORE:
        roots = (2.0 * np.arange(l_max + 1) + 1.0) ** 0.25
        basis = ContractedBasis(basis, roots[:, None, None] * np.eye(n_max))
    return basis


def _species(string: ParameterString) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (density channels, centres)."""
    species = string.elements("species_Z", (ANY,), string.whole("n_species", 1))
    centers = string.elements("Z", (ANY,), string.whole("n_Z", 1))
    if len(set(species)) < len(species) or (ANY in species and len(species) > 1):
        raise InputError(f"species_Z={{{' '.join(map(str, species))}}} must name each element once, or be 0")
    if ANY in centers:
        centers = (ANY,)
    return species, centers
