"""How far the labels are from the limits of cutoff and k points: some structures with tighter settings.

Run as ``python -m castile.demo.silicon.convergence --work FOLDER`` after `generate`; writes convergence.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from ase import units

from castile.demo.silicon.drawing import Draw, draw_all
from castile.demo.silicon.engine import EngineSettings, label

NAMES = (
    "train_diamond_volume_07",
    "train_diamond_rattled_02",
    "train_disordered_03",
    "train_phase_05",
    "train_phase_06",
)
CUTOFF_RY = 40.0
K_SPACING_FACTOR = 0.7


@dataclass(frozen=True)
class Change:
    """Labels of one structure with tighter settings minus the shipped ones."""

    structure: str
    settings: str
    energy_mev_per_atom: float
    rms_force_ev_per_angstrom: float
    largest_force_ev_per_angstrom: float
    largest_stress_gpa: float
    mean_stress_gpa: float


def compare(draw: Draw, tighter: EngineSettings, what: str, work: Path) -> Change:
    """Label one structure with the shipped and with the tighter settings."""
    shipped = label(draw.atoms, draw.name, EngineSettings(), work, draw.metal)
    better = label(draw.atoms, f"convergence_{what}_{draw.name}", tighter, work, draw.metal)
    if shipped is None or better is None:
        raise RuntimeError(f"{draw.name}: pw.x did not converge ({what})")
    energy = (better.get_potential_energy() - shipped.get_potential_energy()) / len(shipped)
    forces = better.get_forces() - shipped.get_forces()
    stress = (better.get_stress() - shipped.get_stress()) / units.GPa
    return Change(
        draw.name,
        what,
        round(float(energy * 1000), 3),
        round(float(np.sqrt(np.mean(forces**2))), 4),
        round(float(np.abs(forces).max()), 4),
        round(float(np.abs(stress).max()), 4),
        round(float(stress[:3].mean()), 4),
    )


def main() -> None:
    """Compare every structure at both tighter settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder that `generate` worked in")
    work = parser.parse_args().work.resolve()
    shipped = EngineSettings()
    tighter = {
        "cutoff": replace(shipped, plane_wave_cutoff_ry=CUTOFF_RY),
        "k_points": replace(
            shipped,
            k_spacing_small_per_angstrom=K_SPACING_FACTOR * shipped.k_spacing_small_per_angstrom,
            k_spacing_large_per_angstrom=K_SPACING_FACTOR * shipped.k_spacing_large_per_angstrom,
            k_spacing_metal_per_angstrom=K_SPACING_FACTOR * shipped.k_spacing_metal_per_angstrom,
        ),
    }
    changes = []
    for draw in draw_all():
        if draw.name not in NAMES:
            continue
        for what, settings in tighter.items():
            changes.append(compare(draw, settings, what, work))
            print(changes[-1], flush=True)
    document = {
        "cutoff": f"{CUTOFF_RY:g} Ry instead of {shipped.plane_wave_cutoff_ry:g} Ry",
        "k_points": f"spacing times {K_SPACING_FACTOR:g}",
        "changes": [asdict(change) for change in changes],
    }
    Path(__file__).with_name("convergence.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
