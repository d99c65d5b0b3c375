"""A campaign of active learning: explore, label, refit, until the error is small or the budget spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from castile.active.batches import choose_batch
from castile.active.campaign_files import CampaignFiles
from castile.active.campaign_reasons import FEWEST_LABELS, failing, no_start, shortfall, success
from castile.active.campaign_settings import CampaignSettings, read_campaign
from castile.active.exploration import Candidate, FreshFrame, Guide, Observation, read_fresh
from castile.active.initial import build_explorers, initial_candidates
from castile.active.labelling import Labeller
from castile.active.ledger import OPEN, Calculation, State
from castile.active.store import CalculationStore, structure_fingerprint
from castile.active.training import ModelHistory, Version, predicted_error
from castile.errors import InputError, SimulationError
from castile.execution.task_pool import TaskPool, open_task_pool
from castile.execution.threads import limit_blas
from castile.simulation.interruption import InterruptionRequest
from castile.structures import LabelKeys, StructureSource

ALL_CYCLES = "all "
"""How the reason begins when no cycle is left."""


@dataclass(frozen=True)
class CampaignEvents:
    """Called on the way, for progress: what an explorer sees, every settled calculation, every new model."""

    observe: Callable[[str, Observation, int], None] = lambda name, observation, total: None
    settled: Callable[[Calculation], None] = lambda calculation: None
    learned: Callable[[Version], None] = lambda version: None


@dataclass(frozen=True)
class CampaignOutcome:
    """How a campaign ended, or that it was interrupted.

    Attributes
    ----------
    directory : Path
    reason : str
        Why it stopped; "interrupted" when it can go on.
    target_met : bool
    finished : bool
    """

    directory: Path
    reason: str
    target_met: bool
    finished: bool


def run_campaign(path: str | Path, events: CampaignEvents | None = None) -> CampaignOutcome:
    """Start the campaign of a TOML file, or go on with it.

    Ctrl-C and SIGTERM let running labels end, write all state and return; after ``kill -9`` or a power cut
    the next start goes on without losing or repeating a finished calculation.

    Raises
    ------
    InputError
        For settings or structures that cannot be used, when another process works in the directory, or when
        too few of the first structures could be labelled.
    """
    return run_settings(read_campaign(path), events)


def run_settings(settings: CampaignSettings, events: CampaignEvents | None = None) -> CampaignOutcome:
    """Start or continue a campaign with settings whose paths are absolute; see `run_campaign`."""
    files = CampaignFiles(settings.directory)
    with (
        files.work(),
        InterruptionRequest() as interruption,
        open_task_pool(settings.workers) as pool,
        limit_blas(1),  # many small matrices: threads of BLAS would wait for each other
    ):
        campaign = _Campaign(settings, files, pool, events or CampaignEvents(), interruption)
        return campaign.run()


class _Campaign:
    """The loop; every step can be repeated after a kill, because it looks first at what is there."""

    def __init__(
        self,
        settings: CampaignSettings,
        files: CampaignFiles,
        pool: TaskPool,
        events: CampaignEvents,
        interruption: InterruptionRequest,
    ) -> None:
        self.settings, self.files, self.events = settings, files, events
        self.interruption = interruption
        self.state = files.begin(settings.model_dump_json(indent=1))
        self.store = CalculationStore(settings.store)
        identity = self.state.identity
        self.labeller = Labeller(self.store, files.jobs, settings.oracle, pool, identity)
        self.models = ModelHistory(
            files.models, files.model, settings.model, settings.refit, settings.threads
        )
        self.explorers = build_explorers(settings, files.explorers)
        self.failures: list[Calculation] = []  # since the last label of this start

    def run(self) -> CampaignOutcome:
        """Go on to the end or to an interruption."""
        if self.state.stopped:
            self._reconsider()
        if not self.state.stopped:
            if not self.models.versions:
                self._take_training_data()
            self.labeller.recover()
            self._label_open()
            self._begin()
            while not self.halted:
                self._cycle()
        self.state = self.files.write_state(self.state)
        finished = bool(self.state.stopped)
        reason = self.state.stopped or "interrupted: start it again to go on"
        return CampaignOutcome(self.files.directory, reason, self.state.target_met, finished)

    @property
    def interrupted(self) -> bool:
        """Whether the campaign shall write its state and return."""
        return self.interruption.requested

    @property
    def failing(self) -> bool:
        """Whether the oracle has given no label for too long."""
        return len(self.failures) >= self.settings.stop.max_failures

    @property
    def halted(self) -> bool:
        """Whether the campaign has ended or shall pause."""
        return bool(self.state.stopped) or self.interrupted

    def _reconsider(self) -> None:
        """Go on with a campaign that has ended when its settings now ask for more, and only then."""
        stop, state = self.settings.stop, self.state
        error = state.verified_error if state.verified_error is not None else state.predicted_error
        small = error is not None and error <= stop.force_error
        if self._budget_spent() or (small and state.target_met):
            return
        cycles_done = state.stopped.startswith(ALL_CYCLES) and state.cycle + 1 >= stop.max_cycles
        if small and state.verified_error is not None:
            self._stop(success(stop, state.predicted_error, state.verified_error), met=True)
        elif small or not cycles_done:
            self.state = self.files.write_state(replace(state, stopped="", target_met=False))

    # -- labels

    def _key(self, key: str) -> str:
        return f"{self.state.identity}/{key}"

    def _is_settled(self, key: str) -> bool:
        known = self.store.find(self._key(key))
        return known is not None and known.state not in OPEN

    def _label(self, candidates: Sequence[Candidate], origin: str) -> None:
        """Request labels and wait for them."""
        ids = []
        for candidate in candidates:
            calculation = self.store.request(
                candidate.atoms, self._key(candidate.key), origin=origin, task=self.settings.oracle.task
            )
            ids.append(calculation.id)
        self._compute(ids)

    def _label_open(self) -> None:
        """Label what was requested before the last end."""
        ids = [c.id for c in self.store.calculations(*OPEN, prefix=self._key(""))]
        if ids:
            self._compute(ids)

    def _compute(self, ids: list[int]) -> None:
        """Run calculations; with a model, the campaign ends when too many in a row give no label."""
        self.labeller.label(ids, self._settled, lambda: self.interrupted or self.failing)
        if self.failing and self.models.versions:
            self._stop(failing(len(self.failures), self.failures[-1]), met=False)

    def _settled(self, calculation: Calculation) -> None:
        self.failures = [] if calculation.state is State.ACCEPTED else [*self.failures, calculation]
        self.events.settled(calculation)

    def _learn(self) -> None:
        """Train on accepted labels that the model has not seen."""
        accepted = [c.id for c in self.store.calculations(State.ACCEPTED, prefix=self._key(""))]
        new = [identifier for identifier in accepted if identifier not in self.models.trained]
        if not new:
            return
        version = self.models.learn(self.store.structures(new), lambda: self.store.structures(accepted))
        self.state = self.files.write_state(self.state)
        self.events.learned(version)

    # -- the way

    def _begin(self) -> None:
        """Label the first structures and fit the first model."""
        if not self.models.versions:
            self._label(initial_candidates(self.settings), "initial")
            if self.interrupted:
                return
            accepted = self.store.calculations(State.ACCEPTED, prefix=self._key(""))
            if len(accepted) < FEWEST_LABELS:
                asked = self.failures if self.failing else self.store.calculations(prefix=self._key(""))
                raise InputError(no_start(self.settings, asked))
        self._learn()

    def _take_training_data(self) -> None:
        """Enter labelled structures that are given as accepted calculations; what is there stays."""
        for position, name in enumerate(self.settings.initial.training):
            for number, structure in enumerate(StructureSource(name, LabelKeys())):
                if structure.energy is None or structure.forces is None:
                    raise InputError(f"{structure.name}: initial.training needs energies and forces")
                key = self._key(f"given/{position} {Path(name).name} {number}")
                known = self.store.request(
                    structure.atoms, key, origin="given", task=self.settings.oracle.task
                )
                if known.state is State.QUEUED:
                    known = self.store.claim(self.state.identity, [known.id]) or known
                ours = known.owner == self.state.identity
                if known.state is State.RUNNING and ours:
                    labelled = structure.atoms.copy()
                    labelled.calc = structure.atoms.calc
                    known = self.store.record(known.id, labelled)
                if known.state is State.CONVERGED and ours:
                    self.store.accept(known.id)

    def _cycle(self) -> None:
        """Pass once through all explorers, then ask whether that is enough."""
        for explorer in self.explorers:
            while True:
                if self.interrupted:
                    return
                if self._budget_spent():
                    self._stop(self._budget_spent(), met=False)
                    return
                exploration = explorer.explore(self._guide())
                batch = self.settings.batch
                chosen = choose_batch(
                    exploration.candidates,
                    min(batch.size, self._left()),
                    batch.method,
                    self.models.surrogate.gap,
                )
                self._label(chosen, explorer.name)
                if self.halted:
                    return
                self._learn()
                if exploration.finished:
                    break
        self._conclude()

    def _guide(self) -> Guide:
        task, computed = self.settings.oracle.task, self.store.fingerprints(self._key(""))
        return Guide(
            surrogate=self.models.surrogate,
            threshold=self.settings.force_threshold,
            cycle=self.state.cycle,
            is_settled=self._is_settled,
            interrupted=lambda: self.interrupted or self._out_of_time(),
            observe=self.events.observe,
            was_computed=lambda atoms: structure_fingerprint(atoms, task) in computed,
        )

    # -- the end

    def _conclude(self) -> None:
        """Estimate the error on what was explored without a label; verify it; stop or begin a new cycle."""
        stop = self.settings.stop
        fresh = read_fresh(self.files.explorers, self.state.cycle, self.models.surrogate.version)
        predicted = predicted_error([frame.mean_square for frame in fresh]) if fresh else math.nan
        enough = len(fresh) >= stop.min_fresh and predicted <= stop.force_error
        n_verified = min(stop.n_verified, len(fresh), self._left())
        verified = None
        if enough and n_verified:
            verified = self._verify(fresh, n_verified)
            if self.halted:
                return
        self.state = replace(
            self.state, predicted_error=None if math.isnan(predicted) else predicted, verified_error=verified
        )
        met = verified <= stop.force_error if verified is not None else enough and not n_verified
        if met:
            self._stop(success(stop, predicted, verified), met=True)
        elif self.state.cycle + 1 >= stop.max_cycles:
            missing = shortfall(stop, predicted, verified, len(fresh))
            self._stop(f"{ALL_CYCLES}{stop.max_cycles} cycles are done; {missing}", met=False)
        else:
            self.state = self.files.write_state(replace(self.state, cycle=self.state.cycle + 1))

    def _verify(self, fresh: list[FreshFrame], number: int) -> float | None:
        """Label some explored structures; return the error of the model before it learned them, if any could
        be labelled.
        """
        generator = np.random.default_rng([self.settings.seed, 31, self.state.cycle])
        chosen = generator.permutation(len(fresh))[:number]
        candidates = [
            Candidate(f"verification/cycle {self.state.cycle}/{k}", fresh[index].atoms, 0.0)
            for k, index in enumerate(chosen)
        ]
        model = self.models.surrogate
        self._label(candidates, "verification")
        if self.halted:
            return None
        squares, weights = [], []
        for candidate in candidates:
            known = self.store.find(self._key(candidate.key))
            if known is not None and known.state is State.ACCEPTED:
                surprise = model.surprise_of(self.store.structure(known.id))
                squares.append(surprise.mean_square_error * surprise.n_atoms)
                weights.append(surprise.n_atoms)
        self._learn()
        return math.sqrt(sum(squares) / sum(weights)) if weights else None

    def _stop(self, reason: str, met: bool) -> None:
        self.state = self.files.write_state(replace(self.state, stopped=reason, target_met=met))

    def _left(self) -> int:
        """Number of calculations that the budget still allows."""
        return max(0, self.settings.stop.max_calculations - self._spent())

    def _spent(self) -> int:
        calculations = self.store.calculations(prefix=self._key(""))
        return sum(1 for calculation in calculations if calculation.origin != "given")

    def _budget_spent(self) -> str:
        """Say which part of the budget is spent; empty if none is."""
        stop = self.settings.stop
        if self._spent() >= stop.max_calculations:
            return f"budget spent: {stop.max_calculations} calculations (stop.max_calculations)"
        if self._out_of_time():
            return f"budget spent: {stop.max_hours:g} hours (stop.max_hours)"
        return ""

    def _out_of_time(self) -> bool:
        """Whether the hours of work are spent."""
        hours = self.settings.stop.max_hours
        return hours is not None and self.files.seconds_worked(self.state) >= 3600.0 * hours


__all__ = ["CampaignEvents", "CampaignOutcome", "SimulationError", "run_campaign", "run_settings"]
