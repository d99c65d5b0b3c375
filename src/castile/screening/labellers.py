"""Where the labels of winners come from: an oracle with its ledger, or values that are known already."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from castile.active.labelling import Labeller
from castile.active.ledger import State
from castile.active.oracle_settings import OracleSettings
from castile.active.store import CalculationStore
from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.screening.records import KeptCandidate
from castile.screening.targets import ENERGIES


@dataclass(frozen=True)
class Label:
    """What came of a request.

    Attributes
    ----------
    index : int
        Of the candidate.
    name : str
    atoms : ase.Atoms
        With the oracle's results, if there are any.
    value : float or None
        In the unit of the target; None where it failed.
    """

    index: int
    name: str
    atoms: Atoms
    value: float | None


class LabelSource(ABC):
    """Gives labels to candidates."""

    @abstractmethod
    def label(self, asked: Sequence[KeptCandidate]) -> list[Label]:
        """Return a label for each candidate, in order; failures have none."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Text that tells one source from another."""


@dataclass(frozen=True)
class KnownLabels(LabelSource):
    """Values that are known and only looked up, to see what a loop would have found.

    Attributes
    ----------
    values : mapping of int to float
        By the index of the candidate.
    """

    values: Mapping[int, float]

    def label(self, asked: Sequence[KeptCandidate]) -> list[Label]:
        """Look the values up."""
        return [
            Label(one.row.index, one.row.name, one.atoms, self.values.get(one.row.index)) for one in asked
        ]

    def fingerprint(self) -> str:
        """Number and sum of the values."""
        return f"known {len(self.values)} {sum(self.values.values())!r}"


@dataclass(frozen=True)
class OracleLabels(LabelSource):
    """Energies of an oracle of active learning; every calculation is in the ledger, none is repeated.

    Parameters
    ----------
    folder : Path
        With the store (``calculations.db``) and the jobs.
    oracle : OracleSettings
    pool : TaskPool
    quantity : "energy_per_atom", "energy" or "formation_energy"
    references : mapping of str to float
        eV/atom, for formation energies.
    """

    folder: Path
    oracle: OracleSettings
    pool: TaskPool
    quantity: str = "energy_per_atom"
    references: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.quantity not in ENERGIES:
            raise InputError(f"quantity {self.quantity!r}: an oracle gives {', '.join(ENERGIES)}")
        if self.quantity == "formation_energy" and not self.references:
            raise InputError("a formation energy needs the energies of the elements: give references")

    def label(self, asked: Sequence[KeptCandidate]) -> list[Label]:
        """Compute what is not computed yet."""
        store = CalculationStore(self.folder / "calculations.db")
        labeller = Labeller(store, self.folder / "jobs", self.oracle, self.pool, "castile screen")
        labeller.recover()
        task = self.oracle.task
        ids = [
            store.request(one.atoms, f"candidate {one.row.index}", origin="screen", task=task).id
            for one in asked
        ]
        labeller.label(ids)
        return [self._result(store, one, identifier) for one, identifier in zip(asked, ids, strict=True)]

    def _result(self, store: CalculationStore, one: KeptCandidate, identifier: int) -> Label:
        if store.calculation(identifier).state is not State.ACCEPTED:
            return Label(one.row.index, one.row.name, one.atoms, None)
        atoms = store.structure(identifier)
        energy = float(atoms.get_potential_energy())
        if self.quantity == "energy":
            return Label(one.row.index, one.row.name, atoms, energy)
        if self.quantity == "formation_energy":
            missing = sorted(set(atoms.symbols) - set(self.references))
            if missing:
                raise InputError(f"there is no reference energy of {', '.join(missing)}; give it in eV/atom")
            energy -= sum(self.references[symbol] for symbol in atoms.symbols)
        return Label(one.row.index, one.row.name, atoms, energy / len(atoms))

    def fingerprint(self) -> str:
        """Everything that decides a label."""
        return repr((self.oracle.task, self.quantity, sorted(self.references.items())))
