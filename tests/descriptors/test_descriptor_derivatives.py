"""Every registered descriptor: derivatives by finite differences, symmetries, the scikit-learn interface."""

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import clone

from castile.descriptors.base import Descriptor
from castile.descriptors.distance_matrices import CoulombMatrix
from castile.descriptors.radial_scaling import Willatt2018
from castile.descriptors.rdf import RadialDistribution
from castile.descriptors.registry import DESCRIPTORS
from castile.descriptors.soap import SOAP
from castile.errors import InputError

MOLECULES = [
    Atoms("COHN", positions=[[0.0, 0.1, 0.0], [1.2, 0.0, 0.3], [-0.4, 0.9, 0.5], [0.3, -1.2, 0.2]]),
    Atoms("OHH", positions=[[0.0, 0.0, 0.1], [0.9, 0.1, 0.0], [-0.3, 0.85, 0.2]]),
]
CRYSTALS = [
    Atoms("SiGe", positions=[[0, 0, 0], [1.4, 1.2, 1.1]], cell=[[2.7, 0, 0], [1.3, 2.6, 0], [1.1, 0.9, 3.0]],
          pbc=True),
    Atoms("GeSiSi", positions=[[0, 0, 0], [1.5, 1.2, 1.1], [3.0, 2.0, 2.3]], cell=[4.5, 4.2, 20.0],
          pbc=[True, True, False]),
]  # fmt: skip
CASES = {
    "RadialDistribution: per structure": (
        RadialDistribution(cutoff=4.0, n_bins=12, sigma=0.3),
        CRYSTALS,
    ),
    "RadialDistribution: per atom": (
        RadialDistribution(cutoff=3.5, n_bins=9, sigma=0.4, per_atom=True, shell=True),
        CRYSTALS,
    ),
    "RadialDistribution: molecules": (RadialDistribution(cutoff=3.0, n_bins=9, sigma=0.4), MOLECULES),
    "SOAP: defaults": (SOAP(cutoff=3.5, n_max=4, l_max=3), CRYSTALS),
    "SOAP: equispaced, mixed, inner average": (
        SOAP(3.5, 4, 3, radial_basis="equispaced", channels=1, average="inner", cutoff_function="smooth"),
        CRYSTALS,
    ),
    "SOAP: scaled, not normalized, outer average": (
        SOAP(3.0, 3, 2, radial_scaling=Willatt2018(1.0, 2.0, 4.0), normalize=False, average="outer"),
        MOLECULES,
    ),
    "CoulombMatrix": (CoulombMatrix(n_atoms_max=6), MOLECULES),
}
each_case = pytest.mark.parametrize(("descriptor", "structures"), CASES.values(), ids=CASES)
STEP = 1e-4


def test_every_descriptor_has_a_case():
    assert {type(descriptor) for descriptor, _ in CASES.values()} == set(DESCRIPTORS)
    assert set(Descriptor.__subclasses__()) == set(DESCRIPTORS)


def _moved(atoms, positions, strain, step):
    """Atoms after ``step`` times a displacement and a strain."""
    copy = atoms.copy()
    copy.positions = atoms.positions + step * (positions + atoms.positions @ strain)
    copy.set_cell(atoms.cell.array @ (np.eye(3) + step * strain))
    return copy


def _change(descriptor, atoms, positions, strain):
    """Change of the features along a motion, fourth-order central difference."""
    features = [descriptor.transform(_moved(atoms, positions, strain, k * STEP)) for k in (2, 1, -1, -2)]
    return (-features[0] + 8 * features[1] - 8 * features[2] + features[3]) / (12 * STEP)


def _motion(atoms, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(atoms), 3)), rng.normal(scale=0.3, size=(3, 3))


@each_case
def test_jvp_equals_finite_differences(descriptor, structures):
    descriptor = clone(descriptor).fit(structures)
    for atoms in structures:
        positions, strain = _motion(atoms, 0)
        nothing = np.zeros((3, 3))
        for moved, strained in ((positions, strain), (positions, nothing), (0.0 * positions, strain)):
            expected = _change(descriptor, atoms, moved, strained)
            ours = descriptor.jvp(atoms, moved, strained)
            assert np.abs(expected).max() > 1e-4
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
        np.testing.assert_array_equal(
            descriptor.jvp(atoms, positions=positions), descriptor.jvp(atoms, positions, nothing)
        )


@each_case
def test_vjp_is_the_transpose_of_jvp(descriptor, structures):
    descriptor = clone(descriptor).fit(structures)
    for atoms in structures:
        positions, strain = _motion(atoms, 1)
        cotangent = np.random.default_rng(2).normal(size=descriptor.transform(atoms).shape)
        gradient = descriptor.vjp(atoms, cotangent)
        backward = (gradient.positions * positions).sum() + (gradient.strain * strain).sum()
        forward = (cotangent * descriptor.jvp(atoms, positions, strain)).sum()
        assert backward == pytest.approx(forward, rel=1e-10)


@each_case
def test_explicit_derivatives_equal_vjp(descriptor, structures):
    descriptor = clone(descriptor).fit(structures)
    for atoms in structures:
        explicit = descriptor.derivatives(atoms)
        cotangent = np.random.default_rng(3).normal(size=descriptor.transform(atoms).shape)
        gradient = descriptor.vjp(atoms, cotangent)
        scale = np.abs(gradient.positions).max()
        positions = np.einsum("riaf,rf->ia", explicit.dense(len(atoms)), cotangent)
        np.testing.assert_allclose(positions, gradient.positions, atol=1e-11 * scale)
        strain = np.einsum("rabf,rf->ab", explicit.strain, cotangent)
        np.testing.assert_allclose(strain, gradient.strain, atol=1e-11 * scale)
        assert len(np.unique(explicit.row * len(atoms) + explicit.atom)) == len(explicit.row)


@each_case
def test_translation_rotation_reflection_and_order_of_atoms(descriptor, structures):
    descriptor = clone(descriptor).fit(structures)
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    rotation *= -np.linalg.det(rotation)  # improper: a reflection as well
    shift = np.array([0.3, -1.1, 0.7])
    for atoms in structures:
        expected = descriptor.transform(atoms)
        scale = np.abs(expected).max()
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ rotation)
        turned.positions = (atoms.positions + shift) @ rotation
        np.testing.assert_allclose(descriptor.transform(turned), expected, atol=1e-10 * scale)
        reordered = expected if len(expected) == 1 else expected[::-1]
        np.testing.assert_allclose(descriptor.transform(atoms[::-1]), reordered, atol=1e-10 * scale)


@each_case
def test_one_structure_or_many_and_feature_names(descriptor, structures):
    descriptor = clone(descriptor).fit(iter(structures))
    together = descriptor.transform(structures)
    apart = np.concatenate([descriptor.transform(atoms) for atoms in structures])
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(clone(descriptor).fit_transform(structures), together)
    names = descriptor.get_feature_names_out()
    assert len(set(names)) == len(names) == together.shape[1]


@each_case
def test_bad_input_is_named(descriptor, structures):
    descriptor = clone(descriptor).fit(structures)
    assert descriptor.transform([]).shape == (0, descriptor.transform(structures).shape[1])
    with pytest.raises(InputError, match="structure 1 is a str"):
        descriptor.transform([structures[0], "CO2"])
    broken = structures[0].copy()
    broken.positions[1, 2] = np.nan
    with pytest.raises(InputError, match="structure 0: atom 1"):
        descriptor.transform(broken)
    with pytest.raises(InputError, match="cotangent has shape"):
        descriptor.vjp(structures[0], np.zeros((1, 1)))
    with pytest.raises(InputError, match="positions has shape"):
        descriptor.jvp(structures[0], np.zeros((1, 3)))
    with pytest.raises(InputError, match="strain has shape"):
        descriptor.jvp(structures[0], strain=np.zeros(6))
    with pytest.raises(InputError, match="NaN"):
        descriptor.jvp(structures[0], strain=np.full((3, 3), np.nan))
    with pytest.raises(InputError, match="give structures"):
        type(descriptor)().fit([])


def test_rdf_counts_the_shells_of_a_crystal():
    """fcc: 12 neighbours at a/sqrt 2, 6 at a, 24 at a sqrt(3/2)."""
    from ase.build import bulk

    a = 4.0
    rdf = RadialDistribution(cutoff=6.5, n_bins=1300, sigma=0.05, width=1.0).fit([bulk("Cu", a=a)])
    density = rdf.transform(bulk("Cu", cubic=True, a=a) * (2, 1, 1))[0]
    step = rdf.distances_[1] - rdf.distances_[0]
    for neighbors, r in ((12, a / np.sqrt(2)), (6, a), (24, a * np.sqrt(1.5))):
        shell = np.abs(rdf.distances_ - r) < 0.35
        assert density[shell].sum() * step == pytest.approx(neighbors, rel=1e-6)
    shells = RadialDistribution(cutoff=6.5, n_bins=1300, sigma=0.05, shell=True).fit([bulk("Cu", a=a)])
    np.testing.assert_allclose(
        shells.transform(bulk("Cu", a=a))[0] * 4 * np.pi * rdf.distances_**2, density, atol=1e-10
    )


def test_rdf_is_smooth_through_the_cutoff():
    rdf = RadialDistribution(cutoff=3.0, n_bins=10, sigma=0.5, width=0.8).fit([Atoms("Si2")])
    pair = [Atoms("Si2", positions=[[0, 0, 0], [0, 0, r]]) for r in (3.0 - 1e-4, 3.0 + 1e-4)]
    inside, outside = rdf.transform(pair)
    assert np.abs(inside - outside).max() < 1e-9
    assert (outside == 0.0).all()


def test_rdf_refuses_unknown_species_and_bad_parameters():
    rdf = RadialDistribution().fit(CRYSTALS)
    with pytest.raises(InputError, match="structure 0: element C"):
        rdf.transform(MOLECULES[0])
    for bad in (
        {"sigma": 0.0},
        {"n_bins": 0},
        {"cutoff": -1.0},
        {"species": ["Xx9"]},
        {"species": ["Si", "Si"]},
    ):
        with pytest.raises(InputError):
            RadialDistribution(**bad).fit(CRYSTALS)


def test_coulomb_matrix_of_a_dimer_is_solved_by_hand():
    dimer = Atoms("HH", positions=[[0, 0, 0], [0, 0, 2.0]])
    np.testing.assert_allclose(CoulombMatrix().fit_transform(dimer), [[1.0, 0.0]], atol=1e-15)


def test_coulomb_matrix_equals_dscribe():
    dscribe = pytest.importorskip(
        "dscribe.descriptors", reason="dscribe is missing; pip install 'castile[peers]'"
    )
    reference = dscribe.CoulombMatrix(n_atoms_max=6, permutation="eigenspectrum").create(MOLECULES)
    ours = CoulombMatrix(n_atoms_max=6).fit_transform(MOLECULES)
    np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-12)


def test_coulomb_matrix_refuses_what_it_cannot_describe():
    matrix = CoulombMatrix().fit(MOLECULES[1])
    with pytest.raises(InputError, match="structure 0 is periodic"):
        matrix.transform(CRYSTALS[0])
    with pytest.raises(InputError, match="structure 1 is periodic"):
        CoulombMatrix().fit([MOLECULES[0], CRYSTALS[1]])
    with pytest.raises(InputError, match="4 atoms, more than n_atoms_max = 3"):
        matrix.transform(MOLECULES[0])
    with pytest.raises(InputError, match="atoms 0 and 1 lie on top of each other"):
        matrix.transform(Atoms("H2"))
    with pytest.raises(InputError, match="n_atoms_max = 0"):
        CoulombMatrix(n_atoms_max=0).fit(MOLECULES)


def test_coulomb_matrix_says_when_its_derivative_does_not_exist():
    square = Atoms("H4", positions=[[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    matrix = CoulombMatrix().fit(square)
    assert np.isfinite(matrix.transform(square)).all()
    with pytest.raises(InputError, match="coincide"):
        matrix.derivatives(square)
    with pytest.raises(InputError, match="coincide"):
        matrix.vjp(square, np.ones((1, 4)))
