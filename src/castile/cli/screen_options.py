"""Options of ``castile screen``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

FILTERS, OBJECTIVE, OUTPUTS, LOOP = "Filters", "Objective", "Outputs", "Loop with an oracle"


class ObjectiveName(StrEnum):
    """Merit of a candidate."""

    mean = "mean"
    bound = "bound"
    lcb = "lcb"
    improvement = "improvement"
    ei = "ei"
    probability = "probability"


Candidates = Annotated[
    list[str],
    typer.Argument(
        metavar="CANDIDATES",
        help="Files that ASE reads ('file.xyz@::10'), folders, globs in quotes, .zip and .tar archives, ASE "
        "databases (.db, postgresql://...), and generators (.toml).",
    ),
]
ModelPath = Annotated[
    Path,
    typer.Option("--model", "-m", metavar="MODEL", help="Model of a property, or a potential (.castile)."),
]
TargetName = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="NAME",
        help="Of a potential: energy_per_atom (default), energy or formation_energy; a property model has "
        "one.",
    ),
]  # fmt: skip
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="TABLE", help="Winners: .csv or .parquet, or .xyz with the structures."
    ),
]
Goal = Annotated[
    str,
    typer.Option(
        "--goal", metavar="minimise|maximise|X", help="What is better; a number: to come near to it.",
        rich_help_panel=OBJECTIVE,
    ),
]  # fmt: skip
Kind = Annotated[
    ObjectiveName,
    typer.Option(
        "--objective",
        help="The mean; a confidence bound (lcb); the expected improvement (ei); the probability of being "
        "--below or --above.",
        rich_help_panel=OBJECTIVE,
    ),
]
Kappa = Annotated[float, typer.Option(help="Standard deviations of the bound.", rich_help_panel=OBJECTIVE)]
Best = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="Value to improve on (default: the best label of the model).",
        rich_help_panel=OBJECTIVE,
    ),
]  # fmt: skip
Below = Annotated[
    float | None, typer.Option(metavar="X", help="Upper end of what is wanted.", rich_help_panel=OBJECTIVE)
]
Above = Annotated[
    float | None, typer.Option(metavar="X", help="Lower end of what is wanted.", rich_help_panel=OBJECTIVE)
]
Diversity = Annotated[
    float,
    typer.Option(
        "--most-similar", metavar="K", min=0.0, max=1.0,
        help="Winners more similar than this (SOAP, 0 to 1) to a better one stand behind it; 1: no matter.",
        rich_help_panel=OBJECTIVE,
    ),
]  # fmt: skip
Elements = Annotated[
    str | None,
    typer.Option("--only", metavar="EL,EL", help="Elements that may occur.", rich_help_panel=FILTERS),
]
Required = Annotated[
    str | None,
    typer.Option("--with", metavar="EL,EL", help="Elements that must occur.", rich_help_panel=FILTERS),
]
Excluded = Annotated[
    str | None,
    typer.Option("--without", metavar="EL,EL", help="Elements that must not.", rich_help_panel=FILTERS),
]
Formulas = Annotated[
    list[str] | None,
    typer.Option(
        "--formula", metavar="F", help="Reduced formula, such as SrTiO3; may be repeated.",
        rich_help_panel=FILTERS,
    ),
]  # fmt: skip
Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--pattern",
        metavar="ABC3",
        help="Proportions of a formula; may be repeated.",
        rich_help_panel=FILTERS,
    ),
]
MinAtoms = Annotated[int | None, typer.Option(metavar="N", help="Atoms at least.", rich_help_panel=FILTERS)]
MaxAtoms = Annotated[int | None, typer.Option(metavar="N", help="Atoms at most.", rich_help_panel=FILTERS)]
MinVolume = Annotated[
    float | None, typer.Option(metavar="V", help="Å^3 per atom at least.", rich_help_panel=FILTERS)
]
MaxVolume = Annotated[
    float | None, typer.Option(metavar="V", help="Å^3 per atom at most.", rich_help_panel=FILTERS)
]
Known = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DATA", help="Known structures; tells how similar each candidate is to them.",
        rich_help_panel=FILTERS,
    ),
]  # fmt: skip
MostKnown = Annotated[
    float | None,
    typer.Option(
        "--max-known-similarity", metavar="K",
        help="Leaves out candidates that are more similar than this to a known one.",
        rich_help_panel=FILTERS,
    ),
]  # fmt: skip
PoolSize = Annotated[
    int | None,
    typer.Option(metavar="N", help="Candidates that diverse winners are chosen from (10 a winner)."),
]
Top = Annotated[int, typer.Option(min=1, metavar="N", help="Number of winners.")]
TablePath = Annotated[
    Path | None,
    typer.Option(
        "--all", metavar="TABLE", help="Every candidate: .csv or .parquet.", rich_help_panel=OUTPUTS
    ),
]
Database = Annotated[
    Path | None, typer.Option(metavar="FILE.db", help="ASE database.", rich_help_panel=OUTPUTS)
]
Report = Annotated[
    Path | None, typer.Option(metavar="HTML", help="Page with figures and a map.", rich_help_panel=OUTPUTS)
]
MapPage = Annotated[
    Path | None,
    typer.Option(
        "--map", metavar="HTML", help="Interactive map of winners and a sample of all candidates.",
        rich_help_panel=OUTPUTS,
    ),
]  # fmt: skip
JournalPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Finished work, kept (default: TABLE.journal, removed at the end).",
        rich_help_panel=OUTPUTS,
    ),
]  # fmt: skip
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="EL=EV,...|DATA", help="Energies of the elements, eV/atom, or structures of them to "
        "compute, for formation energies.",
    ),
]  # fmt: skip
Relax = Annotated[
    int, typer.Option(metavar="STEPS", min=0, help="Relax each candidate by so many steps first.")
]
RelaxCell = Annotated[bool, typer.Option("--relax-cell", help="Cells too.")]
GradeLimit = Annotated[
    float | None,
    typer.Option(
        metavar="G", help="Extrapolation grade of a potential's atom that is flagged (default: the largest "
        "of --training, or 0.001).",
    ),
]  # fmt: skip
Oracle = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|CLASS|FILE.toml",
        help="Winners are labelled and learned from until the top list is stable: emt, tblite, ...; a "
        "calculator's class; or a TOML file with an [oracle] table.",
        rich_help_panel=LOOP,
    ),
]
Truth = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Instead of an oracle: labels that the candidates bring along, hidden from the "
        "model; draws recall and regret.", rich_help_panel=LOOP,
    ),
]  # fmt: skip
Training = Annotated[
    list[str] | None,
    typer.Option(metavar="DATA", help="Structures that the model was trained on.", rich_help_panel=LOOP),
]
TrainingKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of their labels (default: the name of the property).", rich_help_panel=LOOP
    ),
]
Budget = Annotated[int, typer.Option(min=1, metavar="N", help="Labels at most.", rich_help_panel=LOOP)]
BatchSize = Annotated[
    int, typer.Option("--batch", min=1, metavar="N", help="Labels a round.", rich_help_panel=LOOP)
]
Patience = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Rounds in which the list must not change.", rich_help_panel=LOOP),
]
