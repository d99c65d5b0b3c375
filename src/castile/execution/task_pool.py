"""Work shared out over processes: one small interface, in this process or with Dask on any cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from castile.errors import CastileError, InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = tuple[int, int]

_REST = 1_000  # level of what is left over at the end of a reduction


@dataclass(frozen=True)
class TaskResult(Generic[Result]):
    """What became of one item.

    Attributes
    ----------
    index : int
        Position of the item.
    value : object or None
        What the function returned.
    error : str or None
        Message of the error that the function raised; then ``value`` is None.
    """

    index: int
    value: Result | None
    error: str | None = None


@dataclass(frozen=True)
class Outcome:
    """Value or exception of one task."""

    value: Any
    exception: Exception | None = None

    def get(self) -> Any:
        """Return the value or raise the exception."""
        if self.exception is not None:
            raise self.exception
        return self.value


class Flight(ABC):
    """Tasks of one call that are under way.

    The functions of the call are known by their position. The key of a task is its level in a reduction (0
    for the items) and its index there.
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of tasks under way."""

    @property
    @abstractmethod
    def limit(self) -> int:
        """Number of tasks that keep all workers busy."""

    @abstractmethod
    def submit(self, key: Key, function: int, *arguments: Any) -> None:
        """Start ``functions[function](*arguments)``."""

    @abstractmethod
    def wait(self) -> tuple[Key, Outcome]:
        """Return key and outcome of a task that is done."""


class TaskPool(ABC):
    """Runs functions of items on workers.

    Functions and items must be picklable (functions of a module, ``functools.partial`` of them); a function
    travels to a worker once, whatever the number of items. Items are taken from their iterable as workers
    become free, so that a stream of any length stays out of memory. A task whose worker process dies runs
    again on another one. An item that has a ``name`` is called by it in messages.
    """

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """Number of tasks that run at the same time."""

    @abstractmethod
    def _flight(self, *functions: Callable[..., Any]) -> AbstractContextManager[Flight]:
        """Return an empty flight; at the end of the context what is under way is dropped."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` in the order of the items.

        Raises
        ------
        WorkerError
            If an item brings down every worker that it runs on, or the workers are lost.
        Exception
            Whatever the function raises.
        """
        with self._flight(function) as flight:
            waiting, done, first = enumerate(items), dict[int, Outcome](), 0
            while True:
                for index, item in islice(waiting, max(0, flight.limit - flight.size - len(done))):
                    flight.submit((0, index), 0, item)
                if first in done:
                    yield done.pop(first).get()
                    first += 1
                elif flight.size:
                    (_, index), outcome = flight.wait()
                    done[index] = outcome
                else:
                    return

    def as_completed(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[TaskResult[Result]]:
        """Yield results as they are ready; an item that fails gives an error text and stops nothing.

        Raises
        ------
        WorkerError
            If the workers are lost.
        """
        with self._flight(function) as flight:
            waiting = enumerate(items)
            while True:
                for index, item in islice(waiting, max(0, flight.limit - flight.size)):
                    flight.submit((0, index), 0, item)
                if not flight.size:
                    return
                (_, index), outcome = flight.wait()
                error = None if outcome.exception is None else error_text(outcome.exception)
                yield TaskResult(index, outcome.value, error)

    def reduce_tree(
        self,
        function: Callable[[Item], Result],
        merge: Callable[[Result, Result], Result],
        items: Iterable[Item],
        advance: Callable[[Item], None] | None = None,
    ) -> Result | None:
        """Return all ``function(item)`` merged: neighbours in pairs, then the pairs in pairs, and so on.

        Who merges with whom depends on the number of items only, never on workers or their speed. ``merge``
        may overwrite its arguments. None without items. ``advance`` is called with each item that is done.

        Raises
        ------
        WorkerError, Exception
            As for ``map``.
        """
        with self._flight(function, merge) as flight:
            waiting, under_way, nodes, n_items = enumerate(items), dict[int, Item](), _Tree(), 0
            while True:
                for index, item in islice(waiting, max(0, flight.limit - flight.size)):
                    flight.submit((0, index), 0, item)
                    under_way[index] = item
                    n_items = index + 1
                if not flight.size:
                    break
                (level, index), outcome = flight.wait()
                value = outcome.get()
                if level == 0:
                    item = under_way.pop(index)
                    if advance is not None:
                        advance(item)
                pair = nodes.add(level, index, value)
                if pair is not None:
                    flight.submit((level + 1, index // 2), 1, *pair)
            for left, right in nodes.rest(n_items):
                flight.submit((_REST, 0), 1, left, right)
                nodes.keep_rest(flight.wait()[1].get())
            return nodes.root


class _Tree:
    """Nodes of the reduction that wait for their neighbour."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], Any] = {}
        self.root: Any = None

    def add(self, level: int, index: int, value: Any) -> tuple[Any, Any] | None:
        """Return the pair that ``value`` completes, left one first, or None."""
        if (level, index ^ 1) not in self._nodes:
            self._nodes[level, index] = value
            return None
        neighbor = self._nodes.pop((level, index ^ 1))
        return (value, neighbor) if index % 2 == 0 else (neighbor, value)

    def rest(self, n_items: int) -> Iterator[tuple[Any, Any]]:
        """Yield the pairs of the last, incomplete branch; what they give comes through ``keep_rest``."""
        last = sorted(self._nodes, key=lambda key: key[0])
        assert sum(2**level for level, _ in last) == n_items
        for position, key in enumerate(last):
            value = self._nodes.pop(key)
            if position == 0:
                self.root = value
            else:
                yield value, self.root

    def keep_rest(self, value: Any) -> None:
        """Take what a pair of ``rest`` gave."""
        self.root = value


class SerialPool(TaskPool):
    """Runs everything in this process, one item after the other; functions may use threads."""

    @property
    def n_workers(self) -> int:
        """One."""
        return 1

    @contextmanager
    def _flight(self, *functions: Callable[..., Any]) -> Iterator[Flight]:
        yield _SerialFlight(functions)


class _SerialFlight(Flight):
    """Holds one task at most, or a merge beside it; the last one in is the first to run."""

    def __init__(self, functions: tuple[Callable[..., Any], ...]) -> None:
        self._functions = functions
        self._tasks: list[tuple[Key, int, tuple[Any, ...]]] = []

    @property
    def size(self) -> int:
        """Tasks that wait."""
        return len(self._tasks)

    @property
    def limit(self) -> int:
        """One: the next item is fetched when the last has run."""
        return 1

    def submit(self, key: Key, function: int, *arguments: Any) -> None:
        """Keep a task until it is waited for."""
        self._tasks.append((key, function, arguments))

    def wait(self) -> tuple[Key, Outcome]:
        """Run the task that came last."""
        key, function, arguments = self._tasks.pop()
        try:
            return key, Outcome(self._functions[function](*arguments))
        except Exception as error:
            return key, Outcome(None, error)


def error_text(error: Exception) -> str:
    """Return the message of an error, with its class where it is none of Castile's own."""
    notes = getattr(error, "__notes__", ())
    text = str(error) if isinstance(error, CastileError) else f"{type(error).__name__}: {error}"
    return " ".join(chain([text], notes))


def task_name(key: Key, argument: object) -> str:
    """Return how messages call a task: by the ``name`` of its item if it has one."""
    level, index = key
    if level != 0:
        return "the sum of two results"
    name = getattr(argument, "name", None)
    return name if isinstance(name, str) and name else f"item {index}"


Workers = str | int | TaskPool | None
"""Where work runs, as ``open_task_pool`` takes it."""


@contextmanager
def open_task_pool(workers: Workers = None) -> Iterator[TaskPool]:
    """Open a pool; it is closed, and whatever still runs is stopped, at the end of the context.

    Parameters
    ----------
    workers : int, str or TaskPool, optional
        None: this process. A positive number, also as text: so many processes on this machine. An address
        such as "tcp://node7:8786": a running Dask scheduler. "FILE.toml": a batch system through
        dask-jobqueue, with the options in the file; "slurm:4" (pbs, sge, lsf, ...): 4 jobs with the options
        of dask-jobqueue's own configuration. An open pool is taken as it is and stays open.

    Raises
    ------
    InputError
        If ``workers`` is none of these, the group ``distributed`` is not installed, or the file is wrong.
    WorkerError
        If no worker starts, or no scheduler answers.
    """
    if workers is None or isinstance(workers, TaskPool):
        yield SerialPool() if workers is None else workers
        return
    if isinstance(workers, bool) or not isinstance(workers, int | str):
        raise InputError(f"workers = {workers!r}: give a number, an address, a TOML file, or None")
    try:
        from castile.execution.dask_pool import open_dask_pool
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise InputError(
            f"workers = {workers!r} needs Dask, which is not installed: pip install 'castile[distributed]'"
        ) from error
    with open_dask_pool(workers) as pool:
        yield pool
