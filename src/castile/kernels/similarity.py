"""Similarity of structures as a scikit-learn kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import GenericKernelMixin, Kernel

from castile.descriptors.base import as_structures
from castile.descriptors.soap import SOAP
from castile.errors import NotFittedError
from castile.kernels.environments import Float64Array, describe_environments
from castile.kernels.structure_kernels import StructureKernel, make_structure_kernel


def structure_array(structures: Sequence[Atoms]) -> NDArray[np.object_]:
    """Return structures as an array (n_structures,) of objects, for estimators that convert lists."""
    array = np.empty(len(structures), dtype=object)
    for index, atoms in enumerate(structures):
        array[index] = atoms
    return array


class StructureSimilarity(GenericKernelMixin, Kernel):
    """Structure kernel on lists of ``ase.Atoms``, in the manner of scikit-learn.

    ``similarity(X, Y)`` is the matrix for ``kernel="precomputed"`` of scikit-learn's estimators; the object
    itself is a kernel of ``GaussianProcessRegressor``, which takes the structures as a
    :func:`structure_array`.

    Parameters
    ----------
    descriptor : SOAP, optional
        Default: ``SOAP(cutoff=5.0)``. It finds the elements in ``fit``, or is given ``species``.
    method : str
        "best-match", "average-soap", "average", "rematch" or "largest".
    zeta : float
        Exponent of the environment kernel.
    gamma : float
        Weight of the entropy ("rematch" only).
    """

    def __init__(
        self,
        descriptor: SOAP | None = None,
        method: str = "average-soap",
        zeta: float = 1.0,
        gamma: float = 0.02,
    ) -> None:
        self.descriptor = descriptor
        self.method = method
        self.zeta = zeta
        self.gamma = gamma

    def fit(self, structures: Sequence[Atoms], y: Any = None) -> StructureSimilarity:
        """Find the elements of ``structures``."""
        self.descriptor_ = SOAP(cutoff=5.0) if self.descriptor is None else self.descriptor
        if not hasattr(self.descriptor_, "species_"):
            self.descriptor_.fit(as_structures(structures))
        self.kernel_ = make_structure_kernel(self.method, zeta=self.zeta, gamma=self.gamma)
        return self

    def _fitted(self) -> StructureKernel:
        if not hasattr(self, "kernel_"):
            raise NotFittedError("StructureSimilarity is not fitted: call fit(structures) first")
        kernel: StructureKernel = self.kernel_
        return kernel

    def __call__(
        self, X: Sequence[Atoms], Y: Sequence[Atoms] | None = None, eval_gradient: bool = False
    ) -> Any:
        """Return k (n_x, n_y); with ``eval_gradient`` also the (empty) gradient with respect to no
        hyper-parameters.
        """
        if not hasattr(self, "kernel_"):
            self.fit(X)
        K = self.pairwise(X, Y)
        return (K, np.empty((len(K), len(K), 0))) if eval_gradient else K

    def pairwise(
        self, X: Sequence[Atoms], Y: Sequence[Atoms] | None = None, *, block_size: int = 128
    ) -> Float64Array:
        """Return k (n_x, n_y), computed in blocks of ``block_size`` structures."""
        columns = len(X if Y is None else Y)
        out = np.empty((len(X), columns))
        for rows, block_columns, block in self.blocks(X, Y, block_size=block_size):
            out[rows, block_columns] = block
            if Y is None:
                out[block_columns, rows] = block.T
        return out

    def blocks(
        self, X: Sequence[Atoms], Y: Sequence[Atoms] | None = None, *, block_size: int = 128
    ) -> Iterator[tuple[slice, slice, Float64Array]]:
        """Yield (rows, columns, block) of the kernel; descriptors of two blocks are in memory at a time.

        Without Y only the blocks on and above the diagonal come.
        """
        kernel = self._fitted()
        others = X if Y is None else Y
        for begin in range(0, len(X), block_size):
            rows = slice(begin, min(begin + block_size, len(X)))
            first = describe_environments(self.descriptor_, as_structures(X[rows]))
            for start in range(begin if Y is None else 0, len(others), block_size):
                columns = slice(start, min(start + block_size, len(others)))
                second = (
                    first
                    if Y is None and start == begin
                    else describe_environments(self.descriptor_, as_structures(others[columns]))
                )
                yield rows, columns, 1.0 - kernel.dissimilarities(first, second)

    def distance(self, X: Sequence[Atoms], Y: Sequence[Atoms] | None = None) -> Float64Array:
        """Return d = sqrt(2 - 2 k), (n_x, n_y), never of a negative number."""
        return np.sqrt(np.maximum(2.0 - 2.0 * self.pairwise(X, Y), 0.0))

    def per_atom(self, a: Atoms, b: Atoms) -> Float64Array:
        """Return the similarity of every atom of a with every atom of b, (n_atoms_a, n_atoms_b)."""
        kernel = self._fitted()
        first, second = describe_environments(self.descriptor_, as_structures([a, b]))
        return kernel.per_atom(first, second)

    def diag(self, X: Sequence[Atoms]) -> NDArray[np.float64]:
        """Return k(x, x) = 1."""
        return np.ones(len(X))

    def is_stationary(self) -> bool:
        """Return False: it is no function of a difference."""
        return False
