"""Progress and timings of the stages of a fit."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction of it that is done."""


@dataclass
class Stages:
    """Reports the stages to ``progress`` and keeps (name, seconds) of each in ``timings``."""

    progress: Progress | None = None
    timings: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, n_steps: int = 1) -> Iterator[Callable[[], None]]:
        """Time a stage; the yielded function reports one step done."""
        start, done = time.perf_counter(), 0

        def advance() -> None:
            """Count one step and report the fraction, at most one if there are more than announced."""
            nonlocal done
            done += 1
            self._report(name, min(done / max(n_steps, 1), 1.0))

        self._report(name, 0.0)
        yield advance
        self._report(name, 1.0)
        self.timings.append((name, time.perf_counter() - start))

    def _report(self, name: str, fraction: float) -> None:
        if self.progress is not None:
            self.progress(name, fraction)
