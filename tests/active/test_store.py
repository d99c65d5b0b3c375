"""The store: the ledger is right, changes are durable and atomic, in SQLite and in PostgreSQL."""

import multiprocessing
import resource
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.db import connect

from castile.active.ledger import NEXT, State
from castile.active.store import CalculationStore
from castile.errors import InputError


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty store."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    server = request.getfixturevalue("postgres")
    import psycopg2

    name = f"test_{abs(hash(request.node.name)) % 10**12}"
    connection = psycopg2.connect(server)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return server.replace("/postgres", f"/{name}")


def labelled(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = EMT()
    copy.get_forces()
    copy.get_stress()
    return copy


def test_a_calculation_goes_through_its_states_and_keeps_every_digit(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    requested = store.request(copper, "md 1", origin="hot run")
    assert (requested.state, requested.attempts) == (State.QUEUED, 0)
    running = store.claim("me")
    assert (running.id, running.state, running.owner, running.attempts) == (requested.id, "running", "me", 1)
    assert store.claim("you") is None
    store.record(running.id, labelled(copper))
    assert store.accepted() == []
    store.accept(running.id)
    (accepted,) = CalculationStore(url).accepted()
    assert np.array_equal(accepted.positions, copper.positions)
    assert np.array_equal(accepted.get_forces(), labelled(copper).get_forces())
    assert accepted.get_potential_energy() == labelled(copper).get_potential_energy()
    assert np.array_equal(accepted.get_stress(), labelled(copper).get_stress())
    assert accepted.info == {"calculation_id": 1, "config_type": "hot run"}
    states = [(change.before, change.after) for change in store.history(requested.id)]
    assert states == [
        (None, "queued"),
        ("queued", "running"),
        ("running", "converged"),
        ("converged", "accepted"),
    ]


def test_rows_are_those_of_an_ase_database_with_the_state(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    for number in range(3):
        moved = copper.copy()
        moved.positions[0, 0] += 0.01 * number
        store.request(moved, f"k{number}", origin="pool")
    store.record(store.claim("me").id, labelled(copper))
    database = connect(url, use_lock_file=False)
    assert [row.id for row in database.select(state="queued")] == [2, 3]
    (row,) = database.select(state="converged")
    assert row.energy == labelled(copper).get_potential_energy()
    assert row.config_type == "pool"


def test_same_request_is_stored_once(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    first = store.request(copper, "a", task="tblite")
    assert store.request(copper, "a", task="tblite").id == first.id
    assert store.request(copper, "b", task="tblite").id == first.id
    assert store.find("b").id == first.id
    assert store.request(copper, "c", task="dft").id != first.id
    assert len(store.calculations()) == 2


def test_rejected_and_failed_rows_hold_no_labels(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    first = store.request(copper, "a")
    second = store.request(copper[:3], "b")
    store.claim("me", [second.id])
    store.fail(second.id, "boom\nend of log")
    store.claim("me")
    store.record(first.id, labelled(copper))
    store.reject(first.id, "absurd")
    assert store.structure(first.id).calc is None
    assert np.array_equal(store.structure(first.id).positions, copper.positions)
    assert store.counts() == {**dict.fromkeys(State, 0), State.REJECTED: 1, State.FAILED: 1}
    assert store.calculation(second.id).reason == "boom\nend of log"
    assert store.accepted() == []


def test_interrupted_calculations_are_queued_again_and_lose_no_attempt(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    one, two = store.request(copper, "a"), store.request(copper[:2], "b")
    store.claim("me", [one.id])
    store.claim("you", [two.id])
    (recovered,) = CalculationStore(url).recover("me")
    assert (recovered.id, recovered.state, recovered.attempts) == (one.id, "queued", 0)
    assert store.calculation(two.id).state is State.RUNNING


@pytest.mark.parametrize("state", State)
def test_no_state_follows_that_may_not(state: State, tmp_path: Path, copper: Atoms) -> None:
    store = CalculationStore(tmp_path / "store.db")
    identifier = store.request(copper, "a").id
    changes = {
        State.QUEUED: lambda: store.requeue(identifier),
        State.CONVERGED: lambda: store.record(identifier, labelled(copper)),
        State.ACCEPTED: lambda: store.accept(identifier),
        State.REJECTED: lambda: store.reject(identifier, "x"),
        State.FAILED: lambda: store.fail(identifier, "x"),
        State.UNCONVERGED: lambda: store.mark_unconverged(identifier, "x"),
    }
    path = {
        State.QUEUED: [], State.RUNNING: [], State.CONVERGED: ["converged"], State.FAILED: ["failed"],
        State.UNCONVERGED: ["unconverged"], State.ACCEPTED: ["converged", "accepted"],
        State.REJECTED: ["converged", "rejected"],
    }[state]  # fmt: skip
    if state is not State.QUEUED:
        store.claim("me")
    for step in path:
        changes[State(step)]()
    before = store.history()
    for after in set(changes) - NEXT[state]:
        with pytest.raises(InputError, match=f"is {state} and cannot become {after}"):
            changes[after]()
    assert store.history() == before


def _claim_all(url: str, name: str, start: object, results: object) -> None:
    store = CalculationStore(url)
    start.wait()
    while (calculation := store.claim(name)) is not None:
        results.put((name, calculation.id))
    results.put((name, None))


def test_two_processes_never_claim_the_same(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    for number in range(12):
        moved = copper.copy()
        moved.positions[0, 0] += 0.01 * number
        store.request(moved, f"k{number}")
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_claim_all, args=(url, name, start, results)) for name in ("one", "two")
    ]
    for process in processes:
        process.start()
    claims, ended = [], 0
    while ended < 2:
        name, identifier = results.get(timeout=60)
        ended += identifier is None
        claims += [] if identifier is None else [(name, identifier)]
    for process in processes:
        process.join()
    assert sorted(identifier for _, identifier in claims) == list(range(1, 13))
    assert all(c.owner == dict((i, n) for n, i in claims)[c.id] for c in store.calculations())


def test_a_transaction_that_breaks_off_leaves_nothing(url: str, copper: Atoms) -> None:
    store = CalculationStore(url)
    store.request(copper, "a")
    with pytest.raises(RuntimeError), store.database.transaction() as transaction:  # noqa: PT012
        transaction.execute("UPDATE castile_calculations SET state='running'")
        transaction.rows.write(copper)
        raise RuntimeError
    assert store.calculations()[0].state is State.QUEUED
    with store.database.transaction() as transaction:
        assert transaction.rows.count() == 1


def test_commits_are_forced_to_the_disk(tmp_path: Path, copper: Atoms) -> None:
    store = CalculationStore(tmp_path / "store.db")
    with store.database.transaction() as transaction:
        assert transaction.fetch("PRAGMA synchronous") == [(2,)]
        assert transaction.fetch("PRAGMA journal_mode") == [("delete",)]
    other = sqlite3.connect(tmp_path / "store.db")
    store.request(copper, "a")
    assert other.execute("SELECT count(*) FROM castile_calculations").fetchone() == (1,)
    other.close()


def test_bad_names_are_refused(tmp_path: Path, copper: Atoms) -> None:
    with pytest.raises(InputError, match=r"ends in \.db, or postgresql://"):
        CalculationStore(tmp_path / "store.json")
    with pytest.raises(InputError, match="there is no folder"):
        CalculationStore(tmp_path / "nowhere" / "store.db")
    store = CalculationStore(tmp_path / "store.db")
    with pytest.raises(InputError, match="origin '12'"):
        store.request(copper, "a", origin="12")
    with pytest.raises(InputError, match="key of a request is empty"):
        store.request(copper, "")
    with pytest.raises(InputError, match="there is no calculation 7"):
        store.calculation(7)


def test_a_server_that_does_not_answer_is_named() -> None:
    pytest.importorskip("psycopg2", reason="psycopg2 is missing: pip install 'castile[postgres]'")
    with pytest.raises(InputError, match=r"nobody:\.\.\.@127.* cannot be opened") as error:
        CalculationStore("postgresql://nobody:secret@127.0.0.1:1/none")
    assert "secret" not in str(error.value)


def test_a_full_disk_is_a_message_and_loses_nothing(tmp_path: Path, copper: Atoms) -> None:
    store = CalculationStore(tmp_path / "store.db")
    store.request(copper, "a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "store.db").stat().st_size, hard))
    try:
        with pytest.raises(
            InputError, match=r"store\.db: cannot be opened or written .* same command goes on"
        ):
            [store.request(copper * (1 + number, 1, 1), f"b {number}") for number in range(200)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    known = store.calculations()
    assert store.request(copper * (1, 1, 300), "c").id == known[-1].id + 1


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("these are notes, and no database at all\n" * 100)
    with pytest.raises(InputError, match="not a database"):
        CalculationStore(tmp_path / "store.db")
