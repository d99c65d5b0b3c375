"""Run one function in a process of its own: threads pinned before any library loads, peak memory its own.

``python -m benchmarks.isolation module:function arguments.json result.json`` is the child's side.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
THREAD_VARIABLES = (
    "CASTILE_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip


class ChildFailed(RuntimeError):
    """The function raised in its process; the message has the end of its output."""


def pinned_environment(threads: int) -> dict[str, str]:
    """The environment with every library limited to ``threads`` threads and the repository importable."""
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    jax = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}"
    return environment | {"PYTHONPATH": os.pathsep.join(path), "XLA_FLAGS": jax, "NPROC": str(threads)}


def run_isolated(function: str, arguments: dict[str, Any], threads: int) -> Any:
    """Return what ``module:function`` returns for keyword ``arguments`` (both JSON) in a new process.

    Raises:
        ChildFailed: the function raised or the process died.

    """
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        given, answer = Path(folder, "arguments.json"), Path(folder, "result.json")
        given.write_text(json.dumps(arguments), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.isolation", function, str(given), str(answer)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=pinned_environment(threads),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0 or not answer.exists():
            tail = "\n".join(done.stdout.splitlines()[-25:])
            raise ChildFailed(f"{function} ended with status {done.returncode}:\n{tail}")
        return json.loads(answer.read_text(encoding="utf-8"))


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    from castile.execution.memory import peak_memory

    return peak_memory()


def _main(function: str, given: str, answer: str) -> None:
    module, name = function.split(":")
    result = getattr(import_module(module), name)(**json.loads(Path(given).read_text(encoding="utf-8")))
    Path(answer).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
