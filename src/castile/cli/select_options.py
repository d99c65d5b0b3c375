"""Arguments and options of ``castile select``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PRIOR_PANEL = "Without a model"
WORK_PANEL = "Work"


class Method(StrEnum):
    """How to choose."""

    variance = "variance"
    information = "information"
    pool_variance = "pool-variance"
    farthest = "farthest"
    cur = "cur"
    kmeans = "kmeans"
    random = "random"


class What(StrEnum):
    """What is chosen."""

    structures = "structures"
    atoms = "atoms"


class Labels(StrEnum):
    """What a calculation brings."""

    all = "all"
    energy = "energy"
    forces = "forces"
    both = "energy+forces"


Pool = Annotated[
    list[str],
    typer.Argument(
        metavar="POOL",
        help="Structures to choose from, labelled or not: any file that ASE reads, several files, globs in "
        "quotes, and slices such as 'pool.xyz@::10'.",
    ),
]
Number = Annotated[int, typer.Option("--n", "-n", min=1, help="How many to choose.")]
Chosen = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="CHOSEN", help="File of structures to write (.xyz, ...)."),
]
Indices = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Also write positions in the pool, in order of choice."),
]
Model = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Fitted model whose variance counts (.castile).")
]
Train = Annotated[
    list[str] | None,
    typer.Option(metavar="TRAIN", help="Structures that are known already; may be repeated."),
]
MethodOption = Annotated[
    Method,
    typer.Option(
        help="By the variance that a structure's own labels lose when they are calculated, the information "
        "that they bring, or the variance that the forces of the whole pool lose; by SOAP vectors; or at "
        "random."
    ),
]
WhatOption = Annotated[What, typer.Option(help="What to choose.")]
LabelsOption = Annotated[Labels, typer.Option(help="What a calculation brings.")]
Stratify = Annotated[
    bool, typer.Option("--stratify", help="From each config_type in proportion, at least one of each.")
]
Zeta = Annotated[
    float | None, typer.Option(min=1.0, help="Exponent of the kernel.", rich_help_panel=PRIOR_PANEL)
]
Cutoff = Annotated[float | None, typer.Option(metavar="R", help="Radius, Å.", rich_help_panel=PRIOR_PANEL)]
Amplitude = Annotated[
    float | None,
    typer.Option(metavar="DELTA", help="Amplitude, eV per atom.", rich_help_panel=PRIOR_PANEL),
]
NSparse = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="M",
        help="Environments of the pool that carry the variance (default: 20 per choice, 500 to 2000; beside "
        "a model 10, 200 to 1000).",
        rich_help_panel=WORK_PANEL,
    ),
]
Scratch = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="For a temporary file (default: the system's).", rich_help_panel=WORK_PANEL
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of random choices.", rich_help_panel=WORK_PANEL)]
ConfigTypeKey = Annotated[str, typer.Option(metavar="KEY", help="Key of the kind of structure.")]
