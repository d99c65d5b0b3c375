"""Memory that a computation uses again from chunk to chunk."""

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from castile.numerics.simd import aligned_empty


class Scratch(threading.local):
    """Arrays by name, one set for each thread, that the next request for the same name overwrites.

    Fresh memory of some megabytes comes from the operating system page by page, which costs more than the
    arithmetic on it.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, np.dtype[Any]], NDArray[Any]] = {}

    def empty(self, name: str, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content, which begins at a whole cache line."""
        size = shape if isinstance(shape, int) else prod(shape)
        key = name, np.dtype(dtype)
        kept = self._kept.get(key)
        if kept is None or kept.size < size:
            kept = self._kept[key] = aligned_empty(size, key[1])
        return kept[:size].reshape(shape)
