"""The comparison: every descriptor on every test set with every number of labels, then budgets."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from castile.comparison.budget import CostModel, budget, fit_cost
from castile.comparison.choices import NamedDescriptor
from castile.comparison.curve_points import CurvePoint, PointStore
from castile.comparison.data import ComparisonData, Parts, SplitPlan, plan_splits
from castile.comparison.power_law import fit_learning_curve
from castile.comparison.result import Comparison, DescriptorResult, SplitResult
from castile.errors import InputError
from castile.properties.descriptor import Cost
from castile.properties.inputs import Inputs, Scope, describe
from castile.properties.learning import LearningSettings, learn_process
from castile.properties.model import default_kernels

Progress = Callable[[str, int, int | None], None]
_COST_SAMPLE = 100
_WARM_UP = 2
_TIMED = 256


@dataclass(frozen=True)
class ComparisonSettings:
    """What is asked.

    Parameters
    ----------
    label_cost_s : float
        Of one label, processor seconds.
    error : float, optional
        Wanted error, in the unit of the target. Default: what the best descriptor measured.
    n_candidates : int
        Structures to be screened.
    metric : "mae" or "rmse"
    scope : "structure" or "atoms"
    n_seeds : int
    max_labels : int
        Largest training set.
    most_labels : float, optional
        Beyond so many labels an error counts as not reached. Default: 30 times the largest training set, at
        least 10,000.
    coverage : float
        Probability of the intervals.
    """

    label_cost_s: float = 3600.0
    error: float | None = None
    n_candidates: int = 100_000
    metric: Literal["mae", "rmse"] = "mae"
    scope: Scope = "structure"
    n_seeds: int = 3
    max_labels: int = 1600
    most_labels: float | None = None
    coverage: float = 0.9

    def __post_init__(self) -> None:
        if not (np.isfinite(self.label_cost_s) and self.label_cost_s > 0):
            raise InputError(f"label_cost_s = {self.label_cost_s}: give positive seconds")
        if self.error is not None and not (np.isfinite(self.error) and self.error > 0):
            raise InputError(f"error = {self.error}: give a positive number in the unit of the target")
        if self.n_candidates < 0:
            raise InputError(f"n_candidates = {self.n_candidates}: give 0 or more")
        if self.metric not in ("mae", "rmse"):
            raise InputError(f"metric = {self.metric!r}: give 'mae' or 'rmse'")
        if self.n_seeds < 1:
            raise InputError(f"n_seeds = {self.n_seeds}: give at least 1")
        if not 0.0 < self.coverage < 1.0:
            raise InputError(f"coverage = {self.coverage}: give a share between 0 and 1")


def compare(
    data: ComparisonData,
    descriptors: Sequence[NamedDescriptor],
    settings: ComparisonSettings | None = None,
    *,
    points: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return learning curves, costs and budgets of descriptors on the same test sets.

    Parameters
    ----------
    data : ComparisonData
    descriptors : sequence of NamedDescriptor
    settings : ComparisonSettings, optional
    points : path, optional
        File of the points: those in it are not computed again.
    progress : callable, optional
        Called with step, number done, and the total.

    Raises
    ------
    InputError
        For a descriptor that cannot describe a structure, too few data, or points of another comparison.
    """
    settings = settings or ComparisonSettings()
    if not descriptors:
        raise InputError("no descriptor is to be compared; name at least one")
    labels = [named.label for named in descriptors]
    if len(set(labels)) != len(labels):
        raise InputError(f"descriptors {labels}: two have the same name")
    store = PointStore(CurvePoint, points, _fingerprint(data, settings))
    report = progress or (lambda step, done, total: None)
    report("finding similar structures", 0, 1)
    plan = plan_splits(data, n_seeds=settings.n_seeds, max_labels=settings.max_labels)
    report("finding similar structures", 1, 1)
    total = len(descriptors) * len(plan.parts) * len(plan.sizes)
    done = 0
    measured = []
    for named in descriptors:
        wanted = [(named.label, part.split, part.seed, size) for part in plan.parts for size in plan.sizes]
        complete = all(store.get(key) is not None for key in wanted)
        inputs, cost = _described(named, data, settings.scope, complete)
        for part in plan.parts:
            for size in plan.sizes:
                if store.get((named.label, part.split, part.seed, size)) is None:
                    store.add(_point(named, data, inputs, part, size, settings))
                done += 1
                report("learning curves", done, total)
        found = [point for key in wanted if (point := store.get(key)) is not None]
        measured.append(_result(named, cost, found, plan, settings))
    return _with_budgets(data, plan, measured, settings)


def _fingerprint(data: ComparisonData, settings: ComparisonSettings) -> str:
    """Of everything that a point depends on, besides its own key."""
    parts = [data.fingerprint(), data.target, settings.scope, "test 0.2"]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _described(
    named: NamedDescriptor, data: ComparisonData, scope: Scope, only_cost: bool
) -> tuple[Inputs, Cost]:
    """Inputs of all structures (a sample where only the cost is wanted), and the cost after warming up."""
    descriptor = named.descriptor
    try:
        descriptor.fit(data.structures)
        describe(descriptor, data.structures[:_WARM_UP], scope)
        descriptor.reset_cost()
        step = -(-len(data) // _COST_SAMPLE) if only_cost else 1
        inputs = describe(descriptor, list(data.structures[::step]), scope)
    except InputError as error:
        raise InputError(f"descriptor {named.label!r}: {error}") from error
    return inputs, descriptor.cost_


def _point(
    named: NamedDescriptor,
    data: ComparisonData,
    inputs: Inputs,
    part: Parts,
    size: int,
    settings: ComparisonSettings,
) -> CurvePoint:
    """Fit on the first ``size`` structures of the pool and predict the test set."""
    train = part.pool[:size]
    descriptor = named.descriptor
    learning = LearningSettings(default_kernels(descriptor), descriptor.scaling, seed=part.seed)
    start = time.process_time()
    process = learn_process(inputs.take(train), data.targets[train], learning)
    fitted = time.process_time()
    residuals, variances = process.leave_one_out()
    ratios = np.sort(np.abs(residuals) / np.sqrt(np.maximum(variances, 1e-300)))
    rank = min(int(np.ceil((len(ratios) + 1) * 0.9)), len(ratios))
    test = inputs.take(part.test)
    repeats = max(1, _TIMED // len(part.test))
    begun = time.process_time()
    for _ in range(repeats):
        mean, variance = process.predict(test)
    predicted = (time.process_time() - begun) / repeats
    errors = mean - data.targets[part.test]
    deviation = np.sqrt(variance + process.noise_deviation**2)
    return CurvePoint(
        named.label, part.split, part.seed, size, len(part.test),
        float(np.abs(errors).mean()),
        float(np.sqrt(np.mean(errors**2))),
        float(np.mean(np.abs(errors) <= ratios[rank - 1] * deviation)),
        fitted - start,
        predicted / len(part.test),
    )  # fmt: skip


def _result(
    named: NamedDescriptor,
    cost: Cost,
    points: Sequence[CurvePoint],
    plan: SplitPlan,
    settings: ComparisonSettings,
) -> DescriptorResult:
    """Curves and costs of one descriptor; budgets come later."""
    labels = [point.n_labels for point in points]
    costs = CostModel(
        settings.label_cost_s,
        cost.cpu_s_per_structure,
        fit_cost(labels, [point.fit_cpu_s for point in points], 1.0, 3.0),
        fit_cost(labels, [point.predict_cpu_s for point in points], 0.0, 2.0),
    )
    splits = []
    for split in plan.splits:
        own = [point for point in points if point.split == split]
        curve = fit_learning_curve(
            [p.n_labels for p in own], [p.error(settings.metric) for p in own], [p.seed for p in own]
        )
        splits.append(SplitResult(split, tuple(own), curve, None))
    return DescriptorResult(
        named.label,
        len(named.descriptor.get_feature_names_out()),
        cost.cpu_s_per_structure,
        cost.bytes_per_structure,
        costs,
        tuple(splits),
    )


def _with_budgets(
    data: ComparisonData, plan: SplitPlan, results: Sequence[DescriptorResult], settings: ComparisonSettings
) -> Comparison:
    split = plan.splits[-1]
    error = settings.error
    if error is None:
        error = min(result.by_split(split).curve.at(plan.sizes[-1]).median for result in results)
    most = settings.most_labels or max(10_000.0, 30.0 * plan.sizes[-1])
    finished = []
    for result in results:
        splits = tuple(
            replace(
                part,
                budget=budget(
                    part.curve, result.costs, error, settings.n_candidates, most, settings.coverage
                ),
            )
            for part in result.splits
        )
        finished.append(replace(result, splits=splits))
    return Comparison(
        data.target, data.unit, len(data), data.n_read, settings.metric, settings.scope,
        settings.label_cost_s, float(error), settings.error is None, settings.n_candidates, float(most),
        settings.coverage,
        plan.sizes, plan.n_components, plan.note, split, tuple(finished),
    )  # fmt: skip
