"""Errors of a fit on its own training structures as if each had been left out, without fitting again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.potentials.calibration import VarianceParts
from castile.potentials.environment import Environment
from castile.potentials.exact_variance import TermColumns, prior_of, term_columns
from castile.potentials.held_out_points import ReducedPosterior, own_columns
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
    config_type : str
        Of the structure.
    given : ndarray, shape (6,), or None
        The stress labels.
    """

    kind: str
    errors: Array
    parts: VarianceParts
    floor_scale: float = 1.0
    config_type: str = ""
    given: Array | None = None

    def chosen(self, which: slice) -> "HeldOutLabels":
        """Return some of the labels."""
        raw = self.parts
        parts = VarianceParts(raw.posterior[which], raw.residual[which], raw.prior[which])
        given = None if self.given is None else self.given[which]
        return replace(self, errors=self.errors[which], parts=parts, given=given)


@dataclass(frozen=True)
class _KnownLabels:
    """Labels of one kind in one structure as the fit has them; names as in ``HeldOutLabels``."""

    kind: str
    rows: LabelRows
    prior: Array
    floor_scale: float
    config_type: str
    given: Array | None


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

        with rows and errors divided by their noise, where R is that of the labels over the sparse points that
        are no environments of the block: the same numbers as a fit without the block and without its sparse
        points, with the noise levels and amplitudes of all.

        Source: Rasmussen and Williams (2006), Eq. 5.12, for blocks and in weight space by the
        Sherman-Morrison-Woodbury formula.
        """
        entries = term_columns(self.builder.terms, self.posterior)
        environments = (Environment.of(structure.atoms, self.builder.cutoff) for structure in block)
        reduced = ReducedPosterior(self.posterior, own_columns(self.builder.terms, environments))
        known = [label for structure in block for label in self._labels(structure, entries)]
        rows = np.vstack([label.rows.rows for label in known])
        targets = np.concatenate([label.rows.targets for label in known])
        sigmas = np.concatenate(
            [label.rows.relative_sigmas * self._sigma(label.rows.kind) for label in known]
        )
        priors = np.concatenate([label.prior for label in known])
        residual = np.maximum(priors - reduced.explained_prior_variance(rows), 0.0)
        errors, variances = _leave_out(reduced, rows, targets, sigmas)
        found, start = [], 0
        for label in known:
            part = slice(start, start + len(label.prior))
            parts = VarianceParts(variances[part], residual[part], priors[part])
            found.append(
                HeldOutLabels(
                    label.kind, errors[part], parts, label.floor_scale, label.config_type, label.given
                )
            )
            start = part.stop
        return found

    def _labels(self, structure: LabelledStructure, entries: tuple[TermColumns, ...]) -> list[_KnownLabels]:
        """Labels of a structure with rows and prior variances."""
        environment = Environment.of(structure.atoms, self.builder.cutoff)
        prior = prior_of(entries, environment)
        found = []
        for kind, label in zip(self._kinds(structure, environment), self.builder(structure), strict=True):
            variances = _prior_variances(kind, prior, structure, environment)
            scale = environment.n_atoms**0.5 if kind == ENERGY else 1.0
            given = np.asarray(structure.stress) if kind == STRESS else None
            found.append(_KnownLabels(kind, label, variances, scale, structure.config_type, given))
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


def _leave_out(reduced: ReducedPosterior, rows: Array, targets: Array, sigmas: Array) -> tuple[Array, Array]:
    """Held-out errors and variances of labels."""
    whitened, mean = reduced.whitened_and_mean(rows)
    whitened /= sigmas
    kept, axes = np.linalg.eigh(np.eye(len(rows)) - whitened.T @ whitened)
    kept = np.maximum(kept, LEAST_KEPT)
    misfits = axes.T @ ((mean - targets) / sigmas)
    variances = np.einsum("ij,j->i", axes**2, np.maximum(1.0 / kept - 1.0, 0.0))
    return sigmas * (axes @ (misfits / kept)), sigmas**2 * variances


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
