"""A property of structures, learned by a Gaussian process on a descriptor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from castile.descriptors.base import as_structures
from castile.errors import InputError, NotFittedError
from castile.properties.covariance import KernelName
from castile.properties.descriptor import Float64Array, StructureDescriptor
from castile.properties.inputs import Inputs, Scope, describe
from castile.properties.learning import MOST_SPARSE, LearningSettings, Solver, learn_process
from castile.properties.process import Process

_BLOCK = 1024
_REFERENCES = 3


@dataclass(frozen=True)
class TrainingSummary:
    """What is known of a fit.

    Attributes
    ----------
    n_structures : int
    kernel : str
    theta : float
        Length scale, or exponent of the dot product.
    noise : float
        Standard deviation of the noise, in the unit of the target.
    loo_mae, loo_rmse : float
        Leave-one-out errors, in the unit of the target.
    fit_cpu_s : float
        Processor seconds of the fit, without the descriptor.
    """

    n_structures: int
    kernel: str
    theta: float
    noise: float
    loo_mae: float
    loo_rmse: float
    fit_cpu_s: float


class PropertyModel:
    r"""Gaussian process regression of a number per structure.

    .. math::

        y_A = \bar y + f_A + \epsilon, \qquad
        \operatorname{cov}(f_A, f_B) = a^2 \bigl[\kappa(\mathbf x_A, \mathbf x_B)
            + r^2\, \mathbf c_A \cdot \mathbf c_B\bigr]

    with features x, mole fractions c (and a constant), and a radial or dot-product kernel; length or
    exponent, r, a and the noise are learned by the evidence. For targets that are sums over atoms ("atoms")
    :math:`\kappa = \sum_{i \in A} \sum_{j \in B} \kappa(\mathbf x_i, \mathbf x_j)` and c counts atoms.

    Parameters
    ----------
    descriptor : StructureDescriptor
        Fitted with the model.
    scope : "structure" or "atoms"
        A property of the structure as a whole, or a sum over its atoms such as a total energy.
    kernel : "auto", "rbf", "matern" or "dot"
        "auto" takes the best by evidence of rbf and matern, for SOAP also dot.
    target, unit : str
        Name of the property and its unit, for messages, tables and the model file.
    solver : "auto", "exact" or "sparse"
        Cholesky of all targets up to 5000 structures, a span of ``n_sparse`` rows beyond and for sums.
    n_sparse : int
        Rows of the span.
    seed : int

    Attributes
    ----------
    process_ : Process
    summary_ : TrainingSummary

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 2 and 5; Bartok
    et al., Phys. Rev. Lett. 104, 136403 (2010), for sums over atoms.
    """

    def __init__(
        self,
        descriptor: StructureDescriptor,
        *,
        scope: Scope = "structure",
        kernel: KernelName | str = "auto",
        target: str = "target",
        unit: str = "",
        solver: Solver = "auto",
        n_sparse: int = MOST_SPARSE,
        seed: int = 0,
    ) -> None:
        self.descriptor = descriptor
        self.scope = scope
        self.kernel = kernel
        self.target = target
        self.unit = unit
        self.solver = solver
        self.n_sparse = n_sparse
        self.seed = seed

    def fit(self, structures: Atoms | Iterable[Atoms], y: ArrayLike) -> PropertyModel:
        """Fit descriptor and process.

        Parameters
        ----------
        structures : iterable of ase.Atoms
        y : array, shape (n_structures,)
            In ``unit``; a total over the atoms with ``scope="atoms"``.

        Raises
        ------
        InputError
            For structures, targets or options that cannot be used; the structure is named.
        """
        listed = as_structures(structures)
        targets = np.asarray(y, dtype=np.float64)
        if targets.shape != (len(listed),):
            raise InputError(
                f"y has shape {targets.shape} for {len(listed)} structures; give one number for each"
            )
        bad = np.flatnonzero(~np.isfinite(targets))
        if bad.size:
            raise InputError(f"y of structure {bad[0]} is {targets[bad[0]]}; leave it out or recalculate it")
        if self.scope not in ("structure", "atoms"):
            raise InputError(f"scope = {self.scope!r}: give 'structure' or 'atoms'")
        settings = self.learning_settings()
        self.descriptor.fit(listed)
        inputs = describe(self.descriptor, listed, self.scope)
        start = time.process_time()
        self._adopt(learn_process(inputs, targets, settings), len(listed), time.process_time() - start)
        self.references_ = [
            atoms.copy() for atoms in listed[:: max(1, len(listed) // _REFERENCES)][:_REFERENCES]
        ]
        return self

    def learning_settings(self) -> LearningSettings:
        """Return how the process is learned, with the kernels that "auto" stands for."""
        kernels: Sequence[KernelName] = (self.kernel,)  # type: ignore[assignment]
        if self.kernel == "auto":
            kernels = default_kernels(self.descriptor)
        return LearningSettings(kernels, self.descriptor.scaling, self.solver, self.n_sparse, self.seed)

    def _adopt(self, process: Process, n_structures: int, seconds: float) -> None:
        """Keep a process, its leave-one-out errors and what follows from them."""
        residuals, variances = process.leave_one_out()
        self.process_ = process
        self.ratios_ = np.sort(np.abs(residuals) / np.sqrt(np.maximum(variances, 1e-300)))
        self.summary_ = TrainingSummary(
            n_structures,
            process.basis.kernel,
            float(np.exp(process.basis.parameters.theta)),
            process.noise_deviation,
            float(np.abs(residuals).mean()),
            float(np.sqrt(np.mean(residuals**2))),
            seconds,
        )

    def predict(
        self, structures: Atoms | Iterable[Atoms], *, noise: bool = True
    ) -> tuple[Float64Array, Float64Array]:
        """Return mean and standard deviation of the property, (n_structures,) each, in ``unit``.

        Parameters
        ----------
        structures : iterable of ase.Atoms
            Described in blocks; memory does not grow with their number.
        noise : bool
            Whether the deviation is that of a new label, or of the value below its noise.

        Raises
        ------
        InputError
            For a structure that cannot be described; it is named by its index.
        """
        self._require_fit()
        means, deviations = [np.empty(0)], [np.empty(0)]
        listed = as_structures(structures)
        for start in range(0, len(listed), _BLOCK):
            try:
                inputs = describe(self.descriptor, listed[start : start + _BLOCK], self.scope)
            except InputError as error:
                raise _shifted(error, start, listed) from error
            mean, deviation = self.predict_inputs(inputs, noise=noise)
            means.append(mean)
            deviations.append(deviation)
        return np.concatenate(means), np.concatenate(deviations)

    def predict_inputs(self, inputs: Inputs, *, noise: bool = True) -> tuple[Float64Array, Float64Array]:
        """Return mean and standard deviation for structures that are described already."""
        self._require_fit()
        mean, variance = self.process_.predict(inputs)
        if noise:
            variance = variance + self.process_.noise_deviation**2
        return mean, np.sqrt(variance)

    def predict_interval(
        self, structures: Atoms | Iterable[Atoms], coverage: float = 0.9
    ) -> tuple[Float64Array, Float64Array]:
        """Return lower and upper ends of an interval for a new label, (n_structures,) each, in ``unit``.

        The deviation is multiplied by :meth:`interval_factor`.
        """
        mean, deviation = self.predict(structures)
        reach = self.interval_factor(coverage) * deviation
        return mean - reach, mean + reach

    def interval_factor(self, coverage: float) -> float:
        """Return how many standard deviations hold ``coverage`` of the leave-one-out residuals.

        The quantile of rank ceil((n + 1) coverage), which covers new structures of the same kind at least so
        often. Source: Vovk et al., Algorithmic Learning in a Random World (2005), Sec. 2.2.

        Raises
        ------
        InputError
            If ``coverage`` is not between 0 and 1.
        """
        self._require_fit()
        if not 0.0 < coverage < 1.0:
            raise InputError(f"coverage = {coverage}: give a share between 0 and 1, such as 0.9")
        rank = min(int(np.ceil((len(self.ratios_) + 1) * coverage)), len(self.ratios_))
        return float(self.ratios_[rank - 1])

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the model to a ``.castile`` file; return the SHA-256 of its content.

        Raises
        ------
        ModelFileError
            If the file cannot be written.
        """
        from castile.properties.model_io import save_property_model  # the reader below builds models

        self._require_fit()
        return save_property_model(self, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], descriptor: StructureDescriptor | None = None
    ) -> PropertyModel:
        """Read a model; its reference predictions are verified.

        Parameters
        ----------
        path : path
        descriptor : StructureDescriptor, optional
            Needed where the model was made with a descriptor of another package: no file can name code that
            is to be run.

        Raises
        ------
        ModelFileError
            If the file is damaged, of another kind, or predicts something else than when it was written.
        """
        from castile.properties.model_io import load_property_model

        return load_property_model(path, descriptor)

    def _require_fit(self) -> None:
        if not hasattr(self, "process_"):
            raise NotFittedError(
                "this PropertyModel is not fitted; call fit(structures, y) or load(path) first"
            )


def default_kernels(descriptor: StructureDescriptor) -> tuple[KernelName, ...]:
    """Return the kernels that "auto" chooses from."""
    return ("dot", "matern") if descriptor.kind == "soap" else ("rbf", "matern")


def _shifted(error: InputError, start: int, listed: Sequence[Atoms]) -> InputError:
    """The error with the index of the structure among all of them."""
    words = str(error).split(" ", 2)
    if start and len(words) == 3 and words[0] == "structure":
        digits = words[1].rstrip(":")
        if digits.isdigit():
            tail = words[1][len(digits) :]
            return InputError(f"structure {int(digits) + start}{tail} {words[2]}")
    return error
