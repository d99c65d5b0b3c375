"""Tables of saved runs into the pages of the documentation, between markers; no number is typed by hand.

A page says ``<!-- benchmark: NAME -->`` where the run NAME belongs and ``<!-- end -->`` below it; what stands
between is replaced.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.isolation import ROOT
from benchmarks.records import Record, Table, read_record

PAGES = ("docs/performance.md", "docs/accuracy.md")
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"(<!-- benchmark: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read_results(folder: str | Path) -> dict[str, Record]:
    """Records of a folder by name.

    Raises:
        ValueError: a record of a reduced size, which must not enter the documentation.

    """
    records = {}
    for path in sorted(Path(folder).glob("*.json")):
        record = read_record(path)
        if record.quick:
            raise ValueError(f"{path} is a run with --quick; the pages show full runs only")
        records[record.name] = record
    return records


def fill_page(text: str, records: Mapping[str, Record]) -> str:
    """The page with every block replaced by the tables of its run."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{markdown(records.get(match['name']))}\n{match[3]}"

    return _BLOCK.sub(fill, text)


def update_pages(folder: str | Path) -> list[Path]:
    """Fill all pages from the records of ``folder``; returns the pages that changed."""
    records = read_results(folder)
    changed = []
    for name in PAGES:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = fill_page(old, records)
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def markdown(record: Record | None) -> str:
    """Tables, notes and the circumstances of a run."""
    if record is None:
        return "No run is stored yet.\n"
    machine = record.machine
    parts = [_markdown_table(table) for table in record.all_tables]
    if record.notes:
        parts.append("\n".join(f"- {note}" for note in record.notes) + "\n")
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    parts.append(
        f"`{record.command}`, {record.date}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']:g} GB, {machine['system']}, Python {machine['python']}; "
        f"{machine['blas']}; {versions}.\n"
    )
    return "\n".join(parts)


def _markdown_table(table: Table) -> str:
    align = ["---", *["---:"] * (len(table.columns) - 1)]
    lines = [table.columns, align, *table.rows]
    return f"**{table.title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
