"""Paths from all kinds of files; what is broken is reported and stops nothing."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from barriers.examples import rocksalt_path
from castile.barriers import BrokenPath, MigrationPath, path_from_ends, path_from_images, read_paths
from castile.errors import InputError


def same(one: MigrationPath, other: MigrationPath) -> None:
    """Both describe one hop, to the digits of a text file."""
    assert one.mobile == other.mobile
    assert one.length == pytest.approx(other.length, abs=1e-5)
    assert sorted(one.host.numbers) == sorted(other.host.numbers)


@pytest.fixture
def path() -> MigrationPath:
    return rocksalt_path("Li", "O", 4.5, "7", 0.4)


def frames(path: MigrationPath) -> list[Atoms]:
    images = path.images(5)
    for image in images:
        image.info |= {"barrier": path.barrier, "n_images": 5}
    return images


def test_frames_in_any_order(path: MigrationPath, tmp_path: Path) -> None:
    images = frames(path)
    write(tmp_path / "a.xyz", [images[k] for k in (3, 0, 4, 1, 2)])
    (read,) = read_paths(str(tmp_path / "a.xyz"))
    assert isinstance(read, MigrationPath)
    same(read, path)
    assert read.barrier == pytest.approx(0.4)
    np.testing.assert_allclose(read.track[0], path.track[0], atol=1e-6)


def test_frames_without_labels(path: MigrationPath, tmp_path: Path) -> None:
    images = path.images(5)
    write(tmp_path / "a.xyz", images)
    (read,) = read_paths(str(tmp_path / "a.xyz"))
    assert isinstance(read, MigrationPath)
    assert read.barrier is None
    assert read.path_id == "7"


def test_trajectory_with_energies(path: MigrationPath, tmp_path: Path) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    images = path.images(5)
    for image, energy in zip(images, (1.0, 1.3, 1.75, 1.2, 0.9), strict=True):
        image.info = {}
        image.calc = SinglePointCalculator(image, energy=energy)
    write(tmp_path / "hop.traj", images)
    (read,) = read_paths(str(tmp_path / "hop.traj"))
    assert isinstance(read, MigrationPath)
    same(read, path)
    assert read.barrier == pytest.approx(0.75)


def test_folders_of_vasp(path: MigrationPath, tmp_path: Path) -> None:
    for number, image in enumerate(path.images(5)):
        folder = tmp_path / "run" / f"{number:02d}"
        folder.mkdir(parents=True)
        write(folder / ("POSCAR" if number in (0, 4) else "CONTCAR"), image, format="vasp")
    for place in (tmp_path / "run", tmp_path):
        (read,) = read_paths(str(place))
        assert isinstance(read, MigrationPath)
        same(read, path)


def test_folders_of_espresso(path: MigrationPath, tmp_path: Path) -> None:
    for number, image in enumerate(path.images(3)):
        folder = tmp_path / "run" / f"{number:02d}"
        folder.mkdir(parents=True)
        names = {symbol: f"{symbol}.upf" for symbol in set(image.get_chemical_symbols())}
        write(folder / "espresso.pwi", image, format="espresso-in", pseudopotentials=names)
    (read,) = read_paths(str(tmp_path / "run"))
    assert isinstance(read, MigrationPath)
    same(read, path)


def test_neb_of_espresso(path: MigrationPath, tmp_path: Path) -> None:
    write(tmp_path / "hop.axsf", path.images(5), format="xsf")
    blocks = "".join(
        f"Image: {k + 1:4d}\n {value:.6f}\n" for k, value in enumerate((0.0, 0.01, 0.02, 0.01, 0.0))
    )
    (tmp_path / "hop.path").write_text(blocks)
    (read,) = read_paths(str(tmp_path / "hop.path"))
    assert isinstance(read, MigrationPath)
    same(read, path)
    assert read.barrier == pytest.approx(0.02 * 27.2114, rel=1e-4)


@pytest.mark.parametrize("method", ["linear", "idpp"])
def test_ends_alone(path: MigrationPath, tmp_path: Path, method: str) -> None:
    images = path.images(5)
    write(tmp_path / "initial.vasp", images[0], format="vasp")
    write(tmp_path / "final.vasp", images[-1], format="vasp")
    (read,) = read_paths(str(tmp_path), interpolation=method)
    assert isinstance(read, MigrationPath)
    same(read, path)


def test_wrapped_images_are_unwrapped(path: MigrationPath) -> None:
    images = path.images(5)
    for image in images:
        image.positions += 0.1
        image.wrap()
    same(path_from_images(images, "wrapped"), path)


def test_broken_paths_stop_nothing(path: MigrationPath, tmp_path: Path) -> None:
    good, short, odd, twice = (frames(path) for _ in range(4))
    short = short[:1]
    odd[2] = odd[2][:-1]
    twice[1].info["image"] = 0
    for name, images in {"short": short, "odd": odd, "twice": twice}.items():
        for image in images:
            image.info["path_id"] = name
    write(tmp_path / "a.xyz", [*short, *odd, *twice, *good])
    read = {path.path_id: path for path in read_paths(str(tmp_path / "a.xyz"))}
    assert set(read) == {"short", "odd", "twice", "7"}
    assert isinstance(read["7"], MigrationPath)
    for name, message in {"short": "two ends", "odd": "image 2", "twice": "image 0 is there twice"}.items():
        broken = read[name]
        assert isinstance(broken, BrokenPath)
        assert message in broken.error


def test_garbled_frame_breaks_its_path_only(path: MigrationPath, tmp_path: Path) -> None:
    other = frames(path)
    for image in other:
        image.info["path_id"] = "other"
    write(tmp_path / "a.xyz", [*frames(path), *other])
    lines = (tmp_path / "a.xyz").read_text().splitlines()
    lines[3] = "Li nowhere 0.0 0.0"
    (tmp_path / "a.xyz").write_text("\n".join(lines) + "\n")
    read = {path.path_id: path for path in read_paths(str(tmp_path / "a.xyz"))}
    assert isinstance(read["7"], BrokenPath)
    assert isinstance(read["other"], MigrationPath)


def test_coincident_atoms_are_a_warning(path: MigrationPath) -> None:
    images = path.images(5)
    doubled = [image + image[5:6] for image in images]
    assert path_from_images(doubled, "double").warnings


def test_bad_ends_are_named(path: MigrationPath) -> None:
    images = path.images(2)
    with pytest.raises(InputError, match="moves only"):
        path_from_ends(images[0], images[0].copy(), "still")
    with pytest.raises(InputError, match="idpp"):
        path_from_ends(images[0], images[1], "x", method="spline")
    images[1].positions[0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        path_from_ends(images[0], images[1], "nan")


def test_missing_files_are_named() -> None:
    with pytest.raises(InputError, match=r"nothing\.xyz"):
        list(read_paths("nothing.xyz"))
