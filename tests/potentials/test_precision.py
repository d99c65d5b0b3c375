"""Prediction in single precision: close to double precision, and only on request."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.demo.data import silicon_file
from castile.errors import InputError

ENERGY_TOLERANCE = 5e-5  # eV/atom
FORCE_TOLERANCE = 1e-3  # eV/A


@pytest.fixture(scope="module")
def silicon_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("precision") / "silicon.castile"
    castile.GAP(n_sparse=200, n_max=6, l_max=5).fit(f"{silicon_file('silicon_train.xyz')}@::5").save(path)
    return path


def _structures() -> list[Atoms]:
    return list(ase.io.read(silicon_file("silicon_test.xyz"), "::4"))


def test_single_precision_is_close_and_differs(silicon_model):
    double, single = (castile.load(silicon_model, precision=p) for p in ("double", "single"))
    for atoms in _structures():
        expected, found = double.predict(atoms), single.predict(atoms)
        assert abs(found.energy - expected.energy) < ENERGY_TOLERANCE * len(atoms)
        assert np.abs(found.forces - expected.forces).max() < FORCE_TOLERANCE
        assert np.abs(found.stress - expected.stress).max() < 1e-5
        assert found.energy != expected.energy


def test_a_model_loaded_in_single_precision_is_saved_in_double(silicon_model, tmp_path):
    castile.load(silicon_model, precision="single").save(tmp_path / "copy.castile")
    atoms = _structures()[0]
    assert castile.load(tmp_path / "copy.castile").predict(atoms).energy == (
        castile.load(silicon_model).predict(atoms).energy
    )


def test_an_imported_model_in_single_precision(shared_data, tmp_path):
    gap = castile.import_gap(shared_data / "gap_models/gap_autoplex_LiCl_2b_soap/gap.xml")
    gap.save(tmp_path / "imported.castile")
    single = castile.load(tmp_path / "imported.castile", precision="single")
    atoms = bulk("LiCl", "rocksalt", a=5.1).repeat(2)
    atoms.rattle(0.05, seed=0)
    expected, found = gap.predict(atoms), single.predict(atoms)
    assert 0.0 < abs(found.energy - expected.energy) < ENERGY_TOLERANCE * len(atoms)
    assert np.abs(found.forces - expected.forces).max() < FORCE_TOLERANCE


def test_another_precision_is_refused(silicon_model):
    with pytest.raises(InputError, match="precision = 'half': give one of double, single"):
        castile.load(silicon_model, precision="half")
