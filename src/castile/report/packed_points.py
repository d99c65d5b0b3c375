"""Points, properties and structures of a map as one compressed block that a browser unpacks."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

ALIGNMENT = 8


@dataclass
class PackedBlock:
    """Arrays one after another, each at a multiple of 8 bytes, little endian."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, values: NDArray[Any]) -> list[int]:
        """Append an array; return where it begins (bytes) and how many values it has."""
        content = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        begin = self.size
        content += bytes(-len(content) % ALIGNMENT)
        self.parts.append(content)
        self.size += len(content)
        return [begin, int(np.size(values))]

    def text(self) -> str:
        """Return the block, compressed, as base64."""
        return base64.b64encode(gzip.compress(b"".join(self.parts), 6, mtime=0)).decode("ascii")


def packed_dataset(
    structures: Sequence[Atoms],
    properties: Mapping[str, NDArray[Any]],
    centers: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
    *,
    title: str,
    settings: dict[str, Any],
) -> tuple[str, str]:
    """Return (header as JSON, block as base64); the script of the page makes chemiscope's data set of them.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        Without vacancies in the numbering: centers refer to their order.
    properties : mapping of str to array (n_points,)
        Numbers, kept in double precision, or names.
    centers : pair of arrays (n_points,), optional
        Structure and atom of each point where points are atoms.
    title : str
    settings : dict
        Of chemiscope.
    """
    block = PackedBlock()
    header: dict[str, Any] = {
        "title": title, "settings": settings, "symbols": list(chemical_symbols), "properties": [],
    }  # fmt: skip
    for name, values in properties.items():
        entry: dict[str, Any] = {"name": name}
        if np.issubdtype(values.dtype, np.number):
            entry["numbers"] = block.add(values.astype(np.float64))
        else:
            names, codes = np.unique(values.astype(str), return_inverse=True)
            entry |= {"names": names.tolist(), "codes": block.add(codes.astype(np.uint32))}
        header["properties"].append(entry)
    if centers is not None:
        header["centers"] = [block.add(part.astype(np.uint32)) for part in centers]
    header["structures"] = _packed_structures(block, structures)
    return json.dumps(header, allow_nan=False).replace("</", "<\\/"), block.text()


def _packed_structures(block: PackedBlock, structures: Sequence[Atoms]) -> dict[str, list[int]]:
    """First atoms, numbers, positions and cells; chemiscope draws cells of three lattice vectors only."""
    first = np.cumsum([0, *(len(atoms) for atoms in structures)])
    cells = [atoms.cell.array if atoms.cell.rank == 3 else np.zeros((3, 3)) for atoms in structures]
    return {
        "first": block.add(first.astype(np.uint32)),
        "numbers": block.add(np.concatenate([atoms.numbers for atoms in structures]).astype(np.uint8)),
        "positions": block.add(np.concatenate([atoms.positions for atoms in structures]).astype(np.float32)),
        "cells": block.add(np.stack(cells).astype(np.float32)),
    }
