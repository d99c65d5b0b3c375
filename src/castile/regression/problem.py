"""What a sparse Gaussian process regression is made of: factors of labels, blocks of columns, noises."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.errors import FitError

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelFactor:
    """All labels of one kind, reduced: F^T F = [A | y]^T [A | y].

    Rows of A (unit-amplitude kernels) and y were divided by their relative noise s_i = sigma_i / sigma_kind
    before they were reduced.

    Arguments:
        kind: name ("energy", "force", "stress").
        factor: F, (k, n_columns + 1), any k; the last column belongs to the targets.
        n_rows: number of labels.
        log_relative_sigma_sum: sum_i log s_i, which the evidence needs.

    """

    kind: str
    factor: Float64Array
    n_rows: int
    log_relative_sigma_sum: float = 0.0


@dataclass(frozen=True)
class PriorBlock:
    """Columns of one term: prior w ~ N(0, amplitude^2 K_mm^-1), so that the function has amplitude^2 k.

    Arguments:
        name: name of the term, for messages.
        columns: slice of the columns; the slices of all blocks tile the columns in order.
        K_mm: (n, n) unit-amplitude kernel between the sparse points.
        amplitude: delta_t (eV for energies); None = start from the data (only with ``learn``).
        learn: whether the evidence may change the amplitude.

    """

    name: str
    columns: slice
    K_mm: Float64Array
    amplitude: float | None = None
    learn: bool = True


@dataclass(frozen=True)
class Noise:
    """Noise standard deviation of one kind of label, in its unit (eV, eV/A, eV/A^3).

    ``sigma`` None = start from the data (only with ``learn``); ``lower`` and ``upper`` bound what is learned.
    """

    kind: str
    sigma: float | None = None
    learn: bool = True
    lower: float = 0.0
    upper: float = np.inf


def check_problem(
    factors: Sequence[LabelFactor], blocks: Sequence[PriorBlock], noises: Sequence[Noise]
) -> int:
    """Number of columns of a consistent problem; raises FitError that names what does not fit."""
    if not factors:
        raise FitError("there are no labels to fit: give energies, forces or stresses")
    if not blocks:
        raise FitError("there is nothing to fit: the model has no term with sparse points")
    n_columns = 0
    for block in blocks:
        n_block = len(block.K_mm)
        if block.K_mm.shape != (n_block, n_block) or n_block == 0:
            raise FitError(f"term {block.name}: K_mm has shape {block.K_mm.shape}, expected a square matrix")
        if (block.columns.start, block.columns.stop) != (n_columns, n_columns + n_block):
            raise FitError(
                f"term {block.name}: columns {block.columns} do not follow column {n_columns} "
                f"with {n_block} sparse points"
            )
        _check_scale(f"amplitude of term {block.name}", block.amplitude, block.learn)
        n_columns += n_block
    if [noise.kind for noise in noises] != [factor.kind for factor in factors]:
        raise FitError(
            f"noises are given for {[noise.kind for noise in noises]} but labels are "
            f"{[factor.kind for factor in factors]}: give one noise per kind, in the same order"
        )
    for factor, noise in zip(factors, noises, strict=True):
        if factor.factor.ndim != 2 or factor.factor.shape[1] != n_columns + 1:
            raise FitError(
                f"{factor.kind} factor has shape {factor.factor.shape}, expected (k, {n_columns + 1}): "
                "use the same sparse points for all labels"
            )
        if factor.n_rows < 1:
            raise FitError(f"there are no {factor.kind} labels: leave this kind out")
        if not np.isfinite(factor.factor).all():
            raise FitError(f"{factor.kind} factor has numbers that are not finite: check the labels")
        _check_scale(f"noise of {factor.kind}", noise.sigma, noise.learn)
        if not 0.0 <= noise.lower < noise.upper:
            raise FitError(f"noise of {noise.kind}: bounds {noise.lower} and {noise.upper} are not in order")
    return n_columns


def _check_scale(what: str, value: float | None, learn: bool) -> None:
    if value is None and learn:
        return
    if value is None or not np.isfinite(value) or value <= 0.0:
        raise FitError(f"{what} is {value}: give a positive number, or let it be learned")
