"""What a selection returns."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """Structures, or atoms, in the order in which they were chosen.

    Attributes
    ----------
    method, what : str
    structures : ndarray of int64, shape (n,)
        Position of each in the pool, counted from 0.
    atoms : ndarray of int64, shape (n,), or None
        Index in its structure, where atoms were chosen.
    names : tuple of str
        Of the structures, such as "pool.xyz[17]".
    config_types : tuple of str
        Of the structures.
    n_atoms : int
        Atoms of all chosen structures, each structure once.
    values : ndarray, shape (n,), or None
        Worth of each when it was chosen, for methods that have one. ``variance``: variance that its labels
        lose, mean over them, in squares of their noise; its root is a deviation in units of the noise.
        ``information``: nats. ``pool-variance``: decrease of the mean squared covariance of the pool's
        forces, (eV/A)^4, or of its energies per atom, eV^4.
    unit : str
        Of the worth: "noise^2", "nat", "(eV/A)^4" or "eV^4".
    deviation_before, deviation_after : float or None
        Root of the mean predictive variance over the pool, before and after; of ``pool-variance`` only.
    deviation_unit : str
        eV/A (of force components), or eV (of energies per atom) where forces are no labels or vanish by
        symmetry.
    n_pool, n_pool_atoms : int
        Size of the pool.
    """

    method: str
    what: str
    structures: NDArray[np.int64]
    atoms: NDArray[np.int64] | None
    names: tuple[str, ...]
    config_types: tuple[str, ...]
    n_atoms: int
    values: NDArray[np.float64] | None
    unit: str
    deviation_before: float | None
    deviation_after: float | None
    deviation_unit: str
    n_pool: int
    n_pool_atoms: int

    def __len__(self) -> int:
        """Return the number chosen."""
        return len(self.structures)

    def to_json_dict(self) -> dict[str, object]:
        """Return flat numbers; lists are in the order of the choice."""
        result: dict[str, object] = {
            "method": self.method,
            "what": self.what,
            "n_selected": len(self),
            "n_selected_atoms": self.n_atoms,
            "n_pool_structures": self.n_pool,
            "n_pool_atoms": self.n_pool_atoms,
        }
        unit = "ev_per_angstrom" if self.deviation_unit == "eV/A" else "ev_per_atom"
        optional = {
            f"deviation_before_{unit}": self.deviation_before,
            f"deviation_after_{unit}": self.deviation_after,
        }
        result.update({key: value for key, value in optional.items() if value is not None})
        for kind, count in sorted(Counter(self.config_types).items()):
            result[f"config_type/{kind or 'none'}/n_selected"] = count
        return result

    def indices_dict(self) -> dict[str, object]:
        """Return what ``castile select --indices`` writes."""
        result: dict[str, object] = {
            "structures": self.structures.tolist(),
            "names": list(self.names),
        }
        if self.atoms is not None:
            result["atoms"] = self.atoms.tolist()
        if self.values is not None:
            result["values"] = self.values.tolist()
            result["unit"] = self.unit
        return result
