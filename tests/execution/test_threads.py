"""The map over chunks: order, bounds, errors, early ends, nesting; limits of BLAS threads in any order."""

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from castile.errors import InputError
from castile.execution.memory import peak_memory
from castile.execution.threads import limit_blas, map_chunks, share_chunks, thread_count


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_and_laziness(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for k in range(40):
            taken.append(k)
            yield k

    results = map_chunks(lambda k: (time.sleep(0.001 * (k % 3)), k * k)[1], items(), threads)
    assert taken == []
    assert next(results) == 0
    assert len(taken) <= 2 * threads
    assert list(results) == [k * k for k in range(1, 40)]
    assert list(results) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_nothing_to_do(threads: int) -> None:
    assert list(map_chunks(lambda k: k, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_out_and_nothing_goes_on_behind_it(threads: int) -> None:
    begun: list[int] = []

    def work(k: int) -> int:
        begun.append(k)
        time.sleep(0.01)
        if k == 4:
            raise InputError("structure 4 is bad")
        return k

    seen: list[int] = []
    with pytest.raises(InputError, match="structure 4"):
        seen.extend(map_chunks(work, range(100), threads))
    count = len(begun)
    time.sleep(0.05)
    assert seen == [0, 1, 2, 3]
    assert len(begun) == count < 20
    assert list(map_chunks(lambda k: k, range(5), threads)) == list(range(5))


def test_an_error_of_the_items_waits_for_what_runs() -> None:
    running = threading.Semaphore(0)
    done: list[int] = []

    def items() -> Iterator[int]:
        yield 0
        running.acquire()
        raise InputError("file is cut off")

    def work(k: int) -> int:
        running.release()
        time.sleep(0.05)
        done.append(k)
        return k

    with pytest.raises(InputError, match="cut off"):
        list(map_chunks(work, items(), 2))
    assert done == [0]


def test_ending_early_drops_the_rest_and_lifts_the_limit() -> None:
    before = blas_threads()
    begun: list[int] = []
    results = map_chunks(lambda k: (begun.append(k), time.sleep(0.01))[1], range(100), 2)
    next(results)
    assert blas_threads() == {1}
    del results
    gc.collect()
    assert len(begun) < 10
    assert blas_threads() == before


def test_a_map_inside_a_map_does_not_wait_for_itself() -> None:
    def outer(k: int) -> int:
        return sum(map_chunks(lambda j: j * k, range(4), 2))

    assert list(map_chunks(outer, range(8), 2)) == [6 * k for k in range(8)]


def test_limits_may_end_in_any_order() -> None:
    before = blas_threads()
    first, second = limit_blas(1), limit_blas(2)
    first.__enter__()
    second.__enter__()
    assert blas_threads() == {1}
    first.__exit__(None, None, None)
    assert max(blas_threads()) <= 2
    second.__exit__(None, None, None)
    assert blas_threads() == before
    generators = [map_chunks(lambda k: k, range(9), 2) for _ in range(3)]
    for generator in generators:
        next(generator)
    for generator in generators:
        generator.close()
    assert blas_threads() == before


def test_many_threads_may_use_the_map_at_once() -> None:
    results: dict[int, list[int]] = {}

    def user(n: int) -> None:
        results[n] = list(map_chunks(lambda k: k + n, range(50), 2))

    users = [threading.Thread(target=user, args=(n,)) for n in range(4)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(30)
    assert results == {n: list(range(n, n + 50)) for n in range(4)}


def _child(queue: "multiprocessing.Queue[list[int]]") -> None:
    queue.put(list(map_chunks(lambda k: 2 * k, range(6), 2)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    assert list(map_chunks(lambda k: k, range(6), 2)) == list(range(6))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == [0, 2, 4, 6, 8, 10]
    child.join(30)
    assert child.exitcode == 0


def test_thread_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert thread_count(3) == 3
    for wrong in (0, -1, "two", 1.5):
        with pytest.raises(InputError, match="positive integer"):
            thread_count(wrong)  # type: ignore[arg-type]
    monkeypatch.setenv("CASTILE_NUM_THREADS", "5")
    assert thread_count() == 5
    monkeypatch.setenv("CASTILE_NUM_THREADS", "many")
    with pytest.raises(InputError, match="CASTILE_NUM_THREADS='many'"):
        thread_count()
    monkeypatch.setenv("CASTILE_NUM_THREADS", "0")
    with pytest.raises(InputError, match="positive"):
        thread_count()
    monkeypatch.delenv("CASTILE_NUM_THREADS")
    assert thread_count() >= 1


def test_peak_memory_grows_with_what_is_held() -> None:
    held = np.ones(20_000_000)
    assert peak_memory() > held.nbytes


# ------------------------------------------------------------------ shared by the calling thread


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_shared_results_are_in_order_and_each_item_is_done_once(threads: int) -> None:
    seen: list[int] = []

    def work(k: int) -> int:
        seen.append(k)
        time.sleep(0.001 * (k % 3))
        return k * k

    assert share_chunks(work, range(20), threads) == [k * k for k in range(20)]
    assert sorted(seen) == list(range(20))
    assert share_chunks(work, [], threads) == []


def test_the_calling_thread_takes_its_share() -> None:
    names = share_chunks(lambda k: (time.sleep(0.005), threading.current_thread().name)[1], range(12), 2)
    assert threading.current_thread().name in names
    assert len(set(names)) == 2


@pytest.mark.parametrize("bad", [0, 7])
def test_an_error_of_a_shared_item_ends_the_others(bad: int) -> None:
    begun: list[int] = []

    def work(k: int) -> None:
        begun.append(k)
        time.sleep(0.002)
        if k == bad:
            raise ValueError(f"item {k}")

    with pytest.raises(ValueError, match=f"item {bad}"):
        share_chunks(work, range(200), 2)
    assert len(begun) < 50


def test_shared_items_inside_of_a_worker_are_serial() -> None:
    outer = map_chunks(lambda k: sum(share_chunks(lambda j: j * k, range(4), 2)), range(8), 2)
    assert list(outer) == [6 * k for k in range(8)]
