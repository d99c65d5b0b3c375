"""Energies of atoms from unnormalised power spectra, for every variant and kernel of QUIP's ``soap``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from castile.potentials.covariance import ScalarKernel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VariantEnergy:
    r"""Kernel sum over a linear map of the spectrum, normalised after the map.

    .. math:: E(\mathbf p) = \sum_s w_s\, k(\hat{\mathbf x}, \mathbf x_s), \quad
              \hat{\mathbf x} = (M \mathbf p / |M \mathbf p|,\ \sigma_0)

    Parameters
    ----------
    map : sparse matrix, shape (n_kept, n_features)
        M.
    normalize : bool
    sigma0 : float
    kernel : ScalarKernel
    points : ndarray, shape (n_sparse, n_kept + 1)
    weights : ndarray, shape (n_sparse,)
    """

    map: csr_matrix
    normalize: bool
    sigma0: float
    kernel: ScalarKernel
    points: Array
    weights: Array

    def respond(self, features: NDArray[np.floating]) -> tuple[Array, NDArray[np.floating]]:
        """Return (energies (n_atoms,), dE/dp (n_atoms, n_features)) of full spectra (n_atoms, n_features)."""
        kept = np.asarray(self.map @ features.T).T
        norms = np.linalg.norm(kept, axis=1)[:, None] if self.normalize else np.ones((len(kept), 1))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
        x = np.empty((len(kept), kept.shape[1] + 1))
        x[:, :-1] = kept * inverse
        x[:, -1] = self.sigma0
        energies, gradient = self.kernel.weighted(x, self.points, self.weights)
        gradient = gradient[:, :-1]
        if self.normalize:
            along = np.sum(gradient * x[:, :-1], axis=1)[:, None]
            gradient = (gradient - along * x[:, :-1]) * inverse
        return energies, np.ascontiguousarray(np.asarray(self.map.T @ gradient.T).T)
