"""``castile map``: an interactive map of structures or atoms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castile.cli.options import ConfigTypeKey, DataFiles, EnergyKey, JsonFile, Workers
from castile.cli.output import counted, remark, step_progress, write_json
from castile.cli.similarity_options import Cutoff, Seed, SkipBroken, report_skipped

if TYPE_CHECKING:
    from castile.splits.similarity_index import Progress
    from castile.splits.structure_table import StructureTable
    from castile.structures import StructureSource

Page = Annotated[Path, typer.Option("--output", "-o", metavar="HTML", help="Page to write.")]
Color = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Colour at first: an info key, energy, config_type, component, ..."),
]
PerAtom = Annotated[bool, typer.Option("--atoms", help="One point per atom, not per structure.")]
Umap = Annotated[bool, typer.Option("--umap", help="UMAP instead of kernel PCA.")]
Model = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Adds errors and deviations of this model.")
]
Split = Annotated[
    Path | None,
    typer.Option("--split", metavar="DIR", help="Adds the part and the component that castile split gave."),
]
Components = Annotated[
    float | None, typer.Option(help="Adds the components of similar structures, k above this.")
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Picture of all points (default: beside the page).")
]
Most = Annotated[int, typer.Option(min=1, help="Most points on the page; the picture has all.")]


def map_structures(
    data: DataFiles,
    output: Page,
    color: Color = None,
    atoms: PerAtom = False,
    umap: Umap = False,
    model: Model = None,
    split: Split = None,
    threshold: Components = None,
    png: Picture = None,
    most: Most = 100_000,
    cutoff: Cutoff = None,
    skip_broken: SkipBroken = False,
    seed: Seed = 0,
    workers: Workers = None,
    json: JsonFile = None,
    energy_key: EnergyKey = None,
    config_type_key: ConfigTypeKey = "config_type",
) -> None:
    """Map DATA: structures that are alike lie together; a click shows the structure."""
    from castile.execution.task_pool import open_task_pool
    from castile.report.map_page import write_map_page, write_map_picture
    from castile.splits.dataset import label_keys
    from castile.splits.kernel_map import kernel_map
    from castile.splits.map_properties import chosen_color, point_properties, shown_points
    from castile.splits.settings import SimilaritySettings
    from castile.structures import StructureSource

    source = StructureSource(data, label_keys(energy_key, config_type_key))
    picture = output.with_suffix(".png") if png is None else png
    for path in filter(None, (output, picture, json)):
        source.refuse_as_output(path)
    table, columns = _read(source, skip_broken)
    settings = SimilaritySettings(cutoff=cutoff)
    with open_task_pool(workers) as pool, step_progress() as steps:
        used = pool if workers else None
        placed = kernel_map(table, settings, atoms=atoms, umap=umap, seed=seed, pool=used, progress=steps)
        if split is not None:
            columns |= _split_columns(split, len(table))
        if threshold is not None:
            columns["component"] = _components(table, settings, threshold, used, steps)
        shown = shown_points(placed, table, most, seed)
        properties = point_properties(table, placed, columns, shown)
        if model is not None:
            properties |= _model_properties(model, table, placed, columns.get("energy"), steps)
    color = chosen_color(color, properties)
    subtitle = f"{len(shown):,} of {len(placed.structure):,} points, {placed.method}"
    title = ", ".join(Path(name).name for name in data)
    write_map_page(output, placed, table, properties, shown, color=color, title=title, subtitle=subtitle)
    write_map_picture(picture, placed, properties[color], color)
    if json is not None:
        numbers: dict[str, object] = {"n_points": len(placed.structure), "n_shown": len(shown)}
        numbers |= {f"explained_variance_{k + 1}": share for k, share in enumerate(placed.explained)}
        write_json(json, numbers)
    remark(f"Map: {output} ({subtitle}); picture: {picture}")


def _read(source: StructureSource, skip_broken: bool) -> tuple[StructureTable, dict[str, Any]]:
    """Structures and what they say about themselves, one in memory at a time."""
    from castile.splits.info_columns import InfoColumns
    from castile.splits.sound_structures import Skipped, sound_structures
    from castile.splits.structure_table import table_of

    skipped: list[Skipped] = []
    noted = InfoColumns()
    with counted("reading", source.expected_length) as progress:
        structures = sound_structures(source, skipped if skip_broken else None)
        table = table_of(noted.passing(structures, progress))
    report_skipped(skipped, len(table))
    return table, noted.columns()


def _split_columns(folder: Path, n_structures: int) -> dict[str, Any]:
    from castile.splits.manifest import read_manifest
    from castile.splits.map_properties import split_columns

    return split_columns(*read_manifest(folder), n_structures)


def _components(table: StructureTable, settings: Any, threshold: float, pool: Any, steps: Progress) -> Any:
    from castile.splits.search import find_components
    from castile.splits.similarity_index import build_index
    from castile.splits.splitters import checked_threshold

    index = build_index(table, settings, pool=pool, progress=steps)
    found = find_components(index, checked_threshold(threshold), pool=pool, progress=steps)
    return found.labels.astype(float)


def _model_properties(
    path: Path, table: StructureTable, placed: Any, energies: Any, steps: Progress
) -> dict[str, Any]:
    """Absolute errors of the energy, and force deviations: the largest of a structure, or each atom's."""
    import numpy as np

    import castile

    model = castile.load(path)
    per_atom = bool((placed.atom >= 0).any())
    errors = np.full(len(table), np.nan)
    deviations = []
    for k, atoms in enumerate(table):
        predicted = model.predict_with_uncertainty(atoms)
        if energies is not None:
            errors[k] = abs(predicted.prediction.energy / len(atoms) - energies[k])
        norms = np.linalg.norm(predicted.forces_std, axis=1)
        deviations.append(norms if per_atom else norms.max(keepdims=True))
        steps("predicting", k + 1, len(table))
    found = {"force deviation": np.concatenate(deviations)}
    return found | ({"energy error": errors[placed.structure]} if np.isfinite(errors).any() else {})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="map", no_args_is_help=True)(map_structures)
