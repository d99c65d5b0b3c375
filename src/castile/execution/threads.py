"""How many threads run, and the maps over chunks that they share."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from numbers import Integral
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from castile.errors import InputError
from castile.execution.processors import current_processor, leave_processor

Item = TypeVar("Item")
Result = TypeVar("Result")

ENVIRONMENT_VARIABLE = "CASTILE_NUM_THREADS"

_local = threading.local()


def thread_count(threads: int | None = None) -> int:
    """Return the number of threads: the argument, else ``CASTILE_NUM_THREADS``, else all usable cores.

    Raises
    ------
    InputError
        If the argument or the variable is not a positive integer.
    """
    if threads is None:
        text = os.environ.get(ENVIRONMENT_VARIABLE, "")
        if not text:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not text.isdigit():
            raise InputError(f"{ENVIRONMENT_VARIABLE}={text!r}: give a positive integer")
        threads = int(text)
    if not isinstance(threads, Integral) or threads < 1:
        raise InputError(f"threads = {threads!r}: give a positive integer")
    return threads


class _BlasLimits:
    """Limits on BLAS threads that are in force at the same time: the smallest one rules.

    Contexts of different threads and generators end in any order, so each cannot simply restore what it
    found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
        self._active: list[int] = []
        self._original: list[int] = []

    def enter(self, threads: int) -> None:
        """Bring a limit into force; it counts where it is the smallest."""
        with self._lock:
            smallest = min(self._active, default=None)
            self._active.append(threads)
            if smallest is None:
                self._original = [library.get_num_threads() for library in self._libraries]
                self._limit(threads, self._original)
            elif threads < smallest:
                self._limit(threads, [smallest] * len(self._original))

    def leave(self, threads: int) -> None:
        """Take a limit back; the smallest that is left rules, or what was there at first."""
        with self._lock:
            self._active.remove(threads)
            smallest = min(self._active, default=None)
            if smallest is None or smallest > threads:
                self._limit(smallest, [threads] * len(self._original))

    def _limit(self, threads: int | None, now: list[int]) -> None:
        """Let each library have at most ``threads``, None for what it had; ``now`` bounds what they have."""
        for library, original, current in zip(self._libraries, self._original, now, strict=True):
            wanted = original if threads is None else min(threads, original)
            if wanted != min(current, original):
                library.set_num_threads(wanted)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="castile", initializer=_mark_worker)


@cache
def _blas() -> _BlasLimits:
    return _BlasLimits()


def _mark_worker() -> None:
    _local.is_worker = True


def _forget_threads() -> None:
    """A forked child has none of its parent's threads, and must not wait for them."""
    _pool.cache_clear()
    _blas.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


@contextmanager
def limit_blas(threads: int) -> Iterator[None]:
    """Let matrix products use at most ``threads`` threads; of several limits in force the smallest counts."""
    limits = _blas()
    limits.enter(threads)
    try:
        yield
    finally:
        limits.leave(threads)


def map_chunks(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed by ``threads`` threads with single-threaded BLAS in each.

    At most two items per thread are in flight, so memory does not grow with the number of items. When an item
    raises, or the iterator is closed early, items that have not begun are dropped and those that have are
    waited for. Inside one of its own threads the map is serial.
    """
    count = thread_count(threads)
    if count == 1 or getattr(_local, "is_worker", False):
        for item in items:
            with limit_blas(1):
                result = function(item)
            yield result
        return
    pending: deque[Future[Result]] = deque()
    with limit_blas(1):
        try:
            for item in items:
                pending.append(_pool(count).submit(function, item))
                if len(pending) >= 2 * count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)


def share_chunks(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None
) -> list[Result]:
    """Return ``function(item)`` of all items, which ``threads`` threads share, with single-threaded BLAS.

    The calling thread is one of them and each takes the next item when it is done with one, so that a few
    short items gain, too; :func:`map_chunks` is for long streams. When an item raises, items that have not
    begun are dropped and those that have are waited for.
    """
    count = min(thread_count(threads), len(items))
    with limit_blas(1):
        if count <= 1 or getattr(_local, "is_worker", False):
            return [function(item) for item in items]
        found: list[Any] = [None] * len(items)
        waiting = iter(range(len(items)))
        home = current_processor()

        def take(helps: bool = True) -> None:
            """Work on one item after another until none is waiting; after an error none is."""
            if helps:
                leave_processor(home)
            try:
                for index in waiting:  # of all threads: the next index is taken by one of them
                    found[index] = function(items[index])
            except BaseException:
                for _ in waiting:
                    continue
                raise

        futures = [_pool(thread_count(threads)).submit(take) for _ in range(count - 1)]
        try:
            take(helps=False)
        finally:
            begun = [future for future in futures if not future.cancel()]
            wait(begun)
        for future in begun:
            future.result()
        return found
