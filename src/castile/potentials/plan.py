"""What a fit is going to do: census, survey, complete settings, memory. Everything before the work starts."""

from collections.abc import Iterable
from dataclasses import dataclass

from castile.errors import FitError, InputError
from castile.execution.threads import thread_count
from castile.potentials.defaults import Explanation, resolve_settings
from castile.potentials.memory import check_cap, check_memory, estimate_memory
from castile.potentials.settings import FitSettings
from castile.potentials.stages import Stages
from castile.potentials.survey import Survey, take_survey
from castile.structures.census import LabelCensus, check_census, take_census
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource

_KEPT_ATOMS = 400_000


@dataclass(frozen=True)
class FitPlan:
    """What is known before the work starts.

    ``settings`` are complete, ``explanations`` say where their defaults come from; ``n_labels`` counts
    energies, force and stress components; ``estimated_memory`` is the peak in bytes.
    """

    census: LabelCensus
    survey: Survey
    settings: FitSettings
    explanations: tuple[Explanation, ...]
    n_labels: int
    estimated_memory: int


def plan_fit(
    source: StructureSource,
    settings: FitSettings,
    allow_missing: tuple[str, ...],
    memory: float | None,
    threads: int | None,
    stages: Stages,
) -> tuple[FitPlan, Iterable[LabelledStructure]]:
    """Return the plan, and the structures (in memory where they are few).

    Raises
    ------
    InputError
        For bad structures, half-present labels, or settings without a term.
    FitError
        If no label is used, or ``memory`` (gigabytes) is too little for the smallest fit.
    """
    cap = check_cap(memory)
    if settings.soap == () and settings.pair == ():
        raise InputError("soap and pair are both empty: there is nothing to fit; leave one of them 'auto'")
    with stages.stage("label census"):
        census = take_census(source)
        check_census(census, allow_missing)
    structures: Iterable[LabelledStructure] = list(source) if census.n_atoms <= _KEPT_ATOMS else source
    with stages.stage("survey of distances"):
        survey = take_survey(structures)
    n_labels = _count_labels(census, settings)
    if n_labels == 0:
        raise FitError(
            "none of the labels in the data is used; switch on use_energies, use_forces or use_stress in the "
            "settings"
        )
    count = thread_count(threads)
    resolved = resolve_settings(settings, survey, n_labels)
    chosen, notes = check_memory(resolved.settings, survey, count, cap)
    explanations = (*resolved.explanations, *notes)
    estimate = estimate_memory(chosen, survey, count)
    return FitPlan(census, survey, chosen, explanations, n_labels, estimate), structures


def _count_labels(census: LabelCensus, settings: FitSettings) -> int:
    used = (
        (settings.use_energies, census.energy.n_values),
        (settings.use_forces, census.forces.n_values),
        (settings.use_stress, census.stress.n_values),
    )
    return sum(count for use, count in used if use)
