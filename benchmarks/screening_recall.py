"""Labels that a loop needs to find the best perovskites: SOAP, distribution functions, and chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import data_files
from benchmarks.isolation import ROOT, run_isolated
from benchmarks.records import Check, Record, Table, figure
from benchmarks.screening import PEROVSKITES

FIGURE = ROOT / "docs" / "images" / "screening-recall.png"
SHARE = 0.01
FIRST, BATCH, BUDGET = 50, 25, 450
SEEDS, QUICK_SEEDS = 5, 1
SHOWN = (100, 200, 300, 400, 500)
WAYS: dict[str, dict[str, Any]] = {
    "SOAP, expected improvement of the list": {"descriptor": "soap", "over_list": True},
    "SOAP, expected improvement of the best": {"descriptor": "soap", "over_list": False},
    "partial RDF, expected improvement of the list": {"descriptor": "rdf", "over_list": True},
    "total RDF, expected improvement of the list": {"descriptor": "rdf-total", "over_list": True},
}
RANDOM = "random"


def screening_recall(quick: bool, threads: int) -> Record:
    """Recall of the lowest heats of formation of perov5 against labels, mean over seeds."""
    (data,) = data_files(PEROVSKITES)
    seeds = list(range(QUICK_SEEDS if quick else SEEDS))
    budget = 100 if quick else BUDGET
    curves: dict[str, list[list[float]]] = {}
    regrets: dict[str, list[list[float]]] = {}
    size = labels = None
    for name, options in WAYS.items():
        arguments = {"data": f"{data}@::10" if quick else data, "seeds": seeds, "budget": budget, **options}
        found = run_isolated("benchmarks.screening_recall:measure", arguments, threads)
        curves[name], regrets[name] = found["recall"], found["regret"]
        size, labels, n_best = found["n_candidates"], found["labels"], found["n_best"]
    assert labels is not None
    curves[RANDOM] = [[n / size for n in labels]]
    rows = tuple(
        (name, *(_cell(runs, labels, n) for n in SHOWN if n <= labels[-1])) for name, runs in curves.items()
    )
    columns = ("recall (%) after labels:", *(str(n) for n in SHOWN if n <= labels[-1]))
    numbers: dict[str, Any] = {"labels": labels, "n_candidates": size, "n_best": n_best}
    for name, runs in curves.items():
        numbers[f"{_key(name)}_recall"] = runs
    for name, runs in regrets.items():
        numbers[f"{_key(name)}_regret_ev_per_atom"] = runs
    if not quick:
        draw(labels, curves, FIGURE)
    first, _, partial, *_ = WAYS
    last = {name: _mean(runs)[-1] for name, runs in curves.items()}
    checks = (
        Check(
            "recall of SOAP over that of the partial RDF", last[first] / last[partial], 1.0, "x", "at least"
        ),
        Check("recall of SOAP over that of chance", last[first] / last[RANDOM], 1.0, "x", "at least"),
    )
    notes = (
        f"perov5, {size} candidates, heat of formation; the truly best 1 %: {n_best}; {FIRST} random labels "
        f"first, then {BATCH} a round; mean and range over {len(seeds)} seeds",
        "the kernel is chosen by the evidence in every round; nothing was tuned on this set; 'of the list': "
        "improvement over the last place of the list of the best, 'of the best': over the best label",
        "random: the expectation, labels / candidates",
    )
    table = Table("Recall of the truly best 1 %", columns, rows)
    return Record("screening-recall", quick, numbers, checks, (table,), notes)


def measure(data: str, seeds: Sequence[int], budget: int, descriptor: str, over_list: bool) -> dict[str, Any]:
    """Recall and regret after each round, for each seed."""
    import ase.io
    import numpy as np

    from castile.screening.labellers import KnownLabels, Label
    from castile.screening.loop import LoopSettings, compare_with_truth, optimise
    from castile.screening.objective import Objective
    from castile.screening.proposers import DescribedProposer

    path, _, chosen = data.partition("@")
    structures = ase.io.read(path, chosen or ":")
    truth = {k: float(atoms.info["heat_all"]) for k, atoms in enumerate(structures)}
    n_best = max(1, round(SHARE * len(structures)))
    inputs, learning = describe_all(structures, descriptor)
    recalls, regrets, labels = [], [], []
    for seed in seeds:
        first = np.random.default_rng(seed).permutation(len(structures))[:FIRST].tolist()
        known = [Label(k, "", structures[k], truth[k]) for k in first]
        proposer = DescribedProposer(
            inputs, structures, Objective("improvement"), learning, over_list, tuple(known)
        )
        settings = LoopSettings(budget, BATCH, n_best, patience=10**6)
        result = optimise(proposer, KnownLabels(truth), settings)
        history = compare_with_truth(result, truth, Objective("improvement"), share=SHARE, known=first)
        recalls.append([each.recall for each in history])
        regrets.append([each.regret for each in history])
        labels = [each.n_labels + FIRST for each in history]
    return {
        "recall": recalls, "regret": regrets, "labels": labels, "n_candidates": len(structures),
        "n_best": n_best,
    }  # fmt: skip


def describe_all(structures: Sequence[Any], name: str) -> tuple[Any, Any]:
    """Inputs of all structures, and how a process learns on them.

    The many features of partial distribution functions are turned into fewer with the same distances: the
    principal axes of all candidates, none left out.
    """
    import numpy as np

    from castile.properties import Inputs, describe, make_descriptor
    from castile.properties.learning import LearningSettings
    from castile.properties.model import default_kernels

    options: dict[str, dict[str, Any]] = {
        "soap": {"channels": 6}, "rdf": {"n_bins": 30, "sigma": 0.3}, "rdf-total": {"partial": False}
    }  # fmt: skip
    made = make_descriptor("soap" if name == "soap" else "rdf", options[name]).fit(structures)
    parts = [describe(made, structures[start : start + 256]) for start in range(0, len(structures), 256)]
    composition = np.concatenate([part.composition for part in parts])
    features = np.concatenate([part.features.astype(np.float32) for part in parts])
    del parts
    if features.shape[1] > 2 * len(features):
        gram = (features @ features.T).astype(np.float64)
        values, vectors = np.linalg.eigh(gram)
        kept = values > 1e-6 * values[-1]
        features = vectors[:, kept] * np.sqrt(values[kept])
    first = np.arange(len(structures) + 1, dtype=np.int64)
    settings = LearningSettings(default_kernels(made), made.scaling)
    return Inputs(features.astype(np.float64), first, composition), settings


def draw(labels: Sequence[int], curves: dict[str, list[list[float]]], path: Path) -> None:
    """Draw the mean recall with the range over seeds."""
    import numpy as np
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = canvas.subplots()
    for name, runs in curves.items():
        values = 100.0 * np.array(runs)
        (line,) = axes.plot(labels, values.mean(axis=0), label=name)
        axes.fill_between(labels, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15)
    axes.set(xlabel="labels", ylabel="recall of the best 1 % (%)", ylim=(0, 100))
    axes.legend(fontsize=8)
    canvas.savefig(path, dpi=160)


def _mean(runs: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*runs, strict=True)]


def _cell(runs: list[list[float]], labels: Sequence[int], n: int) -> str:
    column = [100.0 * run[labels.index(n)] for run in runs]
    mean = sum(column) / len(column)
    return figure(mean) if len(column) == 1 else f"{mean:.0f} ({min(column):.0f} to {max(column):.0f})"


def _key(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.lower()).replace("__", "_")
