"""What a molecular-dynamics run reports, during the run and at its end."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from castile.simulation.md_record import LogRow


@dataclass(frozen=True)
class MolecularDynamicsProgress:
    """What a progress callback receives with every row of the log."""

    n_steps: int
    row: LogRow
    seconds_left: float


ProgressCallback = Callable[[MolecularDynamicsProgress], None]


@dataclass(frozen=True)
class MolecularDynamicsResult:
    """Outcome of a run; every array has one entry per row of the log, from the very start of the run.

    Args:
        atoms: last structure, with momenta and without calculator.
        n_steps: completed steps.
        completed: whether all steps were done; False after an interruption.
        rows: the log.

    """

    atoms: Atoms
    n_steps: int
    completed: bool
    rows: tuple[LogRow, ...]

    def column(self, name: str) -> np.ndarray:
        """Return a column of the log, (n_rows,), under its field name in `LogRow`."""
        return np.array([getattr(row, name) for row in self.rows], dtype=np.float64)

    @property
    def drift_mev_per_atom_per_ps(self) -> float | None:
        """Slope of a straight line through the conserved energy; None for npt or under 3 rows."""
        energies = self.column("conserved_energy_ev")
        if len(self.rows) < 3 or not np.isfinite(energies).all():
            return None
        slope = np.polyfit(self.column("time_fs"), energies - energies[0], 1)[0]
        return float(slope) * 1e6 / len(self.atoms)

    def to_json_dict(self) -> dict[str, float | int | bool | None]:
        """Return flat numbers with units in their names; means are over the second half of the log."""
        half = len(self.rows) // 2

        def mean(name: str) -> float | None:
            """Mean over the second half; None where the log has no numbers."""
            value = float(np.mean(self.column(name)[half:]))
            return value if np.isfinite(value) else None

        return {
            "n_atoms": len(self.atoms),
            "n_steps": self.n_steps,
            "completed": self.completed,
            "time_ps": self.rows[-1].time_fs / 1000.0,
            "mean_temperature_k": mean("temperature_k"),
            "mean_potential_energy_ev": mean("potential_energy_ev"),
            "mean_total_energy_ev": mean("total_energy_ev"),
            "mean_pressure_gpa": mean("pressure_gpa"),
            "mean_volume_ang3": mean("volume_ang3"),
            "drift_mev_per_atom_per_ps": self.drift_mev_per_atom_per_ps,
        }
