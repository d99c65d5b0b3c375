"""The core repulsion as a term of a potential: it has no weights, and its labels are subtracted before the
fit.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from castile.potentials.core_repulsion import CoreRepulsion
from castile.potentials.environment import Environment, Response
from castile.potentials.stored_term import StoredTerm


@dataclass(frozen=True)
class CoreTerm:
    """Half of the pair repulsion on each atom of a close pair."""

    kind: ClassVar[str] = "zbl"
    repulsion: CoreRepulsion

    @property
    def cutoff(self) -> float:
        """Largest distance at which the repulsion acts, Angstrom."""
        return self.repulsion.cutoff

    def store(self) -> StoredTerm:
        """Return the core."""
        core = self.repulsion
        header = {"species": list(core.species), "inner": list(core.inner), "outer": list(core.outer)}
        return StoredTerm(header, {})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "CoreTerm":
        """Return the core that :meth:`store` described."""
        header = stored.header
        return cls(CoreRepulsion(tuple(header["species"]), header["inner"], header["outer"]))

    def add_response(self, environment: Environment, response: Response) -> None:
        """Add energies, forces and virial of all close pairs."""
        pairs, numbers = environment.pairs, environment.numbers
        squared = np.einsum("pa,pa->p", pairs.vectors, pairs.vectors)
        close = np.flatnonzero(squared < self.cutoff**2)
        if not close.size:
            return
        center, neighbor, vectors = pairs.center[close], pairs.neighbor[close], pairs.vectors[close]
        distances = np.sqrt(squared[close])
        energy, slope = self.repulsion.pair_energy(distances, numbers[center], numbers[neighbor])
        gradient = (0.5 * slope / distances)[:, None] * vectors
        np.add.at(response.energies, center, 0.5 * energy)
        np.add.at(response.forces, center, gradient)
        np.add.at(response.forces, neighbor, -gradient)
        response.virial += vectors.T @ gradient
