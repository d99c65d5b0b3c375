"""Real oracles that count what they execute, and stores of both kinds."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk

from castile.active.oracle_settings import OracleSettings
from castile.active.oracles import close_oracle_processes

FOLDER = Path(__file__).parent


@pytest.fixture(autouse=True, scope="session")
def oracle_processes_end() -> Iterator[None]:
    """No process is left behind."""
    yield
    close_oracle_processes()


@pytest.fixture
def copper() -> Atoms:
    """Four rattled copper atoms."""
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.08, seed=3)
    return atoms


@pytest.fixture
def counting(tmp_path: Path) -> OracleSettings:
    """Effective medium theory that writes a line to executions.log for every calculation."""
    return OracleSettings(
        calculator="counting_oracles.CountingEMT",
        options={"log": str(tmp_path / "executions.log")},
        python_path=(str(FOLDER),),
        timeout_s=60,
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server that runs for these tests, as a user without privileges."""
    pytest.importorskip("psycopg2", reason="psycopg2 is missing: pip install 'castile[postgres]'")
    pytest.importorskip(
        "ase_db_backends", reason="ase-db-backends is missing: pip install 'castile[postgres]'"
    )
    places = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    programs = {name: shutil.which(name, path=os.pathsep.join(places)) for name in ("initdb", "postgres")}
    for name, path in programs.items():
        if path is None:
            pytest.skip(f"{name} is missing: apt-get install postgresql")
    root = os.geteuid() == 0
    user = "nobody" if root else None
    folder = Path("/tmp", f"castile-postgres-{os.getpid()}") if root else tmp_path_factory.mktemp("postgres")
    folder.mkdir(exist_ok=True, mode=0o755)
    if root:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": folder}
    setup = [programs["initdb"], "-D", str(data), "-U", "castile", "-A", "trust", "--no-sync"]
    subprocess.run(setup, check=True, **quiet)
    command = [programs["postgres"], "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
    command += ["-c", "fsync=off"]
    server = subprocess.Popen(command, **quiet)
    try:
        _wait_for(port, server)
        yield f"postgresql://castile@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, server: subprocess.Popen) -> None:
    import psycopg2

    for _ in range(200):
        assert server.poll() is None, "the PostgreSQL server ended"
        try:
            psycopg2.connect(f"postgresql://castile@127.0.0.1:{port}/postgres").close()
            return
        except psycopg2.OperationalError:
            time.sleep(0.05)
    raise AssertionError("the PostgreSQL server does not answer")
