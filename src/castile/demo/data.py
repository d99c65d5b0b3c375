"""The silicon data that the package ships: where they are, and the reference properties."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from castile.errors import InputError


@dataclass(frozen=True)
class SiliconReference:
    """Properties of diamond silicon computed with the engine and settings of the data set.

    Attributes:
        engine: program and version.
        functional: exchange and correlation.
        volumes: (n_volumes,) Angstrom^3/atom.
        energies: (n_volumes,) eV/atom.
        lattice_constant: Angstrom, of the cubic cell.
        equilibrium_volume: Angstrom^3/atom.
        bulk_modulus_gpa: from the equation of state.
        c11_gpa, c12_gpa, c44_gpa: elastic constants with relaxed ions.

    """

    engine: str
    functional: str
    volumes: tuple[float, ...]
    energies: tuple[float, ...]
    lattice_constant: float
    equilibrium_volume: float
    bulk_modulus_gpa: float
    c11_gpa: float
    c12_gpa: float
    c44_gpa: float


def silicon_file(name: str) -> Path:
    """Return the path of a shipped file.

    Raises:
        InputError: the installed package lacks the file.

    """
    path = Path(str(files("castile.demo.silicon").joinpath(name)))
    if not path.is_file():
        raise InputError(
            f"{path}: the installed package lacks its demonstration data; install castile again."
        )
    return path


def silicon_reference() -> SiliconReference:
    """Read the shipped reference properties."""
    values: dict[str, Any] = json.loads(silicon_file("reference.json").read_text(encoding="utf-8"))
    states, elastic = values["equation_of_state"], values["elastic_constants"]
    return SiliconReference(
        engine=values["engine"],
        functional=values["settings"]["functional"],
        volumes=tuple(states["volumes_a3_per_atom"]),
        energies=tuple(states["energies_ev_per_atom"]),
        lattice_constant=states["lattice_constant_a"],
        equilibrium_volume=states["equilibrium_volume_a3_per_atom"],
        bulk_modulus_gpa=states["bulk_modulus_gpa"],
        c11_gpa=elastic["c11_gpa"],
        c12_gpa=elastic["c12_gpa"],
        c44_gpa=elastic["c44_gpa"],
    )
