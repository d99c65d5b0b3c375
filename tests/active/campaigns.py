"""Small campaigns on copper with effective medium theory, which counts what it executes."""

import json
from pathlib import Path

from ase.build import bulk
from ase.io import write

FOLDER = Path(__file__).parent
MODEL = """
[model]
pair = []

[[model.soap]]
cutoff = 4.0
n_max = 4
l_max = 3
n_sparse = 30
"""
DYNAMICS = """
[[explore]]
kind = "md"
structures = ["copper.xyz"]
temperature_k = 600
n_steps = 150
time_step_fs = 2.0
"""


def write_campaign(
    folder: Path, explorers: str = DYNAMICS, *, oracle: str = "CountingEMT", delay: float = 0.0,
    head: str = "", stop: str = "force_error = 0.01\nmax_calculations = 60\nmax_cycles = 1", extra: str = "",
) -> Path:  # fmt: skip
    """Write a campaign and its copper cell; returns the TOML file."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "copper.xyz", bulk("Cu", a=3.62, cubic=True))
    options = {"log": str(folder / "executions.log"), "delay": delay}
    inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    path = folder / "campaign.toml"
    path.write_text(
        f'{head}\n[oracle]\ncalculator = "counting_oracles.{oracle}"\noptions = {{ {inline} }}\n'
        f'python_path = ["{FOLDER}"]\ntimeout_s = 60\n{extra}\n{explorers}\n[stop]\n{stop}\n{MODEL}'
    )
    return path
