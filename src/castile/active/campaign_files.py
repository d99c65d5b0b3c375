"""The directory of a campaign: who works in it, where everything is, and the state that survives a kill."""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from castile.active.store import CalculationStore
from castile.errors import InputError
from castile.formats import write_text_file

STATE_VERSION = 1


@dataclass(frozen=True)
class CampaignState:
    """What the ledger, the models and the explorers do not say.

    Attributes
    ----------
    identity : str
        Under which calculations are requested and claimed.
    cycle : int
        Pass through the explorers, from 0.
    seconds : float
        Work of all starts so far.
    stopped : str
        Why the campaign has ended; empty while it has not.
    target_met : bool
    predicted_error, verified_error : float or None
        Root mean square error of forces, eV/A, at the end of the last cycle: estimated, and against labels.
    """

    identity: str
    cycle: int = 0
    seconds: float = 0.0
    stopped: str = ""
    target_met: bool = False
    predicted_error: float | None = None
    verified_error: float | None = None


class CampaignFiles:
    """Paths of a campaign.

    Parameters
    ----------
    directory : str or path
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.state_file = self.directory / "state.json"
        self.settings_file = self.directory / "settings.json"
        self.jobs = self.directory / "jobs"
        self.models = self.directory / "models"
        self.explorers = self.directory / "explorers"
        self.model = self.directory / "model.castile"
        self.report = self.directory / "report.html"
        self._entered: float | None = None

    @property
    def exists(self) -> bool:
        """Whether a campaign was begun here."""
        return self.state_file.exists()

    def begin(self, settings_text: str) -> CampaignState:
        """Make the directory, or check that it belongs to these settings; return the state.

        Raises
        ------
        InputError
            If the directory holds a campaign with other settings that decide what was computed. Where nothing
            was asked for yet, as after a start that ended at a misspelt name, all settings may change.
        """
        for folder in (self.directory, self.jobs, self.models, self.explorers):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.exists:
            self.write_state(CampaignState(f"campaign-{uuid.uuid4().hex[:12]}"))
            write_text_file(self.settings_file, settings_text)
        elif not self.settings_file.exists():
            write_text_file(self.settings_file, settings_text)
        else:
            self._require_same(json.loads(settings_text))
            write_text_file(self.settings_file, settings_text)
        return self.read_state()

    def _require_same(self, settings: dict[str, object]) -> None:
        stored = json.loads(self.settings_file.read_text(encoding="utf-8"))
        for key in ("oracle", "initial", "explore", "seed", "store"):
            one, two = stored.get(key), settings.get(key)
            if key == "oracle":
                one, two = _essential(one), _essential(two)
            roots = Path(str(stored.get("directory"))), Path(str(settings.get("directory")))
            if not _same(one, two, roots):
                if self._is_untouched(stored):
                    return
                raise InputError(
                    f"{self.directory}: was begun with other settings of {key!r}; name another directory, or "
                    "delete this one"
                )

    def _is_untouched(self, stored: dict[str, object]) -> bool:
        """Whether no calculation was asked for, so that nothing depends on the settings yet."""
        if any(self.jobs.iterdir()) or any(self.models.iterdir()):
            return False
        store = str(stored.get("store"))
        if "://" not in store and not Path(store).exists():  # never made, or moved with the directory
            return not (self.directory / Path(store).name).exists()
        try:
            return not CalculationStore(store).calculations(prefix=f"{self.read_state().identity}/")
        except InputError:  # a store that cannot be opened has not been written to either
            return True

    def read_state(self) -> CampaignState:
        """Return the state; raises `InputError` where no campaign was begun."""
        try:
            content = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{self.directory}: there is no campaign; start one with castile learn, and give its "
                "directory (by default the name of the TOML file without .toml)"
            ) from None
        if content.pop("version", 0) > STATE_VERSION:
            raise InputError(f"{self.state_file}: is of a newer version; update Castile")
        return CampaignState(**content)

    def write_state(self, state: CampaignState) -> CampaignState:
        """Replace the state, with the time worked since the last call added; returns it."""
        state = replace(state, seconds=self.seconds_worked(state))
        if self._entered is not None:
            self._entered = time.monotonic()
        text = json.dumps({"version": STATE_VERSION, **asdict(state)}, indent=1) + "\n"
        write_durable(self.state_file, text.encode())
        return state

    def seconds_worked(self, state: CampaignState) -> float:
        """Return the work of all starts until now, s."""
        return state.seconds + (0.0 if self._entered is None else time.monotonic() - self._entered)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Context of the one process that works in the directory.

        Raises
        ------
        InputError
            If another process does.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                f"{self.directory}: is a file, and the campaign needs a directory of this name; name another "
                "with 'directory', or give the TOML file a suffix"
            ) from None
        with (self.directory / "lock").open("w") as lock:
            if not _locked(lock):
                raise InputError(
                    f"{self.directory}: another process works on this campaign; wait for it or end it"
                )
            self._entered = time.monotonic()
            yield

    @property
    def is_running(self) -> bool:
        """Whether a process works in the directory."""
        try:
            with (self.directory / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _locked(lock: IO[str]) -> bool:
    """Take a lock, if need be within a second: ``castile status`` holds it for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _same(one: object, two: object, roots: tuple[Path, Path]) -> bool:
    """Whether settings agree; paths also where they are the same as seen from the campaign's directory, which
    may have moved together with what it reads.
    """
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key], roots) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_same(a, b, roots) for a, b in zip(one, two, strict=True))
    if isinstance(one, str) and isinstance(two, str) and os.path.isabs(one) and os.path.isabs(two):
        return one == two or os.path.relpath(one, roots[0]) == os.path.relpath(two, roots[1])
    return one == two


def _essential(oracle: object) -> object:
    """Leave out what may change between two starts."""
    assert isinstance(oracle, dict)
    free = ("timeout_s", "retries", "threads", "python_path", "max_force", "contact_fraction")
    return {key: value for key, value in oracle.items() if key not in free}


def write_durable(path: Path, content: bytes) -> None:
    """Replace a file in one step and force it to the disk."""
    partial = path.with_name(f".{path.name}.tmp")
    with partial.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


class GrowingFile:
    """A text file that is appended to and cut back to what a checkpoint knows of.

    Parameters
    ----------
    path : Path
    header : str
        First line of a new file.
    length : int, optional
        Bytes to keep; None: a new file.
    """

    def __init__(self, path: Path, header: str = "", length: int | None = None) -> None:
        self.path = path
        self._pending: list[str] = []
        if length is None or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(header, encoding="utf-8")
        elif path.stat().st_size > length:
            with path.open("rb+") as handle:
                handle.truncate(length)

    def append(self, text: str) -> None:
        """Add text, which is written with the next `sync`."""
        self._pending.append(text)

    def sync(self) -> int:
        """Force everything to the disk and return the length in bytes."""
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write("".join(self._pending))
            self._pending.clear()
            handle.flush()
            os.fsync(handle.fileno())
            return handle.tell()
