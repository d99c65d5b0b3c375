"""Phonons of copper, silicon and an unstable lattice."""

import csv
import json
import sys

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT

from castile.errors import InputError
from castile.simulation.phonon_files import write_phonons
from castile.simulation.phonons import compute_phonons

pytest.importorskip("phonopy", reason="phonopy is not installed")


@pytest.fixture(scope="module")
def copper_phonons(tmp_path_factory):
    atoms = bulk("Cu", a=3.6)
    atoms.calc = EMT()
    folder = tmp_path_factory.mktemp("copper")
    return compute_phonons(
        atoms, supercell=(4, 4, 4), mesh_length=30.0, save_to=folder / "phonopy.yaml"
    ), folder


def test_copper_is_stable_and_obeys_the_acoustic_sum_rule(copper_phonons):
    result, _ = copper_phonons
    assert np.abs(result.gamma_frequencies).max() < 1e-3
    assert result.force_drift < 1e-3
    assert not result.has_imaginary_modes
    # measured: 7.3 THz at X; effective-medium theory is close
    assert 6.0 < result.max_frequency < 9.0
    assert result.n_displacements == 1


def test_density_of_states_counts_the_modes(copper_phonons):
    density = copper_phonons[0].density_of_states
    assert np.trapezoid(density.densities, density.frequencies) == pytest.approx(3.0, rel=0.01)


def test_thermodynamics_reach_the_classical_limit(copper_phonons):
    thermal = copper_phonons[0].thermodynamics
    assert thermal.heat_capacities[-1] == pytest.approx(3 * units.kB, rel=0.02)
    slope = np.gradient(thermal.free_energies, thermal.temperatures)
    np.testing.assert_allclose(-slope[10:-5], thermal.entropies[10:-5], rtol=0.01)
    assert thermal.free_energies[0] > 0


def test_long_waves_move_at_the_speed_of_sound(copper_phonons):
    from castile.simulation.elasticity import elastic_constants

    result, _ = copper_phonons
    atoms = result.atoms.copy()
    atoms.calc = EMT()
    c = elastic_constants(atoms).constants * units.GPa
    density = atoms.get_masses().sum() / atoms.get_volume()
    # along [100] from the zone center to X, the first segment of the path
    wave = result.bands.distances[4]
    omega = 2 * np.pi * result.bands.frequencies[4] * 1e12 / units.s
    np.testing.assert_allclose(omega[:2] / wave, np.sqrt(c[3, 3] / density), rtol=0.04)
    np.testing.assert_allclose(omega[2] / wave, np.sqrt(c[0, 0] / density), rtol=0.04)


def test_files_hold_the_numbers(copper_phonons):
    result, folder = copper_phonons
    files = write_phonons(result, folder)
    with files.bands.open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(result.bands.distances)
    assert float(rows[7]["frequency_3_thz"]) == pytest.approx(result.bands.frequencies[7, 2], abs=1e-8)
    assert files.figure.read_bytes().startswith(b"\x89PNG")
    assert "force_constants" in (folder / "phonopy.yaml").read_text()
    flat = json.loads(json.dumps(result.to_json_dict()))
    assert flat["n_supercell_atoms"] == 64
    assert flat["min_frequency_thz"] == result.min_frequency


def test_optical_modes_of_silicon(silicon):
    result = compute_phonons(silicon(cubic=True), supercell=(1, 1, 1), mesh_length=10.0)
    assert result.n_primitive_atoms == 2
    assert np.abs(result.gamma_frequencies[:3]).max() < 1e-3
    np.testing.assert_allclose(result.gamma_frequencies[3:], result.gamma_frequencies[3], rtol=1e-6)
    assert 14 < result.max_frequency < 18  # the Tersoff potential is too stiff here: 15.5 THz are measured


def test_unstable_lattice_has_imaginary_modes():
    atoms = bulk("Cu", "sc", a=2.4)
    atoms.calc = EMT()
    result = compute_phonons(atoms, min_length=7.0, mesh_length=10.0)
    assert result.supercell == (3, 3, 3)
    assert result.has_imaginary_modes
    assert result.min_frequency < -1.0


def test_missing_phonopy_names_the_remedy(copper, monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(InputError, match=r"pip install 'castile\[phonons\]'"):
        compute_phonons(copper())


def test_bad_arguments_are_named(copper):
    with pytest.raises(InputError, match=r"supercell is \(0, 1, 1\)"):
        compute_phonons(copper(), supercell=(0, 1, 1))
    with pytest.raises(InputError, match=r"displacement is 2\.0"):
        compute_phonons(copper(), displacement=2.0)
    with pytest.raises(InputError, match=r"path is 'GQ'"):
        compute_phonons(copper(), supercell=(1, 1, 1), path="GQ")
