"""What a second thread gains, in processes that run nothing but Castile.

Beside other packages it cannot be measured: their idle threads go on spinning and take the second core. A
virtual processor that was idle while one thread ran comes back slowly, for seconds: so the gain is measured
as it is, and with all processors kept awake by loops that run only when nobody else wants to.
"""

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Table, figure
from benchmarks.systems import System, rattled, speed_systems

TARGET = 1.8
_ROUNDS, _SECONDS = 9, 0.25
_GAP = ("si", "GAP, energy, forces and stress, Si")


_LOOP = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[2]):
    sum(range(100_000))
"""


@contextmanager
def awake_processors() -> Iterator[None]:
    """Keep all processors busy with loops of idle priority, where the system has it (Linux)."""
    loops = []
    if hasattr(os, "SCHED_IDLE"):
        parent = str(os.getpid())
        for processor in os.sched_getaffinity(0):
            loops.append(subprocess.Popen([sys.executable, "-c", _LOOP, str(processor), parent]))
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def thread_gains(quick: bool) -> tuple[dict[str, float], Table, list[Check]]:
    """Time with one thread over that with two: numbers by key, the table and the targets."""
    numbers: dict[str, float] = {}
    rows, checks = [], []
    for index, repeats in itertools.product(range(len(speed_systems(quick))), (1, 2)):
        if quick and repeats > 1:
            continue
        given = {"index": index, "repeats": repeats, "quick": quick}
        plain = run_isolated("benchmarks.thread_gain:measure_gains", given, 2)
        with awake_processors():
            awake = run_isolated("benchmarks.thread_gain:measure_gains", given, 2)
        for (label, key, gain), (_, _, gain_awake) in zip(plain, awake, strict=True):
            numbers[f"{key}_gain_of_two_threads"] = gain
            numbers[f"{key}_gain_of_two_threads_awake"] = gain_awake
            rows.append((label, f"{figure(gain)}x", f"{figure(gain_awake)}x"))
            checks.append(Check(f"two threads, {label}", gain_awake, TARGET, "x", "at least"))
    columns = ("", "gain", "processors kept awake")
    return numbers, Table("Castile, gain of the second thread", columns, tuple(rows)), checks


def measure_gains(index: int, repeats: int, quick: bool) -> list[tuple[str, str, float]]:
    """(label, key, gain) of SOAP values, their gradients and, on silicon, a GAP."""
    from benchmarks import models, peers

    system = _repeated(speed_systems(quick)[index], repeats)
    size = f"{system.label}, {system.n_atoms} atoms"
    key = f"{system.key}_{system.n_atoms}_atoms"
    calls: dict[str, tuple[str, Callable[[int], Callable[[], object]]]] = {
        "values": (f"SOAP values, {size}", lambda threads: peers.castile_values(system, threads)),
        "gradients": (f"SOAP gradients, {size}", lambda threads: peers.castile_gradients(system, threads)),
    }
    if system.key == _GAP[0]:
        large = _repeated(models.silicon_system((2, 2, 2) if quick else (4, 4, 4)), repeats)
        model = models.random_model(large, 100 if quick else 1000, 4.0)

        def potential(threads: int) -> Callable[[], object]:
            copies = large.alternating()
            return lambda: model.predict(next(copies), threads)

        calls["gap"] = f"{_GAP[1]}, {large.n_atoms} atoms", potential
    return [(label, f"{key}_{kind}", _gain(make(1), make(2), quick)) for kind, (label, make) in calls.items()]


def _repeated(system: System, repeats: int) -> System:
    if repeats == 1:
        return system
    larger = system.copies[0] * (repeats, repeats, repeats)
    return replace(system, copies=(rattled(larger, 1, 0.02), rattled(larger, 2, 0.02)))


def _gain(one: Callable[[], Any], two: Callable[[], Any], quick: bool) -> float:
    """Median time of one call over that of the other; each fills a quarter of a second in turn."""
    seconds: tuple[list[float], list[float]] = [], []
    for turn in range(2 if quick else _ROUNDS):
        for call, medians in zip((one, two), seconds, strict=True):
            call()
            taken: list[float] = []
            until = time.perf_counter() + (0.02 if quick else _SECONDS)
            while time.perf_counter() < until or not taken:
                started = time.perf_counter()
                call()
                taken.append(time.perf_counter() - started)
            if turn:
                medians.append(statistics.median(taken))
    return statistics.median(seconds[0]) / statistics.median(seconds[1])
