"""Defaults that come from the data: cutoffs, widths, sizes and terms, each with the reason for it."""

from dataclasses import dataclass

import numpy as np

from castile.potentials.settings import (
    FitSettings,
    PairSettings,
    RadialScalingSettings,
    SoapSettings,
)
from castile.potentials.survey import Survey

# How environments scale with the bond length, and how many sparse points pay off: see docs/theory.md, "Defaults".
CUTOFF_IN_BONDS = 2.5
LONGEST_CUTOFF, SHORTEST_CUTOFF = 7.0, 4.5
SIGMA_IN_BONDS = 0.2
POINTS_PER_ROOT_LABEL = 15.0
MOST_SPARSE, FEWEST_SPARSE = 3000, 20


@dataclass(frozen=True)
class Explanation:
    """One setting: its name, the value used, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Resolved:
    """Complete settings with the reason for each default."""

    settings: FitSettings
    explanations: tuple[Explanation, ...]


def resolve_settings(settings: FitSettings, survey: Survey, n_labels: int) -> Resolved:
    """Return settings in which every term and every number is filled in.

    Parameters
    ----------
    settings : FitSettings
        As the user gave them.
    survey : Survey
        Of the training structures.
    n_labels : int
        Number of energies, force and stress components that will be fitted.
    """
    notes: list[Explanation] = []
    soap = settings.soap if settings.soap != "auto" else (SoapSettings(),)
    pair = settings.pair if settings.pair != "auto" else (PairSettings(),)
    filled_soap = tuple(_fill_soap(term, survey, n_labels, len(soap), notes) for term in soap)
    filled_pair = tuple(_fill_pair(term, survey, filled_soap, notes) for term in pair)
    return Resolved(settings.model_copy(update={"soap": filled_soap, "pair": filled_pair}), tuple(notes))


def _fill_soap(
    term: SoapSettings, survey: Survey, n_labels: int, n_terms: int, notes: list[Explanation]
) -> SoapSettings:
    bond = survey.bond_length
    values: dict[str, object] = {}

    def choose(key: str, value: object, unit: str, reason: str) -> None:
        given = getattr(term, key)
        if given is None or given == "auto":
            values[key] = value
            notes.append(Explanation(f"{term.name}.{key}", f"{value}{unit}", reason))

    cutoff = float(np.round(np.clip(CUTOFF_IN_BONDS * bond, SHORTEST_CUTOFF, LONGEST_CUTOFF), 2))
    choose("cutoff", cutoff, " A", f"{CUTOFF_IN_BONDS} nearest-neighbour distances of {bond:.2f} A")
    cutoff = term.cutoff or cutoff
    choose("cutoff_width", round(0.4 * cutoff, 2), " A", "0.4 cutoffs: far neighbours fade early")
    sigma = float(np.round(np.clip(SIGMA_IN_BONDS * bond, 0.25, 0.6), 2))
    choose("sigma", sigma, " A", f"{SIGMA_IN_BONDS} nearest-neighbour distances")
    choose("n_max", 8, "", "radial detail of about the Gaussian width")
    choose("l_max", 6, "", "angular detail of about 30 degrees")
    choose("zeta", 4.0, "", "sharpens the kernel to many-body correlations")
    choose("radial_scaling", "none", "", "")
    choose("channels", "elements", "", "one density per element")
    n_sparse = int(np.clip(POINTS_PER_ROOT_LABEL * np.sqrt(n_labels), FEWEST_SPARSE, MOST_SPARSE)) // n_terms
    n_sparse = max(1, min(n_sparse, survey.n_atoms))
    choose(
        "n_sparse",
        n_sparse,
        "",
        f"{POINTS_PER_ROOT_LABEL:g} per root of {n_labels} labels, {MOST_SPARSE} at most",
    )
    return term.model_copy(update=values)


def _fill_pair(
    term: PairSettings, survey: Survey, soap: tuple[SoapSettings, ...], notes: list[Explanation]
) -> PairSettings:
    values: dict[str, object] = {}

    def choose(key: str, value: object, unit: str, reason: str) -> None:
        if getattr(term, key) is None:
            values[key] = value
            notes.append(Explanation(f"{term.name}.{key}", f"{value}{unit}", reason))

    longest = max((s.cutoff for s in soap if s.cutoff), default=6.0)
    choose("cutoff", longest, " A", "as the SOAP terms")
    cutoff = term.cutoff or longest
    choose("cutoff_width", round(0.2 * cutoff, 2), " A", "0.2 cutoffs")
    choose("theta", round(0.2 * survey.bond_length, 3), " A", "0.2 nearest-neighbour distances")
    choose("n_sparse", 25, "", "dense enough for the length scale")
    return term.model_copy(update=values)


__all__ = ["Explanation", "RadialScalingSettings", "Resolved", "resolve_settings"]
