"""Elastic constants against energies, published values and closed forms."""

import json

import numpy as np
import pytest
from ase.calculators.emt import EMT
from scipy.spatial.transform import Rotation

from castile.errors import InputError
from castile.simulation.birch_murnaghan import equation_of_state
from castile.simulation.elastic_tensors import (
    average_over_rotations,
    find_crystal_symmetry,
    hill_average,
    reuss_average,
    rotate_constants,
    tensor_to_voigt,
    universal_anisotropy,
    voigt_average,
    voigt_to_tensor,
)
from castile.simulation.elasticity import ElasticConstants, elastic_constants, strain_matrix


class NoStress(EMT):
    """EMT that keeps its stress to itself."""

    def get_property(self, name, atoms=None, allow_calculation=True):
        if name == "stress":
            raise NotImplementedError
        return super().get_property(name, atoms, allow_calculation)


def cubic_constants(c11, c12, c44):
    matrix = np.diag([c11, c11, c11, c44, c44, c44]).astype(float)
    matrix[:3, :3] += c12 * (1 - np.eye(3))
    return matrix


def test_silicon_has_the_published_constants_of_its_potential(silicon):
    # Balamane, Halicioglu and Tiller, Phys. Rev. B 46, 2250 (1992), potential T3, in GPa
    result = elastic_constants(silicon(cubic=True), strain=0.002)
    c = result.constants
    assert c[0, 0] == pytest.approx(142.5, rel=0.01)
    assert c[0, 1] == pytest.approx(75.4, rel=0.01)
    assert c[3, 3] == pytest.approx(69.0, rel=0.01)
    assert result.stable
    assert result.space_group == "Fd-3m (227)"
    clamped = elastic_constants(silicon(cubic=True), clamped_ions=True)
    assert clamped.constants[3, 3] == pytest.approx(118.8, rel=0.01)
    assert clamped.constants[0, 0] == pytest.approx(c[0, 0], rel=1e-3)


def test_stresses_and_energies_give_the_same_constants(copper):
    steps = []
    by_stress = elastic_constants(
        copper(), symmetrize=False, progress=lambda done, total: steps.append((done, total))
    )
    by_energy = elastic_constants(copper(), use_energies=True, symmetrize=False)
    np.testing.assert_allclose(by_energy.constants, by_stress.constants, atol=0.5)
    assert by_stress.asymmetry_gpa < 0.1
    assert by_stress.space_group is None
    assert steps[-1] == (12, 12)


def test_bulk_modulus_agrees_with_the_equation_of_state(copper):
    result = elastic_constants(copper())
    curve = equation_of_state(_with_emt(result.atoms), n_volumes=11)
    assert result.hill.bulk_gpa == pytest.approx(curve.bulk_modulus_gpa, rel=0.02)
    assert result.residual_stress_gpa < 0.05


def _with_emt(atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    return atoms


def test_calculator_without_stress_uses_energies(copper):
    relaxed = elastic_constants(copper()).atoms
    atoms = relaxed.copy()
    atoms.calc = NoStress()
    result = elastic_constants(atoms, relax_cell=False)
    assert result.residual_stress_gpa is None
    assert result.constants[0, 0] == pytest.approx(elastic_constants(copper()).constants[0, 0], rel=0.01)
    with pytest.raises(InputError, match="relax_cell=False"):
        elastic_constants(atoms)


def test_constants_turn_with_the_crystal(silicon):
    atoms = silicon()
    turn = Rotation.from_euler("xyz", [0.3, -0.5, 0.8]).as_matrix()
    turned = atoms.copy()
    turned.set_cell(np.asarray(atoms.cell) @ turn.T, scale_atoms=True)
    turned.calc = atoms.calc
    straight = elastic_constants(atoms, strain=0.001)
    rotated = elastic_constants(turned, strain=0.001)
    np.testing.assert_allclose(rotated.constants, rotate_constants(straight.constants, turn), atol=0.3)


def test_symmetry_average_restores_the_cubic_form(copper):
    symmetry = find_crystal_symmetry(copper(cubic=True))
    noise = np.random.default_rng(0).normal(size=(6, 6))
    averaged = average_over_rotations(cubic_constants(170, 120, 80) + noise + noise.T, symmetry.rotations)
    expected = cubic_constants(averaged[0, 0], averaged[0, 1], averaged[3, 3])
    np.testing.assert_allclose(averaged, expected, atol=1e-10)
    assert len(symmetry.rotations) >= 48


def test_voigt_and_tensor_forms_are_inverse():
    matrix = np.arange(36.0).reshape(6, 6)
    np.testing.assert_array_equal(tensor_to_voigt(voigt_to_tensor(matrix)), matrix)
    np.testing.assert_allclose(
        strain_matrix(np.array([1, 2, 3, 4, 5, 6])), [[1, 3, 2.5], [3, 2, 2], [2.5, 2, 3]]
    )


def test_averages_of_isotropic_and_cubic_solids():
    isotropic = cubic_constants(300.0, 100.0, 100.0)
    for average in (voigt_average, reuss_average, hill_average):
        moduli = average(isotropic)
        assert moduli.bulk_gpa == pytest.approx(500 / 3)
        assert moduli.shear_gpa == pytest.approx(100.0)
        assert moduli.young_gpa == pytest.approx(250.0)
        assert moduli.poisson_ratio == pytest.approx(0.25)
    assert universal_anisotropy(isotropic) == pytest.approx(0.0, abs=1e-12)
    cubic = cubic_constants(170.0, 120.0, 80.0)
    assert voigt_average(cubic).shear_gpa == pytest.approx((50 + 3 * 80) / 5)
    assert reuss_average(cubic).shear_gpa == pytest.approx(5 * 50 * 80 / (4 * 80 + 3 * 50))
    assert reuss_average(cubic).bulk_gpa == pytest.approx((170 + 240) / 3)
    assert universal_anisotropy(cubic) > 0


def test_instability_is_reported(copper):
    unstable = ElasticConstants(cubic_constants(100, 120, 50), 0.0, None, False, 0.0, copper())
    assert not unstable.stable
    assert unstable.smallest_eigenvalue_gpa == pytest.approx(-20.0)
    flat = json.loads(json.dumps(unstable.to_json_dict()))
    assert flat["bulk_modulus_gpa"] is None
    assert flat["c12_gpa"] == 120.0


def test_bad_strain_is_named(copper):
    with pytest.raises(InputError, match=r"strain is 0\.2"):
        elastic_constants(copper(), strain=0.2)
