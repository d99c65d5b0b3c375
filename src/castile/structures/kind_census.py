"""How many structures carry one kind of label, under which keys, and which ones lack it."""

from collections import Counter
from dataclasses import dataclass, field

MAX_NAMES = 5


@dataclass(frozen=True)
class KindCensus:
    """Census of one kind of label.

    Attributes:
        kind: "energy", "forces" or "stress".
        unit: unit assumed.
        n_present: structures that have the label.
        n_missing: structures that lack it though they could have it (free atoms need no forces or stress;
            only structures periodic in all directions need a stress).
        n_values: numbers of all these labels together.
        keys: (key, number of structures), most frequent first.
        requested: key that was asked for, "" if automatic.
        missing_names: the first structures that lack the label.

    """

    kind: str
    unit: str
    n_present: int
    n_missing: int
    n_values: int
    keys: tuple[tuple[str, int], ...]
    requested: str
    missing_names: tuple[str, ...]

    @property
    def half_present(self) -> bool:
        """True if some structures have the label and others lack it."""
        return self.n_present > 0 and self.n_missing > 0

    def describe(self) -> str:
        """One line for a table."""
        if self.n_present == 0:
            return "none"
        keys = ", ".join(f"{key} ({count})" for key, count in self.keys)
        missing = f", missing in {self.n_missing}" if self.n_missing else ""
        return f"{self.n_present} structures{missing}; {self.n_values} values in {self.unit}; key {keys}"


@dataclass
class KindCounter:
    """Accumulates a `KindCensus`, one structure at a time."""

    kind: str
    unit: str
    requested: str
    n_present: int = 0
    n_missing: int = 0
    n_values: int = 0
    keys: Counter[str] = field(default_factory=Counter)
    missing_names: list[str] = field(default_factory=list)

    def add(self, name: str, key: str, n_values: int, expected: bool) -> None:
        """Count a structure; `n_values` 0 means that the label is absent."""
        if n_values:
            self.n_present += 1
            self.n_values += n_values
            self.keys[key] += 1
        elif expected:
            self.n_missing += 1
            if len(self.missing_names) < MAX_NAMES:
                self.missing_names.append(name)

    def result(self) -> KindCensus:
        """What was counted."""
        return KindCensus(
            kind=self.kind,
            unit=self.unit,
            n_present=self.n_present,
            n_missing=self.n_missing,
            n_values=self.n_values,
            keys=tuple(self.keys.most_common()),
            requested=self.requested,
            missing_names=tuple(self.missing_names),
        )
