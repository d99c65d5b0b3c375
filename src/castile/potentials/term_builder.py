"""Terms of a potential from complete settings."""

import numpy as np
from ase.data import atomic_numbers

from castile.descriptors.channels import mixing_matrix
from castile.descriptors.cutoffs import CosineCutoff, CutoffFunction, SmoothCutoff
from castile.descriptors.radial_bases import GTO, EquispacedGaussians, RadialBasis
from castile.descriptors.radial_scaling import NoScaling, RadialScaling, Willatt2018
from castile.descriptors.soap_engine import SoapEngine
from castile.errors import InputError
from castile.potentials.core_repulsion import CoreRepulsion
from castile.potentials.core_term import CoreTerm
from castile.potentials.pair_term import PairTerm
from castile.potentials.settings import CoreSettings, PairSettings, RadialScalingSettings, SoapSettings
from castile.potentials.survey import Survey


def build_engine(term: SoapSettings, elements: tuple[int, ...], dtype: str = "float64") -> SoapEngine:
    """Return the SOAP engine of complete settings."""
    cutoff, width = float(term.cutoff or 0.0), float(term.cutoff_width or 0.0)
    sizes = int(term.n_max or 0), int(term.l_max or 0), cutoff, float(term.sigma or 0.0)
    basis: RadialBasis = GTO(*sizes) if term.radial_basis == "gto" else EquispacedGaussians(*sizes)
    envelope: CutoffFunction
    envelope = (
        CosineCutoff(cutoff, width) if term.cutoff_function == "cosine" else SmoothCutoff(cutoff, width)
    )
    scaling: RadialScaling = NoScaling()
    if isinstance(term.radial_scaling, RadialScalingSettings):
        chosen = term.radial_scaling
        scaling = Willatt2018(chosen.rate, chosen.scale, chosen.exponent)
    mixing = mixing_matrix(None, elements)
    if isinstance(term.channels, int):
        shared = term.channels if isinstance(term.mixing, str) else np.array(term.mixing)
        mixing = mixing_matrix(shared, elements)
        if mixing.shape[1] != term.channels:
            raise InputError(
                f"{term.name}.mixing has {mixing.shape[1]} columns, but channels = {term.channels}; "
                "make them equal"
            )
    return SoapEngine(
        basis, envelope, scaling, mixing, term.central_weight * np.eye(len(elements)), True, dtype
    )


def build_pair_term(term: PairSettings, survey: Survey) -> PairTerm:
    """Return a pair term whose sparse points are equispaced from the shortest distance of each pair to the
    cutoff.
    """
    cutoff, count = float(term.cutoff or 0.0), int(term.n_sparse or 2)
    starts = np.minimum(np.where(np.isfinite(survey.shortest), survey.shortest, cutoff), 0.8 * cutoff)
    points = np.array([np.linspace(start, cutoff, count) for start in starts])
    return PairTerm(term.name, survey.elements, pair_envelope(term), float(term.theta or 0.0), points)


def pair_envelope(term: PairSettings) -> SmoothCutoff:
    """Return the cutoff function of a pair term."""
    return SmoothCutoff(float(term.cutoff or 0.0), float(term.cutoff_width or 0.0))


def build_core(settings: CoreSettings, survey: Survey) -> CoreTerm | None:
    """Return the core repulsion, or None where it is switched off.

    Raises
    ------
    InputError
        If a radius is given for a pair of elements that is not in the data.
    """
    if not settings.enabled:
        return None
    default = CoreRepulsion.from_min_distances(survey.symbols, survey.shortest)
    inner, outer = list(default.inner), list(default.outer)
    index = {frozenset(pair): k for k, pair in enumerate(default.pairs)}
    for radii, given in ((inner, settings.inner), (outer, settings.outer)):
        for name, radius in given.items():
            pair = frozenset(name.split("-"))
            if pair not in index or not all(symbol in atomic_numbers for symbol in pair):
                known = ", ".join("-".join(p) for p in default.pairs)
                raise InputError(f"core: {name!r} is no pair of elements of the data; give one of {known}")
            radii[index[pair]] = radius
    return CoreTerm(CoreRepulsion(survey.symbols, tuple(inner), tuple(outer)))
