"""QUIP's XML of a Gaussian approximation potential, as plain data: what the file says, not what it means."""

import hashlib
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.formats.quip_strings import ParameterString, quip_float

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QuipCoordinates:
    """One ``gpCoordinates`` block: a descriptor with its kernel and sparse points.

    Attributes
    ----------
    label : str
    descriptor : ParameterString
        Type and parameters of the descriptor.
    covariance_type : int
        1 ard_se, 2 dot_product, 3 bond_real_space, 4 PP.
    delta, f0 : float
        ``signal_variance`` (which is an amplitude, not squared) and ``signal_mean``, eV.
    zeta : float
        Exponent of the dot product.
    theta : ndarray, shape (d,) or (0,)
        Length scales.
    permutations : tuple of tuple of int
        0-based.
    sparse_points : ndarray, shape (n_sparse, d)
    alpha, sparse_cutoff : ndarray, shape (n_sparse,)
    """

    label: str
    descriptor: ParameterString
    covariance_type: int
    delta: float
    f0: float
    zeta: float
    theta: Array
    permutations: tuple[tuple[int, ...], ...]
    sparse_points: Array
    alpha: Array
    sparse_cutoff: Array


@dataclass(frozen=True)
class QuipSpline:
    """Knots (x, y) of a spline with the slopes at its ends; None stands for the default of its kind."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    first_slope: float | None
    last_slope: float | None


@dataclass(frozen=True)
class GlueType:
    """One element of a Glue potential: density that its atoms give, and its embedding energy."""

    number: int
    density: QuipSpline
    density_is_spline: bool
    embedding: QuipSpline


@dataclass(frozen=True)
class GluePair:
    """Pair potential of two atomic numbers."""

    numbers: tuple[int, int]
    potential: QuipSpline


@dataclass(frozen=True)
class QuipGlue:
    """``Glue_params``."""

    types: tuple[GlueType, ...]
    pairs: tuple[GluePair, ...]


@dataclass(frozen=True)
class QuipPotential:
    """Everything in a GAP's XML that acts.

    Attributes
    ----------
    label : str
    gap_version : int
        0 where the file has none.
    default_energy : float
        Energy of elements without an entry, eV.
    energies : tuple of (atomic number, eV)
    coordinates : tuple of QuipCoordinates
    glue : QuipGlue or None
        The core, if the potential is a sum with one.
    """

    label: str
    gap_version: int
    default_energy: float
    energies: tuple[tuple[int, float], ...]
    coordinates: tuple[QuipCoordinates, ...]
    glue: QuipGlue | None


_TRUE = ("T", "TRUE")
_GAP_CHILDREN = ("GAP_data", "gpSparse", "command_line", "XYZ_data", "config_file")
_BLOCK_CHILDREN = ("theta", "descriptor", "permutation", "sparseX")
_BLOCK_ATTRIBUTES = (
    "label", "dimensions", "signal_variance", "signal_mean", "sparsified", "n_permutations",
    "covariance_type", "zeta", "n_sparseX", "sparseX_filename", "sparseX_md5sum", "x_size_max",
    "xPrime_size_max", "sparseX_size_max",
)  # fmt: skip
_AGAIN = "copy the original again, or run gap_fit again"
_MD5_LENGTH = 32


def read_quip_xml(path: str | Path) -> QuipPotential:
    """Return the content of a GAP's XML file and of the sparse-point files that it names.

    Raises
    ------
    InputError
        If the file is missing, no XML, no GAP, or names a potential or file that cannot be used.
    """
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the XML file of gap_fit") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not a readable XML file ({error}); copy the original again") from None
    label, core = _read_init_args(path, root)
    candidates = [element for element in root.iter("GAP_params") if element.get("label", "") == label]
    if not candidates and label == "" and root.find(".//GAP_params") is not None:
        candidates = list(root.iter("GAP_params"))[:1]
    if not candidates:
        found = ", ".join(repr(element.get("label")) for element in root.iter("GAP_params")) or "none"
        raise InputError(
            f"{path}: no GAP_params with the label {label!r} that the Potential names; found {found}"
        )
    gap = candidates[0]
    data, sparse = gap.find("GAP_data"), gap.find("gpSparse")
    if sparse is None:
        raise InputError(f"{path}: GAP_params {label!r} holds no gpSparse; the file is incomplete")
    if sparse.get("fitted", "T").upper() not in _TRUE:
        raise InputError(f"{path}: the potential is marked as not fitted; run gap_fit to its end")
    _refuse_foreign(path, gap, data, sparse)
    blocks = tuple(_read_coordinates(path, block) for block in sparse.findall("gpCoordinates"))
    announced = _whole(path, sparse, "n_coordinate", len(blocks))
    if announced != len(blocks):
        raise InputError(f"{path}: gpSparse announces {announced} gpCoordinates but holds {len(blocks)}")
    glue = None if core is None else _read_glue(path, root, core)
    energies = (
        []
        if data is None
        else [(_whole(path, e, "Z"), _number(path, e, "value")) for e in data.findall("e0")]
    )
    default = 0.0 if data is None or "e0" not in data.attrib else _number(path, data, "e0")
    version = _whole(path, gap, "gap_version", 0)
    return QuipPotential(label, version, default, tuple(energies), blocks, glue)


def sparse_point_files(path: str | Path) -> tuple[Path, ...]:
    """Return the files of sparse points that a GAP's XML file names."""
    path = Path(path)
    blocks = ElementTree.parse(path).getroot().iter("gpCoordinates")
    return tuple(path.parent / name for block in blocks if (name := block.get("sparseX_filename")))


def _refuse_foreign(
    path: Path, gap: ElementTree.Element, data: ElementTree.Element | None, sparse: ElementTree.Element
) -> None:
    """Check that nothing is there that would act and that is not read."""
    found = [child.tag for child in gap if child.tag not in _GAP_CHILDREN]
    found += [child.tag for child in sparse if child.tag != "gpCoordinates"]
    if data is not None:
        found += [child.tag for child in data if child.tag != "e0"]
        found += [key for key in data.attrib if key not in ("do_core", "e0", "do_pca")]
        if data.get("do_pca", "F").upper() in _TRUE:
            found.append("do_pca")
    for block in sparse.findall("gpCoordinates"):
        found += [child.tag for child in block if child.tag not in _BLOCK_CHILDREN]
        found += [key for key in block.attrib if key not in _BLOCK_ATTRIBUTES]
    if found:
        raise InputError(
            f"{path}: {', '.join(sorted(set(found)))} in GAP_params is not supported; if QUIP ignores it "
            "too, remove it from the XML file"
        )


def _read_init_args(path: Path, root: ElementTree.Element) -> tuple[str, str | None]:
    """Return the labels of the GAP and of the Glue core that is added; None where none is."""
    potential = root if root.tag == "Potential" else root.find(".//Potential")
    if potential is None:
        raise InputError(f"{path}: has no Potential element; this is not the XML file that gap_fit writes")
    text = potential.get("init_args", "")
    whole = ParameterString.parse(text)
    if "e_scale" in text.lower() or "r_scale" in text.lower():
        raise InputError(
            f"{path}: E_scale and r_scale in init_args '{text}' are not supported; remove the scaling"
        )
    if not whole.has("sum"):
        return _gap_label(path, whole), None
    parts = [whole.values.get(f"init_args_pot{k}") for k in (1, 2)]
    if None in parts or whole.has("init_args_pot3"):
        raise InputError(
            f"{path}: init_args '{text}' is not supported; give a sum of a Glue core and one GAP"
        )
    strings = [ParameterString.parse(str(part)) for part in parts]
    gaps = [string for string in strings if string.has("gap")]
    cores = [string for string in strings if string.has("glue")]
    if len(gaps) != 1 or len(cores) != 1:
        raise InputError(
            f"{path}: the sum of '{parts[0]}' and '{parts[1]}' is not supported; the only core that can be "
            "imported "
            "is IP Glue"
        )
    extra = cores[0].unknown(("ip", "glue", "label"))
    if extra:
        raise InputError(
            f"{path}: {', '.join(extra)} in the core's arguments '{cores[0].text}' is not supported"
        )
    return _gap_label(path, gaps[0]), cores[0].text_of("label", "")


def _gap_label(path: Path, string: ParameterString) -> str:
    if not string.has("gap"):
        raise InputError(f"{path}: the potential '{string.text}' is no GAP; only GAPs can be imported")
    extra = string.unknown(("ip", "gap", "label", "xml_label"))
    if extra:
        raise InputError(f"{path}: {', '.join(extra)} in the arguments '{string.text}' is not supported")
    return string.text_of("label", "", "xml_label")


def _read_coordinates(path: Path, block: ElementTree.Element) -> QuipCoordinates:
    label = block.get("label", "")
    where = f"{path}: gpCoordinates {label}"
    if block.get("sparsified", "T").upper() not in _TRUE:
        raise InputError(f"{where}: not sparsified; such a file holds no weights that can be used")
    theta = _numbers(where, "theta", block.findtext("theta"))
    covariance = _whole(path, block, "covariance_type")
    zeta = _number(path, block, "zeta") if "zeta" in block.attrib else 0.0
    if covariance == 2 and "zeta" not in block.attrib:
        if len(theta) != 1:
            raise InputError(f"{where}: neither a zeta nor a single number in theta")
        zeta = float(theta[0])
    dimensions, n_sparse = _whole(path, block, "dimensions"), _whole(path, block, "n_sparseX")
    numbered = sorted(
        ((_whole(path, entry, "i"), entry) for entry in block.findall("sparseX")), key=lambda pair: pair[0]
    )
    if [index for index, _ in numbered] != list(range(1, n_sparse + 1)):
        raise InputError(
            f"{where}: announces the sparse points 1 to {n_sparse} but holds {len(numbered)}, or one of them "
            f"twice; the file is incomplete: {_AGAIN}"
        )
    entries = [entry for _, entry in numbered]
    filename = block.get("sparseX_filename")
    if filename:
        points = _read_sparse_file(
            where, path.parent / filename, block.get("sparseX_md5sum"), n_sparse, dimensions
        )
    else:
        points = np.array([_read_inline(where, entry, dimensions) for entry in entries]).reshape(
            n_sparse, dimensions
        )
    return QuipCoordinates(
        label,
        ParameterString.parse(block.findtext("descriptor") or ""),
        covariance,
        _number(path, block, "signal_variance"),
        _number(path, block, "signal_mean"),
        zeta,
        theta,
        tuple(
            tuple(int(number) - 1 for number in _numbers(where, "permutation", entry.text))
            for entry in block.findall("permutation")
        ),
        points,
        np.array([_number(path, entry, "alpha") for entry in entries]),
        np.array([_number(path, entry, "sparseCutoff") for entry in entries]),
    )


def _read_sparse_file(where: str, path: Path, checksum: str | None, n_sparse: int, dimensions: int) -> Array:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{where}: the sparse points in {path} cannot be read ({error.strerror}); put the file beside "
            "the XML file"
        ) from None
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    # QUIP writes something shorter where the machine has no md5sum, and does not check it
    if checksum and len(checksum.strip()) == _MD5_LENGTH and checksum.strip() != digest:
        raise InputError(
            f"{where}: {path} has the MD5 sum {digest}, the XML file says {checksum}; it belongs to "
            "another model or is damaged"
        )
    try:
        values = _parse_numbers(content.decode())
    except ValueError as error:
        raise InputError(
            f"{where}: {path} holds something that is not a number ({error}); {_AGAIN}"
        ) from None
    if values.size != n_sparse * dimensions:
        raise InputError(
            f"{where}: {path} holds {values.size} numbers; {n_sparse} points of {dimensions} components "
            f"need {n_sparse * dimensions}: {_AGAIN}"
        )
    if not np.isfinite(values).all():
        line = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"{where}: number {line + 1} in {path} is {values[line]} (point {line // dimensions + 1}, "
            f"component {line % dimensions + 1}); {_AGAIN}"
        )
    return values.reshape(n_sparse, dimensions)


def _parse_numbers(text: str) -> Array:
    """Return the numbers of a text; the fast reader first, which does not know all of Fortran's forms."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, sep=" ")
        except (DeprecationWarning, ValueError):
            return np.array([quip_float(word) for word in text.split()])


def _read_inline(where: str, entry: ElementTree.Element, dimensions: int) -> Array:
    slices = entry.findall("sparseX_slice")
    if slices:
        point = np.full(dimensions, np.nan)
        for piece in slices:
            first, last = _whole(where, piece, "start") - 1, _whole(where, piece, "end")
            numbers = _numbers(where, "sparseX_slice", piece.text)
            if len(numbers) != last - first or first < 0 or last > dimensions:
                raise InputError(
                    f"{where}: slice {first + 1}-{last} of sparse point {entry.get('i')} is incomplete"
                )
            point[first:last] = numbers
    else:
        point = _numbers(where, "sparseX", entry.text)
    if point.shape != (dimensions,) or not np.isfinite(point).all():
        raise InputError(
            f"{where}: sparse point {entry.get('i')} does not have {dimensions} finite numbers; {_AGAIN}"
        )
    return point


def _read_glue(path: Path, root: ElementTree.Element, label: str) -> QuipGlue:
    candidates = [entry for entry in root.iter("Glue_params") if label in ("", entry.get("label", ""))]
    if not candidates:
        named = f" with the label {label!r}" if label else ""
        raise InputError(f"{path}: the potential adds a Glue core, but there are no Glue_params{named}")
    glue = candidates[0]
    types, number_of = [], {}
    for entry in glue.findall("per_type_data"):
        number = _whole(path, entry, "atomic_num")
        number_of[entry.get("type")] = number
        density, embedding = entry.find("density"), entry.find("potential_density")
        foreign = [child.tag for child in entry if child.tag not in ("density", "potential_density")]
        if foreign or density is None or embedding is None:
            raise InputError(
                f"{path}: Glue_params of element {number} must hold density and potential_density"
                + (f"; {', '.join(foreign)} is not supported" if foreign else "")
            )
        types.append(
            GlueType(
                number,
                _read_spline(path, density, "a", "rho", "density_y1", "density_yn"),
                density.get("do_spline", "F").upper() in _TRUE,
                _read_spline(path, embedding, "rho", "E", "y1", "yn"),
            )
        )
    pairs = []
    for entry in glue.findall("per_pair_data"):
        numbers = [number_of.get(entry.get(key)) for key in ("type1", "type2")]
        potential = entry.find("potential_pair")
        if None in numbers or potential is None:
            raise InputError(
                f"{path}: a per_pair_data of Glue_params names a type or potential that is not there"
            )
        pair = (int(numbers[0] or 0), int(numbers[1] or 0))
        pairs.append(GluePair(pair, _read_spline(path, potential, "r", "E", "y1", "yn")))
    return QuipGlue(tuple(types), tuple(pairs))


def _read_spline(
    path: Path, element: ElementTree.Element, x_name: str, y_name: str, first_key: str, last_key: str
) -> QuipSpline:
    points = [(_number(path, p, x_name), _number(path, p, y_name)) for p in element.findall("point")]
    if len(points) < 2:
        raise InputError(f"{path}: {element.tag} in Glue_params has {len(points)} points; a spline needs two")
    if any(second[0] <= first[0] for first, second in pairwise(points)):
        raise InputError(f"{path}: the points of {element.tag} in Glue_params must have rising {x_name}")
    slopes = [_number(path, element, key) if key in element.attrib else None for key in (first_key, last_key)]
    return QuipSpline(tuple(p[0] for p in points), tuple(p[1] for p in points), slopes[0], slopes[1])


def _number(where: Path | str, element: ElementTree.Element, name: str) -> float:
    text = element.get(name)
    if text is None:
        raise InputError(f"{where}: {element.tag} has no {name}; {_AGAIN}")
    try:
        value = quip_float(text)
    except ValueError:
        raise InputError(f"{where}: {name}={text!r} in {element.tag} is not a number; {_AGAIN}") from None
    if not np.isfinite(value):
        raise InputError(f"{where}: {name}={text!r} in {element.tag} is not finite; {_AGAIN}")
    return value


def _whole(where: Path | str, element: ElementTree.Element, name: str, default: int | None = None) -> int:
    if default is not None and name not in element.attrib:
        return default
    value = _number(where, element, name)
    if value != int(value):
        raise InputError(f"{where}: {name}={element.get(name)!r} in {element.tag} must be an integer")
    return int(value)


def _numbers(where: str, name: str, text: str | None) -> Array:
    try:
        return np.array([quip_float(word) for word in (text or "").split()])
    except ValueError as error:
        raise InputError(
            f"{where}: {name} holds something that is not a number ({error}); {_AGAIN}"
        ) from None
