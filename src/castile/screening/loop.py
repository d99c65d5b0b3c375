"""Bayesian optimisation over candidates: winners are labelled until the list of the best is stable."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.journal import Journal, journal_key
from castile.screening.labellers import Label, LabelSource
from castile.screening.objective import Objective
from castile.screening.records import KeptCandidate, Row, plain_structure, structure_of


@dataclass(frozen=True)
class LoopSettings:
    """How long a loop goes on.

    Attributes
    ----------
    budget : int
        Labels that may be asked for.
    batch : int
        Labels of a round.
    top : int
        Length of the list that is to become stable.
    patience : int
        Rounds in a row in which the list must stay the same.
    """

    budget: int = 200
    batch: int = 10
    top: int = 20
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("budget", "batch", "top", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: give at least 1")


@dataclass(frozen=True)
class ListedCandidate:
    """A place in the top list: a label, or the prediction where there is none yet."""

    index: int
    name: str
    value: float
    std: float
    labelled: bool


@dataclass(frozen=True)
class Proposal:
    """What a model makes of the labels so far.

    Attributes
    ----------
    batch : tuple of KeptCandidate
        What is worth a label, best first; none of it is labelled.
    top : tuple of ListedCandidate
        The best by label or prediction.
    unverified : tuple of KeptCandidate
        Those of the top list that have no label.
    """

    batch: tuple[KeptCandidate, ...]
    top: tuple[ListedCandidate, ...]
    unverified: tuple[KeptCandidate, ...]

    def asked(self, n: int, verify: bool) -> tuple[KeptCandidate, ...]:
        """Return at most n candidates to label, with ``verify`` those of the top list first."""
        listed = (*self.unverified, *self.batch) if verify else self.batch
        return tuple({one.row.index: one for one in listed}.values())[:n]


class Proposer(ABC):
    """Learns from labels and says what to label next."""

    objective: Objective

    @abstractmethod
    def propose(self, labels: Sequence[Label], batch: int, top: int) -> Proposal:
        """Return a batch and the top list, given all labels so far (failed ones included)."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of everything that proposals depend on beside the labels."""


@dataclass(frozen=True)
class Round:
    """One round of a loop.

    Attributes
    ----------
    n_labels : int
        Labels before the round.
    best : float or None
        The best of them.
    top : tuple of ListedCandidate
    n_changed : int
        Members of the top list that were not in the last one.
    """

    n_labels: int
    best: float | None
    top: tuple[ListedCandidate, ...]
    n_changed: int


@dataclass(frozen=True)
class LoopResult:
    """What came of a loop.

    Attributes
    ----------
    rounds : tuple of Round
    labels : tuple of Label
        In the order in which they were asked for.
    reason : "stable", "budget" or "exhausted"
        Why it ended.
    """

    rounds: tuple[Round, ...]
    labels: tuple[Label, ...]
    reason: str

    @property
    def top(self) -> tuple[ListedCandidate, ...]:
        """The last top list."""
        return self.rounds[-1].top


def optimise(
    proposer: Proposer,
    source: LabelSource,
    settings: LoopSettings,
    *,
    journal: str | os.PathLike[str] | None = None,
    advance: Callable[[Round], None] | None = None,
) -> LoopResult:
    """Label and learn until the top list is stable, the budget is used up, or nothing is left.

    Stable: the list has not changed for ``patience`` rounds, and all of it is labelled. Once it does not
    change, its members without a label are asked for first.

    Parameters
    ----------
    proposer : Proposer
    source : LabelSource
    settings : LoopSettings
    journal : path, optional
        File of finished rounds; a loop that was cut off, or has a larger budget now, goes on behind it.
    advance : callable, optional
        Called with each round.

    Raises
    ------
    InputError
        If the journal belongs to another loop.
    """
    identity = (proposer.fingerprint(), source.fingerprint(), settings.batch, settings.top)
    key = hashlib.sha256(repr(identity).encode()).hexdigest()
    record = Journal(journal, key)
    found = None if record.path is None else journal_key(record.path)
    if found is not None and found != key:
        raise InputError(f"{record.path}: belongs to another loop; go on with that, or delete it")
    rounds, labels = _restored(record)
    with record:
        while True:
            n_left = settings.budget - len(labels)
            proposal = proposer.propose(labels, min(settings.batch, max(n_left, 1)), settings.top)
            rounds.append(_round(proposal, labels, rounds, proposer.objective))
            if advance is not None:
                advance(rounds[-1])
            reason = _reason_to_end(rounds, proposal, n_left, settings)
            if reason:
                return LoopResult(tuple(rounds), tuple(labels), reason)
            wanted = proposal.asked(min(settings.batch, n_left), verify=rounds[-1].n_changed == 0)
            answers = source.label(wanted)
            labels += answers
            record.add({"round": asdict(rounds[-1]), "labels": [_plain_label(one) for one in answers]})


def _round(
    proposal: Proposal, labels: Sequence[Label], rounds: Sequence[Round], objective: Objective
) -> Round:
    values = np.array([label.value for label in labels if label.value is not None])
    best = float(values[int(np.argmax(objective.merits_of_values(values)))]) if len(values) else None
    before = {one.index for one in rounds[-1].top} if rounds else set()
    changed = sum(one.index not in before for one in proposal.top)
    return Round(len(labels), best, proposal.top, changed)


def _reason_to_end(rounds: Sequence[Round], proposal: Proposal, n_left: int, settings: LoopSettings) -> str:
    """Why the loop ends here; empty if it does not."""
    last = rounds[-settings.patience :]
    settled = all(one.labelled for one in rounds[-1].top) and not any(one.n_changed for one in last)
    if len(rounds) > settings.patience and settled:
        return "stable"
    if not proposal.batch:
        return "exhausted"
    return "budget" if n_left <= 0 else ""


def _plain_label(label: Label) -> list[Any]:
    results = getattr(label.atoms.calc, "results", {})
    plain = {key: np.asarray(value).tolist() for key, value in results.items() if value is not None}
    return [label.index, label.name, plain_structure(label.atoms), label.value, plain]


def _restored(record: Journal) -> tuple[list[Round], list[Label]]:
    """Rounds and labels of a loop that was cut off."""
    from ase.calculators.singlepoint import SinglePointCalculator

    rounds: list[Round] = []
    labels: list[Label] = []
    for entry in record.records():
        values = dict(entry["round"])
        top = tuple(ListedCandidate(**one) for one in values.pop("top"))
        rounds.append(Round(top=top, **values))
        for index, name, plain, value, results in entry["labels"]:
            atoms = structure_of(plain)
            if results:
                arrays = {
                    key: np.array(number) if isinstance(number, list) else number
                    for key, number in results.items()
                }
                atoms.calc = SinglePointCalculator(atoms, **arrays)
            labels.append(Label(index, name, atoms, value))
    return rounds, labels


@dataclass(frozen=True)
class Progress:
    """How a round compares with the truth.

    Attributes
    ----------
    n_labels : int
    recall : float
        Share of the truly best candidates that have been labelled.
    regret : float
        Mean merit of the truly best ``top`` minus that of the top list, in the unit of the target.
    best_regret : float or None
        Merit of the best candidate minus that of the best label.
    """

    n_labels: int
    recall: float
    regret: float
    best_regret: float | None


def compare_with_truth(
    result: LoopResult,
    truth: Mapping[int, float],
    objective: Objective,
    *,
    share: float = 0.01,
    known: Sequence[int] = (),
) -> tuple[Progress, ...]:
    """Return recall and regret of each round, where the label of every candidate is known.

    Parameters
    ----------
    result : LoopResult
    truth : mapping of int to float
        Label of each candidate.
    objective : Objective
        Its goal says what is better.
    share : float
        The truly best part of all candidates.
    known : sequence of int
        Candidates that were labelled before the loop.
    """
    indices = np.array(sorted(truth))
    merits = objective.merits_of_values([truth[int(index)] for index in indices])
    merit_of = dict(zip(indices.tolist(), merits.tolist(), strict=True))
    order = indices[np.argsort(-merits, kind="stable")]
    wanted = set(order[: max(1, round(share * len(order)))].tolist())
    history = []
    for each in result.rounds:
        labelled = set(known) | {label.index for label in result.labels[: each.n_labels]}
        top = [merit_of[one.index] for one in each.top if one.index in merit_of]
        ideal: NDArray[np.float64] = np.sort(merits)[::-1][: len(top)]
        found = [merit_of[index] for index in labelled if index in merit_of]
        history.append(
            Progress(
                each.n_labels,
                len(wanted & labelled) / len(wanted),
                float(ideal.mean() - np.mean(top)) if top else float("nan"),
                float(merits.max() - max(found)) if found else None,
            )
        )
    return tuple(history)


def candidate(index: int, name: str, atoms: Any, mean: float, std: float, score: float) -> KeptCandidate:
    """Return a candidate from its numbers."""
    nothing = float("nan")
    row = Row(index, name, str(atoms.symbols.formula), len(atoms), mean, std, nothing, nothing, (score,))
    return KeptCandidate(row, atoms)
