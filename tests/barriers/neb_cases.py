"""Small bands with effective medium theory, and oracles that go wrong."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from castile.active.oracle_settings import OracleSettings

COUNTING = Path(__file__).parents[1] / "active"


def hop(metal: str = "Cu") -> tuple[Atoms, Atoms]:
    """Both relaxed ends of the hop of an adatom; five atoms are free."""
    slab = fcc100(metal, size=(2, 2, 2), vacuum=7.0)
    add_adsorbate(slab, metal, 1.8, "hollow")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() >= 2))
    slab.info = {}
    final = slab.copy()
    final.positions[-1, 0] += slab.cell[0, 0] / 2
    ends = []
    for end in (slab, final):
        end.calc = EMT()
        BFGS(end, logfile=None).run(fmax=0.005)
        end.calc = None
        ends.append(end)
    return ends[0], ends[1]


def counting(log: Path, kind: str = "CountingEMT", **changes: object) -> OracleSettings:
    """An oracle that writes a line for every execution."""
    options = {"log": str(log)} | ({"delay": changes.pop("delay")} if "delay" in changes else {})
    values = {"calculator": f"counting_oracles.{kind}", "options": options, "python_path": (str(COUNTING),)}
    return OracleSettings.model_validate(values | {"timeout_s": 60.0} | changes)


def lines(log: Path) -> list[str]:
    """What was executed, one structure a line."""
    return log.read_text().splitlines() if log.exists() else []


def random_cluster(n_atoms: int, seed: int) -> Atoms:
    """Atoms of two elements, no two closer than 1.5 A."""
    generator = np.random.default_rng(seed)
    places = np.array([[i % 2, (i // 2) % 2, i // 4] for i in range(n_atoms)]) * 2.2
    symbols = ["C", "H"] * (n_atoms // 2) + ["C"] * (n_atoms % 2)
    return Atoms(symbols, positions=places + generator.uniform(-0.3, 0.3, places.shape))
