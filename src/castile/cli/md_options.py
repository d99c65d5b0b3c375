"""Options of ``castile md``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Trajectory = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Trajectory (.xyz or .extxyz); log (.csv) and checkpoint are written beside it.",
    ),
]
EnsembleName = Annotated[
    str, typer.Option(metavar="NAME", help="nve, langevin (constant temperature) or npt (and pressure).")
]
Steps = Annotated[int, typer.Option(min=0, metavar="N", help="Number of time steps, from the very start.")]
TimeStep = Annotated[float, typer.Option(metavar="T", help="Time step, fs.")]
Temperature = Annotated[
    float, typer.Option(metavar="T", help="Temperature of the initial velocities and the thermostat, K.")
]
FinalTemperature = Annotated[
    float | None, typer.Option(metavar="T", help="Temperature at the last step, reached linearly, K.")
]
Pressure = Annotated[float, typer.Option(metavar="P", help="Pressure, GPa (npt).")]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of velocities and thermostat.")]
Repeat = Annotated[
    tuple[int, int, int], typer.Option(metavar="A B C", help="Repeat the cell along its three vectors.")
]
KeepVelocities = Annotated[
    bool, typer.Option("--keep-velocities", help="Start with the velocities of STRUCTURE.")
]
ThermostatTime = Annotated[float, typer.Option(metavar="T", help="Inverse friction of the thermostat, fs.")]
BarostatTime = Annotated[float, typer.Option(metavar="T", help="Relaxation time of the pressure, fs.")]
BulkModulus = Annotated[
    float,
    typer.Option(metavar="B", help="Rough stiffness, GPa (npt); sets only how fast the volume moves."),
]
LogEvery = Annotated[int, typer.Option(min=1, metavar="N", help="Steps between rows of the log.")]
FrameEvery = Annotated[int, typer.Option(min=1, metavar="N", help="Steps between frames.")]
CheckpointEvery = Annotated[int, typer.Option(min=1, metavar="N", help="Steps between checkpoints.")]
TemperatureLimit = Annotated[
    float | None,
    typer.Option(metavar="T", help="Stop above this temperature, K (default: 10 times --temperature)."),
]
ContactFraction = Annotated[
    float,
    typer.Option(metavar="X", help="Stop when two atoms are closer than X times the sum of covalent radii."),
]
Restart = Annotated[bool, typer.Option("--restart", help="Continue from the checkpoint beside OUT.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")]
Uncertainty = Annotated[
    bool,
    typer.Option(
        "--uncertainty",
        help="Add the largest and the mean standard deviation of the force on an atom, eV/Å, to each row of "
        "the log.",
    ),
]
