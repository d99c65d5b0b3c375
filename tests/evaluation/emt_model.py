"""A real potential with the face of a fitted model: ASE's effective medium theory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from castile.errors import InputError


@dataclass(frozen=True)
class EMTPrediction:
    energy: float
    energies: np.ndarray
    forces: np.ndarray
    stress: np.ndarray | None


class EMTModel:
    """Predicts copper, silver and gold; ``shift`` (eV/atom) makes its energies wrong by a known amount."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def predict_many(self, structures: Iterable[Atoms]) -> Iterator[EMTPrediction]:
        """Predict in order, reading two structures ahead, as threads do."""
        pending: list[Atoms] = []
        for atoms in structures:
            pending.append(atoms)
            if len(pending) > 2:
                yield self.predict(pending.pop(0))
        yield from map(self.predict, pending)

    def predict(self, atoms: Atoms) -> EMTPrediction:
        unknown = sorted(set(atoms.get_chemical_symbols()) - {"Cu", "Ag", "Au"})
        if unknown:
            raise InputError(f"the model does not know {unknown[0]}; it was fitted to Cu, Ag, Au.")
        copy = atoms.copy()
        copy.calc = EMT()
        stress = copy.get_stress() if copy.cell.rank == 3 else None
        energies = copy.get_potential_energies() + self.shift
        return EMTPrediction(float(energies.sum()), energies, copy.get_forces(), stress)


def labelled_copper(
    n: int, noise: float = 0.05, config_types: tuple[str, ...] = ("bulk", "strained")
) -> list[Atoms]:
    """Rattled copper cells with EMT labels plus Gaussian noise on the forces (eV/Angstrom)."""
    rng = np.random.default_rng(7)
    frames = []
    for index in range(n):
        atoms = bulk("Cu", cubic=True) * (1, 1, 1 + index % 2)
        atoms.rattle(0.05, seed=index)
        exact = EMTModel().predict(atoms)
        forces = exact.forces + noise * rng.normal(size=exact.forces.shape)
        atoms.calc = SinglePointCalculator(atoms, energy=exact.energy, forces=forces, stress=exact.stress)
        if config_types:
            atoms.info["config_type"] = config_types[index % len(config_types)]
        frames.append(atoms)
    return frames
