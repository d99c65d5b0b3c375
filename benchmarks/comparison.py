"""Descriptors compared on four sets of properties, GAPs on silicon; each conclusion put to the test."""

from typing import Any

import numpy as np

from benchmarks.comparison_figures import draw_potentials, draw_set, of_set
from benchmarks.comparison_held import conclusion_table
from benchmarks.data import data_files
from benchmarks.isolation import ROOT, run_isolated
from benchmarks.records import Record, Table, figure

SETS: dict[str, dict[str, Any]] = {
    "carbon24": {
        "file": "properties/prop_carbon24/carbon24_val.extxyz.gz", "target": "energy_per_atom",
        "unit": "eV/atom", "error": 0.05, "scale": 1000.0, "shown": "meV/atom",
    },
    "perov5": {
        "file": "properties/prop_perov5/perov5_val.extxyz.gz", "target": "heat_all",
        "unit": "eV/atom", "error": 0.15, "scale": 1000.0, "shown": "meV/atom",
    },
    "qm7": {
        "file": "properties/prop_qm7/qm7.extxyz.gz", "target": "col1_kcal_mol",
        "unit": "kcal/mol", "error": 10.0, "scale": 1.0, "shown": "kcal/mol",
    },
    "dielectric": {
        "file": "properties/dielectric_constant.extxyz.gz", "target": "n",
        "unit": "", "error": 0.3, "scale": 1.0, "shown": "",
    },
}  # fmt: skip
IMAGES = ROOT / "docs" / "images"
SILICON = "mlearn/Si_training.xyz.gz"
LABELS, SEEDS = 400, 2
QUICK_LABELS, QUICK_SEEDS = 100, 1


def comparison(quick: bool, threads: int) -> Record:
    """All sets, each in its own process."""
    found = {
        name: run_isolated(
            "benchmarks.comparison:measure",
            {"file": data_files(options["file"])[0], "target": options["target"], "unit": options["unit"],
             "error": options["error"], "quick": quick},
            threads,
        )
        for name, options in SETS.items()
    }  # fmt: skip
    silicon = run_isolated(
        "benchmarks.comparison:measure_potentials", {"file": data_files(SILICON)[0], "quick": quick}, threads
    )
    tables = [_budget_table(found)]
    tables += [_error_table(name, run) for name, run in found.items()]
    tables += [_held_table(found), _summary_table(found), conclusion_table(found, SETS)]
    tables.append(_potential_table(silicon))
    numbers: dict[str, Any] = {}
    for name, run in found.items():
        numbers |= {f"{name}_{key}": value for key, value in run["numbers"].items()}
    numbers |= {f"si_{key}": value for key, value in silicon["numbers"].items()}
    if not quick:
        draw_figures(numbers)
    notes = [f"{name}: {sentence}" for name, run in found.items() for sentence in run["sentences"]]
    notes += [f"silicon: {sentence}" for sentence in silicon["sentences"]]
    notes.append(
        f"up to {LABELS} labels and {SEEDS} test sets of each kind, from a random subset of each data set "
        "(structures in the first table); labels at 1 CPU hour each, 100,000 candidates"
    )
    return Record("comparison", quick, numbers, (), tuple(tables), tuple(notes))


def draw_figures(numbers: dict[str, Any]) -> None:
    """Draw each set and silicon from the numbers of a run."""
    for name, options in SETS.items():
        draw_set(of_set(numbers, name), options["scale"], options["shown"], IMAGES / f"comparison-{name}.png")
    draw_potentials(of_set(numbers, "si"), IMAGES / "comparison-silicon.png")


def measure(file: str, target: str, unit: str, error: float, quick: bool) -> dict[str, Any]:
    """One comparison, and the same conclusions from half the labels against what was then measured."""
    from castile.comparison import (
        ComparisonSettings,
        compare,
        comparison_data,
        default_descriptors,
        recommendation,
    )
    from castile.splits.dataset import read_dataset
    from castile.structures import StructureSource

    labels, seeds = (QUICK_LABELS, QUICK_SEEDS) if quick else (LABELS, SEEDS)
    dataset = read_dataset(StructureSource(file), [target])
    data = comparison_data(dataset, target, unit, most=round(labels / 0.75))
    settings = ComparisonSettings(3600.0, error, 100_000, n_seeds=seeds, max_labels=labels)
    result = compare(data, default_descriptors(data.structures, quick=quick), settings)
    return {
        "numbers": result.numbers(),
        "sentences": list(recommendation(result)),
        "held": held_out(result),
        "rows": [_descriptor_row(result, part) for part in result.descriptors],
        "n_structures": len(data),
        "n_read": data.n_read,
        "note": result.note,
    }


def _descriptor_row(result: Any, part: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": part.label,
        "us": 1e6 * part.cpu_s_per_structure,
        "bytes": part.bytes_per_structure,
    }
    for split in part.splits:
        own, hours = split.budget, split.budget.cpu_hours
        row[split.split] = {
            "errors": [list(line) for line in split.measured(result.metric)],
            "coverage": split.coverage,
            "hours": None if hours is None else [hours.median, hours.low, hours.high],
            "share": own.reach_probability,
        }
    return row


def held_out(result: Any) -> list[dict[str, Any]]:
    """Error predicted at twice and four times the labels from smaller sizes alone, beside the measured one.

    The test sets of the larger sizes are the same; their larger training sets were not used.
    """
    from castile.comparison.power_law import FEWEST_SIZES, fit_learning_curve

    rows = []
    for part in result.descriptors:
        for split in part.splits:
            measured = {size: mean for size, mean, _, _ in split.measured(result.metric)}
            for factor in (2, 4):
                known = [p for p in split.points if p.n_labels * factor <= result.sizes[-1] * 1.01]
                if len({p.n_labels for p in known}) < FEWEST_SIZES:
                    continue
                curve = fit_learning_curve(
                    [p.n_labels for p in known],
                    [p.error(result.metric) for p in known],
                    [p.seed for p in known],
                )
                told = curve.at(result.sizes[-1], result.coverage, measured=True)
                true = measured[result.sizes[-1]]
                rows.append(
                    {
                        "label": part.label, "split": split.split, "factor": factor, "predicted": told.median,
                        "low": told.low, "high": told.high, "measured": true,
                        "inside": bool(told.low <= true <= told.high),
                    }
                )  # fmt: skip
    return rows


def measure_potentials(file: str, quick: bool) -> dict[str, Any]:
    """Terms and sizes of a GAP on silicon."""
    from castile.comparison.potential_words import potential_sentences, potential_table
    from castile.comparison.potentials import compare_potentials, default_variants
    from castile.structures import StructureSource

    source = StructureSource(f"{file}@::{8 if quick else 3}")
    result = compare_potentials(source, default_variants(quick=True) if quick else default_variants())
    table = potential_table(result)
    return {
        "numbers": result.numbers(),
        "sentences": list(potential_sentences(result)),
        "title": table.title,
        "columns": list(table.columns),
        "rows": [list(row) for row in table.rows],
    }


def _budget_table(found: dict[str, Any]) -> Table:
    rows = []
    for name, run in found.items():
        options = SETS[name]
        for split in ("random", "leak-proof"):
            reached = sorted(
                (row[split]["hours"][0], row["label"], row[split]["hours"])
                for row in run["rows"]
                if split in row and row[split]["hours"] is not None
            )
            if not any(split in row for row in run["rows"]):
                continue
            best = f"{reached[0][1]}: {_hours(reached[0][2])}" if reached else "none reaches it"
            second = f"{reached[1][1]}: {_hours(reached[1][2])}" if len(reached) > 1 else ""
            wanted = f"{figure(options['scale'] * options['error'])} {options['shown']}".strip()
            rows.append((name, f"{run['n_structures']:,}", split, wanted, best, second))
    columns = ("", "structures", "test sets", "wanted MAE", "cheapest, CPU hours", "next")
    return Table("The cheapest descriptor for 100,000 candidates, label 1 CPU hour", columns, tuple(rows))


def _hours(values: list[float]) -> str:
    high = "∞" if np.isinf(values[2]) else f"{values[2]:,.0f}"
    return f"{values[0]:,.0f} [{values[1]:,.0f}, {high}]"


def _error_table(name: str, run: dict[str, Any]) -> Table:
    options = SETS[name]
    splits = [split for split in ("random", "leak-proof") if split in run["rows"][0]]
    rows = tuple(
        (
            row["label"], figure(row["us"]), f"{row['bytes']:,.0f}",
            *(
                f"{figure(options['scale'] * mean)} [{figure(options['scale'] * low)}, "
                f"{figure(options['scale'] * high)}]"
                for split in splits for _, mean, low, high in [row[split]["errors"][-1]]
            ),
            *(f"{row[split]['coverage']:.2f}" for split in splits),
        )
        for row in run["rows"]
    )  # fmt: skip
    size = run["rows"][0]["random"]["errors"][-1][0]
    unit = f" ({options['shown']})" if options["shown"] else ""
    columns = (
        "", "µs/structure", "bytes/structure", *(f"MAE{unit}, {split}" for split in splits),
        *(f"in 90 % intervals, {split}" for split in splits),
    )  # fmt: skip
    return Table(f"{name}: {options['target']} with {size} labels", columns, rows)


def _held_table(found: dict[str, Any]) -> Table:
    rows = []
    for name, run in found.items():
        scale, shown = SETS[name]["scale"], SETS[name]["shown"]
        for held in run["held"]:
            verdict = "yes" if held["inside"] else "no"
            if held["factor"] == 2 and held["split"] == ("random" if run["note"] else "leak-proof"):
                low, high = figure(scale * held["low"]), figure(scale * held["high"])
                rows.append(
                    (
                        name, held["label"], held["split"],
                        f"{figure(scale * held['predicted'])} [{low}, {high}] {shown}".strip(),
                        f"{figure(scale * held['measured'])} {shown}".strip(), verdict,
                    )
                )  # fmt: skip
    columns = ("", "descriptor", "test sets", "predicted at twice the labels", "then measured", "inside")
    return Table("Predicted error at twice the labels, and the one measured later", columns, tuple(rows))


def _summary_table(found: dict[str, Any]) -> Table:
    rows = []
    for factor in (2, 4):
        held = [h for run in found.values() for h in run["held"] if h["factor"] == factor]
        if held:
            inside = float(np.mean([h["inside"] for h in held]))
            away = [abs(np.log(h["predicted"] / h["measured"])) for h in held]
            rows.append(
                (f"{factor} times", str(len(held)), f"{100 * inside:.0f} %", f"{100 * np.median(away):.1f} %",
                 f"{100 * max(away):.0f} %")
            )  # fmt: skip
    columns = ("extrapolation", "curves", "inside their 90 % interval", "median deviation", "largest")
    return Table("All curves: predictions of the error against later measurement", columns, tuple(rows))


def _potential_table(silicon: dict[str, Any]) -> Table:
    return Table(
        f"Silicon. {silicon['title']}",
        tuple(silicon["columns"]),
        tuple(tuple(row) for row in silicon["rows"]),
    )
