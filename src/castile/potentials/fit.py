"""The fit: plan, sparse points, rows into triangular factors, evidence, weights."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.memory import peak_memory
from castile.execution.task_pool import SerialPool, TaskPool, Workers, open_task_pool
from castile.potentials.calibration import RAW, Calibration
from castile.potentials.channel_learning import learned_mixing
from castile.potentials.composition import fit_composition
from castile.potentials.defaults import Explanation
from castile.potentials.fit_report import FitReport
from castile.potentials.hold_out_calibration import hold_out_calibration, updated_calibration
from castile.potentials.hold_out_plan import MOST_STRUCTURES, HoldOutPlan, plan_hold_out
from castile.potentials.learning import learn
from castile.potentials.model import PotentialModel
from castile.potentials.plan import FitPlan, plan_fit
from castile.potentials.remembered_rows import RememberingBuilder
from castile.potentials.row_pieces import accumulate_factors
from castile.potentials.settings import FitSettings, SoapSettings
from castile.potentials.soap_term import SoapTerm
from castile.potentials.sparse_selection import candidate_environments, choose_sparse_points, sparse_counts
from castile.potentials.stages import Progress, Stages
from castile.potentials.survey import Survey
from castile.potentials.term_builder import build_core, build_engine, build_pair_term
from castile.potentials.training_rows import (
    FactorSet,
    RowBuilder,
    Term,
    trainable_terms,
)
from castile.regression import PackedFactor, Posterior
from castile.structures.census import LabelCensus, check_census, take_census
from castile.structures.fingerprints import geometry_hash
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource


@dataclass(frozen=True)
class FitOutcome:
    """A fitted model with everything that an update or a file needs.

    ``factors`` are the reduced labels, ``posterior`` the distribution of all weights; ``reference`` is a
    training structure that a file stores with its prediction. ``calibration`` scales deviations,
    ``fingerprints`` (n_structures, 16) are hashes of the geometries that the model has seen.
    """

    model: PotentialModel
    settings: FitSettings
    report: FitReport
    factors: tuple[PackedFactor, ...]
    posterior: Posterior
    reference: LabelledStructure
    calibration: Calibration = RAW
    fingerprints: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 16), dtype=np.uint8))


class _Reference:
    """Remembers the smallest structure of several atoms (or the first of one atom) that passes by, and the
    hashes of all geometries.
    """

    structure: LabelledStructure

    def __init__(self) -> None:
        self._hashes: list[bytes] = []

    @property
    def fingerprints(self) -> NDArray[np.uint8]:
        """Hashes of the geometries, (n_structures, 16)."""
        return np.frombuffer(b"".join(self._hashes), dtype=np.uint8).reshape(-1, 16)

    def watch(self, structures: Iterable[LabelledStructure]) -> Iterator[LabelledStructure]:
        """Yield the structures."""
        best = float("inf")
        for structure in structures:
            self._hashes.append(geometry_hash(structure.atoms))
            size = len(structure.atoms) if len(structure.atoms) > 1 else 1e9
            if size < best:
                self.structure, best = structure, size
            yield structure


def fit_potential(
    source: StructureSource,
    settings: FitSettings,
    *,
    allow_missing: tuple[str, ...] = (),
    memory: float | None = None,
    threads: int | None = None,
    workers: Workers = None,
    progress: Progress | None = None,
    on_plan: Callable[[FitPlan], None] | None = None,
) -> FitOutcome:
    """Fit a potential; arguments and errors as for :meth:`castile.GAP.fit`."""
    stages = Stages(progress)
    plan, structures = plan_fit(source, settings, allow_missing, memory, threads, stages)
    if on_plan is not None:
        on_plan(plan)
    survey = plan.survey
    with _opened(workers, stages) as pool:
        chosen = _with_learned_channels(plan.settings, structures, stages)
        composition = fit_composition(structures, survey.elements, chosen.composition)
        core = build_core(chosen.core, survey)
        terms = _build_terms(structures, chosen, survey, threads, stages)
        builder = RowBuilder(terms, composition, core, chosen)
        held_out: HoldOutPlan | None = None
        if chosen.calibrate and isinstance(pool, SerialPool):
            with stages.stage("blocks of the calibration"):
                held_out = plan_hold_out(builder, structures, threads)
                builder = RememberingBuilder.of(builder, held_out.pick(structures).values())
        factors, reference = FactorSet(builder.n_columns), _Reference()
        with stages.stage("training rows", survey.n_structures) as advance:
            accumulate_factors(reference.watch(structures), builder, factors, pool, threads, advance)
    outcome = _finish(
        builder,
        survey.elements,
        factors,
        plan.census,
        plan.explanations,
        plan.estimated_memory,
        stages,
        reference.structure,
    )
    outcome = replace(outcome, fingerprints=reference.fingerprints)
    return _calibrated(outcome, builder, structures, threads, stages, plan=held_out)


def _calibrated(
    outcome: FitOutcome,
    builder: RowBuilder,
    structures: Iterable[LabelledStructure],
    threads: int | None,
    stages: Stages,
    is_update: bool = False,
    plan: HoldOutPlan | None = None,
) -> FitOutcome:
    """Calibrate the deviations on training structures, or those of an update, that are left out in turn."""
    if not builder.settings.calibrate:
        return outcome
    with stages.stage("calibration", MOST_STRUCTURES) as advance:
        if is_update:
            calibration = updated_calibration(
                outcome.calibration, builder, outcome.posterior, outcome.model, structures, threads, advance
            )
        else:
            calibration = hold_out_calibration(
                builder, outcome.posterior, outcome.model, structures, threads, advance, plan
            )
    report = replace(outcome.report, timings=tuple(stages.timings), peak_memory=peak_memory())
    return replace(outcome, calibration=calibration, report=report)


@contextmanager
def _opened(workers: Workers, stages: Stages) -> Iterator[TaskPool]:
    """Open the pool; the wait for its workers is a stage of its own."""
    with ExitStack() as stack:
        if workers is None:
            yield stack.enter_context(open_task_pool())
            return
        with stages.stage("start of the workers"):
            pool = stack.enter_context(open_task_pool(workers))
        yield pool


def refit_potential(
    outcome: FitOutcome,
    source: StructureSource,
    relearn: bool,
    allow_missing: tuple[str, ...],
    threads: int | None,
    workers: Workers,
    progress: Progress | None,
    packed: tuple[PackedFactor, ...] = (),
) -> FitOutcome:
    """Fit to ``source`` (on top of labels reduced before) with the terms of ``outcome``."""
    stages = Stages(progress)
    with stages.stage("label census"):
        census = take_census(source)
        check_census(census, allow_missing)
    model = outcome.model
    builder = RowBuilder(trainable_terms(model.terms), model.composition, model.core, outcome.settings)
    factors, watch = FactorSet(builder.n_columns, packed), _Reference()

    def known() -> Iterator[LabelledStructure]:
        """Structures one by one, refused where they hold elements that the model was not fitted to."""
        for structure in source:
            unknown = sorted(set(structure.atoms.numbers.tolist()) - set(model.elements))
            if unknown:
                symbols = ", ".join(chemical_symbols[z] for z in unknown)
                raise InputError(
                    f"{structure.name}: holds {symbols}, which the model was not fitted to; "
                    "fit a new model to all data"
                )
            yield structure

    with (
        _opened(workers, stages) as pool,
        stages.stage("training rows", census.n_structures) as advance,
    ):
        accumulate_factors(watch.watch(known()), builder, factors, pool, threads, advance)
    finished = _finish(
        builder,
        model.elements,
        factors,
        census,
        outcome.report.explanations,
        outcome.report.estimated_memory,
        stages,
        outcome.reference,
        None if relearn else outcome.posterior,
    )
    if packed:
        seen = np.concatenate([outcome.fingerprints, watch.fingerprints])
        finished = replace(finished, calibration=outcome.calibration, fingerprints=seen)
        return _calibrated(finished, builder, source, threads, stages, is_update=True)
    finished = replace(finished, fingerprints=watch.fingerprints)
    return _calibrated(finished, builder, source, threads, stages)


def update_potential(
    outcome: FitOutcome,
    source: StructureSource,
    relearn: bool,
    allow_missing: tuple[str, ...],
    threads: int | None,
    workers: Workers,
    progress: Progress | None,
) -> FitOutcome:
    """Add the labels of ``source`` to those that ``outcome`` was fitted to.

    Raises
    ------
    InputError
        If the model file was written without the reduced labels.
    """
    if not outcome.factors:
        raise InputError(
            "the model holds no reduced training labels, so it cannot be updated; fit it again and keep them"
        )
    return refit_potential(
        outcome, source, relearn, allow_missing, threads, workers, progress, outcome.factors
    )


def _with_learned_channels(
    settings: FitSettings, structures: Iterable[LabelledStructure], stages: Stages
) -> FitSettings:
    """Replace mixing = "learned" by the matrix that the labels give."""
    assert settings.soap != "auto"
    terms = []
    for term in settings.soap:
        if term.mixing == "learned" and isinstance(term.channels, int):
            with stages.stage(f"channels of {term.name}"):
                matrix = learned_mixing(structures, term.channels)
            rows = tuple(tuple(float(x) for x in row) for row in matrix)
            term = term.model_copy(update={"mixing": rows})
        terms.append(term)
    return settings.model_copy(update={"soap": tuple(terms)})


def _build_terms(
    structures: Iterable[LabelledStructure],
    settings: FitSettings,
    survey: Survey,
    threads: int | None,
    stages: Stages,
) -> tuple[Term, ...]:
    assert settings.soap != "auto"
    assert settings.pair != "auto"
    terms: list[Term] = [build_pair_term(term, survey) for term in settings.pair]
    for soap in settings.soap:
        with stages.stage(f"sparse points of {soap.name}", survey.n_structures) as advance:
            terms.append(_build_soap_term(structures, soap, settings, survey, threads, advance))
    return tuple(terms)


def _build_soap_term(
    structures: Iterable[LabelledStructure],
    soap: SoapSettings,
    settings: FitSettings,
    survey: Survey,
    threads: int | None,
    advance: Callable[[], None],
) -> SoapTerm:
    engine = build_engine(soap, survey.elements)
    wanted = sparse_counts(int(soap.n_sparse or 1), survey.element_counts)
    candidates = candidate_environments(
        structures, engine, survey.elements, survey.element_counts, wanted, settings.seed, threads, advance
    )
    points, counts = choose_sparse_points(candidates, wanted, settings.selection, settings.seed)
    return SoapTerm(soap.name, engine, survey.elements, float(soap.zeta or 1.0), points, counts)


def _finish(
    builder: RowBuilder,
    elements: tuple[int, ...],
    factors: FactorSet,
    census: LabelCensus,
    explanations: tuple[Explanation, ...],
    estimate: int,
    stages: Stages,
    reference: LabelledStructure,
    kept: Posterior | None = None,
) -> FitOutcome:
    """Learn noise, amplitudes and weights, and put everything together."""
    learned = learn(builder, factors.factors(), stages, kept)
    posterior = learned.posterior
    weights = tuple(posterior.weights[columns].copy() for columns in builder.column_slices())
    model = PotentialModel(elements, builder.composition, builder.core, builder.terms, weights)
    report = FitReport(
        census,
        explanations,
        tuple((chemical_symbols[z], float(e)) for z, e in builder.composition.energies.items()),
        builder.composition.source,
        learned.noises,
        learned.amplitudes,
        builder.n_columns,
        posterior.log_evidence,
        learned.message,
        tuple(stages.timings),
        estimate,
        peak_memory(),
    )
    return FitOutcome(model, builder.settings, report, factors.packed(), posterior, reference)


__all__ = ["FitOutcome", "FitPlan", "Progress", "fit_potential", "refit_potential", "update_potential"]
