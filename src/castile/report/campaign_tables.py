"""Tables of a campaign of active learning, for the command line and the report."""

from __future__ import annotations

import time
from collections import Counter

from castile.active.ledger import Calculation, State
from castile.active.status import CampaignStatus
from castile.evaluation.tables import ABSENT, Table, format_number

N_PROBLEMS = 5
REASON_CHARACTERS = 100
MOST_POINTS = 12


def campaign_tables(status: CampaignStatus) -> tuple[Table, ...]:
    """Return what `castile status` prints: the campaign, the ledger, the learning curve, problems."""
    tables = [overview_table(status), ledger_table(status)]
    if status.learning_curve:
        tables.append(learning_table(status))
    problems = problem_table(status)
    return (*tables, problems) if problems.rows else tuple(tables)


def overview_table(status: CampaignStatus) -> Table:
    """The campaign in a few lines."""
    state = status.state
    saved = ABSENT if status.saved is None else f"{100.0 * status.saved:.1f} %"
    rows = [
        ("status", status.outlook),
        ("cycle", str(state.cycle + 1)),
        ("time worked", _duration(state.seconds)),
        ("explored structures", f"{status.n_steps:,}"),
        ("labels that explorers asked for", f"{status.n_calls:,}"),
        ("explored without a label", saved),
        ("force error, wanted (eV/Å)", format_number(status.target)),
        ("force error, predicted (eV/Å)", format_number(state.predicted_error)),
        ("force error, against verification labels (eV/Å)", format_number(state.verified_error)),
        ("force deviation that asks for a label (eV/Å)", format_number(status.threshold)),
    ]
    if status.versions:
        last = status.versions[-1]
        rows.append(
            ("model", f"version {last.number}: {len(last.ids)} labels, {last.n_sparse} sparse points")
        )
    return Table(("campaign", ""), tuple(rows), f"Campaign {status.directory}")


def _duration(seconds: float) -> str:
    return (
        time.strftime("%H:%M:%S", time.gmtime(seconds))
        if seconds < 86_400
        else f"{seconds / 86_400:.1f} days"
    )


def ledger_table(status: CampaignStatus) -> Table:
    """Number of calculations by origin and state."""
    counts = Counter((c.origin, c.state) for c in status.calculations)
    origins = list(dict.fromkeys(c.origin for c in status.calculations))
    rows = [(origin, *(str(counts[origin, state]) for state in State)) for origin in origins]
    rows.append(("all", *(str(count) for count in status.counts.values())))
    attempts = sum(c.attempts for c in status.calculations)
    note = f"{attempts} attempts for {len(status.calculations)} calculations."
    return Table(("asked by", *(state.value for state in State)), tuple(rows), "Ledger", note)


def learning_table(status: CampaignStatus) -> Table:
    """New labels against the model that had not learned them; long campaigns show every n-th version."""
    points = status.learning_curve
    every = max(1, -(-len(points) // MOST_POINTS))
    shown = [*points[::every], *([points[-1]] if (len(points) - 1) % every else [])]
    rows = tuple(
        (str(p.n_labels), str(p.n_new), format_number(p.error), format_number(p.deviation)) for p in shown
    )
    columns = ("labels learned", "new labels", "force error on them (eV/Å)", "force deviation (eV/Å)")
    note = (
        "Explorers ask for the structures that the model knows least, so these errors are larger than those "
        "of an average structure."
    )
    if points and points[0].n_labels == 0:
        note += " The first line is a cross-validation of the first labels."
    return Table(columns, rows, "Learning curve", note)


def problem_table(status: CampaignStatus) -> Table:
    """The last calculations that gave no label, and why."""
    states = (State.FAILED, State.UNCONVERGED, State.REJECTED)
    problems = [c for c in status.calculations if c.state in states][-N_PROBLEMS:]
    rows = tuple((str(c.id), c.state.value, str(c.attempts), first_line(c)) for c in problems)
    return Table(("id", "state", "attempts", "reason"), rows, "Last calculations without a label")


def first_line(calculation: Calculation) -> str:
    """Return the beginning of the reason of a calculation."""
    lines = calculation.reason.splitlines() or [""]
    return lines[0] if len(lines[0]) <= REASON_CHARACTERS else f"{lines[0][:REASON_CHARACTERS]}..."
