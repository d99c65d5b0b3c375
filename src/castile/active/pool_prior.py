"""The process of a selection from what the user has: a fitted model, or nothing but the pool."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from castile.active.pool_points import pool_points
from castile.active.pool_process import DEFAULT_NOISE, KINDS, PoolProcess, extended_process, posterior_noise
from castile.errors import InputError
from castile.potentials.composition import Composition
from castile.potentials.defaults import resolve_settings
from castile.potentials.fit import FitOutcome
from castile.potentials.gap import GAP
from castile.potentials.settings import FitSettings, SoapSettings
from castile.potentials.soap_term import SoapTerm
from castile.potentials.sparse_selection import candidate_environments, choose_sparse_points, sparse_counts
from castile.potentials.survey import Survey, take_survey
from castile.potentials.term_builder import build_engine
from castile.potentials.training_rows import RowBuilder, trainable_terms
from castile.structures.readers import StructureSource

POINTS_PER_CHOICE = {"prior": (20, 500, 2000), "model": (10, 200, 1000)}
"""Points of the pool for each structure to be chosen, the fewest and the most: what is chosen must not use
up what the points can express."""
DEFAULT_AMPLITUDE = 10.0
"""eV, of the energy of an atom, where no model says it."""


@dataclass(frozen=True)
class PriorChoices:
    """What may be chosen where there is no model; None: from the pool.

    ``zeta``, ``cutoff`` (A) and ``amplitude`` (eV) of the SOAP kernel, ``n_sparse`` points of the pool that
    carry the process (beside those of a model, where there is one).
    """

    zeta: float | None = None
    cutoff: float | None = None
    amplitude: float | None = None
    n_sparse: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that describe no kernel."""
        for name, unit in (("zeta", ""), ("cutoff", " A"), ("amplitude", " eV")):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise InputError(f"{name} = {value:g}{unit}: give a number above 0, or leave it out")

    def refuse_beside_model(self) -> None:
        """Check that nothing contradicts a model; raises InputError that names the argument."""
        for name in ("zeta", "cutoff", "amplitude"):
            if getattr(self, name) is not None:
                raise InputError(
                    f"{name} = {getattr(self, name):g} and a model are both given, and the model has its "
                    "own; leave one of them out"
                )


def default_soap(pool: StructureSource, choices: PriorChoices) -> tuple[SoapTerm, Survey]:
    """Return a SOAP term without points, with defaults from the pool, and the survey of the pool."""
    survey = take_survey(pool)
    given = {"zeta": choices.zeta, "cutoff": choices.cutoff, "n_sparse": choices.n_sparse}
    chosen = SoapSettings(**{key: value for key, value in given.items() if value is not None})
    settings = FitSettings(soap=(chosen,), pair=())
    resolved = resolve_settings(settings, survey, 3 * survey.n_atoms).settings
    assert resolved.soap != "auto"
    soap = resolved.soap[0]
    engine = build_engine(soap, survey.elements)
    empty = np.zeros((0, engine.n_features))
    counts = (0,) * len(survey.elements)
    return SoapTerm(soap.name, engine, survey.elements, float(soap.zeta or 1.0), empty, counts), survey


def default_points(kind: str, n_select: int) -> int:
    """Return the number of points of the pool for ``n_select`` choices, of a "prior" or beside a "model"."""
    per_choice, fewest, most = POINTS_PER_CHOICE[kind]
    return min(max(per_choice * n_select, fewest), most)


def prior_process(
    pool: StructureSource,
    n_points: int,
    choices: PriorChoices,
    kinds: tuple[str, ...],
    seed: int,
    threads: int | None,
    advance: Callable[[], None],
) -> PoolProcess:
    """Return the prior: a SOAP kernel with defaults from the pool, on the points farthest from each other."""
    term, survey = default_soap(pool, choices)
    wanted = sparse_counts(n_points, survey.element_counts)
    candidates = candidate_environments(
        pool, term.engine, survey.elements, survey.element_counts, wanted, seed, threads, advance
    )
    points, counts = choose_sparse_points(candidates, wanted, "farthest", seed)
    added = SoapTerm(term.name, term.engine, term.elements, term.zeta, points, counts)
    nothing = Composition({}, "none")
    builder = RowBuilder((), nothing, None, FitSettings(soap=(), pair=()))
    amplitude = DEFAULT_AMPLITUDE if choices.amplitude is None else choices.amplitude
    return extended_process(builder, survey.elements, (), (), None, (added,), DEFAULT_NOISE, kinds, amplitude)


def model_process(
    model: GAP,
    pool: StructureSource,
    n_points: int,
    choices: PriorChoices,
    kinds: tuple[str, ...],
    seed: int,
    threads: int | None,
    advance: Callable[[], None],
    with_posterior: bool = True,
) -> PoolProcess:
    """Return the posterior of a model (or its prior), extended by points of the pool.

    Raises
    ------
    InputError
        If the model has no posterior (imported ones), or knows none of the kinds of label.
    """
    choices.refuse_beside_model()
    outcome: FitOutcome = model._outcome("a selection by its variance")
    used = _used_kinds(outcome.settings, kinds)
    terms = trainable_terms(outcome.model.terms)
    posterior = outcome.posterior
    survey = take_survey(pool)
    _check_elements(survey, outcome.model.elements)
    priors = {prior.name: prior for prior in posterior.priors}
    found = dict(zip(survey.elements, survey.element_counts, strict=True))
    by_element = tuple(found.get(z, 0) for z in outcome.model.elements)
    added = []
    soap_terms = [term for term in terms if isinstance(term, SoapTerm)]
    for term in soap_terms:
        wanted = sparse_counts(n_points // len(soap_terms), by_element)
        added.append(pool_points(pool, term, priors, wanted, seed, threads, advance))
    builder = RowBuilder(terms, outcome.model.composition, None, outcome.settings)
    return extended_process(
        builder,
        outcome.model.elements,
        posterior.priors,
        posterior.amplitudes,
        posterior.R if with_posterior else None,
        [term for term in added if term.n_columns],
        posterior_noise(posterior),
        used,
    )


def _used_kinds(settings: FitSettings, kinds: tuple[str, ...]) -> tuple[str, ...]:
    uses = (settings.use_energies, settings.use_forces, settings.use_stress)
    used = tuple(kind for kind, use in zip(KINDS, uses, strict=True) if use and kind in kinds)
    if not used:
        fitted = ", ".join(kind for kind, use in zip(KINDS, uses, strict=True) if use)
        raise InputError(
            f"labels = {', '.join(kinds)}: the model was fitted to {fitted} only; choose one of these"
        )
    return used


def _check_elements(survey: Survey, known: tuple[int, ...]) -> None:
    unknown = [chemical_symbols[z] for z in survey.elements if z not in known]
    if unknown:
        raise InputError(
            f"the pool holds {', '.join(unknown)}, which the model does not know; fit a model to data with "
            "all elements, or leave the model out"
        )
