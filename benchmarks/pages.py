"""Tables of saved runs into the pages of the documentation, between markers; no number is typed by hand.

A page says ``<!-- benchmark: NAME -->`` where the run NAME belongs and ``<!-- end -->`` below it; what stands
between is replaced. The name ``accuracy`` stands for a summary of all accuracy runs, a row each.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.isolation import ROOT
from benchmarks.records import Record, Table, figure, read_record

PAGES = (
    "README.md",
    "docs/performance.md",
    "docs/accuracy.md",
    "docs/uncertainty.md",
    "docs/active-learning.md",
    "docs/selection.md",
    "docs/neb.md",
    "docs/barriers.md",
    "docs/splits.md",
    "docs/screening.md",
    "docs/comparison.md",
)
RESULTS = ROOT / "benchmarks" / "results"
SUMMARY = "accuracy"
_NOTHING = "No run is stored yet.\n"
_SUMMARIZED = {  # run: (title, test set in its numbers)
    "accuracy-si": ("silicon", "test"),
    "accuracy-si-published": ("silicon, published hyper-parameters", "test"),
    "accuracy-mo": ("molybdenum", "test"),
    "accuracy-alloys": ("Nb, Mo, Ta, W and their alloys, one model", "all"),
    "accuracy-rmd17-ethanol": ("ethanol (rMD17)", "test"),
    "accuracy-rmd17-aspirin": ("aspirin (rMD17)", "test"),
}
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
        name = match["name"]
        filled = accuracy_summary(records) if name == SUMMARY else markdown(records.get(name))
        return f"{match[1]}\n{filled}\n{match[3]}"

    return _BLOCK.sub(fill, text)


def update_pages(folder: str | Path, root: Path = ROOT) -> list[Path]:
    """Fill all pages below ``root`` from the records of ``folder``; returns the pages that changed."""
    records = read_results(folder)
    changed = []
    for name in PAGES:
        path = root / name
        old = path.read_text(encoding="utf-8")
        new = fill_page(old, records)
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def accuracy_summary(records: Mapping[str, Record]) -> str:
    """Root mean square errors, and the time of the fit, of every stored accuracy run."""
    rows = [
        (title, *_accuracy_figures(records[name].numbers, test))
        for name, (title, test) in _SUMMARIZED.items()
        if name in records
    ]
    if not rows:
        return _NOTHING
    columns = (
        "", "training structures", "energy RMSE (meV/atom)", "force RMSE (meV/Å)", "fit (min)",
    )  # fmt: skip
    return _markdown_rows(columns, rows)


def _accuracy_figures(numbers: Mapping[str, float], test: str) -> tuple[str, ...]:
    return (
        str(numbers["n_structures"]),
        figure(numbers[f"{test}/energy_rmse_mev_per_atom"]),
        figure(1000.0 * numbers[f"{test}/force_rmse_ev_per_angstrom"]),
        figure(numbers["fit_seconds"] / 60.0),
    )


def markdown(record: Record | None) -> str:
    """Tables, notes and the circumstances of a run."""
    if record is None:
        return _NOTHING
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
    return f"**{table.title}**\n\n" + _markdown_rows(table.columns, table.rows)


def _markdown_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["---", *["---:"] * (len(columns) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in [columns, align, *rows])
