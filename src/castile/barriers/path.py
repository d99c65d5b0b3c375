"""Migration paths: a host, and one ion that moves through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import find_mic
from ase.mep import NEB
from numpy.typing import NDArray

from castile.errors import InputError
from castile.structures.neighbors import neighbor_pairs
from castile.structures.validation import SMALLEST_DISTANCE

Float64Array = NDArray[np.float64]
SHORTEST_PATH = 0.2  # A; a shorter displacement is no hop
OTHER_MOTION = 1.0  # A; another atom that moves more takes part in the hop


@dataclass(frozen=True)
class MigrationPath:
    """One ion moving through a host that stands still.

    Attributes
    ----------
    path_id : str
    host : ase.Atoms
        Everything but the moving ion, with cell and periodic directions.
    mobile : int
        Atomic number of the moving ion.
    track : ndarray, shape (n_images, 3)
        Its positions, Angstrom, unwrapped: neighbouring ones belong together.
    barrier : float or None
        eV, where known.
    system, structure_class : str
        Free text; empty where unknown.
    warnings : tuple of str
        What is odd about the path, though it can be used.
    certain : bool
        Whether the ends are known to be the sites of the hop, as where it was built from a crystal.
    """

    path_id: str
    host: Atoms
    mobile: int
    track: Float64Array
    barrier: float | None = None
    system: str = ""
    structure_class: str = ""
    warnings: tuple[str, ...] = ()
    certain: bool = False

    @property
    def length(self) -> float:
        """Distance between the two ends, Angstrom."""
        return float(np.linalg.norm(self.track[-1] - self.track[0]))

    @property
    def formula(self) -> str:
        """Reduced formula of host and ion."""
        numbers = np.append(self.host.numbers, self.mobile)
        return str(Atoms(numbers).get_chemical_formula(empirical=True))

    @property
    def host_formula(self) -> str:
        """Reduced formula of the host without ions of the moving kind."""
        rest = self.host.numbers[self.host.numbers != self.mobile]
        return str(Atoms(rest).get_chemical_formula(empirical=True)) if len(rest) else ""

    @property
    def symbol(self) -> str:
        """Element of the moving ion."""
        return chemical_symbols[self.mobile]

    def reversed(self) -> MigrationPath:
        """Return the path walked the other way."""
        return replace(self, track=self.track[::-1].copy())

    def straightened(self) -> MigrationPath:
        """Return the path with the ends of its track only."""
        return replace(self, track=self.track[[0, -1]].copy())

    def points(self, n_points: int) -> Float64Array:
        """Return ``n_points`` positions at equal steps along the track, Angstrom."""
        steps = np.linalg.norm(np.diff(self.track, axis=0), axis=1)
        walked = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
        at = np.linspace(0.0, 1.0, n_points)
        return np.stack([np.interp(at, walked, self.track[:, axis]) for axis in range(3)], axis=1)

    def images(self, n_images: int = 5) -> list[Atoms]:
        """Return the path as structures, the moving ion first, as ``data/barriers`` has them."""
        frames = []
        for number, position in enumerate(self.points(n_images)):
            frame = Atoms([self.mobile], [position], cell=self.host.cell, pbc=self.host.pbc) + self.host
            frame.info = {"path_id": self.path_id, "image": number, "mobile_index": 0}
            frames.append(frame)
        return frames


def path_from_images(
    images: Sequence[Atoms],
    path_id: str,
    *,
    mobile_index: int | None = None,
    barrier: float | None = None,
    system: str = "",
    structure_class: str = "",
) -> MigrationPath:
    """Return the path of a list of images in their order, the atoms in the same order in each.

    The moving ion is the atom that moves furthest. The host is taken half-way between the first and the last
    image, so that a path and its reverse, relaxed or not, are the same to a model.

    Arguments:
        images: two or more structures.
        path_id: named in messages.
        mobile_index: index of the moving ion, if known.
        barrier: eV.
        system, structure_class: free text that is kept.

    Raises InputError when the images do not belong together, or nothing moves.

    """
    first, last = _checked_images(images, path_id)
    moved = find_mic(last.positions - first.positions, first.cell, first.pbc)[0]
    distances = np.linalg.norm(moved, axis=1)
    index = int(np.argmax(distances)) if mobile_index is None else int(mobile_index)
    if not -len(first) <= index < len(first):
        raise InputError(f"path {path_id}: mobile_index is {index}, but there are {len(first)} atoms")
    index %= len(first)
    track = _track(images, index)
    if np.linalg.norm(track[-1] - track[0]) < SHORTEST_PATH:
        raise InputError(
            f"path {path_id}: atom {index} ({first.symbols[index]}) moves only "
            f"{np.linalg.norm(track[-1] - track[0]):.3f} A; the ends of a hop must differ, and atoms keep "
            "their order"
        )
    host = first.copy()
    host.positions = first.positions + 0.5 * moved
    del host[index]
    if len(host) == 0:
        raise InputError(f"path {path_id}: there is no atom beside the moving ion; give the host too")
    remaining = np.delete(distances, index)
    warnings = list(_host_warnings(host))
    if remaining.max(initial=0.0) > OTHER_MOTION:
        other = int(np.delete(np.arange(len(first)), index)[np.argmax(remaining)])
        warnings.append(
            f"atom {other} ({first.symbols[other]}) moves {remaining.max():.2f} A too; "
            f"only the hop of atom {index} is seen"
        )
    bare = Atoms(host.numbers, host.positions, cell=host.cell, pbc=host.pbc)
    return MigrationPath(
        path_id, bare, int(first.numbers[index]), track, barrier, system, structure_class, tuple(warnings)
    )


def _checked_images(images: Sequence[Atoms], path_id: str) -> tuple[Atoms, Atoms]:
    """First and last image, after checking that all fit together."""
    if len(images) < 2:
        raise InputError(f"path {path_id}: {len(images)} image; a path needs at least its two ends")
    first = images[0]
    for number, image in enumerate(images):
        if len(image) != len(first) or (image.numbers != first.numbers).any():
            raise InputError(
                f"path {path_id}: image {number} has other atoms than image 0 "
                f"({image.get_chemical_formula()}, {first.get_chemical_formula()}), or another order; give "
                "all images the same atoms in one order"
            )
        if not (np.isfinite(image.positions).all() and np.isfinite(image.cell.array).all()):
            raise InputError(
                f"path {path_id}: positions or cell of image {number} are not finite; repair them"
            )
    known = (first.numbers > 0) & (first.numbers < len(chemical_symbols))
    if not known.all():
        raise InputError(
            f"path {path_id}: atomic number {first.numbers[~known][0]} is no element; correct it"
        )
    if first.pbc.any() and abs(np.linalg.det(first.cell.complete().array)) < 1e-6:
        raise InputError(
            f"path {path_id}: it is periodic, but its cell has no volume; give the lattice vectors"
        )
    return first, images[-1]


def _track(images: Sequence[Atoms], index: int) -> Float64Array:
    """Unwrapped positions of the moving ion: each step as written if it is short, else to the next image."""
    points = [images[0].positions[index]]
    cell, pbc = images[0].cell, images[0].pbc
    for image in images[1:]:
        step = image.positions[index] - points[-1]
        shortest = find_mic(step, cell, pbc)[0]
        points.append(
            points[-1] + (shortest if np.linalg.norm(shortest) < np.linalg.norm(step) - 1e-6 else step)
        )
    return np.array(points)


def _host_warnings(host: Atoms) -> list[str]:
    """Two atoms of the host that coincide."""
    pairs = neighbor_pairs(host, SMALLEST_DISTANCE)
    if len(pairs.center) == 0:
        scaled = host.get_scaled_positions() if host.pbc.any() else host.positions
        n_distinct = len(
            np.unique(np.round(np.hstack([scaled % 1.0 if host.pbc.all() else scaled]), 6), axis=0)
        )
        return [] if n_distinct == len(host) else ["two atoms of the host coincide"]
    i, j = int(pairs.center[0]), int(pairs.neighbor[0])
    distance = float(np.linalg.norm(pairs.vectors[0]))
    return [
        f"atoms {i} ({host.symbols[i]}) and {j} ({host.symbols[j]}) of the host are {distance:.3f} A apart"
    ]


def path_from_ends(initial: Atoms, final: Atoms, path_id: str, *, method: str = "linear") -> MigrationPath:
    """Return the path between two structures, five images by ASE's interpolation.

    Arguments:
        initial, final: the same atoms in the same order.
        path_id: named in messages.
        method: "linear", or "idpp" for the image-dependent pair potential of Smidstrup et al., J. Chem. Phys.
            140, 214106 (2014).

    Raises InputError when the ends do not fit together or the method is unknown.

    """
    if method not in ("linear", "idpp"):
        raise InputError(f"interpolation = {method!r}: give 'linear' or 'idpp'")
    _checked_images([initial, final], path_id)
    if method == "linear":
        return path_from_images([initial, final], path_id)
    images = [initial.copy(), *(initial.copy() for _ in range(3)), final.copy()]
    try:
        NEB(images, method="improvedtangent").interpolate(method="idpp", mic=bool(initial.pbc.any()))
    except (NotImplementedError, ValueError, RuntimeError) as error:
        raise InputError(f"path {path_id}: ASE cannot interpolate it ({error}); use linear") from error
    return path_from_images(images, path_id)
