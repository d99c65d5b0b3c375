"""Molecular dynamics with a log, a trajectory, exact restart, and guards against runs that mean nothing."""

import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from castile.errors import InputError, SimulationError
from castile.simulation.close_contacts import FUSED_REMEDY, find_fused_atoms, require_no_fused_atoms
from castile.simulation.integrators import (
    Barostat,
    PhasePoint,
    System,
    Thermostat,
    langevin_step,
    pressure_of,
    velocity_verlet_step,
)
from castile.simulation.interruption import InterruptionRequest
from castile.simulation.md_checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from castile.simulation.md_record import (
    LogRow,
    MolecularDynamicsFiles,
    RecordWriter,
    read_log,
    require_resumable,
)
from castile.simulation.md_result import MolecularDynamicsProgress, MolecularDynamicsResult, ProgressCallback
from castile.simulation.md_settings import Ensemble, MolecularDynamicsSettings
from castile.simulation.potential_calls import (
    PotentialValues,
    evaluate_potential,
    has_stress,
    require_calculator,
    require_three_dimensional_crystal,
)
from castile.simulation.velocities import (
    conserves_momentum,
    degrees_of_freedom,
    kinetic_energy,
    kinetic_temperature,
    maxwell_boltzmann_momenta,
    mobile_components,
    remove_total_momentum,
)

ForceDeviations = Callable[[Atoms], NDArray[np.float64]]
"""Gives the standard deviations (n_atoms, 3) of the forces on the atoms of a structure, eV/A."""


def run_molecular_dynamics(
    atoms: Atoms,
    settings: MolecularDynamicsSettings,
    output: str | Path | None = None,
    restart: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    force_deviations: ForceDeviations | None = None,
) -> MolecularDynamicsResult:
    """Run molecular dynamics; ``atoms`` itself is not changed.

    Ctrl-C (or SIGTERM) finishes the current step, writes a checkpoint and returns with ``completed=False``.

    Args:
        atoms: structure with a calculator; `FixAtoms` and `FixCartesian` constraints are kept.
        settings: the run.
        output: extended-xyz trajectory; log, checkpoint and failed frame are written beside it (see
            `MolecularDynamicsFiles`). None writes nothing.
        restart: continue from the checkpoint beside ``output``; without one the run starts at step 0.
        overwrite: replace the files of an earlier run.
        progress: called with every row of the log.
        force_deviations: gives the standard deviations (n_atoms, 3) of the forces, eV/A, of a structure;
            called for every row of the log, which then has their largest and mean norm over the atoms.

    Raises:
        InputError: unusable structure, settings or files.
        SimulationError: atoms fused, the temperature ran away, or an energy or force is not finite; the frame
            is written to ``*.failed.xyz`` and the last checkpoint stays.

    """
    require_calculator(atoms, "molecular dynamics")
    files = None if output is None else MolecularDynamicsFiles.beside(output)
    run = _Run(atoms, settings, files, force_deviations)
    if restart:
        if files is None:
            raise InputError("restart: give the output of the run to continue")
        resumed = files.checkpoint.exists()
    else:
        resumed = False
    if resumed:
        run.resume()
    else:
        run.start(overwrite)
    return run.finish(progress)


class _Run:
    """The moving parts of one run."""

    def __init__(
        self,
        atoms: Atoms,
        settings: MolecularDynamicsSettings,
        files: MolecularDynamicsFiles | None,
        force_deviations: ForceDeviations | None = None,
    ) -> None:
        self.settings = settings
        self.force_deviations = force_deviations
        self.files = files
        self.atoms = atoms.copy()
        self.atoms.set_constraint()
        self.atoms.calc = atoms.calc
        self.frame_template = atoms.copy()
        mobile = mobile_components(atoms)
        if settings.ensemble is Ensemble.NPT:
            require_three_dimensional_crystal(atoms, "npt")
            if not mobile.all():
                raise InputError("npt: fixed atoms cannot be kept; remove them with atoms.set_constraint()")
        self.system = System(atoms.get_masses()[:, np.newaxis], mobile, self._potential)
        self.n_degrees = degrees_of_freedom(mobile)
        self.generator = np.random.default_rng(settings.seed)
        self.rows: list[LogRow] = []
        self.writer: RecordWriter | None = None
        self.step = 0
        self.recorded = False
        self.want_stress = settings.ensemble is Ensemble.NPT
        self.point: PhasePoint

    # -- beginning

    def start(self, overwrite: bool) -> None:
        """Begin at step 0."""
        require_no_fused_atoms(self.atoms, self.settings.contact_fraction, "starting structure")
        if self.want_stress and not has_stress(self.atoms):
            raise InputError("npt: the calculator gives no stress; choose ensemble 'nve' or 'langevin'")
        cell = np.array(self.atoms.cell)
        potential = evaluate_potential(self.atoms, self.want_stress, "the starting structure")
        self.point = PhasePoint(self.atoms.positions.copy(), self._initial_momenta(), cell, potential)
        if self.files is None:
            return
        self._refuse_existing(overwrite)
        self.files.trajectory.parent.mkdir(parents=True, exist_ok=True)
        self.files.failure.unlink(missing_ok=True)
        write_checkpoint(self.files.checkpoint, self._checkpoint(0, 0))
        self.writer = RecordWriter(self.files, deviations=self.force_deviations is not None)

    def resume(self) -> None:
        """Continue from the checkpoint."""
        assert self.files is not None
        checkpoint = read_checkpoint(self.files.checkpoint)
        self.settings.require_same_run(checkpoint.settings)
        if not np.array_equal(checkpoint.numbers, self.atoms.numbers):
            raise InputError(
                f"{self.files.checkpoint}: holds {len(checkpoint.numbers)} atoms that are not those of the "
                f"structure ({len(self.atoms)} atoms); give the structure that the run started from"
            )
        self.step, self.point, self.recorded = checkpoint.step, checkpoint.point, checkpoint.recorded
        self.generator.bit_generator.state = checkpoint.generator_state
        self._require_same_potential()
        require_resumable(self.files, checkpoint.log_bytes, checkpoint.trajectory_bytes)
        self.writer = RecordWriter(
            self.files,
            checkpoint.log_bytes,
            checkpoint.trajectory_bytes,
            deviations=self.force_deviations is not None,
        )
        self.rows = read_log(self.files.log) if checkpoint.log_bytes else []

    def _initial_momenta(self) -> np.ndarray:
        mobile, masses = self.system.mobile, self.system.masses
        if self.settings.keep_velocities:
            momenta = self.atoms.get_momenta() * mobile
            return remove_total_momentum(momenta, masses) if conserves_momentum(mobile) else momenta
        return maxwell_boltzmann_momenta(masses, mobile, self.settings.temperature_k, self.generator)

    def _refuse_existing(self, overwrite: bool) -> None:
        assert self.files is not None
        for path in (self.files.checkpoint, self.files.trajectory, self.files.log):
            if path.exists() and path.stat().st_size and not overwrite:
                raise InputError(
                    f"{path} exists: continue that run with restart, or replace it with overwrite"
                )

    def _require_same_potential(self) -> None:
        stored = self.point.potential.energy
        energy = self._potential(self.point.positions, self.point.cell).energy
        if abs(energy - stored) > 1e-6 * len(self.atoms) + 1e-9 * abs(stored):
            raise InputError(
                f"restart: the calculator gives {energy:.6f} eV where the checkpoint has {stored:.6f} eV; "
                "give the model that the run was started with"
            )

    # -- loop

    def finish(self, progress: ProgressCallback | None) -> MolecularDynamicsResult:
        """Do the remaining steps."""
        first, began = self.step, time.monotonic()
        try:
            with InterruptionRequest() as interruption:
                while True:
                    row = self._record()
                    if row is not None and progress is not None:
                        rate = (time.monotonic() - began) / max(self.step - first, 1)
                        left = rate * max(self.settings.n_steps - self.step, 0)
                        progress(MolecularDynamicsProgress(self.settings.n_steps, row, left))
                    done = self.step >= self.settings.n_steps
                    if done or interruption.requested or self.step % self.settings.checkpoint_interval == 0:
                        self._save()
                    if done or interruption.requested:
                        break
                    self._advance()
        finally:
            if self.writer is not None:
                self.writer.close()
        if not self.rows:
            self.rows.append(self._row())
        return MolecularDynamicsResult(self._frame(results=False), self.step, done, tuple(self.rows))

    def _advance(self) -> None:
        settings = self.settings
        time_step = settings.time_step_fs * units.fs
        self.want_stress = settings.ensemble is Ensemble.NPT or self._is_due(settings.log_interval, 1)
        try:
            if settings.ensemble is Ensemble.NVE:
                self.point = velocity_verlet_step(self.point, self.system, time_step)
            else:
                thermostat = Thermostat(
                    settings.target_temperature(self.step), 1.0 / (settings.thermostat_time_fs * units.fs)
                )
                self.point = langevin_step(
                    self.point, self.system, time_step, thermostat, self.generator, self._barostat()
                )
        except SimulationError as error:
            raise self._failure(str(error), self.atoms) from error
        self.step += 1
        self.recorded = False
        self._guard()

    def _barostat(self) -> Barostat | None:
        if self.settings.ensemble is not Ensemble.NPT:
            return None
        stiffness = self.settings.bulk_modulus_gpa * units.GPa
        rate = 1.0 / (stiffness * self.settings.barostat_time_fs * units.fs)
        return Barostat(self.settings.pressure_gpa * units.GPa, rate)

    def _guard(self) -> None:
        """Stop when atoms fused or the temperature ran away."""
        energy = kinetic_energy(self.point.momenta, self.system.masses)
        temperature = kinetic_temperature(energy, self.n_degrees)
        limit = self.settings.temperature_limit()
        too_hot = not temperature <= limit
        if not too_hot and self.step % self.settings.check_interval:
            return
        contact = find_fused_atoms(self.atoms, self.settings.contact_fraction)
        if contact is not None:
            raise self._failure(f"{contact.describe()}; {FUSED_REMEDY}", self._frame())
        if too_hot:
            raise self._failure(
                f"the temperature is {temperature:.0f} K, above the limit of {limit:.0f} K; use a shorter "
                "time step, relax the structure first, or raise temperature_limit_k if such heat is meant",
                self._frame(),
            )

    def _failure(self, reason: str, frame: Atoms) -> SimulationError:
        message = f"molecular dynamics stopped at step {self.step}: {reason}"
        if self.files is None:
            return SimulationError(message)
        bare = frame.copy() if frame.calc is self.atoms.calc else frame
        ase.io.write(self.files.failure, bare, format="extxyz")
        return SimulationError(f"{message}. The frame is in {self.files.failure}")

    # -- recording

    def _is_due(self, interval: int, ahead: int = 0) -> bool:
        step = self.step + ahead
        return step % interval == 0 or step == self.settings.n_steps

    def _record(self) -> LogRow | None:
        """Write what is due in this step and not yet written; return the new row, if any."""
        if self.recorded:
            return None
        row = None
        if self._is_due(self.settings.log_interval):
            row = self._row()
            self.rows.append(row)
            if self.writer is not None:
                self.writer.add_row(row)
        if self.writer is not None and self._is_due(self.settings.trajectory_interval):
            self.writer.add_frame(self._frame())
        self.recorded = True
        return row

    def _row(self) -> LogRow:
        point, settings = self.point, self.settings
        kinetic = kinetic_energy(point.momenta, self.system.masses)
        volume = abs(float(np.linalg.det(point.cell))) if self.atoms.cell.rank == 3 else np.nan
        pressure = np.nan
        stress = self._stress()
        if stress is not None:
            pressure = pressure_of(stress, kinetic, self.n_degrees, len(self.atoms), volume) / units.GPa
        total = point.potential.energy + kinetic
        largest, mean = self._deviations()
        return LogRow(
            step=self.step,
            time_fs=self.step * settings.time_step_fs,
            potential_energy_ev=point.potential.energy,
            kinetic_energy_ev=kinetic,
            total_energy_ev=total,
            conserved_energy_ev=float("nan") if settings.ensemble is Ensemble.NPT else total - point.heat,
            temperature_k=kinetic_temperature(kinetic, self.n_degrees),
            target_temperature_k=settings.target_temperature(self.step),
            pressure_gpa=float(pressure),
            volume_ang3=float(volume),
            max_force_deviation_ev_per_ang=largest,
            mean_force_deviation_ev_per_ang=mean,
        )

    def _deviations(self) -> tuple[float, float]:
        """Largest and mean norm of the deviations of the forces; nan where they were not asked for."""
        if self.force_deviations is None:
            return float("nan"), float("nan")
        self._place(self.point.positions, self.point.cell)
        norms = np.linalg.norm(self.force_deviations(self.atoms), axis=1)
        return float(norms.max()), float(norms.mean())

    def _stress(self) -> np.ndarray | None:
        if self.point.potential.stress is not None:
            return self.point.potential.stress
        self._place(self.point.positions, self.point.cell)
        return evaluate_potential(self.atoms, want_stress=True).stress

    def _frame(self, results: bool = True) -> Atoms:
        frame = self.frame_template.copy()
        frame.set_cell(self.point.cell)
        frame.set_positions(self.point.positions, apply_constraint=False)
        frame.set_momenta(self.point.momenta, apply_constraint=False)
        frame.info["step"] = self.step
        frame.info["time_fs"] = self.step * self.settings.time_step_fs
        if results:
            potential = self.point.potential
            values = {"energy": potential.energy, "forces": potential.forces}
            if potential.stress is not None:
                values["stress"] = potential.stress
            frame.calc = SinglePointCalculator(frame, **values)
        return frame

    def _save(self) -> None:
        if self.files is not None and self.writer is not None:
            write_checkpoint(self.files.checkpoint, self._checkpoint(*self.writer.sync()))

    def _checkpoint(self, log_bytes: int, trajectory_bytes: int) -> Checkpoint:
        return Checkpoint(
            step=self.step,
            point=self.point,
            numbers=self.atoms.numbers,
            generator_state=dict(self.generator.bit_generator.state),
            settings=self.settings.to_json_dict(),
            log_bytes=log_bytes,
            trajectory_bytes=trajectory_bytes,
            recorded=self.recorded,
        )

    # -- potential

    def _place(self, positions: np.ndarray, cell: np.ndarray) -> None:
        if not np.array_equal(cell, np.asarray(self.atoms.cell)):
            self.atoms.set_cell(cell)
        self.atoms.positions[:] = positions

    def _potential(self, positions: np.ndarray, cell: np.ndarray) -> PotentialValues:
        self._place(positions, cell)
        return evaluate_potential(self.atoms, self.want_stress)
