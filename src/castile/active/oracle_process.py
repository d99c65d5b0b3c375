"""The process in which oracles run: it reads folders from standard input and leaves a result in each.

A process of its own can be killed when it takes too long, may crash without taking the campaign with it, and
goes on to the end when the campaign is killed, so that the result is there when that is started again. A lock
in the folder (released by the system when its holder dies) keeps two processes from computing the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from castile.active.computation import compute_labels
from castile.active.label_files import LOCK, LOG, PROCESS, log_tail, read_result, read_task, write_result

WATCHDOG_DELAY = 20.0  # s after the time-out, when the parent that should have killed this process is gone


def serve() -> None:
    """Answer "started" and "done" to each folder on standard input, until it is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    for line in sys.stdin:
        folder = Path(line.rstrip("\n"))
        _work_in(folder, answers.write)
        try:
            answers.write("done\n")
        except BrokenPipeError:  # the campaign was killed; its result is on the disk
            break
    os._exit(0)


def _work_in(folder: Path, answer: object) -> None:
    """Compute in a folder unless another process has done it."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_result(folder) is not None:
            return
        _end_orphans(folder)
        assert callable(answer)
        answer("started\n")
        atoms, oracle = read_task(folder)
        for place in reversed(oracle.python_path):
            if place not in sys.path:
                sys.path.insert(0, place)
        me = {"host": socket.gethostname(), "group": os.getpgrp(), "process": os.getpid()}
        (folder / PROCESS).write_text(json.dumps(me), encoding="utf-8")
        with _Log(folder), _Watchdog(oracle.timeout_s + WATCHDOG_DELAY):
            result = compute_labels(atoms, oracle, folder)
        if result.status != "converged":
            tail = log_tail(folder)
            reason = f"{result.reason}\nend of {LOG}:\n{tail}" if tail else result.reason
            result = type(result)(result.status, reason, seconds=result.seconds)
        write_result(folder, result)


def _end_orphans(folder: Path) -> None:
    """End programs that a killed process has left running in this folder: their group outlived its leader."""
    try:
        last = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
        if last["host"] != socket.gethostname() or last["group"] != last["process"]:
            return
        os.kill(last["group"], 0)  # a leader that lives is another process by now
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(last["group"], signal.SIGKILL)
    except (OSError, ValueError, KeyError):
        pass


class _Log:
    """Context in which everything that is printed, by C and Fortran too, goes to the log of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = os.getcwd()
        os.chdir(self.folder)
        log = os.open(self.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.saved = os.dup(1), os.dup(2)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in enumerate(self.saved, start=1):
            os.dup2(saved, number)
            os.close(saved)
        os.chdir(self.before)


class _Watchdog:
    """Context that ends this process and its children when it takes too long and nobody else does."""

    def __init__(self, seconds: float) -> None:
        self.timer = threading.Timer(seconds, os.killpg, (os.getpgrp(), signal.SIGKILL))
        self.timer.daemon = True

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()


if __name__ == "__main__":
    serve()
