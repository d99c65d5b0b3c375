"""GAP: a Gaussian approximation potential from labelled structures, fitted in a stream."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import InputError, NotFittedError
from castile.execution.task_pool import Workers, open_task_pool
from castile.potentials.batch_prediction import predict_each
from castile.potentials.calculator import CastileCalculator
from castile.potentials.calibration import Calibration
from castile.potentials.fit import FitOutcome, fit_potential, refit_potential, update_potential
from castile.potentials.fit_report import FitReport
from castile.potentials.imported import ImportedModel
from castile.potentials.imported_uncertainty import ImportedUncertainty
from castile.potentials.model import PotentialModel, Precision
from castile.potentials.model_io import read_potential, write_potential
from castile.potentials.parameters import Parameters
from castile.potentials.plan import FitPlan
from castile.potentials.prediction import EnergyDeviations, Prediction
from castile.potentials.settings import (
    CompositionSettings,
    CoreSettings,
    FitSettings,
    SoapSettings,
    parse_settings,
    read_settings,
)
from castile.potentials.stages import Progress
from castile.potentials.uncertain_methods import UncertaintyMethods
from castile.potentials.uncertainty import UncertaintyModel
from castile.structures.readers import StructureSource, as_source

Structures = StructureSource | str | Path | Atoms | Iterable[Any]
_SOAP_ARGUMENTS = (
    "cutoff",
    "cutoff_width",
    "cutoff_function",
    "n_max",
    "l_max",
    "sigma",
    "zeta",
    "n_sparse",
    "radial_basis",
    "amplitude",
    "channels",
)


class GAP(UncertaintyMethods, Parameters):
    """Gaussian approximation potential: composition + core repulsion + pair terms + SOAP terms.

    E = sum_i e_0(Z_i) + sum_bonds ZBL(r) + sum_terms k(x) w, with the kernel delta^2 (p . p')^zeta of SOAP
    vectors p. Whatever is not given comes from the data; noise levels and amplitudes are those of the largest
    marginal likelihood.

    Parameters
    ----------
    settings : FitSettings, mapping or path of a TOML file, optional
        Complete control: any number of terms. The arguments below change it.
    cutoff, cutoff_width, sigma : float, optional
        Of the SOAP term, Angstrom.
    cutoff_function : "cosine" or "smooth", optional
    n_max, l_max : int, optional
        Sizes of the SOAP term.
    zeta : float, optional
        Exponent of its kernel.
    n_sparse : int, optional
        Its number of sparse points, all elements together.
    radial_basis : "gto" or "equispaced", optional
    amplitude : float, optional
        delta of the SOAP term, eV.
    channels : int or "elements", optional
        Density channels of the SOAP term.
    pair : bool
        Whether a pair term is added.
    core : bool
        Whether close atoms repel each other as screened nuclei (ZBL).
    composition : "auto", "isolated", "least_squares", "none" or mapping of symbol to eV
    energy_noise, force_noise, stress_noise : float, optional
        eV per root atom (the energy of n atoms has sigma sqrt(n)), eV/A, eV/A^3; learned if not given.
    selection : "farthest", "cur", "kmeans" or "random", optional
    seed : int, optional
    allow_missing : collection of "energy", "forces", "stress"
        Labels that some structures may lack.
    memory : float, optional
        Gigabytes that a fit may use.
    threads : int, optional
        Default: ``CASTILE_NUM_THREADS`` or all cores.
    workers : int or str, optional
        Where fits and :meth:`predict_many` run: None for this process, a number of processes, the address of
        a Dask scheduler, or a TOML file of a batch system, as for
        :func:`castile.execution.task_pool.open_task_pool`. The result does not depend on it.

    Attributes
    ----------
    model_ : PotentialModel
    settings_ : FitSettings
        Complete settings; a fit with them gives the same model.
    fit_report_ : FitReport

    Source: Bartok, Payne, Kondor, Csanyi, Phys. Rev. Lett. 104, 136403 (2010); Deringer et al., Chem. Rev.
    121, 10073 (2021).
    """

    def __init__(
        self,
        settings: FitSettings | Mapping[str, Any] | str | Path | None = None,
        *,
        cutoff: float | None = None,
        cutoff_width: float | None = None,
        cutoff_function: str | None = None,
        n_max: int | None = None,
        l_max: int | None = None,
        sigma: float | None = None,
        zeta: float | None = None,
        n_sparse: int | None = None,
        radial_basis: str | None = None,
        amplitude: float | None = None,
        channels: int | str | None = None,
        pair: bool = True,
        core: bool = True,
        composition: str | Mapping[str, float] = "auto",
        energy_noise: float | None = None,
        force_noise: float | None = None,
        stress_noise: float | None = None,
        selection: str | None = None,
        seed: int | None = None,
        allow_missing: Collection[str] = (),
        memory: float | None = None,
        threads: int | None = None,
        workers: Workers = None,
    ) -> None:
        self.settings = settings
        self.cutoff = cutoff
        self.cutoff_width = cutoff_width
        self.cutoff_function = cutoff_function
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.zeta = zeta
        self.n_sparse = n_sparse
        self.radial_basis = radial_basis
        self.amplitude = amplitude
        self.channels = channels
        self.pair = pair
        self.core = core
        self.composition = composition
        self.energy_noise = energy_noise
        self.force_noise = force_noise
        self.stress_noise = stress_noise
        self.selection = selection
        self.seed = seed
        self.allow_missing = allow_missing
        self.memory = memory
        self.threads = threads
        self.workers = workers

    def requested_settings(self) -> FitSettings:
        """Return the settings that the arguments ask for, with None for what comes from the data.

        Raises
        ------
        InputError
            Naming the argument, its value and what is allowed.
        """
        settings = self.settings
        if settings is None:
            settings = FitSettings()
        elif isinstance(settings, (str, Path)):
            settings = read_settings(settings)
        elif not isinstance(settings, FitSettings):
            settings = parse_settings(dict(settings), "settings")
        values = settings.model_dump()
        self._change_soap(values)
        if not self.pair:
            values["pair"] = ()
        if not self.core:
            values["core"] = CoreSettings(enabled=False).model_dump()
        if isinstance(self.composition, Mapping):
            values["composition"] = CompositionSettings.model_construct(
                method="given", energies=dict(self.composition)
            ).model_dump()
        elif self.composition != "auto":
            values["composition"]["method"] = self.composition
        noise = {"energy": self.energy_noise, "forces": self.force_noise, "stress": self.stress_noise}
        values["noise"].update({kind: sigma for kind, sigma in noise.items() if sigma is not None})
        chosen = {"selection": self.selection, "seed": self.seed}
        values.update({key: value for key, value in chosen.items() if value is not None})
        return parse_settings(values, "GAP")

    def _change_soap(self, values: dict[str, Any]) -> None:
        changes = {name: getattr(self, name) for name in _SOAP_ARGUMENTS if getattr(self, name) is not None}
        if not changes:
            return
        if values["soap"] == "auto":
            values["soap"] = (SoapSettings().model_dump() | changes,)
        elif len(values["soap"]) == 1:
            values["soap"] = (dict(values["soap"][0]) | changes,)
        else:
            raise InputError(
                f"{', '.join(changes)} cannot be given as an argument when the settings have "
                f"{len(values['soap'])} SOAP terms; set it in each [[soap]] table"
            )

    def fit(
        self,
        structures: Structures,
        y: Any = None,
        *,
        progress: Progress | None = None,
        on_plan: Callable[[FitPlan], None] | None = None,
    ) -> "GAP":
        """Fit to labelled structures.

        Parameters
        ----------
        structures : paths, globs, ase.Atoms, or a list of them
            With energies, forces or stresses in any mix.
        progress : callable, optional
            Called with (stage, fraction done).
        on_plan : callable, optional
            Called once before the work starts, with census, complete settings and the estimate of the memory.

        Raises
        ------
        InputError
            For bad structures, labels or settings; the structure, the value and the remedy are named.
        FitError
            If the labels do not determine a model.
        """
        outcome = fit_potential(
            as_source(structures),
            self.requested_settings(),
            allow_missing=_kinds(self.allow_missing),
            memory=self.memory,
            threads=self.threads,
            workers=self.workers,
            progress=progress,
            on_plan=on_plan,
        )
        return self._take(outcome)

    def update(
        self,
        structures: Structures,
        *,
        relearn: bool = False,
        allow_missing: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> "GAP":
        """Add labelled structures to a fitted model, without the old ones.

        The sparse points stay; noise levels and amplitudes too, unless ``relearn``. Same as :meth:`refit` on
        all structures.

        Parameters
        ----------
        structures : paths, globs, ase.Atoms, or a list of them
        relearn : bool
            Whether the evidence of all labels together chooses noise levels and amplitudes again.
        allow_missing : collection of "energy", "forces", "stress", optional
            Labels that some of the new structures may lack. Default: the argument of this GAP, so none after
            :func:`castile.load`.
        progress : callable, optional
            Called with (stage, fraction done).

        Raises
        ------
        InputError
            If the new structures hold an element that the model does not know, or some lack a label.
        """
        outcome = update_potential(
            self._outcome("an update"),
            as_source(structures),
            relearn,
            _kinds(self.allow_missing if allow_missing is None else allow_missing),
            self.threads,
            self.workers,
            progress,
        )
        return self._take(outcome)

    def refit(
        self, structures: Structures, *, relearn: bool = False, progress: Progress | None = None
    ) -> "GAP":
        """Fit again to other structures with the sparse points, composition and core of this model."""
        outcome = refit_potential(
            self._outcome("a refit"),
            as_source(structures),
            relearn,
            _kinds(self.allow_missing),
            self.threads,
            self.workers,
            progress,
        )
        return self._take(outcome)

    def predict(self, atoms: Atoms) -> Prediction:
        """Return energy (eV), per-atom energies (eV), forces (eV/A) and stress (eV/A^3) of a structure."""
        if not isinstance(atoms, Atoms):
            raise InputError(
                f"predict needs one ase.Atoms, not {type(atoms).__name__}; predict_many takes several"
            )
        return self.fitted_model.predict(atoms, self.threads)

    def predict_many(self, structures: Iterable[Atoms]) -> Iterator[Prediction]:
        """Yield the prediction of each structure, computed by all threads or ``workers``, in order.

        Streams, so memory stays flat.
        """
        with open_task_pool(self.workers) as pool:
            yield from predict_each(self.fitted_model, structures, pool, self.threads)

    def calculator(
        self, *, uncertainty: bool = False, method: str = "committee", n_samples: int | None = None
    ) -> CastileCalculator:
        """Return an ASE calculator: energy, free_energy, energies, forces, stress.

        With ``uncertainty`` its results hold the deviations of :meth:`predict_with_uncertainty` too.
        """
        if not uncertainty:
            return CastileCalculator(self.fitted_model, self.threads)
        return CastileCalculator(self.fitted_model, self.threads, self.deviation_source, method, n_samples)

    @property
    def uncertainty(self) -> UncertaintyModel:
        """The model with the distribution of its weights; raises as ``fit_report`` does."""
        known: UncertaintyModel | None = getattr(self, "_uncertainty", None)
        calibration = getattr(self._content(), "calibration", None)
        if known is None or known.model is not self.fitted_model or known.calibration is not calibration:
            outcome = self._outcome(
                "a posterior distribution (predict_with_uncertainty gives what the prior leaves open)"
            )
            known = UncertaintyModel(outcome.model, outcome.posterior, outcome.calibration)
            self._uncertainty = known
        return known

    @property
    def deviation_source(self) -> UncertaintyModel | ImportedUncertainty:
        """What deviations of predictions come from; for an imported model the prior that is left open."""
        content = self._content()
        return ImportedUncertainty(content.model) if isinstance(content, ImportedModel) else self.uncertainty

    def predict_with_energy_deviations(self, atoms: Atoms) -> EnergyDeviations:
        """Return a prediction with standard deviations of total and per-atom energies.

        It costs at most as much again as :meth:`predict`. For an imported model they are the prior variance
        that its sparse points leave open, as ``meaning`` says.
        """
        return self.deviation_source.energy_deviations(atoms, self.threads)

    @property
    def training_fingerprints(self) -> NDArray[np.uint8]:
        """Hashes of the geometries that the model was trained on, (n_structures, 16)."""
        return self._outcome("a list of training structures").fingerprints

    def set_calibration(self, calibration: Calibration) -> "GAP":
        """Scale all deviations by ``calibration`` from now on, also in files."""
        return self._take(replace(self._outcome("a calibration"), calibration=calibration))

    def save(self, path: str | Path) -> None:
        """Write the model to one ``.castile`` file."""
        write_potential(path, self._content())

    @property
    def fitted_model(self) -> PotentialModel:
        """The model; raises NotFittedError before ``fit``."""
        return self._content().model

    @property
    def fit_report(self) -> FitReport:
        """What the fit did; raises NotFittedError before ``fit``, InputError for an imported model."""
        return self._outcome("a report of the fit").report

    def _content(self) -> FitOutcome | ImportedModel:
        outcome: FitOutcome | ImportedModel | None = getattr(self, "outcome_", None)
        if outcome is None:
            raise NotFittedError("this GAP is not fitted; call fit(structures) or castile.load(path)")
        return outcome

    def _outcome(self, wanted: str) -> FitOutcome:
        outcome = self._content()
        if isinstance(outcome, ImportedModel):
            raise InputError(outcome.refusal(wanted))
        return outcome

    def _take(self, outcome: FitOutcome | ImportedModel) -> "GAP":
        self.outcome_ = outcome
        self.model_ = outcome.model
        if not isinstance(outcome, ImportedModel):
            self.settings_ = outcome.settings
            self.fit_report_ = outcome.report
        return self


def _kinds(allow_missing: Collection[str]) -> tuple[str, ...]:
    """Kinds of label as a tuple; a single one may stand alone."""
    return (allow_missing,) if isinstance(allow_missing, str) else tuple(allow_missing)


def loaded_gap(
    outcome: FitOutcome | ImportedModel, threads: int | None = None, workers: Workers = None
) -> GAP:
    """Return the GAP of a fitted or imported model."""
    settings = None if isinstance(outcome, ImportedModel) else outcome.settings
    return GAP(settings=settings, threads=threads, workers=workers)._take(outcome)


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    workers: Workers = None,
    verify: bool = True,
    precision: Precision = "double",
) -> GAP:
    """Return the model of a ``.castile`` file.

    Parameters
    ----------
    path : path
    threads : int, optional
        Of predictions.
    workers : int or str, optional
        Of :meth:`GAP.predict_many` and updates, as for :class:`GAP`.
    verify : bool
        Predict a stored reference structure and compare.
    precision : "double" or "single"
        Of the products between SOAP vectors and sparse points; ``docs/performance.md`` has error and gain.

    Raises
    ------
    InputError
        For another precision.
    ModelFileError
        If the file is truncated, edited, newer than this version, no model, or predicts other numbers than
        when it was written.
    """
    outcome = read_potential(path, verify)
    return loaded_gap(replace(outcome, model=outcome.model.in_precision(precision)), threads, workers)


__all__ = ["GAP", "load", "loaded_gap"]
