"""``castile map``: an interactive map of structures or atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from castile.cli.options import DataFiles, JsonFile
from castile.cli.similarity_options import Cutoff, Seed


def map_structures(
    data: DataFiles,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="HTML", help="Page to write.")],
    color: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Colour at first: an info key, energy, config_type, component, ..."),
    ] = None,
    atoms: Annotated[bool, typer.Option("--atoms", help="One point per atom, not per structure.")] = False,
    umap: Annotated[bool, typer.Option("--umap", help="UMAP instead of kernel PCA.")] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Adds errors and deviations of this model.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Adds the components of similar structures, k above this.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture of all points (default: beside the page).")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most points on the page; the picture has all.")] = 3000,
    cutoff: Cutoff = None,
    seed: Seed = 0,
    json: JsonFile = None,
) -> None:
    """Map DATA: structures that are alike lie together; a click shows the structure."""
    import numpy as np

    from castile.cli.output import remark, step_progress, write_json
    from castile.errors import InputError
    from castile.report.map_page import write_map_page, write_map_picture
    from castile.splits.kernel_map import kernel_map
    from castile.splits.settings import SimilaritySettings
    from castile.splits.structure_table import table_of
    from castile.structures import StructureSource

    source = StructureSource(data)
    picture = output.with_suffix(".png") if png is None else png
    for path in (output, picture, *([json] if json else [])):
        source.refuse_as_output(path)
    labelled = list(source)
    table = table_of(labelled)
    settings = SimilaritySettings(cutoff=cutoff)
    with step_progress() as steps:
        placed = kernel_map(table, settings, atoms=atoms, umap=umap, seed=seed, progress=steps)
        per_structure = _properties(labelled)
        if threshold is not None:
            per_structure["component"] = _components(table, settings, threshold, steps)
        if model is not None:
            per_structure |= _model_properties(model, labelled)
    properties = {name: values[placed.structure] for name, values in per_structure.items()}
    if atoms:
        properties["element"] = np.array([labelled[s].atoms.symbols[a] for s, a in zip(
            placed.structure, placed.atom, strict=True)])  # fmt: skip
    shown = _shown(placed.coordinates, most, seed)
    order = np.full(len(placed.structure), -1.0)
    order[shown] = np.arange(len(shown))
    properties["selection order"] = order
    color = color or ("element" if atoms else "config_type" if "config_type" in properties else "atoms")
    if color not in properties:
        raise InputError(f"--color {color}: not known; give one of {', '.join(sorted(properties))}")
    structures = {int(s): labelled[int(s)].atoms for s in np.unique(placed.structure[shown])}
    subtitle = f"{len(shown):,} of {len(placed.structure):,} points, {placed.method}"
    title = ", ".join(Path(name).name for name in data)
    write_map_page(output, placed, structures, properties, shown, color=color, title=title, subtitle=subtitle)
    write_map_picture(picture, placed, properties[color], color)
    if json is not None:
        numbers: dict[str, object] = {"n_points": len(placed.structure), "n_shown": len(shown)}
        numbers |= {f"explained_variance_{k + 1}": share for k, share in enumerate(placed.explained)}
        write_json(json, numbers)
    remark(f"Map: {output}; picture: {picture}")


def _properties(labelled: list[Any]) -> dict[str, Any]:
    """Numbers and names that every structure has."""
    import numpy as np

    found: dict[str, Any] = {
        "structure": np.array([item.name for item in labelled]),
        "atoms": np.array([float(len(item.atoms)) for item in labelled]),
        "composition": np.array([item.atoms.get_chemical_formula() for item in labelled]),
    }
    if any(item.config_type for item in labelled):
        found["config_type"] = np.array([item.config_type or "(none)" for item in labelled])
    if all(item.energy is not None for item in labelled):
        found["energy"] = np.array([item.energy / len(item.atoms) for item in labelled])
    shared = set.intersection(*(set(item.atoms.info) for item in labelled)) - set(found)
    for key in sorted(shared):
        values = [item.atoms.info[key] for item in labelled]
        if all(isinstance(v, (int, float, np.number)) and np.isfinite(v) for v in values):
            found[key] = np.array([float(v) for v in values])
        elif all(isinstance(v, (str, bool, np.bool_)) for v in values):
            found[key] = np.array([str(v) for v in values])
    return found


def _components(table: Any, settings: Any, threshold: float, steps: Any) -> Any:
    from castile.splits.search import find_components
    from castile.splits.similarity_index import build_index
    from castile.splits.splitters import checked_threshold

    index = build_index(table, settings, progress=steps)
    return find_components(index, checked_threshold(threshold), progress=steps).labels.astype(float)


def _model_properties(path: Path, labelled: list[Any]) -> dict[str, Any]:
    """Absolute errors of the energy, largest force deviation and extrapolation grade, per structure."""
    import numpy as np

    import castile

    model = castile.load(path)
    errors, deviations = [], []
    for item in labelled:
        predicted = model.predict_with_uncertainty(item.atoms)
        if item.energy is not None:
            errors.append(abs(predicted.prediction.energy - item.energy) / len(item.atoms))
        deviations.append(float(np.linalg.norm(predicted.forces_std, axis=1).max()))
    found = {"force deviation": np.array(deviations)}
    return found | ({"energy error": np.array(errors)} if len(errors) == len(labelled) else {})


def _shown(coordinates: Any, most: int, seed: int) -> Any:
    """Points of the page, the farthest from those before first."""
    import numpy as np

    from castile.selection import farthest_points

    n = len(coordinates)
    first = farthest_points(coordinates, min(n, most, 300), seed=seed)
    rest = np.setdiff1d(np.arange(n), first)
    rest = np.random.default_rng(seed).permutation(rest)[: max(0, min(n, most) - len(first))]
    return np.concatenate([first, rest])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="map", no_args_is_help=True)(map_structures)
