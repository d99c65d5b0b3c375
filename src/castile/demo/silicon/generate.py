"""Label the silicon structures with Quantum ESPRESSO and write the data set.

Run as ``python -m castile.demo.silicon.generate --work FOLDER``; started again, it goes on where it was.
README.md in this folder has the whole account.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from castile.demo.silicon.drawing import Draw, draw_all
from castile.demo.silicon.engine import EngineSettings, label
from castile.demo.silicon.reference import elastic_constants, equation_of_state

FOLDER = Path(__file__).parent


def compute_reference(settings: EngineSettings, work: Path) -> None:
    """Write reference.json: free atom, equation of state and elastic constants."""

    def labelled(atoms: Atoms, name: str) -> Atoms:
        """The structure with its calculation, done or looked up."""
        done = label(atoms, name, settings, work)
        if done is None:
            raise RuntimeError(f"{name} did not converge; see {work / 'runs' / name / 'espresso.pwo'}")
        return done

    atom = labelled(Atoms("Si", cell=[12.1] * 3, pbc=True), "train_isolated_atom_00").get_potential_energy()
    states = equation_of_state(labelled)
    elastic = elastic_constants(labelled, states.lattice_constant_a)
    reference = {
        "system": "Si, diamond structure",
        "engine": "Quantum ESPRESSO pw.x 6.7 (Debian 6.7-2+b1)",
        "settings": asdict(settings),
        "isolated_atom_energy_ev": round(float(atom), 6),
        "isolated_atom_note": "triplet, box of 12.1 A, smearing 0.002 Ry; all else without spin",
        "cohesive_energy_ev_per_atom": round(float(atom) - states.equilibrium_energy_ev_per_atom, 4),
        "equation_of_state": asdict(states),
        "elastic_constants": asdict(elastic),
    }
    (FOLDER / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


def write_split(draws: list[Draw], split: str, settings: EngineSettings, work: Path) -> int:
    """Write the finished structures of one split as extended XYZ; returns how many there are."""
    frames = []
    for draw in draws:
        if draw.split != split or not (work / "results" / f"{draw.name}.json").exists():
            continue
        done = label(draw.atoms, draw.name, settings, work, draw.metal)
        if done is None:
            continue
        frame = Atoms(done.symbols, positions=np.round(done.positions, 8), cell=done.cell, pbc=True)
        frame.calc = SinglePointCalculator(
            frame,
            energy=round(done.get_potential_energy(), 8),
            forces=np.round(done.get_forces(), 8),
            stress=np.round(done.get_stress(), 10),
        )
        frame.info = {"config_type": draw.kind, "name": draw.name}
        frames.append(frame)
    if frames:
        write(FOLDER / f"silicon_{split}.xyz", frames, format="extxyz")
    return len(frames)


def main() -> None:
    """Reference first, then every structure in a shuffled order, so that any part of it is a fair sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for outputs and results")
    parser.add_argument("--pseudo", default=EngineSettings.pseudopotential_folder, help="their folder")
    parser.add_argument("--write-only", action="store_true", help="write the files from what is finished")
    options = parser.parse_args()
    settings = EngineSettings(pseudopotential_folder=options.pseudo)
    work = options.work.resolve()
    draws = draw_all()
    started = time.perf_counter()
    try:
        if not options.write_only:
            compute_reference(settings, work)
            order = np.random.default_rng(1969).permutation(len(draws))
            for count, position in enumerate(order, start=1):
                draw = draws[position]
                done = label(draw.atoms, draw.name, settings, work, draw.metal)
                state = "no convergence" if done is None else "done"
                elapsed = time.perf_counter() - started
                print(f"{count}/{len(draws)} {draw.name} {state}, {elapsed:.0f} s", flush=True)
    finally:
        for split in ("train", "test"):
            print(f"silicon_{split}.xyz: {write_split(draws, split, settings, work)} structures")


if __name__ == "__main__":
    main()
