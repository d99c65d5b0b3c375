"""The checkpoint of a molecular-dynamics run: one file, replaced atomically, exact to the last bit."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from castile.errors import InputError
from castile.simulation.integrators import PhasePoint
from castile.simulation.potential_calls import PotentialValues

CHECKPOINT_VERSION = 1
FORMAT_NAME = "castile-md-checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to continue.

    Args:
        step: number of completed steps.
        point: phase point after that step.
        numbers: (n_atoms,) atomic numbers.
        generator_state: state of the random generator, as NumPy gives it.
        settings: fields of `MolecularDynamicsSettings`.
        log_bytes: size of the log when the checkpoint was written.
        trajectory_bytes: size of the trajectory then.
        recorded: whether log and trajectory already hold what is due in this step.

    """

    step: int
    point: PhasePoint
    numbers: np.ndarray
    generator_state: dict[str, Any]
    settings: dict[str, Any]
    log_bytes: int = 0
    trajectory_bytes: int = 0
    recorded: bool = False


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``path`` so that at any moment it holds either the old or the new checkpoint, on the disk."""
    header = {
        "format": FORMAT_NAME,
        "version": CHECKPOINT_VERSION,
        "step": checkpoint.step,
        "generator_state": checkpoint.generator_state,
        "settings": checkpoint.settings,
        "log_bytes": checkpoint.log_bytes,
        "trajectory_bytes": checkpoint.trajectory_bytes,
        "recorded": checkpoint.recorded,
    }
    point = checkpoint.point
    arrays = {
        "positions": point.positions,
        "momenta": point.momenta,
        "cell": point.cell,
        "forces": point.potential.forces,
        "energy_and_heat": np.array([point.potential.energy, point.heat]),
        "numbers": checkpoint.numbers.astype(np.int64),
    }
    if point.potential.stress is not None:
        arrays["stress"] = point.potential.stress
    content = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"castile": json.dumps(header)}
    )
    replace_file(path, content)


def replace_file(path: Path, content: bytes) -> None:
    """Replace ``path`` atomically by ``content`` and force it to the disk."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: the file is missing, damaged, of another kind or of a newer version.

    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["castile"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: cannot read the checkpoint ({error}); start a new run under another output name"
        ) from error
    if header.get("format") != FORMAT_NAME or header.get("version", 0) > CHECKPOINT_VERSION:
        raise InputError(
            f"{path}: this is {header.get('format')} version {header.get('version')}, but this Castile reads "
            f"{FORMAT_NAME} up to version {CHECKPOINT_VERSION}; update Castile or start a new run"
        )
    energy, heat = (float(value) for value in arrays["energy_and_heat"])
    potential = PotentialValues(energy, arrays["forces"], arrays.get("stress"))
    point = PhasePoint(arrays["positions"], arrays["momenta"], arrays["cell"], potential, heat)
    return Checkpoint(
        step=header["step"],
        point=point,
        numbers=arrays["numbers"],
        generator_state=header["generator_state"],
        settings=header["settings"],
        log_bytes=header["log_bytes"],
        trajectory_bytes=header["trajectory_bytes"],
        recorded=header["recorded"],
    )
