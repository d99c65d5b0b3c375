"""Several structures at once that are not near-duplicates of each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from castile.active.exploration import Candidate
from castile.descriptors.soap import SOAP
from castile.potentials.gap import GAP
from castile.selection import farthest_points

COMPETITORS = 5
"""Candidates with the largest deviations that compete for each place."""
REMAINING = 0.01
"""A structure whose variance, given those already chosen, falls below this part of it is a near-duplicate."""


def choose_batch(candidates: Sequence[Candidate], size: int, method: str, gap: GAP) -> tuple[Candidate, ...]:
    """Return at most ``size`` candidates.

    Parameters
    ----------
    candidates : sequence of Candidate
    size : int
    method : "variance" or "farthest"
        variance: greedily the largest variance of the energy per atom given the energies of those already
        chosen (pivoted Cholesky of the posterior covariance); farthest: farthest from each other in the space
        of averaged SOAP vectors. Both begin with the largest force deviation.
    gap : GAP
    """
    ranked = sorted(candidates, key=lambda candidate: -candidate.deviation)[: COMPETITORS * size]
    if len(ranked) < 2:
        return tuple(ranked)
    chosen = _by_variance(ranked, size, gap) if method == "variance" else _by_distance(ranked, size)
    return tuple(ranked[index] for index in chosen)


def _by_variance(ranked: list[Candidate], size: int, gap: GAP) -> list[int]:
    structures = [candidate.atoms for candidate in ranked]
    sizes = np.array([len(atoms) for atoms in structures], dtype=np.float64)
    covariance = gap.energy_covariance(structures) / np.outer(sizes, sizes)
    noise = gap.fit_report.noise("energy")
    variance = 0.0 if noise is None else noise.sigma**2
    return greedy_variance(covariance, size, variance / sizes, first=0)


def greedy_variance(
    covariance: NDArray[np.float64],
    size: int,
    noise: NDArray[np.float64],
    first: int,
    remaining: float = REMAINING,
) -> list[int]:
    """Return indices by the largest variance given those chosen before, without near-duplicates.

    v_i <- v_i - c_ij^2 / (v_j + noise_j) after each choice j, and the same for the covariances.

    Parameters
    ----------
    covariance : ndarray, shape (n, n)
    size : int
    noise : ndarray, shape (n,)
        Variances of the labels.
    first : int
        Chosen in any case.
    remaining : float
        Stop when no variance is left above this part of what it was.
    """
    left = np.array(covariance, dtype=np.float64)
    before = np.maximum(np.diag(covariance), 1e-30)
    chosen = [first]
    while len(chosen) < min(size, len(left)):
        pivot = chosen[-1]
        column = left[:, pivot].copy()
        left -= np.outer(column, column) / max(column[pivot] + noise[pivot], 1e-30)
        variances = np.diag(left).copy()
        variances[variances < remaining * before] = -np.inf
        variances[chosen] = -np.inf
        best = int(np.argmax(variances))
        if variances[best] == -np.inf:
            break
        chosen.append(best)
    return chosen


def _by_distance(ranked: list[Candidate], size: int) -> list[int]:
    structures = [candidate.atoms for candidate in ranked]
    soap = SOAP(cutoff=5.0, n_max=6, l_max=4, sigma=0.5, average="outer").fit(structures)
    features = np.concatenate([soap.transform(atoms) for atoms in structures])
    others = farthest_points(features, size - 1, initial=[0]) if size > 1 else np.empty(0, dtype=int)
    return [0, *(int(index) for index in others)]
