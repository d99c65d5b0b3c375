"""The demonstration: silicon data in, a tested potential and a report out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from castile.demo.data import SiliconReference, silicon_file, silicon_reference
from castile.demo.properties import (
    EnergyConservation,
    conserve_energy,
    elastic_comparisons,
    silicon_elastic_constants,
    silicon_equation_of_state,
    state_comparisons,
)
from castile.demo.report import write_demo_report
from castile.evaluation import Evaluation, evaluate
from castile.formats import write_text_file
from castile.potentials.gap import GAP
from castile.report import Comparison
from castile.simulation import ElasticConstants, EquationOfState
from castile.structures import StructureSource, check_census, take_census

Progress = Callable[[str, int, int | None], None]
MD_STEPS = 2000


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found and wrote.

    Attributes:
        model_path, report_path, results_path: the files written.
        evaluation: errors on the held-out structures.
        energy_conservation: the constant-energy run.
        equation_of_state: of the model.
        elastic: elastic constants of the model.
        comparisons: properties of the model against the reference.
        step_seconds: (step, wall time in s).

    """

    model_path: Path
    report_path: Path
    results_path: Path
    evaluation: Evaluation
    energy_conservation: EnergyConservation
    equation_of_state: EquationOfState
    elastic: ElasticConstants
    comparisons: tuple[Comparison, ...]
    step_seconds: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """Wall time of all steps, s."""
        return sum(seconds for _, seconds in self.step_seconds)

    def to_json_dict(self) -> dict[str, object]:
        """Flat numbers with units in the key names."""
        conservation = self.energy_conservation
        numbers: dict[str, object] = {f"test/{k}": v for k, v in self.evaluation.to_json_dict().items()}
        numbers |= {
            "nve_n_atoms": conservation.n_atoms,
            "nve_time_ps": float(conservation.times[-1]),
            "nve_drift_mev_per_atom_per_ps": conservation.drift,
            "nve_energy_fluctuation_mev_per_atom": conservation.fluctuation,
            "nve_mean_temperature_k": float(conservation.temperatures.mean()),
            "nve_energy_conserved": conservation.passed,
        }
        for entry in self.comparisons:
            key = _key(entry.name, entry.unit)
            numbers[key] = entry.model
            numbers[f"{key}_reference"] = entry.reference
        numbers |= {f"seconds/{step}": seconds for step, seconds in self.step_seconds}
        numbers["seconds_total"] = self.seconds
        return numbers


_UNITS = {"Å": "angstrom", "Å³/atom": "cubic_angstrom_per_atom", "GPa": "gpa"}


def _key(name: str, unit: str) -> str:
    words = name.partition("(")[0].lower().split()
    return "_".join([*words, _UNITS[unit]])


@dataclass
class _Clock:
    """Times the steps and reports them."""

    progress: Progress | None
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Time a step of ``total`` parts; the yielded function takes how many are done."""

        def report(done: int) -> None:
            """Hand on the parts that are done, where somebody listens."""
            if self.progress is not None:
                self.progress(name, done, total)

        with self.time(name):
            report(0)
            yield report
        if self.progress is not None:
            self.progress(name, total or 1, total or 1)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Keep the seconds of the block under ``name``."""
        started = perf_counter()
        yield
        self.steps.append((name, perf_counter() - started))

    def fit_stage(self, stage: str, fraction: float) -> None:
        """Report a stage of the fit, its fraction as parts of a hundred."""
        if self.progress is not None:
            self.progress(f"fit: {stage}", int(100 * fraction), 100)


def run_demo(
    output: str | os.PathLike[str] = "castile_demo",
    *,
    progress: Progress | None = None,
    md_steps: int = MD_STEPS,
) -> DemoResult:
    """Fit the shipped silicon data with default settings, test the potential, and write a report.

    Args:
        output: folder for ``model.castile``, ``report.html`` and ``results.json``; made if it is not there.
        progress: called with the name of the step, what is done, and the total (None while it is unknown).
        md_steps: steps of 1 fs of the constant-energy run.

    Raises:
        InputError: the folder cannot be made, or the installed package lacks its data.

    """
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    clock = _Clock(progress)
    reference = silicon_reference()
    train = StructureSource(silicon_file("silicon_train.xyz"))
    test = StructureSource(silicon_file("silicon_test.xyz"))
    with clock.step("label census"):
        census = take_census(train)
        check_census(census)
    with clock.time("fit"):
        model = GAP().fit(train, progress=clock.fit_stage)
    model_path = folder / "model.castile"
    model.save(model_path)
    with clock.step("held-out errors", len(test)) as report:
        evaluation = evaluate(model, test, progress=report)
    tested = _simulate(model, reference, clock, md_steps)
    result = DemoResult(
        model_path=model_path,
        report_path=folder / "report.html",
        results_path=folder / "results.json",
        evaluation=evaluation,
        energy_conservation=tested.conservation,
        equation_of_state=tested.states,
        elastic=tested.elastic,
        comparisons=(
            *state_comparisons(tested.states, reference),
            *elastic_comparisons(tested.elastic, reference),
        ),
        step_seconds=tuple(clock.steps),
    )
    write_demo_report(result.report_path, result, model, census, reference)
    write_text_file(result.results_path, json.dumps(result.to_json_dict(), indent=2) + "\n")
    return result


@dataclass(frozen=True)
class _Tested:
    states: EquationOfState
    elastic: ElasticConstants
    conservation: EnergyConservation


def _simulate(model: GAP, reference: SiliconReference, clock: _Clock, md_steps: int) -> _Tested:
    calculator = model.calculator()
    with clock.step("equation of state"):
        states = silicon_equation_of_state(calculator, reference)
    with clock.step("elastic constants", 12) as report:
        elastic = silicon_elastic_constants(calculator, reference, lambda done, _: report(done))
    lattice_constant = float((8 * states.equilibrium_volume / states.n_atoms) ** (1 / 3))
    with clock.step("constant-energy run", md_steps) as report:
        conservation = conserve_energy(calculator, lattice_constant, n_steps=md_steps, progress=report)
    return _Tested(states, elastic, conservation)
