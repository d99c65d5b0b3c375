"""What ``castile screen`` does with its options: checks, one pass over the candidates, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castile.cli.screen_loop import LoopOptions
    from castile.cli.screen_settings import FilterOptions, ObjectiveOptions, TargetOptions
    from castile.screening.candidates import CandidateStream
    from castile.screening.result import Screening, ScreenSettings
    from castile.screening.targets import Target


@dataclass(frozen=True)
class ScreenFiles:
    """The files that a screening writes; ``given_journal`` is None where finished work is not kept."""

    output: Path
    all_candidates: Path | None
    database: Path | None
    report: Path | None
    map_page: Path | None
    json: Path | None
    given_journal: Path | None

    @property
    def journal(self) -> Path:
        """Where finished work stands meanwhile."""
        return self.given_journal or self.output.with_name(f"{self.output.name}.journal")

    def check(self, stream: CandidateStream, read: Sequence[Path]) -> None:
        """Refuse at the beginning what would destroy what is read, or could not be written at the end."""
        from castile.execution.optional_packages import require_optional

        tables = (self.output, self.all_candidates, self.database)
        _refuse(stream, read, (*tables, self.report, self.map_page, self.json, self.journal))
        _check_endings(*tables)
        if self.map_page is not None:
            require_optional("chemiscope", "maps need chemiscope", "maps")


@dataclass(frozen=True)
class Wish:
    """How many winners, how unlike each other, and from how many of the best."""

    top: int
    most_similar: float
    pool: int | None


def run_screen(
    candidates: list[str],
    wish: Wish,
    objective: ObjectiveOptions,
    filters: FilterOptions,
    target: TargetOptions,
    loop: LoopOptions,
    files: ScreenFiles,
    workers: str | None,
) -> None:
    """Check everything, then screen once, or in rounds with an oracle."""
    from castile.cli.screen_loop import run_loop
    from castile.errors import InputError
    from castile.screening.candidates import CandidateStream
    from castile.screening.result import ScreenSettings

    stream = CandidateStream(candidates)
    files.check(stream, [target.model, *map(Path, filters.known or ()), *map(Path, target.training)])
    wanted, chosen = objective.objective(), filters.filters()
    predictor = target.open()
    settings = ScreenSettings(wanted, wish.top, wish.most_similar, wish.pool, chosen)
    if loop.wanted:
        if any(path is not None for path in (files.all_candidates, files.database, files.map_page)):
            raise InputError("--all, --database and --map are not for a loop; leave them out")
        run_loop(stream, predictor, target.model, settings, loop, files, workers)
        return
    if wanted.needs_best:
        settings = _with_best(settings, predictor)
    _run_once(stream, predictor, settings, files, workers)
    if files.given_journal is None:
        files.journal.unlink(missing_ok=True)


def _run_once(
    stream: CandidateStream, predictor: Target, settings: ScreenSettings, files: ScreenFiles,
    workers: str | None,
) -> None:  # fmt: skip
    """Screen once and write everything."""
    from time import perf_counter, process_time

    from castile.cli.output import print_table, remark, write_json
    from castile.execution.memory import peak_memory
    from castile.report.screen_page import winner_table
    from castile.screening.screening import screen

    wall, cpu = perf_counter(), process_time()
    with _progress() as advance:
        found = screen(stream, predictor, settings, workers=workers, journal=files.journal, advance=advance)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    _write(found, files)
    print_table(winner_table(found, 15))
    _tell(found, files.output, remark)
    if files.json is not None:
        numbers: dict[str, object] = {
            "n_read": found.n_read, "n_predicted": found.n_predicted, "n_skipped": found.n_skipped,
            "n_filtered": sum(found.filtered.values()), "n_extrapolated": found.n_extrapolated,
            "n_winners": len(found.winners), "wall_time_s": wall, "processor_time_s": cpu,
            "peak_memory_bytes": peak_memory(),
        }  # fmt: skip
        counts = {f"n_filtered_{name}": count for name, count in found.filtered.items()}
        write_json(files.json, numbers | counts)


def _write(found: Screening, files: ScreenFiles) -> None:
    """Write the winners, and what else is asked for."""
    from castile.report.screen_page import write_screen_map, write_screen_report
    from castile.screening.output import write_all, write_database, write_winners

    write_winners(files.output, found)
    if files.all_candidates is not None:
        write_all(files.all_candidates, files.journal, found.target, found.unit)
    if files.database is not None:
        write_database(files.database, found)
    if files.report is not None:
        write_screen_report(files.report, found)
    if files.map_page is not None:
        write_screen_map(files.map_page, found)


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


def _check_endings(output: Path, all_candidates: Path | None, database: Path | None) -> None:
    """Refuse endings that stand for no format, or for one whose package is missing."""
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
