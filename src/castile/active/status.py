"""How a campaign stands: the ledger, the learning curve, the calls saved."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from castile.active.campaign_files import CampaignFiles, CampaignState
from castile.active.exploration import Observation, read_trace
from castile.active.ledger import Calculation, State
from castile.active.store import CalculationStore
from castile.active.training import Version, read_versions
from castile.errors import InputError


@dataclass(frozen=True)
class Way:
    """What one explorer saw: its name and observations in the order of time, per trajectory."""

    name: str
    observations: tuple[Observation, ...]

    @property
    def n_steps(self) -> int:
        """Steps of dynamics and relaxations, or structures of a pool, that were explored."""
        last: dict[tuple[int, int], int] = {}
        single = set()
        for seen in self.observations:
            if math.isnan(seen.time_fs):  # every structure is looked at, and those with labels are left out
                single.add((seen.cycle, seen.walker, seen.step))
                continue
            place = seen.cycle, seen.walker
            last[place] = max(last.get(place, 0), seen.step + 1)
        return sum(last.values()) + len(single)


@dataclass(frozen=True)
class LearningPoint:
    """New labels against the model that had not learned them.

    Attributes
    ----------
    n_labels : int
        That the model had learned.
    n_new : int
    error : float
        Root mean square of force components, eV/A.
    deviation : float
        Mean force deviation that was predicted, eV/A.
    """

    n_labels: int
    n_new: int
    error: float
    deviation: float


@dataclass(frozen=True)
class CampaignStatus:
    """Everything that `castile status` shows.

    Attributes
    ----------
    directory : Path
    state : CampaignState
    running : bool
        Whether a process works on it now.
    threshold, target : float
        Force deviation that asks for a label, and force error that is wanted, eV/A.
    calculations : tuple of Calculation
    versions : tuple of Version
    ways : tuple of Way
    """

    directory: Path
    state: CampaignState
    running: bool
    threshold: float
    target: float
    calculations: tuple[Calculation, ...]
    versions: tuple[Version, ...]
    ways: tuple[Way, ...]

    @property
    def counts(self) -> dict[State, int]:
        """Number of calculations in every state."""
        return {state: sum(c.state is state for c in self.calculations) for state in State}

    @property
    def n_steps(self) -> int:
        """Structures that were explored."""
        return sum(way.n_steps for way in self.ways)

    @property
    def n_calls(self) -> int:
        """Labels that explorers asked for."""
        names = {way.name for way in self.ways}
        return sum(c.origin in names for c in self.calculations)

    @property
    def saved(self) -> float | None:
        """Part of the explored structures that needed no label; None before anything was explored."""
        return 1.0 - self.n_calls / self.n_steps if self.n_steps else None

    @property
    def learning_curve(self) -> tuple[LearningPoint, ...]:
        """A point for every version of the model."""
        points, known = [], 0
        for version in self.versions:
            if version.surprises:
                n_atoms = sum(s.n_atoms for s in version.surprises)
                square = sum(s.mean_square_error * s.n_atoms for s in version.surprises) / n_atoms
                mean = sum(s.deviation for s in version.surprises) / len(version.surprises)
                points.append(LearningPoint(known, len(version.surprises), math.sqrt(square), mean))
            known = len(version.ids)
        return tuple(points)

    @property
    def outlook(self) -> str:
        """In words: running, interrupted, or why it stopped."""
        if self.state.stopped:
            return self.state.stopped
        return "running" if self.running else "not running and not at its end: start it again to go on"

    def to_json_dict(self) -> dict[str, float | int | bool | str | None]:
        """Flat numbers with units in their names; keys are on the page of ``castile status``."""
        values: dict[str, float | int | bool | str | None] = {
            "status": self.outlook,
            "finished": bool(self.state.stopped),
            "target_met": self.state.target_met,
            "cycle": self.state.cycle,
            "hours": self.state.seconds / 3600.0,
            "n_models": len(self.versions),
            "n_labels_learned": len(self.versions[-1].ids) if self.versions else 0,
            "n_explored": self.n_steps,
            "n_calls_of_explorers": self.n_calls,
            "calls_saved_percent": None if self.saved is None else 100.0 * self.saved,
            "n_attempts": sum(c.attempts for c in self.calculations),
            "force_error_wanted_ev_per_angstrom": self.target,
            "threshold_ev_per_angstrom": self.threshold,
            "force_error_predicted_ev_per_angstrom": self.state.predicted_error,
            "force_error_verified_ev_per_angstrom": self.state.verified_error,
        }
        values |= {f"n_{state.value}": count for state, count in self.counts.items()}
        if self.versions:
            values["n_sparse"] = self.versions[-1].n_sparse
        return values


def campaign_status(directory: str | Path) -> CampaignStatus:
    """Read how a campaign stands; it may be running.

    Raises
    ------
    InputError
        If no campaign was begun in the directory.
    """
    files = CampaignFiles(directory)
    state = files.read_state()
    try:
        settings = json.loads(files.settings_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{files.settings_file}: cannot be read ({error}); start castile learn again"
        ) from None
    store = CalculationStore(_place_of_store(settings, files.directory))
    target = float(settings["stop"]["force_error"])
    threshold = settings["threshold"]
    return CampaignStatus(
        directory=files.directory,
        state=state,
        running=files.is_running,
        threshold=4.0 * target if threshold is None else float(threshold),
        target=target,
        calculations=store.calculations(prefix=f"{state.identity}/"),
        versions=read_versions(files.models),
        ways=read_ways(files.explorers),
    )


def _place_of_store(settings: dict[str, Any], directory: Path) -> str:
    """Return the store of a campaign, whose directory may have moved since its last start."""
    store = str(settings["store"])
    if "://" in store:
        return store
    moved = directory / os.path.relpath(store, settings["directory"])
    return str(moved) if moved.exists() else store


def read_ways(folder: Path) -> tuple[Way, ...]:
    """Return the traces of all explorers of a campaign."""
    ways = []
    for place in sorted(path for path in folder.glob("*") if path.is_dir()):
        traces: list[Sequence[Observation]] = [
            tuple(read_trace(path)) for path in sorted(place.glob("*.csv"))
        ]
        ways.append(Way(place.name, tuple(seen for trace in traces for seen in trace)))
    return tuple(ways)
