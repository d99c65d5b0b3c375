"""Settings of a campaign, read from a TOML file."""

from __future__ import annotations

import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from castile.active.oracle_settings import OracleSettings
from castile.active.settings_base import AtLeastOne, Count, Positive, Section, parse_section
from castile.errors import InputError
from castile.potentials.settings import FitSettings, parse_settings


class InitialSettings(Section):
    """The structures of the first model."""

    structures: tuple[str, ...] = Field(
        (), description="files; default: the structures that the explorers start from"
    )
    n_rattled: Count = Field(
        4,
        description="rattled copies of each structure; not given: no more than half of stop.max_calculations",
    )
    rattle: Positive = Field(0.05, description="standard deviation of the displacements, Angstrom")
    strain: float = Field(0.02, ge=0.0, lt=0.3, description="largest strain of rattled crystals")
    training: tuple[str, ...] = Field(
        (), description="files of structures with labels of the same oracle, accepted as they are"
    )


class _Explorer(Section):
    name: str = Field("", description="unique; default: the kind, with a number if there are several")
    structures: tuple[str, ...] = Field(description="files of starting structures")


class DynamicsSettings(_Explorer):
    """Molecular dynamics that stops where the model does not know enough."""

    kind: Literal["md"]
    ensemble: Literal["nve", "langevin", "nvt", "npt"] = Field("langevin", description="nvt is langevin")
    n_steps: AtLeastOne = Field(10_000, description="steps of a cycle")
    time_step_fs: Positive = Field(1.0, description="fs")
    temperature_k: Positive = Field(300.0, description="K")
    final_temperature_k: Positive | None = Field(None, description="K, reached linearly at the last step")
    pressure_gpa: float = Field(0.0, description="GPa (npt)")
    thermostat_time_fs: Positive = Field(100.0, description="fs")
    barostat_time_fs: Positive = Field(1000.0, description="fs (npt)")
    bulk_modulus_gpa: Positive = Field(100.0, description="rough stiffness, GPa (npt)")
    check_every: AtLeastOne = Field(5, description="steps between looks at the force deviation")
    n_walkers: AtLeastOne = Field(1, description="trajectories from each starting structure")

    @model_validator(mode="after")
    def _nothing_is_without_effect(self) -> Self:
        """Refuse what the ensemble does not have: the user expects that it does something."""
        heat = ("final_temperature_k", "thermostat_time_fs") if self.ensemble == "nve" else ()
        pressure = ("pressure_gpa", "barostat_time_fs", "bulk_modulus_gpa") if self.ensemble != "npt" else ()
        for key in (*heat, *pressure):
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                fitting = "langevin or npt" if key in heat else "npt"
                raise ValueError(
                    f"{key} = {value:g} has no effect with {self.ensemble}; leave it out, or use {fitting}"
                )
        return self


class RelaxationSettings(_Explorer):
    """Relaxations that stop where the model does not know enough."""

    kind: Literal["relax"]
    cell: bool = Field(False, description="whether the cell relaxes too")
    max_force: Positive = Field(0.02, description="converged below it, eV/A")
    max_steps: AtLeastOne = Field(200, description="steps of a relaxation")


class RandomSearchSettings(Section):
    """Relaxations of random structures."""

    kind: Literal["random"]
    name: str = Field("", description="unique; default: the kind, with a number if there are several")
    formula: str = Field(description="composition of a cell, such as 'Si8' or 'Na4Cl4'")
    volume_per_atom: tuple[float, float] | None = Field(
        None, description="range, A^3; default: from the covalent radii"
    )
    contact_fraction: float = Field(0.8, gt=0.0, description="smallest distance in sums of covalent radii")
    n_structures: AtLeastOne = Field(20, description="structures of a cycle")
    cell: bool = Field(True, description="whether the cell relaxes too")
    max_force: Positive = Field(0.05, description="converged below it, eV/A")
    max_steps: AtLeastOne = Field(100, description="steps of a relaxation")


class PoolSettings(_Explorer):
    """Structures on disk; their labels, if any, are not read."""

    kind: Literal["pool"]


ExplorerSettings = Annotated[
    DynamicsSettings | RelaxationSettings | RandomSearchSettings | PoolSettings, Field(discriminator="kind")
]


class BatchSettings(Section):
    """Choice among structures that are worth a label at the same time."""

    size: AtLeastOne = Field(8, description="labels between two refits at most")
    method: Literal["variance", "farthest"] = Field(
        "variance",
        description="variance: largest variance given those already chosen; farthest: farthest in SOAP space",
    )


class RefitSettings(Section):
    """When what is learned again."""

    growth: float = Field(
        1.25, ge=1.0, description="a new fit, with more sparse points, when the labels grew by this factor"
    )
    relearn_every: AtLeastOne = Field(
        5, description="updates after which noise and amplitudes are learned again"
    )


class StopSettings(Section):
    """When the campaign ends."""

    force_error: Positive = Field(description="root mean square error of the forces that is wanted, eV/A")
    max_calculations: AtLeastOne = Field(500, description="calculations, failed ones included")
    max_cycles: AtLeastOne = Field(5, description="passes through all explorers")
    max_failures: AtLeastOne = Field(20, description="calculations in a row that give no label")
    max_hours: Positive | None = Field(None, description="hours of work, over all starts")
    min_fresh: AtLeastOne = Field(20, description="unlabelled structures on which the error is estimated")
    n_verified: Count = Field(8, description="of these, labelled in the end to verify the estimate")


class CampaignSettings(Section):
    """A campaign of active learning."""

    directory: str = Field(
        "", description="of everything that is written; default: the name of the TOML file"
    )
    store: str = Field(
        "", description="file that ends in .db, or postgresql://...; default: in the directory"
    )
    seed: Count = Field(0, description="of every random choice")
    workers: str | int | None = Field(
        None, description="of labels: None, a number, tcp://..., slurm:4, a file"
    )
    threads: AtLeastOne | None = Field(None, description="of fits and predictions")
    threshold: Positive | None = Field(
        None, description="force deviation at which a label is asked for, eV/A; default: 4 stop.force_error"
    )
    oracle: OracleSettings
    initial: InitialSettings = Field(default_factory=InitialSettings)
    explore: tuple[ExplorerSettings, ...] = Field(min_length=1)
    batch: BatchSettings = Field(default_factory=BatchSettings)
    model: FitSettings = Field(default_factory=FitSettings)
    refit: RefitSettings = Field(default_factory=RefitSettings)
    stop: StopSettings

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [explorer.name for explorer in self.explore if explorer.name]
        if len(set(names)) != len(names):
            raise ValueError(f"two explorers have the same name among {names}; give each its own")
        for name in names:
            if not all(c.isalnum() or c in "-_" for c in name) or not name[0].isalpha():
                raise ValueError(f"explorer name {name!r}: use letters, digits, - and _, a letter first")
        return self

    @property
    def force_threshold(self) -> float:
        """Force deviation (eV/A) at which a label is asked for."""
        return self.threshold if self.threshold is not None else 4.0 * self.stop.force_error

    def named_explorers(self) -> tuple[tuple[str, ExplorerSettings], ...]:
        """Return the explorers with their names."""
        kinds = [explorer.kind for explorer in self.explore]
        taken = {explorer.name for explorer in self.explore}
        result = []
        for position, explorer in enumerate(self.explore):
            name = explorer.name or explorer.kind
            if not explorer.name and (kinds.count(explorer.kind) > 1 or name in taken):
                name = f"{explorer.kind}-{position + 1}"
            result.append((name, explorer))
        return tuple(result)


def read_campaign(path: str | Path) -> CampaignSettings:
    """Return the settings of a TOML file; paths in it are relative to its folder.

    Raises
    ------
    InputError
        If the file is missing, no TOML, or has unknown, missing or invalid keys.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such campaign file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    return parse_campaign(values, str(path), path.resolve().parent, path.stem)


def parse_campaign(values: dict[str, Any], source: str, folder: Path, stem: str) -> CampaignSettings:
    """Return validated settings with absolute paths.

    Parameters
    ----------
    values : dict
        As in the TOML file.
    source : str
        Named in messages.
    folder : Path
        To which paths are relative.
    stem : str
        Name of the directory, if none is given.
    """
    values = dict(values)
    model_values = values.pop("model", {})
    if not isinstance(model_values, dict):
        raise InputError(
            f"{source}: model = {model_values!r}: give a table [model]; castile fit has the keys"
        )
    model = parse_settings(dict(model_values), f"{source}: [model]")
    settings = parse_section(CampaignSettings, values, source)
    directory = folder / (settings.directory or stem)
    store = settings.store or str(directory / "store.db")
    if "://" not in store:
        store = str(folder / store)
    oracle = settings.oracle.model_copy(
        update={
            "command": _command(settings.oracle, folder),
            "python_path": (str(folder), *(str(folder / place) for place in settings.oracle.python_path)),
            "options": {key: _place(value, folder) for key, value in settings.oracle.options.items()},
        }
    )
    initial = settings.initial.model_copy(
        update={
            "structures": _absolute(settings.initial.structures, folder),
            "training": _absolute(settings.initial.training, folder),
        }
    )
    explore = tuple(
        explorer
        if isinstance(explorer, RandomSearchSettings)
        else explorer.model_copy(update={"structures": _absolute(explorer.structures, folder)})
        for explorer in settings.explore
    )
    changes = {"directory": str(directory), "store": store, "oracle": oracle, "initial": initial}
    return settings.model_copy(update=changes | {"explore": explore, "model": model})


def _absolute(names: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(str(folder / name) for name in names)


def _command(oracle: OracleSettings, folder: Path) -> str | None:
    """Return the command with "./name" as an absolute path where the folder of the TOML has such a file.

    Raises InputError for a file of that folder without "./": the program would not find it.
    """
    command = oracle.command
    if command is None:
        return None
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"oracle.command = {command!r}: {error}; correct it") from None
    for word in words:
        if word not in (oracle.input_file, oracle.output_file) and _is_lost(word, folder):
            raise InputError(
                f"oracle.command = {command!r}: {word} is a file beside the campaign, but each calculation "
                f"runs in a folder of its own; write ./{word}"
            )
    if not any(word.startswith("./") and (folder / word).exists() for word in words):
        return command
    return shlex.join(str(folder / w) if w.startswith("./") and (folder / w).exists() else w for w in words)


def _is_lost(word: str, folder: Path) -> bool:
    """Whether a word names a file of the folder, but without "./", and no program that is found anyway."""
    relative = not word.startswith(("./", "/", "-"))
    return relative and (folder / word).is_file() and shutil.which(word) is None


def _place(value: Any, folder: Path) -> Any:
    """Return "./name" as an absolute path: the oracle runs in a folder of its own."""
    if isinstance(value, str) and value.startswith("./"):
        return str(folder / value)
    return value
