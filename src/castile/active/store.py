"""The store of an active-learning campaign: structures and labels in an ASE database, with a ledger beside.

Usable alone::

    store = CalculationStore("calculations.db")
    calculation = store.request(atoms, key="path 3, image 2", origin="neb")
    store.claim("this program", [calculation.id])       # queued -> running, by one process only
    store.record(calculation.id, labelled)              # running -> converged, with energy and forces
    store.accept(calculation.id)                        # converged -> accepted
    structures = store.accepted()

Every change of state is one transaction that is on the disk when the call returns. The same request (same
key, or same structure for the same ``task``) is never stored twice.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from castile.active.database import AseDatabase, Transaction
from castile.active.ledger import NEXT, Calculation, State, Transition, require_transition
from castile.errors import InputError
from castile.structures.fingerprints import geometry_hash
from castile.structures.validation import validate_structure

_TABLES = (
    "CREATE TABLE IF NOT EXISTS castile_calculations (id INTEGER PRIMARY KEY, key TEXT NOT NULL, "
    "fingerprint TEXT UNIQUE NOT NULL, origin TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, "
    "reason TEXT NOT NULL, owner TEXT NOT NULL, changed DOUBLE PRECISION NOT NULL)",
    "CREATE TABLE IF NOT EXISTS castile_requests (key TEXT PRIMARY KEY, id INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS castile_transitions (id INTEGER NOT NULL, old_state TEXT, "
    "new_state TEXT NOT NULL, changed DOUBLE PRECISION NOT NULL, reason TEXT NOT NULL)",
)
_NAME = re.compile(r"[^\W\d_][^\x00-\x1f]*")
_COLUMNS = "id, key, origin, state, attempts, reason, owner, changed"


class CalculationStore:
    """Requested calculations, their states and their labels.

    The structures are rows of an ordinary ASE database (``ase db calculations.db``), with the state as a
    key-value pair; only converged and accepted rows hold energies.

    Parameters
    ----------
    url : str or path
        SQLite file that ends in ``.db`` (made if it is not there) or ``postgresql://...``.
    """

    def __init__(self, url: str | Path) -> None:
        self.database = AseDatabase(url)
        with self.database.transaction() as transaction:
            for statement in _TABLES:
                transaction.execute(statement)

    # -- requests

    def request(self, atoms: Atoms, key: str, *, origin: str = "user", task: str = "") -> Calculation:
        """Ask for the labels of a structure; a request that is already there is returned as it stands.

        Parameters
        ----------
        atoms : Atoms
            Elements, positions, cell, periodicity, charges, moments and constraints are stored.
        key : str
            Name of the request, unique in the store.
        origin : str
            What asks for it; stored as ``config_type``.
        task : str
            Which oracle shall compute it: the same structure for another task is another calculation.

        Raises
        ------
        InputError
            For a structure that cannot be computed, or an empty key.
        """
        if not key:
            raise InputError("the key of a request is empty; give a name that is unique in the store")
        if not _NAME.fullmatch(origin):
            raise InputError(
                f"origin {origin!r} of request {key!r}: begin with a letter; no control characters"
            )
        validate_structure(atoms, f"request {key!r}", smallest_distance=0.0)
        fingerprint = structure_fingerprint(atoms, task)
        with self.database.transaction() as transaction:
            known = transaction.fetch("SELECT id FROM castile_requests WHERE key=?", (key,))
            if known:
                return _find(transaction, known[0][0])
            same = transaction.fetch(
                "SELECT id FROM castile_calculations WHERE fingerprint=?", (fingerprint,)
            )
            if same:
                identifier = int(same[0][0])
            else:
                identifier = self._insert(transaction, atoms, key, fingerprint, origin)
            transaction.execute("INSERT INTO castile_requests VALUES (?, ?)", (key, identifier))
            return _find(transaction, identifier)

    def _insert(self, transaction: Transaction, atoms: Atoms, key: str, fingerprint: str, origin: str) -> int:
        identifier = int(_write_row(transaction, atoms, origin, State.QUEUED))
        values = (identifier, key, fingerprint, origin, State.QUEUED.value, 0, "", "", time.time())
        marks = ", ".join("?" * len(values))
        transaction.execute(f"INSERT INTO castile_calculations VALUES ({marks})", values)
        _log(transaction, identifier, None, State.QUEUED, "")
        return identifier

    # -- changes of state

    def claim(self, owner: str, ids: Iterable[int] | None = None) -> Calculation | None:
        """Take the oldest queued calculation (of ``ids``, if given): it is running and belongs to ``owner``.

        Returns None when nothing is queued. Of several processes exactly one gets a calculation.
        """
        wanted = None if ids is None else {int(id) for id in ids}
        with self.database.transaction() as transaction:
            queued = transaction.fetch(
                "SELECT id FROM castile_calculations WHERE state=? ORDER BY id", (State.QUEUED.value,)
            )
            for (identifier,) in queued:
                if wanted is None or identifier in wanted:
                    transaction.execute(
                        "UPDATE castile_calculations SET owner=?, attempts=attempts+1 WHERE id=?",
                        (owner, identifier),
                    )
                    return _change(transaction, identifier, State.RUNNING, "")
            return None

    def requeue(self, id: int, reason: str = "", *, interrupted: bool = False) -> Calculation:
        """Queue a running or failed calculation again; one that was ``interrupted`` has lost no attempt."""
        with self.database.transaction() as transaction:
            if interrupted:
                transaction.execute("UPDATE castile_calculations SET attempts=attempts-1 WHERE id=?", (id,))
            return _change(transaction, id, State.QUEUED, reason)

    def recover(self, owner: str) -> tuple[Calculation, ...]:
        """Queue again what ``owner`` was running when it was killed; returns those calculations."""
        running = [c for c in self.calculations(State.RUNNING) if c.owner == owner]
        return tuple(self.requeue(c.id, "interrupted", interrupted=True) for c in running)

    def record(self, id: int, labelled: Atoms) -> Calculation:
        """Store labels (a calculator with energy, forces, stress): the calculation has converged."""
        with self.database.transaction() as transaction:
            calculation = _change(transaction, id, State.CONVERGED, "")
            _write_row(transaction, labelled, calculation.origin, State.CONVERGED, id)
            return calculation

    def accept(self, id: int) -> Calculation:
        """Accept a converged calculation: it may be trained on."""
        return self._set(id, State.ACCEPTED, "")

    def reject(self, id: int, reason: str) -> Calculation:
        """Reject a converged calculation and take its labels out of the database."""
        with self.database.transaction() as transaction:
            calculation = _change(transaction, id, State.REJECTED, reason)
            bare = transaction.rows.get(id=id).toatoms()
            bare.calc = None
            _write_row(transaction, bare, calculation.origin, State.REJECTED, id)
            return calculation

    def fail(self, id: int, reason: str) -> Calculation:
        """Say that a running calculation failed, and why (with the end of its log)."""
        return self._set(id, State.FAILED, reason)

    def mark_unconverged(self, id: int, reason: str) -> Calculation:
        """Say that a running calculation did not converge."""
        return self._set(id, State.UNCONVERGED, reason)

    def _set(self, id: int, state: State, reason: str) -> Calculation:
        with self.database.transaction() as transaction:
            return _change(transaction, id, state, reason)

    # -- queries

    def calculation(self, id: int) -> Calculation:
        """Return one calculation; raises `InputError` when there is none of this number."""
        with self.database.transaction() as transaction:
            return _find(transaction, id)

    def calculations(self, *states: State, prefix: str = "") -> tuple[Calculation, ...]:
        """Return all calculations (in these states, if any are given) in the order of the requests.

        With a ``prefix``: those that were requested under a key that begins with it.
        """
        where, values = "", tuple[Any, ...]()
        if prefix:
            where = " WHERE id IN (SELECT id FROM castile_requests WHERE substr(key, 1, ?) = ?)"
            values = (len(prefix), prefix)
        with self.database.transaction() as transaction:
            rows = transaction.fetch(
                f"SELECT {_COLUMNS} FROM castile_calculations{where} ORDER BY id", values
            )
        found = tuple(_calculation(row) for row in rows)
        return tuple(c for c in found if not states or c.state in states)

    def find(self, key: str) -> Calculation | None:
        """Return the calculation of a request, None if there was no such request."""
        with self.database.transaction() as transaction:
            known = transaction.fetch("SELECT id FROM castile_requests WHERE key=?", (key,))
            return _find(transaction, known[0][0]) if known else None

    def fingerprints(self, prefix: str = "") -> frozenset[str]:
        """Return `structure_fingerprint` of all calculations that were requested under this prefix."""
        statement = (
            "SELECT fingerprint FROM castile_calculations WHERE id IN "
            "(SELECT id FROM castile_requests WHERE substr(key, 1, ?) = ?)"
        )
        with self.database.transaction() as transaction:
            return frozenset(row[0] for row in transaction.fetch(statement, (len(prefix), prefix)))

    def counts(self, prefix: str = "") -> dict[State, int]:
        """Return the number of calculations (requested under this prefix) in every state."""
        calculations = self.calculations(prefix=prefix)
        return {state: sum(c.state is state for c in calculations) for state in State}

    def structure(self, id: int) -> Atoms:
        """Return the structure of a calculation, with its labels if it has converged."""
        return self.structures([id])[0]

    def structures(self, ids: Sequence[int]) -> list[Atoms]:
        """Return several structures; ``info`` has ``calculation_id`` and ``config_type`` (the origin)."""
        structures = []
        with self.database.transaction() as transaction:
            for identifier in ids:
                calculation = _find(transaction, identifier)
                atoms = transaction.rows.get(id=int(identifier)).toatoms()
                atoms.info = {"calculation_id": calculation.id, "config_type": calculation.origin}
                structures.append(atoms)
        return structures

    def accepted(self) -> list[Atoms]:
        """Return all structures that may be trained on, in the order of the requests."""
        return self.structures([c.id for c in self.calculations(State.ACCEPTED)])

    def history(self, id: int | None = None) -> tuple[Transition, ...]:
        """Return every change of state (of one calculation, if given) in the order of time."""
        where, values = ("", ()) if id is None else (" WHERE id=?", (int(id),))
        with self.database.transaction() as transaction:
            rows = transaction.fetch(
                "SELECT id, old_state, new_state, changed, reason "
                f"FROM castile_transitions{where} ORDER BY changed",
                values,
            )
        return tuple(
            Transition(int(i), State(before) if before else None, State(after), float(when), reason)
            for i, before, after, when, reason in rows
        )


def structure_fingerprint(atoms: Atoms, task: str) -> str:
    """Return a hash of what an oracle sees of a structure, and of the task."""
    digest = hashlib.blake2b(geometry_hash(atoms), digest_size=16)
    for array in (atoms.get_initial_magnetic_moments(), atoms.get_initial_charges()):
        digest.update(array.astype("<f8").tobytes())
    digest.update(task.encode())
    return digest.hexdigest()


def _write_row(
    transaction: Transaction, atoms: Atoms, origin: str, state: State, id: int | None = None
) -> Any:
    """Write structure and labels as a row of ASE's database; returns its number."""
    pairs: dict[str, Any] = {"state": state.value, "config_type": origin}
    return transaction.rows.write(atoms, key_value_pairs=pairs, id=id)


def _change(transaction: Transaction, id: int, state: State, reason: str) -> Calculation:
    """Change the state in the ledger and in the row; the condition on the old state makes it atomic."""
    before = _find(transaction, id).state
    require_transition(id, before, state)
    changed = transaction.execute(
        "UPDATE castile_calculations SET state=?, reason=?, changed=? WHERE id=? AND state=?",
        (state.value, reason, time.time(), int(id), before.value),
    )
    if changed != 1:
        raise InputError(f"calculation {id} is no longer {before}; another program changed it")
    transaction.rows.update(int(id), state=state.value)
    _log(transaction, id, before, state, reason)
    return _find(transaction, id)


def _log(transaction: Transaction, id: int, before: State | None, after: State, reason: str) -> None:
    values = (int(id), None if before is None else before.value, after.value, time.time(), reason)
    transaction.execute("INSERT INTO castile_transitions VALUES (?, ?, ?, ?, ?)", values)


def _find(transaction: Transaction, id: int) -> Calculation:
    rows = transaction.fetch(f"SELECT {_COLUMNS} FROM castile_calculations WHERE id=?", (int(id),))
    if not rows:
        raise InputError(f"there is no calculation {id} in the store")
    return _calculation(rows[0])


def _calculation(row: tuple[Any, ...]) -> Calculation:
    identifier, key, origin, state, attempts, reason, owner, changed = row
    return Calculation(
        int(identifier), key, origin, State(state), int(attempts), reason, owner, float(changed)
    )


__all__ = ["NEXT", "Calculation", "CalculationStore", "State", "Transition", "structure_fingerprint"]
