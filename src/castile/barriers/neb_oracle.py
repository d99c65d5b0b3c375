"""The oracle of a band: every calculation goes through the store and its ledger, none is repeated."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from castile.active.labelling import Labeller
from castile.active.ledger import OPEN, Calculation, State
from castile.active.oracle_settings import OracleSettings
from castile.active.settings_base import parse_section
from castile.active.store import CalculationStore
from castile.errors import InputError, SimulationError
from castile.execution.task_pool import TaskPool

PRESETS = ("tblite", "espresso", "pyscf", "unep", "emt")


def read_oracle(text: str | Path) -> OracleSettings:
    """Return the oracle of a name or a TOML file.

    Parameters
    ----------
    text : str or path
        A preset ("emt"), the class of an ASE calculator ("package.module.Class"), or a TOML file with the
        table ``[oracle]`` of a campaign (or its keys alone); the calculator's module is also searched in the
        folder of the file, and options that begin with "./" are files there.

    Raises
    ------
    InputError
        Naming what is wrong.
    """
    name = str(text)
    if not name.endswith(".toml"):
        if name in PRESETS:
            return OracleSettings.model_validate({"preset": name})
        if "." in name and "/" not in name:
            values = {"calculator": name, "python_path": (str(Path.cwd()),)}
            return parse_section(OracleSettings, values, f"oracle {name}")
        raise InputError(
            f"oracle {name!r}: give {', '.join(PRESETS)}, the class of an ASE calculator "
            "('package.module.Class'), or a TOML file"
        )
    path = Path(name)
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"oracle {path}: there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"oracle {path}: not TOML ({error})") from None
    table = content.get("oracle", content)
    settings = parse_section(OracleSettings, table, str(path))
    folder = path.resolve().parent
    places = (str(folder), *(str(folder / place) for place in settings.python_path))
    options = {key: _place(value, folder) for key, value in settings.options.items()}
    return settings.model_copy(update={"python_path": places, "options": options})


def _place(value: Any, folder: Path) -> Any:
    """Return "./name" as an absolute path: the oracle runs in a folder of its own."""
    return str((folder / value).resolve()) if isinstance(value, str) and value.startswith("./") else value


@dataclass(frozen=True)
class PathOracle:
    """Labels for one band.

    Attributes
    ----------
    store : CalculationStore
    labeller : Labeller
    identity : str
        Of the band: prefix of its keys in the store and owner of its calculations.
    interrupted : callable
        Whether no further calculation shall begin.
    settled : callable
        Called with every calculation that has settled.
    """

    store: CalculationStore
    labeller: Labeller
    identity: str
    interrupted: Callable[[], bool]
    settled: Callable[[Calculation], None]

    @classmethod
    def open(
        cls,
        url: str,
        jobs: Path,
        oracle: OracleSettings,
        pool: TaskPool,
        identity: str,
        interrupted: Callable[[], bool],
        settled: Callable[[Calculation], None],
    ) -> PathOracle:
        """Open the store and finish what a killed program has left."""
        store = CalculationStore(url)
        labeller = Labeller(store, jobs, oracle, pool, identity)
        band = cls(store, labeller, identity, interrupted, settled)
        labeller.recover()
        band._run([c.id for c in store.calculations(*OPEN, prefix=f"{identity}/")])
        return band

    def ask(self, requests: Iterable[tuple[str, Atoms]]) -> list[Calculation]:
        """Compute structures under their keys, or find them computed; the outcome may be a failure.

        Raises
        ------
        KeyboardInterrupt
            When an interruption was requested before all had settled.
        """
        task = self.labeller.oracle.task
        ids = [
            self.store.request(atoms, self._key(key), origin="neb", task=task).id for key, atoms in requests
        ]
        self._run(ids)
        return [self.store.calculation(identifier) for identifier in ids]

    def _run(self, ids: list[int]) -> None:
        if any(self.store.calculation(identifier).state in OPEN for identifier in ids):
            self.labeller.label(ids, self.settled, self.interrupted)
        if any(self.store.calculation(identifier).state in OPEN for identifier in ids):
            interruption = KeyboardInterrupt()
            interruption.add_note("The same command goes on where it ended.")
            raise interruption

    def require(self, key: str, atoms: Atoms) -> Atoms:
        """Return a structure with labels.

        Raises
        ------
        SimulationError
            When the calculation failed, with its reason.
        """
        (calculation,) = self.ask([(key, atoms)])
        if calculation.state is not State.ACCEPTED:
            raise SimulationError(
                f"the oracle's calculation of {key} is {calculation.state}: {calculation.reason}"
            )
        return self.labelled(calculation)

    def labelled(self, calculation: Calculation) -> Atoms:
        """Return the structure of a calculation with its labels."""
        return self.store.structure(calculation.id)

    def under(self, prefix: str) -> tuple[Calculation, ...]:
        """Return the calculations of this band whose keys begin with ``prefix``."""
        return self.store.calculations(prefix=self._key(prefix))

    def _key(self, key: str) -> str:
        return f"{self.identity}/{key}"
