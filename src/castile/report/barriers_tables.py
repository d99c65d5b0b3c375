"""Tables about barriers for the command line and the HTML report."""

from __future__ import annotations

from collections.abc import Sequence

from castile.barriers.model import SuspiciousLabel
from castile.barriers.scores import ClassScore
from castile.barriers.screening import ScreenedCrystal
from castile.evaluation.tables import ABSENT, Table


def class_table(classes: Sequence[ClassScore]) -> Table:
    """Errors by class of structure."""
    rows = tuple(
        (c.name, str(c.n), f"{c.mae:.3f}", f"{c.mean_error:+.3f}", f"{100 * c.coverage:.0f}") for c in classes
    )
    columns = ("class", "paths", "MAE (eV)", "mean error (eV)", "inside interval (%)")
    return Table(columns, rows, title="By class of structure")


def suspicious_table(labels: Sequence[SuspiciousLabel]) -> Table:
    """Labels that all other paths contradict."""
    rows = tuple(
        (s.path_id, s.system, f"{s.barrier_ev:.3f}", f"{s.expected_ev:.3f}", f"{s.deviations:+.1f}", s.reason)
        for s in labels
    )
    columns = ("path", "system", "barrier (eV)", "expected (eV)", "standard deviations", "why")
    note = (
        "Contradicted: more than 2.5 standard deviations from what all other paths say. Implausible size: "
        "below 0.02 or above 5 eV. Check these labels."
    )
    return Table(columns, rows, title="Suspicious labels", note=note)


def screening_table(results: Sequence[ScreenedCrystal], n_shown: int) -> Table:
    """The first crystals of a ranking."""
    shown = [result for result in results if result.error is None][:n_shown]
    rows = tuple(
        (
            str(rank), item.name, item.formula, str(len(item.hops)),
            *(_interval(item, d) for d in range(3)), "yes" if item.extrapolates else "no",
        )
        for rank, item in enumerate(shown, start=1)
    )  # fmt: skip
    columns = (
        "rank", "crystal", "formula", "hops", "in 1 dimension (eV)", "in 2 (eV)", "in 3 (eV)", "extrapolates",
    )  # fmt: skip
    return Table(columns, rows, title="Lowest barriers that let the ion run through, with intervals")


def _interval(item: ScreenedCrystal, dimension: int) -> str:
    value, low, high = (column[dimension] for column in (item.percolating, item.lower, item.upper))
    if value is None or low is None or high is None:
        return ABSENT
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
