"""Task pools on Dask: processes of this machine, a running scheduler, or a batch system."""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import cloudpickle
import dask
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.utils import silence_logging_cmgr

from castile.errors import InputError, WorkerError
from castile.execution.batch_system import open_batch_cluster
from castile.execution.task_pool import Flight, Outcome, TaskPool, item_name
from castile.execution.threads import ENVIRONMENT_VARIABLE, thread_count

ALLOWED_FAILURES = 3
_IN_FLIGHT = 3  # tasks per worker: one runs, one waits there, one is on its way back
_CONNECT_SECONDS = 20.0
_LOST_SECONDS = 300.0
_POLL_SECONDS = 1.0
_LOG = "workers.log"
_QUIET = 60  # above every level of the logging module
_SETTINGS = {
    "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.worker-ttl": None,  # a long call of LAPACK may hold the interpreter lock
    "distributed.admin.large-graph-warning-threshold": "1TB",  # sparse points travel once, knowingly
    "distributed.comm.timeouts.connect": "60s",
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Health = Callable[[], None]
"""Called now and then while results are awaited; raises WorkerError when none will come."""


class DaskPool(TaskPool):
    """A pool on the workers that a Dask client reaches."""

    def __init__(self, client: Client, check: Health) -> None:
        self._client = client
        self._check = check
        self._counted = (-1.0, 1)

    @property
    def n_workers(self) -> int:
        """Tasks that run at the same time now; an adaptive cluster changes it."""
        when, count = self._counted
        if time.monotonic() - when > _POLL_SECONDS:
            count = max(1, sum(self._client.nthreads().values()))
            self._counted = (time.monotonic(), count)
        return count

    @contextmanager
    def _flight(self, *functions: Callable[..., Any]) -> Iterator[Flight]:
        flight = _DaskFlight(self, self._client, self._check, functions)
        try:
            yield flight
        finally:
            flight.drop()


class _DaskFlight(Flight):
    """The functions travel as tasks of their own, on which all others depend: so a worker gets them once, and
    one that starts later, or again, gets them too.
    """

    def __init__(
        self, pool: DaskPool, client: Client, check: Health, functions: tuple[Callable[..., Any], ...]
    ) -> None:
        self._pool, self._client, self._check = pool, client, check
        self._name = f"castile-{uuid.uuid4().hex}"
        self._functions = [
            client.submit(pickle.loads, cloudpickle.dumps(function), key=f"{self._name}-function-{index}")
            for index, function in enumerate(functions)
        ]
        self._under_way: dict[int, tuple[Any, str, Future]] = {}
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._n_submitted = 0

    @property
    def size(self) -> int:
        return len(self._under_way)

    @property
    def limit(self) -> int:
        return _IN_FLIGHT * self._pool.n_workers

    def submit(self, key: Any, function: int, *arguments: Any) -> None:
        index = self._n_submitted
        self._n_submitted += 1
        future = self._client.submit(
            _call,
            self._functions[function],
            cloudpickle.dumps(arguments),
            key=(self._name, index),
            pure=False,
        )
        self._under_way[index] = (key, item_name(index, arguments[0]), future)
        future.add_done_callback(lambda _: self._done.put(index))

    def wait(self) -> tuple[Any, Outcome]:
        while True:
            try:
                index = self._done.get(timeout=_POLL_SECONDS)
                break
            except queue.Empty:
                self._check()
        key, name, future = self._under_way.pop(index)
        try:
            return key, Outcome(future.result())
        except KilledWorker:
            return key, Outcome(None, _deadly(name))
        except asyncio.CancelledError as error:
            raise WorkerError("the Dask scheduler was lost, and with it the work under way") from error
        except Exception as error:
            return key, Outcome(None, error)

    def drop(self) -> None:
        """Cancel what is under way and forget the functions."""
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel([entry[2] for entry in self._under_way.values()], force=True)
        self._under_way.clear()
        self._functions.clear()


def _call(function: Callable[..., Any], arguments: bytes) -> Any:
    """Run on a worker; where nobody chose a number of threads, a task has one."""
    os.environ.setdefault(ENVIRONMENT_VARIABLE, "1")
    return function(*pickle.loads(arguments))


def _deadly(name: str) -> WorkerError:
    return WorkerError(
        f"{name}: {ALLOWED_FAILURES + 1} worker processes died one after the other while they worked on it; "
        "most likely it needs more memory than a worker may use: use fewer workers, or leave it out"
    )


@contextmanager
def open_dask_pool(workers: str | int) -> Iterator[TaskPool]:
    """Open a pool; arguments and errors as for ``open_task_pool``."""
    text = str(workers)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        stack.enter_context(silence_logging_cmgr(_QUIET))
        if text.lstrip("-").isdigit():
            pool = stack.enter_context(_local_pool(int(text)))
        elif "://" in text:
            pool = stack.enter_context(_remote_pool(text, f"the scheduler at {text}"))
        else:
            cluster = stack.enter_context(open_batch_cluster(text))
            pool = stack.enter_context(_remote_pool(cluster.scheduler_address, cluster.name))
        yield pool


@contextmanager
def _local_pool(n_workers: int) -> Iterator[TaskPool]:
    """Scheduler in this process, workers in a program of their own; they share the cores."""
    if n_workers < 1:
        raise InputError(f"workers = {n_workers}: give a positive number of processes")
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="castile-", ignore_cleanup_errors=True)
        )
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=0, host="127.0.0.1", dashboard_address=None, silence_logs=_QUIET, protocol="tcp"
            )
        )
        process = stack.enter_context(_worker_program(cluster.scheduler_address, n_workers, folder))

        def check() -> None:
            if process.poll() is not None:
                raise WorkerError(f"the worker processes have ended: {_last_words(folder)}")

        client = stack.enter_context(_client(cluster.scheduler_address, "the local scheduler"))
        _wait_for_workers(client, n_workers, check)
        yield DaskPool(client, check)


@contextmanager
def _worker_program(address: str, n_workers: int, folder: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start ``dask_workers`` in a session of its own, so that Ctrl-C reaches this process only."""
    threads = str(max(1, thread_count() // n_workers))
    environment = os.environ | {ENVIRONMENT_VARIABLE: threads, "PYTHONPATH": _search_path()}
    environment |= dict.fromkeys(_THREAD_VARIABLES, threads)
    command = [sys.executable, "-m", "castile.execution.dask_workers", address, str(n_workers), folder]
    with open(Path(folder) / _LOG, "wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and its workers: what they compute is not wanted any more."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()
    process.wait()


def _search_path() -> str:
    """Modules that this process finds, a worker finds."""
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path)


def _last_words(folder: str) -> str:
    """Return the last line of what the workers wrote."""
    lines = (Path(folder) / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "they were killed"


@contextmanager
def _remote_pool(address: str, name: str) -> Iterator[TaskPool]:
    """A pool on a scheduler that someone else runs; its workers need the same version of Castile."""
    with _client(address, name) as client:
        last_seen = time.monotonic()

        def check() -> None:
            nonlocal last_seen
            if client.status == "running" and client.nthreads():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > _LOST_SECONDS:
                raise WorkerError(f"{name}: no worker has been there for {_LOST_SECONDS:g} s; start workers")

        _wait_for_workers(client, 1, check)
        yield DaskPool(client, check)


@contextmanager
def _client(address: str, name: str) -> Iterator[Client]:
    try:
        client = Client(address, set_as_default=False, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise WorkerError(f"{name} does not answer ({error}); check the address, and that it runs") from error
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.close(timeout=_CONNECT_SECONDS)


def _wait_for_workers(client: Client, n_workers: int, check: Health) -> None:
    """Wait until so many workers are there."""
    while len(client.nthreads()) < n_workers:
        check()
        time.sleep(0.02)
