"""Wall times of interleaved calls."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHORTEST = 0.02
WARMED = 0.2  # s of calls that are not counted before those that are


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, s."""
        return statistics.median(self.seconds)


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, budget: float = 60.0
) -> dict[str, Timing]:
    """Time each call ``rounds`` times, one after the other in a round, after calls that are not counted.

    Interleaving spreads a slow moment of the machine over all. Within a round a call is first repeated for
    ``WARMED`` seconds that are not counted, and then for ``SHORTEST`` seconds: in dynamics or a loop over
    structures neither caches nor the clock of the processor are as another program left them. A call that has
    used up ``budget`` seconds after three rounds is left out of further rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {name: _repeats(call) for name, call in calls.items()}
    for _ in range(rounds):
        for name, call in calls.items():
            if len(seconds[name]) >= 3 and sum(seconds[name]) > budget:
                continue
            seconds[name].append(_time(call, repeats[name]))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _repeats(call: Callable[[], object]) -> int:
    call()
    return max(1, round(SHORTEST / max(_time(call, 1), 1e-6)))


def _time(call: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    call()
    if (first := time.perf_counter() - started) > WARMED:
        return first
    while time.perf_counter() - started < WARMED:
        call()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats
