"""A threshold from the data: what noise alone does to the similarity, and how the components grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.kernels.environments import describe_environments
from castile.kernels.structure_kernels import StructureKernel
from castile.splits.forest import Forest, find_forest
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, SimilarityIndex, build_index, run_tasks
from castile.splits.structure_table import StructureTable, table_of

Float64Array = NDArray[np.float64]

RATTLES = (0.01, 0.03, 0.1)
MARGIN = 1.5
_MOST_RATTLED = 300
_LEAST_RATTLED = 16
_MOST_COMPARED = {"average-soap": 10_000, "best-match": 1500, "largest": 500}
_MOST_COMPARED_SLOW = 200
_PLATEAU = 1.25
_GIANT = 0.5


@dataclass(frozen=True)
class NoiseLevel:
    """Distances d = sqrt(2 - 2k) of structures to their own copies with displaced atoms.

    Attributes
    ----------
    amplitude : float
        Standard deviation of each Cartesian displacement, Angstrom.
    distances : ndarray, shape (n_rattled,)
        Ascending.
    """

    amplitude: float
    distances: Float64Array

    @property
    def median(self) -> float:
        """Median distance."""
        return float(np.median(self.distances))

    @property
    def largest(self) -> float:
        """Largest distance."""
        return float(self.distances[-1])


@dataclass(frozen=True)
class ThresholdCurve:
    """Components against the threshold, and the suggestion.

    Attributes
    ----------
    distances : ndarray, shape (n,)
        Thresholds as distances, ascending.
    n_components, largest_component : ndarray, shape (n,)
        Of the structures compared.
    n_compared, n_structures : int
        Structures of the curve (a seeded sample where there are many), and in all.
    noise : tuple of NoiseLevel
        By growing amplitude.
    plateau : tuple of two floats, or None
        Distances between which nothing merges, around the suggestion.
    distance : float
        Suggested threshold as a distance.
    reason : str
    """

    distances: Float64Array
    n_components: NDArray[np.int64]
    largest_component: NDArray[np.int64]
    n_compared: int
    n_structures: int
    noise: tuple[NoiseLevel, ...]
    plateau: tuple[float, float] | None
    distance: float
    reason: str

    @property
    def threshold(self) -> float:
        """Suggested threshold of the similarity."""
        return similarity_of(self.distance)


def similarity_of(distance: float) -> float:
    """Return k = 1 - d^2 / 2."""
    return 1.0 - 0.5 * distance**2


def distance_of(similarity: float) -> float:
    """Return d = sqrt(2 - 2 k), 0 for k above 1."""
    return float(np.sqrt(max(0.0, 2.0 - 2.0 * similarity)))


def measure_noise(
    table: StructureTable,
    settings: SimilaritySettings,
    amplitudes: Sequence[float] = RATTLES,
    *,
    seed: int = 0,
    pool: TaskPool | None = None,
) -> tuple[NoiseLevel, ...]:
    """Return how far displaced atoms take structures from themselves.

    Cells of fewer than 16 atoms are repeated, so that their atoms move independently of their images.

    Parameters
    ----------
    table : StructureTable
    settings : SimilaritySettings
        With every number filled in.
    amplitudes : sequence of float
        Standard deviations of the displacements, Angstrom.
    seed : int
        Of the displacements, and of the choice of at most 300 structures.
    pool : TaskPool, optional
        Default: the threads of this process.

    Raises
    ------
    InputError
        For an amplitude that is not positive.
    """
    if not amplitudes or min(amplitudes) <= 0.0:
        raise InputError(f"rattle amplitudes {list(amplitudes)}: give positive numbers in Angstrom")
    generator = np.random.default_rng(seed)
    n = min(len(table), _MOST_RATTLED)
    chosen = np.sort(generator.choice(len(table), size=n, replace=False))
    rattle = _Rattle(table, settings.descriptor(), settings.structure_kernel(), tuple(amplitudes))
    jobs = [
        (int(index), int(own)) for index, own in zip(chosen, generator.integers(2**31, size=n), strict=True)
    ]
    distances = np.stack(list(run_tasks(rattle, jobs, pool)), axis=1)
    return tuple(NoiseLevel(float(a), np.sort(row)) for a, row in zip(amplitudes, distances, strict=True))


@dataclass(frozen=True)
class _Rattle:
    """Distances of one structure to its displaced copies, one for each amplitude; travels to workers."""

    table: StructureTable
    descriptor: SOAP
    kernel: StructureKernel
    amplitudes: tuple[float, ...]

    def __call__(self, job: tuple[int, int]) -> Float64Array:
        index, seed = job
        own = self.table.atoms(index)
        large = _repeated(own)
        displacement = np.random.default_rng(seed).normal(size=large.positions.shape)
        copies = [own]
        for amplitude in self.amplitudes:
            copies.append(large.copy())
            copies[-1].positions += amplitude * displacement
        first, *others = describe_environments(self.descriptor, copies)
        return np.array([self.kernel.distance(first, other) for other in others])


def _repeated(atoms: Atoms) -> Atoms:
    """A supercell of a small cell: in a cell of one atom a displacement would be no change at all."""
    if not atoms.pbc.any():
        return atoms
    counts = np.ones(3, dtype=int)
    lengths = np.where(atoms.pbc, np.linalg.norm(atoms.cell.array, axis=1), np.inf)
    while len(atoms) * counts.prod() < _LEAST_RATTLED:
        counts[int(np.argmin(counts * lengths))] += 1
    return atoms.repeat(counts)


def suggest_threshold(
    index: SimilarityIndex,
    *,
    amplitude: float = RATTLES[0],
    seed: int = 0,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> ThresholdCurve:
    """Suggest a threshold, from the noise of the atoms' positions and the curve of components.

    The suggestion lies above what displacements of ``amplitude`` do to any of the structures tried, by a
    margin of 1.5, and on a plateau of the curve where there is one: its middle, at most twice the margin.

    Parameters
    ----------
    index : SimilarityIndex
        Of structures.
    amplitude : float
        Standard deviation of the displacements that shall not count as a difference, Angstrom.
    seed : int
    pool, progress
        As for :func:`castile.splits.similarity_index.build_index`.
    """
    if index.table is None:
        raise InputError("a threshold is suggested from structures; for features, give the threshold")
    amplitudes = tuple(sorted({amplitude, *RATTLES}))
    noise = measure_noise(index.table, index.settings, amplitudes, seed=seed, pool=pool)
    levels = {level.amplitude: level for level in noise}
    floor = MARGIN * max(levels[amplitude].largest, 1e-6)
    searched = 2.0 * floor
    top = 1.5 * searched
    sample = _sampled(index, seed, pool)
    forest = find_forest(sample, similarity_of(min(top, 1.4)), pool=pool, progress=progress)
    distances = np.sqrt(2.0 * forest.gaps)
    plateau, distance, reason = _choose(distances, floor, searched, amplitude, levels[amplitude].largest)
    grid, counts, largest = _curve(forest, min(top, 1.4))
    return ThresholdCurve(
        grid, counts, largest, sample.n_structures, index.n_structures, noise, plateau, distance, reason
    )


def _sampled(index: SimilarityIndex, seed: int, pool: TaskPool | None) -> SimilarityIndex:
    """The index itself, or that of a sample whose pairs can all be compared in seconds."""
    assert index.table is not None
    most = _MOST_COMPARED.get(index.settings.kernel, _MOST_COMPARED_SLOW)
    if index.n_structures <= most:
        return index
    chosen = np.random.default_rng(seed).choice(index.n_structures, size=most, replace=False)
    table = table_of(index.table.atoms(int(k)) for k in np.sort(chosen))
    return build_index(table, index.settings, pool=pool)


def _choose(
    merges: Float64Array, floor: float, searched: float, amplitude: float, largest: float
) -> tuple[tuple[float, float] | None, float, str]:
    """Plateau, suggested distance and reason."""
    noise = f"displacements of {amplitude:g} A change a structure by at most d = {largest:.3g}"
    between = merges[(merges > floor) & (merges < searched)]
    above = merges[merges >= searched]
    edges = np.concatenate([[floor], between, above[:1] if len(above) else [10.0 * searched]])
    ratios = edges[1:] / edges[:-1]
    first = ratios[0] >= _PLATEAU
    at = 0 if first else int(np.argmax(ratios))
    if ratios[at] < _PLATEAU:
        return None, floor, f"{noise}; no plateau above, so {MARGIN:g} times that"
    low, high = float(edges[at]), float(edges[at + 1])
    distance = min(float(np.sqrt(low * high)), 2.0 * low)
    return (low, high), distance, f"{noise}; nothing merges between d = {low:.3g} and {high:.3g}"


def _curve(forest: Forest, top: float) -> tuple[Float64Array, NDArray[np.int64], NDArray[np.int64]]:
    """Number of components and size of the largest along the merges of a forest, at most 400 points."""
    distances = np.sqrt(2.0 * forest.gaps)
    low = max(float(distances[distances > 0.0].min(initial=top)), 1e-5)
    grid = np.geomspace(min(low, 0.5 * top), top, 200)
    counts = np.empty(len(grid), dtype=np.int64)
    largest = np.empty(len(grid), dtype=np.int64)
    for k, distance in enumerate(grid):
        sizes = np.bincount(forest.labels(similarity_of(distance)))
        counts[k], largest[k] = len(sizes), sizes.max()
    return grid, counts, largest
