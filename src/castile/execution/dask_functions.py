"""The functions of a call on the workers of Dask: each travels to every worker once, also to later ones.

As data of Dask they would draw all tasks to the worker that has them first; in each task they would travel
again and again.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
from distributed import Worker, WorkerPlugin

from castile.execution.threads import ENVIRONMENT_VARIABLE

_known: dict[str, list[Callable[..., Any] | bytes]] = {}


class FunctionsOfCall(WorkerPlugin):
    """Keeps the functions on each worker from its start, or from the call, to the end of the call."""

    def __init__(self, call: str, functions: Sequence[Callable[..., Any]]) -> None:
        self.name = call
        self._pickled = [cloudpickle.dumps(function) for function in functions]

    def setup(self, worker: Worker) -> None:
        """Keep them as they came; the first task that needs one unpickles it."""
        _known[self.name] = list(self._pickled)

    def teardown(self, worker: Worker) -> None:
        """Forget them."""
        _known.pop(self.name, None)


def run_task(call: str, index: int, arguments: bytes, threads: int) -> Any:
    """Run a task on a worker, with so many threads where its environment names no other number."""
    os.environ.setdefault(ENVIRONMENT_VARIABLE, str(threads))
    function = _known[call][index]
    if isinstance(function, bytes):
        function = _known[call][index] = pickle.loads(function)
    return function(*pickle.loads(arguments))
