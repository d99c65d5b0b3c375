"""Measured points of learning curves, and the file that keeps them while a comparison runs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from castile.errors import InputError

Split = Literal["random", "leak-proof"]
_FORMAT = "castile-compare-1"


@dataclass(frozen=True)
class CurvePoint:
    """One fit.

    Attributes
    ----------
    descriptor : str
    split : str
        "random" or "leak-proof".
    seed, n_labels, n_test : int
    mae, rmse : float
        On the test set, in the unit of the target.
    coverage : float
        Share of test labels inside their 90 % intervals.
    fit_cpu_s, predict_cpu_s : float
        Processor seconds of the fit, and of the prediction of one structure.
    """

    descriptor: str
    split: Split
    seed: int
    n_labels: int
    n_test: int
    mae: float
    rmse: float
    coverage: float
    fit_cpu_s: float
    predict_cpu_s: float

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells points apart."""
        return self.descriptor, self.split, self.seed, self.n_labels

    def error(self, metric: str) -> float:
        """Error by "mae" or "rmse"."""
        return self.rmse if metric == "rmse" else self.mae


class Keyed(Protocol):
    """A point that can be told from others."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells points apart."""
        ...


Point = TypeVar("Point", bound=Keyed)


class PointStore(Generic[Point]):
    """Points in a file, one line each, written as they are computed.

    Parameters
    ----------
    kind : type
        Dataclass of the points.
    path : path or None
        None keeps them in memory only.
    fingerprint : str
        Of data, target and test sets: points of another comparison are refused.

    Raises
    ------
    InputError
        If the file holds points of another comparison, or no points.
    """

    def __init__(self, kind: type[Point], path: str | os.PathLike[str] | None, fingerprint: str) -> None:
        self._kind = kind
        self._path = None if path is None else Path(path)
        self._points: dict[tuple[str, str, int, int], Point] = {}
        if self._path is None:
            return
        if self._path.exists() and self._path.stat().st_size:
            self._read(fingerprint)
        else:
            self._path.write_text(json.dumps({"format": _FORMAT, "fingerprint": fingerprint}) + "\n")

    def __len__(self) -> int:
        """Number of points."""
        return len(self._points)

    def get(self, key: tuple[str, str, int, int]) -> Point | None:
        """Return a point that was computed before."""
        return self._points.get(key)

    def add(self, point: Point) -> None:
        """Keep a point; it is on disk when this returns."""
        self._points[point.key] = point
        if self._path is not None:
            with self._path.open("a") as file:
                values = asdict(point)  # type: ignore[call-overload]
                file.write(json.dumps(values) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _read(self, fingerprint: str) -> None:
        assert self._path is not None
        text = self._path.read_text()
        lines = text.split("\n")
        try:
            head = json.loads(lines[0])
            known = isinstance(head, dict) and head.get("format") == _FORMAT
        except ValueError:
            known = False
        if not known:
            raise InputError(
                f"{self._path}: holds no points of a comparison; name another file with --points"
            )
        if head["fingerprint"] != fingerprint:
            raise InputError(
                f"{self._path}: holds points of other data, another target or other options; name another "
                "file with --points, or delete it"
            )
        complete = lines[1:-1]
        for number, line in enumerate(complete, start=2):
            try:
                point = self._kind(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{self._path}: line {number} is damaged ({error}); delete that line or the file"
                ) from error
            self._points[point.key] = point
        if lines[-1]:  # cut off by a kill while it was written
            self._path.write_text("\n".join([lines[0], *complete]) + "\n")
