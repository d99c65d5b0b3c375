"""Blocks of rows, one per candidate, kept in a temporary file: pools larger than the memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.selection.principal_rows import principal_rows

Float64Array = NDArray[np.float64]

DROPPED_INFORMATION = 1e-6
"""Information of a block (nats) that its compressed form may lack."""


class RowBlocks(Protocol):
    """Blocks B_i (b_i, n_columns) by index."""

    n_columns: int

    def __len__(self) -> int:
        """Return the number of blocks."""
        ...

    def __getitem__(self, index: int) -> Float64Array:
        """Return block ``index``."""
        ...


class BlockFile:
    """Blocks appended to a temporary file that vanishes with the object; only their sizes are in memory.

    Arguments:
        n_columns: of every block.
        folder: of the file; default the system's folder for temporary files.

    """

    def __init__(self, n_columns: int, folder: str | Path | None = None) -> None:
        self.n_columns = n_columns
        self._file = tempfile.TemporaryFile(dir=folder, prefix="castile-rows-")  # noqa: SIM115
        self._starts = [0]

    def append(self, rows: Float64Array) -> None:
        """Add a block (b, n_columns); raises InputError for another number of columns."""
        block = np.ascontiguousarray(rows, dtype=np.float64)
        if block.ndim != 2 or block.shape[1] != self.n_columns:
            raise InputError(f"block has shape {block.shape}, expected (b, {self.n_columns})")
        self._file.seek(8 * self.n_columns * self._starts[-1])
        self._file.write(block.data if block.size else b"")
        self._starts.append(self._starts[-1] + len(block))

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> Float64Array:
        """Return block ``index``; raises IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, stop = self._starts[index], self._starts[index + 1]
        self._file.seek(8 * self.n_columns * start)
        data = self._file.read(8 * self.n_columns * (stop - start))
        return np.frombuffer(data, dtype=np.float64).reshape(stop - start, self.n_columns)

    def __iter__(self) -> Iterator[Float64Array]:
        """Yield all blocks."""
        return (self[index] for index in range(len(self)))

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return 8 * self.n_columns * self._starts[-1]

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._file.close()


def compress_block(rows: Float64Array, dropped: float = DROPPED_INFORMATION) -> Float64Array:
    """Fewer rows S with nearly the same S^T S, orthogonal to each other, the longest first: (r, n_columns).

    Rows are rotated to their principal directions, and the shortest ones left out as long as the sum of their
    squared lengths is below 2 ``dropped``. Because log|1 + A + D| - log|1 + A| <= tr D for A, D >= 0, the
    information 1/2 log|1 + B C B^T| falls by less than ``dropped``, for every C <= 1: also after any number
    of other blocks was observed. Because d/ds s^2 / (1 + s) < 1, its own variance falls by less than 2
    ``dropped`` in units of the noise; because tr [(1 + A)^-1 - (1 + A + D)^-1] <= tr D, what it lowers the
    squared covariances tr G^2 of targets by is right to 4 ``dropped`` tr G^2.

    Arguments:
        rows: (b, n_columns), whitened: prior covariance and noise are unit matrices.
        dropped: nats.

    """
    if len(rows) < 2:
        return rows
    squares, principal = principal_rows(rows)
    sums = np.cumsum(squares[::-1])
    return principal[: len(squares) - int(np.searchsorted(sums, 2.0 * dropped, side="right"))]
