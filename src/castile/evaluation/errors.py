"""The result of an evaluation: errors by kind of label, kind of structure and element."""

from __future__ import annotations

from dataclasses import dataclass

from castile.evaluation.deviations import DeviationReport, report_numbers
from castile.evaluation.sampling import ParitySample
from castile.evaluation.statistics import ErrorStatistics

GPA_PER_EV_PER_CUBIC_ANGSTROM = 160.21766208
UNNAMED_CONFIG_TYPE = "(none)"


@dataclass(frozen=True)
class GroupErrors:
    """Errors over one group of structures; a kind of label that the group lacks is None.

    Attributes:
        name: config_type of the group, or "all".
        n_structures: structures in the group.
        n_atoms: atoms in the group.
        energy_per_atom: errors of total energies divided by the number of atoms, eV/atom.
        energy: errors of total energies, eV.
        force: errors of Cartesian force components, eV/Angstrom.
        stress: errors of the six Voigt stress components, eV/Angstrom^3.

    """

    name: str
    n_structures: int
    n_atoms: int
    energy_per_atom: ErrorStatistics | None
    energy: ErrorStatistics | None
    force: ErrorStatistics | None
    stress: ErrorStatistics | None


@dataclass(frozen=True)
class StructureError:
    """One structure with a large error: its name, its config_type and the error."""

    name: str
    config_type: str
    error: float


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model on labelled structures.

    Attributes:
        overall: errors over all structures.
        by_config_type: one entry per config_type, sorted by name; empty when no structure has one.
        force_by_element: errors of force components per chemical symbol, eV/Angstrom.
        energy_sample: reference and predicted energies, eV/atom (a bounded uniform sample).
        force_sample: reference and predicted force components, eV/Angstrom (bounded).
        stress_sample: reference and predicted stress components, eV/Angstrom^3 (bounded).
        worst_energies: structures with the largest absolute energy errors, eV/atom, largest first.
        worst_forces: structures with the largest error of any force component, eV/Angstrom, largest first.
        prediction_seconds: wall time of reading and predicting.
        deviations: standard deviations against the errors, where they were asked for.

    """

    overall: GroupErrors
    by_config_type: tuple[GroupErrors, ...]
    force_by_element: tuple[tuple[str, ErrorStatistics], ...]
    energy_sample: ParitySample
    force_sample: ParitySample
    stress_sample: ParitySample
    worst_energies: tuple[StructureError, ...]
    worst_forces: tuple[StructureError, ...]
    prediction_seconds: float
    deviations: DeviationReport | None = None

    @property
    def n_structures(self) -> int:
        """Number of structures evaluated."""
        return self.overall.n_structures

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all structures evaluated."""
        return self.overall.n_atoms

    def to_json_dict(self) -> dict[str, float | int]:
        """Flat numbers with units in the key names (docs: the page of ``castile evaluate``)."""
        numbers = group_numbers(self.overall, prefix="")
        for group in self.by_config_type:
            numbers.update(group_numbers(group, prefix=f"config/{group.name}/"))
        for element, statistics in self.force_by_element:
            numbers[f"element/{element}/n_force_components"] = statistics.n
            numbers[f"element/{element}/force_rmse_ev_per_angstrom"] = statistics.rmse
            numbers[f"element/{element}/force_mae_ev_per_angstrom"] = statistics.mae
        if self.deviations is not None:
            numbers.update(report_numbers(self.deviations))
        numbers["prediction_seconds"] = self.prediction_seconds
        return numbers


def group_numbers(group: GroupErrors, prefix: str = "") -> dict[str, float | int]:
    """Flat numbers of one group; labels that the group lacks have no keys."""
    numbers: dict[str, float | int] = {
        f"{prefix}n_structures": group.n_structures,
        f"{prefix}n_atoms": group.n_atoms,
    }
    kinds = (
        (group.energy_per_atom, "energy", "mev_per_atom", 1000.0, "n_energies"),
        (group.energy, "energy", "mev", 1000.0, None),
        (group.force, "force", "ev_per_angstrom", 1.0, "n_force_components"),
        (group.stress, "stress", "gpa", GPA_PER_EV_PER_CUBIC_ANGSTROM, "n_stress_components"),
    )
    for statistics, kind, unit, scale, count_key in kinds:
        if statistics is None:
            continue
        if count_key is not None:
            numbers[f"{prefix}{count_key}"] = statistics.n
            if statistics.r2 is not None:
                numbers[f"{prefix}{kind}_r2"] = statistics.r2
        numbers[f"{prefix}{kind}_rmse_{unit}"] = statistics.rmse * scale
        numbers[f"{prefix}{kind}_mae_{unit}"] = statistics.mae * scale
        numbers[f"{prefix}{kind}_max_error_{unit}"] = statistics.max_abs * scale
        numbers[f"{prefix}{kind}_mean_error_{unit}"] = statistics.mean_error * scale
    return numbers
