"""A pool of structures on disk, of which those are labelled that the model knows least."""

from __future__ import annotations

import heapq
from pathlib import Path

from ase import Atoms

from castile.active.exploration import (
    NO_TIME,
    Candidate,
    Exploration,
    Explorer,
    Guide,
    Observation,
    Record,
)
from castile.structures.labels import IGNORE, LabelKeys
from castile.structures.readers import StructureSource

KEPT = 200
"""Structures of one pass that compete for a batch: memory does not grow with the pool."""
SAMPLES = 500


class PoolExplorer(Explorer):
    """Goes through the pool after every refit; at its end when no deviation passes the threshold.

    Parameters
    ----------
    name : str
    folder : Path
    files : sequence of str
        Read as a stream; labels in them are not used.
    """

    def __init__(self, name: str, folder: Path, files: tuple[str, ...]) -> None:
        super().__init__(name, folder)
        keys = LabelKeys(energy=IGNORE, forces=IGNORE, stress=IGNORE, virial=IGNORE)
        self._source = StructureSource(list(files), keys)

    def explore(self, guide: Guide) -> Exploration:
        """Assess every structure that has no label, nor is the same as one that has."""
        record = Record(self.folder, f"cycle-{guide.cycle}-model-{guide.surrogate.version}")
        worst: list[tuple[float, int, Atoms]] = []
        total = len(self._source)
        every = max(1, total // SAMPLES)
        for index, structure in enumerate(self._source):
            if guide.interrupted():
                break
            if guide.is_settled(self._key(index)):
                continue
            atoms = structure.atoms.copy()
            if guide.was_computed(atoms):
                continue
            assessment = guide.surrogate.assess(atoms)
            asks = assessment.deviation > guide.threshold
            observation = Observation(
                guide.cycle, 0, index, NO_TIME, NO_TIME, assessment.deviation, guide.surrogate.version,
                int(asks),
            )  # fmt: skip
            record.add(observation)
            guide.observe(self.name, observation, total)
            if asks:
                entry = (assessment.deviation, -index, atoms)
                (heapq.heappush if len(worst) < KEPT else heapq.heappushpop)(worst, entry)
            elif index % every == 0:
                record.add_frame(atoms, observation, assessment)
        record.sync()
        ordered = sorted(worst, key=lambda entry: (-entry[0], -entry[1]))
        candidates = tuple(Candidate(self._key(-i), atoms, deviation) for deviation, i, atoms in ordered)
        return Exploration(candidates, not candidates and not guide.interrupted())

    def _key(self, index: int) -> str:
        return f"{self.name}/structure {index}"
