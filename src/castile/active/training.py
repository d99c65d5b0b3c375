"""Versions of the model of a campaign: the first fit, updates, new fits with more sparse points."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from castile.active.campaign_files import write_durable
from castile.active.campaign_settings import RefitSettings
from castile.active.surprises import Surprise, calibrate
from castile.active.surrogate import Surrogate
from castile.errors import CastileError, InputError
from castile.potentials.calibration import RAW, KindCalibration
from castile.potentials.gap import GAP, load
from castile.potentials.settings import FitSettings

MAY_BE_MISSING = ("energy", "forces", "stress")
FOLDS = 3
KEPT_MODELS = 3


@dataclass(frozen=True)
class Version:
    """One version of the model.

    Attributes
    ----------
    number : int
    ids : tuple of int
        Calculations that it was trained on.
    kind : "fit", "update" or "relearn"
        New sparse points (and elements) and hyper-parameters; more labels only; hyper-parameters too.
    at_fit : int
        Number of labels at the last fit.
    updates : int
        Since noise and amplitudes were learned.
    calibration : KindCalibration
        Of the force deviations.
    n_sparse : int
    seconds : float
        What it took.
    surprises : tuple of Surprise
        The new labels against the version before, but for those of elements that it did not know.
    """

    number: int
    ids: tuple[int, ...]
    kind: str
    at_fit: int
    updates: int
    calibration: KindCalibration
    n_sparse: int
    seconds: float
    surprises: tuple[Surprise, ...]


class ModelHistory:
    """The versions of a model in a folder; each is there completely or not at all.

    Parameters
    ----------
    folder : Path
    current : Path
        Always the newest model.
    settings : FitSettings
    refit : RefitSettings
    threads : int, optional
    """

    def __init__(
        self, folder: Path, current: Path, settings: FitSettings, refit: RefitSettings, threads: int | None
    ) -> None:
        self._folder, self._current = folder, current
        self._settings, self._refit, self._threads = settings, refit, threads
        self.versions = read_versions(folder)
        self._surrogate: Surrogate | None = None
        if self.versions:
            self._publish(self.versions[-1].number)

    @property
    def surrogate(self) -> Surrogate:
        """The newest version; raises InputError while there is none."""
        if self._surrogate is None:
            if not self.versions:
                raise InputError(f"{self._folder}: there is no model yet")
            last = self.versions[-1]
            gap = load(self._path(last.number), threads=self._threads, verify=False)
            self._surrogate = Surrogate(gap, last.calibration, last.number)
        return self._surrogate

    @property
    def trained(self) -> frozenset[int]:
        """Calculations that the newest version was trained on."""
        return frozenset(self.versions[-1].ids) if self.versions else frozenset()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:04d}.castile"

    def learn(
        self,
        new: Sequence[Atoms],
        all_labels: Callable[[], list[Atoms]],
    ) -> Version:
        """Make the next version.

        Parameters
        ----------
        new : list of Atoms
            Labels that the newest version has not learned; ``info["calculation_id"]`` names them.
        all_labels : callable
            Returns all labels, for a new fit.
        """
        started = time.perf_counter()
        if not self.versions:
            gap, surprises = self._first(new)
            known: tuple[int, ...] = ()
            kind, at_fit, updates = "fit", len(new), 0
        else:
            last = self.versions[-1]
            known_elements = [atoms for atoms in new if self.surrogate.knows_elements(atoms)]
            surprises = [self.surrogate.surprise_of(atoms) for atoms in known_elements]
            known, at_fit, updates = last.ids, last.at_fit, last.updates + 1
            kind = self._kind(last, len(new)) if len(known_elements) == len(new) else "fit"
            if kind == "fit":
                labels = all_labels()
                gap, at_fit, updates = self._fit(labels), len(labels), 0
            else:
                gap = self.surrogate.gap
                gap.update(new, relearn=kind == "relearn", allow_missing=MAY_BE_MISSING)
                updates = 0 if kind == "relearn" else updates
        ids = tuple(sorted({*known, *(int(atoms.info["calculation_id"]) for atoms in new)}))
        history = [s for version in self.versions for s in version.surprises] + list(surprises)
        version = Version(
            number=len(self.versions) + 1,
            ids=ids,
            kind=kind,
            at_fit=at_fit,
            updates=updates,
            calibration=calibrate(history),
            n_sparse=gap.fit_report.n_sparse,
            seconds=time.perf_counter() - started,
            surprises=tuple(surprises),
        )
        self._keep(gap, version)
        return version

    def _kind(self, last: Version, n_new: int) -> str:
        if len(last.ids) + n_new >= self._refit.growth * last.at_fit:
            return "fit"
        return "relearn" if last.updates + 1 >= self._refit.relearn_every else "update"

    def _fit(self, labels: Sequence[Atoms], settings: FitSettings | None = None) -> GAP:
        gap = GAP(settings or self._settings, allow_missing=MAY_BE_MISSING, threads=self._threads)
        return gap.fit(list(labels))

    def _first(self, labels: Sequence[Atoms]) -> tuple[GAP, list[Surprise]]:
        """Fit, and compare each of three parts of the labels with a fit to the other two."""
        gap = self._fit(labels)
        surprises: list[Surprise] = []
        plain = self._settings.model_copy(update={"calibrate": False})  # raw variances are compared
        if len(labels) >= FOLDS:
            for fold in range(FOLDS):
                rest = [atoms for k, atoms in enumerate(labels) if k % FOLDS != fold]
                try:
                    partial = Surrogate(self._fit(rest, plain), RAW.forces, 0)
                    surprises += [partial.surprise_of(atoms) for atoms in labels[fold::FOLDS]]
                except CastileError:
                    continue  # the rest lacks an element, or is too little for a fit
        return gap, surprises

    def _keep(self, gap: GAP, version: Version) -> None:
        """Write the model, then the note that makes it valid."""
        path = self._path(version.number)
        partial = path.with_name(f".{path.name}.tmp.castile")
        gap.save(partial)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
        note = json.dumps(asdict(version)) + "\n"
        write_durable(path.with_suffix(".json"), note.encode())
        self.versions = (*self.versions, version)
        self._surrogate = Surrogate(gap, version.calibration, version.number)
        self._publish(version.number)
        for number in range(1, version.number - KEPT_MODELS + 1):
            self._path(number).unlink(missing_ok=True)

    def _publish(self, number: int) -> None:
        copy = self._current.with_name(f".{self._current.name}.tmp")
        shutil.copyfile(self._path(number), copy)
        copy.replace(self._current)


def read_versions(folder: Path) -> tuple[Version, ...]:
    """Return the versions of a folder, oldest first."""
    versions = []
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        values["ids"] = tuple(values["ids"])
        values["calibration"] = KindCalibration(**values["calibration"])
        values["surprises"] = tuple(_surprise(s) for s in values["surprises"])
        versions.append(Version(**values))
    return tuple(versions)


def _surprise(values: dict[str, Any]) -> Surprise:
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Surprise(**values | lists)


def predicted_error(mean_squares: Sequence[float]) -> float:
    """Return the root of the mean calibrated variance of force components, eV/A."""
    return float(np.sqrt(np.mean(mean_squares)))
