"""Molecular dynamics that stops, asks for a label, and goes on with a model that has learned it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms, units

from castile.active.campaign_settings import DynamicsSettings
from castile.active.exploration import Candidate, Exploration, Explorer, Guide, Observation, Record
from castile.active.surrogate import Surrogate
from castile.errors import CastileError, InputError
from castile.simulation.close_contacts import find_fused_atoms
from castile.simulation.integrators import (
    Barostat,
    PhasePoint,
    System,
    Thermostat,
    langevin_step,
    velocity_verlet_step,
)
from castile.simulation.md_checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from castile.simulation.potential_calls import (
    PotentialValues,
    evaluate_potential,
    require_three_dimensional_crystal,
)
from castile.simulation.velocities import (
    degrees_of_freedom,
    kinetic_energy,
    kinetic_temperature,
    maxwell_boltzmann_momenta,
    mobile_components,
)

CHECKPOINT_STEPS = 500
SAMPLES = 200  # structures of a cycle that are kept for the estimate of the error
MOST_RESETS = 20
CONTACT_FRACTION = 0.5
HEAT = 5.0  # times the target temperature, at least 3000 K: the walker is lost


class DynamicsExplorer(Explorer):
    """Trajectories with the model, one after the other; each stops at its own time.

    Parameters
    ----------
    name : str
    folder : Path
    starts : list of Atoms
    settings : DynamicsSettings
    seed : int
    """

    def __init__(
        self, name: str, folder: Path, starts: list[Atoms], settings: DynamicsSettings, seed: int
    ) -> None:
        super().__init__(name, folder)
        copies = [atoms for atoms in starts for _ in range(settings.n_walkers)]
        self._walkers = [
            Walker(name, folder, number, atoms, settings, seed) for number, atoms in enumerate(copies)
        ]

    def explore(self, guide: Guide) -> Exploration:
        """Advance every trajectory to its next stop."""
        candidates = []
        for walker in self._walkers:
            candidate = walker.advance(guide)
            if candidate is not None:
                candidates.append(candidate)
            if guide.interrupted():
                break
        return Exploration(tuple(candidates), all(walker.finished(guide.cycle) for walker in self._walkers))


class Walker:
    """One trajectory with its checkpoint, trace and sampled structures."""

    def __init__(
        self, name: str, folder: Path, number: int, start: Atoms, settings: DynamicsSettings, seed: int
    ) -> None:
        self.name, self.number, self.settings, self.seed = name, number, settings, seed
        self.start = start
        mobile = mobile_components(start)
        if settings.ensemble == "npt":
            require_three_dimensional_crystal(start, f"explorer {name!r}: npt")
            if not mobile.all():
                raise InputError(f"explorer {name!r}: npt moves all atoms; remove the constraints")
        self.system = System(start.get_masses()[:, np.newaxis], mobile, self._potential)
        self.n_degrees = degrees_of_freedom(mobile)
        self.work = start.copy()
        self.work.set_constraint()
        self.checkpoint_file = folder / f"walker-{number}.checkpoint"
        self.folder = folder
        self.cycle, self.step, self.resets, self.version = -1, 0, 0, -1
        self.barred = False
        self.generator = np.random.default_rng([seed, number])
        self.point: PhasePoint
        self.record: Record
        self._sane: Candidate | None = None
        self._restore()

    def finished(self, cycle: int) -> bool:
        """Whether the trajectory of a cycle is at its end, or cannot begin."""
        return self.barred or (self.cycle == cycle and self.step >= self.settings.n_steps)

    def advance(self, guide: Guide) -> Candidate | None:
        """Go on to the next structure that is worth a label, or to the end."""
        if not guide.surrogate.knows_elements(self.start):
            key = f"{self.name}/walker {self.number}/start"
            self.barred = guide.is_settled(key)  # an element that cannot be computed
            return None if self.barred else Candidate(key, self.start, math.inf)
        self.barred = False
        if self.finished(guide.cycle):
            return None
        self._use(guide.surrogate)
        if self.cycle != guide.cycle:
            self._begin(guide.cycle)
        while True:
            last = self.step >= self.settings.n_steps
            if last or self.step % self.settings.check_every == 0:
                candidate = self._look(guide)
                if candidate is not None or last:
                    self._save()
                    return candidate
            if guide.interrupted():
                self._save()
                return None
            try:
                self._advance()
            except CastileError:  # the model gave no finite force, or atoms lie on each other
                candidate = self._reset(guide)
                if candidate is not None:
                    return candidate
            if self.step % CHECKPOINT_STEPS == 0:
                self._save()

    # -- state

    def _use(self, surrogate: Surrogate) -> None:
        """Take the current model; forces of an older one are computed again."""
        self.work.calc = surrogate.calculator()
        if self.version != surrogate.version:
            self.version = surrogate.version
            if self.cycle >= 0:
                values = self._potential(self.point.positions, self.point.cell)
                self.point = replace(self.point, potential=values)

    def _begin(self, cycle: int) -> None:
        """Start the trajectory of a cycle."""
        self.cycle, self.step, self.resets = cycle, 0, 0
        self._place_at_start()

    def _place_at_start(self) -> None:
        self.generator = np.random.default_rng([self.seed, self.number, self.cycle, self.resets])
        masses, mobile = self.system.masses, self.system.mobile
        momenta = maxwell_boltzmann_momenta(masses, mobile, self._target(), self.generator)
        positions, cell = self.start.positions.copy(), np.array(self.start.cell)
        self.point = PhasePoint(positions, momenta, cell, self._potential(positions, cell))

    def _restore(self) -> None:
        if not self.checkpoint_file.exists():
            self.record = Record(self.folder, f"walker-{self.number}")
            return
        checkpoint = read_checkpoint(self.checkpoint_file)
        self.step, self.point = checkpoint.step, checkpoint.point
        self.generator.bit_generator.state = checkpoint.generator_state
        self.cycle, self.resets = checkpoint.settings["cycle"], checkpoint.settings["resets"]
        self.version = checkpoint.settings["version"]
        lengths = checkpoint.log_bytes, checkpoint.trajectory_bytes
        self.record = Record(self.folder, f"walker-{self.number}", lengths)

    def _save(self) -> None:
        log_bytes, trajectory_bytes = self.record.sync()
        state = {"cycle": self.cycle, "resets": self.resets, "version": self.version}
        checkpoint = Checkpoint(
            step=self.step,
            point=self.point,
            numbers=self.work.numbers,
            generator_state=dict(self.generator.bit_generator.state),
            settings=state,
            log_bytes=log_bytes,
            trajectory_bytes=trajectory_bytes,
        )
        write_checkpoint(self.checkpoint_file, checkpoint)

    # -- looking

    def _look(self, guide: Guide) -> Candidate | None:
        """Assess the current structure; return it if it is worth a label."""
        temperature = kinetic_temperature(
            kinetic_energy(self.point.momenta, self.system.masses), self.n_degrees
        )
        if not temperature <= max(HEAT * self._target(), 3000.0) or self._fused():
            return self._reset(guide)
        frame = self._frame()
        assessment = guide.surrogate.assess(frame)
        candidate = Candidate(self._key(), frame, assessment.deviation)
        called = assessment.deviation > guide.threshold and not guide.is_settled(candidate.key)
        observation = Observation(
            cycle=self.cycle,
            walker=self.number,
            step=self.step,
            time_fs=self.step * self.settings.time_step_fs,
            temperature_k=temperature,
            deviation=assessment.deviation,
            model=self.version,
            called=int(called),
        )
        self.record.add(observation)
        sample = max(1, self.settings.n_steps // (SAMPLES * self.settings.check_every))
        sampled = (self.step // self.settings.check_every) % sample == 0
        if not called and sampled and not guide.was_computed(frame):
            self.record.add_frame(frame, observation, assessment)
        guide.observe(f"{self.name} {self.number}", observation, self.settings.n_steps)
        self._sane = candidate
        return candidate if called else None

    def _reset(self, guide: Guide) -> Candidate | None:
        """Put a lost walker back to its start; the last sane structure is worth a label."""
        candidate, self._sane = self._sane, None
        self.resets += 1
        self.step += 1
        if self.resets > MOST_RESETS:
            self.step = self.settings.n_steps
        self._place_at_start()
        self._save()
        if candidate is None or guide.is_settled(candidate.key):
            return None
        return candidate

    def _key(self) -> str:
        reset = f"/reset {self.resets}" if self.resets else ""
        return f"{self.name}/cycle {self.cycle}/walker {self.number}{reset}/step {self.step}"

    def _fused(self) -> bool:
        self.work.positions[:] = self.point.positions
        return find_fused_atoms(self.work, CONTACT_FRACTION) is not None

    def _frame(self) -> Atoms:
        frame = self.start.copy()
        frame.calc = None
        frame.set_constraint()
        frame.set_cell(self.point.cell)
        frame.positions[:] = self.point.positions
        return frame

    # -- motion

    def _advance(self) -> None:
        settings = self.settings
        time_step = settings.time_step_fs * units.fs
        if settings.ensemble == "nve":
            self.point = velocity_verlet_step(self.point, self.system, time_step)
        else:
            thermostat = Thermostat(self._target(), 1.0 / (settings.thermostat_time_fs * units.fs))
            self.point = langevin_step(
                self.point, self.system, time_step, thermostat, self.generator, self._barostat()
            )
        self.step += 1

    def _target(self) -> float:
        """Temperature (K) of the thermostat in this step."""
        settings = self.settings
        if settings.final_temperature_k is None:
            return settings.temperature_k
        progress = min(1.0, self.step / settings.n_steps)
        return settings.temperature_k + (settings.final_temperature_k - settings.temperature_k) * progress

    def _barostat(self) -> Barostat | None:
        settings = self.settings
        if settings.ensemble != "npt":
            return None
        rate = 1.0 / (settings.bulk_modulus_gpa * units.GPa * settings.barostat_time_fs * units.fs)
        return Barostat(settings.pressure_gpa * units.GPa, rate)

    def _potential(self, positions: np.ndarray, cell: np.ndarray) -> PotentialValues:
        if not np.array_equal(cell, np.asarray(self.work.cell)):
            self.work.set_cell(cell)
        self.work.positions[:] = positions
        return evaluate_potential(self.work, self.settings.ensemble == "npt")
