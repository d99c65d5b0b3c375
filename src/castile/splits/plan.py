"""The whole split: similarity, threshold, components, parts and their certificate."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.splits.assignment import Assignment, assign_components, checked_fractions
from castile.splits.block_split import split_in_blocks
from castile.splits.certificate import Certificate, certify
from castile.splits.dataset import Dataset
from castile.splits.search import Components, find_components
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, SimilarityIndex, build_index
from castile.splits.sound_structures import Skipped
from castile.splits.splitters import checked_threshold
from castile.splits.threshold import ThresholdCurve, similarity_of, suggest_threshold

IndexArray = NDArray[np.int64]
GIANT = 0.5


@dataclass(frozen=True)
class SplitSettings:
    """What is asked of a split.

    Parameters
    ----------
    fractions : tuple of float
        Of the parts.
    threshold : float, optional
        Largest similarity allowed across parts; None suggests one.
    similarity : SimilaritySettings
    group_by : tuple of str
        Info keys; structures that share a value stay together.
    stratify : tuple of str
        "config_type", "composition", "energy" or info keys whose distribution the parts shall share.
    rattle : float
        Displacements that shall not count as a difference when the threshold is suggested, Angstrom.
    blocks : bool
        Parts are successive blocks of the data, with a buffer of removed structures between them.
    seed : int
    skip_broken : bool
        Whether structures that cannot be used were left out (:func:`castile.splits.dataset.read_dataset`).
    """

    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    threshold: float | None = None
    similarity: SimilaritySettings = field(default_factory=SimilaritySettings)
    group_by: tuple[str, ...] = ()
    stratify: tuple[str, ...] = ()
    rattle: float = 0.01
    blocks: bool = False
    seed: int = 0
    skip_broken: bool = False


@dataclass(frozen=True)
class Split:
    """A split and what proves it.

    Attributes
    ----------
    parts : ndarray, shape (n_structures,)
        Part of each structure; -1: removed, in the buffer of a block split.
    components : Components
    threshold : float
    curve : ThresholdCurve or None
        If the threshold was suggested.
    assignment : Assignment
    certificate : Certificate
    index : SimilarityIndex
    remarks : tuple of str
        What the user should know: a giant component, fractions that were not met.
    places : ndarray, shape (n_structures,)
        Place of each structure in the data.
    skipped : tuple of Skipped
        Structures of the data that were left out.
    """

    parts: IndexArray
    components: Components
    threshold: float
    curve: ThresholdCurve | None
    assignment: Assignment
    certificate: Certificate
    index: SimilarityIndex
    remarks: tuple[str, ...]
    places: IndexArray
    skipped: tuple[Skipped, ...] = ()

    @property
    def effective_number(self) -> float:
        """Effective number of independent structures; see :func:`effective_number`."""
        return effective_number(self.components.sizes)


def effective_number(sizes: IndexArray) -> float:
    r"""Return the effective number of independent structures, (sum s)^2 / sum s^2 over component sizes s."""
    sizes = np.asarray(sizes, dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def make_split(
    data: Dataset,
    settings: SplitSettings | None = None,
    *,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Split:
    """Split a data set such that no pair across parts is more similar than the threshold.

    Raises
    ------
    InputError
        For fractions, a threshold or keys that cannot be used, or fewer components than parts.
    """
    settings = SplitSettings() if settings is None else settings
    fractions = checked_fractions(settings.fractions)
    if settings.threshold is not None:
        checked_threshold(settings.threshold)
    groups, strata = data.groups(settings.group_by), data.strata(settings.stratify)
    index = build_index(data.table, settings.similarity, pool=pool, progress=progress, seed=settings.seed)
    curve, threshold = None, settings.threshold
    if threshold is None:
        curve = suggest_threshold(
            index, amplitude=settings.rattle, seed=settings.seed, pool=pool, progress=progress
        )
        threshold = curve.threshold
    components = find_components(index, threshold, groups=groups, pool=pool, progress=progress)
    if settings.blocks:
        assignment = split_in_blocks(index, threshold, fractions, groups=groups, pool=pool, progress=progress)
    else:
        try:
            assignment = assign_components(components.labels, fractions, strata=strata, seed=settings.seed)
        except InputError as error:
            raise InputError(" ".join([f"{error}.", _way_out(curve, max(fractions))]).strip()) from error
    certificate = certify(index, assignment.parts, pool=pool, progress=progress)
    remarks = _remarks(components, assignment, settings.blocks, _way_out(curve, max(fractions)))
    return Split(
        assignment.parts, components, threshold, curve, assignment, certificate, index, remarks,
        data.places, data.skipped,
    )  # fmt: skip


def _way_out(curve: ThresholdCurve | None, share: float) -> str:
    """The lowest threshold of the curve at which no component is larger than a part; else empty."""
    if curve is None:
        return ""
    fits = np.flatnonzero(curve.largest_component <= share * curve.n_compared)
    if not fits.size:
        return ""
    distance = float(curve.distances[fits[-1]])
    return (
        f"From --threshold {similarity_of(distance):.8g} on (d = {distance:.3g}) no component of the "
        f"{curve.n_compared} structures compared has more than {share:.0%} of them."
    )


def _remarks(components: Components, assignment: Assignment, blocks: bool, way_out: str) -> tuple[str, ...]:
    """What is plain to say about the components and the parts."""
    remarks = []
    sizes = components.sizes
    largest, n = int(sizes.max()), int(sizes.sum())
    if largest > GIANT * n and not blocks:
        remarks.append(
            f"one component holds {largest} of {n} structures ({largest / n:.0%}): at this threshold the "
            "data are one continuous family, such as a trajectory. Choose a higher --threshold (fewer "
            "structures count as similar), or --block-split, which cuts the data into successive "
            f"blocks and removes a buffer of structures between them. {way_out}".strip()
        )
    removed = int((assignment.parts < 0).sum())
    if blocks:
        remarks.append(
            f"{removed} of {n} structures were removed as a buffer between the blocks, which keeps "
            f"{', '.join(f'{fraction:.3g}' for fraction in assignment.reached)} of the data"
        )
    if assignment.explanation and not blocks:
        remarks.append(assignment.explanation)
    return tuple(remarks)
