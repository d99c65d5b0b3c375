"""Time, memory and size of the page of a map with the number of points."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.isolation import peak_memory_bytes, run_isolated
from benchmarks.records import Record, Table, figure

SIZES, QUICK_SIZES = (10_000, 100_000), (200,)


def map_scale(quick: bool, threads: int) -> Record:
    """Maps of molecules in thermal motion by kernel PCA, each in its own process, all points on the page."""
    runs: dict[int, dict[str, float]] = {}
    for n in QUICK_SIZES if quick else SIZES:
        arguments: dict[str, Any] = {"n": n}
        runs[n] = run_isolated("benchmarks.map_scale:measure", arguments, threads)
    rows = tuple(
        (
            f"{n:,} structures", figure(run["coordinates_seconds"]), figure(run["page_seconds"]),
            figure(run["processor_seconds"]), figure(run["peak_memory_bytes"] / 1e9),
            figure(run["page_bytes"] / 1e6), f"{int(run['n_shown']):,}",
        )
        for n, run in runs.items()
    )  # fmt: skip
    columns = (
        "", "coordinates (s)", "page and picture (s)", "processor time (s)", "peak memory (GB)", "page (MB)",
        "points on the page",
    )  # fmt: skip
    numbers = {f"structures_{n}_{key}": value for n, run in runs.items() for key, value in run.items()}
    table = Table(f"Maps of organic molecules, {threads} threads", columns, rows)
    return Record("map-scale", quick, numbers, (), (table,), ())


def measure(n: int) -> dict[str, float]:
    """Seconds, peak memory and size of one map."""
    import numpy as np

    from benchmarks.split_scale import many_molecules
    from castile.report.map_page import write_map_page, write_map_picture
    from castile.splits.kernel_map import kernel_map
    from castile.splits.map_properties import point_properties, shown_points
    from castile.splits.structure_table import table_of

    table = table_of(many_molecules(n))
    kernel_map(table_of([table.atoms(0), table.atoms(1)]))
    started, processor = time.perf_counter(), time.process_time()
    placed = kernel_map(table)
    mapped = time.perf_counter()
    shown = shown_points(placed, table, n)
    properties = point_properties(table, placed, {"number": np.arange(float(n))}, shown)
    with TemporaryDirectory() as folder:
        page = Path(folder) / "map.html"
        write_map_page(page, placed, table, properties, shown, color="atoms", title="map")
        write_map_picture(page.with_suffix(".png"), placed, properties["atoms"], "atoms")
        size = page.stat().st_size
    return {
        "coordinates_seconds": mapped - started,
        "page_seconds": time.perf_counter() - mapped,
        "processor_seconds": time.process_time() - processor,
        "peak_memory_bytes": float(peak_memory_bytes()),
        "page_bytes": float(size),
        "n_shown": float(len(shown)),
    }
