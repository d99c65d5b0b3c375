"""`neb`: a barrier from its two ends and an oracle, with as few calculations as a surrogate needs.

The band itself is ASE's climbing-image nudged elastic band; it runs on a Gaussian process of the energies and
forces that the oracle has given so far. The oracle is asked at the climbing image and where the process knows
least, one structure at a time.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from castile.active.ledger import Calculation, State
from castile.active.oracle_settings import OracleSettings
from castile.active.oracles import close_oracle_processes
from castile.barriers.neb_ends import prepare_ends
from castile.barriers.neb_files import write_result
from castile.barriers.neb_oracle import PathOracle, read_oracle
from castile.barriers.neb_profile import make_result
from castile.barriers.neb_relaxation import relax_end
from castile.barriers.neb_result import NebResult
from castile.barriers.neb_search import BandSearch, NebProgress, SearchOutcome
from castile.barriers.neb_settings import NebSettings
from castile.barriers.neb_surprises import SurpriseFile
from castile.barriers.neb_surrogates import PathSurrogate, build_surrogate
from castile.errors import InputError
from castile.execution.task_pool import Workers, open_task_pool
from castile.formats.text_file import write_text_file
from castile.potentials.gap import GAP
from castile.simulation.interruption import InterruptionRequest
from castile.structures.fingerprints import geometry_hash

STATE, STORE, JOBS, SURPRISES = "state.json", "calculations.db", "jobs", "surprises.json"
FURTHER = 4
"""Last steps of the relaxation of an end that the surrogate learns too."""


@dataclass(frozen=True)
class NebEvents:
    """Called on the way: with every calculation that has settled, and after every band on the surrogate."""

    settled: Callable[[Calculation], None] = lambda calculation: None
    progress: Callable[[NebProgress], None] = lambda progress: None


def neb(
    initial: Atoms,
    final: Atoms,
    oracle: OracleSettings | str | Path,
    directory: str | Path,
    settings: NebSettings | None = None,
    *,
    model: GAP | None = None,
    store: str | Path | None = None,
    path_id: str | None = None,
    workers: Workers = None,
    events: NebEvents | None = None,
) -> NebResult:
    """Find the minimum-energy path between two minima and its barrier; called again, it goes on.

    After an interruption or ``kill -9`` the same call in the same directory repeats no finished calculation.
    It holds ``path.xyz``, ``neb.json``, the store ``calculations.db`` and the folders of the calculations.

    Parameters
    ----------
    initial, final : Atoms
        Relaxed minima (or see ``settings.relax_ends``), atoms in the same order and in the same cell. The
        constraints of ``initial`` hold along the path.
    oracle : OracleSettings, str or path
        As for a campaign; text as for `read_oracle`.
    directory : str or path
        Of this band alone; made if it is not there.
    settings : NebSettings, optional
    model : GAP, optional
        Where the surrogate begins: its predictions are the mean of the Gaussian process (for ``soap``: it is
        updated).
    store : str or path, optional
        Another store, shared with other bands or campaigns: a ``.db`` file or ``postgresql://...``.
    path_id : str, optional
        Of the written path; default: the name of the directory.
    workers : int or str, optional
        Where the oracle runs, as for campaigns.
    events : NebEvents, optional

    Raises
    ------
    InputError
        For ends that do not fit, a directory of another band, or one in which another process works.
    SimulationError
        When the oracle fails at an end or too often on the path.
    """
    settings, events = settings or NebSettings(), events or NebEvents()
    chosen = oracle if isinstance(oracle, OracleSettings) else read_oracle(oracle)
    first, last = prepare_ends(initial, final)
    surrogate = build_surrogate(first, settings.surrogate, model)
    folder = Path(directory)
    with _working_in(folder), InterruptionRequest() as interruption, open_task_pool(workers) as pool:
        asked = PathOracle.open(
            str(store or (folder / STORE).resolve()), (folder / JOBS).resolve(), chosen, pool,
            _identity(folder, first, last, chosen), lambda: interruption.requested, events.settled,
        )  # fmt: skip
        outcome = _search(first, last, asked, surrogate, settings, folder, events)
        result = make_result(outcome, surrogate, asked, path_id or folder.resolve().name)
        write_result(folder, result)
        return result


def _search(
    first: Atoms,
    last: Atoms,
    asked: PathOracle,
    surrogate: PathSurrogate,
    settings: NebSettings,
    folder: Path,
    events: NebEvents,
) -> SearchOutcome:
    """Label the ends, relaxed before where that is wanted, and search for the band between them."""
    try:
        if settings.relax_ends:
            first = relax_end(first, asked, "initial", settings.end_force)
            last = relax_end(last, asked, "final", settings.end_force)
        ends = (asked.require("end initial", first), asked.require("end final", last))
        further = _last_steps(asked) if settings.relax_ends else []
        surprises = SurpriseFile(folder / SURPRISES)
        return BandSearch(ends, further, asked, surrogate, settings, surprises, events.progress).run()
    finally:
        close_oracle_processes()


def _last_steps(asked: PathOracle) -> list[Atoms]:
    """Return the last steps of both relaxations, the minima themselves left out."""
    steps = []
    for end in ("initial", "final"):
        calculations = [c for c in asked.under(f"relax {end} ") if c.state is State.ACCEPTED]
        steps += [asked.labelled(c) for c in calculations[-1 - FURTHER : -1]]
    return steps


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Context in which no other process works in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another process works on this band; wait for it or end it") from None
        yield


def _identity(folder: Path, first: Atoms, last: Atoms, oracle: OracleSettings) -> str:
    """Return the name of the band in the store: made at the first start, checked at every other."""
    path = folder / STATE
    wanted = {
        "initial": geometry_hash(first).hex(),
        "final": geometry_hash(last).hex(),
        "oracle": oracle.task,
    }
    if not path.exists():
        state = wanted | {"identity": f"neb-{uuid.uuid4().hex[:12]}"}
        write_text_file(path, json.dumps(state, indent=1) + "\n")
        return state["identity"]
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in wanted.items() if state[name] != value]
        identity = str(state["identity"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the state of a band ({error}); choose another directory") from None
    if different:
        raise InputError(
            f"{folder} holds a band with another {' and '.join(different)}; choose another "
            "directory, or delete it"
        )
    return identity
