"""What a fitted GAP can say about its own errors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError
from castile.execution.threads import map_chunks
from castile.potentials.calculator import CastileCalculator
from castile.potentials.imported_uncertainty import ImportedUncertainty
from castile.potentials.prediction import EnergyDeviations, UncertainPrediction
from castile.potentials.sampled_potential import sampled_potentials
from castile.potentials.uncertainty import UncertaintyModel

DERIVED_SAMPLES = 16


@dataclass(frozen=True)
class DerivedValue:
    """A quantity computed with the model and with samples of it.

    Attributes
    ----------
    value : ndarray
        With the model itself (a scalar has shape ()).
    std : ndarray
        Root mean square difference of the samples from ``value``.
    samples : ndarray, shape (n_samples, ...)
    """

    value: NDArray[np.float64]
    std: NDArray[np.float64]
    samples: NDArray[np.float64]


class UncertaintyMethods:
    """Deviations of predictions and of whatever is computed from them."""

    threads: int | None

    @property
    def uncertainty(self) -> UncertaintyModel:
        """The model with the distribution of its weights."""
        raise NotImplementedError

    @property
    def deviation_source(self) -> UncertaintyModel | ImportedUncertainty:
        """What deviations of predictions come from: ``uncertainty``, or the prior of an imported model."""
        return self.uncertainty

    @property
    def has_uncertainty(self) -> bool:
        """Whether the model knows the distribution of its weights; imported ones do not."""
        try:
            return self.uncertainty is not None
        except InputError:
            return False

    def predict_with_uncertainty(
        self, atoms: Atoms, *, method: str = "committee", n_samples: int | None = None
    ) -> UncertainPrediction:
        """Return a prediction with standard deviations of energy, per-atom energies, forces and stress.

        Parameters
        ----------
        atoms : ase.Atoms
        method : "committee", "exact" or "auto"
            committee: from posterior samples, a few times the cost of a prediction; exact: a row of the
            design matrix for every number, for up to some hundred atoms; auto: exact up to 64 atoms.
        n_samples : int, optional
            Members of the committee with forces, default 8; their deviations have a relative error of
            1 / sqrt(2 n_samples).

        Raises
        ------
        InputError
            As :meth:`castile.GAP.predict` does, and for another method.

        For an imported model they are what its sparse points leave open of the prior, always exact;
        ``meaning`` says so.
        """
        if not isinstance(atoms, Atoms):
            raise InputError(
                f"predict_with_uncertainty needs one ase.Atoms, not {type(atoms).__name__}; "
                "predict_many_with_uncertainty takes several"
            )
        return self.deviation_source.predict(atoms, method, self.threads, n_samples=n_samples)

    def predict_with_energy_deviations(self, atoms: Atoms) -> EnergyDeviations:
        """Return a prediction with standard deviations of total and per-atom energies.

        At most as much again as :meth:`castile.GAP.predict`.
        """
        return self.uncertainty.energy_deviations(atoms, self.threads)

    def predict_many_with_uncertainty(
        self, structures: Iterable[Atoms], *, method: str = "auto", n_samples: int | None = None
    ) -> Iterator[UncertainPrediction]:
        """Yield predictions with deviations, computed by all threads; streams, so memory stays flat."""
        uncertainty = self.deviation_source

        def one(item: tuple[int, Atoms]) -> UncertainPrediction:
            """Predict a structure with its number."""
            return uncertainty.predict(item[1], method, 1, f"structure {item[0]}", n_samples)

        yield from map_chunks(one, enumerate(structures), self.threads)

    def energy_covariance(
        self, structures: Sequence[Atoms], *, calibrated: bool = True
    ) -> NDArray[np.float64]:
        """Return the covariance between the total energies of structures, (n, n), eV^2; exact.

        The variance of a difference sum_k c_k E_k, such as a formation energy or a barrier, is c^T C c.
        """
        return self.uncertainty.energy_covariance(structures, calibrated)

    def deviation_of(
        self,
        function: Callable[[CastileCalculator], ArrayLike],
        *,
        n_samples: int = DERIVED_SAMPLES,
        kind: str = "forces",
        seed: int = 0,
    ) -> DerivedValue:
        """Return the deviation of anything that is computed with the model, correlations included.

        Parameters
        ----------
        function : callable
            Takes an ASE calculator, returns a number or an array; called once with the model and once with
            each sample of it.
        n_samples : int
        kind : "energy", "forces" or "stress"
            Whose calibration the samples have.
        seed : int
        """
        uncertainty = self.uncertainty
        if kind not in ("energy", "forces", "stress"):
            raise InputError(f"kind = {kind!r}: give energy, forces or stress")
        models = sampled_potentials(
            uncertainty.model,
            uncertainty.terms,
            uncertainty.posterior,
            getattr(uncertainty.calibration, kind),
            n_samples,
            seed,
        )
        value = np.asarray(function(CastileCalculator(uncertainty.model, self.threads)), dtype=np.float64)
        samples = np.array([function(CastileCalculator(model, self.threads)) for model in models])
        return DerivedValue(value, np.sqrt(np.mean((samples - value) ** 2, axis=0)), samples)
