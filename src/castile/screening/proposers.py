"""Learning from labels and proposing the next ones: over a stream of candidates, or over described ones."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from sklearn.base import clone

from castile.errors import InputError
from castile.execution.task_pool import Workers
from castile.potentials.gap import GAP
from castile.properties import Inputs, PropertyModel
from castile.properties.learning import LearningSettings, learn_process
from castile.screening.candidates import CandidateStream
from castile.screening.filters import Filters
from castile.screening.labellers import Label
from castile.screening.loop import ListedCandidate, Proposal, Proposer, candidate
from castile.screening.objective import Objective
from castile.screening.records import KeptCandidate
from castile.screening.result import ScreenSettings
from castile.screening.screening import Advance, screen
from castile.screening.targets import PotentialTarget, PropertyTarget, Target

Float64Array = NDArray[np.float64]


class Learner(ABC):
    """Makes a target from labels."""

    @abstractmethod
    def learn(self, labels: Sequence[Label]) -> Target:
        """Return the target that all these labels (none failed) teach, with what was known before."""

    @abstractmethod
    def known(self) -> Float64Array:
        """Labels that were known before."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of everything that the target depends on beside the labels."""


@dataclass(frozen=True)
class PropertyLearner(Learner):
    """Fits a property model anew each time.

    Attributes
    ----------
    model : PropertyModel
        Its descriptor and options are used, and itself as long as there are no labels.
    structures : tuple of ase.Atoms
    values : tuple of float
        Training data that the loop begins with.
    """

    model: PropertyModel
    structures: tuple[Atoms, ...]
    values: tuple[float, ...]

    def learn(self, labels: Sequence[Label]) -> Target:
        """Fit to the training data and the labels."""
        old = self.model
        if not labels and hasattr(old, "process_"):
            return PropertyTarget(old)
        values = [*self.values, *(float(label.value or 0.0) for label in labels)]
        model = PropertyModel(
            clone(old.descriptor), scope=old.scope, kernel=old.kernel, target=old.target, unit=old.unit,
            solver=old.solver, n_sparse=old.n_sparse, seed=old.seed,
        )  # fmt: skip
        return PropertyTarget(model.fit([*self.structures, *(label.atoms for label in labels)], values))

    def known(self) -> Float64Array:
        """Labels of the training data."""
        return np.array(self.values)

    def fingerprint(self) -> str:
        """Options of the model and training labels."""
        return repr((self.model.descriptor, self.model.kernel, self.model.scope, self.values))


@dataclass(frozen=True)
class PotentialLearner(Learner):
    """Updates a potential with what the oracle computed: energies, forces and stresses.

    Attributes
    ----------
    target : PotentialTarget
        Where it begins.
    load : callable
        Gives the potential afresh; an update changes it.
    """

    target: PotentialTarget
    load: Callable[[], GAP]

    def learn(self, labels: Sequence[Label]) -> Target:
        """Update the first potential with all labels."""
        if not labels:
            return self.target
        gap = self.load().update([label.atoms for label in labels], allow_missing=("forces", "stress"))
        return replace(self.target, gap=gap)

    def known(self) -> Float64Array:
        """None: a potential does not keep them."""
        return np.empty(0)

    def fingerprint(self) -> str:
        """That of the first potential."""
        return self.target.fingerprint()


def improvement_over_list(objective: Objective, labels: Sequence[float], top: int) -> Objective:
    """Return the objective with the worst value of the ``top`` best labels as what is to be improved on.

    The expected improvement over it is that of the sum of the list; with ``top`` = 1 it is the usual one.
    """
    if objective.kind != "improvement":
        return objective
    values = np.asarray(labels, dtype=np.float64)
    if not values.size:
        raise InputError("the expected improvement needs a first label; give training data or best")
    order = np.argsort(-objective.merits_of_values(values), kind="stable")
    return objective.with_best([values[order[min(top, len(order)) - 1]]])


@dataclass(frozen=True)
class StreamProposer(Proposer):
    """Screens a stream again after every fit.

    Attributes
    ----------
    candidates : CandidateStream
    learner : Learner
    objective : Objective
    filters : Filters
    most_similar : float
        Members of a batch are at most so similar.
    workers, threads
        As for :func:`castile.screening.screening.screen`.
    advance : callable, optional
    """

    candidates: CandidateStream
    learner: Learner
    objective: Objective
    filters: Filters = field(default_factory=Filters)
    most_similar: float = 0.9999
    workers: Workers = None
    threads: int | None = None
    advance: Advance | None = None

    def propose(self, labels: Sequence[Label], batch: int, top: int) -> Proposal:
        """Fit, and screen what is not labelled."""
        good = [label for label in labels if label.value is not None]
        target = self.learner.learn(good)
        values = [*self.learner.known(), *(float(label.value or 0.0) for label in good)]
        objective = self.objective
        if objective.kind == "improvement" and (values or objective.best is None):
            objective = improvement_over_list(objective, values, top)
        mean = Objective("mean", objective.goal, objective.value)
        settings = ScreenSettings(
            objective, max(batch, top), self.most_similar, None,
            self.filters.without([label.atoms for label in labels]), 0, 0, (mean,),
        )  # fmt: skip
        found = screen(
            self.candidates, target, settings, workers=self.workers, threads=self.threads,
            advance=self.advance,
        )  # fmt: skip
        chosen = tuple(winner.candidate for winner in found.winners[:batch])
        return proposal_of(chosen, merged_list(good, found.also[0], mean, top), found.also[0])

    def fingerprint(self) -> str:
        """Hash of candidates, learner and objective."""
        digest = hashlib.sha256(self.candidates.fingerprint().encode())
        digest.update(self.learner.fingerprint().encode() + self.filters.fingerprint().encode())
        digest.update(repr((self.objective, self.most_similar)).encode())
        return digest.hexdigest()


def proposal_of(
    batch: tuple[KeptCandidate, ...], top: tuple[ListedCandidate, ...], predicted: Sequence[KeptCandidate]
) -> Proposal:
    """Return the proposal, with the predicted candidates that are in the top list."""
    listed = {one.index for one in top if not one.labelled}
    return Proposal(batch, top, tuple(one for one in predicted if one.row.index in listed))


def merged_list(
    labels: Sequence[Label], predicted: Sequence[KeptCandidate], objective: Objective, top: int
) -> tuple[ListedCandidate, ...]:
    """Return the best of labels and predictions, best first."""
    listed = [ListedCandidate(one.index, one.name, float(one.value or 0.0), 0.0, True) for one in labels]
    listed += [
        ListedCandidate(one.row.index, one.row.name, one.row.mean, one.row.std, False) for one in predicted
    ]
    merits = objective.merits_of_values([one.value for one in listed]) if listed else np.empty(0)
    order = sorted(range(len(listed)), key=lambda k: (-merits[k], listed[k].index))
    return tuple(listed[k] for k in order[:top])


@dataclass
class DescribedProposer(Proposer):
    """All candidates described once and kept in memory; the process is learned again from the labels.

    Attributes
    ----------
    inputs : Inputs
        Of all candidates.
    structures : sequence of ase.Atoms
    objective : Objective
    learning : LearningSettings
    over_list : bool
        Whether the improvement counts over the top list, or over the best label.
    known : tuple of Label
        Labels that the loop begins with.
    """

    inputs: Inputs
    structures: Sequence[Atoms]
    objective: Objective
    learning: LearningSettings = field(default_factory=LearningSettings)
    over_list: bool = True
    known: tuple[Label, ...] = ()

    def propose(self, labels: Sequence[Label], batch: int, top: int) -> Proposal:
        """Learn, and score what is not labelled."""
        labels = (*self.known, *labels)
        good = [label for label in labels if label.value is not None]
        if not good:
            raise InputError("there are no labels to begin with; label some candidates first")
        rows = np.array([label.index for label in good])
        values = np.array([float(label.value or 0.0) for label in good])
        process = learn_process(self.inputs.take(rows), values, self.learning)
        mean, variance = process.predict(self.inputs)
        std = np.sqrt(variance + process.noise_deviation**2)
        objective = improvement_over_list(self.objective, values.tolist(), top if self.over_list else 1)
        scores = objective.scores(mean, std)
        free = np.setdiff1d(np.arange(len(self.inputs)), [label.index for label in labels])
        plain = Objective("mean", objective.goal, objective.value)
        by_score = free[np.argsort(-scores[free], kind="stable")][:batch]
        by_mean = free[np.argsort(-plain.scores(mean, std)[free], kind="stable")][:top]

        def kept(index: int) -> KeptCandidate:
            """The candidate of an index."""
            atoms = self.structures[index]
            name = str(atoms.info.get("name", f"structure {index}"))
            numbers = (float(mean[index]), float(std[index]), float(scores[index]))
            return candidate(int(index), name, atoms, *numbers)

        chosen = tuple(kept(index) for index in by_score)
        predicted = [kept(index) for index in by_mean]
        return proposal_of(chosen, merged_list(good, predicted, plain, top), predicted)

    def fingerprint(self) -> str:
        """Hash of features and options."""
        digest = hashlib.sha256(np.ascontiguousarray(self.inputs.features).tobytes())
        known = [(label.index, label.value) for label in self.known]
        digest.update(repr((self.objective, self.learning, self.over_list, known)).encode())
        return digest.hexdigest()
