"""Options of ``castile fit``, by the groups that its help shows."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from castile.cli.options import CutoffFunction, RadialBasis

SOAP_PANEL = "SOAP term (default: from the data)"
TERMS_PANEL = "Other terms"
NOISE_PANEL = "Noise (default: learned)"
WORK_PANEL = "Work"


class Composition(StrEnum):
    """Where the energies of the elements come from."""

    auto = "auto"
    isolated = "isolated"
    least_squares = "least_squares"
    none = "none"


class Selection(StrEnum):
    """How sparse points are chosen."""

    farthest = "farthest"
    cur = "cur"
    kmeans = "kmeans"
    random = "random"


TrainFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="TRAIN",
        help="Labelled structures: any file that ASE reads, several files, globs in quotes, and "
        "slices such as 'train.xyz@::10'.",
    ),
]
NewFiles = Annotated[
    list[str], typer.Argument(metavar="NEW", help="Labelled structures to add; files, globs, slices.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="MODEL", help="Model file to write (.castile).")
]
TestFiles = Annotated[
    list[str] | None,
    typer.Option(metavar="TEST", help="Labelled structures to test the model on; may be repeated."),
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an HTML report.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Threads (default: all cores).", rich_help_panel=WORK_PANEL),
]


Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|ADDRESS|FILE.toml",
        help="Make training rows in N processes, on the Dask scheduler at ADDRESS (tcp://...), or in jobs of "
        "the batch system that FILE.toml describes (default: in this process); the model is the same.",
        rich_help_panel=WORK_PANEL,
    ),
]


def _soap(metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar=metavar, help=text, rich_help_panel=SOAP_PANEL)
    return option


def _noise(text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="SIGMA", help=text, rich_help_panel=NOISE_PANEL)
    return option


SettingsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="Settings, such as a fit writes; options change them."),
]
Cutoff = Annotated[float | None, _soap("R", "Radius of an environment, Å.")]
CutoffWidth = Annotated[float | None, _soap("D", "Length over which it fades, Å.")]
CutoffForm = Annotated[CutoffFunction | None, _soap("F", "cosine or smooth.")]
NMax = Annotated[int | None, _soap("N", "Number of radial functions.")]
LMax = Annotated[int | None, _soap("L", "Largest angular channel.")]
Sigma = Annotated[float | None, _soap("S", "Gaussian width of an atom, Å.")]
Zeta = Annotated[float | None, _soap("Z", "Exponent of the kernel.")]
NSparse = Annotated[int | None, _soap("M", "Sparse points, all elements together.")]
RadialFunctions = Annotated[RadialBasis | None, _soap("B", "gto or equispaced.")]
Amplitude = Annotated[float | None, _soap("DELTA", "Amplitude, eV per atom; learned by default.")]
Channels = Annotated[str | None, _soap("N|elements", "Density channels that elements share, or 'elements'.")]
WithPair = Annotated[
    bool, typer.Option("--pair/--no-pair", help="With a pair term.", rich_help_panel=TERMS_PANEL)
]
WithCore = Annotated[
    bool,
    typer.Option("--core/--no-core", help="With ZBL repulsion of nuclei.", rich_help_panel=TERMS_PANEL),
]
CompositionChoice = Annotated[
    Composition,
    typer.Option(
        help="Energies of the elements: from isolated atoms in the data, by least squares, or the first "
        "that is possible (auto).",
        rich_help_panel=TERMS_PANEL,
    ),
]
AtomEnergy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SYMBOL=EV",
        help="Energy of an isolated atom, eV; once per element, instead of --composition.",
        rich_help_panel=TERMS_PANEL,
    ),
]
EnergyNoise = Annotated[
    float | None, _noise("eV per root atom: the energy of n atoms has SIGMA times the root of n.")
]
ForceNoise = Annotated[float | None, _noise("eV/Å, of a force component.")]
StressNoise = Annotated[float | None, _noise("eV/Å^3, of a stress component.")]
SelectionChoice = Annotated[
    Selection | None,
    typer.Option(help="Choice of sparse points (default: farthest).", rich_help_panel=WORK_PANEL),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of every random choice (default: 0).", rich_help_panel=WORK_PANEL),
]
Memory = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        help="Memory that may be used; fewer sparse points where it is too little (default: no limit).",
        rich_help_panel=WORK_PANEL,
    ),
]
