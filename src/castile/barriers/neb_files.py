"""Files of a band: the path as extended xyz, the numbers as JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import ase.io

from castile.barriers.neb_result import NebResult
from castile.formats.text_file import write_text_file

PATH_FILE, NUMBERS_FILE = "path.xyz", "neb.json"


def write_result(folder: Path, result: NebResult) -> None:
    """Write ``path.xyz`` and ``neb.json``; each appears complete or not at all."""
    write_text_file(folder / PATH_FILE, path_text(result))
    numbers = json.dumps(result.to_json_dict(), indent=2, allow_nan=False)
    write_text_file(folder / NUMBERS_FILE, numbers + "\n")


def path_text(result: NebResult) -> str:
    """Return all images as extended xyz with energies, forces, fixed atoms and the keys of a path."""
    text = io.StringIO()
    ase.io.write(text, list(result.images), format="extxyz")
    return text.getvalue()
