"""Errors of a model on labelled structures, one structure in memory at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.evaluation.deviation_collector import (
    COMMITTEE_SAMPLES,
    DeviationCollector,
    UncertainPredictor,
    UncertainValues,
)
from castile.evaluation.errors import UNNAMED_CONFIG_TYPE, Evaluation, GroupErrors, StructureError
from castile.evaluation.prediction_stream import PredictedValues, Predictor, predict_stream
from castile.evaluation.sampling import ParityReservoir
from castile.evaluation.statistics import ErrorAccumulator, ErrorStatistics
from castile.structures import LabelKeys, LabelledStructure, StructureSource, as_source
from castile.structures.readers import StructureLike

N_WORST = 10
Progress = Callable[[int], None]


def evaluate(
    model: Predictor,
    structures: StructureSource | StructureLike | Iterable[StructureLike],
    *,
    keys: LabelKeys | None = None,
    progress: Progress | None = None,
    sample_size: int = 4000,
    seed: int = 0,
    uncertainty: str | None = None,
) -> Evaluation:
    """Compare predictions with labels.

    Only labels that exist are counted; atoms that a force mask excludes are left out.

    Args:
        model: the model to judge.
        structures: a file, a glob, "file@::10", ``ase.Atoms``, a list of these, or a ``StructureSource``.
        keys: names of the labels; automatic where None.
        progress: called with the number of structures done after each structure.
        sample_size: largest number of points kept per parity plot.
        seed: seed of the sample for the parity plots.
        uncertainty: "committee", "exact" or "auto": also compare standard deviations with the errors; needs a
            model with ``predict_many_with_uncertainty``.

    Raises:
        InputError: no structure, no label at all, or a structure that the model cannot predict.

    """
    collector = _Collector(sample_size, seed)
    started = perf_counter()
    predictor = model
    if uncertainty is not None:
        predictor = UncertainPredictor(model, uncertainty, COMMITTEE_SAMPLES)  # type: ignore[arg-type]
    for structure, predicted in predict_stream(predictor, as_source(structures, keys)):
        collector.add(structure, predicted)
        collector.seconds = perf_counter() - started
        if progress is not None:
            progress(collector.overall.n_structures)
    return collector.evaluation()


class _Group:
    """Accumulators of one group of structures."""

    def __init__(self) -> None:
        self.n_structures = 0
        self.n_atoms = 0
        self.energy_per_atom = ErrorAccumulator()
        self.energy = ErrorAccumulator()
        self.force = ErrorAccumulator()
        self.stress = ErrorAccumulator()

    def errors(self, name: str) -> GroupErrors:
        """Return the errors of the group under its name."""
        return GroupErrors(
            name=name,
            n_structures=self.n_structures,
            n_atoms=self.n_atoms,
            energy_per_atom=self.energy_per_atom.statistics(),
            energy=self.energy.statistics(),
            force=self.force.statistics(),
            stress=self.stress.statistics(),
        )


class _Collector:
    """All accumulators of one evaluation."""

    def __init__(self, sample_size: int, seed: int) -> None:
        self.overall = _Group()
        self.groups: dict[str, _Group] = {}
        self.elements: dict[str, ErrorAccumulator] = {}
        self.energy_sample = ParityReservoir(sample_size, seed)
        self.force_sample = ParityReservoir(sample_size, seed)
        self.stress_sample = ParityReservoir(sample_size, seed)
        self.worst_energies = _Worst()
        self.worst_forces = _Worst()
        self.deviations = DeviationCollector()
        self.seconds = 0.0

    def add(self, structure: LabelledStructure, predicted: PredictedValues) -> None:
        """Take up a structure and what was predicted for it."""
        if isinstance(predicted, UncertainValues):
            self.deviations.add(structure, predicted.deviations)
        n_atoms = len(structure.atoms)
        group = self.groups.setdefault(structure.config_type, _Group())
        for target in (self.overall, group):
            target.n_structures += 1
            target.n_atoms += n_atoms
            if structure.energy is not None:
                target.energy.add(structure.energy, predicted.energy)
                target.energy_per_atom.add(structure.energy / n_atoms, predicted.energy / n_atoms)
            if structure.stress is not None and predicted.stress is not None:
                target.stress.add(structure.stress, predicted.stress)
        if structure.energy is not None:
            self.energy_sample.add([structure.energy / n_atoms], [predicted.energy / n_atoms])
            error = abs(predicted.energy - structure.energy) / n_atoms
            self.worst_energies.add(structure, error)
        if structure.stress is not None and predicted.stress is not None:
            self.stress_sample.add(structure.stress, predicted.stress)
        if structure.forces is not None:
            self._add_forces(structure, structure.forces, predicted.forces, group)

    def _add_forces(
        self, structure: LabelledStructure, labels: NDArray, forces: NDArray, group: _Group
    ) -> None:
        used = np.ones(len(labels), dtype=bool) if structure.force_mask is None else structure.force_mask
        symbols = np.array(structure.atoms.get_chemical_symbols())[used]
        reference, predicted = np.asarray(labels)[used], np.asarray(forces)[used]
        if len(reference) == 0:
            return
        self.overall.force.add(reference, predicted)
        group.force.add(reference, predicted)
        self.force_sample.add(reference, predicted)
        for element in np.unique(symbols):
            of_element = symbols == element
            accumulator = self.elements.setdefault(str(element), ErrorAccumulator())
            accumulator.add(reference[of_element], predicted[of_element])
        self.worst_forces.add(structure, float(np.abs(predicted - reference).max()))

    def evaluation(self) -> Evaluation:
        """Return the errors of all structures; InputError where nothing could be compared."""
        overall = self.overall.errors("all")
        if overall.n_structures == 0:
            raise InputError("nothing to evaluate: the data contain no structure.")
        if overall.energy is None and overall.force is None and overall.stress is None:
            raise InputError(
                f"nothing to compare: none of the {overall.n_structures} structures has an energy, forces or "
                "a stress; name the labels with --energy-key, --forces-key, --stress-key or --virial-key."
            )
        named = any(self.groups)
        groups = (
            [(name or UNNAMED_CONFIG_TYPE, group) for name, group in self.groups.items()] if named else []
        )
        by_element: list[tuple[str, ErrorStatistics]] = []
        for element in sorted(self.elements):
            statistics = self.elements[element].statistics()
            if statistics is not None:
                by_element.append((element, statistics))
        return Evaluation(
            overall=overall,
            by_config_type=tuple(group.errors(name) for name, group in sorted(groups, key=lambda g: g[0])),
            force_by_element=tuple(by_element),
            energy_sample=self.energy_sample.sample(),
            force_sample=self.force_sample.sample(),
            stress_sample=self.stress_sample.sample(),
            worst_energies=self.worst_energies.largest_first(),
            worst_forces=self.worst_forces.largest_first(),
            prediction_seconds=self.seconds,
            deviations=self.deviations.report(),
        )


class _Worst:
    """The few structures with the largest errors seen."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, StructureError]] = []
        self._n_seen = 0

    def add(self, structure: LabelledStructure, error: float) -> None:
        """Take up the error of a structure; it stays while it is among the largest."""
        self._n_seen += 1
        entry = (error, -self._n_seen, StructureError(structure.name, structure.config_type, error))
        if len(self._heap) < N_WORST:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def largest_first(self) -> tuple[StructureError, ...]:
        """Return the structures kept, that with the largest error first."""
        return tuple(entry[2] for entry in sorted(self._heap, reverse=True))
