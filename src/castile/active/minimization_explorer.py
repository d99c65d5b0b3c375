"""Relaxations, of given or random structures, that stop where the model does not know enough."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ase.io.jsonio
from ase import Atoms

from castile.active.campaign_files import write_durable
from castile.active.exploration import (
    NO_TIME,
    Candidate,
    Exploration,
    Explorer,
    Guide,
    Observation,
    Record,
)
from castile.errors import CastileError
from castile.simulation.relaxation import RelaxationProgress, relax

MOST_ROUNDS = 20
"""Labels that one relaxation may ask for."""


@dataclass(frozen=True)
class _State:
    """Which relaxation is under way, and where it is (``atoms`` as ASE's JSON, empty at its start)."""

    cycle: int = -1
    index: int = 0
    round: int = 0
    step: int = 0
    atoms: str = ""
    lengths: tuple[int, int] = (0, 0)


class _Interrupted(Exception):
    """The campaign wants to stop."""


class _Stop(Exception):
    """The relaxation met a structure that is worth a label."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(candidate.key)
        self.candidate = candidate


class MinimizationExplorer(Explorer):
    """Relaxes one structure after the other.

    Parameters
    ----------
    name : str
    folder : Path
    n_structures : int
        Of a cycle.
    start : callable
        Returns the structure of (cycle, index); the same for the same numbers.
    cell : bool
        Whether the cell relaxes too.
    max_force : float
        eV/A.
    max_steps : int
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        n_structures: int,
        start: Callable[[int, int], Atoms],
        *,
        cell: bool,
        max_force: float,
        max_steps: int,
    ) -> None:
        super().__init__(name, folder)
        self._n_structures, self._start = n_structures, start
        self._cell, self._max_force, self._max_steps = cell, max_force, max_steps
        self._state_file = folder / "state.json"
        if self._state_file.exists():
            values = json.loads(self._state_file.read_text(encoding="utf-8"))
            self._state = _State(**values | {"lengths": tuple(values["lengths"])})
            self._record = Record(folder, "relaxations", self._state.lengths)
        else:
            self._state = _State()
            self._record = Record(folder, "relaxations")

    def explore(self, guide: Guide) -> Exploration:
        """Relax to the next structure that is worth a label, or to the last structure."""
        if self._state.cycle != guide.cycle:
            self._state = _State(cycle=guide.cycle)
        while self._state.index < self._n_structures:
            try:
                self._relax(guide)
            except _Stop as stop:
                text = ase.io.jsonio.encode(stop.candidate.atoms.todict())
                self._save(replace(self._state, round=self._state.round + 1, atoms=text))
                return Exploration((stop.candidate,), False)
            except _Interrupted:
                return Exploration((), False)
            except CastileError:
                pass  # atoms fused, or no finite force, on a model that did not notice: the next structure
            self._save(_State(guide.cycle, self._state.index + 1))
        return Exploration((), True)

    def _relax(self, guide: Guide) -> None:
        state = self._state
        if state.atoms:
            atoms = Atoms.fromdict(ase.io.jsonio.decode(state.atoms))
        else:
            atoms = self._start(guide.cycle, state.index)
        place = f"{self.name}/cycle {guide.cycle}/structure {state.index}"
        key = f"{place}/round {state.round}"
        if not guide.surrogate.knows_elements(atoms):
            if guide.is_settled(f"{place}/start"):
                return  # an element that cannot be computed
            raise _Stop(Candidate(f"{place}/start", atoms, math.inf))
        calculator = guide.surrogate.calculator()
        atoms.calc = calculator
        labelled = state.round > 0 and guide.is_settled(f"{place}/round {state.round - 1}")

        def look(progress: RelaxationProgress) -> None:
            """Assess the structure where the minimization is."""
            if guide.interrupted():
                raise _Interrupted
            step = state.step + progress.step
            assert calculator.atoms is not None
            frame = calculator.atoms.copy()
            frame.set_constraint(atoms.constraints)
            assessment = guide.surrogate.assess(frame)
            asks = assessment.deviation > guide.threshold and not (labelled and progress.step == 0)
            called = asks and state.round < MOST_ROUNDS and not guide.is_settled(key)
            observation = Observation(
                guide.cycle, state.index, step, NO_TIME, NO_TIME, assessment.deviation,
                guide.surrogate.version, int(called),
            )  # fmt: skip
            self._record.add(observation)
            guide.observe(f"{self.name} {state.index}", observation, self._max_steps)
            if called:
                self._state = replace(state, step=step)
                raise _Stop(Candidate(key, frame, assessment.deviation))
            if not guide.was_computed(frame):
                self._record.add_frame(frame, observation, assessment)

        remaining = max(1, self._max_steps - state.step)
        relax(atoms, self._cell, self._max_force, max_steps=remaining, progress=look)

    def _save(self, state: _State) -> None:
        self._state = replace(state, lengths=self._record.sync())
        write_durable(self._state_file, (json.dumps(asdict(self._state)) + "\n").encode())
