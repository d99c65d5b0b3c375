"""Defaults that come from the data: cutoffs, widths, sizes and terms, each with the reason for it."""

from dataclasses import dataclass

import numpy as np

from castile.descriptors.channels import channels_for_similarity
from castile.potentials.settings import (
    FitSettings,
    PairSettings,
    RadialScalingSettings,
    SoapSettings,
)
from castile.potentials.survey import Survey

CUTOFF_IN_BONDS, SHORTEST_CUTOFF, LONGEST_CUTOFF = 2.4, 5.0, 7.5
WIDTH_IN_CUTOFFS = 0.4
SIGMA = 0.5
SCALING_IN_BONDS, SHORTEST_SCALING, SCALING_EXPONENT = 1.0, 1.5, 3.0
N_MAX, L_MAX = 8, 6
MANY_ELEMENTS, N_MAX_MANY, L_MAX_MANY = 3, 6, 4
MOST_OWN_CHANNELS = 4
SIMILARITY_KEPT = 0.95
"""Part of the chemical similarity between the elements that shared channels must keep."""
ATOMS_PER_TRIPLE = 200
"""Atoms for each centre and pair of neighbouring elements from which elements are learned one by one."""
ZETA, ZETA_MOLECULES = 2.0, 4.0
OPERATIONS_PER_ATOM, OPERATIONS_PER_ATOM_MOLECULES = 2e8, 1e9
"""Operations per training atom that the default number of sparse points may cost; molecules, all of one kind,
go on to learn from more points when crystals do not."""
FEWEST_OPERATIONS = 1e12
"""Of any fit: small data, which need each point most, get more than their share of operations affords."""
LABELS_PER_POINT = 4.0
MOST_SPARSE, FEWEST_SPARSE = 7500, 20
_EVIDENCE_PRODUCTS = 15.0


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

    def choose(key: str, value: object, text: str, reason: str) -> None:
        """Take the default, with its reason, where the user gave nothing."""
        given = getattr(term, key)
        if given is None or given == "auto":
            values[key] = value
            notes.append(Explanation(f"{term.name}.{key}", text, reason))

    cutoff = float(np.round(np.clip(CUTOFF_IN_BONDS * bond, SHORTEST_CUTOFF, LONGEST_CUTOFF), 2))
    reason = (
        f"{CUTOFF_IN_BONDS:g} nearest-neighbour distances of {bond:.2f} A, between {SHORTEST_CUTOFF:g} and "
    )
    choose("cutoff", cutoff, f"{cutoff:g} A", f"{reason}{LONGEST_CUTOFF:g} A")
    cutoff = term.cutoff or cutoff
    width = round(WIDTH_IN_CUTOFFS * cutoff, 2)
    choose("cutoff_width", width, f"{width:g} A", f"{WIDTH_IN_CUTOFFS:g} cutoffs: far neighbours fade early")
    choose("sigma", SIGMA, f"{SIGMA:g} A", "smears atoms over thermal displacements")
    scale = round(max(SCALING_IN_BONDS * bond, SHORTEST_SCALING), 2)
    scaling = RadialScalingSettings(rate=1.0, scale=scale, exponent=SCALING_EXPONENT)
    text = f"1 / (1 + (r / {scale:g} A)^{SCALING_EXPONENT:g})"
    choose(
        "radial_scaling", scaling, text, "near neighbours decide most of the energy; scale of a bond length"
    )
    many = len(survey.elements) >= MANY_ELEMENTS
    n_max, l_max = (N_MAX_MANY, L_MAX_MANY) if many else (N_MAX, L_MAX)
    reason = f"less from {MANY_ELEMENTS} elements on, where their combinations add detail"
    choose("n_max", n_max, str(n_max), f"radial detail of about the Gaussian width; {reason}")
    choose("l_max", l_max, str(l_max), f"angular detail; {reason}")
    zeta = ZETA_MOLECULES if survey.molecular else ZETA
    reason = "larger values resolve more and generalize less; molecules stay near their training structures"
    choose("zeta", zeta, f"{zeta:g}", reason)
    channels, reason = _channels(survey)
    shown = "one per element" if channels == "elements" else f"{channels}, shared"
    choose("channels", channels, shown, reason)
    filled = term.model_copy(update=values)
    affordable = affordable_points(filled, survey, n_labels) // n_terms
    most = max(1, min(affordable, int(n_labels / LABELS_PER_POINT), survey.n_atoms, MOST_SPARSE))
    reason = f"about {_spend(survey)}; at most one in {LABELS_PER_POINT:g} of {n_labels} labels"
    choose("n_sparse", most, str(most), reason)
    return term.model_copy(update=values)


def _channels(survey: Survey) -> tuple[int | str, str]:
    """Return the density channels and the reason: shared ones where elements mix too much to be afforded, or
    where they are alike and there are too few atoms to learn each by itself.
    """
    n_elements = len(survey.elements)
    if survey.elements_per_atom > MOST_OWN_CHANNELS:
        mean = f"{survey.elements_per_atom:.1f} elements on average"
        return (
            MOST_OWN_CHANNELS,
            f"structures mix {mean}, and the cost grows as the square of the channels",
        )
    needed = channels_for_similarity(survey.elements, SIMILARITY_KEPT)
    per_triple = survey.n_atoms / n_elements**3
    if needed < n_elements and per_triple < ATOMS_PER_TRIPLE:
        return needed, (
            f"keep {SIMILARITY_KEPT:.0%} of the similarity of {n_elements} elements, which learn from each "
            f"other: only {per_triple:.0f} atoms for each centre and pair of elements"
        )
    return "elements", "elements keep their own density"


def _operations_per_atom(survey: Survey) -> float:
    return OPERATIONS_PER_ATOM_MOLECULES if survey.molecular else OPERATIONS_PER_ATOM


def fit_operations(survey: Survey) -> float:
    """Return the floating-point operations that a fit may take by default.

    Below 5,000 atoms (1,000 of molecules) it is ``FEWEST_OPERATIONS``, so that the number of points that it
    affords falls towards there: data of 4,000 atoms get more points than twice as many.
    """
    return max(FEWEST_OPERATIONS, _operations_per_atom(survey) * survey.n_atoms)


def _spend(survey: Survey) -> str:
    """What the fit may cost, in words."""
    per_atom = _operations_per_atom(survey)
    if per_atom * survey.n_atoms < FEWEST_OPERATIONS:
        most = FEWEST_OPERATIONS / per_atom
        return f"{FEWEST_OPERATIONS:.0e} operations, as any data of less than {most:,.0f} atoms may cost"
    return f"{fit_operations(survey):.0e} operations for {survey.n_atoms} atoms"


def affordable_points(term: SoapSettings, survey: Survey, n_labels: int) -> int:
    """Return the number M of sparse points whose fit costs about :func:`fit_operations`.

    Rows: 2 n_features for 3 coordinates of each pair and each point of the centre's element; QR: 2 M^2 for
    each label; evidence: about 15 M^3.
    """
    n_elements = len(survey.elements)
    channels = term.channels if isinstance(term.channels, int) else survey.elements_per_atom
    combined = channels * (term.n_max or N_MAX)
    n_features = ((term.l_max or 0) + 1) * combined * (combined + 1) / 2
    pairs = survey.n_atoms * survey.neighbors_within(term.cutoff or SHORTEST_CUTOFF)
    per_point = 2.0 * 3.0 * pairs * n_features / n_elements
    points = np.arange(FEWEST_SPARSE, MOST_SPARSE + 1)
    cost = per_point * points + 2.0 * n_labels * points**2 + _EVIDENCE_PRODUCTS * points.astype(float) ** 3
    return int(points[max(0, int(np.searchsorted(cost, fit_operations(survey))) - 1)])


def _fill_pair(
    term: PairSettings, survey: Survey, soap: tuple[SoapSettings, ...], notes: list[Explanation]
) -> PairSettings:
    values: dict[str, object] = {}

    def choose(key: str, value: object, unit: str, reason: str) -> None:
        """Take the default, with its reason, where the user gave nothing."""
        if getattr(term, key) is None:
            values[key] = value
            notes.append(Explanation(f"{term.name}.{key}", f"{value}{unit}", reason))

    longest = max((s.cutoff for s in soap if s.cutoff), default=6.0)
    choose("cutoff", longest, " A", "as the SOAP terms")
    cutoff = term.cutoff or longest
    choose("cutoff_width", round(0.25 * cutoff, 2), " A", "0.25 cutoffs")
    theta = round(float(np.clip(0.2 * survey.bond_length, 0.3, 0.6)), 2)
    choose("theta", theta, " A", "0.2 nearest-neighbour distances, between 0.3 and 0.6 A")
    choose("n_sparse", 25, "", "dense enough for the length scale")
    return term.model_copy(update=values)


__all__ = ["Explanation", "Resolved", "affordable_points", "resolve_settings"]
