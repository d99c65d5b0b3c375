"""Errors of a fit on its own training structures as if each had been left out, without fitting again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf

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
SAFE = 1e-5
"""Squared pivots of I - H above this make its Cholesky factor good enough."""
MOST_ATOMS = 10
"""Atoms of a structure whose forces are compared with their deviations: forces in a structure are alike."""
STRESS_EVERY = 3
"""Of structures with more atoms than that, one in so many has its stress compared."""
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
        A prior variance of 0 says that the label is not to be compared with them.
    floor_scale : float
        Root of the number of atoms for energies, else 1.
    config_type : str
        Of the structure.
    given : ndarray, shape (6,), or None
        The stress labels.
    structure : int
        Number of the structure among those that are held out.
    """

    kind: str
    errors: Array
    parts: VarianceParts
    floor_scale: float = 1.0
    config_type: str = ""
    given: Array | None = None
    structure: int = 0

    def chosen(self, which: slice | NDArray[np.bool_]) -> "HeldOutLabels":
        """Return some of the labels."""
        given = None if self.given is None else self.given[which]
        return replace(self, errors=self.errors[which], parts=self.parts.chosen(which), given=given)


@dataclass(frozen=True)
class _KnownLabels:
    """Labels of one kind in one structure as the fit has them; names as in ``HeldOutLabels``.

    ``compared`` (n,) are those that are held against their deviations.
    """

    kind: str
    rows: LabelRows
    prior: Array
    compared: NDArray[np.bool_]
    floor_scale: float
    config_type: str
    given: Array | None
    structure: int = 0

    def held_out(self, errors: Array, parts: VarianceParts) -> HeldOutLabels:
        """Return the labels that are compared with their held-out errors."""
        return HeldOutLabels(
            self.kind, errors, parts, self.floor_scale, self.config_type, self.given, self.structure
        )


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

    def __call__(
        self, block: Sequence[LabelledStructure], numbers: Sequence[int] | None = None
    ) -> list[HeldOutLabels]:
        r"""Return the held-out errors of a block of structures that are left out together.

        All labels of the block are left out. With ``numbers`` of the structures, which are the seeds, only
        some are compared in structures of more than ten atoms: the forces on ten random atoms, and the
        stress if the number is a multiple of three.

        .. math::

            e_{-b} = (I - H)^{-1} e, \quad V_{-b} = (I - H)^{-1} H, \quad H = A_b (R^T R)^{-1} A_b^T

        with rows and errors divided by their noise, where R is that of the labels over the sparse points that
        are no environments of the block: the same numbers as a fit without the block and without its sparse
        points, with the noise levels and amplitudes of all.

        Source: Rasmussen and Williams (2006), Eq. 5.12, for blocks and in weight space by the
        Sherman-Morrison-Woodbury formula.
        """
        entries = term_columns(self.builder.terms, self.posterior)
        environments = [Environment.of(structure.atoms, self.builder.cutoff) for structure in block]
        reduced = ReducedPosterior(self.posterior, own_columns(self.builder.terms, environments))
        seeds = [None] * len(block) if numbers is None else numbers
        known = [
            replace(label, structure=k)
            for k, parts in enumerate(zip(block, environments, seeds, strict=True))
            for label in self._labels(*parts, entries)
        ]
        if not known:
            return []
        rows = np.vstack([label.rows.rows for label in known])
        targets = np.concatenate([label.rows.targets for label in known])
        sigmas = np.concatenate(
            [label.rows.relative_sigmas * self._sigma(label.rows.kind) for label in known]
        )
        priors = np.concatenate([label.prior for label in known])
        compared = np.concatenate([label.compared for label in known])
        residual = np.zeros(len(rows))
        explained = reduced.explained_prior_variance(rows[compared])
        residual[compared] = np.maximum(priors[compared] - explained, 0.0)
        errors, variances = _leave_out(reduced, rows, targets, sigmas)
        found, start = [], 0
        for label in known:
            part = np.arange(start, start + len(label.prior))
            start += len(part)
            if label.kind == FORCES:
                part = part[label.compared]
            if len(part):
                parts = VarianceParts(variances[part], residual[part], priors[part])
                found.append(label.held_out(errors[part], parts))
        return found

    def _labels(
        self,
        structure: LabelledStructure,
        environment: Environment,
        number: int | None,
        entries: tuple[TermColumns, ...],
    ) -> list[_KnownLabels]:
        """Labels of a structure with rows and prior variances."""
        n_atoms = environment.n_atoms
        kinds, atoms, with_stress = self._kinds(structure, environment), np.arange(n_atoms), True
        if number is not None and n_atoms > MOST_ATOMS:
            atoms = np.sort(np.random.default_rng(number).permutation(n_atoms)[:MOST_ATOMS])
            with_stress = number % STRESS_EVERY == 0
        prior = prior_of(entries, environment, atoms, with_stress and STRESS in kinds)
        moved = np.zeros(n_atoms, dtype=bool)
        moved[atoms] = True
        found = []
        labels = [label for label in self.builder(structure) if len(label.targets)]
        for kind, label in zip(kinds, labels, strict=True):
            variances = _prior_variances(kind, prior, structure, environment)
            compared = np.full(len(variances), kind != STRESS or with_stress)
            if kind == FORCES:
                compared = np.repeat(
                    moved if structure.force_mask is None else moved[structure.force_mask], 3
                )
            variances = np.where(compared, variances, 0.0)
            scale = n_atoms**0.5 if kind == ENERGY else 1.0
            given = np.asarray(structure.stress) if kind == STRESS else None
            found.append(_KnownLabels(kind, label, variances, compared, scale, structure.config_type, given))
        return found

    def _kinds(self, structure: LabelledStructure, environment: Environment) -> list[str]:
        """Kinds of label in the order in which the builder makes their rows, without those that have none."""
        settings = self.builder.settings
        kinds = []
        if settings.use_energies and structure.energy is not None:
            kinds.append(ENERGY)
        mask = structure.force_mask
        if settings.use_forces and structure.forces is not None and (mask is None or mask.any()):
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
    kept = np.eye(len(rows)) - whitened.T @ whitened
    misfits = (mean - targets) / sigmas
    triangle, failed = dpotrf(kept, lower=1, clean=1)
    if failed == 0 and np.min(np.diag(triangle)) ** 2 > SAFE:
        half = solve_triangular(triangle, np.eye(len(rows)), lower=True, check_finite=False)
        variances, errors = np.einsum("ij,ij->j", half, half), half.T @ (half @ misfits)
    else:
        values, axes = np.linalg.eigh(kept)
        inverse = 1.0 / np.maximum(values, LEAST_KEPT)
        variances, errors = axes**2 @ inverse, axes @ ((axes.T @ misfits) * inverse)
    return sigmas * errors, sigmas**2 * np.maximum(variances - 1.0, 0.0)


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
