"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from castile.structures import LabelKeys

LABELS_PANEL = "Labels"


class CutoffFunction(StrEnum):
    """How the environment ends."""

    cosine = "cosine"
    smooth = "smooth"


class Precision(StrEnum):
    """Of the products between SOAP vectors and sparse points at prediction."""

    double = "double"
    single = "single"


class Deviations(StrEnum):
    """How standard deviations are computed."""

    committee = "committee"
    exact = "exact"
    auto = "auto"
    none = "none"


class RadialBasis(StrEnum):
    """Radial functions."""

    gto = "gto"
    equispaced = "equispaced"


ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file (.castile).")]
DataFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="Structures: any file that ASE reads, several files, globs in quotes, and slices such as "
        "'train.xyz@::10'.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write the numbers to FILE as flat JSON.")
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|ADDRESS|FILE.toml",
        help="Work in N processes, on the Dask scheduler at ADDRESS (tcp://...), or in jobs of the batch "
        "system that FILE.toml describes (default: in this process).",
    ),
]
EnergyKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Key of total energies (default: found).", rich_help_panel=LABELS_PANEL),
]
ForcesKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Key of forces (default: found).", rich_help_panel=LABELS_PANEL),
]
StressKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key of stresses in eV/Å^3, ASE's sign (default: found).",
        rich_help_panel=LABELS_PANEL,
    ),
]
VirialKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of virials in eV, minus volume times stress (default: found).",
        rich_help_panel=LABELS_PANEL,
    ),
]  # fmt: skip
ConfigTypeKey = Annotated[
    str,
    typer.Option(metavar="KEY", help="Key of the kind of structure.", rich_help_panel=LABELS_PANEL),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Of the large products at prediction; single is used only for terms whose energies it changes "
        "by less than 0.01 meV/atom.",
    ),
]
AllowMissing = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-missing",
        metavar="LABEL",
        help="Accept that only some structures have this label (energy, forces or stress); may be repeated.",
        rich_help_panel=LABELS_PANEL,
    ),
]


def label_keys(
    energy_key: str | None,
    forces_key: str | None,
    stress_key: str | None,
    virial_key: str | None,
    config_type_key: str,
) -> LabelKeys:
    """Label keys from the options of a command."""
    from castile.structures import LabelKeys

    return LabelKeys(
        energy=energy_key,
        forces=forces_key,
        stress=stress_key,
        virial=virial_key,
        config_type=config_type_key,
    )
