"""Fits and evaluations that run in a process of their own (benchmarks.isolation)."""

import time
from typing import Any

from benchmarks.isolation import peak_memory_bytes


def fit_and_evaluate(
    train: list[str], tests: dict[str, list[str]], options: dict[str, Any], save: str | None = None
) -> dict[str, Any]:
    """Fit ``castile.GAP(**options)`` to files and evaluate it: times (s), peak memory and errors."""
    import castile

    started = time.perf_counter()
    model = castile.GAP(**options).fit(train)
    seconds = time.perf_counter() - started
    peak = peak_memory_bytes()
    if save is not None:
        model.save(save)
    report = model.fit_report
    return {
        "fit_seconds": seconds,
        "fit_peak_memory_bytes": peak,
        "n_columns": report.n_columns,
        "n_structures": report.census.n_structures,
        "n_atoms": report.census.n_atoms,
        "stages_seconds": dict(report.timings),
        "noises": {noise.kind: noise.sigma for noise in report.noises},
        "explanations": [[e.name, e.value, e.reason] for e in report.explanations],
        "errors": {name: castile.evaluate(model, files).to_json_dict() for name, files in tests.items()},
    }


def fit_only(train: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Fit and say only what it cost."""
    return fit_and_evaluate(train, {}, options)


def gap_fit_cost(frames: str, n_sparse: int, folder: str) -> dict[str, Any]:
    """Fit with QUIP's gap_fit; seconds and its peak memory."""
    import resource
    from pathlib import Path

    import ase.io

    from benchmarks.models import run_gap_fit

    structures = ase.io.read(frames, ":") if "@" not in frames else ase.io.read(frames)
    started = time.perf_counter()
    xml = run_gap_fit(list(structures), Path(folder), n_sparse, True, "random")
    seconds = time.perf_counter() - started
    return {
        "fit_seconds": seconds,
        "fit_peak_memory_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "xml": str(xml),
    }
