"""The work on one batch of candidates, wherever it is done: read, filter, predict, score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from castile.errors import CastileError
from castile.screening.candidates import CandidateBatch
from castile.screening.filters import Filters
from castile.screening.objective import Objective
from castile.screening.targets import Predicted, Target
from castile.structures.validation import validate_structure


@dataclass(frozen=True)
class BatchTask:
    """What is done with a batch.

    Attributes
    ----------
    target : Target
    filters : Filters
    objectives : tuple of Objective
    """

    target: Target
    filters: Filters
    objectives: tuple[Objective, ...]

    def __call__(self, batch: CandidateBatch) -> BatchOutcome:
        """Work on a batch; nothing that is wrong with a candidate is raised."""
        outcome = BatchOutcome(batch.last)
        chosen: list[_Chosen] = []
        for position, found in enumerate(batch.read()):
            outcome.n_read += 1
            try:
                if found.atoms is None:
                    raise CastileError(found.error or f"{found.name}: there is no structure")
                validate_structure(found.atoms, found.name)
                reason = self.filters.reason(found.atoms)
            except Exception as error:
                outcome.skipped.append((position, found.name, _text(error, found.name)))
                continue
            if reason is None:
                chosen.append(_Chosen(position, found.name, found.atoms))
            else:
                outcome.filtered[reason] += 1
        self._predict(self._unknown(chosen, outcome), outcome)
        return outcome

    def _unknown(self, chosen: list[_Chosen], outcome: BatchOutcome) -> list[_Chosen]:
        """Fill in similarities to known structures; what is too similar is left out."""
        known = self.filters.known
        if known is None or not chosen:
            return chosen
        kept = []
        nearest = _each(lambda part: known.nearest(part), chosen, outcome)
        for one, similarity in nearest:
            if self.filters.most_similar is not None and similarity > self.filters.most_similar:
                outcome.filtered["known"] += 1
            else:
                kept.append(_Chosen(one.position, one.name, one.atoms, float(similarity)))
        return kept

    def _predict(self, chosen: list[_Chosen], outcome: BatchOutcome) -> None:
        """Predict and score; a structure that the model refuses is skipped."""
        for one, (mean, std, grade, atoms) in _each(self._predictions, chosen, outcome):
            if not np.isfinite(mean):
                outcome.skipped.append((one.position, one.name, f"{one.name}: the prediction is {mean}"))
                continue
            scores = tuple(float(o.scores([mean], [std])[0]) for o in self.objectives)
            bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            outcome.rows.append(
                ScoredStructure(
                    one.position, one.name, str(atoms.symbols.formula.format("metal")), mean, std, grade,
                    one.similarity, scores, bare,
                )
            )  # fmt: skip

    def _predictions(self, structures: Sequence[Atoms]) -> list[tuple[float, float, float, Atoms]]:
        found: Predicted = self.target.predict(structures)
        columns = (found.mean.tolist(), found.std.tolist(), found.grade.tolist(), found.structures)
        return list(zip(*columns, strict=True))


@dataclass(frozen=True)
class ScoredStructure:
    """A candidate of a batch: position in it, name, formula, prediction, scores and structure."""

    position: int
    name: str
    formula: str
    mean: float
    std: float
    grade: float
    similarity: float
    scores: tuple[float, ...]
    atoms: Atoms


@dataclass
class BatchOutcome:
    """What became of a batch.

    Attributes
    ----------
    last : int
        Position in the stream of the part after it.
    n_read : int
    rows : list of ScoredStructure
    filtered : Counter
        How many each filter left out.
    skipped : list of (int, str, str)
        Position in the batch, name and reason of the broken ones.
    """

    last: int
    n_read: int = 0
    rows: list[ScoredStructure] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Chosen:
    """A candidate that passed the filters so far."""

    position: int
    name: str
    atoms: Atoms
    similarity: float = float("nan")


def _each(function, chosen: list[_Chosen], outcome: BatchOutcome):  # type: ignore[no-untyped-def]
    """Yield (candidate, result); together if possible, else one by one so that only the culprits are lost."""
    if not chosen:
        return
    try:
        results = function([one.atoms for one in chosen])
    except Exception:
        results = None
    if results is not None:
        yield from zip(chosen, results, strict=True)
        return
    for one in chosen:
        try:
            (result,) = function([one.atoms])
        except Exception as error:
            outcome.skipped.append((one.position, one.name, _text(error, one.name)))
            continue
        yield one, result


def _text(error: Exception, name: str) -> str:
    """Return the message of an error, with the name of the candidate."""
    text = str(error) if isinstance(error, CastileError) else f"{type(error).__name__}: {error}"
    for anonymous in ("structure 0: ", "structure: "):
        text = text.removeprefix(anonymous)
    return text if name in text else f"{name}: {text}"
