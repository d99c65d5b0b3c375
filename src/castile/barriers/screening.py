"""Screening: from crystals to ranked percolation barriers, crystal by crystal, restartable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from ase import Atoms

from castile.barriers.crystals import Crystal
from castile.barriers.features import Featurizer, concatenate
from castile.barriers.hops import Hop, find_hops, import_spglib
from castile.barriers.model import BarrierModel
from castile.barriers.model_io import FORMAT
from castile.barriers.percolation import import_networkx, percolation
from castile.errors import InputError
from castile.execution.journal import Journal
from castile.execution.task_pool import Workers, open_task_pool

_BATCH = 4


@dataclass(frozen=True)
class ScreenSettings:
    """What to look for.

    Attributes
    ----------
    mobile : str
        Symbol of the moving element.
    longest : float
        A; hops up to this distance.
    interstitials : bool
        Also hops between voids.
    tolerance : float
        A, of the symmetry.
    most_hops : int
        Symmetry-distinct hops per crystal at most, shortest first.
    """

    mobile: str
    longest: float = 5.0
    interstitials: bool = False
    tolerance: float = 0.01
    most_hops: int = 100


@dataclass(frozen=True)
class ScreenedHop:
    """A predicted hop; energies in eV, length in Angstrom, multiplicity per cell."""

    path_id: str
    length: float
    multiplicity: int
    barrier: float
    std: float
    lower: float
    upper: float
    grade: float


@dataclass(frozen=True)
class ScreenedCrystal:
    """What became of one crystal.

    Attributes
    ----------
    name, formula : str
    hops : tuple of ScreenedHop
    percolating : tuple of 3 (float or None)
        Lowest barrier that lets the ion run on in 1, 2 and 3 dimensions, eV.
    lower, upper : tuple of 3 (float or None)
        The same with the lower and the upper ends of all intervals.
    extrapolates : bool
        Whether a hop is unlike the training paths, or the ion is not among theirs.
    structure : str
        The crystal, as JSON.
    error : str or None
        Why it was skipped.
    """

    name: str
    formula: str = ""
    hops: tuple[ScreenedHop, ...] = ()
    percolating: tuple[float | None, ...] = (None, None, None)
    lower: tuple[float | None, ...] = (None, None, None)
    upper: tuple[float | None, ...] = (None, None, None)
    extrapolates: bool = False
    structure: str = ""
    error: str | None = None

    @property
    def atoms(self) -> Atoms:
        """The crystal."""
        stored = json.loads(self.structure)
        return Atoms(stored["numbers"], stored["positions"], cell=stored["cell"], pbc=True)

    @property
    def rank_key(self) -> tuple[float, ...]:
        """Sorts by the barriers in 3, 2 and 1 dimensions, then by the lowest hop."""
        lowest = min((hop.barrier for hop in self.hops), default=np.inf)
        one, two, three = (np.inf if value is None else value for value in self.percolating)
        return (one, two, three, lowest)


def screen_crystal(crystal: Crystal, model: BarrierModel, settings: ScreenSettings) -> ScreenedCrystal:
    """Find the hops of a crystal, predict them, and reduce them to percolation barriers.

    A crystal that cannot be used gives a result with its error.
    """
    if crystal.atoms is None:
        return ScreenedCrystal(crystal.name, error=crystal.error)
    try:
        hops = list(
            find_hops(
                crystal.atoms, settings.mobile, crystal.name, longest=settings.longest,
                interstitials=settings.interstitials, tolerance=settings.tolerance, most=settings.most_hops,
            )
        )  # fmt: skip
        if not hops:
            raise InputError(f"{crystal.name}: there is no hop up to {settings.longest} A; raise --longest")
        return _predicted(crystal.name, crystal.atoms, hops, model)
    except Exception as error:  # one crystal must not stop the others
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return ScreenedCrystal(crystal.name, crystal.atoms.get_chemical_formula(), error=text)


def _predicted(name: str, atoms: Atoms, hops: list[Hop], model: BarrierModel) -> ScreenedCrystal:
    featurizer = Featurizer()
    features = concatenate([featurizer.one(model.prepare(hop.path)) for hop in hops])
    prediction = model.predict_features(features)
    rows = tuple(
        ScreenedHop(
            hop.path.path_id, hop.path.length, len(hop.edges), *(
                float(column[k])
                for column in (
                    prediction.barrier, prediction.std, prediction.lower, prediction.upper,
                    prediction.extrapolation_grade,
                )
            ),
        )
        for k, hop in enumerate(hops)
    )  # fmt: skip

    def reduced(barriers: list[float]) -> tuple[float | None, ...]:
        """Percolation barriers in 1, 2 and 3 dimensions."""
        edges = [(edge, value) for hop, value in zip(hops, barriers, strict=True) for edge in hop.edges]
        found = percolation(edges)
        return (found.one, found.two, found.three)

    stored = {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist(),
    }
    return ScreenedCrystal(
        name,
        str(atoms.get_chemical_formula(empirical=True)),
        rows,
        reduced([row.barrier for row in rows]),
        reduced([row.lower for row in rows]),
        reduced([row.upper for row in rows]),
        bool(prediction.extrapolates.any() or hops[0].path.symbol not in model.mobile_),
        json.dumps(stored),
    )


def _screen_batch(
    batch: list[Crystal], model: BarrierModel, settings: ScreenSettings
) -> list[ScreenedCrystal]:
    return [screen_crystal(crystal, model, settings) for crystal in batch]


def screen(
    crystals: Iterable[Crystal],
    model: BarrierModel,
    settings: ScreenSettings,
    *,
    workers: Workers = None,
    journal: str | os.PathLike[str] | None = None,
    advance: Callable[[ScreenedCrystal], None] | None = None,
) -> list[ScreenedCrystal]:
    """Screen crystals on workers and rank them, the easiest percolation first.

    Arguments:
        crystals: one after the other; only a few are in memory at a time.
        model: fitted.
        settings: what to look for.
        workers: as for ``open_task_pool``.
        journal: file of finished crystals; those in it, of the same model and settings, are not done again.
        advance: called with each crystal that is done, those of the journal included.

    Raises InputError when an optional package is missing or the settings cannot be used.

    """
    import_spglib(), import_networkx()
    record = Journal(journal, _fingerprint(model, settings))
    results = _finished(record)
    if advance is not None:
        for result in results.values():
            advance(result)
    waiting = _batches(crystal for crystal in crystals if crystal.name not in results)
    task = partial(_screen_batch, model=model, settings=settings)
    with open_task_pool(workers) as pool, record:
        for batch in pool.map(task, waiting):
            for result in batch:
                results[result.name] = result
                record.add(asdict(result))
                if advance is not None:
                    advance(result)
    return sorted(
        results.values(), key=lambda result: (result.error is not None, result.rank_key, result.name)
    )


def _batches(crystals: Iterable[Crystal]) -> Iterator[list[Crystal]]:
    waiting = iter(crystals)
    while batch := list(islice(waiting, _BATCH)):
        yield batch


def _fingerprint(model: BarrierModel, settings: ScreenSettings) -> str:
    """Hash of all that a result depends on beside the crystal."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for process in model.processes:
        digest.update(process.parameters.pack().tobytes())
        digest.update(process.alpha.tobytes())
    digest.update(
        repr((model.shift, model.scale_of_intervals_, model.coverage, model.straight, FORMAT)).encode()
    )
    return digest.hexdigest()


def _finished(journal: Journal) -> dict[str, ScreenedCrystal]:
    """Return the crystals of a journal by name."""
    results = {}
    for values in journal.records():
        hops = tuple(ScreenedHop(**hop) for hop in values.pop("hops"))
        for name in ("percolating", "lower", "upper"):
            values[name] = tuple(values[name])
        result = replace(ScreenedCrystal(**values), hops=hops)
        results[result.name] = result
    return results
