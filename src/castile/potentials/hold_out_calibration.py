"""The calibration that comes with every fit: blocks of similar training structures left out in turn."""

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from castile.execution.threads import map_chunks
from castile.potentials.calibration import RAW, Calibration, KindCalibration
from castile.potentials.calibration_fit import fit_kind
from castile.potentials.environment import Environment
from castile.potentials.held_out import ENERGY, FORCES, STRESS, HeldOut, HeldOutLabels
from castile.potentials.soap_term import SoapTerm, element_chunks
from castile.potentials.training_rows import RowBuilder
from castile.regression import Posterior
from castile.structures.labels import LabelledStructure

LEAST_STRUCTURES = 5
MOST_STRUCTURES = 60
MOST_COMPANIONS = 3
SAME = 0.02
"""Structures closer than this fraction of the median distance between structures are left out together."""
FINGERPRINT_SIZE = 48
FORCES_COUNT_AS = 50.0
"""Energies that the scale of the forces outweighs in that of the energies."""

Array = NDArray[np.float64]


def hold_out_calibration(
    builder: RowBuilder,
    posterior: Posterior,
    structures: Iterable[LabelledStructure],
    threads: int | None,
    advance: Callable[[], None] = lambda: None,
) -> Calibration:
    """Return the calibration from errors on training structures that are left out block by block.

    Up to 60 structures, chosen at random by the seed of the settings; those that are nearly the same (by the
    mean of their SOAP vectors; at most three) leave together with each.

    Parameters
    ----------
    builder : RowBuilder
        Of the fit.
    posterior : Posterior
        Of the fit to all structures.
    structures : iterable of LabelledStructure
        Read twice.
    threads : int or None
    advance : callable
        Called for each block.
    """
    fingerprints = structure_fingerprints(builder, structures, threads)
    n_structures = len(fingerprints)
    if n_structures < LEAST_STRUCTURES:
        return RAW
    blocks = choose_blocks(fingerprints, MOST_STRUCTURES, builder.settings.seed)
    wanted = sorted({index for block in blocks for index in block})
    kept = dict(zip(wanted, _pick(structures, wanted), strict=True))
    hold_out = HeldOut(builder, posterior)

    def one(block: tuple[int, ...]) -> list[HeldOutLabels]:
        return hold_out([kept[index] for index in block])

    labels: list[HeldOutLabels] = []
    for found in map_chunks(one, blocks, threads):
        labels += found
        advance()
    source = (
        f"calibrated on held-out errors of {len(wanted)} of {n_structures} training structures "
        "(similar ones left out together)"
    )
    return calibration_from(labels, posterior, source, RAW)


def calibration_from(
    labels: list[HeldOutLabels], posterior: Posterior, source: str, otherwise: Calibration
) -> Calibration:
    """Return the calibration that held-out labels ask for.

    A kind without enough labels takes the scale of the forces (or energies), or stays as in ``otherwise``.
    """
    noises = dict(zip(posterior.kinds, posterior.sigmas, strict=True))
    found: dict[str, KindCalibration | None] = {}
    for kind in (ENERGY, FORCES, STRESS):
        mine = [label for label in labels if label.kind == kind]
        spread = [float(np.sqrt(np.mean((label.errors / label.floor_scale) ** 2))) for label in mine]
        found[kind] = fit_kind(mine, noises.get(kind) or float(np.median(spread)) if mine else 1.0)
    energy, forces = found[ENERGY], found[FORCES]
    if energy is not None and forces is not None:
        found[ENERGY] = _pooled(energy, forces, sum(label.kind == ENERGY for label in labels))
    fallback = found[FORCES] or found[ENERGY]
    kinds = {}
    for kind in (ENERGY, FORCES, STRESS):
        known = found[kind]
        if known is None and fallback is not None:
            known = KindCalibration(fallback.posterior, fallback.residual, 0.0)
        kinds[kind] = known or getattr(otherwise, kind)
    return Calibration(source=source if fallback else otherwise.source, **kinds)


def _pooled(energy: KindCalibration, forces: KindCalibration, n_energies: int) -> KindCalibration:
    """Pull the scale of energies towards that of forces, as if that were worth 50 energies more.

    Energies and forces are functionals of one posterior, and there are few energies.
    """
    share = FORCES_COUNT_AS / (n_energies + FORCES_COUNT_AS)
    scale = (forces.posterior / energy.posterior) ** share
    return KindCalibration(energy.posterior * scale, energy.residual * scale, energy.floor * scale)


def structure_fingerprints(
    builder: RowBuilder, structures: Iterable[LabelledStructure], threads: int | None
) -> Array:
    """Return a random projection of the mean SOAP vector of each structure, (n_structures, size).

    Source: Johnson, Lindenstrauss, Contemp. Math. 26, 189 (1984): distances survive the projection.
    """
    term = next((term for term in builder.terms if isinstance(term, SoapTerm)), None)
    generator = np.random.default_rng(0)
    if term is None:
        return np.array([generator.standard_normal(FINGERPRINT_SIZE) for _ in structures])
    shape = (len(term.elements), term.engine.n_features, FINGERPRINT_SIZE)
    projections = generator.standard_normal(shape) / np.sqrt(FINGERPRINT_SIZE)

    def one(structure: LabelledStructure) -> Array:
        ordered = term.sorted_pairs(Environment.of(structure.atoms, term.cutoff))
        total = np.zeros(FINGERPRINT_SIZE)
        for begin, end, element in element_chunks(ordered.center_elements, len(term.elements)):
            total += term.engine.chunk(ordered, begin, end).features.sum(axis=0) @ projections[element]
        return total / len(structure.atoms)

    return np.array(list(map_chunks(one, structures, threads)))


def choose_blocks(fingerprints: Array, most: int, seed: int) -> list[tuple[int, ...]]:
    """Return blocks of structures to leave out together, each structure in at most one.

    Parameters
    ----------
    fingerprints : ndarray, shape (n_structures, size)
    most : int
        Structures in all blocks.
    seed : int
    """
    n = len(fingerprints)
    generator = np.random.default_rng(seed)
    sample = fingerprints[generator.permutation(n)[:200]]
    between = np.linalg.norm(sample[:, None] - sample[None], axis=2)[np.triu_indices(len(sample), 1)]
    radius = SAME * float(np.median(between))
    blocks: list[tuple[int, ...]] = []
    used: set[int] = set()
    for index in generator.permutation(n).tolist():
        if len(used) >= most:
            break
        if index in used:
            continue
        distances = np.linalg.norm(fingerprints - fingerprints[index], axis=1)
        near = np.argsort(distances, kind="stable")[: MOST_COMPANIONS + 1]
        companions = [k for k in near.tolist() if k != index and k not in used and distances[k] <= radius]
        block = (index, *companions)
        used.update(block)
        blocks.append(block)
    return blocks


def _pick(structures: Iterable[LabelledStructure], wanted: list[int]) -> list[LabelledStructure]:
    chosen, stream, position = [], iter(structures), 0
    for index in wanted:
        chosen.append(next(islice(stream, index - position, None)))
        position = index + 1
    return chosen


__all__ = ["calibration_from", "choose_blocks", "hold_out_calibration"]
