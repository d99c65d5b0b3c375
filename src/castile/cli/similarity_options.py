"""Options that ``castile split``, ``audit`` and ``map`` share."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from castile.splits.settings import SimilaritySettings
    from castile.splits.sound_structures import Skipped

SIMILARITY_PANEL = "Similarity"
_MOST_LISTED = 10


class KernelName(StrEnum):
    """Kernels between structures."""

    best_match = "best-match"
    average_soap = "average-soap"
    average = "average"
    rematch = "rematch"
    largest = "largest"


Kernel = Annotated[
    KernelName, typer.Option("--kernel", help="Similarity of structures.", rich_help_panel=SIMILARITY_PANEL)
]
Zeta = Annotated[
    float, typer.Option(min=1.0, help="Exponent of the environment kernel.", rich_help_panel=SIMILARITY_PANEL)
]
Gamma = Annotated[
    float, typer.Option(help="Weight of the entropy (rematch).", rich_help_panel=SIMILARITY_PANEL)
]
Cutoff = Annotated[
    float | None,
    typer.Option(
        help="Radius of environments, Å (default: from the data).", rich_help_panel=SIMILARITY_PANEL
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Largest similarity k that is no leak, 0 to 1 (default: suggested from the data)."),
]
Rattle = Annotated[
    float,
    typer.Option(help="Displacements that are no difference, Å, when the threshold is suggested."),
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
SkipBroken = Annotated[
    bool,
    typer.Option(
        "--skip-broken",
        help="Leave out structures that cannot be used (atoms that overlap, positions that are no numbers, "
        "unknown elements, contradicting labels) and list them, instead of ending with an error.",
    ),
]


def similarity_settings(
    kernel: KernelName, zeta: float, gamma: float, cutoff: float | None
) -> SimilaritySettings:
    """Similarity from the options of a command."""
    from castile.splits.settings import SimilaritySettings

    return SimilaritySettings(kernel=kernel.value, zeta=zeta, gamma=gamma, cutoff=cutoff)


def report_skipped(skipped: Sequence[Skipped], n_used: int) -> None:
    """Say on stderr what was left out of the data."""
    from castile.cli.output import remark

    if skipped:
        total = n_used + len(skipped)
        remark(f"{len(skipped)} of {total} structures were left out because they cannot be used:")
    for item in skipped[:_MOST_LISTED]:
        remark(f"  {item.reason}")
    if len(skipped) > _MOST_LISTED:
        remark(f"  ... and {len(skipped) - _MOST_LISTED} more")
