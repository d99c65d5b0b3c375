"""A comparison as tables and sentences."""

from __future__ import annotations

import math

from castile.comparison.budget import Budget
from castile.comparison.power_law import Estimate
from castile.comparison.result import Comparison, DescriptorResult, SplitResult
from castile.evaluation.tables import ABSENT, Table, format_number


def with_unit(value: float, unit: str) -> str:
    """Return an error with its unit; small energies in meV."""
    if unit.startswith("eV") and abs(value) < 0.2:
        return f"{format_number(1000.0 * value)} m{unit}"
    return f"{format_number(value)} {unit}".rstrip()


def cost_table(comparison: Comparison) -> Table:
    """Measured cost of each descriptor, and its error at the largest number of labels."""
    rows = []
    splits = [part.split for part in comparison.descriptors[0].splits]
    front = comparison.pareto_front()
    for result in comparison.descriptors:
        errors = [_last(result.by_split(split), comparison) for split in splits]
        exponent, deviation = result.by_split(comparison.judged_by).curve.exponent()
        rows.append(
            (
                result.label + (" *" if result.label in front else ""),
                f"{result.n_features:,}",
                format_number(1e6 * result.cpu_s_per_structure),
                format_number(1e6 * float(result.costs.prediction(comparison.sizes[-1]))),
                f"{result.bytes_per_structure:,.0f}",
                *errors,
                f"{exponent:.2f} ± {deviation:.2f}",
            )
        )
    unit, metric = comparison.unit or "unit of the target", comparison.metric.upper()
    columns = (
        "descriptor", "features", "µs/structure", "prediction, µs", "bytes/structure",
        *(f"{metric} ({unit}), {split}" for split in splits), "exponent",
    )  # fmt: skip
    note = (
        f"Errors with {comparison.sizes[-1]:,} labels: mean over the seeds, smallest and largest. Processor "
        f"time. Exponent of the power law at the largest size, {comparison.judged_by}. * no other "
        "descriptor is both cheaper per structure and better."
    )
    return Table(columns, tuple(rows), f"Descriptors on {comparison.n_structures:,} structures", note)


def _last(part: SplitResult, comparison: Comparison) -> str:
    _, mean, low, high = part.measured(comparison.metric)[-1]
    return f"{format_number(mean)} [{format_number(low)}, {format_number(high)}]"


def curve_table(comparison: Comparison, split: str) -> Table:
    """Mean error for every number of labels."""
    rows = []
    for result in comparison.descriptors:
        part = next(p for p in result.splits if p.split == split)
        rows.append((result.label, *(format_number(row[1]) for row in part.measured(comparison.metric))))
    columns = ("descriptor", *(f"{size:,} labels" for size in comparison.sizes))
    unit = f" ({comparison.unit})" if comparison.unit else ""
    return Table(columns, tuple(rows), f"{comparison.metric.upper()}{unit}, {split} splits")


def budget_table(comparison: Comparison) -> Table:
    """Labels and processor hours for the wanted error, on every kind of split."""
    splits = [part.split for part in comparison.descriptors[0].splits]
    rows = []
    for result in comparison.descriptors:
        cells = [result.label]
        for split in splits:
            own = result.by_split(split).budget
            assert own is not None
            cells += [_range(own.labels, own), _range(own.cpu_hours, own)]
        rows.append(tuple(cells))
    pairs = [(f"labels, {split}", f"CPU hours, {split}") for split in splits]
    columns = ("descriptor", *(name for pair in pairs for name in pair))
    share = round(100 * comparison.coverage)
    note = (
        f"Median [{share} % interval]; more than half a chance of not reaching the error below "
        f"{comparison.most_labels:,.0f} labels is shown as {ABSENT}."
    )
    title = (
        f"{with_unit(comparison.error, comparison.unit)} on {comparison.n_candidates:,} candidates, "
        f"{comparison.label_cost_s / 3600:.3g} CPU hours a label"
    )
    return Table(columns, tuple(rows), title, note)


def _range(estimate: Estimate | None, own: Budget) -> str:
    if estimate is None:
        return f"{ABSENT} ({100 * own.reach_probability:.0f} %)"
    return f"{_short(estimate.median)} [{_short(estimate.low)}, {_short(estimate.high)}]"


def _short(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if value >= 100 else format_number(value, 2)


def recommendation(comparison: Comparison) -> tuple[str, ...]:
    """Sentences: what to use, what it costs, what the others cost, and where that changes."""
    wanted = with_unit(comparison.error, comparison.unit)
    if comparison.error_chosen:
        wanted += " (the best error measured here; give --error for another)"
    ranked = comparison.ranking()
    sentences = []
    if not ranked:
        sentences.append(
            f"No descriptor is likely to reach {wanted} below {comparison.most_labels:,.0f} labels; the best "
            f"was {_best(comparison)}."
        )
    else:
        best, own = ranked[0]
        sentences.append(
            f"Use {best.label}: {_cost(own)} for {wanted} on {comparison.n_candidates:,} candidates."
        )
        sentences += [_other(result, own, other) for result, other in ranked[1:4]]
    missing = [r.label for r in comparison.descriptors if not r.by_split(comparison.judged_by).budget.reached]  # type: ignore[union-attr]
    if missing and ranked:
        verb = "does" if len(missing) == 1 else "do"
        sentences.append(
            f"{', '.join(missing)} {verb} not reach it below {comparison.most_labels:,.0f} labels (more "
            "likely than not)."
        )
    for crossing in comparison.crossings():
        sentences.append(
            f"Beyond {_rounded(crossing.n_candidates)} candidates {crossing.beyond} is cheaper than "
            f"{crossing.below}."
        )
    ranges = comparison.error_ranges()
    for k, part in enumerate(ranges[:-1]):
        sentences.append(
            f"Cheapest up to an error of {with_unit(part.high, comparison.unit)} is {part.label}, from "
            f"{with_unit(ranges[k + 1].low, comparison.unit)} on {ranges[k + 1].label}."
        )
    sentences.append(_trust(comparison))
    return tuple(sentence for sentence in sentences if sentence)


def _cost(own: Budget) -> str:
    assert own.cpu_hours is not None
    assert own.labels is not None
    labels = own.labels
    if math.isinf(own.cpu_hours.high):
        return (
            f"{_short(own.cpu_hours.median)} CPU hours (at least {_short(own.cpu_hours.low)}; it may not be "
            f"reached: {100 * own.reach_probability:.0f} % likely) with {_short(labels.median)} labels"
        )
    if labels.low == labels.high:
        return (
            f"at most {_short(own.cpu_hours.median)} CPU hours (reached with the smallest training set, "
            f"{_short(labels.median)} labels)"
        )
    half = 0.5 * (own.cpu_hours.high - own.cpu_hours.low)
    spread = f" ± {_short(half)} CPU hours"
    if half > 0.5 * own.cpu_hours.median:
        spread = f" CPU hours ({_short(own.cpu_hours.low)} to {_short(own.cpu_hours.high)})"
    return (
        f"{_short(own.cpu_hours.median)}{spread} with {_short(labels.median)} labels "
        f"[{_short(labels.low)}, {_short(labels.high)}]"
    )


def _other(result: DescriptorResult, best: Budget, own: Budget) -> str:
    assert own.cpu_hours is not None
    assert best.cpu_hours is not None
    overlap = own.cpu_hours.low <= best.cpu_hours.high
    remark = "; the intervals overlap, so the difference is not certain" if overlap else ""
    return f"{result.label}: {_cost(own)}{remark}."


def _best(comparison: Comparison) -> str:
    errors = {
        r.label: r.by_split(comparison.judged_by).measured(comparison.metric)[-1][1]
        for r in comparison.descriptors
    }
    label = min(errors, key=lambda name: errors[name])
    return f"{label} with {with_unit(errors[label], comparison.unit)} at {comparison.sizes[-1]:,} labels"


def _trust(comparison: Comparison) -> str:
    """Which test sets the sentences refer to, and what the others would say."""
    if comparison.note:
        return comparison.note
    ranked = {split: comparison.ranking(split) for split in ("random", "leak-proof")}
    if ranked["random"] and ranked["leak-proof"]:
        random, proof = ranked["random"][0], ranked["leak-proof"][0]
        if random[0].label != proof[0].label:
            name = random[0].label
            return f"Judged by leak-proof test sets; by random ones it would be {name}: {_cost(random[1])}."
        return f"Judged by leak-proof test sets; by random ones it is the same: {_cost(random[1])}."
    if ranked["random"]:
        name, own = ranked["random"][0][0].label, ranked["random"][0][1]
        return f"Judged by leak-proof test sets; by random ones {name} reaches it: {_cost(own)}."
    return f"Judged by {comparison.judged_by} test sets."


def _rounded(value: float) -> str:
    digits = max(0, math.floor(math.log10(value)) - 1)
    return f"{round(value, -digits):,.0f}"
