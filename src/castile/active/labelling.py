"""Queued calculations of a store through an oracle, in parallel, with retries; all in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from castile.active.ledger import Calculation, State
from castile.active.oracles import LabelResult, LabelTask, OracleSettings, label_structure
from castile.active.store import CalculationStore
from castile.errors import SimulationError
from castile.execution.task_pool import TaskPool
from castile.simulation.close_contacts import find_fused_atoms

OnSettled = Callable[[Calculation], None]


@dataclass(frozen=True)
class Labeller:
    """Runs queued calculations.

    Attributes
    ----------
    store : CalculationStore
    folder : Path
        Of the jobs; calculation 12 runs in ``000012/attempt-1``.
    oracle : OracleSettings
    pool : TaskPool
        Where they run.
    owner : str
        Under which they are claimed.
    """

    store: CalculationStore
    folder: Path
    oracle: OracleSettings
    pool: TaskPool
    owner: str

    def label(
        self,
        ids: Iterable[int] | None = None,
        on_settled: OnSettled | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> tuple[Calculation, ...]:
        """Compute what is queued (of ``ids``, if given) and return the calculations that were settled.

        A failure is tried again up to ``oracle.retries`` times; no outcome raises an error.

        Parameters
        ----------
        ids : iterable of int, optional
        on_settled : callable, optional
            Called with every calculation that will not run again.
        stop : callable, optional
            When it returns True nothing more is begun; what runs is waited for.
        """
        wanted = None if ids is None else tuple(ids)
        settled: list[Calculation] = []
        while True:
            claimed: list[Calculation] = []
            for result in self.pool.as_completed(label_structure, self._tasks(wanted, claimed, stop)):
                outcome = result.value
                if outcome is None:
                    outcome = LabelResult("failed", result.error or "the worker was lost")
                calculation = self.settle(claimed[result.index], outcome)
                if calculation.state is State.QUEUED:
                    continue
                settled.append(calculation)
                if on_settled is not None:
                    on_settled(calculation)
            if not claimed:
                return tuple(settled)

    def _tasks(
        self, ids: tuple[int, ...] | None, claimed: list[Calculation], stop: Callable[[], bool] | None
    ) -> Iterator[LabelTask]:
        """Claim one calculation each time that a worker becomes free."""
        while stop is None or not stop():
            calculation = self.store.claim(self.owner, ids)
            if calculation is None:
                return
            claimed.append(calculation)
            folder = attempt_folder(self.folder, calculation)
            yield LabelTask(str(folder), self.store.structure(calculation.id), self.oracle)

    def settle(self, calculation: Calculation, result: LabelResult) -> Calculation:
        """Enter the outcome of a running calculation; a failure with attempts left is queued again."""
        store, identifier = self.store, calculation.id
        if result.status == "unconverged":
            return store.mark_unconverged(identifier, result.reason)
        if result.status == "failed":
            failed = store.fail(identifier, result.reason)
            if failed.attempts > self.oracle.retries:
                return failed
            return store.requeue(identifier, f"attempt {failed.attempts} failed")
        store.record(identifier, result.labelled(store.structure(identifier)))
        return self.judge(identifier)

    def judge(self, identifier: int) -> Calculation:
        """Accept a converged calculation, or reject it for absurd forces or fused atoms."""
        reason = absurdity(self.store, identifier, self.oracle)
        return self.store.reject(identifier, reason) if reason else self.store.accept(identifier)

    def recover(self) -> tuple[Calculation, ...]:
        """Put in order what a killed program of this owner left: running ones are queued again (their results
        are taken from the disk where they are complete), converged ones are judged.
        """
        for calculation in self.store.calculations(State.CONVERGED):
            if calculation.owner == self.owner:
                self.judge(calculation.id)
        for calculation in self.store.calculations(State.FAILED):
            if calculation.owner == self.owner and calculation.attempts <= self.oracle.retries:
                self.store.requeue(calculation.id, f"attempt {calculation.attempts} failed")
        return self.store.recover(self.owner)


def attempt_folder(folder: Path, calculation: Calculation) -> Path:
    """Return the folder in which an attempt of a calculation runs."""
    return folder / f"{calculation.id:06d}" / f"attempt-{calculation.attempts}"


def absurdity(store: CalculationStore, identifier: int, oracle: OracleSettings) -> str:
    """Say what is absurd about a converged calculation; empty if nothing is."""
    atoms = store.structure(identifier)
    contact = find_fused_atoms(atoms, oracle.contact_fraction)
    if contact is not None:
        return contact.describe()
    try:
        forces = atoms.get_forces(apply_constraint=False)
    except (RuntimeError, NotImplementedError) as error:
        raise SimulationError(f"calculation {identifier} has no forces ({error})") from error
    if not len(forces):
        return ""
    sizes = (forces**2).sum(axis=1) ** 0.5
    atom = int(sizes.argmax())
    if sizes[atom] > oracle.max_force:
        return (
            f"the force on atom {atom} ({atoms.symbols[atom]}) is {sizes[atom]:.3g} eV/A, above the limit of "
            f"{oracle.max_force:g} eV/A"
        )
    return ""
