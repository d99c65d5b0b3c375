"""``castile select``: the structures of a pool that are worth a calculation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from castile.cli.options import JsonFile
from castile.cli.select_options import (
    Amplitude,
    Chosen,
    ConfigTypeKey,
    Cutoff,
    Indices,
    Labels,
    LabelsOption,
    Method,
    MethodOption,
    Model,
    NSparse,
    Number,
    Pool,
    Scratch,
    Seed,
    Stratify,
    Train,
    What,
    WhatOption,
    Zeta,
)

if TYPE_CHECKING:
    from castile.active.structure_selection import Selection
    from castile.structures import StructureSource


def select(
    pool: Pool,
    n_select: Number,
    output: Chosen = None,
    indices: Indices = None,
    model: Model = None,
    train: Train = None,
    method: MethodOption = Method.variance,
    what: WhatOption = What.structures,
    labels: LabelsOption = Labels.all,
    stratify: Stratify = False,
    zeta: Zeta = None,
    cutoff: Cutoff = None,
    amplitude: Amplitude = None,
    n_sparse: NSparse = None,
    scratch: Scratch = None,
    seed: Seed = 0,
    config_type_key: ConfigTypeKey = "config_type",
    json: JsonFile = None,
) -> None:
    """Choose the structures of POOL that are worth a calculation.

    Greedy: each has the largest predictive variance given those already chosen. Needs no labels. Give -o,
    --indices or both.
    """
    from castile.errors import InputError
    from castile.structures import LabelKeys, StructureSource

    if output is None and indices is None:
        raise InputError("nothing would be written: give -o CHOSEN.xyz, --indices FILE.json or both")
    unused = LabelKeys(
        energy="none", forces="none", stress="none", virial="none", config_type=config_type_key
    )
    source = StructureSource(pool, unused)
    known = StructureSource(train, unused) if train else None
    _keep_inputs(source, known, model, output, indices, json)
    import castile
    from castile.active.selection_file import check_selection_file
    from castile.active.structure_selection import PriorChoices, select_structures
    from castile.cli.output import remark, step_progress

    if output is not None:
        check_selection_file(output)
    potential = None if model is None else castile.load(model)
    with step_progress() as progress:
        chosen = select_structures(
            source, n_select, model=potential, train=known, method=method.value, what=what.value,
            labels=labels.value, stratify=stratify, prior=PriorChoices(zeta, cutoff, amplitude, n_sparse),
            seed=seed, folder=scratch, progress=progress,
        )  # fmt: skip
    _print_selection(chosen, n_select)
    if stratify and not any(chosen.config_types):
        remark(
            f"No chosen structure has {config_type_key!r} (--config-type-key), so --stratify changed nothing."
        )
    _write(chosen, source, output, indices, json)


def _write(
    chosen: Selection, pool: StructureSource, output: Path | None, indices: Path | None, json: Path | None
) -> None:
    from castile.active.selection_file import write_selection
    from castile.cli.output import remark, write_json

    if output is not None:
        written = write_selection(output, pool, chosen)
        remark(f"{written} structures: {output}")
    if indices is not None:
        write_json(indices, chosen.indices_dict())
        remark(f"Positions in the pool: {indices}")
    if json is not None:
        write_json(json, chosen.to_json_dict())


def _keep_inputs(
    pool: StructureSource,
    train: StructureSource | None,
    model: Path | None,
    output: Path | None,
    indices: Path | None,
    json: Path | None,
) -> None:
    """Refuse outputs that are inputs, or each other."""
    from castile.errors import InputError

    outputs = [path for path in (output, indices, json) if path is not None]
    for path in outputs:
        pool.refuse_as_output(path)
        if train is not None:
            train.refuse_as_output(path)
        if model is not None and path.exists() and model.exists() and path.samefile(model):
            raise InputError(f"{path}: is also read, and writing it would replace the model; name another")
    names = [path.resolve() for path in outputs]
    if len(set(names)) < len(names):
        raise InputError("-o, --indices and --json name the same file; give each its own")


def _print_selection(chosen: Selection, wanted: int) -> None:
    from collections import Counter

    from castile.cli.output import print_table, remark
    from castile.evaluation.tables import Table

    pool = f"of {chosen.n_pool} structures ({chosen.n_pool_atoms} atoms)"
    rows = tuple(
        (kind or "(none)", str(count)) for kind, count in sorted(Counter(chosen.config_types).items())
    )
    print_table(
        Table(("config_type", "chosen"), rows, f"{len(chosen)} {chosen.what} chosen by {chosen.method}")
    )
    if len(chosen) < wanted:
        remark(f"Only {len(chosen)} of {wanted}: no more, or only duplicates of those chosen, {pool}.")
    if chosen.values is not None and len(chosen):
        first, last = chosen.values[0], chosen.values[-1]
        remark(f"Worth of the first {first:.3g} {chosen.unit}, of the last {last:.3g} {chosen.unit}, {pool}.")
    if chosen.deviation_before is not None and chosen.deviation_after is not None:
        remark(
            f"Mean predictive deviation over the pool: {chosen.deviation_before:.3g} {chosen.deviation_unit} "
            f"before, {chosen.deviation_after:.3g} {chosen.deviation_unit} after."
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(select)
