"""Several structures at once that are not near-duplicates of each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from castile.active.exploration import Candidate
from castile.active.pool_prior import PriorChoices, default_points, model_process
from castile.active.pool_process import KINDS
from castile.descriptors.soap import SOAP
from castile.execution.threads import limit_blas
from castile.potentials.gap import GAP
from castile.selection import farthest_points
from castile.selection.criteria import OwnVariance, information_gain, repeated_information
from castile.selection.posterior_root import PosteriorRoot
from castile.selection.row_blocks import compress_block
from castile.structures import as_source

COMPETITORS = 5
"""Candidates with the largest deviations that compete for each place."""
NEAR_DUPLICATE = 1.05
"""A structure whose labels inform less than so many times what a repetition of them would is a near-duplicate
of those already chosen."""


def choose_batch(candidates: Sequence[Candidate], size: int, method: str, gap: GAP) -> tuple[Candidate, ...]:
    """Return at most ``size`` candidates.

    Parameters
    ----------
    candidates : sequence of Candidate
    size : int
    method : "variance" or "farthest"
        variance: greedily the largest predictive variance of all labels (energy, forces, stress) given those
        of the structures already chosen, as ``castile select`` has it;
        farthest: farthest from each other in the space of averaged SOAP vectors. Both begin with the largest
        force deviation. With elements that the model does not know it is the second.
    gap : GAP
    """
    ranked = sorted(candidates, key=lambda candidate: -candidate.deviation)[: COMPETITORS * size]
    if len(ranked) < 2:
        return tuple(ranked)
    known = all(np.isfinite(candidate.deviation) for candidate in ranked)
    chosen = _by_variance(ranked, size, gap) if method == "variance" and known else _by_distance(ranked, size)
    return tuple(ranked[index] for index in chosen)


def _by_variance(ranked: list[Candidate], size: int, gap: GAP) -> list[int]:
    pool = as_source([candidate.atoms for candidate in ranked])
    n_points = default_points("model", size)
    process = model_process(gap, pool, n_points, PriorChoices(), KINDS, 0, gap.threads, lambda: None)
    with limit_blas(1):
        rows = [process.label_features(structure).rows for structure in pool]
        n_labels = [max(len(block), 1) for block in rows]  # none: a molecule has no stress
        return greedy_batch([compress_block(block) for block in rows], n_labels, size, first=0)


def greedy_batch(
    blocks: Sequence[NDArray[np.float64]], n_labels: Sequence[int], size: int, first: int
) -> list[int]:
    """Return indices of blocks by the variance per label that they take away, given those chosen before,
    without near-duplicates.

    Parameters
    ----------
    blocks : sequence of ndarray, shape (n_rows, n_columns)
        Labels in whitened weights and units of their noise.
    n_labels : sequence of int
        Of each block.
    size : int
    first : int
        Chosen in any case.
    """
    root, criterion = PosteriorRoot(blocks[0].shape[1]), OwnVariance()
    bounds = {k: criterion.value(block) / n_labels[k] for k, block in enumerate(blocks) if k != first}
    chosen, known = [first], dict.fromkeys(bounds, 0)
    root.observe(root.whiten(blocks[first]))
    while bounds and len(chosen) < size:
        best = max(bounds, key=lambda k: bounds[k])
        if known[best] < len(chosen):  # worths only fall: those of the others need not be known
            whitened = root.whiten(blocks[best])
            bounds[best], known[best] = criterion.value(whitened) / n_labels[best], len(chosen)
            if information_gain(whitened) <= NEAR_DUPLICATE * repeated_information(blocks[best]):
                del bounds[best]
            continue
        chosen.append(best)
        del bounds[best]
        root.observe(root.whiten(blocks[best]))
    return chosen


def _by_distance(ranked: list[Candidate], size: int) -> list[int]:
    structures = [candidate.atoms for candidate in ranked]
    soap = SOAP(cutoff=5.0, n_max=6, l_max=4, sigma=0.5, average="outer").fit(structures)
    features = np.concatenate([soap.transform(atoms) for atoms in structures])
    others = farthest_points(features, size - 1, initial=[0]) if size > 1 else np.empty(0, dtype=int)
    return [0, *(int(index) for index in others)]
