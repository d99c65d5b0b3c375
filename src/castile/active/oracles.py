"""Labels from an oracle: run anywhere, killed when it takes too long, never computed twice.

Usable alone::

    oracle = OracleSettings(preset="tblite")
    result = label_structure(LabelTask("jobs/path 3 image 2", atoms, oracle))
    if result.status == "converged":
        labelled = result.labelled(atoms)

`label_structure` is a module-level function of a picklable argument, for ``TaskPool.as_completed``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from castile.active.label_files import LabelResult, log_tail, read_result, write_result, write_task
from castile.active.oracle_settings import OracleSettings
from castile.errors import CastileError

START_SECONDS = 120.0
"""How long a new process may take to begin."""


@dataclass(frozen=True)
class LabelTask:
    """What `label_structure` needs.

    Attributes
    ----------
    folder : str
        Of this calculation alone; input, log and result stay there.
    atoms : Atoms
    oracle : OracleSettings
    """

    folder: str
    atoms: Atoms
    oracle: OracleSettings


def label_structure(task: LabelTask) -> LabelResult:
    """Compute the labels of a structure, or take them when the folder has them; failures are results.

    The oracle runs in a process that this one keeps for its next calculations. A process that takes longer
    than ``timeout_s`` is killed with everything that it started.
    """
    folder = Path(task.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    done = read_result(folder)
    if done is not None:
        return done
    write_task(folder, task.atoms, task.oracle)
    return _process(task.oracle.threads).compute(folder, task.oracle.timeout_s)


class OracleProcess:
    """A process that computes labels, one calculation after the other.

    Parameters
    ----------
    threads : int
        Of one calculation, for OpenMP and BLAS.
    """

    def __init__(self, threads: int) -> None:
        counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(counts, str(threads))
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from castile.active.oracle_process import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._received = b""

    @property
    def alive(self) -> bool:
        """Whether the process can compute."""
        return self._process.poll() is None

    def compute(self, folder: Path, timeout: float) -> LabelResult:
        """Compute in a folder; ``timeout`` in s."""
        started = time.monotonic()
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{folder}\n".encode())
            self._process.stdin.flush()
            answer = self._answer(timeout + START_SECONDS)
            if answer == "started":
                answer = self._answer(timeout)
        except BrokenPipeError:
            answer = ""
        if answer == "done":
            result = read_result(folder)
            if result is not None:
                return result
        timed_out = answer is None
        status = self.kill()
        result = read_result(folder)
        if result is None:
            reason = f"killed after the time-out of {timeout:g} s" if timed_out else _ending(status)
            tail = log_tail(folder)
            reason += f"\nend of log.txt:\n{tail}" if tail else ""
            result = LabelResult("failed", reason, seconds=time.monotonic() - started)
            write_result(folder, result)
        return result

    def _answer(self, seconds: float) -> str | None:
        """Return the next line of the process; None after a time, empty when it has ended."""
        assert self._process.stdout is not None
        number, deadline = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._received:
            ready, _, _ = select.select([number], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(number, 4096)
            if not part:
                return ""
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def kill(self) -> int:
        """End the process and everything that it started; returns its status."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._clear()

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=2.0)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.kill()
        else:
            self._clear()

    def _clear(self) -> int:
        status = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return status


def _ending(status: int) -> str:
    if status < 0:
        return f"the oracle's process was ended by signal {-status} ({signal.Signals(-status).name})"
    return f"the oracle's process ended with status {status}"


_processes: dict[tuple[int, int, int], OracleProcess] = {}


def _process(threads: int) -> OracleProcess:
    """Return the process of this thread; each thread has its own."""
    key = (os.getpid(), threading.get_ident(), threads)
    process = _processes.get(key)
    if process is None or not process.alive:
        process = _processes[key] = OracleProcess(threads)
    return process


def close_oracle_processes() -> None:
    """End the processes that wait for further calculations (at exit this happens by itself)."""
    for key in [key for key in _processes if key[0] == os.getpid()]:
        _processes.pop(key).close()


atexit.register(close_oracle_processes)

__all__ = [
    "CastileError",
    "LabelResult",
    "LabelTask",
    "OracleProcess",
    "OracleSettings",
    "close_oracle_processes",
    "label_structure",
]
