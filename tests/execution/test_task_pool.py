"""Task pools: order, laziness, errors as values, the shape of the tree, processes that die, batch systems."""

import gc
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from castile.errors import InputError, WorkerError
from castile.execution.batch_system import BatchSettings, read_batch_settings
from castile.execution.task_pool import SerialPool, TaskPool, open_task_pool


def square(k: int) -> int:
    time.sleep(0.002 * (k % 3))
    return k * k


def reciprocal(k: int) -> float:
    if k == 7:
        raise InputError("structure 7 is bad")
    return 1 / (k - 3)


def bracket(left: str, right: str) -> str:
    return f"({left}{right})"


def process_and_threads(k: int) -> tuple[int, str, str]:
    time.sleep(0.05)
    return os.getpid(), os.environ["CASTILE_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]


def die_once(folder: Path, k: int) -> int:
    """Item 5 ends its process like the kernel does when memory runs out, but only the first time."""
    mark = folder / "died"
    if k == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(k)


@dataclass(frozen=True)
class Structure:
    """An item with a name."""

    name: str
    deadly: bool = False


def die_always(item: Structure) -> str:
    if item.deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return item.name


def expected_tree(names: list[str]) -> str | None:
    """Neighbours in pairs, then the pairs in pairs, the odd one carried over."""
    while len(names) > 1:
        pairs = [bracket(a, b) for a, b in zip(names[::2], names[1::2], strict=False)]
        names = pairs + names[len(pairs) * 2 :]
    return names[0] if names else None


@pytest.fixture(scope="module")
def two_workers() -> Iterator[TaskPool]:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    with open_task_pool(2) as pool:
        yield pool


@pytest.fixture(params=["serial", "two workers"])
def pool(request: pytest.FixtureRequest) -> TaskPool:
    return SerialPool() if request.param == "serial" else request.getfixturevalue("two_workers")


def test_map_keeps_the_order(pool: TaskPool) -> None:
    assert list(pool.map(square, range(40))) == [k * k for k in range(40)]
    assert list(pool.map(square, [])) == []


def test_map_takes_items_as_results_are_taken(pool: TaskPool) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for k in range(1000):
            taken.append(k)
            yield k

    results = pool.map(square, items())
    assert taken == []
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) <= 3 + 3 * pool.n_workers
    results.close()
    assert list(pool.map(square, range(4))) == [0, 1, 4, 9]


def test_an_error_of_map_comes_out_in_its_place(pool: TaskPool) -> None:
    results = pool.map(reciprocal, range(4, 20))
    assert [next(results) for _ in range(3)] == [1.0, 1 / 2, 1 / 3]
    with pytest.raises(InputError, match="structure 7"):
        next(results)


def test_an_error_of_the_items_comes_out(pool: TaskPool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise InputError("the file is cut off")

    with pytest.raises(InputError, match="cut off"):
        list(pool.map(square, items()))


def test_as_completed_gives_errors_as_values(pool: TaskPool) -> None:
    results = sorted(pool.as_completed(reciprocal, range(9)), key=lambda result: result.index)
    assert [result.index for result in results] == list(range(9))
    errors = {result.index: result.error for result in results if result.error is not None}
    assert errors == {3: "ZeroDivisionError: division by zero", 7: "structure 7 is bad"}
    assert results[5].value == 0.5
    assert results[7].value is None


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 5, 7, 8, 13])
def test_shape_of_the_tree_depends_on_the_number_of_items(pool: TaskPool, n_items: int) -> None:
    seen: list[int] = []
    result = pool.reduce_tree(str, bracket, range(n_items), seen.append)
    assert result == expected_tree([str(k) for k in range(n_items)])
    assert sorted(seen) == list(range(n_items))


def test_the_serial_tree_holds_few_results() -> None:
    """At most one per level, so that the memory of a fit does not grow with its pieces."""
    alive, most = 0, 0

    def leaf(k: int) -> int:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return 1

    def merge(left: int, right: int) -> int:
        nonlocal alive
        alive -= 1
        return left + right

    assert SerialPool().reduce_tree(leaf, merge, range(1000)) == 1000
    assert most <= 11


def test_workers_are_processes_that_share_the_cores(two_workers: TaskPool) -> None:
    results = list(two_workers.map(process_and_threads, range(8)))
    assert two_workers.n_workers == 2
    assert len({process for process, _, _ in results}) == 2
    assert os.getpid() not in {process for process, _, _ in results}
    cores = len(os.sched_getaffinity(0))
    assert {threads for _, *both in results for threads in both} == {str(max(1, cores // 2))}


def test_tasks_of_a_process_that_dies_run_again(two_workers: TaskPool, tmp_path: Path) -> None:
    results = list(two_workers.map(partial(die_once, tmp_path), range(30)))
    assert (tmp_path / "died").exists()
    assert results == [k * k for k in range(30)]


def kill_parent_once(folder: Path, k: int) -> int:
    """Item 5 ends the program that started its process."""
    mark = folder / "died"
    if k == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(30.0)
    return square(k)


def test_all_workers_may_die_at_once(two_workers: TaskPool, tmp_path: Path) -> None:
    results = list(two_workers.map(partial(kill_parent_once, tmp_path), range(30)))
    assert results == [k * k for k in range(30)]
    assert list(two_workers.map(square, range(3))) == [0, 1, 4]


def run_out_of_time(k: int) -> int:
    raise TimeoutError(f"item {k} took too long")


def test_an_item_that_runs_out_of_time_is_an_error_of_its_own(two_workers: TaskPool) -> None:
    with pytest.raises(TimeoutError, match="item 3 took too long"):
        list(two_workers.map(run_out_of_time, [3]))


def test_a_deadly_item_is_named_and_nothing_else_is_blamed(two_workers: TaskPool) -> None:
    items = [Structure(f"train.xyz[{k}]", deadly=k == 5) for k in range(12)]
    results = sorted(two_workers.as_completed(die_always, items), key=lambda result: result.index)
    assert [result.value for result in results] == [None if item.deadly else item.name for item in items]
    assert results[5].error is not None
    assert "train.xyz[5]: several worker processes died" in results[5].error


def test_an_open_pool_is_taken_as_it_is(two_workers: TaskPool) -> None:
    with open_task_pool(two_workers) as pool:
        assert pool is two_workers
    assert list(two_workers.map(square, [3])) == [9]


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        (0, "positive number"),
        ("-2", "positive number"),
        (2.0, "give a number"),
        (True, "give a number"),
        ("many", "SYSTEM:JOBS"),
        ("grid:4", "none of slurm"),
        ("slurm:0", "positive number of jobs"),
        ("absent.toml", "cannot be read"),
    ],
)
def test_workers_that_are_nothing(workers: object, message: str) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    with pytest.raises(InputError, match=message), open_task_pool(workers):  # type: ignore[arg-type]
        pass


def test_an_address_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    dask_pool = pytest.importorskip("castile.execution.dask_pool", reason="Dask is not installed")
    monkeypatch.setattr(dask_pool, "_CONNECT_SECONDS", 1.0)
    with pytest.raises(WorkerError, match="does not answer"), open_task_pool("tcp://127.0.0.1:9"):
        pass


SCRIPT = """
import os, sys, time
from castile.execution.task_pool import open_task_pool
from castile.execution.threads import thread_count

def work(seconds):
    print("a worker that prints")
    time.sleep(seconds)
    return os.getpid()

with open_task_pool(2) as pool:
    print(os.getpid(), *pool.map(work, [0.1] * 6), flush=True)
    if sys.argv[1] == "wait":
        list(pool.map(work, [100.0] * 4))
"""


def run_script(tmp_path: Path, mode: str) -> subprocess.Popen[str]:
    """A program without a __main__ guard, whose temporary folder is ``tmp_path``."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path)}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-W", "error", str(script), mode]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path)


def wait_until_gone(processes: list[int]) -> None:
    """Processes end within seconds; zombies of other parents count as gone."""
    deadline = time.monotonic() + 20.0
    while any(is_running(process) for process in processes):
        assert time.monotonic() < deadline, f"still running: {processes}"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("mode", ["end", "interrupt", "kill"])
def test_nothing_stays_behind(tmp_path: Path, mode: str, children_can_be_interrupted: None) -> None:
    """Neither processes nor files nor words, whichever way the program ends."""
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    program = run_script(tmp_path, "end" if mode == "end" else "wait")
    assert program.stdout is not None
    processes = [int(text) for text in program.stdout.readline().split()]
    assert len(set(processes)) == 3, program.communicate(timeout=30.0)
    if mode == "interrupt":
        program.send_signal(signal.SIGINT)
    if mode == "kill":
        program.kill()
    _, errors = program.communicate(timeout=30.0)
    wait_until_gone(processes)
    if mode == "interrupt":
        assert errors.rstrip().endswith("KeyboardInterrupt")
    else:
        assert errors == ""
    if mode != "kill":
        assert list((tmp_path / "tmp").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"tmp", "script.py"}


def test_batch_settings_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "slurm.toml"
    file.write_text(
        'system = "slurm"\njobs = 3\n[options]\ncores = 16\nprocesses = 2\nmemory = "4GB"\n', encoding="utf-8"
    )
    settings = read_batch_settings(str(file))
    assert settings == BatchSettings("slurm", 3, {"cores": 16, "processes": 2, "memory": "4GB"})
    assert settings.threads == 8
    assert read_batch_settings("pbs:7") == BatchSettings("pbs", 7)
    file.write_text('system = "slurm"\nnodes = 3\n', encoding="utf-8")
    with pytest.raises(InputError, match="nodes is unknown"):
        read_batch_settings(str(file))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the stand-in leaves a pipe
def test_jobs_of_a_batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dask-jobqueue's own stand-in for a batch system runs the job scripts on this machine."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr("castile.execution.dask_pool._LOST_SECONDS", 30.0)
    file = tmp_path / "local.toml"
    file.write_text(
        'system = "local"\njobs = 1\n[options]\ncores = 3\nprocesses = 1\nmemory = "2GB"\n'
        f'python = "{sys.executable}"\n',
        encoding="utf-8",
    )
    with open_task_pool(str(file)) as pool:
        assert list(pool.map(math.sqrt, range(20))) == [math.sqrt(k) for k in range(20)]
        assert set(pool.map(os.getenv, ["CASTILE_NUM_THREADS"])) == {"3"}
        assert pool.n_workers == 1
    gc.collect()
