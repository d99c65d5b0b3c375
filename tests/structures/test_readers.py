"""Sources: files, globs, slices, compressed files, lists; streamed, repeatable, and clear when broken."""

import bz2
import gzip
import lzma
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from castile.errors import InputError
from castile.structures import LabelKeys, StructureSource, as_source, label_structure


def images(n: int) -> list[Atoms]:
    frames = []
    for index in range(n):
        atoms = bulk("Si")
        atoms.rattle(0.01, seed=index)
        atoms.calc = SinglePointCalculator(atoms, energy=float(index), forces=np.full((2, 3), 0.1 * index))
        frames.append(atoms)
    return frames


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with two files of 10 and 4 structures."""
    monkeypatch.chdir(tmp_path)
    ase.io.write("train.xyz", images(10), format="extxyz")
    ase.io.write("b.extxyz", images(4), format="extxyz")
    return tmp_path


def energies(source: StructureSource) -> list[float | None]:
    return [structure.energy for structure in source]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("", range(10)),
        ("@:", range(10)),
        ("@5", [5]),
        ("@-1", [9]),
        ("@-3", [7]),
        ("@::4", [0, 4, 8]),
        ("@:3", [0, 1, 2]),
        ("@7:", [7, 8, 9]),
        ("@-2:", [8, 9]),
        ("@2:-5", [2, 3, 4]),
        ("@1:100:5", [1, 6]),
    ],
)
def test_selections_keep_the_index_in_the_file(folder: Path, selection: str, expected: list[int]) -> None:
    source = StructureSource(f"train.xyz{selection}")
    assert len(source) == len(expected)
    assert energies(source) == list(expected)
    assert [structure.name for structure in source] == [f"train.xyz[{index}]" for index in expected]


def test_selection_of_other_formats(folder: Path) -> None:
    ase.io.write("a.traj", images(10))
    assert energies(StructureSource("a.traj@-2:")) == [8.0, 9.0]
    assert energies(StructureSource("a.traj@::4")) == [0.0, 4.0, 8.0]
    assert next(iter(StructureSource("a.traj@3"))).name == "a.traj[3]"


def test_iterating_again_gives_the_same(folder: Path) -> None:
    source = StructureSource("train.xyz")
    assert energies(source) == energies(source)
    np.testing.assert_array_equal(next(iter(source)).forces, np.zeros((2, 3)))


def test_globs_below_a_folder_whose_name_has_brackets(folder: Path) -> None:
    strange = folder / "run [1] ü"
    strange.mkdir()
    ase.io.write(strange / "one.xyz", images(2), format="extxyz")
    assert energies(StructureSource(f"{strange}/*.xyz")) == [0.0, 1.0]
    assert energies(StructureSource(f"{strange}/*.xyz@-1")) == [1.0]
    assert energies(StructureSource("run */o*.xyz")) == [0.0, 1.0]


def test_text_that_is_not_utf_8_says_how_to_convert_it(folder: Path) -> None:
    text = (folder / "b.extxyz").read_text().replace("pbc=", "title=Käse pbc=")
    (folder / "old.xyz").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"after 0 structures: it is not UTF-8 text .*0xe4.*iconv"):
        list(StructureSource("old.xyz"))


def test_a_compressed_file_of_nothing(folder: Path) -> None:
    with gzip.open("nothing.xyz.gz", "wb"):
        pass
    with pytest.raises(InputError, match="no structure was found in it"):
        list(StructureSource("nothing.xyz.gz"))
    with pytest.raises(InputError, match="what follows the @"):
        list(StructureSource("train.xyz@20:"))


def test_a_model_is_no_structure(folder: Path) -> None:
    (folder / "model.castile").write_bytes(b"anything")
    with pytest.raises(InputError, match="is a model, not structures"):
        StructureSource("model.castile")


def test_globs_are_sorted_and_lists_keep_their_order(folder: Path) -> None:
    assert energies(StructureSource("*xyz@:2")) == [0.0, 1.0, 0.0, 1.0]
    assert StructureSource("*xyz").files == ("b.extxyz", "train.xyz")
    source = StructureSource(["train.xyz@9", Path("b.extxyz"), images(2)[1]])
    assert energies(source) == [9.0, 0.0, 1.0, 2.0, 3.0, 1.0]
    assert [structure.name for structure in source][-2:] == ["b.extxyz[3]", "structure 0"]


def test_same_file_names_in_two_folders_are_told_apart(folder: Path) -> None:
    for name in ("one", "two"):
        Path(name).mkdir()
        ase.io.write(f"{name}/data.xyz", images(1), format="extxyz")
    names = [structure.name for structure in StructureSource("*/data.xyz")]
    assert names == ["one/data.xyz[0]", "two/data.xyz[0]"]


def test_an_at_sign_in_names_is_taken_literally(folder: Path) -> None:
    Path("run@300K").mkdir()
    ase.io.write("run@300K/x@2.xyz", images(3), format="extxyz")
    assert len(StructureSource("run@300K/x@2.xyz")) == 3
    assert energies(StructureSource("run@300K/x@2.xyz@1")) == [1.0]


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_compressed_files(folder: Path, suffix: str, opener) -> None:
    with opener(f"c.xyz{suffix}", "wb") as file:
        file.write(Path("train.xyz").read_bytes())
    assert energies(StructureSource(f"c.xyz{suffix}@::5")) == [0.0, 5.0]


def test_a_generator_is_kept(folder: Path) -> None:
    source = StructureSource(atoms for atoms in images(3))
    assert energies(source) == energies(source) == [0.0, 1.0, 2.0]
    assert [structure.name for structure in source] == ["structure 0", "structure 1", "structure 2"]


def test_labelled_structures_pass_through(folder: Path) -> None:
    labelled = label_structure(images(1)[0], "mine")
    assert list(StructureSource([labelled])) == [labelled]
    source = StructureSource("train.xyz")
    assert as_source(source) is source
    assert len(as_source("train.xyz@:3")) == 3


def test_keys_reach_the_labels(folder: Path) -> None:
    atoms = images(1)[0]
    atoms.info["TotE"] = -8.0
    source = StructureSource(atoms, LabelKeys(energy="TotE"))
    assert energies(source) == [-8.0]


def test_blank_lines_do_not_hide_what_follows(folder: Path) -> None:
    """ASE alone stops at the first blank line without a word."""
    text = Path("b.extxyz").read_text()
    Path("joined.xyz").write_text(text + "\n\n" + text + "\n")
    assert len(StructureSource("joined.xyz")) == 8
    assert len(ase.io.read("joined.xyz", ":")) == 4


def test_cell_vectors_as_rows(folder: Path) -> None:
    frame = "1\nenergy=-1.0\nSi 0 0 0\nVEC1 5 0 0\nVEC2 0 5 0\nVEC3 0 0 5\n"
    Path("vec.xyz").write_text(frame * 2)
    structures = list(StructureSource("vec.xyz"))
    assert len(structures) == 2
    assert structures[1].atoms.cell.volume == pytest.approx(125.0)


def test_many_formats_that_ase_reads(folder: Path) -> None:
    ase.io.write("POSCAR", bulk("Si"))
    ase.io.write("si.cif", bulk("Si"))
    Path("odd.name").write_bytes(Path("POSCAR").read_bytes())
    assert len(StructureSource("POSCAR")) == len(StructureSource("si.cif")) == 1
    assert len(StructureSource("odd.name", file_format="vasp")) == 1


def broken_files() -> dict[str, tuple[bytes, str]]:
    frame = b'2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 energy=-1\nSi 0 0 0\nSi 1 1 1\n'
    return {
        "empty.xyz": (b"", "is empty"),
        "blank.xyz": (b"\n\n", "no structure was found"),
        "cut.xyz": (frame + frame[:-9], r"cut\.xyz\[1\].*1 of 2 atoms.*cut off"),
        "rows.xyz": (
            frame + b"Si 2 2 2\n" + frame,
            r"rows\.xyz\[1\].*expected the number of atoms.*'Si 2 2 2'",
        ),
        "stars.xyz": (frame + frame.replace(b"1 1 1", b"1 1 ***"), r"stars\.xyz\[1\].*not a readable"),
        "short.xyz": (frame.replace(b"Si 0 0 0", b"Si 0 0"), r"short\.xyz\[0\].*not a readable"),
        "bad.xyz.gz": (b"no gzip at all", r"bad\.xyz\.gz.*cannot be read after 0"),
        "cut.xyz.gz": (gzip.compress(frame * 50)[:-20], r"cut\.xyz\.gz.*damaged or cut off"),
        "binary.xyz": (b"\xff\xfe\x00\x01", "cannot be read"),
        "what.is": (b"this is no structure\n", "ASE cannot read it"),
        "nan.xyz": (frame + frame.replace(b"1 1 1", b"1 1 nan"), r"nan\.xyz\[1\]: atom 1 .*nan"),
        "species.xyz": (frame.replace(b"Si 1", b"Qq 1"), r"species\.xyz\[0\].*not a readable.*Qq"),
        "six.xyz": (frame.replace(b"energy=-1", b'stress="1 2 3 4 5 6"'), r"six\.xyz\[0\].*stress.*9"),
        "none.xyz": (b"0\nenergy=0.0\n", r"none\.xyz\[0\].*no atoms"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_broken_files_are_named_with_index_and_remedy(folder: Path, name: str) -> None:
    content, message = broken_files()[name]
    Path(name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(StructureSource(name))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.xyz", r"nowhere\.xyz: no such file"),
        ("no*where.xyz", "no file matches"),
        ("train.xyz@a", "no index or slice"),
        ("train.xyz@", "no index or slice"),
        ("train.xyz@::-1", "must be positive"),
        ("train.xyz@::0", "must be positive"),
        ([], "no structures were given"),
        ([3], "source 0 is a int"),
        (".", "is a folder"),
    ],
)
def test_impossible_sources(folder: Path, source: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        StructureSource(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("selection", ["@50", "@20:30", "@5:5"])
def test_a_selection_of_nothing_is_an_error(folder: Path, selection: str) -> None:
    with pytest.raises(InputError, match="no structure was found"):
        list(StructureSource("train.xyz" + selection))


def test_only_one_structure_is_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that come after the one asked for are not parsed."""
    Path("late.xyz").write_text(Path("train.xyz").read_text() + "2\nbroken\nSi 0 0 0\n")
    source = iter(StructureSource("late.xyz"))
    assert [next(source).energy for _ in range(10)] == list(range(10))
    with pytest.raises(InputError, match=r"late\.xyz\[10\]"):
        next(source)


def test_real_files_are_read_as_ase_reads_them(shared_data: Path) -> None:
    path = shared_data / "mlearn" / "Si_test.xyz.gz"
    ours = list(StructureSource(path))
    theirs = ase.io.read(path, ":")
    assert len(ours) == len(theirs) == 25
    for one, other in zip(ours, theirs, strict=True):
        assert one.atoms == other
        assert one.energy == other.get_potential_energy()
        np.testing.assert_array_equal(one.forces, other.get_forces())
        np.testing.assert_array_equal(one.stress, other.get_stress())


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_key_value_pairs_of_a_database_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    with connect(str(path)) as database:
        for kind, count in (("hot", 1), ("cold", 2)):
            database.write(Atoms("Cu"), config_type=kind, count=count)
    found = list(StructureSource(path, LabelKeys()))
    assert [item.config_type for item in found] == ["hot", "cold"]
    assert [item.atoms.info["count"] for item in found] == [1, 2]
    assert [item.config_type for item in StructureSource(f"{path}@1:")] == ["cold"]
