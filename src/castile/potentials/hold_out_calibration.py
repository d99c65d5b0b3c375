"""The calibration that comes with every fit: blocks of similar training structures left out in turn."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.threads import map_chunks
from castile.potentials.calibration import KINDS, RAW, Calibration, KindCalibration
from castile.potentials.calibration_fit import fit_kind, fit_local, fit_tail
from castile.potentials.held_out import ENERGY, FORCES, STRESS, HeldOut, HeldOutLabels
from castile.potentials.hold_out_plan import HoldOutPlan, plan_hold_out
from castile.potentials.local_errors import MOST_STRUCTURES, LocalErrors, Place
from castile.potentials.model import PotentialModel
from castile.potentials.soap_functionals import TooLargeError
from castile.potentials.stress_order import suspicious_orders
from castile.potentials.training_rows import RowBuilder
from castile.regression import Posterior
from castile.structures.labels import LabelledStructure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _HeldOutErrors:
    """Labels of structures that were left out, and the places of all of these, which the labels number."""

    labels: list[HeldOutLabels]
    places: list[Place]
    n_structures: int
    n_too_large: int


def _held_out_errors(
    builder: RowBuilder,
    posterior: Posterior,
    model: PotentialModel,
    structures: Iterable[LabelledStructure],
    plan: HoldOutPlan,
    threads: int | None,
    advance: Callable[[], None],
) -> _HeldOutErrors:
    kept = plan.pick(structures)
    numbers = {index: number for number, index in enumerate(kept)}
    hold_out = HeldOut(builder, posterior)

    def one(block: tuple[int, ...]) -> list[HeldOutLabels] | None:
        """Held-out errors of a block; None if its deviations take too much memory."""
        try:
            labels = hold_out([kept[index] for index in block], block)
        except TooLargeError:
            return None
        return [replace(label, structure=numbers[block[label.structure]]) for label in labels]

    labels: list[HeldOutLabels] = []
    n_too_large = 0
    for block, found in zip(plan.blocks, map_chunks(one, plan.blocks, threads), strict=True):
        n_too_large += len(block) if found is None else 0
        labels += found or []
        advance()

    def place(index: int) -> Place:
        """Place of a structure, also of one without labels of forces; where atoms coincide, which the
        reader may have been told to accept, no prediction is made, and the force is not known.
        """
        means, structure = plan.means, kept[index]
        assert means is not None
        try:
            return Place.of(means[index], model.predict(structure.atoms, 1, structure.name).forces)
        except InputError:
            return Place(means[index], float("nan"))

    places = [] if plan.means is None else list(map_chunks(place, kept, threads))
    return _HeldOutErrors(labels, places, len(kept), n_too_large)


def hold_out_calibration(
    builder: RowBuilder,
    posterior: Posterior,
    model: PotentialModel,
    structures: Iterable[LabelledStructure],
    threads: int | None,
    advance: Callable[[], None] = lambda: None,
    plan: HoldOutPlan | None = None,
) -> Calibration:
    """Return the calibration from errors on training structures that are left out block by block.

    Parameters
    ----------
    builder : RowBuilder
        Of the fit.
    posterior : Posterior
        Of the fit to all structures.
    model : PotentialModel
        With the weights of the posterior.
    structures : iterable of LabelledStructure
        Read once, and once more without a plan.
    threads : int or None
    advance : callable
        Called for each block.
    plan : HoldOutPlan, optional
        By default that of :func:`plan_hold_out`.
    """
    plan = plan_hold_out(builder, structures, threads) if plan is None else plan
    if not plan.blocks:
        return RAW
    errors = _held_out_errors(builder, posterior, model, structures, plan, threads, advance)
    return _calibration_of(errors, plan, posterior)


def _calibration_of(
    errors: _HeldOutErrors, plan: HoldOutPlan, posterior: Posterior, before: Calibration | None = None
) -> Calibration:
    """Calibration of held-out errors; kinds without enough labels stay as ``before`` or, without that, take
    the scale of another kind.
    """
    source = (
        f"calibrated on held-out errors of {errors.n_structures} of {plan.n_structures} training structures "
        "(similar ones left out together)"
    )
    calibration = calibration_from(
        errors.labels, posterior, source, before or RAW, errors.places, borrow=before is None
    )
    remarks = calibration.remarks
    if errors.n_too_large:
        remarks += (
            f"exact deviations of {errors.n_too_large} of {errors.n_structures} held-out structures take too "
            "much memory: they do not count in the calibration; a shorter cutoff or fewer radial functions "
            "would let them",
        )
    n_structures = errors.n_structures if calibration.source == source else 0
    return replace(calibration, n_structures=n_structures, remarks=remarks)


def updated_calibration(
    before: Calibration,
    builder: RowBuilder,
    posterior: Posterior,
    model: PotentialModel,
    structures: Iterable[LabelledStructure],
    threads: int | None,
    advance: Callable[[], None] = lambda: None,
) -> Calibration:
    """Return the calibration after an update: that of before, and held-out errors on the new structures.

    The old structures are not at hand any more. The variances and tails that both ask for are averaged, each
    with the number of structures that it comes from; local errors of both are kept. With fewer than five new
    structures it stays that of before, and so does that of a kind of which they have too few labels.

    Parameters
    ----------
    before : Calibration
    builder, threads, advance
        As for :func:`hold_out_calibration`.
    posterior : Posterior
        Of old and new labels together.
    model : PotentialModel
        With its weights.
    structures : iterable of LabelledStructure
        Of the update only.
    """
    plan = plan_hold_out(builder, structures, threads)
    errors = _HeldOutErrors([], [], 0, 0)
    if plan.blocks:
        errors = _held_out_errors(builder, posterior, model, structures, plan, threads, advance)
    new = _calibration_of(errors, plan, posterior, before if before.n_structures else None)
    first = before.source.partition(" and on held-out errors of")[0]
    if new.n_structures == 0:
        note = "; too few structures came with a later update to renew it (castile calibrate MODEL DATA does)"
        return replace(before, source=before.source.removesuffix(note) + note)
    n_updated = before.n_updated + new.n_structures
    if before.n_structures == 0:
        return replace(new, n_updated=n_updated)
    share = new.n_structures / (before.n_structures + new.n_structures)
    averaged = Calibration(
        energy=_averaged(before.energy, new.energy, share),
        forces=_averaged(before.forces, new.forces, share),
        stress=_averaged(before.stress, new.stress, share),
        source=f"{first} and on held-out errors of {n_updated} structures of updates",
        n_structures=before.n_structures + new.n_structures,
        n_updated=n_updated,
        remarks=tuple(dict.fromkeys((*before.remarks, *new.remarks))),
    )
    return replace(averaged, local=_joined_errors(before, new, averaged, errors.labels))


def _joined_errors(
    before: Calibration, new: Calibration, averaged: Calibration, labels: list[HeldOutLabels]
) -> LocalErrors | None:
    """Local errors of before and of an update, for the averaged deviations.

    The ratios of the update are in units of these; those of before are kept as they are: what the model is
    worth near the old structures since its labels changed nobody knows, but for how they differ.
    """
    known = []
    for calibration in (before, new):
        if calibration.local is not None:
            over = {kind: _deviation_over(calibration, averaged, kind, labels) for kind in KINDS}
            levels = {kind: 1.0 / factor for kind, factor in over.items() if factor > 0.0}
            known.append(calibration.local.scaled(over if calibration is new else {}, levels))
    return reduce(LocalErrors.joined, known) if known else None


def _deviation_over(
    calibration: Calibration, other: Calibration, kind: str, labels: list[HeldOutLabels]
) -> float:
    """Mean ratio of the deviations of two calibrations on labels of one kind; 1 without any."""
    ratios = [
        getattr(calibration, kind).deviations(label.parts, label.floor_scale)
        / np.maximum(getattr(other, kind).deviations(label.parts, label.floor_scale), 1e-300)
        for label in labels
        if label.kind == kind
    ]
    return float(np.mean(np.concatenate(ratios))) if ratios else 1.0


def _averaged(old: KindCalibration, new: KindCalibration, share: float) -> KindCalibration:
    """Mean of the variances and of the tails of two calibrations; ``share`` is the weight of the new one."""
    pairs = ((old.posterior, new.posterior), (old.residual, new.residual), (old.floor, new.floor))
    a, b, c = (float(np.sqrt((1.0 - share) * x**2 + share * y**2)) for x, y in pairs)
    return KindCalibration(a, b, c, (1.0 - share) * old.tail + share * new.tail)


def calibration_from(
    labels: list[HeldOutLabels],
    posterior: Posterior,
    source: str,
    otherwise: Calibration,
    places: Sequence[Place] = (),
    *,
    borrow: bool = True,
) -> Calibration:
    """Return the calibration that held-out labels ask for.

    A kind without enough labels takes the scale of the forces (or energies) with ``borrow``, or else stays as
    in ``otherwise``. Shear stresses in a wrong order are told in the remarks and do not count. With the
    ``places`` of the structures that the labels number, deviations of other structures follow the errors on
    those like them.
    """
    remarks, labels = _without_wrong_orders(labels)
    noises = dict(zip(posterior.kinds, posterior.sigmas, strict=True))
    found: dict[str, KindCalibration | None] = {}
    kept = _evenly(len(places), MOST_STRUCTURES)
    numbers = {structure: number for number, structure in enumerate(kept.tolist())}
    local = LocalErrors.at([places[index] for index in kept]) if places else None
    for kind in (ENERGY, FORCES, STRESS):
        mine = [label for label in labels if label.kind == kind]
        spread = [float(np.sqrt(np.mean((label.errors / label.floor_scale) ** 2))) for label in mine]
        known = fit_kind(mine, noises.get(kind) or float(np.median(spread)) if mine else 1.0)
        near = [
            replace(label, structure=numbers[label.structure]) for label in mine if label.structure in numbers
        ]
        if known is not None and local is not None and near:
            local = fit_local(known, near, local)
        if known is not None:
            known = replace(known, tail=fit_tail(known, near or mine, local if near else None))
        found[kind] = known
    fallback = found[FORCES] or found[ENERGY]
    kinds: list[KindCalibration] = []
    for kind in (ENERGY, FORCES, STRESS):
        known = found[kind]
        if known is None and fallback is not None and borrow:
            known = KindCalibration(fallback.posterior, fallback.residual, 0.0)
        kinds.append(known or getattr(otherwise, kind))
    energy, forces, stress = kinds
    source = source if any(found.values()) else otherwise.source
    return Calibration(energy, forces, stress, source, remarks=remarks, local=local)


def _evenly(n: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most so many of n structures, evenly spread."""
    return np.arange(n) if n <= most else np.arange(most) * n // most


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


__all__ = ["calibration_from", "hold_out_calibration", "updated_calibration"]
