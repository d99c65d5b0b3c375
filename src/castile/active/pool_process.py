"""The Gaussian process whose variances guide a selection, as features: a model's posterior, or a prior."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from castile.errors import InputError
from castile.potentials.environment import Environment
from castile.potentials.pair_functionals import pair_atom_rows
from castile.potentials.soap_functionals import atom_rows, full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.potentials.training_rows import RowBuilder, Term
from castile.regression import Posterior, PriorBlock, PriorFactor, factor_prior
from castile.structures.labels import LabelledStructure

Array = NDArray[np.float64]

DEFAULT_NOISE = {"energy": 0.03, "forces": 0.1, "stress": 0.003}
"""Noise where no model says it: eV per root atom, eV/A, eV/A^3."""
KINDS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class ResidualBlock:
    """What the points of the pool add to a block of a term: the process that its sparse points leave open.

    g = f - E[f | f at the sparse points] is independent of the values at the sparse points, with covariance
    delta^2 (k - k_xm K_mm^-1 k_mx'). ``own`` are the block's columns among the model's, ``added`` those of
    the points of the pool; ``half`` is L^-1 K_mu with K_mm = L L^T, and ``lower`` the factor of
    K_uu - half^T half.
    """

    own: slice | None
    added: slice
    sparse_lower: Array
    half: Array
    lower: Array
    amplitude: float


@dataclass(frozen=True)
class LabelFeatures:
    """Features of what a calculation of a structure brings.

    Attributes
    ----------
    rows : ndarray, shape (n_labels, n_columns)
        Of all labels, in units of their noise.
    forces : ndarray, shape (3 n_atoms or 0, n_columns)
        Of the force components, eV/A.
    energy : ndarray, shape (1 or 0, n_columns)
        Of the energy per atom, eV.
    """

    rows: Array
    forces: Array
    energy: Array


@dataclass(frozen=True)
class PoolProcess:
    r"""A Gaussian process as features phi with covariance phi . phi', and the noise of labels.

    The model's part is R^-T a, its posterior covariance a^T (R^T R)^-1 a'. The residual part, which is the
    prior correction of the deterministic training conditional on the points of the pool, is
    delta L_u^-1 (a_u - K_um K_mm^-1 a).

    Parameters
    ----------
    builder : RowBuilder
        Makes rows over the sparse points of the model and then the points of the pool.
    elements : tuple of int
        Atomic numbers that the terms know.
    n_model : int
        Columns of the model.
    R : ndarray, shape (n_model, n_model), or None
        Of the model's posterior; None: the prior, ``priors`` and ``amplitudes``.
    residuals : tuple of ResidualBlock
    noise : mapping of kind of label to its noise
    kinds : tuple of str
        Kinds of label that a calculation brings.
    """

    builder: RowBuilder
    elements: tuple[int, ...]
    n_model: int
    R: Array | None
    priors: tuple[PriorFactor, ...]
    amplitudes: tuple[float, ...]
    residuals: tuple[ResidualBlock, ...]
    noise: dict[str, float]
    kinds: tuple[str, ...]

    @property
    def n_columns(self) -> int:
        """Number of features."""
        return self.builder.n_columns

    def features(self, rows: Array) -> Array:
        """Return phi (b, n_columns) of rows (b, n_columns) of unit-amplitude kernels."""
        result = np.empty_like(rows)
        own = rows[:, : self.n_model]
        if self.R is not None:
            result[:, : self.n_model] = solve_triangular(self.R, own.T, trans="T", check_finite=False).T
        else:
            for prior, amplitude in zip(self.priors, self.amplitudes, strict=True):
                half = solve_triangular(prior.lower, own[:, prior.columns].T, lower=True, check_finite=False)
                result[:, prior.columns] = amplitude * half.T
        for block in self.residuals:
            rest = rows[:, block.added].T
            if block.own is not None:
                known = solve_triangular(
                    block.sparse_lower, own[:, block.own].T, lower=True, check_finite=False
                )
                rest = rest - block.half.T @ known
            left = solve_triangular(block.lower, rest, lower=True, check_finite=False)
            result[:, block.added] = block.amplitude * left.T
        return result

    def label_features(self, structure: LabelledStructure) -> LabelFeatures:
        """Return the features of all labels that a calculation of a structure brings.

        Raises
        ------
        InputError
            If the structure holds an element that the process does not know.
        """
        self._check(structure)
        parts, plain = [], {}
        # labels come in the order of KINDS; the last, stress, is missing where there is no volume
        for kind, label in zip(self.kinds, self.builder(self._unlabelled(structure)), strict=False):
            phi = self.features(label.rows)
            sigmas = label.relative_sigmas * self.noise.get(label.kind, 1.0)
            parts.append(phi / sigmas[:, None])
            plain[kind] = phi
        nothing = np.empty((0, self.n_columns))
        energy = plain.get("energy", nothing) / len(structure.atoms)
        return LabelFeatures(np.concatenate([nothing, *parts]), plain.get("forces", nothing), energy)

    def atom_features(self, structure: LabelledStructure) -> Array:
        """Return the features of the energies of the atoms, eV, (n_atoms, n_columns); errors as above."""
        self._check(structure)
        environment = Environment.of(structure.atoms, self.builder.cutoff)
        rows = np.zeros((environment.n_atoms, self.n_columns))
        for term, columns in zip(self.builder.terms, self.builder.column_slices(), strict=True):
            if isinstance(term, SoapTerm):
                rows[:, columns] = atom_rows(term, full_spectra(term, environment))
            else:
                rows[:, columns] = pair_atom_rows(term, environment)
        return self.features(rows)

    def _check(self, structure: LabelledStructure) -> None:
        unknown = sorted(set(structure.atoms.numbers.tolist()) - set(self.elements))
        if unknown:
            symbols = ", ".join(chemical_symbols[z] for z in unknown)
            known = ", ".join(chemical_symbols[z] for z in self.elements)
            raise InputError(
                f"{structure.name}: holds {symbols}, but only {known} are known; give a model that was "
                "fitted to all elements, or, without one, a pool that has them all"
            )

    def _unlabelled(self, structure: LabelledStructure) -> LabelledStructure:
        """Return the structure with zeros for the labels that a calculation would bring."""
        n_atoms = len(structure.atoms)
        return replace(
            structure,
            energy=0.0 if "energy" in self.kinds else None,
            forces=np.zeros((n_atoms, 3)) if "forces" in self.kinds else None,
            stress=np.zeros(6) if "stress" in self.kinds else None,
            force_mask=None,
            energy_sigma=None,
            force_sigma=None,
            stress_sigma=None,
        )


def extended_process(
    builder: RowBuilder,
    elements: tuple[int, ...],
    priors: Sequence[PriorFactor],
    amplitudes: Sequence[float],
    R: Array | None,
    added: Sequence[SoapTerm],
    noise: dict[str, float],
    kinds: tuple[str, ...],
    default_amplitude: float = 1.0,
) -> PoolProcess:
    """Return the process of a model's terms and of SOAP terms that hold the points of the pool.

    Parameters
    ----------
    builder : RowBuilder
        Of the model's terms; without terms for a prior.
    priors, amplitudes
        Of the model's blocks.
    R : ndarray or None
        Of the model's posterior.
    added : sequence of SoapTerm
        Same names as the model's terms, with points of the pool as sparse points.
    default_amplitude : float
        eV, of blocks that the model does not have.
    """
    n_model = sum(term.n_columns for term in builder.terms)
    terms: tuple[Term, ...] = (*builder.terms, *added)
    whole = replace(builder, terms=terms)
    own = {prior.name: (prior, amplitude) for prior, amplitude in zip(priors, amplitudes, strict=True)}
    residuals = []
    for term, columns in zip(added, whole.column_slices()[len(builder.terms) :], strict=True):
        for name, part in term.blocks():
            if part.stop > part.start:
                span = slice(columns.start + part.start, columns.start + part.stop)
                original = next((t for t in builder.terms if t.name == term.name), None)
                residuals.append(
                    _residual(term, part, span, original, name, own.get(name), default_amplitude)
                )
    return PoolProcess(
        whole, elements, n_model, R, tuple(priors), tuple(amplitudes), tuple(residuals), noise, kinds
    )


def _residual(
    term: SoapTerm,
    part: slice,
    span: slice,
    original: Term | None,
    name: str,
    own: tuple[PriorFactor, float] | None,
    amplitude: float,
) -> ResidualBlock:
    points = term.sparse_points[part]
    K_uu = term.gram(part)
    if own is None or not isinstance(original, SoapTerm):
        lower = factor_prior(PriorBlock(name, slice(0, len(points)), K_uu), 1e-9).lower
        empty = np.zeros((0, 0))
        return ResidualBlock(None, span, empty, np.zeros((0, len(points))), lower, amplitude)
    prior, known_amplitude = own
    columns = dict(original.blocks())[name]
    cross = np.maximum(original.sparse_points[columns] @ points.T, 0.0) ** term.zeta
    half = solve_triangular(prior.lower, cross, lower=True, check_finite=False)
    rest = K_uu - half.T @ half
    rest[np.diag_indices_from(rest)] += 1e-9  # of the unit prior variance: rounding of the difference
    lower = factor_prior(PriorBlock(name, slice(0, len(points)), rest), 1e-9).lower
    return ResidualBlock(prior.columns, span, prior.lower, half, lower, known_amplitude)


def posterior_noise(posterior: Posterior) -> dict[str, float]:
    """Return the noise of each kind of label: the posterior's, else the default."""
    learned = dict(zip(posterior.kinds, posterior.sigmas, strict=True))
    return DEFAULT_NOISE | {kind: sigma for kind, sigma in learned.items() if kind in KINDS}
