"""Calculators of the presets: programs that install from package registries, with settings that work."""

from __future__ import annotations

import math
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.espresso import Espresso, EspressoProfile

from castile.active.oracle_settings import OracleSettings
from castile.errors import InputError

PSEUDOPOTENTIALS = "/usr/share/espresso/pseudo"
VACUUM = 12.0  # A; along longer lattice vectors one k point is enough


def build_calculator(settings: OracleSettings, atoms: Atoms) -> BaseCalculator:
    """Return the calculator of an oracle for a structure.

    Raises
    ------
    InputError
        If a module, class, file or option is missing or unknown.
    """
    options = dict(settings.options)
    try:
        if settings.calculator is not None:
            module, _, name = settings.calculator.replace(":", ".").rpartition(".")
            return getattr(import_module(module), name)(**options)
        if settings.preset == "tblite":
            return _tblite(options)
        if settings.preset == "espresso":
            return espresso(atoms, **options)
        if settings.preset == "pyscf":
            return _pyscf(options)
        if settings.preset == "unep":
            return _unep(options)
        _require_known(options, EMT)
        return EMT(**options)
    except (ImportError, AttributeError, TypeError) as error:
        remedy = "check its name and options, and that its package is installed"
        raise InputError(f"oracle {settings.name}: {error}; {remedy}") from error


def espresso(
    atoms: Atoms,
    *,
    command: str = "pw.x",
    pseudopotential_folder: str = PSEUDOPOTENTIALS,
    pseudopotentials: dict[str, str] | None = None,
    functional: str = "pbe",
    plane_wave_cutoff_ry: float = 30.0,
    density_cutoff_ry: float | None = None,
    k_spacing_per_angstrom: float = 0.3,
    smearing_width_ry: float = 0.02,
    convergence_ry: float = 1e-8,
    input_data: dict[str, Any] | None = None,
) -> BaseCalculator:
    """Return a calculator of pw.x (Quantum ESPRESSO) with forces and stress.

    Parameters
    ----------
    atoms : Atoms
    command : str
        How pw.x is started, ``mpirun -np 4 pw.x`` for instance.
    pseudopotential_folder : str
    pseudopotentials : dict, optional
        File of each element. Default: the first file of the folder whose name has element and functional.
    functional : str
        Looked for in the names of the files.
    plane_wave_cutoff_ry, density_cutoff_ry : float
        Ry; the density has by default 8 times the cutoff of the waves with ultrasoft pseudopotentials and
        projector augmented waves, else 4 times.
    k_spacing_per_angstrom : float
        Largest distance of k points, 1/A (with the factor 2 pi); directions longer than 12 A get one point.
    smearing_width_ry : float
        Marzari-Vanderbilt smearing, Ry.
    convergence_ry : float
        Of the total energy, Ry.
    input_data : dict, optional
        Further input by namelist; it goes over everything above.
    """
    if pseudopotentials is None:
        folder = Path(pseudopotential_folder)
        pseudopotentials = {
            s: find_pseudopotential(folder, s, functional) for s in sorted(set(atoms.symbols))
        }
    system: dict[str, Any] = {
        "ecutwfc": plane_wave_cutoff_ry,
        "ecutrho": density_cutoff_ry or _density_factor(pseudopotentials) * plane_wave_cutoff_ry,
        "occupations": "smearing",
        "smearing": "mv",
        "degauss": smearing_width_ry,
    }
    electrons = {"conv_thr": convergence_ry, "electron_maxstep": 150, "mixing_beta": 0.5}
    return Espresso(
        profile=EspressoProfile(command=command, pseudo_dir=pseudopotential_folder),
        directory=".",
        pseudopotentials=pseudopotentials,
        input_data=_namelists(system, electrons, input_data or {}),
        kpts=k_points(atoms, k_spacing_per_angstrom),
        koffset=(0, 0, 0),
    )


def _density_factor(pseudopotentials: dict[str, str]) -> float:
    """Cutoff of the density over that of the waves, by the names of the files."""
    soft = any(re.search(r"us\b|us_|paw|van|aewfc", name.lower()) for name in pseudopotentials.values())
    return 8.0 if soft else 4.0


def _namelists(
    system: dict[str, Any], electrons: dict[str, Any], given: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Input of pw.x by namelist; what the user has given goes over everything."""
    control = {"tprnfor": True, "tstress": True, "disk_io": "none"}
    data = {"control": control, "system": system, "electrons": electrons}
    for namelist, values in given.items():
        data.setdefault(namelist.lower(), {}).update(values)
    return data


def find_pseudopotential(folder: Path, symbol: str, functional: str) -> str:
    """Return the first file of a folder that is for an element and a functional, by its name."""
    files = sorted(p.name for p in folder.glob("*") if p.suffix.lower() == ".upf")
    own = [f for f in files if f.split(".")[0].split("_")[0].lower() == symbol.lower()]
    fitting = [f for f in own if functional.lower() in re.split(r"[^a-z0-9]+", f.lower())]
    if not fitting:
        raise InputError(
            f"{folder}: no pseudopotential of {symbol} for {functional} (it has {', '.join(own) or 'none'}); "
            "name one in options.pseudopotentials"
        )
    return min(fitting, key=lambda name: ("rel-" in name, name))


def k_points(atoms: Atoms, spacing: float) -> tuple[int, int, int]:
    """Return the Gamma-centred grid with |b_i| / n_i <= spacing (1/A)."""
    reciprocal = 2.0 * math.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    lengths = atoms.cell.lengths()
    one, two, three = (
        1 if length > VACUUM else max(1, math.ceil(b / spacing - 1e-9))
        for b, length in zip(reciprocal, lengths, strict=True)
    )
    return one, two, three


def _require_known(options: dict[str, Any], calculator: type[BaseCalculator]) -> None:
    """Refuse what these calculators take without a word and do not use: a misspelt method is another one."""
    known = sorted(getattr(calculator, "default_parameters", {}))
    for name in options:
        if name not in known:
            raise TypeError(f"there is no option {name!r} (known: {', '.join(known)})")


def _tblite(options: dict[str, Any]) -> BaseCalculator:
    """GFN2-xTB unless another method is named."""
    from tblite.ase import TBLite

    _require_known(options, TBLite)
    defaults: dict[str, Any] = {"method": "GFN2-xTB", "verbosity": 0}
    return TBLite(**(defaults | options))


def _pyscf(options: dict[str, Any]) -> BaseCalculator:
    """Density-functional theory of molecules."""
    from castile.active.pyscf_calculator import PySCF

    return PySCF(**options)


def _unep(options: dict[str, Any]) -> BaseCalculator:
    """A neuro-evolution potential, run by calorine: a stand-in for a reference."""
    from calorine.calculators import CPUNEP

    return CPUNEP(**options)
