"""What the points of a map are coloured by, and which of them a page shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.errors import InputError
from castile.selection import farthest_points
from castile.splits.kernel_map import KernelMap
from castile.splits.structure_table import StructureTable

IndexArray = NDArray[np.int64]
MOST_ATOMS = 4_000_000
_ORDERED = 1000


def shown_points(placed: KernelMap, table: StructureTable, most: int, seed: int = 0) -> IndexArray:
    """Return the points of a page, the farthest from those before first, then at random.

    Parameters
    ----------
    placed : KernelMap
    table : StructureTable
    most : int
        Largest number of points; fewer where their structures have more than four million atoms.
    seed : int
        Of the first point, and of those beyond a thousand.
    """
    n = len(placed.structure)
    first = farthest_points(placed.coordinates, min(n, most, _ORDERED), seed=seed)
    rest = np.setdiff1d(np.arange(n), first)
    rest = np.random.default_rng(seed).permutation(rest)[: max(0, min(n, most) - len(first))]
    chosen = np.concatenate([first, rest]).astype(np.int64)
    owners = placed.structure[chosen]
    if (placed.atom >= 0).any():  # points of one structure share it
        new = np.zeros(n, dtype=bool)
        new[np.unique(owners, return_index=True)[1]] = True
        sizes = np.where(new[: len(owners)], table.n_atoms[owners], 0)
    else:
        sizes = table.n_atoms[owners]
    return chosen[: max(1, int(np.searchsorted(np.cumsum(sizes), MOST_ATOMS, side="right")))]


def point_properties(
    table: StructureTable, placed: KernelMap, columns: Mapping[str, NDArray[Any]], shown: IndexArray
) -> dict[str, NDArray[Any]]:
    """Return the properties (n_points,) of points: columns of structures, and what points have themselves.

    "selection order" is the place among the farthest points, and their number for all other points.
    """
    per_structure = {name: np.asarray(values) for name, values in columns.items()}
    per_structure["atoms"] = table.n_atoms.astype(np.float64)
    per_structure["composition"] = np.array([atoms.get_chemical_formula() for atoms in table])
    found = {name: values[placed.structure] for name, values in per_structure.items()}
    if (placed.atom >= 0).any():
        numbers = table.numbers[table.first[placed.structure] + placed.atom]
        found["element"] = np.array(chemical_symbols)[numbers]
    ordered = shown[:_ORDERED]
    order = np.full(len(placed.structure), float(len(ordered)))
    order[ordered] = np.arange(len(ordered))
    found["selection order"] = order
    return found


def chosen_color(wanted: str | None, properties: Mapping[str, NDArray[Any]]) -> str:
    """Return the property that colours the points at first.

    Raises
    ------
    InputError
        If there is no such property.
    """
    if wanted is None:
        return next(name for name in ("element", "split", "config_type", "atoms") if name in properties)
    if wanted not in properties:
        raise InputError(f"--color {wanted}: not known; give one of {', '.join(sorted(properties))}")
    return wanted


def split_columns(path: Path, content: Mapping[str, Any], n_structures: int) -> dict[str, NDArray[Any]]:
    """Return part ("split") and "component" of each structure (n_structures,) from the manifest of a split.

    Raises
    ------
    InputError
        If it is a split of other data.
    """
    if content["n_structures"] != n_structures:
        raise InputError(
            f"{path}: splits {content['n_structures']} structures, not the {n_structures} that are mapped; "
            "name the data that were split"
        )
    places = sorted([*content["removed"], *(i for part in content["parts"] for i in part["indices"])])
    row = {place: k for k, place in enumerate(places)}
    parts = np.full(n_structures, "(removed)", dtype=object)
    for part in content["parts"]:
        parts[[row[place] for place in part["indices"]]] = part["name"]
    return {"split": parts.astype(str), "component": np.array(content["components"], dtype=np.float64)}
