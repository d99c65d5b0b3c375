"""``castile screen``: the best of many candidates by a model, and the loop with an oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli import screen_options as options
from castile.cli.options import JsonFile, Workers
from castile.cli.screen_options import LOOP, OUTPUTS

if TYPE_CHECKING:
    from castile.screening.candidates import CandidateStream
    from castile.screening.result import Screening, ScreenSettings
    from castile.screening.targets import Target

TablePath = Annotated[
    Path | None,
    typer.Option(
        "--all", metavar="TABLE", help="Every candidate: .csv or .parquet.", rich_help_panel=OUTPUTS
    ),
]
Database = Annotated[
    Path | None, typer.Option(metavar="FILE.db", help="ASE database.", rich_help_panel=OUTPUTS)
]
Report = Annotated[
    Path | None, typer.Option(metavar="HTML", help="Page with figures and a map.", rich_help_panel=OUTPUTS)
]
MapPage = Annotated[
    Path | None,
    typer.Option(
        "--map", metavar="HTML", help="Interactive map of winners and a sample of all candidates.",
        rich_help_panel=OUTPUTS,
    ),
]  # fmt: skip
JournalPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Finished work, kept (default: TABLE.journal, removed at the end).",
        rich_help_panel=OUTPUTS,
    ),
]  # fmt: skip
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="EL=EV,...|DATA", help="Energies of the elements, eV/atom, or structures of them to "
        "compute, for formation energies.",
    ),
]  # fmt: skip
Relax = Annotated[
    int, typer.Option(metavar="STEPS", min=0, help="Relax each candidate by so many steps first.")
]
RelaxCell = Annotated[bool, typer.Option("--relax-cell", help="Cells too.")]
GradeLimit = Annotated[
    float | None,
    typer.Option(
        metavar="G", help="Extrapolation grade of a potential's atom that is flagged (default: the largest "
        "of --training, or 0.001).",
    ),
]  # fmt: skip
Oracle = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|CLASS|FILE.toml",
        help="Winners are labelled and learned from until the top list is stable: emt, tblite, ...; a "
        "calculator's class; or a TOML file with an [oracle] table.",
        rich_help_panel=LOOP,
    ),
]
Truth = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Instead of an oracle: labels that the candidates bring along, hidden from the "
        "model; draws recall and regret.", rich_help_panel=LOOP,
    ),
]  # fmt: skip
Training = Annotated[
    list[str] | None,
    typer.Option(metavar="DATA", help="Structures that the model was trained on.", rich_help_panel=LOOP),
]
TrainingKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of their labels (default: the name of the property).", rich_help_panel=LOOP
    ),
]
Budget = Annotated[int, typer.Option(min=1, metavar="N", help="Labels at most.", rich_help_panel=LOOP)]
BatchSize = Annotated[
    int, typer.Option("--batch", min=1, metavar="N", help="Labels a round.", rich_help_panel=LOOP)
]
Patience = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Rounds in which the list must not change.", rich_help_panel=LOOP),
]


def screen(
    candidates: options.Candidates,
    model: options.ModelPath,
    output: options.Output,
    target: options.TargetName = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of winners.")] = 100,
    goal: options.Goal = "minimise",
    objective: options.Kind = options.ObjectiveName.mean,
    kappa: options.Kappa = 2.0,
    best: options.Best = None,
    below: options.Below = None,
    above: options.Above = None,
    most_similar: options.Diversity = 0.9999,
    pool: Annotated[
        int | None,
        typer.Option(metavar="N", help="Candidates that diverse winners are chosen from (10 a winner)."),
    ] = None,
    only: options.Elements = None,
    required: options.Required = None,
    excluded: options.Excluded = None,
    formula: options.Formulas = None,
    pattern: options.Patterns = None,
    min_atoms: options.MinAtoms = None,
    max_atoms: options.MaxAtoms = None,
    min_volume: options.MinVolume = None,
    max_volume: options.MaxVolume = None,
    known: options.Known = None,
    max_known_similarity: options.MostKnown = None,
    reference: Reference = None,
    relax: Relax = 0,
    relax_cell: RelaxCell = False,
    grade_limit: GradeLimit = None,
    all_candidates: TablePath = None,
    database: Database = None,
    report: Report = None,
    map_page: MapPage = None,
    journal: JournalPath = None,
    json: JsonFile = None,
    workers: Workers = None,
    oracle: Oracle = None,
    truth: Truth = None,
    training: Training = None,
    training_key: TrainingKey = None,
    budget: Budget = 200,
    batch: BatchSize = 10,
    patience: Patience = 3,
) -> None:
    """Find the best of CANDIDATES by MODEL, in one pass of flat memory; killed, the same command goes on.

    What is broken is reported and skipped. With --oracle or --truth the winners are labelled and learned
    from, round after round.
    """
    from castile.screening.candidates import CandidateStream
    from castile.screening.result import ScreenSettings

    stream = CandidateStream(candidates)
    record = journal or output.with_name(f"{output.name}.journal")
    outputs = (output, all_candidates, database, report, map_page, json, record)
    _refuse(stream, [model, *map(Path, known or []), *map(Path, training or [])], outputs)
    _check_endings(output, all_candidates, database, map_page)
    wanted = options.objective_of(objective, goal, kappa, best, below, above)
    chosen = options.filters_of(
        only, required, excluded, formula, pattern, (min_atoms, max_atoms), (min_volume, max_volume), known,
        max_known_similarity,
    )  # fmt: skip
    predictor = options.open_target(
        model, target, reference, relax, relax_cell, grade_limit, list(training or ())
    )  # fmt: skip
    settings = ScreenSettings(wanted, top, most_similar, pool, chosen)
    if oracle is not None or truth is not None:
        from castile.cli.screen_loop import LoopOptions, run_loop
        from castile.errors import InputError

        if any(path is not None for path in (all_candidates, database, map_page)):
            raise InputError("--all, --database and --map are not for a loop; leave them out")
        loop = LoopOptions(oracle, truth, tuple(training or ()), training_key, budget, batch, patience)
        run_loop(stream, predictor, model, settings, loop, output, record, report, json, workers)
        return
    if wanted.needs_best:
        settings = _with_best(settings, predictor)
    _run(
        stream, predictor, settings, output, all_candidates, database, report, map_page, record, json, workers
    )
    if journal is None:
        record.unlink(missing_ok=True)


def _check_endings(
    output: Path, all_candidates: Path | None, database: Path | None, map_page: Path | None
) -> None:
    """Refuse at the beginning what could not be written at the end."""
    from importlib.util import find_spec

    from castile.errors import InputError
    from castile.formats.table_file import import_pyarrow

    for path, endings in (
        (output, (".csv", ".parquet", ".xyz", ".extxyz")), (all_candidates, (".csv", ".parquet")),
        (database, (".db",)),
    ):  # fmt: skip
        if path is not None and path.suffix not in endings:
            raise InputError(f"{path}: is written as {' or '.join(endings)}; change the ending")
        if path is not None and path.suffix == ".parquet":
            import_pyarrow()
    if map_page is not None and find_spec("chemiscope") is None:
        raise InputError("maps need the package chemiscope: pip install 'castile[maps]'")


def _run(
    stream: CandidateStream,
    predictor: Target,
    settings: ScreenSettings,
    output: Path,
    all_candidates: Path | None,
    database: Path | None,
    report: Path | None,
    map_page: Path | None,
    record: Path,
    json: Path | None,
    workers: str | None,
) -> None:
    """Screen once and write everything."""
    from time import perf_counter, process_time

    from castile.cli.output import print_table, remark, write_json
    from castile.execution.memory import peak_memory
    from castile.report.screen_page import winner_table, write_screen_map, write_screen_report
    from castile.screening.output import write_all, write_database, write_winners
    from castile.screening.screening import screen as run_screening

    wall, cpu = perf_counter(), process_time()
    with _progress() as advance:
        found = run_screening(stream, predictor, settings, workers=workers, journal=record, advance=advance)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    write_winners(output, found)
    if all_candidates is not None:
        write_all(all_candidates, record, found.target, found.unit)
    if database is not None:
        write_database(database, found)
    if report is not None:
        write_screen_report(report, found)
    if map_page is not None:
        write_screen_map(map_page, found)
    print_table(winner_table(found, 15))
    _tell(found, output, remark)
    if json is not None:
        numbers: dict[str, object] = {
            "n_read": found.n_read, "n_predicted": found.n_predicted, "n_skipped": found.n_skipped,
            "n_filtered": sum(found.filtered.values()), "n_extrapolated": found.n_extrapolated,
            "n_winners": len(found.winners), "wall_time_s": wall, "processor_time_s": cpu,
            "peak_memory_bytes": peak_memory(),
        }  # fmt: skip
        write_json(json, numbers | {f"n_filtered_{name}": count for name, count in found.filtered.items()})


def _tell(found: Screening, output: Path, remark: Callable[[str], None]) -> None:
    """Remarks on what was left out."""
    for _, text in found.skipped[:20]:
        remark(f"skipped: {text}")
    if found.n_skipped > 20:
        remark(f"skipped: {found.n_skipped - 20} more; --all lists them with their reasons")
    left_out = "".join(f", {count:,} by {name}" for name, count in sorted(found.filtered.items()))
    if found.pool_exhausted:
        remark(
            f"only {len(found.winners)} winners are different enough among the best "
            f"{found.settings.pool_size:,}; raise --pool or --most-similar for more"
        )
    remark(
        f"{output}: {len(found.winners):,} of {found.n_predicted:,} predicted candidates "
        f"({found.n_read:,} read, {found.n_skipped:,} broken{left_out}; {found.n_extrapolated:,} outside the "
        "training data)"
    )


def _with_best(settings: ScreenSettings, predictor: Target) -> ScreenSettings:
    """Settings with the best label that the model keeps."""
    from dataclasses import replace

    from castile.errors import InputError

    labels = predictor.known_labels()
    if not len(labels):
        raise InputError("the expected improvement needs the best known value: give it as --best X")
    return replace(settings, objective=settings.objective.with_best(labels))


@contextmanager
def _progress() -> Iterator[Callable[[int, float], None]]:
    """Progress by the part of the candidates that is done, as a number of structures."""
    from castile.cli.output import counted

    state = [0, 0.0]

    def estimate() -> int | None:
        """Number of all candidates, from what was read so far."""
        return round(state[0] / state[1]) if state[1] > 0.0 else None

    with counted("screening", estimate) as progress:

        def advance(n_read: int, fraction: float) -> None:
            """Keep both numbers for the estimate, then move the bar."""
            state[:] = [n_read, fraction]
            progress(n_read)

        yield advance


def _refuse(stream: CandidateStream, read: Sequence[Path], written: Sequence[Path | None]) -> None:
    """Refuse outputs that are also read, or whose folder does not exist."""
    from castile.errors import InputError

    for path in written:
        if path is None:
            continue
        stream.refuse_as_output(path)
        if path.exists() and any(other.exists() and path.samefile(other) for other in read):
            raise InputError(f"{path}: is also read, and writing it would replace it; name another file")
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.absolute().parent}; create it")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(screen)
