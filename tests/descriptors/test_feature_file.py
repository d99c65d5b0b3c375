"""Features in files equal the features in memory."""

import csv

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from castile.descriptors.feature_file import write_features
from castile.descriptors.rdf import RadialDistribution
from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.execution.task_pool import open_task_pool

STRUCTURES = [molecule("H2O"), bulk("Cu", cubic=True), molecule("CH3CH2OH")]


@pytest.mark.parametrize("per_atom", [False, True])
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv"])
def test_every_format_holds_the_features(tmp_path, suffix: str, per_atom: bool) -> None:
    descriptor = RadialDistribution(cutoff=3.0, n_bins=7, per_atom=per_atom)
    seen: list[int] = []
    path = tmp_path / f"features{suffix}"
    written = write_features(descriptor, STRUCTURES, path, progress=seen.append)
    expected = (
        RadialDistribution(cutoff=3.0, n_bins=7, per_atom=per_atom).fit(STRUCTURES).transform(STRUCTURES)
    )
    assert (written.n_structures, written.n_rows, written.n_features) == (3, *expected.shape)
    assert written.row_per_atom is per_atom
    assert seen == [1, 2, 3]
    if suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as stream:
            lines = list(csv.DictReader(stream))
        names = list(descriptor.get_feature_names_out())
        found = np.array([[float(line[name]) for name in names] for line in lines])
        assert lines[0]["structure"] == "structure 0"
        assert ("atom" in lines[0]) is per_atom
    else:
        found = np.load(path) if suffix == ".npy" else np.load(path)["features"]
    np.testing.assert_array_equal(found, expected)
    assert list(tmp_path.iterdir()) == [path]


def test_archive_says_what_each_row_is(tmp_path) -> None:
    write_features(RadialDistribution(cutoff=3.0, per_atom=True), STRUCTURES, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as archive:
        np.testing.assert_array_equal(archive["number"], np.concatenate([a.numbers for a in STRUCTURES]))
        np.testing.assert_array_equal(
            archive["structure"], np.repeat([0, 1, 2], [len(a) for a in STRUCTURES])
        )
        np.testing.assert_array_equal(archive["atom"][:3], [0, 1, 2])
        assert len(archive["feature_names"]) == archive["features"].shape[1]
        assert archive["structure_names"][2] == "structure 2"


def test_an_unknown_species_names_the_structure_and_leaves_no_file(tmp_path) -> None:
    descriptor = RadialDistribution(cutoff=3.0, species=("H", "O"))
    with pytest.raises(InputError, match="structure 1"):
        write_features(descriptor, [molecule("H2O"), Atoms("He")], tmp_path / "f.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "message"), [("f.txt", "npz"), ("no/f.npy", "folder")])
def test_impossible_files(tmp_path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_features(RadialDistribution(), STRUCTURES, tmp_path / name)


def test_workers_write_the_same_file(tmp_path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    structures = [*STRUCTURES * 40, bulk("Cu").repeat(3)]
    soap = SOAP(cutoff=3.0, n_max=3, l_max=2)
    alone = write_features(soap, structures, tmp_path / "alone.npz")
    seen: list[int] = []
    with open_task_pool(1) as pool:
        written = write_features(
            soap, structures, tmp_path / "spread.npz", workers=pool, progress=seen.append
        )
        with pytest.raises(InputError, match="structure 1: element He"):
            write_features(
                soap, [molecule("H2O"), Atoms("He")], tmp_path / "bad.npz", workers=pool, fitted=True
            )
    assert written.n_rows == alone.n_rows
    assert seen == list(range(1, len(structures) + 1))
    with np.load(tmp_path / "alone.npz") as expected, np.load(tmp_path / "spread.npz") as found:
        assert expected.files == found.files
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])
