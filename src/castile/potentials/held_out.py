"""Errors of a fit on its own training structures as if each had been left out, without fitting again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.potentials.calibration import VarianceParts
from castile.potentials.environment import Environment
from castile.potentials.exact_variance import TermColumns, prior_of, term_columns
from castile.potentials.soap_functionals import PriorVariances
from castile.potentials.training_rows import LabelRows, RowBuilder
from castile.regression import Posterior
from castile.structures.labels import LabelledStructure

Array = NDArray[np.float64]

LEAST_KEPT = 1e-8
"""Smallest eigenvalue of I - H: directions of the weights that only the block determines stay finite."""
ENERGY, FORCES, STRESS = "energy", "forces", "stress"


@dataclass(frozen=True)
class HeldOutLabels:
    """Errors on labels of one kind in one structure, and their raw variances in parts.

    Attributes
    ----------
    kind : "energy", "forces" or "stress"
    errors : ndarray, shape (n,)
        Predicted minus label, in the unit of the label.
    parts : VarianceParts of (n,)
    floor_scale : float
        Root of the number of atoms for energies, else 1.
    """

    kind: str
    errors: Array
    parts: VarianceParts
    floor_scale: float = 1.0


@dataclass(frozen=True)
class HeldOut:
    """Leaves blocks of training structures out of a posterior.

    Attributes
    ----------
    builder : RowBuilder
    posterior : Posterior
        Of all labels, those of the blocks among them.
    """

    builder: RowBuilder
    posterior: Posterior

    def __call__(self, block: Sequence[LabelledStructure]) -> list[HeldOutLabels]:
        r"""Return the held-out errors of a block of structures that are left out together.

        .. math::

            e_{-b} = (I - H)^{-1} e, \quad V_{-b} = (I - H)^{-1} H, \quad H = A_b (R^T R)^{-1} A_b^T

        with rows and errors divided by their noise: the same numbers as a fit without the block, with its
        sparse points, noise levels and amplitudes.

        Source: Rasmussen and Williams (2006), Eq. 5.12, for blocks and in weight space by the
        Sherman-Morrison-Woodbury formula.
        """
        entries = term_columns(self.builder.terms, self.posterior)
        labels: list[tuple[str, LabelRows, Array, float]] = []
        for structure in block:
            labels += self._labels(structure, entries)
        rows = np.vstack([label.rows for _, label, _, _ in labels])
        targets = np.concatenate([label.targets for _, label, _, _ in labels])
        sigmas = np.concatenate(
            [label.relative_sigmas * self._sigma(label.kind) for _, label, _, _ in labels]
        )
        priors = np.concatenate([prior for _, _, prior, _ in labels])
        residual = np.maximum(priors - self.posterior.explained_prior_variance(rows), 0.0)
        errors, variances = self._leave_out(rows, targets, sigmas)
        found, start = [], 0
        for kind, label, _, scale in labels:
            part = slice(start, start + len(label.targets))
            parts = VarianceParts(variances[part], residual[part], priors[part])
            found.append(HeldOutLabels(kind, errors[part], parts, scale))
            start = part.stop
        return found

    def _leave_out(self, rows: Array, targets: Array, sigmas: Array) -> tuple[Array, Array]:
        """Held-out errors and variances of labels."""
        scaled = rows / sigmas[:, None]
        kept, axes = np.linalg.eigh(np.eye(len(rows)) - self.posterior.covariance(scaled))
        kept = np.maximum(kept, LEAST_KEPT)
        misfits = axes.T @ ((self.posterior.mean(rows) - targets) / sigmas)
        variances = np.einsum("ij,j->i", axes**2, np.maximum(1.0 / kept - 1.0, 0.0))
        return sigmas * (axes @ (misfits / kept)), sigmas**2 * variances

    def _labels(
        self, structure: LabelledStructure, entries: tuple[TermColumns, ...]
    ) -> list[tuple[str, LabelRows, Array, float]]:
        """Rows of a structure with the kind of label, prior variances, and the scale of the floor."""
        environment = Environment.of(structure.atoms, self.builder.cutoff)
        prior = prior_of(entries, environment)
        found = []
        for kind, label in zip(self._kinds(structure, environment), self.builder(structure), strict=True):
            variances = _prior_variances(kind, prior, structure, environment)
            found.append((kind, label, variances, environment.n_atoms**0.5 if kind == ENERGY else 1.0))
        return found

    def _kinds(self, structure: LabelledStructure, environment: Environment) -> list[str]:
        """Kinds of label in the order in which the builder makes their rows."""
        settings = self.builder.settings
        kinds = []
        if settings.use_energies and structure.energy is not None:
            kinds.append(ENERGY)
        if settings.use_forces and structure.forces is not None:
            kinds.append(FORCES)
        if settings.use_stress and structure.stress is not None and environment.volume is not None:
            kinds.append(STRESS)
        return kinds

    def _sigma(self, kind: str) -> float:
        return dict(zip(self.posterior.kinds, self.posterior.sigmas, strict=True))[kind]


def _prior_variances(
    kind: str, prior: PriorVariances, structure: LabelledStructure, environment: Environment
) -> Array:
    if kind == ENERGY:
        return np.array([prior.energy])
    if kind == STRESS:
        return prior.virial / (environment.volume or 1.0) ** 2
    if structure.force_mask is not None and not structure.force_mask.all():
        return prior.forces[np.repeat(structure.force_mask, 3)]
    return prior.forces
