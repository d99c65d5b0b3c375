"""Ends of a band relaxed with the oracle; a killed relaxation goes on without repeating a calculation."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.optimize import BFGS

from castile.barriers.neb_calculator import Float64Array, LabelCalculator
from castile.barriers.neb_oracle import PathOracle
from castile.errors import SimulationError

MAX_STEPS = 300


class _StoredCalculator(LabelCalculator):
    """Asks an oracle through the store; the same steps find their labels there."""

    def __init__(self, oracle: PathOracle, name: str) -> None:
        super().__init__()
        self.oracle, self.name_of_end, self.n_calls = oracle, name, 0

    def label(self, atoms: Atoms) -> tuple[float, Float64Array]:
        """Labels from the store, or else of the oracle."""
        self.n_calls += 1
        bare = atoms.copy()
        bare.info = {}
        labelled = self.oracle.require(f"relax {self.name_of_end} {self.n_calls}", bare)
        return labelled.get_potential_energy(), np.array(labelled.get_forces(apply_constraint=False))


def relax_end(atoms: Atoms, oracle: PathOracle, name: str, max_force: float) -> Atoms:
    """Return an end at its minimum, without labels.

    Parameters
    ----------
    atoms : Atoms
    oracle : PathOracle
    name : str
        "initial" or "final".
    max_force : float
        eV/A.

    Raises
    ------
    SimulationError
        When the oracle fails or the forces do not fall below the threshold.
    """
    work = atoms.copy()
    work.calc = _StoredCalculator(oracle, name)
    optimizer = BFGS(work, logfile=None, maxstep=0.1)
    if not optimizer.run(fmax=max_force, steps=MAX_STEPS):
        raise SimulationError(
            f"the {name} end did not relax to {max_force} eV/A in {MAX_STEPS} steps; relax it beforehand"
        )
    work.calc = None
    return work
