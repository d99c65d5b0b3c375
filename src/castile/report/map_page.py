"""An interactive map of structures as one HTML file, by chemiscope, and as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from castile.execution.optional_packages import import_optional
from castile.formats import write_text_file
from castile.report import style
from castile.report.packed_points import packed_dataset
from castile.splits.kernel_map import KernelMap
from castile.splits.structure_table import StructureTable

_MANY, _MOST_SYMBOLS = 5000, 12
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">
<style>
 html, body {{ margin: 0; height: 100%; font: 15px/1.4 system-ui, sans-serif; color: #1d2733; }}
 header {{ padding: 8px 16px; }} header b {{ margin-right: 1em; }}
 main {{ display: flex; height: calc(100% - 48px); min-height: 520px; overflow: hidden; }}
 #chemiscope-left {{ flex: 3; display: flex; flex-direction: column; min-width: 0; }}
 #chemiscope-right {{ flex: 2; display: flex; flex-direction: column; min-width: 0; }}
 #chemiscope-map, #chemiscope-structure {{ flex: 1; position: relative; min-height: 0; }}
 #chemiscope-info {{ padding: 4px 8px; }}
</style></head><body>
<header><b>{title}</b>{subtitle}<b id="problem"></b></header>
<main><div id="chemiscope-left"><div id="chemiscope-meta"></div><div id="chemiscope-map"></div></div>
<div id="chemiscope-right"><div id="chemiscope-structure"></div><div id="chemiscope-info"></div></div></main>
<script>{library}</script>
<script id="header" type="application/json">{header}</script>
<script id="block" type="application/octet-stream">{block}</script>
<script>{script}</script></body></html>
"""


def write_map_page(
    path: str | os.PathLike[str],
    placed: KernelMap,
    table: StructureTable,
    properties: Mapping[str, NDArray[Any]],
    shown: NDArray[np.int64],
    *,
    color: str,
    title: str,
    subtitle: str = "",
) -> Path:
    """Write the page; it loads nothing from anywhere.

    Parameters
    ----------
    path : path
    placed : KernelMap
    table : StructureTable
        Structures of the points.
    properties : mapping of str to array (n_points,)
        What points may be coloured by: numbers (NaN: unknown) or names.
    shown : ndarray of int
        Points on the page.
    color : str
        Property that colours them at first.

    Raises
    ------
    InputError
        If chemiscope is not installed.
    """
    chemiscope = import_optional("chemiscope", "maps need chemiscope", "maps")
    library = Path(str(chemiscope.__file__)).parent / "sphinx" / "static" / "chemiscope.min.js"
    owners, number = np.unique(placed.structure[shown], return_inverse=True)
    per_atom = bool((placed.atom >= 0).any())
    if not per_atom:  # one structure a point, in the order of the points
        owners, number = placed.structure[shown], np.arange(len(shown))
    listed = {f"{placed.method} {k + 1}": placed.coordinates[shown, k] for k in range(_axes(placed))}
    listed |= {name: np.asarray(values)[shown] for name, values in properties.items()}
    header, block = packed_dataset(
        [table.atoms(int(owner)) for owner in owners],
        listed,
        (number, placed.atom[shown]) if per_atom else None,
        title=title,
        settings=_settings(listed, color),
    )
    page = _PAGE.format(
        title=escape(title),
        subtitle=escape(subtitle),
        library=library.read_text(encoding="utf-8").replace("</script", "<\\/script"),
        header=header,
        block=block,
        script=(Path(__file__).parent / "map_script.js").read_text(encoding="utf-8"),
    )
    write_text_file(Path(path), page)
    return Path(path)


def _settings(listed: Mapping[str, NDArray[Any]], color: str) -> dict[str, Any]:
    """What chemiscope shows at first: many points small and without outlines; a few names also as symbols,
    which have a legend.
    """
    x, y, *_ = listed
    look: dict[str, Any] = {"x": {"property": x}, "y": {"property": y}, "color": {"property": color}}
    values = listed[color]
    if len(values) > _MANY:
        look |= {"size": {"factor": 20}, "markerOutline": False}
    if not np.issubdtype(values.dtype, np.number) and 1 < len(np.unique(values)) <= _MOST_SYMBOLS:
        look["symbol"] = color
    return {"map": look, "structure": [{"unitCell": True}]}


def write_map_picture(
    path: str | os.PathLike[str], placed: KernelMap, values: NDArray[Any], name: str
) -> Path:
    """Write the first two components of all points, coloured by a property, as .png, .svg or .pdf."""
    numeric = np.issubdtype(values.dtype, np.number)
    classes, codes = np.unique(values, return_inverse=True)
    settings = {**style.FIGURE_SETTINGS, "savefig.facecolor": "white"}
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        canvas = Canvas(figsize=(6.4, 5.0), layout="constrained")
        axes = canvas.subplots()
        x, y = placed.coordinates[:, 0], placed.coordinates[:, 1]
        if numeric:
            drawn = axes.scatter(x, y, c=values, s=8, cmap="viridis", linewidths=0)
            canvas.colorbar(drawn, label=name)
        else:
            palette = mpl.colormaps["tab20"]
            for code, label in enumerate(classes):
                inside = codes == code
                axes.scatter(
                    x[inside], y[inside], s=8, color=palette(code % 20), label=str(label), linewidths=0
                )
            if len(classes) <= 20:
                axes.legend(fontsize=7, title=name)
        shares = [f" ({share:.0%} of the variance)" for share in placed.explained[:2]] or ["", ""]
        axes.set(xlabel=f"{placed.method} 1{shares[0]}", ylabel=f"{placed.method} 2{shares[-1]}")
        canvas.savefig(Path(path), dpi=160)
    return Path(path)


def _axes(placed: KernelMap) -> int:
    return min(3, placed.coordinates.shape[1])
