"""How many threads run, and the map over chunks that they share."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from castile.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

ENVIRONMENT_VARIABLE = "CASTILE_NUM_THREADS"


def thread_count(threads: int | None = None) -> int:
    """Return the number of threads: the argument, else ``CASTILE_NUM_THREADS``, else all cores this process may use.

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
    if threads < 1:
        raise InputError(f"threads = {threads}: give a positive integer")
    return threads


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="castile")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def limit_blas(threads: int) -> Any:
    """Return a context in which matrix products use at most ``threads`` threads."""
    return _blas().limit(limits=threads, user_api="blas")


def map_chunks(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed by ``threads`` threads with single-threaded BLAS in each.

    At most two items per thread are in flight, so memory does not grow with the number of items.
    """
    count = thread_count(threads)
    if count == 1:
        with limit_blas(1):
            yield from map(function, items)
        return
    pool = _pool(count)
    with limit_blas(1):
        pending = []
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * count:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()
