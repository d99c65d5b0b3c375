"""States of a requested calculation, and which may follow which."""

from dataclasses import dataclass
from enum import StrEnum

from castile.errors import InputError


class State(StrEnum):
    """Where a calculation stands.

    ``queued``: requested. ``running``: claimed by one process. ``converged``: labels are there, not yet
    judged. ``accepted``: may be trained on. The rest never is: ``unconverged`` (the self-consistent cycle),
    ``failed`` (error, time-out, a number that is not finite) and ``rejected`` (absurd forces, fused atoms).
    """

    QUEUED = "queued"
    RUNNING = "running"
    CONVERGED = "converged"
    UNCONVERGED = "unconverged"
    FAILED = "failed"
    REJECTED = "rejected"
    ACCEPTED = "accepted"


NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING}),
    State.RUNNING: frozenset({State.CONVERGED, State.UNCONVERGED, State.FAILED, State.QUEUED}),
    State.CONVERGED: frozenset({State.ACCEPTED, State.REJECTED}),
    State.FAILED: frozenset({State.QUEUED}),
    State.UNCONVERGED: frozenset({State.QUEUED}),
    State.REJECTED: frozenset(),
    State.ACCEPTED: frozenset(),
}
"""States that may follow each state; a failure is queued again for a retry, a running one when it was
interrupted."""
OPEN = (State.QUEUED, State.RUNNING, State.CONVERGED)
"""States of calculations that are not settled."""


@dataclass(frozen=True)
class Calculation:
    """One requested calculation.

    Attributes
    ----------
    id : int
        Of the calculation and of its row in the ASE database.
    key : str
        Name under which it was first requested.
    origin : str
        What asked for it, such as the name of an explorer.
    state : State
    attempts : int
        How often it was started, interruptions not counted.
    reason : str
        Why it is unconverged, failed or rejected, with the end of the log.
    owner : str
        Who claimed it last.
    changed : float
        When the state last changed, seconds since 1970.
    """

    id: int
    key: str
    origin: str
    state: State
    attempts: int
    reason: str
    owner: str
    changed: float


@dataclass(frozen=True)
class Transition:
    """One line of the ledger: a calculation went from one state (None: it was requested) to another."""

    id: int
    before: State | None
    after: State
    time: float
    reason: str


def require_transition(id: int, before: State, after: State) -> None:
    """Raise `InputError` when ``after`` cannot follow ``before``."""
    if after not in NEXT[before]:
        allowed = ", ".join(sorted(NEXT[before])) or "nothing"
        raise InputError(f"calculation {id} is {before} and cannot become {after}; {allowed} may follow")
