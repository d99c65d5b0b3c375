"""The certificate of a split as a file: what went in, what came out, and what proves it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.io.extxyz import write_xyz
from numpy.typing import NDArray

from castile.errors import InputError
from castile.formats import write_text_file
from castile.splits.dataset import file_hash
from castile.splits.plan import Split, SplitSettings
from castile.splits.sound_structures import sound_structures
from castile.structures import LabelledStructure, StructureSource

MANIFEST = "manifest.json"
FORMAT, VERSION = "castile split", 2
_KEYS = {
    "format", "version", "data", "files", "n_structures", "settings", "threshold", "fractions", "parts",
    "removed", "skipped", "components", "component_sizes", "effective_number", "largest_similarity",
    "closest_pairs", "sha256",
}  # fmt: skip


@dataclass(frozen=True)
class WrittenSplit:
    """Files of a split: the manifest and one file per part."""

    manifest: Path
    parts: tuple[Path, ...]


def part_names(n_parts: int) -> tuple[str, ...]:
    """Return the names of the parts: train and test, with valid between, or numbers."""
    if n_parts == 2:
        return "train", "test"
    if n_parts == 3:
        return "train", "valid", "test"
    return tuple(f"part{k}" for k in range(n_parts))


def refuse_outputs(folder: str | os.PathLike[str], source: StructureSource, n_parts: int) -> None:
    """Check that the files of a split would not replace data that are read, and that the folder is none.

    Raises
    ------
    InputError
        If they would, or ``folder`` is a file.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; name the folder of the parts")
    for name in (*(f"{name}.xyz" for name in part_names(n_parts)), MANIFEST):
        source.refuse_as_output(target / name)


def write_split(
    folder: str | os.PathLike[str],
    source: StructureSource,
    split: Split,
    settings: SplitSettings,
    data: Sequence[str],
) -> WrittenSplit:
    """Write one extended XYZ file per part, with everything that the structures carry, and the manifest.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    source : StructureSource
        What was split, read again.
    split : Split
    settings : SplitSettings
    data : sequence of str
        The data as they were named, with their slices.

    Raises
    ------
    InputError
        If a file to be written is one of those that are read.
    """
    target = Path(folder)
    names = part_names(len(split.assignment.wanted))
    refuse_outputs(target, source, len(names))
    paths = [target / f"{name}.xyz" for name in names]
    target.mkdir(parents=True, exist_ok=True)
    _remove_older(target, names)
    _write_parts(sound_structures(source, [] if settings.skip_broken else None), split.parts, paths)
    content = _content(source, split, settings, data, names, paths)
    content["sha256"] = digest(content)
    write_text_file(target / MANIFEST, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return WrittenSplit(target / MANIFEST, tuple(paths))


def _remove_older(folder: Path, names: Sequence[str]) -> None:
    """Remove parts of an older split that the new one does not have, unless they were changed since."""
    if not (folder / MANIFEST).is_file():
        return
    try:
        older = read_manifest(folder)[1]["parts"]
    except InputError:  # of another version, or no manifest of ours
        return
    for entry in older:
        path = folder / entry["file"]
        unwanted = path.parent == folder and path.stem not in names
        if unwanted and path.is_file() and file_hash(path) == entry["sha256"]:
            path.unlink()


def _write_parts(
    structures: Iterable[LabelledStructure], parts: NDArray[np.int64], paths: Sequence[Path]
) -> None:
    """Append every structure to the file of its part."""
    temporary = [path.with_suffix(".xyz.part") for path in paths]
    streams = [open(path, "w", encoding="utf-8") for path in temporary]  # noqa: SIM115
    try:
        for structure, part in zip(structures, parts, strict=True):
            if part >= 0:
                write_xyz(streams[part], [structure.atoms], write_results=True)
    finally:
        for stream in streams:
            stream.close()
    for old, new in zip(temporary, paths, strict=True):
        os.replace(old, new)


def _content(
    source: StructureSource,
    split: Split,
    settings: SplitSettings,
    data: Sequence[str],
    names: Sequence[str],
    paths: Sequence[Path],
) -> dict[str, Any]:
    """Everything the manifest says but its own hash; places count the structures of the data from 0."""
    pairs = split.certificate.pairs
    return {
        "format": FORMAT,
        "version": VERSION,
        "data": [os.path.abspath(name) for name in data],
        "files": [
            {"path": str(Path(f).resolve()), "sha256": file_hash(f)} for f in sorted(set(source.files))
        ],
        "n_structures": len(split.parts),
        "settings": {
            "similarity": split.index.settings.to_dict(),
            "threshold_given": settings.threshold,
            "rattle_angstrom": settings.rattle,
            "group_by": list(settings.group_by),
            "stratify": list(settings.stratify),
            "blocks": settings.blocks,
            "seed": settings.seed,
            "skip_broken": settings.skip_broken,
            "energy_key": source.keys.energy,
            "config_type_key": source.keys.config_type,
        },
        "threshold": split.threshold,
        "fractions": list(split.assignment.wanted),
        "parts": [
            {
                "name": name,
                "file": path.name,
                "sha256": file_hash(path),
                "n_structures": int((split.parts == k).sum()),
                "indices": split.places[split.parts == k].tolist(),
            }
            for k, (name, path) in enumerate(zip(names, paths, strict=True))
        ],
        "removed": split.places[split.parts < 0].tolist(),
        "skipped": [{"index": item.index, "reason": item.reason} for item in split.skipped],
        "components": split.components.labels.tolist(),
        "component_sizes": np.sort(split.components.sizes)[::-1].tolist(),
        "effective_number": split.effective_number,
        "largest_similarity": split.certificate.largest_similarity,
        "closest_pairs": [
            {
                "parts": [names[pair.part], names[pair.other_part]],
                "structures": [int(split.places[k]) for k in (pair.structure, pair.other_structure)],
                "similarity": pair.similarity,
            }
            for pair in pairs
        ],
    }


def digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest's content without its own digest."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read_manifest(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """Return path and content of the manifest in a folder (or of the file itself).

    Raises
    ------
    InputError
        If there is none, or it is no manifest of this version.
    """
    path = Path(folder)
    path = path / MANIFEST if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such manifest; name the folder that castile split wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no JSON ({error}); the manifest was damaged") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(f"{path}: is no manifest of castile split, version {VERSION}")
    if set(content) != _KEYS:
        raise InputError(f"{path}: keys {sorted(set(content) ^ _KEYS)} are missing or unknown")
    return path, content
