"""Collections: everything that is there is found, in order, and what is broken hides nothing else."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect

from castile.errors import InputError
from castile.structures.structure_collection import StructureCollection
from castile.structures.tolerant_frames import tolerant_frames


def structures() -> list[Atoms]:
    return [bulk("Cu", cubic=True), bulk("NaCl", "rocksalt", a=5.6), bulk("Si"), molecule("H2O")]


def xyz_text(atoms: list[Atoms]) -> str:
    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    return text.getvalue()


def found(source: object) -> list[tuple[str, str | None]]:
    """Name and formula (None: broken) of everything."""
    parts = StructureCollection(source).parts()  # type: ignore[arg-type]
    return [
        (one.name, None if one.atoms is None else str(one.atoms.symbols))
        for part in parts
        for one in part.read()
    ]


def formulas(source: object) -> list[str | None]:
    return [formula for _, formula in found(source)]


ALL = ["Cu4", "NaCl", "Si2", "OH2"]


def test_every_kind_of_place_gives_the_same_structures(tmp_path: Path) -> None:
    text = xyz_text(structures())
    (tmp_path / "a.xyz").write_text(text)
    with gzip.open(tmp_path / "b.xyz.gz", "wt") as file:
        file.write(text)
    ase.io.write(tmp_path / "c.traj", structures())
    with connect(tmp_path / "d.db") as database:
        for atoms in structures():
            database.write(atoms)
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as packed:
        packed.writestr("inside/x.xyz", text)
        packed.writestr("inside/readme.txt", "no structure")
    for suffix in ("tar", "tar.gz", "tar.xz"):
        with tarfile.open(tmp_path / f"f.{suffix}", f"w:{suffix.partition('.')[2]}") as tar:  # type: ignore[call-overload]
            for name in ("a.xyz", "c.traj", "d.db", "b.xyz.gz"):
                tar.add(tmp_path / name)
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.xyz").write_text(text)
    (folder.parent / "notes.md").write_text("no structure")
    for name in ("a.xyz", "b.xyz.gz", "c.traj", "d.db", "e.zip", "folder", "a*.xyz"):
        assert formulas(tmp_path / name) == ALL, name
    for suffix in ("tar", "tar.gz", "tar.xz"):
        assert formulas(tmp_path / f"f.{suffix}") == 4 * ALL, suffix
    assert formulas([tmp_path / "a.xyz", tmp_path / "e.zip"]) == 2 * ALL
    assert formulas(f"{tmp_path / 'a.xyz'}@-2:") == ALL[-2:]
    assert formulas(f"{tmp_path / 'd.db'}@::2") == ALL[::2]
    assert formulas(f"{tmp_path / 'c.traj'}@1") == ALL[1:2]


def test_names_say_where_a_structure_is(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.xyz").write_text(xyz_text(structures()[:2]))
    (tmp_path / "zonly.xyz").write_text(xyz_text(structures()[:1]))
    names = [name for name, _ in found(tmp_path)]
    assert names[0] == f"{tmp_path}/one/a.xyz[0]"
    assert names[-1] == "zonly.xyz[0]"
    assert len(set(names)) == len(names) == 5


def cif_of(atoms: Atoms) -> str:
    text = io.BytesIO()
    ase.io.write(text, atoms, format="cif")
    return text.getvalue().decode()


def test_broken_files_and_blocks_hide_nothing(tmp_path: Path) -> None:
    cif = [cif_of(bulk("Cu")), cif_of(bulk("Si")), cif_of(bulk("Al"))]
    cif[1] = cif[1].replace("_cell_length_a  ", "_cell_length_a much")
    (tmp_path / "a.cif").write_text("\n".join(cif))
    (tmp_path / "b.cif").write_text("this is no crystal")
    (tmp_path / "c.vasp").write_text("nor this")
    (tmp_path / "d.xyz").write_text("")
    (tmp_path / "e.zip").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "f.xyz.gz").write_bytes(gzip.compress(xyz_text(structures()).encode())[:-30])
    ase.io.write(tmp_path / "g.vasp", bulk("Ag"))
    result = found(tmp_path)
    assert [formula for _, formula in result[:3]] == ["Cu", None, "Al"]
    assert [formula for _, formula in result[3:7]] == [None] * 4
    assert result[-1][1] == "Ag"
    assert None in [formula for name, formula in result if name.startswith("f.xyz.gz")]


@pytest.mark.parametrize("name", ["a.xyz", "a.vasp", "a.db"])
def test_a_selection_beyond_the_end_is_told(tmp_path: Path, name: str) -> None:
    ase.io.write(tmp_path / name, bulk("Ag"))
    for chosen in ("7", "3:5", "5::2"):
        (part,) = StructureCollection(f"{tmp_path / name}@{chosen}").parts()
        (only,) = part.read()
        assert only.atoms is None
        assert only.error is not None
        assert f"{name}: it holds no structure @" in only.error
    assert len(list(StructureCollection(f"{tmp_path / name}@0").parts())) == 1


def test_a_wrong_checksum_in_an_archive_costs_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("1.xyz", "2.xyz", "3.xyz"):
            packed.writestr(name, xyz_text([bulk("Cu")]))
    content = bytearray(path.read_bytes())
    second = content.index(b"Lattice", content.index(b"2.xyz"))
    content[second] = ord("Q")
    path.write_bytes(content)
    result = formulas(path)
    assert result[0] == result[-1] == "Cu"
    assert None in result


GOOD = "2\nenergy=1\nH 0 0 0\nH 0 0 0.7\n"


@pytest.mark.parametrize(
    ("damage", "n_good"),
    [
        ("3\n\nH 0 0 0\nH 0 0 0.7\n", 2),  # an atom is missing
        ("1\n\nH 0 0 0\nH 0 0 0.7\n", 2),  # one too many
        ("two\n\nH 0 0 0\nH 0 0 0.7\n", 1),  # no number: it may belong to the frame before it
        ("H 0 0 0\n", 1),  # belongs to the frame before it
        ("\n\n", 2),  # no damage
    ],
)
def test_a_damaged_frame_hides_no_other(damage: str, n_good: int) -> None:
    frames = list(tolerant_frames(io.StringIO(GOOD + damage + GOOD), "f.xyz"))
    assert [frame.text for frame in frames if frame.error is None] == n_good * [GOOD]
    assert frames[-1].text == GOOD
    assert sum(frame.error is not None for frame in frames) == (0 if not damage.strip() else 1)
    for frame in frames:
        assert frame.error is None or frame.error.startswith(f"f.xyz[{frame.index}], line ")


def test_a_file_that_was_cut_off_ends_with_an_error() -> None:
    frames = list(tolerant_frames(io.StringIO(GOOD + GOOD[:-12]), "f.xyz"))
    assert [frame.error is None for frame in frames] == [True, False]
    assert "2 atoms are announced and 1 follow" in str(frames[1].error)


def test_progress_grows_to_one(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(xyz_text(structures() * 50))
    ase.io.write(tmp_path / "b.traj", structures())
    collection = StructureCollection(tmp_path)
    seen = [collection.fraction for _ in collection.parts()]
    assert seen == sorted(seen)
    assert 0.0 <= seen[0] < 1.0
    assert collection.fraction == 1.0


def test_the_fingerprint_tells_of_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(GOOD)
    before = StructureCollection(path).fingerprint()
    assert StructureCollection(path).fingerprint() == before
    path.write_text(GOOD + GOOD)
    assert StructureCollection(path).fingerprint() != before


@pytest.mark.parametrize("name", ["missing.xyz", "*.none", "empty"])
def test_what_does_not_exist_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name.replace("*", r"\*")):
        StructureCollection(tmp_path / name)
