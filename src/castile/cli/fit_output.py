"""What ``castile fit`` and ``castile update`` show while they work and when they are done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from castile.evaluation import Evaluation
    from castile.potentials.fit_report import FitReport
    from castile.potentials.gap import GAP
    from castile.potentials.plan import FitPlan
    from castile.structures import LabelCensus


class StageBars:
    """One bar per stage with the time left; where stderr is no terminal, one line when a stage ends.

    Called with the name of the stage and the fraction done.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, int] = {}
        self._started: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float) -> None:
        """Move the bar of a stage."""
        from rich.progress import TaskID

        if stage not in self._tasks:
            self._tasks[stage] = int(self._bars.add_task(stage, total=1.0))
            self._started[stage] = perf_counter()
        self._bars.update(TaskID(self._tasks[stage]), completed=fraction)
        if fraction >= 1.0 and self._bars.disable and stage in self._started:
            typer.echo(f"{stage}: {perf_counter() - self._started.pop(stage):.1f} s", err=True)

    @contextmanager
    def shown(self) -> Iterator[StageBars]:
        """Show the bars."""
        with self._bars:
            yield self

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bars away while something else is printed."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()


@contextmanager
def nothing_written_if_interrupted() -> Iterator[None]:
    """Say on Ctrl-C that no file was touched."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.add_note("Nothing was written.")
        raise


def plan_printer(bars: StageBars) -> Callable[[FitPlan], None]:
    """Return a callable that prints census and estimated memory before the work starts."""

    def show(plan: FitPlan) -> None:
        """Census and memory, with the bars held still so that the lines do not cut through them."""
        from castile.cli.output import remark

        with bars.paused():
            print_census(plan.census)
            remark(f"Estimated peak memory: {plan.estimated_memory / 1e9:.2f} GB")

    return show


def print_census(census: LabelCensus) -> None:
    """Print the census of the labels on stdout."""
    from castile.cli.output import print_table
    from castile.report.fit_tables import census_table

    print_table(census_table(census))


def print_fit(report: FitReport, *, with_reasons: bool = True) -> None:
    """Print settings with reasons, composition, noise, amplitudes and timings on stdout."""
    from castile.cli.output import print_table
    from castile.report.fit_tables import (
        amplitude_table,
        composition_table,
        fit_timing_table,
        noise_table,
        reasons_table,
    )

    if with_reasons and report.explanations:
        print_table(reasons_table(report))
    print_table(composition_table(report))
    print_table(noise_table(report))
    energy = report.noise("energy")
    if energy is not None:
        n_atoms = report.census.atoms_per_structure[1]
        typer.echo(
            f"A structure of n atoms has an energy noise of {1000 * energy.sigma:.3g} meV times the root of "
            f"n: {1000 * energy.sigma / math.sqrt(n_atoms):.3g} meV/atom for the median structure of "
            f"{n_atoms:g} atoms.\n"
        )
    print_table(amplitude_table(report))
    print_table(fit_timing_table(report))


def print_calibration(model: GAP) -> None:
    """Say on stderr what the standard deviations are scaled by, and what its data showed."""
    from castile.cli.output import remark

    calibration = model.uncertainty.calibration
    for text in calibration.remarks:
        remark(f"castile: warning: {text}")
    remark(f"Standard deviations: {calibration.source}.")


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the errors on the test structures on stdout."""
    from castile.cli.output import print_table
    from castile.evaluation.tables import config_type_table, error_table

    print_table(error_table(evaluation, "Errors on the test structures"))
    if evaluation.by_config_type:
        print_table(config_type_table(evaluation))


def json_numbers(report: FitReport, evaluation: Evaluation | None) -> dict[str, object]:
    """Return the numbers of the fit; errors on the test structures under their own keys and with ``test_``.

    Where both have a key (n_structures, n_atoms), the plain one is that of the fit.
    """
    numbers: dict[str, object] = {}
    if evaluation is not None:
        tested = evaluation.to_json_dict()
        numbers |= tested | {f"test_{key}": value for key, value in tested.items()}
    return numbers | report.to_json_dict()


def check_output(output: Path) -> None:
    """Refuse, before any work is done, a model file that could not be written.

    Raises
    ------
    InputError
        If the folder is missing, or the suffix is that of the settings.
    """
    from castile.errors import InputError

    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}; make it first")
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; name a file, for example {output}/model.castile")
    if output.suffix == ".toml":
        raise InputError(f"--output {output}: .toml is for the settings; name the model *.castile")
