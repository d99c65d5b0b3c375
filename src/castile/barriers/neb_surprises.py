"""Errors of the surrogate in units of its deviations, by which the deviations are corrected."""

from __future__ import annotations

import json
import math
from pathlib import Path

from castile.errors import InputError
from castile.formats.text_file import write_text_file

PRIOR_WEIGHT = 1.0
"""The factor 1 counts as much as so many errors."""


class SurpriseFile:
    """Errors of predictions that were made before the labels, over their deviations; kept on the disk.

    Parameters
    ----------
    path : Path
        Made at the first error.

    Raises
    ------
    InputError
        If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ratios: dict[str, float] = {}
        if path.exists():
            try:
                self._ratios = {str(k): float(v) for k, v in json.loads(path.read_text("utf-8")).items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise InputError(f"{path}: is damaged ({error}); delete it") from None

    def add(self, calculation: int, ratio: float) -> None:
        """Keep the error of a calculation over its deviation."""
        self._ratios[str(calculation)] = float(ratio)
        write_text_file(self.path, json.dumps(self._ratios, indent=1) + "\n")

    @property
    def scale(self) -> float:
        """Factor for the deviations: sqrt((w + sum of squared ratios) / (w + n)), at least 1."""
        total = PRIOR_WEIGHT + sum(ratio * ratio for ratio in self._ratios.values())
        return max(1.0, math.sqrt(total / (PRIOR_WEIGHT + len(self._ratios))))
