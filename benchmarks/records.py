"""What a benchmark says: flat numbers, checks against targets, tables; printed, saved and read back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.machine import describe_machine, package_versions


@dataclass(frozen=True)
class Check:
    """One figure against its target."""

    label: str
    value: float
    target: float
    unit: str
    sense: Literal["at most", "at least"] = "at most"

    @property
    def passed(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.target if self.sense == "at most" else self.value >= self.target

    @property
    def verdict(self) -> str:
        """In words; a missed target says by how much."""
        if self.passed:
            return "reached"
        if self.target == 0:
            return "missed"
        return f"missed by {abs(self.value - self.target) / abs(self.target):.0%}"


@dataclass(frozen=True)
class Table:
    """A printed table; the first column is text, the others are aligned as numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Record:
    """One run of one benchmark; ``numbers`` are flat, with units in their keys."""

    name: str
    quick: bool
    numbers: dict[str, Any]
    checks: tuple[Check, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    machine: dict[str, Any] = field(default_factory=describe_machine)
    versions: dict[str, str] = field(default_factory=package_versions)
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """The tables, and last the checks as one."""
        return (*self.tables, check_table(self.checks)) if self.checks else self.tables


def check_table(checks: Sequence[Check]) -> Table:
    """Measured figures beside their targets."""
    rows = tuple(
        (c.label, f"{figure(c.value)} {c.unit}", f"{c.sense} {figure(c.target)} {c.unit}", c.verdict)
        for c in checks
    )
    return Table("Against the targets", ("", "measured", "target", "verdict"), rows)


def figure(value: float) -> str:
    """Three significant figures without an exponent."""
    if value == 0 or not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if magnitude >= 3:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def print_record(record: Record, console: Console | None = None) -> None:
    """Print tables, checks and notes."""
    console = console or Console(width=max(Console().width, 110))
    if record.quick:
        console.print(
            f"{record.name}: reduced size (--quick); the figures say nothing about the targets", style="bold"
        )
    for table in record.all_tables:
        shown = RichTable(title=table.title, box=box.SIMPLE, title_justify="left")
        for index, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if index == 0 else "right")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for note in record.notes:
        console.print(f"- {note}", markup=False, highlight=False)


def write_record(record: Record, path: str | Path) -> None:
    """Write the record as JSON."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = asdict(record)
    for entry, check in zip(content["checks"], record.checks, strict=True):
        entry["passed"] = check.passed
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_record(path: str | Path) -> Record:
    """Read what `write_record` wrote."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    checks = tuple(Check(**{k: v for k, v in c.items() if k != "passed"}) for c in content.pop("checks"))
    tables = tuple(
        Table(t["title"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]))
        for t in content.pop("tables")
    )
    notes = tuple(content.pop("notes"))
    return Record(checks=checks, tables=tables, notes=notes, **content)
