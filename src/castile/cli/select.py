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

ROUNDING = 1e-32
"""Squared covariances, in those of the first choice, that are rounding: deviations of 1e-8 of the first."""


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
    given = {"--zeta": zeta, "--amplitude": amplitude, "--n-sparse": n_sparse}
    _tell_unused(method.value, [name for name, value in given.items() if value is not None])
    if stratify and not any(chosen.config_types):
        remark(
            f"No chosen structure has {config_type_key!r} (--config-type-key), so --stratify changed nothing."
        )
    _write(chosen, source, output, indices, json)


def _tell_unused(method: str, given: list[str]) -> None:
    """Say which options changed nothing because the method has no Gaussian process."""
    from castile.active.structure_selection import FEATURE_METHODS
    from castile.cli.output import remark

    if method in FEATURE_METHODS and given:
        remark(f"{', '.join(given)}: changed nothing, since {method} has no Gaussian process.")


def _write(
    chosen: Selection, pool: StructureSource, output: Path | None, indices: Path | None, json: Path | None
) -> None:
    from castile.active.selection_file import write_selection
    from castile.cli.output import remark, write_json

    if output is not None:
        written = write_selection(output, pool, chosen)
        remark(f"{written} structure{'' if written == 1 else 's'}: {output}")
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

    title = f"{len(chosen)} {chosen.what} chosen by {chosen.method}"
    note = f"Pool: {chosen.n_pool} structures ({chosen.n_pool_atoms} atoms)."
    rows = tuple(
        (kind or "(none)", str(count)) for kind, count in sorted(Counter(chosen.config_types).items())
    )
    print_table(Table(("config_type", "chosen"), rows, title, note))
    if len(chosen) < wanted:
        remark(f"Only {len(chosen)} of {wanted}: the pool has no more, or only duplicates of those chosen.")
    if chosen.values is not None and len(chosen):
        _print_worth(chosen, chosen.values[0], chosen.values[-1])
        n_idle = int((chosen.values <= 0.0).sum())
        if n_idle:
            remark(
                f"{n_idle} of them are worth nothing, and their order means nothing: their labels cannot "
                "vary (forces that vanish by symmetry, say), or the amplitude is far below the noise."
            )
        n_rounded = int((chosen.values <= ROUNDING * chosen.values[0]).sum()) - n_idle
        if n_rounded > 0 and chosen.method == "pool-variance":
            remark(
                f"{n_rounded} of them are worth less than the rounding of the first: their order means "
                "nothing."
            )


def _print_worth(chosen: Selection, first: float, last: float) -> None:
    """Say in words what the first and the last were worth when they were chosen."""
    from math import sqrt

    from castile.cli.output import remark

    before, after, unit = chosen.deviation_before, chosen.deviation_after, chosen.deviation_unit
    if chosen.method == "variance":
        remark(
            f"Deviation that the first takes away: {sqrt(first):.3g} times the noise (root mean square over "
            f"its labels); the last: {sqrt(last):.3g} times."
        )
    elif chosen.method == "information":
        remark(f"Expected information of the first: {first:.3g} nat; of the last: {last:.3g} nat.")
    elif before is not None and after is not None:
        what = "forces" if unit == "eV/A" else "energies per atom"
        remark(
            f"Mean squared covariance of the pool's {what}: the first lowers it by {first:.3g} "
            f"{chosen.unit}, the last by {last:.3g} {chosen.unit}."
        )
        remark(
            f"Root mean square predictive deviation of the pool's {what}: {before:.3g} {unit} before, "
            f"{after:.3g} {unit} after."
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(select)
