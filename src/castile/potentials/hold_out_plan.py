"""Which training structures are left out together for the calibration that comes with every fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from castile.potentials.mean_soap import MeanSoap
from castile.potentials.training_rows import RowBuilder
from castile.structures.labels import LabelledStructure

LEAST_STRUCTURES = 5
MOST_STRUCTURES = 100
MOST_COMPANIONS = 3
SAME = 0.02
"""Structures closer than this fraction of the median distance between structures are left out together."""
MOST_DISTANCES = 4_000_000
"""Between structures: fewer structures than all are parted into blocks where it would take more."""

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
    means : ndarray, shape (n_structures, size), or None
        Projected mean SOAP vectors of the set; None without a SOAP term.
    """

    blocks: tuple[tuple[int, ...], ...]
    n_structures: int
    means: Array | None = None

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
    mean_soap = MeanSoap.of(builder.terms)
    if mean_soap is not None:
        means = mean_soap.of_structures(structures, threads)
    else:
        # all are different, and one is as good as another
        means = np.random.default_rng(0).standard_normal((sum(1 for _ in structures), 1))
    if len(means) < LEAST_STRUCTURES:
        return HoldOutPlan((), len(means))
    blocks = choose_blocks(means, MOST_STRUCTURES, builder.settings.seed)
    return HoldOutPlan(tuple(blocks), len(means), None if mean_soap is None else means)


def choose_blocks(means: Array, most: int, seed: int) -> list[tuple[int, ...]]:
    """Return blocks of structures to leave out together, each structure in at most one.

    All structures (of large sets some, drawn at random) are first parted into blocks, of which some are then
    drawn, so that each structure is as likely to be left out as any other: blocks taken one after the other
    would hold too many of those with many like them, which are predicted well.

    Parameters
    ----------
    means : ndarray, shape (n_structures, size)
        Projected mean SOAP vectors.
    most : int
        Structures in all blocks.
    seed : int
    """
    n = len(means)
    generator = np.random.default_rng(seed)
    sample = means[generator.permutation(n)[:200]]
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
        distances = np.linalg.norm(means - means[index], axis=1)
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
