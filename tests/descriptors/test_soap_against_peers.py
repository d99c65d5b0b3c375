"""`castile.SOAP` against quippy, featomic and the slow oracle: values and explicit derivatives."""

import numpy as np
import pytest
from ase.data import atomic_numbers

from castile.descriptors.cutoffs import CosineCutoff, SmoothCutoff
from castile.descriptors.radial_bases import GTO, EquispacedGaussians
from castile.descriptors.radial_scaling import NoScaling, Willatt2018, quip_decay
from castile.descriptors.soap import SOAP
from descriptors.oracle import oracle_soap
from descriptors.peers import featomic_soap, quippy_soap
from descriptors.test_radial_bases_against_peers import GALLIUM_ARSENIDE, MOLECULE, SILICON, SLAB, TINY

STRUCTURES = {"silicon": SILICON, "GaAs": GALLIUM_ARSENIDE, "molecule": MOLECULE, "tiny": TINY}
CUTOFF, WIDTH, N_MAX, L_MAX, SIGMA, WEIGHT = 4.2, 0.6, 8, 6, 0.5, 0.8


def _ascending(species):
    """Castile's channels are in the order of the atomic numbers."""
    return sorted(species, key=atomic_numbers.__getitem__)


def _close(ours, theirs, tolerance):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("atoms", "species"), [*STRUCTURES.values(), SLAB], ids=[*STRUCTURES, "slab: periodic in two directions"]
)
def test_equispaced_gaussians_equal_quippy(atoms, species, normalize):
    species = _ascending(species)
    soap = SOAP(
        CUTOFF, N_MAX, L_MAX, SIGMA, cutoff_width=WIDTH, radial_basis="equispaced", species=species,
        normalize=normalize, central_weight=WEIGHT,
    )  # fmt: skip
    values, derivatives = quippy_soap(
        atoms, species, CUTOFF, WIDTH, N_MAX, L_MAX, SIGMA, normalize, WEIGHT, grad=True
    )
    _close(soap.transform(atoms), values, 1e-11)
    _close(soap.derivatives(atoms).dense(len(atoms)), derivatives, 1e-9)


@pytest.mark.parametrize(("atoms", "species"), STRUCTURES.values(), ids=STRUCTURES)
def test_gto_equals_featomic(atoms, species):
    species = _ascending(species)
    scaling = Willatt2018(rate=1.5, scale=2.2, exponent=4.0)
    soap = SOAP(
        CUTOFF, N_MAX, L_MAX, SIGMA, cutoff_width=WIDTH, species=species, normalize=False,
        central_weight=WEIGHT, radial_scaling=scaling,
    )  # fmt: skip
    values, derivatives = featomic_soap(
        atoms, species, CUTOFF, WIDTH, N_MAX, L_MAX, SIGMA, WEIGHT, scaling, grad=True
    )
    _close(soap.transform(atoms), values, 1e-9)
    _close(soap.derivatives(atoms).dense(len(atoms)), derivatives, 1e-8)


@pytest.mark.parametrize(("atoms", "species"), [MOLECULE, TINY, SLAB], ids=["molecule", "tiny", "slab"])
def test_points_mixed_channels_and_smooth_cutoff_equal_the_oracle(atoms, species):
    species = _ascending(species)
    mixing = np.random.default_rng(0).normal(size=(len(species), 2))
    points = np.concatenate([np.random.default_rng(1).uniform(-1, 3, size=(4, 3)), atoms.positions[:1]])
    for basis, factory in (("gto", GTO), ("equispaced", EquispacedGaussians)):
        soap = SOAP(
            3.7, 5, 4, 0.45, cutoff_width=1.1, cutoff_function="smooth", radial_basis=basis, species=species,
            channels=mixing, central_weight=0.3,
        )  # fmt: skip
        options = (factory(5, 4, 3.7, 0.45), SmoothCutoff(3.7, 1.1), NoScaling(), species, True, 0.3)
        _close(soap.transform(atoms), oracle_soap(atoms, *options, mixing=soap.mixing_), 1e-11)
        _close(
            soap.transform(atoms, points),
            oracle_soap(atoms, *options, points=points, mixing=soap.mixing_),
            1e-11,
        )
        chosen = [1, 0, 1]
        _close(
            soap.transform(atoms, chosen),
            oracle_soap(atoms, *options, centers=chosen, mixing=soap.mixing_),
            1e-11,
        )


@pytest.mark.parametrize("rate", [0.0, 0.7])
def test_decay_equals_the_oracle(rate):
    atoms, species = GALLIUM_ARSENIDE
    scaling = quip_decay(3, 2.5, rate)
    soap = SOAP(4.0, 5, 4, 0.4, radial_scaling=scaling, species=_ascending(species))
    expected = oracle_soap(
        atoms, GTO(5, 4, 4.0, 0.4), CosineCutoff(4.0, 0.5), scaling, _ascending(species), True, 1.0
    )
    _close(soap.transform(atoms), expected, 1e-11)
