"""Threads that leave the processor of another one."""

import os
import threading

import pytest

from castile.execution.processors import current_processor, leave_processor

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or current_processor() < 0 or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two processors",
)


def _in_a_thread(processor: int | None) -> tuple[int, int, bool]:
    """Processor before and after leaving ``processor`` (None: the own one), and whether all are allowed."""
    found: list[tuple[int, int, bool]] = []

    def run() -> None:
        allowed = os.sched_getaffinity(0)
        home = min(allowed)
        os.sched_setaffinity(0, {home})  # it is there now
        os.sched_setaffinity(0, allowed)
        leave_processor(home if processor is None else processor)
        found.append((home, current_processor(), os.sched_getaffinity(0) == allowed))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_goes_elsewhere_and_may_come_back() -> None:
    for _ in range(20):
        home, after, free = _in_a_thread(None)
        assert free
        if after != home:  # a busy machine may move it back before it looks
            return
    pytest.fail("the thread never left")


def test_a_thread_that_is_elsewhere_stays_free() -> None:
    assert _in_a_thread(10_000)[2]
    assert _in_a_thread(-1)[2]
