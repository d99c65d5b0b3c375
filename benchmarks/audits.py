"""Published and random splits audited, and the same learner without leaks."""

from pathlib import Path
from typing import Any

from benchmarks.data import data_files
from benchmarks.isolation import ROOT, run_isolated
from benchmarks.records import Record, Table, figure

FIGURE = ROOT / "docs" / "images" / "audits.png"
SETS: dict[str, dict[str, Any]] = {
    "Si of mlearn, published test set": {
        "files": ["mlearn/Si_training.xyz.gz", "mlearn/Si_test.xyz.gz"], "target": "energy", "folds": None,
        "unit": "meV/atom", "scale": 1000.0,
    },
    "ethanol of rMD17, published split 01": {
        "files": ["rmd17/ethanol_train.xyz.gz", "rmd17/ethanol_test.xyz.gz"], "target": "energy",
        "folds": None, "unit": "meV/atom", "scale": 1000.0,
    },
    "migration barriers, 10 random folds": {
        "files": ["barriers/train.xyz.gz@2::5"], "target": "barrier", "folds": 10, "unit": "eV", "scale": 1.0,
    },
}  # fmt: skip


def audits(quick: bool, threads: int) -> Record:
    """Si and ethanol with their published test sets, and ten random folds of migration paths."""
    runs: dict[str, dict[str, float]] = {}
    for name, options in SETS.items():
        plain = [file.partition("@") for file in options["files"]]
        paths = [found + at + rest for found, (_, at, rest) in zip(
            data_files(*(path for path, _, _ in plain)), plain, strict=True
        )]  # fmt: skip
        arguments = {"files": paths, "target": options["target"], "folds": options["folds"], "quick": quick}
        runs[name] = run_isolated("benchmarks.audits:measure", arguments, threads)
    rows = tuple(
        (
            name, f"{int(run['n_tested']):,}", f"{int(run['n_exact_duplicates'])}", f"{int(run['n_leaks'])}",
            f"{run['max_cross_similarity']:.6f}", f"{run['threshold']:.6f}",
            f"{figure(SETS[name]['scale'] * run['target_mae'])} {SETS[name]['unit']}",
            f"{figure(SETS[name]['scale'] * run['leakproof_mae'])} {SETS[name]['unit']}",
            figure(run["optimism_factor"]),
        )
        for name, run in runs.items()
    )  # fmt: skip
    columns = (
        "", "tested", "exact duplicates", "leaks", "largest similarity", "threshold", "MAE of this split",
        "MAE, leak-proof", "ratio",
    )  # fmt: skip
    if not quick:
        draw_figure(runs, FIGURE)
    left_out = int(runs["migration barriers, 10 random folds"]["n_skipped"])
    notes = (
        "learner: kernel ridge regression on the kernel of mean power spectra, energies per atom after a fit "
        "of the composition; no option given to the audit",
        "leak-proof: mean over five splits of the same sizes, for the folds ten leak-proof folds",
        f"left out because atoms overlap (--skip-broken): {left_out} of the migration paths",
        "with small test sets the ratio has a large statistical error: 25 structures of silicon",
    )
    numbers = {
        f"{name.split()[0].lower()}_{key}": value for name, run in runs.items() for key, value in run.items()
    }
    table = Table("Audited splits, and the same learner without leaks", columns, rows)
    return Record("audits", quick, numbers, (), (table,), notes)


def measure(files: list[str], target: str, folds: int | None, quick: bool) -> dict[str, float]:
    """Numbers of one audit."""
    import numpy as np

    from castile.splits.audit import audit
    from castile.splits.dataset import joined, read_dataset
    from castile.splits.folds import random_folds
    from castile.structures import StructureSource

    chosen = [f"{file}@::20" if quick and "@" not in file else file for file in files]
    parts = [read_dataset(StructureSource(file), [target], skip_broken=True) for file in chosen]
    if folds is None:
        data, sides = joined(*parts), np.repeat([0, 1], [len(part) for part in parts])
        found = audit(data, sides, target=target)
    else:
        data = parts[0]
        found = audit(data, random_folds(len(data), folds), cross_validation=True, target=target)
    return {key: float(value) for key, value in found.numbers().items()}  # type: ignore[arg-type]


def draw_figure(runs: dict[str, dict[str, float]], path: Path) -> None:
    """Errors of both kinds of split, relative to the audited one."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from castile.report import style

    settings = {**style.FIGURE_SETTINGS, "savefig.facecolor": "white"}
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        canvas = Figure(figsize=(8.6, 3.0), layout="constrained")
        axes = canvas.subplots(1, len(runs))
        for panel, (name, run) in zip(axes, runs.items(), strict=True):
            values = [SETS[name]["scale"] * run[key] for key in ("target_mae", "leakproof_mae")]
            bars = panel.bar(
                ["this split", "leak-proof"], values, color=[style.MUTED, style.MODEL], width=0.6
            )
            panel.bar_label(bars, labels=[f"{value:.3g}" for value in values], padding=2)
            panel.set_ylabel(f"mean absolute error ({SETS[name]['unit']})")
            panel.set_title(name.replace(", ", "\n"), fontsize=8.5)
            panel.margins(y=0.15)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, dpi=140)
