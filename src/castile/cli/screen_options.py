"""Options of ``castile screen`` in groups, and what they mean."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from castile.screening.filters import Filters
    from castile.screening.objective import Objective
    from castile.screening.targets import Target

FILTERS, OBJECTIVE, OUTPUTS, LOOP = "Filters", "Objective", "Outputs", "Loop with an oracle"


class ObjectiveName(StrEnum):
    """Merit of a candidate."""

    mean = "mean"
    bound = "bound"
    lcb = "lcb"
    improvement = "improvement"
    ei = "ei"
    probability = "probability"


_KINDS = {"lcb": "bound", "ei": "improvement"}

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


def filters_of(
    only: str | None,
    required: str | None,
    excluded: str | None,
    formulas: list[str] | None,
    patterns: list[str] | None,
    atoms: tuple[int | None, int | None],
    volumes: tuple[float | None, float | None],
    known: list[str] | None,
    most_similar: float | None,
) -> Filters:
    """Filters from the options."""
    from castile.screening.filters import Filters
    from castile.screening.likeness import know
    from castile.structures import StructureSource

    described = None
    if known:
        described = know((one.name, one.atoms) for one in StructureSource(known, needs_labels=False))
    return Filters(
        _symbols(only), _symbols(required), _symbols(excluded), tuple(formulas or ()), tuple(patterns or ()),
        *atoms, *volumes, described, most_similar,
    )  # fmt: skip


def objective_of(
    kind: ObjectiveName, goal: str, kappa: float, best: float | None, below: float | None, above: float | None
) -> Objective:
    """Objective from the options."""
    from castile.errors import InputError
    from castile.screening.objective import Objective

    name, value = goal.replace("minimize", "minimise").replace("maximize", "maximise"), None
    if name not in ("minimise", "maximise"):
        try:
            name, value = "value", float(goal)
        except ValueError:
            raise InputError(f"--goal {goal}: give minimise, maximise, or a number to come near to") from None
    if kind is not ObjectiveName.probability and (below is not None or above is not None):
        raise InputError("--below and --above are for --objective probability; add it, or leave them out")
    return Objective(_KINDS.get(kind.value, kind.value), name, value, kappa, best, below, above)


def open_target(
    model: Path,
    name: str | None,
    reference: str | None,
    relax_steps: int,
    relax_cell: bool,
    limit: float | None,
    training: list[str],
) -> Target:
    """Target from a model file, whatever it holds."""
    import castile
    from castile.errors import InputError
    from castile.formats import read_model_file
    from castile.properties import PropertyModel
    from castile.screening.targets import (
        GRADE_LIMIT,
        PotentialTarget,
        PropertyTarget,
        RelaxationPlan,
        parse_references,
        reference_energies,
    )
    from castile.structures import StructureSource

    if read_model_file(model).header.get("kind") == "property":
        if reference is not None or relax_steps or limit is not None:
            raise InputError(
                f"{model}: predicts a property; --reference, --relax and --grade-limit are for potentials"
            )
        target = PropertyTarget(PropertyModel.load(model))
        if name is not None and name != target.name:
            raise InputError(f"--target {name}: {model} predicts {target.name}; leave the option out")
        return target
    gap = castile.load(model)
    energies = {}
    if reference is not None and "=" in reference:
        energies = parse_references(reference)
    elif reference is not None:
        energies = reference_energies(
            gap, [one.atoms for one in StructureSource(reference, needs_labels=False)]
        )
    plan = RelaxationPlan(relax_steps, cell=relax_cell) if relax_steps else None
    settled = PotentialTarget(gap, name or "energy_per_atom", energies, plan, limit or GRADE_LIMIT)
    if limit is None and training:
        return settled.limited_by([one.atoms for one in StructureSource(training, needs_labels=False)])
    return settled


def _symbols(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()
