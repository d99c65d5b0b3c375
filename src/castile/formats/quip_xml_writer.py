"""A Gaussian approximation potential as QUIP's XML, with one file of sparse points per block beside it."""

import hashlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from castile.errors import InputError
from castile.formats.quip_strings import write_number
from castile.formats.quip_xml import QuipCoordinates, QuipGlue, QuipPotential, QuipSpline

_LARGEST_SLOPE = "1.0e50"


def write_quip_xml(path: str | Path, potential: QuipPotential) -> list[Path]:
    """Write the XML file and the sparse-point files; return all paths, the XML file last.

    Old files of these names are replaced. The XML file is written last, so that a complete XML file names
    complete files.

    Raises
    ------
    InputError
        If the path is a folder, or its folder does not exist; then nothing is written.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise InputError(f"{path}: {reason}; name an XML file in a folder that exists")
    root = ElementTree.Element(potential.label)
    init_args = f"IP GAP label={potential.label}"
    if potential.glue is not None:
        init_args = f"Sum init_args_pot1={{IP Glue}} init_args_pot2={{{init_args}}}"
    ElementTree.SubElement(root, "Potential", label=potential.label, init_args=init_args)
    if potential.glue is not None:
        _add_glue(root, potential.glue)
    gap = ElementTree.SubElement(
        root, "GAP_params", label=potential.label, gap_version=str(potential.gap_version)
    )
    data = ElementTree.SubElement(gap, "GAP_data", do_core="T" if potential.glue is not None else "F")
    if potential.default_energy:
        data.set("e0", write_number(potential.default_energy))
    for number, energy in potential.energies:
        ElementTree.SubElement(data, "e0", Z=str(number), value=write_number(energy))
    count = str(len(potential.coordinates))
    sparse = ElementTree.SubElement(gap, "gpSparse", label=potential.label, n_coordinate=count, fitted="T")
    written = []
    for index, block in enumerate(potential.coordinates, start=1):
        label = f"{potential.label}{index}"
        points = path.with_name(f"{path.name}.sparseX.{label}")
        written.append(points)
        _add_coordinates(sparse, block, label, points)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="unicode")
    return [*written, path]


def _add_coordinates(parent: ElementTree.Element, block: QuipCoordinates, label: str, points: Path) -> None:
    content = "".join(f"{value:28.20E}\n" for value in np.ravel(block.sparse_points)).encode()
    points.write_bytes(content)
    element = ElementTree.SubElement(
        parent,
        "gpCoordinates",
        label=label,
        dimensions=str(block.sparse_points.shape[1]),
        signal_variance=write_number(block.delta),
        signal_mean=write_number(block.f0),
        sparsified="T",
        n_permutations="1",
        covariance_type=str(block.covariance_type),
    )
    if block.covariance_type == 2:
        element.set("zeta", write_number(block.zeta))
    element.set("n_sparseX", str(len(block.alpha)))
    element.set("sparseX_filename", points.name)
    element.set("sparseX_md5sum", hashlib.md5(content, usedforsecurity=False).hexdigest())
    if block.covariance_type != 2:
        ElementTree.SubElement(element, "theta").text = " ".join(write_number(value) for value in block.theta)
    ElementTree.SubElement(element, "descriptor").text = block.descriptor.text
    identity = [1] if block.covariance_type == 2 else range(1, block.sparse_points.shape[1] + 1)
    ElementTree.SubElement(element, "permutation", i="1").text = " ".join(str(i) for i in identity)
    for i, (alpha, cutoff) in enumerate(zip(block.alpha, block.sparse_cutoff, strict=True), start=1):
        ElementTree.SubElement(
            element, "sparseX", i=str(i), alpha=write_number(alpha), sparseCutoff=write_number(cutoff)
        )


def _add_glue(root: ElementTree.Element, glue: QuipGlue) -> None:
    parent = ElementTree.SubElement(root, "Glue_params", n_types=str(len(glue.types)))
    type_of = {}
    for index, entry in enumerate(glue.types, start=1):
        type_of[entry.number] = str(index)
        element = ElementTree.SubElement(
            parent, "per_type_data", type=str(index), atomic_num=str(entry.number)
        )
        density = _add_spline(element, "density", entry.density, "a", "rho", "density_y1", "density_yn")
        if entry.density_is_spline:
            density.set("do_spline", "T")
        _add_spline(element, "potential_density", entry.embedding, "rho", "E", "y1", "yn")
    for pair in glue.pairs:
        element = ElementTree.SubElement(
            parent, "per_pair_data", type1=type_of[pair.numbers[0]], type2=type_of[pair.numbers[1]]
        )
        _add_spline(element, "potential_pair", pair.potential, "r", "E", "y1", "yn")


def _add_spline(
    parent: ElementTree.Element, tag: str, spline: QuipSpline, x_name: str, y_name: str, first: str, last: str
) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, num_points=str(len(spline.x)))
    for name, slope in ((first, spline.first_slope), (last, spline.last_slope)):
        if slope is not None:
            element.set(name, write_number(slope) if abs(slope) < 1e30 else _LARGEST_SLOPE)
    for x, y in zip(spline.x, spline.y, strict=True):
        ElementTree.SubElement(element, "point", {x_name: write_number(x), y_name: write_number(y)})
    return element
