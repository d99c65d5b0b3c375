"""The fit: census, survey, sparse points, rows into triangular factors, evidence, weights."""

import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from ase.data import chemical_symbols

from castile.errors import FitError, InputError
from castile.execution.threads import limit_blas, thread_count
from castile.potentials.composition import fit_composition
from castile.potentials.defaults import Explanation, resolve_settings
from castile.potentials.fit_report import FitReport, LearnedAmplitude, LearnedNoise
from castile.potentials.memory import check_memory, estimate_memory
from castile.potentials.model import PotentialModel
from castile.potentials.settings import FitSettings, SoapSettings
from castile.potentials.soap_term import SoapTerm
from castile.potentials.sparse_selection import (
    candidate_environments,
    choose_sparse_points,
    sparse_counts,
)
from castile.potentials.survey import Survey, take_survey
from castile.potentials.term_builder import build_core, build_engine, build_pair_term
from castile.potentials.training_rows import FactorSet, RowBuilder, Term, accumulate_factors
from castile.regression import (
    EvidenceResult,
    LabelFactor,
    Noise,
    PackedFactor,
    Posterior,
    PriorBlock,
    maximize_evidence,
    solve,
)
from castile.structures.census import LabelCensus, check_census, take_census
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource

Progress = Callable[[str, float], None]

UNITS = {"energy": "eV per root atom", "forces": "eV/A", "stress": "eV/A^3", "fixed": "given noise"}
_KEPT_ATOMS = 400_000
_LEAST_NOISE = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-6}


@dataclass(frozen=True)
class FitOutcome:
    """A fitted model with everything that an update or a file needs.

    ``factors`` are the reduced labels, ``posterior`` the distribution of all weights; ``reference`` is a
    training structure that a
    file stores with its prediction.
    """

    model: PotentialModel
    settings: FitSettings
    report: FitReport
    factors: tuple[PackedFactor, ...]
    posterior: Posterior
    reference: LabelledStructure


@dataclass
class _Stages:
    """Progress and timings of the stages of a fit."""

    progress: Progress | None
    timings: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, n_steps: int = 1) -> Iterator[Callable[[], None]]:
        """Time a stage; the yielded function reports one step done."""
        start, done = time.perf_counter(), 0

        def advance() -> None:
            nonlocal done
            done += 1
            if self.progress:
                self.progress(name, min(done / max(n_steps, 1), 1.0))

        if self.progress:
            self.progress(name, 0.0)
        yield advance
        if self.progress:
            self.progress(name, 1.0)
        self.timings.append((name, time.perf_counter() - start))


def fit_potential(
    source: StructureSource,
    settings: FitSettings,
    *,
    allow_missing: tuple[str, ...] = (),
    memory: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> FitOutcome:
    """Fit a potential; arguments and errors as for :meth:`castile.GAP.fit`."""
    stages = _Stages(progress)
    with stages.stage("label census"):
        census = take_census(source)
        check_census(census, allow_missing)
    structures: Iterable[LabelledStructure] = list(source) if census.n_atoms <= _KEPT_ATOMS else source
    with stages.stage("survey of distances"):
        survey = take_survey(structures)
    n_labels = _count_labels(census, settings)
    if n_labels == 0:
        raise FitError(
            "none of the labels in the data is used; switch on use_energies, use_forces or use_stress in the settings"
        )
    resolved = resolve_settings(settings, survey, n_labels)
    chosen, notes = check_memory(resolved.settings, survey, thread_count(threads), memory)
    composition = fit_composition(structures, survey.elements, chosen.composition)
    core = build_core(chosen.core, survey)
    terms = _build_terms(structures, chosen, survey, threads, stages)
    builder = RowBuilder(terms, composition, core, chosen)
    factors = FactorSet(builder.n_columns)
    with stages.stage("training rows", census.n_structures) as advance:
        accumulate_factors(structures, builder, factors, threads, advance)
    reference = min(
        (s for s in structures if len(s.atoms) > 1),
        key=lambda s: len(s.atoms),
        default=next(iter(structures)),
    )
    estimate = estimate_memory(chosen, survey, thread_count(threads))
    explanations = (*resolved.explanations, *notes)
    return _finish(
        builder, survey.elements, factors, census, explanations, estimate, stages, reference, threads
    )


def refit_potential(
    outcome: FitOutcome,
    source: StructureSource,
    relearn: bool,
    allow_missing: tuple[str, ...],
    threads: int | None,
    progress: Progress | None,
    packed: tuple[PackedFactor, ...] = (),
) -> FitOutcome:
    """Fit to ``source`` (on top of labels reduced before) with the terms of ``outcome``."""
    stages = _Stages(progress)
    with stages.stage("label census"):
        census = take_census(source)
        check_census(census, allow_missing)
    model = outcome.model
    builder = RowBuilder(model.terms, model.composition, model.core, outcome.settings)
    factors = FactorSet(builder.n_columns, packed)

    def known() -> Iterator[LabelledStructure]:
        for structure in source:
            if not set(structure.atoms.numbers.tolist()) <= set(model.elements):
                raise InputError(
                    f"{structure.name}: holds an element that the model was not fitted to; fit a new model to all data"
                )
            yield structure

    with stages.stage("training rows", census.n_structures) as advance:
        accumulate_factors(known(), builder, factors, threads, advance)
    kept = None if relearn else outcome.posterior
    report = outcome.report
    return _finish(
        builder,
        model.elements,
        factors,
        census,
        report.explanations,
        report.estimated_memory,
        stages,
        outcome.reference,
        threads,
        kept,
    )


def update_potential(
    outcome: FitOutcome,
    source: StructureSource,
    relearn: bool,
    allow_missing: tuple[str, ...],
    threads: int | None,
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
    return refit_potential(outcome, source, relearn, allow_missing, threads, progress, outcome.factors)


def _count_labels(census: LabelCensus, settings: FitSettings) -> int:
    used = (
        (settings.use_energies, census.energy.n_present),
        (settings.use_forces, 3 * census.n_atoms if census.forces.n_present else 0),
        (settings.use_stress, 6 * census.stress.n_present),
    )
    return sum(count for use, count in used if use)


def _build_terms(
    structures: Iterable[LabelledStructure],
    settings: FitSettings,
    survey: Survey,
    threads: int | None,
    stages: _Stages,
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


def _prior_blocks(builder: RowBuilder, posterior: Posterior | None) -> list[PriorBlock]:
    assert builder.settings.soap != "auto"
    assert builder.settings.pair != "auto"
    given = {term.name: term.amplitude for term in (*builder.settings.soap, *builder.settings.pair)}
    blocks = []
    for term, columns in zip(builder.terms, builder.column_slices(), strict=True):
        for name, part in term.blocks():
            if part.stop > part.start:
                span = slice(columns.start + part.start, columns.start + part.stop)
                amplitude = given[term.name]
                blocks.append(PriorBlock(name, span, term.gram(part), amplitude, amplitude is None))
    if posterior is not None:
        blocks = [
            replace(block, amplitude=amplitude, learn=False)
            for block, amplitude in zip(blocks, posterior.amplitudes, strict=True)
        ]
    return blocks


def _noises(
    factors: Sequence[LabelFactor], settings: FitSettings, posterior: Posterior | None
) -> list[Noise]:
    given = {
        "energy": settings.noise.energy,
        "forces": settings.noise.forces,
        "stress": settings.noise.stress,
    }
    if posterior is not None:
        given.update({k: s for k, s in zip(posterior.kinds, posterior.sigmas, strict=True) if k in given})
    noises = []
    for factor in factors:
        if factor.kind == "fixed":
            noises.append(Noise("fixed", 1.0, False))
            continue
        sigma = given[factor.kind]
        noises.append(Noise(factor.kind, sigma, sigma is None, _LEAST_NOISE[factor.kind]))
    return noises


def _finish(
    builder: RowBuilder,
    elements: tuple[int, ...],
    factor_set: FactorSet,
    census: LabelCensus,
    explanations: tuple[Explanation, ...],
    estimate: int,
    stages: _Stages,
    reference: LabelledStructure,
    threads: int | None,
    kept: Posterior | None = None,
) -> FitOutcome:
    """Learn noise and amplitudes, solve for the weights, and put everything together."""
    factors = factor_set.factors()
    if not factors:
        raise FitError("no label is left to fit: all forces are masked, or every kind is switched off")
    noises, blocks = _noises(factors, builder.settings, kept), _prior_blocks(builder, kept)
    jitter: float | Sequence[float] = builder.settings.jitter
    amplitudes: Sequence[float] | None = None
    message = "nothing to learn: all noise levels and amplitudes were given"
    with limit_blas(thread_count(threads)):
        if any(noise.learn for noise in noises) or any(block.learn for block in blocks):
            with stages.stage("noise and amplitudes", 10) as advance:
                result = maximize_evidence(
                    factors, blocks, noises, jitter=jitter, progress=lambda _: advance()
                )
                message, jitter, amplitudes = result.message, result.jitters, result.amplitudes
                noises = _with_sigmas(noises, result)
        with stages.stage("weights"):
            posterior = solve(factors, blocks, noises, amplitudes, jitter)
    weights = tuple(posterior.weights[columns].copy() for columns in builder.column_slices())
    model = PotentialModel(elements, builder.composition, builder.core, builder.terms, weights)
    report = FitReport(
        census,
        explanations,
        tuple((chemical_symbols[z], float(e)) for z, e in builder.composition.energies.items()),
        builder.composition.source,
        _learned_noises(factors, noises, posterior),
        _learned_amplitudes(blocks, posterior),
        builder.n_columns,
        posterior.log_evidence,
        message,
        tuple(stages.timings),
        estimate,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    return FitOutcome(model, builder.settings, report, tuple(factor_set.packed()), posterior, reference)


def _with_sigmas(noises: list[Noise], result: EvidenceResult) -> list[Noise]:
    sigmas = dict(zip(result.kinds, result.sigmas, strict=True))
    return [replace(noise, sigma=sigmas[noise.kind]) for noise in noises]


def _learned_noises(
    factors: list[LabelFactor], noises: list[Noise], posterior: Posterior
) -> tuple[LearnedNoise, ...]:
    rows = []
    for factor, noise, effective in zip(factors, noises, posterior.effective_parameters, strict=True):
        misfit = factor.factor[:, :-1] @ posterior.weights - factor.factor[:, -1]
        rmse = float(np.sqrt(misfit @ misfit / factor.n_rows))
        rows.append(
            LearnedNoise(
                factor.kind,
                float(noise.sigma or 0.0),
                UNITS[factor.kind],
                noise.learn,
                factor.n_rows,
                effective,
                rmse,
            )
        )
    return tuple(rows)


def _learned_amplitudes(blocks: list[PriorBlock], posterior: Posterior) -> tuple[LearnedAmplitude, ...]:
    return tuple(
        LearnedAmplitude(block.name, float(amplitude), block.learn, len(block.K_mm), float(jitter))
        for block, amplitude, jitter in zip(blocks, posterior.amplitudes, posterior.jitters, strict=True)
    )
