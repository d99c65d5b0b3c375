"""Tables, checks and the figure of the learning curves of selection strategies."""

from collections import Counter
from typing import Any

import numpy as np

from benchmarks.records import Check, Record, Table, figure

N_START = 10
WITHIN = 1.10
STRATEGIES = ("random", "farthest", "variance", "information", "pool-variance")
GREEDY = ("variance", "information", "pool-variance")
TARGETED = ("variance", "pool-variance")


def record_of(result: dict[str, Any], quick: bool) -> Record:
    """Numbers, tables and checks of the curves."""
    runs = result["runs"]
    numbers = {key: value for key, value in result.items() if key not in ("runs", "at_once")}
    numbers["runs"] = runs
    for strategy, errors in result["at_once"].items():
        numbers |= {f"{strategy}/rmse_of_{count}_at_once": error for count, error in errors.items()}
    rows = []
    whole = {strategy: whole_curve_needs(runs, strategy, result["full_rmse"]) for strategy in STRATEGIES}
    needed = {strategy: mean_needs(runs, strategy, "labels") for strategy in STRATEGIES}
    for strategy in STRATEGIES:
        mine = [run for run in runs if run["strategy"] == strategy]
        atoms = mean_needs(runs, strategy, "atoms")
        numbers[f"{strategy}/labels_needed_by_mean_curve"] = whole[strategy]
        numbers[f"{strategy}/labels_needed"] = needed[strategy]
        numbers[f"{strategy}/atoms_needed"] = atoms
        above = "" if all(run["within"] is not None for run in mine) else "> "
        rows.append(
            (
                strategy,
                f"{whole[strategy]:.0f}",
                f"{whole[strategy] / whole['random']:.2f}",
                f"{above}{needed[strategy]:.1f}",
                " ".join(f"{labels_needed(run, 'labels'):.0f}" for run in mine),
                f"{needed[strategy] / needed['random']:.2f}",
                f"{(needed[strategy] - N_START) / max(needed['random'] - N_START, 1e-9):.2f}",
                f"{atoms:.0f}",
                f"{np.mean([run['rmse'][-1] for run in mine]):.4f}",
            )
        )
    columns = (
        "strategy", "labels, mean curve", "of random's", "labels, mean over seeds", "per seed", "of random's",
        "bought, of random's", "atoms needed", "force RMSE at the end (eV/A)",
    )  # fmt: skip
    title = f"Labels until the force RMSE is within {WITHIN - 1:.0%} of that of the whole pool"
    checks = tuple(
        Check(
            f"{strategy}: labels needed, {reading}, of random's", found[strategy] / found["random"], 0.5, ""
        )
        for strategy in TARGETED
        for reading, found in (("mean curve", whole), ("mean over seeds", needed))
    )
    notes = (
        f"pool {result['n_pool']} structures, start {N_START} random ones (counted as labels), "
        f"{result['n_columns']} columns, {result['cpu_seconds'] / 60:.1f} min of processor time in all",
        f"force RMSE on the test file with the whole pool: {figure(result['full_rmse'])} eV/A",
        "the strategies end at "
        + ", ".join(
            f"{strategy} {max(run['labels'][-1] for run in runs if run['strategy'] == strategy)}"
            for strategy in STRATEGIES
        )
        + " labels",
        *_kinds_note(runs),
    )
    tables = (Table(title, columns, tuple(rows)), _at_once_table(result["at_once"], result["full_rmse"]))
    return Record("selection", quick, numbers, checks, tables, notes)


def _at_once_table(at_once: dict[str, dict[str, float]], full_rmse: float) -> Table:
    """Errors with structures that were chosen without a model."""
    counts = tuple(at_once["random"])
    rows = tuple(
        (strategy, *(f"{errors[count] / full_rmse:.2f}" for count in counts))
        for strategy, errors in at_once.items()
    )
    title = "Chosen at once, without a model: force RMSE over that of the whole pool"
    return Table(title, ("strategy", *(f"{count} structures" for count in counts)), rows)


def _kinds_note(runs: list[dict[str, Any]]) -> list[str]:
    notes = []
    for strategy in STRATEGIES:
        counts: Counter[str] = Counter()
        for run in runs:
            if run["strategy"] == strategy:
                counts.update(run["bought_kinds"])
        total = max(sum(counts.values()), 1)
        shares = ", ".join(f"{kind} {count / total:.0%}" for kind, count in sorted(counts.items()))
        notes.append(f"kinds among the first 20 bought by {strategy}: {shares}")
    return notes


def labels_needed(run: dict[str, Any], unit: str) -> float:
    """Labels (or atoms) at which the curve first comes within the margin; its end where it does not."""
    within = run["within"]
    return float(run[unit][-1] if within is None else run[unit][within])


def mean_needs(runs: list[dict[str, Any]], strategy: str, unit: str) -> float:
    """Mean over the seeds of the labels (or atoms) that a strategy needs."""
    return float(np.mean([labels_needed(run, unit) for run in runs if run["strategy"] == strategy]))


def whole_curve_needs(runs: list[dict[str, Any]], strategy: str, full_rmse: float) -> float:
    """Labels from which on the mean of the curves of all seeds stays within the margin; its end if never."""
    mine = [run for run in runs if run["strategy"] == strategy]
    shortest = min(len(run["rmse"]) for run in mine)
    mean = np.mean([run["rmse"][:shortest] for run in mine], axis=0)
    outside = np.flatnonzero(mean > WITHIN * full_rmse)
    first = 0 if len(outside) == 0 else min(int(outside[-1]) + 1, shortest - 1)
    return float(mine[0]["labels"][first])


def draw(record: Record, path: Any) -> None:
    """Draw the learning curves: mean over the seeds, and the band from the lowest to the highest."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter

    from castile.report import style

    runs = record.numbers["runs"]
    colors = dict(
        zip(STRATEGIES, mpl.colormaps["viridis"](np.linspace(0.0, 0.9, len(STRATEGIES))), strict=True)
    )
    with mpl.rc_context({**style.FIGURE_SETTINGS, "savefig.facecolor": "white", "axes.facecolor": "white"}):
        drawing = Figure(figsize=(10.0, 4.0), layout="constrained")
        for axes, unit in zip(drawing.subplots(1, 2, sharey=True), ("labels", "atoms"), strict=True):
            for strategy in STRATEGIES:
                mine = [run for run in runs if run["strategy"] == strategy]
                shortest = min(len(run["rmse"]) for run in mine)  # duplicates are never chosen by distance
                errors = np.array([run["rmse"][:shortest] for run in mine])
                x = np.mean([run[unit][:shortest] for run in mine], axis=0)
                axes.plot(x, errors.mean(axis=0), color=colors[strategy], label=strategy)
                axes.fill_between(
                    x, errors.min(axis=0), errors.max(axis=0), color=colors[strategy], alpha=0.15, linewidth=0
                )
            limit = WITHIN * record.numbers["full_rmse"]
            axes.axhline(limit, color=style.MUTED, linewidth=0.8)
            last = max(run[unit][-1] for run in runs if run["strategy"] in GREEDY)
            axes.set(
                xlabel={"labels": "labelled structures", "atoms": "labelled atoms"}[unit],
                xlim=(0, 1.6 * last),
            )
        first = drawing.axes[0]
        first.set(ylabel="force RMSE on the test file (eV/Å)", yscale="log")
        first.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        first.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
        first.legend(fontsize=8.5)
        drawing.savefig(path, dpi=130, metadata={"Software": None})
