"""A split recomputed from its manifest: everything that the certificate says is checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.splits.block_split import REMOVED
from castile.splits.certificate import certify
from castile.splits.dataset import Dataset, file_hash, label_keys, read_dataset
from castile.splits.manifest import digest, part_names, read_manifest
from castile.splits.plan import effective_number
from castile.splits.search import find_components
from castile.splits.settings import settings_from_dict
from castile.splits.similarity_index import Progress, build_index
from castile.structures import LabelKeys, LabelledStructure, StructureSource

IndexArray = NDArray[np.int64]
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Check:
    """One check: what, whether it holds, and what was found."""

    what: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Verification:
    """All checks of a split, and the largest similarity across parts as it was found again."""

    checks: tuple[Check, ...]
    largest_similarity: float

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)


def verify_split(
    folder: str | os.PathLike[str],
    data: Sequence[str] = (),
    *,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Recompute a split from its manifest, the data and the files of the parts.

    Parameters
    ----------
    folder : path
        Folder of the split, or its manifest.
    data : sequence of str, optional
        The data, where they have moved since.
    pool, progress
        As for :func:`castile.splits.plan.make_split`.

    Raises
    ------
    InputError
        If the manifest or the data cannot be read.
    """
    path, content = read_manifest(folder)
    try:
        return _verified(path, content, data, pool, progress)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: an entry is missing or of the wrong kind ({error!r}); the manifest was damaged"
        ) from error


def _verified(
    path: Path, content: dict[str, Any], data: Sequence[str], pool: TaskPool | None, progress: Progress | None
) -> Verification:
    """All checks; those of the similarity only where the structures are those of the data."""
    checks = [_equal("manifest: its own hash", digest(content), content["sha256"])]
    asked = content["settings"]
    keys = label_keys(asked["energy_key"], asked["config_type_key"])
    source = StructureSource(list(data) or list(content["data"]), keys)
    checks += _files_agree(source, content)
    dataset = read_dataset(source, asked["group_by"], skip_broken=asked["skip_broken"])
    checks.append(_equal("number of structures", len(dataset), content["n_structures"]))
    skipped = [item.index for item in dataset.skipped]
    checks.append(_equal("skipped structures", skipped, [item["index"] for item in content["skipped"]]))
    parts = np.full(len(dataset), -2, dtype=np.int64)
    checks.append(_partition(parts, dataset.places, content))
    checks += _part_files_agree(path.parent, dataset, keys, content)
    if not all(check.passed for check in checks[-2:]) or (parts < -1).any():
        return Verification(tuple(checks), float("nan"))
    found, largest = _similarity_checks(dataset, parts, content, pool, progress)
    return Verification((*checks, *found), largest)


def _similarity_checks(
    dataset: Dataset,
    parts: IndexArray,
    content: dict[str, Any],
    pool: TaskPool | None,
    progress: Progress | None,
) -> tuple[list[Check], float]:
    """Components, certificate and groups, computed again; and the largest similarity across parts."""
    asked, threshold = content["settings"], content["threshold"]
    index = build_index(dataset.table, settings_from_dict(asked["similarity"]), pool=pool, progress=progress)
    groups = dataset.groups(asked["group_by"])
    components = find_components(index, threshold, groups=groups, pool=pool, progress=progress)
    certificate = certify(index, parts, pool=pool, progress=progress)
    largest = certificate.largest_similarity
    sizes = np.sort(components.sizes)[::-1].tolist()
    checks = [
        _equal("components", components.labels.tolist(), content["components"], short=True),
        _equal("component sizes", sizes, content["component_sizes"], short=True),
        _close("effective number", effective_number(components.sizes), content["effective_number"]),
        _close("largest similarity across parts", largest, content["largest_similarity"]),
        Check("no pair across parts above the threshold", largest <= threshold, f"{largest:.9f}"),
        _pairs_agree(certificate.pairs, content, part_names(len(content["parts"]))),
    ]
    if groups is not None:
        apart = all(len(np.unique(parts[(groups == g) & (parts >= 0)])) <= 1 for g in np.unique(groups))
        checks.append(Check("no group is cut", apart, ", ".join(asked["group_by"])))
    return checks, largest


def _equal(what: str, found: Any, stored: Any, short: bool = False) -> Check:
    same = found == stored
    text = "as stored" if same else "differs" if short else f"{found}, stored {stored}"
    return Check(what, same, text)


def _close(what: str, found: float, stored: float) -> Check:
    return Check(what, abs(found - stored) <= TOLERANCE, f"{found:.9f}, stored {stored:.9f}")


def _files_agree(source: StructureSource, content: dict[str, Any]) -> list[Check]:
    """The files of the data, by their hashes."""
    found = {file_hash(file) for file in source.files}
    checks = []
    for entry in content["files"]:
        same = entry["sha256"] in found
        checks.append(
            Check(f"data file {Path(entry['path']).name}", same, "as stored" if same else "changed")
        )
    return checks


def _partition(parts: IndexArray, places: IndexArray, content: dict[str, Any]) -> Check:
    """Fill in the part of each structure; every one must be named once."""
    listed = [*(entry["indices"] for entry in content["parts"]), content["removed"]]
    flat = [index for indices in listed for index in indices]
    good = sorted(flat) == places.tolist()
    if good:
        for number, indices in enumerate(listed[:-1]):
            parts[np.searchsorted(places, indices)] = number
        parts[np.searchsorted(places, listed[-1])] = REMOVED
    return Check("every structure is in one part", good, f"{len(flat)} indices, {len(parts)} structures")


def _part_files_agree(
    folder: Path, dataset: Dataset, keys: LabelKeys, content: dict[str, Any]
) -> list[Check]:
    """The files of the parts: their hashes, and the structures in them."""
    checks = []
    places = {int(place): k for k, place in enumerate(dataset.places)}
    for entry in content["parts"]:
        path = folder / entry["file"]
        if not path.is_file():
            checks.append(Check(f"{entry['file']}", False, "is missing"))
            continue
        same = file_hash(path) == entry["sha256"]
        checks.append(Check(f"{entry['file']}: hash", same, "as stored" if same else "changed"))
        indices = [places[index] for index in entry["indices"] if index in places]
        good, text = _holds(path, dataset, keys, indices, entry["n_structures"])
        checks.append(Check(f"{entry['file']}: structures", good, text))
    return checks


def _holds(
    path: Path, dataset: Dataset, keys: LabelKeys, indices: list[int], n_structures: int
) -> tuple[bool, str]:
    """Whether a file has the structures of the data with these indices, and what it has."""
    n_read, agree = 0, len(indices) == n_structures
    try:
        for found in StructureSource(path, keys):
            agree = agree and n_read < len(indices) and _same(dataset, indices[n_read], found)
            n_read += 1
    except InputError as error:
        return False, str(error)
    agree = agree and n_read == n_structures
    return agree, "those of the data" if agree else "are not those of the data"


def _same(dataset: Dataset, index: int, found: LabelledStructure) -> bool:
    """Whether a structure of a part is that of the data, to the digits that files keep."""
    atoms, other = dataset.table.atoms(index), found.atoms
    if len(atoms) != len(other) or (atoms.numbers != other.numbers).any() or (atoms.pbc != other.pbc).any():
        return False
    energy = np.nan if found.energy is None else found.energy
    close = np.allclose([dataset.energies[index]], [energy], rtol=1e-9, atol=1e-6, equal_nan=True)
    close = close and np.allclose(atoms.positions, other.positions, rtol=0.0, atol=1e-6)
    return bool(close and np.allclose(atoms.cell.array, other.cell.array, rtol=0.0, atol=1e-6))


def _pairs_agree(pairs: Sequence[Any], content: dict[str, Any], names: Sequence[str]) -> Check:
    found = {frozenset((names[p.part], names[p.other_part])): p.similarity for p in pairs}
    stored = {frozenset(entry["parts"]): entry["similarity"] for entry in content["closest_pairs"]}
    good = set(found) == set(stored) and all(abs(found[k] - stored[k]) <= TOLERANCE for k in found)
    return Check("closest pair of every two parts", good, f"{len(found)} pairs of parts")
