"""Structures made small for exact searches of similar ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.execution.threads import map_chunks
from castile.kernels.environments import Environments, describe_environments
from castile.kernels.structure_kernels import (
    AverageSOAPKernel,
    BestMatchKernel,
    LargestKernel,
    StructureKernel,
)
from castile.splits.compression import Float64Array, Projection, principal_projection
from castile.splits.embedding import Embedded, atom_points, matching_points, mean_points
from castile.splits.point_blocks import PointBlocks, make_blocks
from castile.splits.settings import SimilaritySettings
from castile.splits.structure_table import StructureTable
from castile.splits.verification import (
    Describer,
    ExactVerifier,
    MatchVerifier,
    PointVerifier,
    VectorVerifier,
    Verifier,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[str, int, int | None], None]

MOST_KEPT = 96
_SAMPLE_STRUCTURES, _SAMPLE_ROWS = 1000, 2000
_CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class SimilarityIndex:
    """Points of all structures in blocks, and what decides about pairs of them.

    Attributes
    ----------
    table : StructureTable or None
        None for rows of features.
    settings : SimilaritySettings
        With every number filled in.
    blocks : PointBlocks
        One point per structure, or per atom (kernel "largest").
    verifier : Verifier
    """

    table: StructureTable | None
    settings: SimilaritySettings
    blocks: PointBlocks
    verifier: Verifier

    @property
    def owner(self) -> NDArray[np.int64]:
        """Structure of each row."""
        return self.verifier.owner

    @property
    def n_structures(self) -> int:
        """Number of structures."""
        return int(self.owner[-1]) + 1

    def similarity(self, structure: int, other: int) -> float:
        """Return k of two structures, from the kernel itself."""
        return 1.0 - self.verifier.exact(structure, other)

    def rows_of(self, structures: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of structures."""
        return np.flatnonzero(np.isin(self.owner, structures))


def run_tasks(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    pool: TaskPool | None,
    threads: int | None = None,
) -> Iterator[Result]:
    """Yield function(item) in order: on the workers of a pool, or on the threads of this process."""
    if pool is None:
        return map_chunks(function, items, threads)
    return pool.map(function, items)


def build_index(
    table: StructureTable,
    settings: SimilaritySettings | None = None,
    *,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> SimilarityIndex:
    """Describe all structures once and keep their points.

    Parameters
    ----------
    table : StructureTable
    settings : SimilaritySettings, optional
        What is None in it comes from the data.
    pool : TaskPool, optional
        Default: the threads of this process.
    progress : callable, optional
        Called with (step, done, total).
    seed : int
        Of the sample that the coordinates are chosen from; it changes the time, not the result.

    Raises
    ------
    InputError
        For a setting out of range or an element that the settings exclude; the structure is named.
    """
    settings = (SimilaritySettings() if settings is None else settings).resolved(table)
    kernel, descriptor = settings.structure_kernel(), settings.descriptor()
    maker = _Maker(descriptor, kernel, _sample_projection(table, descriptor, kernel, seed))
    embedded: list[Embedded] = []
    for part in run_tasks(maker, descriptor_chunks(table, descriptor), pool):
        embedded += part
        if progress is not None:
            progress("describing structures", len(embedded), len(table))
    points = np.concatenate([item.points for item in embedded])
    owner = np.repeat(np.arange(len(table)), [len(item.points) for item in embedded])
    verifier = _verifier(kernel, Describer(table, descriptor), owner, points, embedded)
    return SimilarityIndex(table, settings, make_blocks(points), verifier)


def build_vector_index(X: Float64Array, *, seed: int = 0) -> SimilarityIndex:
    """Return the index of rows of features, whose similarity is the product of the unit rows.

    Parameters
    ----------
    X : ndarray, shape (n, n_features)

    Raises
    ------
    InputError
        For a row that is zero or not finite.
    """
    if X.ndim != 2 or not len(X):
        raise InputError(f"features have shape {X.shape}; give (n, n_features), one row per structure")
    norms = np.linalg.norm(X, axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0.0)))
    if bad.size:
        raise InputError(f"features of row {bad[0]} are zero or not finite: check its structure")
    rows = X / norms[:, None]
    sample = np.random.default_rng(seed).choice(len(rows), size=min(len(rows), _SAMPLE_ROWS), replace=False)
    kept, lengths, _ = principal_projection(rows[np.sort(sample)], MOST_KEPT).apply(rows)
    points = np.column_stack([kept, lengths])
    settings = SimilaritySettings(kernel="average-soap")
    verifier = VectorVerifier(
        settings.structure_kernel(), None, np.arange(len(rows)), points, np.zeros(len(rows), np.uint8), rows
    )
    return SimilarityIndex(None, settings, make_blocks(points), verifier)


def _verifier(
    kernel: StructureKernel,
    describer: Describer,
    owner: NDArray[np.int64],
    points: Float64Array,
    embedded: list[Embedded],
) -> Verifier:
    """What decides about pairs under this kernel."""
    if isinstance(kernel, AverageSOAPKernel | LargestKernel):
        per_atom = isinstance(kernel, LargestKernel)
        numbers = describer.table.numbers if per_atom else np.zeros(len(points), dtype=np.uint8)
        return PointVerifier(kernel, describer, owner, points, numbers)
    if isinstance(kernel, BestMatchKernel):
        coordinates = np.concatenate([item.coordinates for item in embedded])
        remainders = np.concatenate([item.remainders for item in embedded])
        return MatchVerifier(kernel, describer, owner, coordinates, remainders)
    return ExactVerifier(kernel, describer, owner, min(item.scale for item in embedded))


@dataclass(frozen=True)
class _Maker:
    """Makes chunks of structures small; travels to workers."""

    descriptor: SOAP
    kernel: StructureKernel
    projection: Projection

    def __call__(self, chunk: list[Atoms]) -> list[Embedded]:
        return [self._embedded(each) for each in describe_environments(self.descriptor, chunk)]

    def _embedded(self, environments: Environments) -> Embedded:
        """What this kernel's search and bounds need of a structure."""
        none, empty = np.empty((0, 0), dtype=np.float32), np.empty(0, dtype=np.float32)
        if isinstance(self.kernel, AverageSOAPKernel):
            return Embedded(mean_points(environments, self.projection), none, empty, 1.0)
        if isinstance(self.kernel, LargestKernel):
            return Embedded(atom_points(environments, self.projection), none, empty, 1.0)
        kept, lengths, mean_rest = self.projection.apply(environments.features)
        points = matching_points(kept, mean_rest)
        if not isinstance(self.kernel, BestMatchKernel):
            return Embedded(points, none, empty, self.kernel.scale(environments))
        return Embedded(points, kept.astype(np.float32), lengths.astype(np.float32), 1.0)


def _sample_projection(
    table: StructureTable, descriptor: SOAP, kernel: StructureKernel, seed: int
) -> Projection:
    """Coordinates from a sample of the structures."""
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(table), size=min(len(table), _SAMPLE_STRUCTURES), replace=False))
    share = max(1, _SAMPLE_ROWS // len(chosen))
    rows = []
    for part in map_chunks(partial(_described, table, descriptor), chosen.tolist()):
        if isinstance(kernel, AverageSOAPKernel):
            mean = part.mean
            rows.append((mean / np.linalg.norm(mean))[None])
        else:
            some = generator.choice(part.n_atoms, size=min(share, part.n_atoms), replace=False)
            rows.append(part.features[some])
    return principal_projection(np.concatenate(rows), MOST_KEPT)


def _described(table: StructureTable, descriptor: SOAP, index: int) -> Environments:
    """Environments of one structure of the table."""
    return describe_environments(descriptor, [table.atoms(index)])[0]


def descriptor_chunks(table: StructureTable, descriptor: SOAP) -> Iterator[list[Atoms]]:
    """Yield the structures in chunks whose descriptors take a bounded memory."""
    most = max(1, _CHUNK_NUMBERS // int(descriptor.n_features_out_))
    chunk: list[Atoms] = []
    n_atoms = 0
    for index in range(len(table)):
        chunk.append(table.atoms(index))
        n_atoms += len(chunk[-1])
        if n_atoms >= most or len(chunk) == 256:
            yield chunk
            chunk, n_atoms = [], 0
    if chunk:
        yield chunk
