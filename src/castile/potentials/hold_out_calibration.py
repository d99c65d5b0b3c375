"""The calibration that comes with every fit: blocks of similar training structures left out in turn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from castile.execution.threads import map_chunks
from castile.potentials.calibration import RAW, Calibration, KindCalibration
from castile.potentials.calibration_fit import fit_kind
from castile.potentials.environment import Environment
from castile.potentials.held_out import ENERGY, FORCES, STRESS, HeldOut, HeldOutLabels
from castile.potentials.soap_functionals import TooLargeError
from castile.potentials.soap_term import SoapTerm, element_chunks
from castile.potentials.stress_order import suspicious_orders
from castile.potentials.training_rows import RowBuilder
from castile.regression import Posterior
from castile.structures.labels import LabelledStructure

LEAST_STRUCTURES = 5
MOST_STRUCTURES = 100
MOST_COMPANIONS = 3
SAME = 0.02
"""Structures closer than this fraction of the median distance between structures are left out together."""
FINGERPRINT_SIZE = 48
MOST_DISTANCES = 4_000_000
"""Of fingerprints: fewer structures than all are parted into blocks where it would take more."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HoldOutPlan:
    """Which structures of a training set are left out together.

    Attributes
    ----------
    blocks : tuple of tuples of int
        Numbers of structures.
    n_structures : int
        In the set.
    """

    blocks: tuple[tuple[int, ...], ...]
    n_structures: int

    @property
    def wanted(self) -> list[int]:
        """Structures of all blocks, ascending."""
        return sorted({index for block in self.blocks for index in block})

    def pick(self, structures: Iterable[LabelledStructure]) -> dict[int, LabelledStructure]:
        """Return the structures of the blocks by their numbers."""
        return dict(zip(self.wanted, _pick(structures, self.wanted), strict=True))


def plan_hold_out(
    builder: RowBuilder, structures: Iterable[LabelledStructure], threads: int | None
) -> HoldOutPlan:
    """Choose the blocks; there are none if there are fewer than five structures.

    Up to 100 structures, chosen at random by the seed of the settings; those that are nearly the same (by the
    mean of their SOAP vectors; at most three) leave together with each.
    """
    fingerprints = structure_fingerprints(builder, structures, threads)
    if len(fingerprints) < LEAST_STRUCTURES:
        return HoldOutPlan((), len(fingerprints))
    blocks = choose_blocks(fingerprints, MOST_STRUCTURES, builder.settings.seed)
    return HoldOutPlan(tuple(blocks), len(fingerprints))


def hold_out_calibration(
    builder: RowBuilder,
    posterior: Posterior,
    structures: Iterable[LabelledStructure],
    threads: int | None,
    advance: Callable[[], None] = lambda: None,
    before: Calibration | None = None,
    plan: HoldOutPlan | None = None,
) -> Calibration:
    """Return the calibration from errors on training structures that are left out block by block.

    Parameters
    ----------
    builder : RowBuilder
        Of the fit.
    posterior : Posterior
        Of the fit to all structures.
    structures : iterable of LabelledStructure
        Read once, and once more without a plan.
    threads : int or None
    advance : callable
        Called for each block.
    before : Calibration, optional
        That kinds without enough labels keep; by default they take the scale of another kind.
    plan : HoldOutPlan, optional
        By default that of :func:`plan_hold_out`.
    """
    plan = plan_hold_out(builder, structures, threads) if plan is None else plan
    if not plan.blocks:
        return RAW
    kept = plan.pick(structures)
    hold_out = HeldOut(builder, posterior)

    def one(block: tuple[int, ...]) -> list[HeldOutLabels] | None:
        """Held-out errors of a block; None if its deviations take too much memory."""
        try:
            return hold_out([kept[index] for index in block], block)
        except TooLargeError:
            return None

    labels: list[HeldOutLabels] = []
    n_too_large = 0
    for block, found in zip(plan.blocks, map_chunks(one, plan.blocks, threads), strict=True):
        n_too_large += len(block) if found is None else 0
        labels += found or []
        advance()
    source = (
        f"calibrated on held-out errors of {len(kept)} of {plan.n_structures} training structures "
        "(similar ones left out together)"
    )
    calibration = calibration_from(labels, posterior, source, before or RAW, borrow=before is None)
    remarks = calibration.remarks
    if n_too_large:
        remarks += (
            f"exact deviations of {n_too_large} of {len(kept)} held-out structures take too much memory: "
            "they do not count in the calibration; a shorter cutoff or fewer radial functions would let them",
        )
    return replace(
        calibration, n_structures=len(kept) if calibration.source == source else 0, remarks=remarks
    )


def updated_calibration(
    before: Calibration,
    builder: RowBuilder,
    posterior: Posterior,
    structures: Iterable[LabelledStructure],
    threads: int | None,
    advance: Callable[[], None] = lambda: None,
) -> Calibration:
    """Return the calibration after an update: that of before, and held-out errors on the new structures.

    The old structures are not at hand any more. The variances that both ask for are averaged, each with the
    number of structures that it comes from. With fewer than five new structures it stays that of before, and
    so does that of a kind of which they have too few labels.

    Parameters
    ----------
    before : Calibration
    builder, threads, advance
        As for :func:`hold_out_calibration`.
    posterior : Posterior
        Of old and new labels together.
    structures : iterable of LabelledStructure
        Of the update only.
    """
    known = before if before.n_structures else None
    new = hold_out_calibration(builder, posterior, structures, threads, advance, known)
    first = before.source.partition(" and on held-out errors of")[0]
    if new.n_structures == 0:
        note = "; too few structures came with a later update to renew it (castile calibrate MODEL DATA does)"
        return replace(before, source=before.source.removesuffix(note) + note)
    n_updated = before.n_updated + new.n_structures
    if before.n_structures == 0:
        return replace(new, n_updated=n_updated)
    share = new.n_structures / (before.n_structures + new.n_structures)
    return Calibration(
        energy=_averaged(before.energy, new.energy, share),
        forces=_averaged(before.forces, new.forces, share),
        stress=_averaged(before.stress, new.stress, share),
        source=f"{first} and on held-out errors of {n_updated} structures of updates",
        n_structures=before.n_structures + new.n_structures,
        n_updated=n_updated,
        remarks=tuple(dict.fromkeys((*before.remarks, *new.remarks))),
    )


def _averaged(old: KindCalibration, new: KindCalibration, share: float) -> KindCalibration:
    """Mean of the variances of two calibrations; ``share`` is the weight of the new one."""
    pairs = ((old.posterior, new.posterior), (old.residual, new.residual), (old.floor, new.floor))
    a, b, c = (float(np.sqrt((1.0 - share) * x**2 + share * y**2)) for x, y in pairs)
    return KindCalibration(a, b, c)


def calibration_from(
    labels: list[HeldOutLabels],
    posterior: Posterior,
    source: str,
    otherwise: Calibration,
    *,
    borrow: bool = True,
) -> Calibration:
    """Return the calibration that held-out labels ask for.

    A kind without enough labels takes the scale of the forces (or energies) with ``borrow``, or else stays as
    in ``otherwise``. Shear stresses in a wrong order are told in the remarks and do not count.
    """
    remarks, labels = _without_wrong_orders(labels)
    noises = dict(zip(posterior.kinds, posterior.sigmas, strict=True))
    found: dict[str, KindCalibration | None] = {}
    for kind in (ENERGY, FORCES, STRESS):
        mine = [label for label in labels if label.kind == kind]
        spread = [float(np.sqrt(np.mean((label.errors / label.floor_scale) ** 2))) for label in mine]
        found[kind] = fit_kind(mine, noises.get(kind) or float(np.median(spread)) if mine else 1.0)
    fallback = found[FORCES] or found[ENERGY]
    kinds: list[KindCalibration] = []
    for kind in (ENERGY, FORCES, STRESS):
        known = found[kind]
        if known is None and fallback is not None and borrow:
            known = KindCalibration(fallback.posterior, fallback.residual, 0.0)
        kinds.append(known or getattr(otherwise, kind))
    energy, forces, stress = kinds
    source = source if any(found.values()) else otherwise.source
    return Calibration(energy, forces, stress, source, remarks=remarks)


def _without_wrong_orders(labels: list[HeldOutLabels]) -> tuple[tuple[str, ...], list[HeldOutLabels]]:
    """Messages about stress labels in a wrong order, and the labels without those shear components."""
    stresses = [label for label in labels if label.kind == STRESS and label.given is not None]
    orders = suspicious_orders(
        [label.errors + label.given for label in stresses if label.given is not None],
        [label.given for label in stresses if label.given is not None],
        [label.config_type for label in stresses],
    )
    wrong = {order.config_type for order in orders}
    kept = [
        label.chosen(slice(0, 3)) if label.kind == STRESS and label.config_type in wrong else label
        for label in labels
    ]
    return tuple(order.message for order in orders), kept


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
        """Random projection of the mean SOAP vector of a structure."""
        ordered = term.sorted_pairs(Environment.of(structure.atoms, term.cutoff))
        total = np.zeros(FINGERPRINT_SIZE)
        for begin, end, element in element_chunks(ordered.center_elements, len(term.elements)):
            total += term.engine.chunk(ordered, begin, end).features.sum(axis=0) @ projections[element]
        return total / len(structure.atoms)

    return np.array(list(map_chunks(one, structures, threads)))


def choose_blocks(fingerprints: Array, most: int, seed: int) -> list[tuple[int, ...]]:
    """Return blocks of structures to leave out together, each structure in at most one.

    All structures (of large sets some, drawn at random) are first parted into blocks, of which some are then
    drawn, so that each structure is as likely to be left out as any other: blocks taken one after the other
    would hold too many of those with many like them, which are predicted well.

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
    drawn = generator.permutation(n)[: max(4 * most, MOST_DISTANCES // n)]
    is_drawn = np.zeros(n, dtype=bool)
    is_drawn[drawn] = True
    blocks: list[tuple[int, ...]] = []
    used: set[int] = set()
    for index in drawn.tolist():
        if index in used:
            continue
        distances = np.linalg.norm(fingerprints - fingerprints[index], axis=1)
        near = np.argsort(distances, kind="stable")[: MOST_COMPANIONS + 1]
        companions = [k for k in near.tolist() if k != index and k not in used and distances[k] <= radius]
        block = (index, *companions)
        used.update(block)
        # structures that were not drawn brought no block of their own, so theirs count for less
        if generator.random() * len(block) < np.count_nonzero(is_drawn[list(block)]):
            blocks.append(block)
    mixed = [blocks[k] for k in generator.permutation(len(blocks))]
    enough = int(np.searchsorted(np.cumsum([len(block) for block in mixed]), most)) + 1
    return mixed[:enough]


def _pick(structures: Iterable[LabelledStructure], wanted: list[int]) -> list[LabelledStructure]:
    chosen, stream, position = [], iter(structures), 0
    for index in wanted:
        chosen.append(next(islice(stream, index - position, None)))
        position = index + 1
    return chosen


__all__ = [
    "HoldOutPlan",
    "calibration_from",
    "choose_blocks",
    "hold_out_calibration",
    "plan_hold_out",
    "updated_calibration",
]
