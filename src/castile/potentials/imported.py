"""A potential that another program fitted: it predicts like any other, but holds no training labels."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from castile.potentials.model import PotentialModel
from castile.structures.labels import LabelledStructure


@dataclass(frozen=True)
class Origin:
    """Where an imported potential comes from.

    Attributes
    ----------
    program, file, label : str
        Program that fitted it, name of the file, name of the potential in it.
    version : int
        Of the program that wrote the file, as the file says.
    """

    program: str
    file: str
    label: str
    version: int


@dataclass(frozen=True)
class ImportedModel:
    """An imported model, its origin, and the structure whose prediction a model file stores."""

    model: PotentialModel
    origin: Origin
    reference: LabelledStructure

    def refusal(self, wanted: str) -> str:
        """Return why something that needs the fit cannot be had."""
        return (
            f"this model was imported from {self.origin.program} ({self.origin.file}); it holds no "
            "training labels, so "
            f"{wanted} is not possible: fit a new model to the data"
        )


def reference_structure(elements: tuple[int, ...]) -> LabelledStructure:
    """Return a small disordered periodic structure of up to eight of the elements, always the same one."""
    chosen = [elements[k % len(elements)] for k in range(8)]
    bond = 2.2 * float(np.mean([covalent_radii[z] for z in chosen]))
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    shift = np.random.default_rng(0).uniform(-0.1, 0.1, grid.shape)
    atoms = Atoms(chosen, positions=bond * (grid + shift), cell=[2.0 * bond] * 3, pbc=True)
    return LabelledStructure(atoms, "reference structure")
