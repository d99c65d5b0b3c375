"""scikit-learn splitters whose parts share no similar structures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator

from castile.errors import InputError
from castile.splits.assignment import assign_components, checked_fractions, make_strata
from castile.splits.search import find_components
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import build_index, build_vector_index
from castile.splits.structure_table import table_of
from castile.splits.threshold import suggest_threshold

IndexArray = NDArray[np.int64]
Threshold = float | Literal["suggest"]
Data = Sequence[Atoms] | ArrayLike


def similar_components(
    X: Data,
    threshold: Threshold = "suggest",
    *,
    groups: ArrayLike | None = None,
    settings: SimilaritySettings | None = None,
    precomputed: bool = False,
    seed: int = 0,
) -> tuple[IndexArray, float]:
    """Return the component (n,) of every item of X, and the threshold used.

    Parameters
    ----------
    X : sequence of ase.Atoms, array (n, n_features), or array (n, n)
        Structures; rows of features, whose similarity is the product of the unit rows; or, with
        ``precomputed``, the similarities.
    threshold : float or "suggest"
        Items with a similarity above it belong together. "suggest" is for structures.
    groups : array, shape (n,), optional
        Items of the same group belong together.
    settings : SimilaritySettings, optional
        Similarity of structures.
    seed : int

    Raises
    ------
    InputError
        For data or a threshold that cannot be used.
    """
    codes = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    listed = isinstance(X, Sequence) and all(isinstance(item, Atoms) for item in X)
    n = len(X)  # type: ignore[arg-type]
    if codes is not None and len(codes) != n:
        raise InputError(f"groups has {len(codes)} entries for {n} items; give one for each")
    if not listed and threshold == "suggest":
        raise InputError('threshold = "suggest" needs structures (ase.Atoms); for arrays give a number')
    if precomputed:
        return _precomputed_components(np.asarray(X, dtype=np.float64), float(threshold), codes)
    if listed:
        index = build_index(table_of(X), settings, seed=seed)  # type: ignore[arg-type]
    else:
        index = build_vector_index(np.asarray(X, dtype=np.float64))
    if threshold == "suggest":
        threshold = suggest_threshold(index, seed=seed).threshold
    return find_components(index, checked_threshold(threshold), groups=codes).labels, float(threshold)


def checked_threshold(threshold: float) -> float:
    """Return a threshold of the similarity.

    Raises
    ------
    InputError
        If it is not between 0 and 1.
    """
    if not 0.0 < float(threshold) < 1.0:
        raise InputError(f"threshold = {threshold}: give a similarity between 0 and 1, such as 0.999")
    return float(threshold)


def _precomputed_components(
    K: NDArray[np.float64], threshold: float, groups: IndexArray | None
) -> tuple[IndexArray, float]:
    """Components of a matrix of similarities, and the threshold."""
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not np.isfinite(K).all():
        raise InputError(f"precomputed similarities have shape {K.shape}; give a finite (n, n) matrix")
    links = (threshold < K) | (threshold < K.T)
    if groups is not None:
        links |= groups[:, None] == groups[None, :]
    return connected_components(csr_array(links), directed=False)[1].astype(np.int64), threshold


class _LeakproofSplitter(BaseEstimator):
    """What both splitters share."""

    threshold: Threshold
    settings: SimilaritySettings | None
    precomputed: bool
    stratify: bool
    random_state: int

    def _components(self, X: Data, groups: ArrayLike | None) -> IndexArray:
        """Components of X; they and the threshold are kept as fitted attributes."""
        labels, self.threshold_ = similar_components(
            X,
            self.threshold,
            groups=groups,
            settings=self.settings,
            precomputed=self.precomputed,
            seed=self.random_state,
        )
        self.components_ = labels
        return labels

    def _strata(self, y: ArrayLike | None) -> IndexArray | None:
        if not self.stratify:
            return None
        if y is None:
            raise InputError("stratify=True needs y: the label whose distribution the parts shall share")
        return make_strata(y)


class LeakproofKFold(_LeakproofSplitter):
    """k folds such that no structure has a similar one in another fold.

    Structures whose similarity exceeds the threshold, and those of the same group, are connected; whole
    components go to folds.

    Parameters
    ----------
    n_splits : int
        Number of folds.
    threshold : float or "suggest"
        Largest similarity allowed between folds; "suggest" finds it from structures.
    settings : SimilaritySettings, optional
        Which similarity; default: best match of SOAP environments with numbers from the data.
    precomputed : bool
        X is the matrix (n, n) of similarities.
    stratify : bool
        Folds share the distribution of y (classes, or ten quantiles of numbers).
    random_state : int

    Attributes
    ----------
    components_ : ndarray, shape (n,)
    threshold_ : float
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        threshold: Threshold = "suggest",
        settings: SimilaritySettings | None = None,
        precomputed: bool = False,
        stratify: bool = False,
        random_state: int = 0,
    ) -> None:
        self.n_splits = n_splits
        self.threshold = threshold
        self.settings = settings
        self.precomputed = precomputed
        self.stratify = stratify
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_splits

    def split(
        self, X: Data, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Yield (train, test) indices of each fold.

        Raises
        ------
        InputError
            If there are fewer components than folds.
        """
        if self.n_splits < 2:
            raise InputError(f"n_splits = {self.n_splits}: give at least 2")
        fractions = np.full(self.n_splits, 1.0 / self.n_splits)
        assignment = assign_components(
            self._components(X, groups), fractions, strata=self._strata(y), seed=self.random_state
        )
        for part in range(self.n_splits):
            inside = assignment.parts == part
            yield np.flatnonzero(~inside), np.flatnonzero(inside)


class LeakproofSplit(_LeakproofSplitter):
    """Training and test parts such that no structure has a similar one in another part.

    Parameters
    ----------
    fractions : sequence of float
        Of the parts: the first is for training, the last for testing; those between (validation) are in
        ``parts_`` only.
    n_splits : int
        Number of splits, each with its own seed.
    threshold, settings, precomputed, stratify, random_state
        As for :class:`LeakproofKFold`.

    Attributes
    ----------
    parts_ : ndarray, shape (n,)
        Part of every structure in the last split.
    components_ : ndarray, shape (n,)
    threshold_ : float
    """

    def __init__(
        self,
        fractions: Sequence[float] = (0.8, 0.2),
        *,
        n_splits: int = 1,
        threshold: Threshold = "suggest",
        settings: SimilaritySettings | None = None,
        precomputed: bool = False,
        stratify: bool = False,
        random_state: int = 0,
    ) -> None:
        self.fractions = fractions
        self.n_splits = n_splits
        self.threshold = threshold
        self.settings = settings
        self.precomputed = precomputed
        self.stratify = stratify
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits."""
        return self.n_splits

    def split(
        self, X: Data, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Yield (train, test) indices.

        Raises
        ------
        InputError
            If there are fewer components than parts, or the fractions are none.
        """
        last = len(checked_fractions(self.fractions)) - 1
        components, strata = self._components(X, groups), self._strata(y)
        for number in range(self.n_splits):
            assignment = assign_components(
                components, self.fractions, strata=strata, seed=self.random_state + number
            )
            self.parts_ = assignment.parts
            yield np.flatnonzero(self.parts_ == 0), np.flatnonzero(self.parts_ == last)
