"""Radial bases, cutoffs and scalings against quippy and featomic, through the slow oracle."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.radial_bases import GTO, EquispacedGaussians
from castile.descriptors.radial_scaling import NoScaling, Willatt2018, quip_decay
from descriptors.oracle import oracle_soap
from descriptors.peers import featomic_soap, quippy_soap


def _rattled(atoms: Atoms, seed: int) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(scale=0.15, size=atoms.positions.shape)
    return atoms


SILICON = (_rattled(bulk("Si", cubic=True), 1), ["Si"])
GALLIUM_ARSENIDE = (_rattled(bulk("GaAs", "zincblende", a=5.65), 2), ["Ga", "As"])
REVERSED_SPECIES = (GALLIUM_ARSENIDE[0], ["As", "Ga"])
MOLECULE = (Atoms("COH", positions=[[0.0, 0.1, 0.0], [1.2, 0.0, 0.3], [-0.4, 0.9, 0.5]]), ["H", "C", "O"])
SLAB = (
    Atoms("SiGe", positions=[[0, 0, 0], [1.4, 1.2, 1.1]], cell=[[2.7, 0, 0], [1.3, 2.6, 0], [0, 0, 20]],
          pbc=[True, True, False]),
    ["Si", "Ge"],
)  # fmt: skip
TINY = (
    Atoms("SiGe", positions=[[0, 0, 0], [1.4, 1.2, 1.1]], cell=[[2.7, 0, 0], [1.3, 2.6, 0], [1.1, 0.9, 3.0]],
          pbc=True),
    ["Si", "Ge"],
)  # fmt: skip
STRUCTURES = {
    "silicon": SILICON,
    "GaAs": GALLIUM_ARSENIDE,
    "reversed": REVERSED_SPECIES,
    "molecule": MOLECULE,
    "tiny": TINY,
}


@pytest.mark.parametrize(
    ("atoms", "species"), [*STRUCTURES.values(), SLAB], ids=[*STRUCTURES, "slab: periodic in two directions"]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_equispaced_gaussians_equal_quippy(atoms, species, normalize):
    cutoff, width, n_max, l_max, sigma, weight = 4.2, 0.6, 6, 5, 0.5, 0.8
    reference = quippy_soap(atoms, species, cutoff, width, n_max, l_max, sigma, normalize, weight)
    ours = oracle_soap(
        atoms, EquispacedGaussians(n_max, l_max, cutoff, sigma), CosineCutoff(cutoff, width), NoScaling(),
        species, normalize, weight,
    )  # fmt: skip
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


@pytest.mark.parametrize(("dexp", "scale", "rate"), [(0, 1.0, 1.0), (3, 2.5, 1.3), (2, 2.0, 0.0)])
def test_decay_equals_quippy(dexp, scale, rate):
    atoms, species = GALLIUM_ARSENIDE
    extra = f"cutoff_dexp={dexp} cutoff_scale={scale} cutoff_rate={rate} basis_error_exponent=7"
    reference = quippy_soap(atoms, species, 4.0, 1.0, 5, 4, 0.4, True, 1.0, extra)
    basis = EquispacedGaussians(5, 4, 4.0, 0.4, basis_error_exponent=7.0)
    ours = oracle_soap(
        atoms, basis, CosineCutoff(4.0, 1.0), quip_decay(dexp, scale, rate), species, True, 1.0
    )
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("atoms", "species"), STRUCTURES.values(), ids=STRUCTURES)
def test_gto_equals_featomic(atoms, species):
    cutoff, width, n_max, l_max, sigma, weight = 4.2, 0.6, 7, 5, 0.4, 0.7
    reference = featomic_soap(atoms, species, cutoff, width, n_max, l_max, sigma, weight)
    ours = oracle_soap(
        atoms, GTO(n_max, l_max, cutoff, sigma), CosineCutoff(cutoff, width), NoScaling(), species, False,
        weight,
    )  # fmt: skip
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-9 * np.abs(reference).max())


def test_gto_with_radial_scaling_equals_featomic():
    atoms, species = GALLIUM_ARSENIDE
    scaling = Willatt2018(rate=1.5, scale=2.2, exponent=4.0)
    reference = featomic_soap(atoms, species, 4.5, 1.0, 6, 4, 0.3, 1.0, scaling)
    ours = oracle_soap(
        atoms, GTO(6, 4, 4.5, 0.3), CosineCutoff(4.5, 1.0), scaling, species, False, 1.0
    )  # fmt: skip
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-9 * np.abs(reference).max())


def _numerical_derivatives(atoms, compute, step=1e-4):
    columns = []
    for atom in range(len(atoms)):
        for axis in range(3):
            moved = []
            for sign in (2, 1, -1, -2):
                shifted = atoms.copy()
                shifted.positions[atom, axis] += sign * step
                moved.append(compute(shifted))
            columns.append((-moved[0] + 8 * moved[1] - 8 * moved[2] + moved[3]) / (12 * step))
    derivatives = np.stack(columns, axis=1)
    return derivatives.reshape(len(atoms), len(atoms), 3, -1)


@pytest.mark.parametrize(("atoms", "species"), [MOLECULE, TINY], ids=["molecule", "tiny"])
def test_derivatives_of_the_peers_follow_the_documented_layout(atoms, species):
    """The layout that the fast path is compared with: finite differences of the oracle."""
    cutoff, width = CosineCutoff(4.0, 0.7), 0.7
    spaced = EquispacedGaussians(4, 3, 4.0, 0.5)
    expected = _numerical_derivatives(
        atoms, lambda a: oracle_soap(a, spaced, cutoff, NoScaling(), species, True, 1.0)
    )
    _, derivatives = quippy_soap(atoms, species, 4.0, width, 4, 3, 0.5, True, 1.0, grad=True)
    np.testing.assert_allclose(derivatives, expected, rtol=0, atol=1e-9)
    orbitals = GTO(4, 3, 4.0, 0.5)
    expected = _numerical_derivatives(
        atoms, lambda a: oracle_soap(a, orbitals, cutoff, NoScaling(), species, False, 1.0)
    )
    _, derivatives = featomic_soap(atoms, species, 4.0, width, 4, 3, 0.5, 1.0, grad=True)
    np.testing.assert_allclose(derivatives, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
