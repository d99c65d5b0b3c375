"""The loop of ``castile screen``: winners are labelled and learned from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castile.cli.screen_run import ScreenFiles
    from castile.screening.candidates import CandidateStream
    from castile.screening.labellers import LabelSource
    from castile.screening.loop import LoopResult, Progress
    from castile.screening.proposers import Learner
    from castile.screening.result import ScreenSettings
    from castile.screening.targets import Target


@dataclass(frozen=True)
class LoopOptions:
    """What the command line says of the loop."""

    oracle: str | None
    truth: str | None
    training: tuple[str, ...]
    training_key: str | None
    budget: int
    batch: int
    patience: int

    @property
    def wanted(self) -> bool:
        """Whether there is to be a loop at all."""
        return self.oracle is not None or self.truth is not None


def run_loop(
    stream: CandidateStream,
    target: Target,
    model: Path,
    settings: ScreenSettings,
    options: LoopOptions,
    files: ScreenFiles,
    workers: str | None,
) -> None:
    """Run the loop and write the top list, the labels, report and numbers."""
    from castile.cli.output import print_table, remark, write_json
    from castile.errors import InputError
    from castile.execution.task_pool import open_task_pool
    from castile.report.screen_loop_page import loop_table, top_table, write_loop_report
    from castile.screening.loop import LoopSettings, compare_with_truth, optimise
    from castile.screening.proposers import StreamProposer

    if (options.oracle is None) == (options.truth is None):
        raise InputError("give one of --oracle and --truth, not both")
    output = files.output
    if output.suffix not in (".csv", ".parquet"):
        raise InputError(f"{output}: a top list is written as .csv or .parquet; change the ending")
    learner = _learner(target, model, options)
    loop = LoopSettings(options.budget, options.batch, settings.top, options.patience)
    folder = output.with_name(f"{output.stem}.labels")
    with ExitStack() as stack:
        pool = stack.enter_context(open_task_pool(workers))
        truth = None if options.truth is None else _truth(stream, options.truth)
        source = _source(options, target, folder, truth, pool)
        proposer = StreamProposer(
            stream, learner, settings.objective, settings.filters, settings.most_similar, pool
        )
        result = optimise(
            proposer, source, loop, journal=files.journal,
            advance=lambda each: remark(f"{each.n_labels} labels, {each.n_changed} new in the top list"),
        )  # fmt: skip
    history: tuple[Progress, ...] = ()
    if truth:
        history = compare_with_truth(result, truth, settings.objective)
    write_top(output, result, target)
    print_table(loop_table(result, history))
    print_table(top_table(result, target.name, target.unit))
    if files.report is not None:
        write_loop_report(files.report, result, target.name, target.unit, history)
    if files.json is not None:
        numbers: dict[str, object] = {
            "n_labels": len(result.labels), "n_rounds": len(result.rounds), "reason": result.reason,
            "n_failed": sum(label.value is None for label in result.labels),
        }  # fmt: skip
        if history:
            numbers |= {"recall": history[-1].recall, "regret": history[-1].regret}
        write_json(files.json, numbers)
    remark(f"{output}: top {len(result.top)} after {len(result.labels)} labels ({result.reason})")


def write_top(path: Path, result: LoopResult, target: Target) -> None:
    """Write the top list as a table."""
    from castile.formats.table_file import TableWriter
    from castile.screening.output import unit_suffix

    ending = unit_suffix(target.unit)
    columns: tuple[tuple[str, type], ...] = (
        ("rank", int), ("index", int), ("name", str), (f"{target.name}{ending}", float),
        (f"{target.name}_std{ending}", float), ("labelled", bool),
    )  # fmt: skip
    with TableWriter(path, columns) as table:
        for rank, one in enumerate(result.top, 1):
            table.add([(rank, one.index, one.name, one.value, one.std, one.labelled)])


def _learner(target: Target, model: Path, options: LoopOptions) -> Learner:
    """What learns from labels: a property model fitted anew, or a potential that is updated."""
    import castile
    from castile.errors import InputError
    from castile.screening.proposers import PotentialLearner, PropertyLearner
    from castile.screening.targets import PotentialTarget, PropertyTarget
    from castile.structures import StructureSource

    if isinstance(target, PotentialTarget):
        if target.relaxation is not None:
            raise InputError("--relax does not go with a loop: labels belong to the structures as they are")
        if options.truth is not None:
            raise InputError("--truth gives numbers, and a potential learns from calculations; use --oracle")
        return PotentialLearner(target, lambda: castile.load(model))
    assert isinstance(target, PropertyTarget)
    if not options.training:
        raise InputError("a property model is fitted anew with each label: give its data as --training DATA")
    key = options.training_key or target.name
    structures, values = [], []
    for one in StructureSource(list(options.training)):
        value = _label(one.atoms.info, one.energy, key)
        if value is None:
            raise InputError(f"{one.name}: has no label {key!r}; name it with --training-key")
        structures.append(one.atoms)
        values.append(value)
    return PropertyLearner(target.model, tuple(structures), tuple(values))


def _label(info: dict[str, object], energy: float | None, key: str) -> float | None:
    """A number of a structure, or its energy."""
    value = energy if key == "energy" and key not in info else info.get(key)
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _truth(stream: CandidateStream, key: str) -> dict[int, float]:
    """Labels that candidates bring along, by their index."""
    from castile.errors import InputError

    values: dict[int, float] = {}
    index = 0
    for batch in stream.batches():
        for found in batch.read():
            value = None if found.atoms is None else _label(found.atoms.info, None, key)
            if value is not None:
                values[index] = value
            index += 1
    if not values:
        raise InputError(f"--truth {key}: no candidate has this label; check the key")
    return values


def _source(
    options: LoopOptions, target: Target, folder: Path, truth: dict[int, float] | None, pool: object
) -> LabelSource:
    from castile.barriers.neb_oracle import read_oracle
    from castile.execution.task_pool import TaskPool
    from castile.screening.labellers import KnownLabels, OracleLabels
    from castile.screening.targets import ENERGIES, PotentialTarget

    if truth is not None:
        return KnownLabels(truth)
    assert isinstance(pool, TaskPool)
    assert options.oracle is not None
    oracle = read_oracle(options.oracle)
    folder.mkdir(exist_ok=True)
    quantity = target.name if target.name in ENERGIES else "energy_per_atom"
    references = target.references if isinstance(target, PotentialTarget) else {}
    return OracleLabels(folder, oracle, pool, quantity, references)
