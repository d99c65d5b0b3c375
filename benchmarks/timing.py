"""Wall times of interleaved calls."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHORTEST = 0.02
WARMED = 0.25  # s; a longer call hardly notices what the one before has left in the caches


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

    Interleaving spreads a slow moment of the machine over all. Short calls are repeated within a round until
    they fill ``SHORTEST`` seconds, after one that is not counted: in dynamics or a loop over structures the
    caches are not as another program left them. A call that has used up ``budget`` seconds after three rounds
    is left out of further rounds.
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
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats
