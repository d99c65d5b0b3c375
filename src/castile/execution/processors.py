"""Which processor a thread runs on, and how it leaves that of another thread."""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache


@cache
def _reader() -> Callable[[], int] | None:
    """Return the C library's ``sched_getcpu`` where there is one (Linux)."""
    try:
        function: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):
        return None
    return function


def current_processor() -> int:
    """Return the number of the processor that this thread runs on, -1 where it cannot be told."""
    reader = _reader()
    return -1 if reader is None else reader()


def leave_processor(processor: int) -> None:
    """Move this thread to another of its processors if it runs on ``processor``.

    A thread that is woken for a short piece of work is often put where the thread that woke it runs, and
    stays there, behind it, for longer than the work takes. What it may run on does not change.
    """
    if processor < 0 or current_processor() != processor:
        return
    allowed = os.sched_getaffinity(0)
    others = allowed - {processor}
    if others:
        with suppress(OSError):  # where it is not allowed the thread waits for its turn
            os.sched_setaffinity(0, others)
            os.sched_setaffinity(0, allowed)
