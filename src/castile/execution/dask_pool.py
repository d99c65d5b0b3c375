"""Task pools on Dask: processes of this machine, a running scheduler, or a batch system."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import dask
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.utils import silence_logging_cmgr

from castile.errors import InputError, WorkerError
from castile.execution.batch_system import open_batch_cluster, read_batch_settings
from castile.execution.dask_functions import FunctionsOfCall, run_task
from castile.execution.dask_workers import LOCAL_HOST
from castile.execution.task_pool import Flight, Key, Outcome, TaskPool, task_name
from castile.execution.threads import ENVIRONMENT_VARIABLE, thread_count

ALLOWED_FAILURES = 2
_IN_FLIGHT = 3  # tasks per worker: one runs, one waits there, one is on its way back
_CONNECT_SECONDS = 20.0
_LOST_SECONDS = 300.0
_RESTARTS = 3  # of the program that starts local workers
_POLL_SECONDS = 1.0
_LOG = "workers.log"
_QUIET = 60  # above every level of the logging module
_SETTINGS = {
    "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.worker-ttl": None,  # a long call of LAPACK may hold the interpreter lock
    "distributed.admin.large-graph-warning-threshold": "1TB",  # sparse points travel once, knowingly
    "distributed.admin.low-level-log-length": 20,  # entries hold the arguments of past tasks
    "distributed.comm.timeouts.connect": "60s",
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Health = Callable[[], None]
"""Called now and then while results are awaited; raises WorkerError when none will come."""


class DaskPool(TaskPool):
    """A pool on the workers that a Dask client reaches."""

    def __init__(self, client: Client, check: Health, threads: int = 1) -> None:
        self._client = client
        self._threads = threads
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
        flight = _DaskFlight(self, self._client, self._check, self._threads, functions)
        try:
            yield flight
        finally:
            flight.drop()


@dataclass
class _Task:
    """One item under way, with what it takes to start it again; ``alone`` if nothing else runs beside it."""

    key: Key
    name: str
    function: int
    arguments: bytes
    future: Future | None = None
    alone: bool = False


class _DaskFlight(Flight):
    """Tasks as Dask's futures.

    Dask gives up a task when several workers in a row died that held it, also when the culprit was another
    task of these workers. So such tasks run again, one at a time with nothing beside them, before one is
    blamed.
    """

    def __init__(
        self,
        pool: DaskPool,
        client: Client,
        check: Health,
        threads: int,
        functions: tuple[Callable[..., Any], ...],
    ) -> None:
        self._pool, self._client, self._check, self._threads = pool, client, check, threads
        self._name = f"castile-{uuid.uuid4().hex}"
        client.register_plugin(FunctionsOfCall(self._name, functions), name=self._name)
        self._under_way: dict[int, _Task] = {}
        self._suspects: list[_Task] = []
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._n_started = 0

    @property
    def size(self) -> int:
        """Tasks that have not been returned."""
        return len(self._under_way) + len(self._suspects)

    @property
    def limit(self) -> int:
        """Tasks that may be under way; none beside one that may have killed a worker."""
        return 0 if self._suspects else _IN_FLIGHT * self._pool.n_workers

    def submit(self, key: Key, function: int, *arguments: Any) -> None:
        """Send a task to the scheduler."""
        self._start(_Task(key, task_name(key, arguments[0]), function, cloudpickle.dumps(arguments)))

    def wait(self) -> tuple[Key, Outcome]:
        """Return the next outcome; tasks that may have killed a worker run again, one at a time."""
        while True:
            if not self._under_way:
                suspect = self._suspects.pop()
                suspect.alone = True
                self._start(suspect)
            task = self._next_done()
            assert task.future is not None
            try:
                return task.key, Outcome(self._gathered(task.future))
            except KilledWorker:
                if task.alone:
                    return task.key, Outcome(None, _deadly(task.name))
                self._suspects.append(task)
            except asyncio.CancelledError as error:
                raise WorkerError("the Dask scheduler was lost, and with it the work under way") from error
            except Exception as error:
                return task.key, Outcome(None, error)

    def _start(self, task: _Task) -> None:
        index = self._n_started
        self._n_started += 1
        task.future = self._client.submit(
            run_task, self._name, task.function, task.arguments, self._threads, key=(self._name, index)
        )
        self._under_way[index] = task
        task.future.add_done_callback(lambda _: self._done.put(index))

    def _next_done(self) -> _Task:
        while True:
            try:
                return self._under_way.pop(self._done.get(timeout=_POLL_SECONDS))
            except queue.Empty:
                self._check()

    def _gathered(self, future: Future) -> Any:
        """Return the result of a task that was done: its worker may have died with it before it was fetched,
        and then the task runs again.
        """
        patience = _POLL_SECONDS
        while True:
            try:
                return future.result(timeout=patience)
            except TimeoutError:
                if future.status == "error":  # it is the task's own
                    raise
                self._check()
                patience *= 2.0  # a large result takes its time

    def drop(self) -> None:
        """Cancel what is under way and forget the functions."""
        futures = [task.future for task in self._under_way.values()]
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel(futures, force=True)
            self._client.unregister_worker_plugin(self._name)
        self._under_way.clear()


def _deadly(name: str) -> WorkerError:
    return WorkerError(
        f"{name}: several worker processes died one after the other while they worked on it alone; "
        "most likely it needs more memory than there is: leave it out, or use fewer workers"
    )


@contextmanager
def open_dask_pool(workers: str | int) -> Iterator[TaskPool]:
    """Open a pool; arguments and errors as for ``open_task_pool``."""
    text = str(workers)
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="castile-", ignore_cleanup_errors=True)
        folder = stack.enter_context(temporary)
        stack.enter_context(dask.config.set(_SETTINGS | {"temporary-directory": folder}))
        stack.enter_context(silence_logging_cmgr(_QUIET))
        if text.lstrip("-").isdigit():
            pool = stack.enter_context(_local_pool(int(text), folder))
        elif "://" in text:
            pool = stack.enter_context(_remote_pool(text, f"the scheduler at {text}"))
        else:
            settings = read_batch_settings(text)
            cluster = stack.enter_context(open_batch_cluster(settings))
            name = f"the scheduler of the jobs ({settings.system})"
            pool = stack.enter_context(_remote_pool(cluster.scheduler_address, name, settings.threads))
        yield pool


@contextmanager
def _local_pool(n_workers: int, folder: str) -> Iterator[TaskPool]:
    """Scheduler in this process, workers in a program of their own; they share the cores."""
    if n_workers < 1:
        raise InputError(f"workers = {n_workers}: give a positive number of processes")
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="castile-", ignore_cleanup_errors=True)
        )
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=0,
                host=LOCAL_HOST,
                dashboard_address=None,
                silence_logs=_QUIET,
                protocol="tcp",
                scheduler_kwargs={"dashboard_address": f"{LOCAL_HOST}:0"},  # of its metrics
            )
        )
        program = _WorkerProgram(cluster.scheduler_address, n_workers, folder)
        stack.callback(program.end)
        client = stack.enter_context(_client(cluster.scheduler_address, "the local scheduler"))
        _wait_for_workers(client, n_workers, program.check)
        program.restarts = _RESTARTS
        yield DaskPool(client, program.check)


class _WorkerProgram:
    """The program ``dask_workers`` in a session of its own, so that Ctrl-C reaches this process only.

    It starts workers that die again; when it is killed itself, with all of them, it is started again.
    """

    def __init__(self, address: str, n_workers: int, folder: str) -> None:
        threads = str(max(1, thread_count() // n_workers))
        environment = os.environ | {ENVIRONMENT_VARIABLE: threads, "PYTHONPATH": _search_path()}
        self._environment = environment | dict.fromkeys(_THREAD_VARIABLES, threads)
        module = "castile.execution.dask_workers"
        self._command = [sys.executable, "-m", module, address, str(n_workers), folder]
        self._folder = folder
        self.restarts = 0
        """How often it may still be started again; none before all workers have been there once."""
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(Path(self._folder) / _LOG, "wb") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def check(self) -> None:
        """Start the program again if it was killed.

        Raises
        ------
        WorkerError
            If it ended by itself, or too often.
        """
        code = self._process.poll()
        if code is None:
            return
        if code >= 0 or self.restarts == 0:
            raise WorkerError(f"the worker processes have ended: {_last_words(self._folder)}")
        self._close_input()
        self.restarts -= 1  # workers that it has left behind see that it is gone, and end
        self._process = self._start()

    def end(self) -> None:
        """Kill the program and its workers."""
        self._close_input()
        _end(self._process)

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()


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
def _remote_pool(address: str, name: str, threads: int = 1) -> Iterator[TaskPool]:
    """A pool on a scheduler that someone else runs; its workers need the same version of Castile."""
    with _client(address, name) as client:
        last_seen = time.monotonic()

        def check() -> None:
            """Raise where no worker has been seen for too long."""
            nonlocal last_seen
            if client.status == "running" and client.nthreads():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > _LOST_SECONDS:
                raise WorkerError(f"{name}: no worker has been there for {_LOST_SECONDS:g} s; start workers")

        _wait_for_workers(client, 1, check)
        yield DaskPool(client, check, threads)


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
