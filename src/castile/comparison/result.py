"""What a comparison found: numbers, and the conclusions that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from castile.comparison.budget import Budget, CostModel, budget, crossing_candidates
from castile.comparison.curve_points import CurvePoint, Split
from castile.comparison.power_law import LearningCurve

_ERRORS_SCANNED = 25


@dataclass(frozen=True)
class SplitResult:
    """One descriptor on one kind of test set: points, their curve, and the budget for the wanted error."""

    split: Split
    points: tuple[CurvePoint, ...]
    curve: LearningCurve
    budget: Budget | None

    def measured(self, metric: str) -> list[tuple[int, float, float, float]]:
        """Labels, mean error over the seeds, smallest and largest, for every size."""
        rows = []
        for size in sorted({point.n_labels for point in self.points}):
            errors = [point.error(metric) for point in self.points if point.n_labels == size]
            rows.append((size, float(np.mean(errors)), min(errors), max(errors)))
        return rows

    @property
    def coverage(self) -> float:
        """Share of test labels within 90 % intervals at the largest size."""
        largest = max(point.n_labels for point in self.points)
        return float(np.mean([p.coverage for p in self.points if p.n_labels == largest]))


@dataclass(frozen=True)
class DescriptorResult:
    """Everything about one descriptor; costs are processor seconds."""

    label: str
    n_features: int
    cpu_s_per_structure: float
    bytes_per_structure: float
    costs: CostModel
    splits: tuple[SplitResult, ...]

    def by_split(self, split: Split) -> SplitResult:
        """Return the result of one kind of test set."""
        return next(part for part in self.splits if part.split == split)


@dataclass(frozen=True)
class Crossing:
    """Beyond ``n_candidates`` the ``beyond`` descriptor is the cheaper one."""

    below: str
    beyond: str
    n_candidates: float


@dataclass(frozen=True)
class ErrorRange:
    """Between two wanted errors this descriptor has the smallest budget."""

    label: str
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """All descriptors.

    Attributes
    ----------
    target, unit : str
    n_structures, n_read : int
        Compared, and in the files.
    metric, scope : str
    label_cost_s, error : float
        Asked for; ``error_chosen`` where the error was not given.
    n_candidates : int
    most_labels, coverage : float
    sizes : tuple of int
    n_components : int
        Groups of similar structures.
    note : str
        Why there are no leak-proof curves, if so.
    judged_by : str
        The split that budgets and words refer to.
    descriptors : tuple of DescriptorResult
    """

    target: str
    unit: str
    n_structures: int
    n_read: int
    metric: str
    scope: str
    label_cost_s: float
    error: float
    error_chosen: bool
    n_candidates: int
    most_labels: float
    coverage: float
    sizes: tuple[int, ...]
    n_components: int
    note: str
    judged_by: Split
    descriptors: tuple[DescriptorResult, ...]

    def ranking(self, split: Split | None = None) -> list[tuple[DescriptorResult, Budget]]:
        """Descriptors that reach the wanted error, cheapest first."""
        found = []
        for result in self.descriptors:
            own = result.by_split(split or self.judged_by).budget
            if own is not None and own.reached:
                found.append((result, own))
        return sorted(found, key=lambda pair: _median(pair[1]))

    def crossings(self) -> list[Crossing]:
        """Numbers of candidates at which the cheapest descriptor changes, in rising order."""
        ranked = self.ranking()
        if not ranked:
            return []
        lines = [(r.label, r.costs, _labels(b)) for r, b in ranked]
        current = min(lines, key=lambda line: float(line[1].fixed(line[2])))
        at = 0.0
        found: list[Crossing] = []
        while True:
            nexts = []
            for line in lines:
                where = crossing_candidates(current[2], current[1], line[2], line[1])
                dearer = float(line[1].per_candidate(line[2])) >= float(current[1].per_candidate(current[2]))
                if where is not None and where > at and not dearer:
                    nexts.append((where, line))
            if not nexts:
                return found
            at, line = min(nexts, key=lambda pair: pair[0])
            found.append(Crossing(current[0], line[0], at))
            current = line

    def error_ranges(self) -> list[ErrorRange]:
        """Ranges of the wanted error and the cheapest descriptor in each, from small errors to large ones."""
        ends = [r.by_split(self.judged_by).curve for r in self.descriptors]
        high = min(curve.at(self.sizes[0]).median for curve in ends)
        low = 0.6 * min(curve.at(self.sizes[-1]).median for curve in ends)
        ranges: list[ErrorRange] = []
        for error in np.geomspace(low, max(high, 1.01 * low), _ERRORS_SCANNED):
            best = self._cheapest(float(error))
            if best is None:
                continue
            if ranges and ranges[-1].label == best:
                ranges[-1] = ErrorRange(best, ranges[-1].low, float(error))
            else:
                ranges.append(ErrorRange(best, float(error), float(error)))
        return ranges

    def _cheapest(self, error: float) -> str | None:
        best: tuple[float, str] | None = None
        for result in self.descriptors:
            own = budget(
                result.by_split(self.judged_by).curve,
                result.costs,
                error,
                self.n_candidates,
                self.most_labels,
            )
            if own.reached and (best is None or _median(own) < best[0]):
                best = _median(own), result.label
        return None if best is None else best[1]

    def pareto_front(self) -> list[str]:
        """Descriptors that no other beats both in error at the largest size and in cost per structure."""
        front = []
        for result in self.descriptors:
            own = self._error_and_cost(result)
            others = [self._error_and_cost(other) for other in self.descriptors]
            if not any(e <= own[0] and c <= own[1] and (e, c) != own for e, c in others):
                front.append(result.label)
        return front

    def _error_and_cost(self, result: DescriptorResult) -> tuple[float, float]:
        error = result.by_split(self.judged_by).measured(self.metric)[-1][1]
        return error, float(result.costs.per_candidate(self.sizes[-1]))

    def numbers(self) -> dict[str, object]:
        """Flat numbers; errors are in the unit of the target."""
        found: dict[str, object] = {
            "target": self.target, "unit": self.unit,
            "n_structures": self.n_structures, "n_read": self.n_read,
            "metric": self.metric, "label_cost_s": self.label_cost_s, "error": self.error,
            "n_candidates": self.n_candidates, "most_labels": self.most_labels, "judged_by": self.judged_by,
            "n_similar_groups": self.n_components,
        }  # fmt: skip
        for result in self.descriptors:
            name = _key(result.label)
            found[f"{name}_cpu_s_per_structure"] = result.cpu_s_per_structure
            found[f"{name}_bytes_per_structure"] = result.bytes_per_structure
            found[f"{name}_n_features"] = result.n_features
            found[f"{name}_prediction_cpu_s_per_structure"] = float(result.costs.prediction(self.sizes[-1]))
            for part in result.splits:
                found |= self._split_numbers(f"{name}_{_key(part.split)}", part)
        best = self.ranking()
        found["recommended"] = best[0][0].label if best else None
        for k, crossing in enumerate(self.crossings()):
            found[f"crossing{k}_from"], found[f"crossing{k}_to"] = crossing.below, crossing.beyond
            found[f"crossing{k}_n_candidates"] = crossing.n_candidates
        return found

    def _split_numbers(self, name: str, part: SplitResult) -> dict[str, object]:
        found: dict[str, object] = {}
        for size, mean, low, high in part.measured(self.metric):
            found[f"{name}_{self.metric}_at_{size}"] = mean
            found[f"{name}_{self.metric}_at_{size}_low"], found[f"{name}_{self.metric}_at_{size}_high"] = (
                low,
                high,
            )
        exponent, deviation = part.curve.exponent()
        found[f"{name}_exponent"], found[f"{name}_exponent_std"] = exponent, deviation
        found[f"{name}_interval_coverage"] = part.coverage
        own = part.budget
        if own is not None:
            found[f"{name}_reach_probability"] = own.reach_probability
            for what, estimate in (("labels", own.labels), ("budget_cpu_h", own.cpu_hours)):
                for side in ("median", "low", "high"):
                    value = None if estimate is None else getattr(estimate, side)
                    found[f"{name}_{what}_{side}"] = value if value is None or np.isfinite(value) else None
        return found


def _median(own: Budget) -> float:
    assert own.cpu_hours is not None
    return own.cpu_hours.median


def _labels(own: Budget) -> float:
    assert own.labels is not None
    return own.labels.median


def _key(text: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
