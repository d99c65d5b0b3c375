"""``castile split``: parts that share no similar structures, with a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castile.cli.guarded_command import GuardedCommand
from castile.cli.options import ConfigTypeKey, EnergyKey, JsonFile, Workers
from castile.cli.output import counted, print_table, remark, step_progress, write_json
from castile.cli.similarity_options import (
    Cutoff,
    Gamma,
    Kernel,
    KernelName,
    Rattle,
    Seed,
    SkipBroken,
    Threshold,
    Zeta,
    report_skipped,
    similarity_settings,
)

if TYPE_CHECKING:
    from castile.splits.plan import Split, SplitSettings
    from castile.structures import StructureSource

DataFiles = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA", help="Structures: files, globs in quotes, slices ('train.xyz@::10')."),
]
Folder = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the parts.")]
Fractions = Annotated[
    str, typer.Option(metavar="NUMBERS", help="Fractions of the parts, such as 0.8 0.1 0.1.")
]
GroupBy = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Info key; structures that share its value stay together; repeat."),
]
Stratify = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Parts share the distribution of config_type, composition, energy or an info key; repeat.",
    ),
]
BlockSplit = Annotated[
    bool,
    typer.Option(
        "--block-split",
        help="Successive blocks of the data (a trajectory), with a buffer of removed structures between.",
    ),
]
Verify = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Recompute the certificate of a split; DATA only where they have moved."
    ),
]


class FractionsCommand(GuardedCommand):
    """Takes the numbers after ``--fractions`` as its value, however many there are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers that follow ``--fractions``."""
        joined: list[str] = []
        waiting = list(args)
        while waiting:
            word = waiting.pop(0)
            joined.append(word)
            if word == "--fractions":
                numbers = []
                while waiting and _is_number(waiting[0]):
                    numbers.append(waiting.pop(0))
                joined += [",".join(numbers)] if numbers else []
        return super().parse_args(ctx, joined)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return not Path(word).exists()


def split(
    data: DataFiles = None,
    output: Folder = None,
    fractions: Fractions = "0.8,0.1,0.1",
    threshold: Threshold = None,
    rattle: Rattle = 0.01,
    group_by: GroupBy = None,
    stratify: Stratify = None,
    block_split: BlockSplit = False,
    verify: Verify = None,
    skip_broken: SkipBroken = False,
    seed: Seed = 0,
    workers: Workers = None,
    json: JsonFile = None,
    energy_key: EnergyKey = None,
    config_type_key: ConfigTypeKey = "config_type",
    kernel: Kernel = KernelName.best_match,
    zeta: Zeta = 1.0,
    gamma: Gamma = 0.02,
    cutoff: Cutoff = None,
) -> None:
    """Split DATA into parts such that no structure has a similar one in another part, and prove it."""
    from castile.errors import InputError
    from castile.splits.dataset import label_keys
    from castile.splits.plan import SplitSettings
    from castile.structures import StructureSource

    if verify is not None:
        _verify(verify, data or [], workers, json)
        return
    if not data or output is None:
        raise InputError("name the data and the folder of the parts: castile split DATA -o DIR")
    settings = SplitSettings(
        fractions=_numbers(fractions),
        threshold=threshold,
        similarity=similarity_settings(kernel, zeta, gamma, cutoff),
        group_by=tuple(group_by or ()),
        stratify=tuple(stratify or ()),
        rattle=rattle,
        blocks=block_split,
        seed=seed,
        skip_broken=skip_broken,
    )
    source = StructureSource(data, label_keys(energy_key, config_type_key))
    if json is not None:
        source.refuse_as_output(json)
    made = _make(source, settings, output, data, workers)
    if json is not None:
        write_json(json, split_numbers(made))


def _make(
    source: StructureSource, settings: SplitSettings, folder: Path, data: list[str], workers: str | None
) -> Split:
    """Read, split, write, and print what came out."""
    from castile.execution.task_pool import open_task_pool
    from castile.report.split_figures import write_threshold_plot
    from castile.splits.assignment import checked_fractions
    from castile.splits.dataset import read_dataset
    from castile.splits.manifest import refuse_outputs, write_split
    from castile.splits.plan import make_split

    refuse_outputs(folder, source, len(checked_fractions(settings.fractions)))
    with counted("reading", source.expected_length) as progress:
        dataset = read_dataset(
            source, (*settings.group_by, *settings.stratify), progress, skip_broken=settings.skip_broken
        )
    report_skipped(dataset.skipped, len(dataset))
    with open_task_pool(workers) as pool, step_progress() as steps:
        made = make_split(dataset, settings, pool=pool if workers else None, progress=steps)
    written = write_split(folder, source, made, settings, data)
    for table in _tables(made):
        print_table(table)
    for text in made.remarks:
        remark(text)
    if made.curve is not None:
        plot = write_threshold_plot(folder / "threshold.png", made.curve)
        remark(f"Components against the threshold: {plot}")
    remark(f"Certificate: {written.manifest}")
    return made


def _numbers(text: str) -> tuple[float, ...]:
    from castile.errors import InputError

    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"--fractions {text}: give numbers, such as --fractions 0.8 0.1 0.1") from None


def split_numbers(made: Split) -> dict[str, object]:
    """Flat numbers of a split (docs: the page of ``castile split``)."""
    from castile.splits.manifest import part_names
    from castile.splits.threshold import distance_of

    sizes, cost = made.components.sizes, made.components.cost
    numbers: dict[str, object] = {
        "n_structures": len(made.parts),
        "n_skipped": len(made.skipped),
        "n_components": len(sizes),
        "largest_component": int(sizes.max()),
        "n_singletons": int((sizes == 1).sum()),
        "effective_number": made.effective_number,
        "threshold": made.threshold,
        "threshold_distance": distance_of(made.threshold),
        "threshold_suggested": made.curve is not None,
        "max_cross_similarity": made.certificate.largest_similarity,
        "n_removed": int((made.parts < 0).sum()),
        "n_pairs": cost.n_pairs,
        "n_candidate_pairs": cost.n_candidates,
        "n_exact_pairs": cost.n_exact,
        "pruned_fraction": cost.pruned_fraction,
    }
    names = part_names(len(made.assignment.wanted))
    for name, wanted, reached in zip(names, made.assignment.wanted, made.assignment.reached, strict=True):
        numbers |= {f"part/{name}/fraction_wanted": wanted, f"part/{name}/fraction": reached}
    for k, name in enumerate(names):
        numbers[f"part/{name}/n_structures"] = int((made.parts == k).sum())
    return numbers


def _tables(made: Split) -> list[Any]:
    """Parts, and the facts of the graph."""
    import numpy as np

    from castile.evaluation.tables import Table, format_number
    from castile.splits.manifest import part_names
    from castile.splits.threshold import distance_of

    names = part_names(len(made.assignment.wanted))
    rows = []
    for k, name in enumerate(names):
        inside = made.parts == k
        n_components = len(np.unique(made.components.labels[inside]))
        rows.append(
            (
                name, f"{int(inside.sum()):,}", f"{made.assignment.reached[k]:.4f}",
                f"{made.assignment.wanted[k]:.4f}", f"{n_components:,}",
            )
        )  # fmt: skip
    parts = Table(("part", "structures", "fraction", "wanted", "components"), tuple(rows), "Parts")
    sizes = made.components.sizes
    facts = (
        ("threshold k", f"{made.threshold:.8f}"),
        ("threshold as a distance", format_number(distance_of(made.threshold))),
        ("largest similarity across parts", f"{made.certificate.largest_similarity:.8f}"),
        ("components", f"{len(sizes):,}"),
        ("structures of the largest component", f"{int(sizes.max()):,}"),
        ("effective number of independent structures", f"{made.effective_number:,.1f}"),
        ("pairs excluded by bounds", f"{100.0 * made.components.cost.pruned_fraction:.4f} %"),
    )
    note = "" if made.curve is None else f"Threshold suggested: {made.curve.reason}."
    return [parts, Table(("", "value"), facts, "Certificate", note)]


def _verify(folder: Path, data: list[str], workers: str | None, json: Path | None) -> None:
    """Print the checks; exit 1 when one fails."""
    from castile.evaluation.tables import Table
    from castile.execution.task_pool import open_task_pool
    from castile.splits.verify import verify_split

    with open_task_pool(workers) as pool, step_progress() as steps:
        verification = verify_split(folder, data, pool=pool if workers else None, progress=steps)
    rows = tuple((c.what, "holds" if c.passed else "FAILS", c.found) for c in verification.checks)
    print_table(Table(("check", "", "found"), rows, f"Certificate of {folder}"))
    if json is not None:
        failed = sum(not check.passed for check in verification.checks)
        numbers: dict[str, object] = {"verified": verification.passed, "n_failed_checks": failed}
        if verification.largest_similarity == verification.largest_similarity:
            numbers["max_cross_similarity"] = verification.largest_similarity
        write_json(json, numbers)
    if not verification.passed:
        typer.secho("castile: the certificate does not hold", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=FractionsCommand, no_args_is_help=True)(split)
