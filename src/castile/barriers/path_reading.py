"""Migration paths from files: extended XYZ, trajectories, and folders of nudged-elastic-band results."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from castile.barriers.path import MigrationPath, path_from_ends, path_from_images
from castile.errors import InputError
from castile.structures.xyz_frames import is_xyz, iterate_frames, open_text, parse_frame

PathSource = str | os.PathLike[str] | MigrationPath
_IMAGE_FOLDER = re.compile(r"^\d{1,4}$")
_PATH_ID = re.compile(r"\bpath_id=\"?([^\s\"]+)")
_IMAGE_FILES = (
    "OUTCAR", "OUTCAR.gz", "vasprun.xml", "CONTCAR", "POSCAR", "pw.out", "pw.pwo", "espresso.pwo",
    "espresso.out", "pw.in", "espresso.pwi",
)  # fmt: skip
_IMAGE_SUFFIXES = (".pwo", ".out", ".pwi", ".in", ".cif", ".vasp", ".xyz", ".extxyz", ".traj")


@dataclass(frozen=True)
class BrokenPath:
    """A path that cannot be used, and why."""

    path_id: str
    error: str


def read_paths(
    sources: PathSource | Iterable[PathSource], *, interpolation: str = "linear"
) -> Iterator[MigrationPath | BrokenPath]:
    """Paths of files, folders and globs, one in memory at a time; what is broken is yielded as such.

    Understood are: extended XYZ and ASE databases whose frames have ``path_id`` and ``image`` (in any order);
    any file that ASE reads with the images of one path; a folder with image folders 00, 01, ... (VASP, or
    Quantum ESPRESSO with an input or output in each); a folder with image files; the ``.path`` or ``.axsf``
    file of Quantum ESPRESSO's neb.x; a folder of such folders.

    Arguments:
        sources: paths of files or folders, globs, and paths in memory.
        interpolation: between two ends alone, "linear" or "idpp".

    Raises InputError when a file does not exist or a glob matches nothing.

    """
    listed = [sources] if isinstance(sources, str | os.PathLike | MigrationPath) else list(sources)
    if not listed:
        raise InputError("no paths were given; name at least one file or folder")
    for source in listed:
        if isinstance(source, MigrationPath):
            yield source
            continue
        for place in _places(os.fspath(source)):
            if place.is_dir():
                yield from _from_folder(place, interpolation)
            else:
                yield from _from_file(place, interpolation)


def source_files(sources: PathSource | Iterable[PathSource]) -> tuple[Path, ...]:
    """Files and folders that ``read_paths`` would read."""
    listed = [sources] if isinstance(sources, str | os.PathLike | MigrationPath) else list(sources)
    return tuple(place for s in listed if not isinstance(s, MigrationPath) for place in _places(os.fspath(s)))


def _places(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not matches:
        raise InputError(f"{text}: no such file or folder in {os.getcwd()}; check the path")
    return matches


def _from_file(file: Path, interpolation: str) -> Iterator[MigrationPath | BrokenPath]:
    if file.suffix in (".path", ".axsf"):
        yield _guarded(file.stem, lambda: _neb_path(file))
        return
    grouped: dict[str, list[Atoms]] = {}
    broken: dict[str, str] = {}
    finished: set[str] = set()
    last = None
    try:
        for number, frame in enumerate(_frames(file)):
            key = frame.path_id if isinstance(frame, BrokenPath) else _key(frame, file.stem)
            if last is not None and key != last and _complete(grouped.get(last, [])):
                yield _path(last, grouped.pop(last), interpolation)
                finished.add(last)
            last = key
            if isinstance(frame, BrokenPath):
                broken[key] = f"{file}: frame {number}: {frame.error}"
            elif key in finished:
                yield BrokenPath(
                    key, f"{file}: frame {number} belongs to path {key}, which was complete before"
                )
            else:
                grouped.setdefault(key, []).append(frame)
    except Exception as error:
        if last is not None and last not in finished:
            broken.setdefault(last, f"{file}: cannot be read further ({type(error).__name__}: {error})")
        else:
            yield BrokenPath(file.stem, f"{file}: cannot be read further ({type(error).__name__}: {error})")
    for key, error_text in broken.items():
        grouped.pop(key, None)
        yield BrokenPath(key, error_text)
    for key, frames in grouped.items():
        yield _path(key, frames, interpolation)


def _key(frame: Atoms, default: str) -> str:
    """Which path a frame belongs to."""
    return str(frame.info.get("path_id", _row_key(frame, default)))


def _row_key(frame: Atoms, default: str) -> str:
    stored = frame.info.get("key_value_pairs", {})
    return str(stored.get("path_id", default))


def _frames(file: Path) -> Iterator[Atoms | BrokenPath]:
    """Frames of a file; those of extended XYZ one at a time, broken ones as such."""
    if not is_xyz(file):
        yield from ase.io.iread(str(file), index=":", do_not_split_by_at_sign=True)
        return
    with file.open("rb") as raw, open_text(raw, file) as stream:
        for text in iterate_frames(stream, str(file)):
            try:
                yield parse_frame(text)
            except Exception as error:
                named = _PATH_ID.search(text.split("\n", 2)[1])
                yield BrokenPath(named[1] if named else file.stem, f"not a readable frame ({error})")


def _complete(frames: Sequence[Atoms]) -> bool:
    """Whether a path says how many images it has, and has them."""
    return bool(frames) and len(frames) == frames[0].info.get("n_images", -1)


def _path(path_id: str, frames: list[Atoms], interpolation: str) -> MigrationPath | BrokenPath:
    """Path of frames in any order."""

    def build() -> MigrationPath:
        """Sort, and read what is known."""
        images = _sorted(frames, path_id)
        info = images[0].info
        barrier = _label(images, path_id)
        if len(images) == 2:
            path = path_from_ends(images[0], images[1], path_id, method=interpolation)
        else:
            index = info.get("mobile_index")
            path = path_from_images(images, path_id, mobile_index=None if index is None else int(index))
        system, kind = str(info.get("system", "")), str(info.get("structure_class", ""))
        return replace(path, barrier=barrier, system=system, structure_class=kind)

    return _guarded(path_id, build)


def _sorted(frames: list[Atoms], path_id: str) -> list[Atoms]:
    """Frames in the order of ``image``, where they have it."""
    numbers = [frame.info.get("image") for frame in frames]
    if any(number is None for number in numbers):
        return list(frames)
    values = [int(number) for number in numbers]  # type: ignore[arg-type]
    if len(set(values)) != len(values):
        raise InputError(
            f"path {path_id}: image {max(values, key=values.count)} is there twice; give every image once"
        )
    missing = sorted(set(range(min(values), max(values) + 1)) - set(values))
    if missing and {min(values), max(values)} & set(missing):
        raise InputError(f"path {path_id}: images {missing} are missing")
    return [frames[k] for k in np.argsort(values)]


def _label(images: Sequence[Atoms], path_id: str) -> float | None:
    """The key ``barrier``, or else the highest energy above the first image's, where all have one."""
    for image in images:
        value = image.info.get("barrier", image.info.get("barrier_ev"))
        if value is not None:
            barrier = float(value)
            if not np.isfinite(barrier):
                raise InputError(
                    f"path {path_id}: its barrier is {value}; give a finite number of eV or none"
                )
            return barrier
    energies = [_energy(image) for image in images]
    if len(images) < 3 or any(energy is None for energy in energies):
        return None
    values = np.array(energies, dtype=np.float64)
    return float(values.max() - values[0]) if np.isfinite(values).all() else None


def _energy(image: Atoms) -> float | None:
    if image.calc is None:
        return None
    value = image.calc.results.get("energy")
    return None if value is None else float(value)


def _guarded(path_id: str, build: Callable[[], MigrationPath]) -> MigrationPath | BrokenPath:
    """Result of ``build``, or what went wrong."""
    try:
        return build()
    except Exception as error:
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return BrokenPath(path_id, text)


def _from_folder(folder: Path, interpolation: str) -> Iterator[MigrationPath | BrokenPath]:
    children = sorted(folder.iterdir())
    numbered = [child for child in children if child.is_dir() and _IMAGE_FOLDER.match(child.name)]
    if len(numbered) >= 2:
        ordered = sorted(numbered, key=lambda child: int(child.name))
        yield _guarded(folder.name, lambda: _numbered_path(folder.name, ordered, interpolation))
        return
    written = [child for child in children if child.suffix in (".path", ".axsf")]
    if written:
        yield from _from_file(written[0], interpolation)
        return
    images = [child for child in children if child.is_file() and child.suffix in _IMAGE_SUFFIXES]
    several = [child for child in images if child.suffix in (".xyz", ".extxyz", ".traj")]
    folders = [child for child in children if child.is_dir()]
    if several:
        for file in several:
            yield from _from_file(file, interpolation)
    elif len(images) >= 2:
        images.sort(key=_natural)
        yield _guarded(folder.name, lambda: _file_path(folder.name, images, interpolation))
    elif folders:
        for child in folders:
            yield from _from_folder(child, interpolation)
    else:
        yield BrokenPath(
            folder.name, f"{folder}: has neither images (00, 01, ...; *.traj) nor folders of them"
        )


def _natural(file: Path) -> list[int | str]:
    """Key that sorts image_2 before image_10, initial before and final after all."""
    name = file.stem.lower()
    rank = 0 if name.startswith(("init", "start")) else 2 if name.startswith(("fin", "end")) else 1
    return [rank, *(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))]


def _numbered_path(path_id: str, folders: Sequence[Path], interpolation: str) -> MigrationPath:
    images = [_folder_image(folder) for folder in folders]
    found = _path(path_id, images, interpolation)
    if isinstance(found, BrokenPath):
        raise InputError(found.error)
    return found


def _folder_image(folder: Path) -> Atoms:
    """Last structure in a folder of one image; energies where there is an output."""
    present = [
        folder / name for name in _IMAGE_FILES if (folder / name).is_file() and (folder / name).stat().st_size
    ]
    present += [f for f in sorted(folder.iterdir()) if f.suffix in _IMAGE_SUFFIXES and f not in present]
    problems = []
    for file in present:
        try:
            return _last_structure(file)
        except Exception as error:
            problems.append(f"{file.name}: {type(error).__name__}")
    raise InputError(
        f"{folder}: no file that ASE reads ({', '.join(problems) or 'POSCAR, CONTCAR, OUTCAR, *.pwo'})"
    )


def _last_structure(file: Path) -> Atoms:
    structure = ase.io.read(str(file), index=-1, do_not_split_by_at_sign=True)
    assert isinstance(structure, Atoms)
    return structure


def _file_path(path_id: str, files: Sequence[Path], interpolation: str) -> MigrationPath:
    found = _path(path_id, [_last_structure(file) for file in files], interpolation)
    if isinstance(found, BrokenPath):
        raise InputError(found.error)
    return found


def _neb_path(file: Path) -> MigrationPath:
    images = _neb_images(file)
    return path_from_images(images, file.stem, barrier=images[0].info.get("barrier"))


def _neb_images(file: Path) -> list[Atoms]:
    """Images of neb.x: an animated XSF, or the ``.path`` file with the XSF beside it for elements."""
    if file.suffix == ".axsf":
        images = ase.io.read(str(file), index=":", format="xsf")
        return list(images) if isinstance(images, list) else [images]
    beside = file.with_suffix(".axsf")
    if beside.is_file():
        images = _neb_images(beside)
        energies = _path_energies(file)
        if len(energies) == len(images):
            images[0].info["barrier"] = max(energies) - energies[0]
        return images
    raise InputError(f"{file}: elements and cell are not in it; keep the .axsf file of neb.x beside it")


def _path_energies(file: Path) -> list[float]:
    """Energies of the images in a ``.path`` file, eV (Hartree there)."""
    energies, lines = [], file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("Image:") and number + 1 < len(lines):
            energies.append(float(lines[number + 1].split()[0].replace("D", "E")) * 27.211386245988)
    return energies
