"""Screening: from a stream of candidates to the best of them, in flat memory, restartable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from castile.errors import InputError
from castile.execution.journal import Journal, journal_key
from castile.execution.task_pool import SerialPool, Workers, open_task_pool
from castile.screening.batch_work import BatchOutcome, BatchTask
from castile.screening.candidates import CandidateStream
from castile.screening.records import Row, row_of
from castile.screening.result import Screening, ScreenSettings
from castile.screening.state import ScreeningState
from castile.screening.targets import Target
from castile.splits.similarity_index import run_tasks

Advance = Callable[[int, float], None]
"""Called with the number of structures read so far and the part of the stream that is done, 0 to 1."""


def screen(
    candidates: CandidateStream,
    target: Target,
    settings: ScreenSettings,
    *,
    workers: Workers = None,
    threads: int | None = None,
    journal: str | os.PathLike[str] | None = None,
    advance: Advance | None = None,
) -> Screening:
    """Predict all candidates and return the best; equal input gives equal output, also after a kill.

    Parameters
    ----------
    candidates : CandidateStream
    target : Target
    settings : ScreenSettings
    workers : optional
        As for :func:`castile.execution.task_pool.open_task_pool`; None: the threads of this process.
    threads : int, optional
        Default: ``CASTILE_NUM_THREADS`` or all cores.
    journal : path, optional
        File of finished work; a screening that was cut off goes on behind it.
    advance : callable, optional

    Raises
    ------
    InputError
        If the objective needs deviations that the model does not have, or the journal belongs to another
        screening.
    """
    _check(target, settings)
    objectives = (settings.objective, *settings.also)
    task = BatchTask(target, settings.filters, objectives)
    record = Journal(journal, screening_key(candidates, target, settings))
    _refuse_other(record)
    state = ScreeningState(settings, objectives)
    for entry in record.records():
        state.absorb(entry)
    if advance is not None:
        advance(state.n_read, candidates.fraction if state.n_read else 0.0)
    with open_task_pool(workers) as pool, record:
        for outcome in _outcomes(task, candidates, state.position, pool, threads):
            record.add(state.take(outcome))
            if advance is not None:
                advance(state.n_read, candidates.fraction)
    return state.result(target)


def screening_key(candidates: CandidateStream, target: Target, settings: ScreenSettings) -> str:
    """Return a hash of everything that the result depends on."""
    digest = hashlib.sha256(candidates.fingerprint().encode())
    digest.update(target.fingerprint().encode() + settings.filters.fingerprint().encode())
    plain = (
        settings.objective, settings.top, settings.pool_size, settings.sample, settings.seed, settings.also
    )  # fmt: skip
    digest.update(repr(plain).encode())
    return digest.hexdigest()


def journal_rows(journal: str | os.PathLike[str]) -> Iterator[Row | tuple[int, str, str]]:
    """Yield every candidate of a journal in order: its row, or index, name and reason of a broken one."""
    with open(journal, encoding="utf-8") as file:
        next(file)
        for line in file:
            entry = json.loads(line)
            rows: list[Row | tuple[int, str, str]] = [row_of(plain) for plain in entry["rows"]]
            broken: list[Row | tuple[int, str, str]] = [(i, name, text) for i, name, text in entry["skipped"]]
            yield from sorted(rows + broken, key=lambda one: one.index if isinstance(one, Row) else one[0])


def _check(target: Target, settings: ScreenSettings) -> None:
    for objective in (settings.objective, *settings.also):
        if objective.needs_deviation and not target.has_deviation:
            raise InputError(
                f"the objective {objective.kind!r} needs standard deviations, and this model has none; "
                "use 'mean'"
            )
        if objective.needs_best:
            raise InputError("the expected improvement needs the best value that is known: give best")


def _refuse_other(record: Journal) -> None:
    if record.path is None:
        return
    found = journal_key(record.path)
    if found is not None and found != record.key:
        raise InputError(
            f"{record.path}: belongs to a screening of other candidates, another model or other settings; "
            "go on with those, or delete it to begin anew"
        )
    if found is None and record.path.exists() and record.path.stat().st_size > 0:
        raise InputError(f"{record.path}: is no journal of a screening; name another file")


def _outcomes(
    task: BatchTask, candidates: CandidateStream, start: int, pool: Any, threads: int | None
) -> Iterator[BatchOutcome]:
    """Yield outcomes in order; the first batch is done here, so that kernels are compiled once."""
    batches = candidates.batches(start)
    first = next(batches, None)
    if first is None:
        return
    yield from run_tasks(task, [first], None, 1)
    yield from run_tasks(task, batches, None if isinstance(pool, SerialPool) else pool, threads)
