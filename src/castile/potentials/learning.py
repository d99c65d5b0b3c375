"""Noise levels, amplitudes and weights from the reduced labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.errors import FitError
from castile.execution.threads import limit_blas
from castile.potentials.fit_report import LearnedAmplitude, LearnedNoise
from castile.potentials.settings import FitSettings, PairSettings, SoapSettings
from castile.potentials.stages import Stages
from castile.potentials.training_rows import RowBuilder
from castile.regression import (
    EvidenceResult,
    LabelFactor,
    Noise,
    Posterior,
    PriorBlock,
    maximize_evidence,
    solve,
)

UNITS = {"energy": "eV per root atom", "forces": "eV/A", "stress": "eV/A^3", "fixed": "given noise"}
_LEAST_NOISE = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-6}
LONGEST_RATIO = 1.0
"""A: largest ratio of the learned noise of energies (per root atom) to that of forces, before its factor;
errors of a force act over displacements of about that length at most."""
_USUAL_STEPS = 10
_COARSE_FROM, _COARSE_COLUMNS = 2500, 1200


@dataclass(frozen=True)
class Learned:
    """The posterior of the weights, and what the evidence chose, in words and numbers."""

    posterior: Posterior
    noises: tuple[LearnedNoise, ...]
    amplitudes: tuple[LearnedAmplitude, ...]
    message: str


def learn(
    builder: RowBuilder,
    factors: list[LabelFactor],
    stages: Stages,
    kept: Posterior | None = None,
) -> Learned:
    """Maximize the evidence and solve for the weights; noise and amplitudes of ``kept`` stay as they are.

    Raises
    ------
    FitError
        If there is no label.
    """
    if not factors:
        raise FitError("no label is left to fit: all forces are masked, or every kind is switched off")
    noises, blocks = _noises(factors, builder.settings, kept), _prior_blocks(builder, kept)
    jitter: float | Sequence[float] = builder.settings.jitter
    amplitudes: Sequence[float] | None = None
    message = "nothing to learn: all noise levels and amplitudes were given"
    scales = [1.0] * len(noises)
    with limit_blas(1):  # where another process has a core, threads of BLAS wait for each other
        if any(noise.learn for noise in noises) or any(block.learn for block in blocks):
            with stages.stage("noise and amplitudes", _USUAL_STEPS) as advance:
                start_noises, start_blocks = _coarse_start(factors, blocks, noises, builder.settings.jitter)
                result = maximize_evidence(
                    factors, start_blocks, start_noises, jitter=jitter, progress=lambda _: advance()
                )
                message, jitter, amplitudes = result.message, result.jitters, result.amplitudes
                scales = noise_scales(noises, builder.settings.noise.energy_factor, result)
                noises = _with_sigmas(noises, result, scales)
        with stages.stage("weights"):
            posterior = solve(factors, blocks, noises, amplitudes, jitter)
    return Learned(
        posterior,
        _learned_noises(factors, noises, scales, posterior),
        _learned_amplitudes(blocks, posterior),
        message,
    )


def _prior_blocks(builder: RowBuilder, posterior: Posterior | None) -> list[PriorBlock]:
    assert builder.settings.soap != "auto"
    assert builder.settings.pair != "auto"
    terms: list[SoapSettings | PairSettings] = [*builder.settings.soap, *builder.settings.pair]
    given = {term.name: term.amplitude for term in terms}
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


def noise_scales(noises: Sequence[Noise], energy_factor: float, result: EvidenceResult) -> list[float]:
    """Return what each learned noise is multiplied by: for energies beside forces ``energy_factor``, or less
    where the noise would be more than that of forces times ``LONGEST_RATIO``; else 1.

    The misfits of the forces in a structure are correlated, but count as independent in the evidence, which
    so has energies give way to forces more than the accuracy of either asks for. With a few structures apart
    from all others, such as isolated atoms, it may give them up altogether.
    """
    learned = dict(zip(result.kinds, result.sigmas, strict=True))
    if "forces" not in learned or "energy" not in learned:
        return [1.0] * len(noises)
    scale = energy_factor * min(1.0, LONGEST_RATIO * learned["forces"] / learned["energy"])
    return [scale if noise.kind == "energy" and noise.learn else 1.0 for noise in noises]


def _coarse_start(
    factors: list[LabelFactor], blocks: list[PriorBlock], noises: list[Noise], jitter: float
) -> tuple[list[Noise], list[PriorBlock]]:
    """Return noises and blocks that start where the evidence of a part of the sparse points is largest.

    Each step costs the cube of the number of columns; from there the full problem needs a third of the steps.
    """
    n_columns = sum(len(block.K_mm) for block in blocks)
    if n_columns < _COARSE_FROM:
        return noises, blocks
    kept: list[NDArray[np.int64]] = []
    coarse: list[PriorBlock] = []
    for block in blocks:
        size = -(-len(block.K_mm) * _COARSE_COLUMNS // n_columns)
        start = sum(len(part) for part in kept)
        kept.append(np.arange(block.columns.start, block.columns.start + size))
        coarse.append(
            replace(block, columns=slice(start, start + size), K_mm=block.K_mm[:size, :size].copy())
        )
    columns = np.append(np.concatenate(kept), n_columns)
    parts = [replace(factor, factor=factor.factor[:, columns]) for factor in factors]
    result = maximize_evidence(parts, coarse, noises, jitter=jitter)
    sigmas = dict(zip(result.kinds, result.sigmas, strict=True))
    return (
        [replace(noise, sigma=sigmas[noise.kind]) if noise.learn else noise for noise in noises],
        [
            replace(block, amplitude=amplitude) if block.learn else block
            for block, amplitude in zip(blocks, result.amplitudes, strict=True)
        ],
    )


def _with_sigmas(noises: list[Noise], result: EvidenceResult, scales: Sequence[float]) -> list[Noise]:
    sigmas = dict(zip(result.kinds, result.sigmas, strict=True))
    return [
        replace(noise, sigma=scale * sigmas[noise.kind]) for noise, scale in zip(noises, scales, strict=True)
    ]


def _learned_noises(
    factors: list[LabelFactor], noises: list[Noise], scales: Sequence[float], posterior: Posterior
) -> tuple[LearnedNoise, ...]:
    rows = []
    effective_parameters = posterior.effective_parameters
    for factor, noise, scale, effective in zip(factors, noises, scales, effective_parameters, strict=True):
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
                scale,
            )
        )
    return tuple(rows)


def _learned_amplitudes(blocks: list[PriorBlock], posterior: Posterior) -> tuple[LearnedAmplitude, ...]:
    return tuple(
        LearnedAmplitude(block.name, float(amplitude), block.learn, len(block.K_mm), float(jitter))
        for block, amplitude, jitter in zip(blocks, posterior.amplitudes, posterior.jitters, strict=True)
    )
