"""Kernel principal components of many structures or atoms, through landmarks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.execution.optional_packages import import_optional
from castile.execution.task_pool import TaskPool
from castile.kernels.environments import Environments, describe_environments
from castile.kernels.structure_kernels import AverageSOAPKernel
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, descriptor_chunks, run_tasks
from castile.splits.structure_table import StructureTable

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]
N_LANDMARKS = 300
ZETA = 2.0
_UMAP_COMPONENTS, _LEAST_UMAP = 20, 5


@dataclass(frozen=True)
class KernelMap:
    """Where structures or atoms lie.

    Attributes
    ----------
    coordinates : ndarray, shape (n_points, n_components)
    structure, atom : ndarray, shape (n_points,)
        What each point is; atom -1: a structure as a whole.
    explained : tuple of float
        Share of the variance of the kernel along each component (empty for UMAP).
    method : str
        "kernel PCA" or "UMAP".
    """

    coordinates: Float64Array
    structure: IndexArray
    atom: IndexArray
    explained: tuple[float, ...]
    method: str


def kernel_map(
    table: StructureTable,
    settings: SimilaritySettings | None = None,
    *,
    atoms: bool = False,
    n_components: int = 3,
    umap: bool = False,
    seed: int = 0,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> KernelMap:
    r"""Return principal components of the kernel (p . q)^2 of mean power spectra, or of environments.

    With m landmarks (at most 300, drawn with the seed) the kernel is the Nystrom approximation

    .. math:: K \approx K_{nm} K_{mm}^{-1} K_{mn}, \qquad \Phi = K_{nm} K_{mm}^{-1/2},

    and the components are those of the centred :math:`\Phi`; memory is O(n m). It is exact for up to 300
    points.

    Parameters
    ----------
    table : StructureTable
    settings : SimilaritySettings, optional
    atoms : bool
        One point per atom instead of one per structure.
    n_components : int
    umap : bool
        Two-dimensional UMAP of 20 components instead.
    seed : int
    pool, progress
        As for :func:`castile.splits.similarity_index.build_index`.

    Source: Schoelkopf, Smola, Mueller, Neural Comput. 10, 1299 (1998); Williams, Seeger, NIPS 2000.

    Raises
    ------
    InputError
        If UMAP is wanted and not installed.
    """
    settings = (SimilaritySettings() if settings is None else settings).resolved(table)
    embedder: Any = _umap() if umap else None
    descriptor = replace(settings, kernel=AverageSOAPKernel.name).descriptor()
    mapper = _Mapper(descriptor, _landmarks(table, descriptor, atoms, seed), atoms)
    structure = np.repeat(np.arange(len(table)), table.n_atoms) if atoms else np.arange(len(table))
    atom = np.arange(len(structure)) - table.first[structure] if atoms else np.full(len(structure), -1)
    features = np.empty((len(structure), mapper.n_features))
    done = n_described = 0
    for part, n_structures in run_tasks(mapper, descriptor_chunks(table, descriptor), pool):
        features[done : done + len(part)] = part
        done += len(part)
        n_described += n_structures
        if progress is not None:
            progress("describing structures", n_described, len(table))
    wanted = _UMAP_COMPONENTS if umap else n_components
    coordinates, shares = _principal_components(features, wanted)
    if embedder is not None:
        placed = _embed(embedder, coordinates, seed, progress)
        return KernelMap(placed, structure, atom, (), "UMAP")
    return KernelMap(coordinates, structure, atom, shares, "kernel PCA")


def _principal_components(features: Float64Array, wanted: int) -> tuple[Float64Array, tuple[float, ...]]:
    """Coordinates (n, wanted) along the directions of largest variance, and its shares; centres in place."""
    features -= features.mean(axis=0)
    spread, axes = np.linalg.eigh(features.T @ features)
    kept = min(wanted, len(spread))
    axes = axes[:, ::-1][:, :kept]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(kept)] < 0.0, -1.0, 1.0)
    coordinates = np.zeros((len(features), wanted))
    coordinates[:, :kept] = features @ axes
    return coordinates, tuple((spread[::-1][:kept] / max(float(spread.sum()), 1e-300)).tolist())


def _landmarks(table: StructureTable, descriptor: SOAP, atoms: bool, seed: int) -> Float64Array:
    """Descriptors of at most 300 structures, or atoms of them, (n_landmarks, n_features)."""
    chosen = np.random.default_rng(seed).permutation(len(table))[:N_LANDMARKS]
    generator = np.random.default_rng(seed + 1)
    share = -(-N_LANDMARKS // len(chosen))
    rows = []
    for index in chosen.tolist():
        (environments,) = describe_environments(descriptor, [table.atoms(index)])
        described = _rows(environments, atoms)
        some = generator.permutation(len(described))[:share] if atoms else slice(None)
        rows.append(described[some])
    return np.concatenate(rows)[:N_LANDMARKS]


def _rows(environments: Environments, atoms: bool) -> Float64Array:
    """Unit descriptors of all atoms, or the mean one as a single row."""
    if atoms:
        return environments.features
    mean = environments.mean
    return np.asarray((mean / np.linalg.norm(mean))[None])


def _kernel(P: Float64Array, Q: Float64Array) -> Float64Array:
    return np.maximum(P @ Q.T, 0.0) ** ZETA


class _Mapper:
    """Makes rows of Phi of chunks of structures; travels to workers."""

    def __init__(self, descriptor: SOAP, landmarks: Float64Array, atoms: bool) -> None:
        self._descriptor, self._landmarks, self._atoms = descriptor, landmarks, atoms
        values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks))
        used = values > 1e-12 * values[-1]
        self._root = vectors[:, used] / np.sqrt(values[used])

    @property
    def n_features(self) -> int:
        """Columns of Phi."""
        return int(self._root.shape[1])

    def __call__(self, chunk: list[Atoms]) -> tuple[Float64Array, int]:
        described = describe_environments(self._descriptor, chunk)
        rows = np.concatenate([_rows(each, self._atoms) for each in described])
        return _kernel(rows, self._landmarks) @ self._root, len(chunk)


def _embed(embedder: Any, coordinates: Float64Array, seed: int, progress: Progress | None) -> Float64Array:
    """Two coordinates by UMAP, (n, 2)."""
    if progress is not None:
        progress("UMAP", 0, 1)
    if len(coordinates) < _LEAST_UMAP:
        raise InputError(
            f"UMAP needs {_LEAST_UMAP} points or more, there are {len(coordinates)}; leave it out"
        )
    n_neighbors = min(15, len(coordinates) - 1)
    with warnings.catch_warnings():  # what it says of its own settings and graph is nothing to act upon
        warnings.simplefilter("ignore")
        made = embedder(n_components=2, n_neighbors=n_neighbors, random_state=seed, n_jobs=1)
        placed = np.asarray(made.fit_transform(coordinates), dtype=np.float64)
    if progress is not None:
        progress("UMAP", 1, 1)
    return placed


def _umap() -> Any:
    with warnings.catch_warnings():  # it warns of parts of its own that are not installed
        warnings.simplefilter("ignore", ImportWarning)
        return import_optional("umap", "UMAP needs umap-learn", "maps").UMAP
