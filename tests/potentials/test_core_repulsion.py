"""ZBL repulsion: published constants, derivatives, switching, defaults, bad input."""

import numpy as np
import pytest
from scipy import constants

from castile.errors import InputError
from castile.potentials.core_repulsion import (
    COULOMB_CONSTANT,
    SCREENING_LENGTH,
    SCREENING_WEIGHTS,
    CoreRepulsion,
    default_switch_radii,
    zbl,
)

SPECIES = ("Si", "Ge", "H")
CORE = CoreRepulsion(SPECIES, inner=(1.0, 1.1, 0.6, 1.2, 0.7, 0.3), outer=(1.9, 2.0, 1.3, 2.1, 1.4, 0.7))
NUMBERS = {"Si": 14, "Ge": 32, "H": 1}


def test_constants_are_the_physical_ones():
    coulomb = constants.e / (4 * np.pi * constants.epsilon_0) / constants.angstrom
    assert pytest.approx(coulomb, rel=1e-6) == COULOMB_CONSTANT
    bohr = constants.value("Bohr radius") / constants.angstrom
    assert pytest.approx(0.8854 * bohr, rel=1e-4) == SCREENING_LENGTH
    assert sum(SCREENING_WEIGHTS) == pytest.approx(1.0, abs=1e-12)


def test_bare_coulomb_at_short_distances():
    r = 1e-6
    energy, slope = zbl(r, 14, 32)
    assert energy * r == pytest.approx(COULOMB_CONSTANT * 14 * 32, rel=1e-4)
    assert slope * r**2 == pytest.approx(-COULOMB_CONSTANT * 14 * 32, rel=1e-4)


@pytest.mark.parametrize(("number_1", "number_2"), [(14, 14), (1, 1), (6, 74)])
def test_equals_the_four_digit_form_in_atomic_units(number_1, number_2):
    """The same function as the book prints it, in Hartree and Bohr (weights and rates with four digits)."""
    bohr, hartree = constants.value("Bohr radius") * 1e10, constants.value("Hartree energy in eV")
    r = np.array([0.1, 0.3, 0.8, 1.5]) / bohr
    x = r * (number_1**0.23 + number_2**0.23) / 0.8854
    screening = (
        0.1818 * np.exp(-3.2 * x)
        + 0.5099 * np.exp(-0.9423 * x)
        + 0.2802 * np.exp(-0.4029 * x)
        + 0.02817 * np.exp(-0.2016 * x)
    )
    expected = hartree * number_1 * number_2 / r * screening
    np.testing.assert_allclose(zbl(r * bohr, number_1, number_2)[0], expected, rtol=1e-3)


def test_silicon_at_one_angstrom_worked_by_hand():
    """r/a = 7.8330: phi = 0.0000000 + 0.0003176 + 0.0119370 + 0.0058064 = 0.018061; 2822.330 phi = 50.974."""
    assert zbl(1.0, 14, 14)[0] == pytest.approx(50.974, rel=1e-4)


def _pairs():
    r = np.linspace(0.2, 2.2, 401)
    for a in SPECIES:
        for b in SPECIES:
            yield r, np.full(r.shape, NUMBERS[a]), np.full(r.shape, NUMBERS[b])


@pytest.mark.parametrize("function", [zbl, CORE.pair_energy], ids=["zbl", "switched"])
def test_derivatives_equal_finite_differences(function):
    for r, z_1, z_2 in _pairs():
        h = 1e-4
        values = [function(r + k * h, z_1, z_2)[0] for k in (-2, -1, 1, 2)]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        energy, slope = function(r, z_1, z_2)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)
        assert (energy >= 0.0).all()
        assert (slope <= 0.0).all()


def test_full_below_inner_zero_beyond_outer_and_symmetric():
    r = np.array([0.25, 0.29, 0.7, 0.9])
    np.testing.assert_array_equal(CORE.pair_energy(r, 1, 1)[0][:2], zbl(r[:2], 1, 1)[0])
    np.testing.assert_array_equal(CORE.pair_energy(r, 1, 1)[0][2:], 0.0)
    mixed = np.array([32, 14, 1, 14]), np.array([14, 32, 32, 1])
    for ours, swapped in zip(CORE.pair_energy(r, *mixed), CORE.pair_energy(r, *mixed[::-1]), strict=True):
        np.testing.assert_allclose(ours, swapped, rtol=1e-14)
    assert CORE.cutoff == 2.1
    assert CORE.pairs[3] == ("Ge", "Ge")


def test_each_pair_has_its_own_radii():
    for (a, b), outer in zip(CORE.pairs, CORE.outer, strict=True):
        energy, _ = CORE.pair_energy(np.array([outer - 0.05, outer]), NUMBERS[b], NUMBERS[a])
        assert energy[0] > 0.0
        assert energy[1] == 0.0


def test_second_derivative_is_continuous_at_both_radii():
    for knot in (1.0, 1.9):
        slopes = CORE.pair_energy(knot + np.array([-2e-5, -1e-5, 0.0, 1e-5, 2e-5]), 14, 14)[1]
        left, right = (slopes[2] - slopes[0]) / 2e-5, (slopes[4] - slopes[2]) / 2e-5
        assert right == pytest.approx(left, rel=5e-4, abs=0.05)


def test_default_radii_leave_the_data_alone():
    shortest = np.array([2.1, 2.2, 1.4, np.inf, np.nan, 0.5])
    inner, outer = default_switch_radii(shortest, SPECIES)
    np.testing.assert_allclose(outer[:3], 0.9 * shortest[:3])
    np.testing.assert_allclose(inner / outer, 5.0 / 9.0)
    assert outer[3] == pytest.approx(0.9 * 2 * 1.20)
    core = CoreRepulsion.from_min_distances(SPECIES, shortest)
    assert core.pair_energy(np.array([2.1]), 14, 14)[0][0] == 0.0
    assert core.pair_energy(np.array([0.7 * 2.1]), 14, 14)[0][0] == pytest.approx(5.26, abs=0.05)


def test_far_apart_atoms_do_not_stretch_the_core():
    assert default_switch_radii([5.0], ["Si"])[1][0] == pytest.approx(0.9 * 2.22)
    assert default_switch_radii([5.0])[1][0] == 4.5


def test_empty_input():
    energy, slope = CORE.pair_energy(np.zeros(0), np.zeros(0), np.zeros(0))
    assert energy.shape == slope.shape == (0,)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CoreRepulsion(("Si", "Si"), (1.0,) * 3, (2.0,) * 3), "species"),
        (lambda: CoreRepulsion(("Xq",), (1.0,), (2.0,)), "Xq"),
        (lambda: CoreRepulsion(("Si", "H"), (1.0,), (2.0,)), "make 3 pairs"),
        (lambda: CoreRepulsion(("Si",), (2.0,), (1.0,)), "Si-Si are inner = 2.0"),
        (lambda: CORE.pair_energy(np.ones(2), 14, np.array([1, 8])), r"\[8\] are not among"),
        (lambda: default_switch_radii([np.inf]), "pass species"),
        (lambda: default_switch_radii([1.0, -1.0]), "positive"),
        (lambda: default_switch_radii([1.0], ["Si", "H"]), "3 pairs"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(InputError, match=named):
        make()
