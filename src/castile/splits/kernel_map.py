"""Kernel principal components of many structures or atoms, through landmarks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.kernels.structure_kernels import AverageSOAPKernel
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import Progress, run_tasks
from castile.splits.structure_table import StructureTable
from castile.splits.verification import Describer

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]
N_LANDMARKS = 300
ZETA = 2.0


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

    Source: Schoelkopf, Smola, Mueller, Neural Comput. 10, 1299 (1998); Williams, Seeger, NIPS 2000.

    Raises
    ------
    InputError
        If UMAP is wanted and not installed.
    """
    settings = (SimilaritySettings() if settings is None else settings).resolved(table)
    embedder: Any = _umap() if umap else None
    describer = Describer(table, replace(settings, kernel=AverageSOAPKernel.name).descriptor())
    chosen = np.random.default_rng(seed).permutation(len(table))[:N_LANDMARKS]
    rows = [_features(describer, int(k), atoms) for k in chosen]
    landmarks = np.concatenate(rows)
    if atoms and len(landmarks) > N_LANDMARKS:
        some = np.random.default_rng(seed + 1).choice(len(landmarks), N_LANDMARKS, replace=False)
        landmarks = landmarks[some]
    values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks))
    used = values > 1e-12 * values[-1]
    root = vectors[:, used] / np.sqrt(values[used])
    phi = []
    for part in run_tasks(_Row(describer, landmarks, root, atoms), range(len(table)), None):
        phi.append(part)
        if progress is not None and len(phi) % 64 == 0:
            progress("describing structures", len(phi), len(table))
    counts = np.array([len(part) for part in phi])
    features = np.concatenate(phi)
    features -= features.mean(axis=0)
    spread, axes = np.linalg.eigh(features.T @ features)
    wanted = min(20 if umap else n_components, len(spread))
    axes = axes[:, ::-1][:, :wanted]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(wanted)] < 0.0, -1.0, 1.0)
    coordinates = features @ axes
    shares = tuple((spread[::-1][:wanted] / max(float(spread.sum()), 1e-300)).tolist())
    structure = np.repeat(np.arange(len(table)), counts)
    atom = np.concatenate([np.arange(c) for c in counts]) if atoms else np.full(len(structure), -1)
    if embedder is not None:
        placed = np.asarray(embedder(n_components=2, random_state=seed, n_jobs=1).fit_transform(coordinates))
        return KernelMap(placed.astype(np.float64), structure, atom, (), "UMAP")
    if coordinates.shape[1] < n_components:
        missing = np.zeros((len(coordinates), n_components - coordinates.shape[1]))
        coordinates = np.column_stack([coordinates, missing])
    return KernelMap(coordinates, structure, atom, shares, "kernel PCA")


def _kernel(P: Float64Array, Q: Float64Array) -> Float64Array:
    return np.maximum(P @ Q.T, 0.0) ** ZETA


def _features(describer: Describer, index: int, atoms: bool) -> Float64Array:
    environments = describer.environments(index)
    if atoms:
        return environments.features
    mean = environments.mean
    return np.asarray((mean / np.linalg.norm(mean))[None])


@dataclass(frozen=True)
class _Row:
    describer: Describer
    landmarks: Float64Array
    root: Float64Array
    atoms: bool

    def __call__(self, index: int) -> Float64Array:
        return _kernel(_features(self.describer, index, self.atoms), self.landmarks) @ self.root


def _umap() -> Any:
    try:
        with warnings.catch_warnings():  # it warns of parts of its own that are not installed
            warnings.simplefilter("ignore", ImportWarning)
            return import_module("umap").UMAP
    except ImportError as error:
        raise InputError("UMAP needs the package umap-learn: pip install 'castile[maps]'") from error
