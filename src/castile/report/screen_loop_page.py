"""HTML page of a loop: labels, the top list as it settles, recall and regret where the truth is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from castile.evaluation.tables import ABSENT, Table, format_number
from castile.report.figures import Curve, Figure, line_figure
from castile.report.page import Section, Tile, write_html_report
from castile.screening.loop import LoopResult, Progress


def top_table(result: LoopResult, target: str, unit: str) -> Table:
    """Return the top list of a loop."""
    ending = f" ({unit})" if unit else ""
    rows = tuple(
        (
            str(rank), one.name, format_number(one.value, 4), "label" if one.labelled else "prediction",
            ABSENT if one.labelled else format_number(one.std, 3),
        )
        for rank, one in enumerate(result.top, 1)
    )  # fmt: skip
    return Table(("rank", "name", f"{target}{ending}", "from", "deviation"), rows, title="Top list")


def loop_table(result: LoopResult, history: Sequence[Progress]) -> Table:
    """Return the rounds of a loop, with recall and regret where the truth is known."""
    columns = ("labels", "best label", "changed", "recall (%)", "regret")
    rows = []
    for number, each in enumerate(result.rounds):
        known = history[number] if history else None
        rows.append((
            str(each.n_labels), ABSENT if each.best is None else format_number(each.best, 4),
            str(each.n_changed), ABSENT if known is None else f"{100 * known.recall:.0f}",
            ABSENT if known is None else format_number(known.regret, 3),
        ))  # fmt: skip
    return Table(columns, tuple(rows), title="Rounds")


def write_loop_report(
    path: str | os.PathLike[str], result: LoopResult, target: str, unit: str, history: Sequence[Progress] = ()
) -> Path:
    """Write the page of a loop: the best label against the number of labels, recall and regret if known."""
    reasons = {
        "stable": "the top list is stable", "budget": "all labels of the budget are used",
        "exhausted": "every candidate is labelled",
    }  # fmt: skip
    ending = f" ({unit})" if unit else ""
    seen = [(each.n_labels, each.best) for each in result.rounds if each.best is not None]
    figures = []
    if seen:
        best = Curve("best label", [n for n, _ in seen], [value for _, value in seen])
        figures.append(_against_labels(best, f"best {target}{ending}", "Best label against labels."))
    changed = Curve(
        "changed", [e.n_labels for e in result.rounds], [float(e.n_changed) for e in result.rounds]
    )
    caption = "How much of the top list is new in each round."
    figures.append(_against_labels(changed, "new in the top list", caption))
    if history:
        labels = [each.n_labels for each in history]
        recall = Curve("recall", labels, [100.0 * each.recall for each in history])
        caption = "Part of the truly best candidates that is labelled."
        figures.append(_against_labels(recall, "recall (%)", caption))
        regret = Curve("regret", labels, [each.regret for each in history])
        caption = "Mean of the true top list minus that of the list of each round, by true values."
        figures.append(_against_labels(regret, f"regret{ending}", caption))
    sections = [
        Section("Rounds", (*figures, loop_table(result, history))),
        Section("Top list", (top_table(result, target, unit),)),
    ]
    n_failed = sum(label.value is None for label in result.labels)
    tiles = [
        Tile(f"{len(result.labels):,}", "", "labels", f"{n_failed} failed"),
        Tile(f"{len(result.rounds):,}", "", "rounds", reasons[result.reason]),
    ]
    return write_html_report(path, sections, title=f"Optimisation of {target}", tiles=tiles)


def _against_labels(curve: Curve, y_label: str, caption: str) -> Figure:
    return line_figure([curve], x_label="labels", y_label=y_label, caption=caption)
