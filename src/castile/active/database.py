"""Transactions on an ASE database: SQLite file or PostgreSQL server."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ase.db import connect

from castile.errors import InputError

POSTGRES = ("postgresql://", "postgres://")
_ADVISORY_LOCK = 7061843
"""Any number that all programs that write to the ledger agree on."""


class AseDatabase:
    """An ASE database in which several rows and tables change together or not at all.

    ASE itself commits row by row. Here all writers wait for each other (``BEGIN IMMEDIATE`` in SQLite, an
    advisory lock in PostgreSQL), so that a claim is atomic and a new row gets the number that is reported.
    SQLite forces every commit to the disk (``synchronous = FULL``); no lock file is used, because one that a
    killed process leaves behind would block the next.

    Parameters
    ----------
    url : str or path
        ``postgresql://user@host:port/database`` or the path of a file that ends in ``.db``.

    Raises
    ------
    InputError
        If the name has another form, its folder is missing, or PostgreSQL's client is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self.is_postgres = self.url.startswith(POSTGRES)
        self._lock = threading.RLock()
        self._database: Any = self._connect()

    def _connect(self) -> Any:
        if self.is_postgres:
            try:
                return connect(self.url, type="postgresql", use_lock_file=False)
            except ImportError as error:
                raise InputError(
                    f"store {self.url}: PostgreSQL needs 'pip install castile[postgres]' ({error})"
                ) from None
        path = Path(self.url)
        if "://" in self.url or path.suffix != ".db":
            raise InputError(
                f"store {self.url!r}: give a file that ends in .db, or postgresql://user@host:port/database"
            )
        if not path.parent.is_dir():
            raise InputError(f"store {path}: there is no folder {path.parent}; make it first")
        return connect(str(path), type="db", use_lock_file=False)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Context in which everything is written when it ends, or nothing if it ends with an error.

        Raises
        ------
        InputError
            If the server cannot be reached any more, the disk is full, or the file may not be written.
        """
        with self._lock, self._explained():
            connection = self._open()
            self._database.connection = connection
            self._database.change_count = 0
            try:
                yield Transaction(self._database, connection)
                connection.commit()
            except BaseException:
                with suppress(Exception):  # a connection that is lost has rolled back by itself
                    getattr(connection, "con", connection).rollback()
                raise
            finally:
                self._database.connection = None
                with suppress(Exception):
                    connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Context in which errors of the database itself become messages."""
        try:
            yield
        except Exception as error:
            if type(error).__name__ not in ("OperationalError", "InterfaceError", "DatabaseError"):
                raise
            place = f"store {_without_password(self.url)}"
            raise InputError(
                f"{place}: cannot be opened or written ({str(error).strip()}); nothing that was entered "
                "before is lost, and when this is mended the same command goes on"
            ) from error

    def _open(self) -> Any:
        connection = self._database._connect()
        if self.is_postgres:  # held until the connection closes; ASE commits when it makes its tables
            connection.cursor().execute("SELECT pg_advisory_lock(?)", (_ADVISORY_LOCK,))
            self._database._initialize(connection)
            return connection
        connection.isolation_level = None  # transactions begin and end here, not where Python guesses
        connection.execute("PRAGMA busy_timeout = 60000")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        self._database._initialize(connection)
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        return connection


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:...@", url)


class Transaction:
    """What may be done between the beginning and the end of a transaction; ``rows`` is ASE's database."""

    def __init__(self, rows: Any, connection: Any) -> None:
        self.rows = rows
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run an SQL statement with ``?`` for values; returns the number of rows that it changed."""
        cursor = self._connection.cursor()
        cursor.execute(statement, tuple(values))
        return int(getattr(cursor, "cur", cursor).rowcount)

    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        cursor = self._connection.cursor()
        cursor.execute(statement, tuple(values))
        return [tuple(row) for row in cursor.fetchall()]
