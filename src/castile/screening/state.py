"""Everything that a screening knows so far, in bounded memory; it is rebuilt from the journal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from castile.screening.batch_work import BatchOutcome
from castile.screening.likeness import Likeness, choose_diverse
from castile.screening.objective import Objective
from castile.screening.records import (
    BestList,
    KeptCandidate,
    Row,
    plain_structure,
    row_of,
    sample_score,
    structure_of,
)
from castile.screening.result import Screening, ScreenSettings, Winner
from castile.screening.targets import Target

MOST_MESSAGES = 1000


class ScreeningState:
    """Everything that a screening knows so far; its size does not depend on the number of candidates."""

    def __init__(self, settings: ScreenSettings, objectives: tuple[Objective, ...]) -> None:
        self.settings, self.objectives = settings, objectives
        sizes = [settings.pool_size, *(settings.top for _ in settings.also)]
        self.best = [BestList(size) for size in sizes]
        self.sample = BestList(settings.sample)
        self.position = self.n_read = self.n_predicted = self.n_extrapolated = self.n_skipped = 0
        self.filtered: Counter[str] = Counter()
        self.skipped: list[tuple[str, str]] = []

    def take(self, outcome: BatchOutcome) -> dict[str, Any]:
        """Add a batch and return its record for the journal."""
        rows: list[list[Any]] = []
        kept: dict[str, list[Any]] = {}
        for one in outcome.rows:
            row = Row(
                self.n_read + one.position, one.name, one.formula, len(one.atoms), one.mean, one.std,
                one.grade, one.similarity, one.scores,
            )  # fmt: skip
            if self._add(KeptCandidate(row, one.atoms)):
                kept[str(len(rows))] = plain_structure(one.atoms)
            rows.append(row.plain())
        skipped = [(self.n_read + i, name, text) for i, name, text in outcome.skipped]
        self._count(outcome.n_read, outcome.last, dict(outcome.filtered), skipped)
        return {
            "last": outcome.last, "n_read": outcome.n_read, "rows": rows, "kept": kept,
            "filtered": dict(outcome.filtered), "skipped": skipped,
        }  # fmt: skip

    def absorb(self, entry: dict[str, Any]) -> None:
        """Add a batch from its record."""
        for number, plain in enumerate(entry["rows"]):
            structure = entry["kept"].get(str(number))
            row = row_of(plain)
            if structure is None:
                self.n_predicted += 1
                self.n_extrapolated += row.extrapolates
            else:
                self._add(KeptCandidate(row, structure_of(structure)))
        skipped = [(i, name, text) for i, name, text in entry["skipped"]]
        self._count(entry["n_read"], entry["last"], entry["filtered"], skipped)

    def _add(self, kept: KeptCandidate) -> bool:
        """Offer a candidate to all lists; whether one of them keeps it."""
        row = kept.row
        self.n_predicted += 1
        self.n_extrapolated += row.extrapolates
        accepted = False
        for best, objective, score in zip(self.best, self.objectives, row.scores, strict=True):
            merit = float(objective.merits_of_values([row.mean])[0])
            if best.accepts(score, merit, row.index):
                best.add(score, merit, kept)
                accepted = True
        drawn = sample_score(row.index, self.settings.seed)
        if self.settings.sample and self.sample.accepts(drawn, 0.0, row.index):
            self.sample.add(drawn, 0.0, kept)
            accepted = True
        return accepted

    def _count(
        self, n_read: int, last: int, filtered: dict[str, int], skipped: list[tuple[int, str, str]]
    ) -> None:
        self.n_read += n_read
        self.position = last
        self.filtered.update(filtered)
        self.n_skipped += len(skipped)
        room = MOST_MESSAGES - len(self.skipped)
        self.skipped += [(name, text) for _, name, text in skipped[: max(0, room)]]

    def result(self, target: Target) -> Screening:
        """Choose the winners."""
        settings, pool = self.settings, self.best[0].sorted()
        counts = [1] * len(pool)
        if settings.most_similar < 1.0 and pool:
            vectors = Likeness().vectors([kept.atoms for kept in pool])
            chosen, counts = choose_diverse(vectors, settings.top, settings.most_similar)
            pool = [pool[k] for k in chosen]
        winners = tuple(
            Winner(rank, kept, count) for rank, (kept, count) in enumerate(zip(pool, counts, strict=True), 1)
        )
        exhausted = len(winners) < settings.top and self.n_predicted > settings.pool_size
        return Screening(
            target.name, target.unit, settings, winners,
            tuple(tuple(best.sorted()) for best in self.best[1:]), tuple(self.sample.sorted()),
            self.n_read, self.n_predicted, self.n_extrapolated, self.n_skipped, self.filtered,
            tuple(self.skipped), exhausted,
        )  # fmt: skip
