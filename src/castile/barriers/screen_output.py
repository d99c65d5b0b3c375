"""Results of a screening as tables and as an ASE database."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from castile.barriers.screening import ScreenedCrystal, ScreenSettings
from castile.formats.table_file import TableWriter

CRYSTAL_COLUMNS: tuple[tuple[str, type], ...] = (
    ("rank", int), ("name", str), ("formula", str), ("n_hops", int), ("lowest_barrier_ev", float),
    *((f"percolation_{d}d_{kind}ev", float) for d in (1, 2, 3) for kind in ("", "lower_", "upper_")),
    ("largest_extrapolation_grade", float), ("extrapolates", bool), ("error", str),
)  # fmt: skip
HOP_COLUMNS: tuple[tuple[str, type], ...] = (
    ("path_id", str), ("crystal", str), ("formula", str), ("path_length_ang", float), ("multiplicity", int),
    ("barrier_ev", float), ("barrier_std_ev", float), ("barrier_lower_ev", float),
    ("barrier_upper_ev", float), ("extrapolation_grade", float), ("extrapolates", bool),
)  # fmt: skip


def write_crystal_table(path: str | os.PathLike[str], results: Sequence[ScreenedCrystal]) -> None:
    """Write one row per crystal in order of rank, .csv or .parquet; skipped ones last, with their error."""
    with TableWriter(path, CRYSTAL_COLUMNS) as table:
        for rank, item in enumerate(results, start=1):
            values = [column[d] for d in range(3) for column in (item.percolating, item.lower, item.upper)]
            table.add([(
                rank if item.error is None else None, item.name, item.formula, len(item.hops),
                min((hop.barrier for hop in item.hops), default=None), *values,
                max((hop.grade for hop in item.hops), default=None), item.extrapolates, item.error,
            )])  # fmt: skip


def write_hop_table(path: str | os.PathLike[str], results: Sequence[ScreenedCrystal]) -> None:
    """Write one row per symmetry-distinct hop, .csv or .parquet."""
    with TableWriter(path, HOP_COLUMNS) as table:
        for item in results:
            table.add(
                (
                    hop.path_id, item.name, item.formula, hop.length, hop.multiplicity, hop.barrier, hop.std,
                    hop.lower, hop.upper, hop.grade, hop.grade > 1.0,
                )
                for hop in item.hops
            )  # fmt: skip


def write_database(
    path: str | os.PathLike[str], results: Sequence[ScreenedCrystal], settings: ScreenSettings
) -> None:
    """Write the crystals into a new ASE database, with barriers as keys and hops as data."""
    from ase.db import connect

    target = Path(path)
    partial = target.with_name(f".{target.name}.partial.db")
    partial.unlink(missing_ok=True)
    with connect(str(partial), type="db") as database:
        for rank, item in enumerate((r for r in results if r.error is None), start=1):
            keys: dict[str, object] = {"name": item.name, "rank": rank, "mobile": settings.mobile}
            keys["extrapolates"] = item.extrapolates
            keys |= {f"percolation_{d + 1}d_ev": v for d, v in enumerate(item.percolating) if v is not None}
            hops = [[hop.path_id, hop.length, hop.barrier, hop.lower, hop.upper] for hop in item.hops]
            database.write(item.atoms, data={"hops": hops}, **keys)
    os.replace(partial, target)
