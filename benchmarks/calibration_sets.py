"""Coverage of the calibration that comes with a fit, on random parts of many data sets."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.calibration import COVERAGE
from benchmarks.data import data_files
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table

MOST_ATOMS = 80
N_SPARSE = 500
KINDS = ("AIMD", "Elastic", "Surface")
TEMPERATURES = (300.0, 700.0, 1200.0, 2000.0, 2700.0)
"""Of the molecular dynamics in a set that is made, K."""


@dataclass(frozen=True)
class Part:
    """Files of a set, and how many structures are fitted and predicted; without files it is made."""

    files: tuple[str, ...]
    n_train: int
    n_test: int


PARTS = {
    "Si, training file": Part(("mlearn/Si_training.xyz.gz",), 150, 60),
    "Mo, training file": Part(("mlearn/Mo_training.xyz.gz",), 140, 54),
    "Ta-W solid solutions": Part(("alloys/TaW_SS.xyz.gz",), 100, 50),
    "Ta, twelve kinds": Part(("small/fitsnap_Ta/*",), 200, 100),
    "Ti-Al": Part(("small/tial_tutorial/TiAl_tutorial.xyz",), 150, 80),
    "W, slices": Part(("tungsten/slice_sample.extxyz.gz",), 300, 150),
    "ethanol": Part(("rmd17/ethanol_train.xyz.gz",), 120, 100),
    "Nb, three kinds": Part(tuple(f"alloys/Nb_{kind}.xyz.gz" for kind in KINDS), 150, 100),
    "W, three kinds": Part(tuple(f"alloys/W_{kind}.xyz.gz" for kind in KINDS), 150, 100),
    "Cu, effective medium": Part((), 150, 100),
}


def calibration_sets(quick: bool, threads: int) -> Record:
    """Fit to a part of each set, compare deviations with errors on another."""
    numbers: dict[str, Any] = {}
    rows = []
    for name, part in PARTS.items():
        scale = 5 if quick else 1
        arguments = {
            "files": _files(part),
            "n_train": part.n_train // scale,
            "n_test": part.n_test // scale,
            "n_sparse": N_SPARSE // scale,
        }
        found = run_isolated("benchmarks.calibration_sets:measure", arguments, threads)
        numbers |= {f"{name}/{key}": value for key, value in found.items()}
        cells = [
            f"{100 * found[f'{kind}_coverage_68']:.1f} % {100 * found[f'{kind}_coverage_95']:.1f} %"
            if f"{kind}_coverage_68" in found else ""
            for kind in ("energy", "force", "stress")
        ]  # fmt: skip
        rows.append((name, f"{found['n_train']} {found['n_test']}", *cells))
    checks = []
    for kind in ("energy", "force"):
        for level, (low, high) in COVERAGE.items():
            values = [numbers[f"{name}/{kind}_coverage_{level}"] for name in PARTS
                      if f"{name}/{kind}_coverage_{level}" in numbers]  # fmt: skip
            mean = 100.0 * float(np.mean(values))
            numbers[f"mean/{kind}_coverage_{level}"] = mean / 100.0
            label = f"{kind}, mean coverage of {level} % intervals"
            checks += [Check(label, mean, 100 * low, "%", "at least"), Check(label, mean, 100 * high, "%")]
    columns = (
        "set",
        "structures: fit, test",
        "energy: 68 %, 95 %",
        "force: 68 %, 95 %",
        "stress: 68 %, 95 %",
    )
    table = Table("Coverage of intervals, calibrated by the fit itself", columns, tuple(rows))
    notes = (
        f"{N_SPARSE} sparse points; random parts of each set, which do not overlap; structures of at most "
        f"{MOST_ATOMS} atoms; no published test file is used",
    )
    return Record("calibration-sets", quick, numbers, tuple(checks), (table,), notes)


def _files(part: Part) -> list[str]:
    if not part.files:
        return []
    (first, *_) = part.files
    if not first.endswith("*"):
        return data_files(*part.files)
    from benchmarks.data import DATA

    found = sorted(path.name for path in (DATA / first).parent.glob("*xyz*"))
    return data_files(*(f"{first[:-1]}{name}" for name in found))


def measure(files: list[str], n_train: int, n_test: int, n_sparse: int) -> dict[str, Any]:
    """Fit, predict, compare; flat numbers."""
    import castile
    from castile.structures import as_source

    structures = [s for s in as_source(files or copper()) if len(s.atoms) <= MOST_ATOMS]
    order = np.random.default_rng(100).permutation(len(structures))
    test = [_labelled(structures[k]) for k in order[:n_test]]
    train = [_labelled(structures[k]) for k in order[n_test : n_test + n_train]]
    gap = castile.GAP(n_sparse=n_sparse, allow_missing=("energy", "forces", "stress")).fit(train)
    found = castile.evaluate(gap, test, uncertainty="exact").to_json_dict()
    numbers = {key: value for key, value in found.items() if not key.startswith("config/")}
    remarks = list(gap.uncertainty.calibration.remarks)
    return {**numbers, "n_train": len(train), "n_test": len(test), "remarks": remarks}


def copper() -> list[Any]:
    """Return copper with labels of effective medium theory, which have no noise: strained cells, molecular
    dynamics at five temperatures of crystals with and without a vacancy, surfaces.
    """
    from ase import units
    from ase.build import bulk, surface
    from ase.calculators.emt import EMT
    from ase.md.bussi import Bussi
    from ase.md.velocitydistribution import thermalize_momenta

    rng, cell = np.random.default_rng(0), bulk("Cu", a=3.6, cubic=True)
    frames = []
    for _ in range(60):
        strained = cell.copy()
        strained.set_cell(cell.cell.array @ (np.eye(3) + rng.uniform(-0.08, 0.08, (3, 3))), scale_atoms=True)
        frames.append(("strained", strained))
    for missing in (0, 1):
        for temperature in TEMPERATURES:
            kind = f"{'vacancy' if missing else 'crystal'}, {temperature:.0f} K"
            atoms = cell.repeat((2, 2, 2))[missing:]
            atoms.calc = EMT()
            thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
            dynamics = Bussi(atoms, 4 * units.fs, temperature, 50 * units.fs, rng=rng)
            for _ in dynamics.irun(160):
                if dynamics.nsteps and dynamics.nsteps % 8 == 0:
                    frames.append((kind, atoms.copy()))
    for plane in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1)):
        for seed in range(3):
            slab = surface(cell, plane, 3, vacuum=6.0, periodic=True)
            slab.rattle(0.05 * seed, seed=seed)
            frames.append(("surface", slab))
    for kind, atoms in frames:
        atoms.info["config_type"] = kind
        atoms.calc = EMT()
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    return [atoms for _, atoms in frames]


def _labelled(structure: Any) -> Any:
    """The bare structure with its labels, under ASE's names."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    given = structure.atoms
    atoms = Atoms(given.symbols, positions=given.positions, cell=given.cell, pbc=given.pbc)
    atoms.info["config_type"] = structure.config_type
    labels = {"energy": structure.energy, "forces": structure.forces, "stress": structure.stress}
    results = {name: value for name, value in labels.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
