"""Tables of predictions as CSV or Parquet, row by row."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from castile.errors import InputError

Cell = str | float | int | bool | None
_PARQUET_ROWS = 4096


class TableWriter:
    """Writes rows to a CSV or Parquet file, by the ending of its name; it appears complete or not at all.

    Arguments:
        path: ends in .csv or .parquet.
        columns: name and type (str, float, int or bool) of each column.

    Raises InputError for another ending, or when pyarrow is missing for Parquet.

    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[tuple[str, type]]) -> None:
        self.path = Path(path)
        self.columns = tuple(columns)
        self._partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.tmp")
        self._rows: list[tuple[Cell, ...]] = []
        self._schema: Any = None
        self._file: Any = None
        if self.path.suffix == ".csv":
            self._file = self._partial.open("w", newline="", encoding="utf-8")
            self._csv = csv.writer(self._file)
            self._csv.writerow([name for name, _ in columns])
        elif self.path.suffix == ".parquet":
            arrow = import_pyarrow()
            kinds = {str: arrow.string(), float: arrow.float64(), int: arrow.int64(), bool: arrow.bool_()}
            self._schema = arrow.schema([(name, kinds[kind]) for name, kind in columns])
            self._file = arrow.parquet.ParquetWriter(str(self._partial), self._schema)
        else:
            raise InputError(f"{self.path}: tables are written as .csv or .parquet; change the ending")

    def add(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Append rows, None for an empty cell."""
        if self._schema is None:
            for row in rows:
                self._csv.writerow(["" if cell is None else _text(cell) for cell in row])
            return
        self._rows.extend(tuple(row) for row in rows)
        if len(self._rows) >= _PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        arrow = import_pyarrow()
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self.columns)
        arrays = [
            arrow.array(list(column), type=kind.type)
            for column, kind in zip(columns, self._schema, strict=True)
        ]
        self._file.write_table(arrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        """Write what is left; the file appears."""
        if self._schema is not None:
            self._flush()
        self._file.close()
        os.replace(self._partial, self.path)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._partial.unlink(missing_ok=True)


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return f"{cell:.9g}" if isinstance(cell, float) else str(cell)


def import_pyarrow() -> Any:
    """Return pyarrow with its Parquet part.

    Raises InputError naming the group of optional packages when it is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise InputError("Parquet needs pyarrow: pip install 'castile[tables]', or write .csv") from error
    return pyarrow
