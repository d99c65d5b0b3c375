"""Memory that is used again: by name, type and thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from castile.execution.scratch import Scratch


def test_the_same_name_has_the_same_memory() -> None:
    scratch = Scratch()
    large = scratch.empty("a", (3, 5), "float64")
    small = scratch.empty("a", 4, "float64")
    assert large.shape == (3, 5)
    assert small.shape == (4,)
    assert np.shares_memory(large, small)
    assert small.ctypes.data % 64 == 0


def test_a_larger_request_gets_new_memory() -> None:
    scratch = Scratch()
    small = scratch.empty("a", 4, "float64")
    assert scratch.empty("a", (10, 10), "float64").shape == (10, 10)
    assert not np.shares_memory(small, scratch.empty("a", 4, "float64"))


def test_names_types_and_threads_have_their_own() -> None:
    scratch = Scratch()
    own = scratch.empty("a", 4, "float64")
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(scratch.empty, "a", 4, "float64").result()
    for array in (other, scratch.empty("b", 4, "float64"), scratch.empty("a", 4, "float32")):
        assert not np.shares_memory(own, array)
