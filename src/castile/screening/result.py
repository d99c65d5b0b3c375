"""What a screening is asked for, and what comes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from castile.errors import InputError
from castile.screening.filters import Filters
from castile.screening.objective import Objective
from castile.screening.records import KeptCandidate, Row


@dataclass(frozen=True)
class ScreenSettings:
    """What is wanted.

    Attributes
    ----------
    objective : Objective
    top : int
        How many winners.
    most_similar : float
        Winners are at most so similar to each other; 1: no matter.
    pool : int, optional
        Candidates from which diverse winners are chosen, best first. Default: 10 for each winner.
    filters : Filters
    sample : int
        Candidates drawn at random for figures and the map.
    seed : int
        Of the sample.
    also : tuple of Objective
        Further objectives, each with its own list of the best ``top``.
    """

    objective: Objective = field(default_factory=Objective)
    top: int = 100
    most_similar: float = 1.0
    pool: int | None = None
    filters: Filters = field(default_factory=Filters)
    sample: int = 500
    seed: int = 0
    also: tuple[Objective, ...] = ()

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InputError(f"top = {self.top}: give at least 1")
        if not 0.0 < self.most_similar <= 1.0:
            raise InputError(f"most_similar = {self.most_similar}: give a similarity, above 0 and up to 1")
        if self.pool is not None and self.pool < self.top:
            raise InputError(f"pool = {self.pool} is smaller than top = {self.top}")
        if self.sample < 0:
            raise InputError(f"sample = {self.sample}: give 0 or more")

    @property
    def pool_size(self) -> int:
        """Candidates that are kept with their structures."""
        if self.most_similar >= 1.0:
            return self.top
        return 10 * self.top if self.pool is None else self.pool


@dataclass(frozen=True)
class Winner:
    """One of the best.

    Attributes
    ----------
    rank : int
        From 1.
    candidate : KeptCandidate
    n_alike : int
        Candidates of the pool that it stands for, itself included.
    """

    rank: int
    candidate: KeptCandidate
    n_alike: int

    @property
    def row(self) -> Row:
        """Its numbers."""
        return self.candidate.row


@dataclass(frozen=True)
class Screening:
    """What came of a screening.

    Attributes
    ----------
    target, unit : str
    settings : ScreenSettings
    winners : tuple of Winner
    also : tuple of tuple of KeptCandidate
        The best by the further objectives.
    sample : tuple of KeptCandidate
        Candidates drawn at random.
    n_read, n_predicted, n_extrapolated, n_skipped : int
    filtered : Counter
        How many each filter left out.
    skipped : tuple of (str, str)
        Name and reason of the first thousand broken ones.
    pool_exhausted : bool
        Whether more winners would have needed a larger pool.
    """

    target: str
    unit: str
    settings: ScreenSettings
    winners: tuple[Winner, ...]
    also: tuple[tuple[KeptCandidate, ...], ...]
    sample: tuple[KeptCandidate, ...]
    n_read: int
    n_predicted: int
    n_extrapolated: int
    n_skipped: int
    filtered: Counter[str]
    skipped: tuple[tuple[str, str], ...]
    pool_exhausted: bool
