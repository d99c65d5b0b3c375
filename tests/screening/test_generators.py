"""Generators: every combination once, from its number alone, and clear errors."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from castile.errors import InputError
from castile.screening.candidates import CandidateStream
from castile.screening.distortions import shuffled
from castile.screening.generators import Family, open_families


def families(tmp_path: Path, text: str) -> tuple[Family, ...]:
    path = tmp_path / "g.toml"
    path.write_text(text)
    return open_families(path)


def made(family: Family) -> list[Atoms]:
    found = [family.candidate(index) for index in range(len(family))]
    return [one.atoms for one in found if one is not None and one.atoms is not None]


ROCKSALT = 'prototypes = [{elements = "NaCl", structure = "rocksalt", a = 5.6}]\n'


def test_substitutions_are_all_combinations(tmp_path: Path) -> None:
    text = "[[generator]]\n" + ROCKSALT + 'substitute = {Na = ["Li", "Na", "K"], Cl = ["F", "Cl", "Na"]}\n'
    (family,) = families(tmp_path, text)
    pairs = {tuple(atoms.symbols) for atoms in made(family)}
    assert pairs == {(a, b) for a in ("Li", "Na", "K") for b in ("F", "Cl", "Na") if a != b}
    (family,) = families(tmp_path, text + "distinct = false\n")
    assert len({tuple(atoms.symbols) for atoms in made(family)}) == len(family) == 9


def test_swapped_elements_are_replaced_at_the_same_time(tmp_path: Path) -> None:
    text = "[[generator]]\n" + ROCKSALT + 'substitute = {Na = ["Cl"], Cl = ["Na"]}\nscale = "none"\n'
    (atoms,) = made(families(tmp_path, text)[0])
    assert list(atoms.symbols) == ["Cl", "Na"]
    np.testing.assert_array_equal(atoms.cell.array, bulk("NaCl", "rocksalt", a=5.6).cell.array)


def test_cells_follow_the_radii(tmp_path: Path) -> None:
    text = "[[generator]]\n" + ROCKSALT + 'substitute = {Na = ["K"]}\n'
    (atoms,) = made(families(tmp_path, text)[0])
    before = bulk("NaCl", "rocksalt", a=5.6)
    ratio = covalent_radii[[19, 17]].sum() / covalent_radii[[11, 17]].sum()
    np.testing.assert_allclose(atoms.cell.array, before.cell.array * ratio)
    np.testing.assert_allclose(atoms.get_scaled_positions(), before.get_scaled_positions())


def test_decorations_are_all_words_over_the_sites(tmp_path: Path) -> None:
    text = '[[generator]]\nprototypes = [{elements = "Cu", structure = "fcc", a = 3.6, cubic = true}]\n'
    text += 'decorate = {sites = [0, 2], elements = ["Ag", "Au", "Pd"]}\n'
    words = [tuple(atoms.symbols) for atoms in made(families(tmp_path, text)[0])]
    assert len(words) == len(set(words)) == 9
    assert {word[1] for word in words} == {word[3] for word in words} == {"Cu"}


def test_distortions_have_the_volume_that_was_asked_for(tmp_path: Path) -> None:
    text = "[[generator]]\n" + ROCKSALT + "distort = {volume = [-0.1, 0.2], copies = 2}\n"
    volume = bulk("NaCl", "rocksalt", a=5.6).get_volume()
    ratios = [atoms.get_volume() / volume for atoms in made(families(tmp_path, text)[0])]
    np.testing.assert_allclose(ratios, [1.0, 0.9, 1.2, 0.9, 1.2])
    text = "[[generator]]\n" + ROCKSALT + "distort = {strain = 0.05, displacement = 0.1, copies = 3}\n"
    (family,) = families(tmp_path, text)
    first, again = made(family), made(family)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    assert len({atoms.cell.array.tobytes() for atoms in first}) == 4
    strain = first[1].cell.array @ np.linalg.inv(first[0].cell.array)
    assert 0.0 < np.abs(strain - np.eye(3)).max() <= 0.05 * 3


def test_a_random_choice_has_nothing_twice(tmp_path: Path) -> None:
    text = '[[generator]]\nprototypes = [{elements = "Cu", structure = "fcc", a = 3.6, cubic = true}]\n'
    text += 'supercell = [2, 2, 2]\ndecorate = {sites = "all", elements = ["Cu", "Au"]}\nnumber = 300\n'
    (family,) = families(tmp_path, text)
    assert family.n_combinations == 2**32
    words = {tuple(atoms.numbers.tolist()) for atoms in made(family)}
    assert len(words) == len(family) == 300
    share = np.mean([[z == 79 for z in word] for word in words], axis=0)
    assert 0.35 < share.min() <= share.max() < 0.65  # every site is drawn


@pytest.mark.parametrize("n", [1, 2, 3, 17, 64, 1000])
def test_shuffling_is_a_permutation(n: int) -> None:
    order = [shuffled(index, n, 3) for index in range(n)]
    assert sorted(order) == list(range(n))
    assert n < 17 or order != list(range(n))


def test_prototypes_come_from_files_beside_the_toml(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "p.xyz", [bulk("Si"), bulk("Ge"), bulk("C")])
    text = '[[generator]]\nname = "x"\nprototypes = ["p.xyz@:2"]\nsupercell = [1, 1, 2]\n'
    assert [str(atoms.symbols) for atoms in made(families(tmp_path, text)[0])] == ["Si4", "Ge4"]
    names = [one.name for part in CandidateStream(tmp_path / "g.toml").parts() for one in part.read()]
    assert names == ["x#0", "x#1"]


def test_a_stream_goes_on_from_any_part(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "p.xyz", [bulk("Si", a=5.0 + 0.1 * k) for k in range(5)])
    (tmp_path / "g.toml").write_text(
        "[[generator]]\n" + ROCKSALT + "distort = {strain = 0.01, copies = 199}\n"
    )
    stream = CandidateStream([tmp_path / "p.xyz", tmp_path / "g.toml", bulk("Cu"), bulk("Ag")])

    def names(start: int) -> list[list[str]]:
        return [[one.name for one in part.read()] for part in stream.parts(start)]

    whole = names(0)
    assert len(whole) == 5 + 4 + 2
    for start in range(12):
        assert names(start) == whole[start:]
    assert [b.last for b in stream.batches()][-1] == 11


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("generator = 3\n", "generator"),
        ("[[generator]]\nprototypes = []\n", "prototypes"),
        ("[[generator]]\nprototypes = ['none.cif']\n", "none.cif"),
        ("[[generator]]\n" + ROCKSALT + "substitute = {K = ['Na']}\n", "substitute.K"),
        ("[[generator]]\n" + ROCKSALT + "substitute = {Na = ['Quark']}\n", "Quark"),
        ("[[generator]]\n" + ROCKSALT + "decorate = {sites = 'Si', elements = ['Na']}\n", "'Si'"),
        ("[[generator]]\n" + ROCKSALT + "decorate = {sites = [7], elements = ['Na']}\n", "atom 7"),
        ("[[generator]]\n" + ROCKSALT + "colour = 'blue'\n", "colour"),
        ("[[generator]]\nprototypes = [{elements = 'NaCl', structure = 'cubist', a = 5.0}]\n", "cubist"),
        ("[[generator\n", "TOML"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        families(tmp_path, text)
    assert "g.toml" in str(error.value) or "generator g" in str(error.value)
