"""Kernels against NumPy, and in single against double precision."""

import numpy as np
import pytest
from ase import Atoms

import castile
from castile.descriptors.soap_centers import find_centers
from castile.execution.scratch import Scratch
from castile.numerics.kernel_powers import raise_dots, weigh_powers
from castile.numerics.pair_functions import tabulated_pair_forces, tabulated_pair_response
from castile.numerics.pair_sorting import add_pair_gradients, add_to_atoms, sort_pairs, sum_over_centers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zeta", [1.0, 2.0, 4.0, 2.5])
def test_powers_of_dot_products(dtype: str, zeta: float) -> None:
    rng = np.random.default_rng(0)
    dots = rng.uniform(0.0, 1.0, (5, 7)).astype(dtype)
    weights = rng.normal(size=7).astype(dtype)
    powers, energies = np.empty_like(dots), np.empty(5, dtype)
    raise_dots(dots, zeta, powers)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(powers, dots ** (zeta - 1.0), rtol=tolerance)
    weigh_powers(dots, powers, weights, zeta, energies)
    np.testing.assert_allclose(energies, dots**zeta @ weights, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(powers, zeta * weights * dots ** (zeta - 1.0), rtol=tolerance, atol=tolerance)


def test_a_broken_power_of_rounding_below_zero_is_zero() -> None:
    dots, powers = np.array([[-1e-17, 0.0, 0.5]]), np.empty((1, 3))
    raise_dots(dots, 2.5, powers)
    np.testing.assert_allclose(powers, [[0.0, 0.0, 0.5**1.5]])


def test_pairs_are_sorted_by_center_and_species() -> None:
    rng = np.random.default_rng(1)
    center, neighbor = rng.integers(0, 6, 200), rng.integers(0, 9, 200)
    species = rng.integers(-1, 3, 9)
    vectors = rng.normal(size=(200, 3))
    first, order = sort_pairs(center, neighbor, species, 2.0, vectors, 6, 3)
    kept = (np.sum(vectors**2, axis=1) < 2.0) & (species[neighbor] >= 0)
    assert sorted(order) == np.flatnonzero(kept).tolist()
    segments = center[order] * 3 + species[neighbor[order]]
    np.testing.assert_array_equal(np.diff(first), np.bincount(segments, minlength=18))
    assert np.all(np.diff(segments) >= 0)


def test_sums_over_pairs() -> None:
    rng = np.random.default_rng(2)
    center, neighbor = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
    vectors, gradient = rng.normal(size=(2, 30, 3))
    forces, virial = np.zeros((4, 3)), np.zeros((3, 3))
    add_pair_gradients(center, neighbor, vectors, gradient, forces, virial)
    expected = np.zeros((4, 3))
    np.add.at(expected, center, gradient)
    np.add.at(expected, neighbor, -gradient)
    np.testing.assert_allclose(forces, expected, atol=1e-13)
    np.testing.assert_allclose(virial, vectors.T @ gradient, atol=1e-13)
    center, n_species = np.sort(center), 2
    first = np.repeat(np.searchsorted(center, np.arange(5)), n_species)[1:]  # all are of the last species
    on_centers, on_atoms, strain = np.zeros((4, 3)), np.zeros((4, 3)), np.zeros((3, 3))
    sum_over_centers(first, n_species, vectors, gradient, on_centers, strain)
    add_to_atoms(neighbor, gradient, on_atoms)
    expected_centers, expected_atoms = np.zeros((4, 3)), np.zeros((4, 3))
    np.add.at(expected_centers, center, -gradient)
    np.add.at(expected_atoms, neighbor, gradient)
    np.testing.assert_allclose(on_centers, expected_centers, atol=1e-13)
    np.testing.assert_allclose(on_atoms, expected_atoms, atol=1e-13)
    np.testing.assert_allclose(strain, vectors.T @ gradient, atol=1e-13)


@pytest.mark.parametrize("channels", [None, 2])
def test_soap_in_single_precision(channels: int | None) -> None:
    """The whole chain: density, channels, power spectrum, and back to the positions."""
    rng = np.random.default_rng(3)
    atoms = Atoms("Si6O4C2", rng.uniform(0, 6.5, (12, 3)), cell=[6.5] * 3, pbc=True)
    options = {"cutoff": 4.0, "n_max": 6, "l_max": 5, "sigma": 0.5, "channels": channels, "threads": 1}
    single, double = (castile.SOAP(**options, dtype=d).fit(atoms) for d in ("float32", "float64"))
    features = single.transform(atoms)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, double.transform(atoms), atol=2e-6)
    cotangent = rng.normal(size=features.shape)
    one, two = single.vjp(atoms, cotangent), double.vjp(atoms, cotangent)
    scale = np.abs(two.positions).max()
    np.testing.assert_allclose(one.positions, two.positions, atol=1e-4 * scale)
    tangent = rng.normal(size=(12, 3))
    change = double.jvp(atoms, tangent)
    np.testing.assert_allclose(single.jvp(atoms, tangent), change, atol=1e-4 * np.abs(change).max())
    assert np.sum(cotangent * change) == pytest.approx(np.sum(two.positions * tangent), rel=1e-9)


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_several_adjoints_at_once(count: int, channels: int | None) -> None:
    atoms = Atoms("CuAuAuCuPd", np.random.default_rng(3).uniform(0.0, 4.0, (5, 3)))
    soap = castile.SOAP(cutoff=3.5, n_max=10, l_max=3, channels=channels).fit(atoms)
    engine, centers = soap.engine_, find_centers(soap.engine_, atoms, soap.species_, None, "atoms")
    pairs = centers.pairs(0, 5)
    chunk = engine.chunk(pairs, 0, 5)
    cotangents = np.random.default_rng(4).normal(size=(count, *chunk.features.shape))
    together, alone = np.empty((2, count, len(pairs.neighbor), 3))
    engine.vjps(pairs, chunk, cotangents, together, Scratch())
    for cotangent, out in zip(cotangents, alone, strict=True):
        engine.vjp(pairs, chunk, cotangent, out)
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-13 * np.abs(alone).max())


def test_pair_forces_of_several_models() -> None:
    rng = np.random.default_rng(5)
    center, neighbor, kinds = rng.integers(0, 6, 40), rng.integers(0, 6, 40), rng.integers(-1, 2, 40)
    vectors, tables = rng.normal(size=(40, 3)), rng.normal(size=(2, 9, 6, 3))
    forces, virials = np.zeros((6, 3, 3)), np.zeros((3, 3, 3))
    grid = 0.3, 0.2, 2.0  # start, step, cutoff: some pairs are below the table, some beyond
    tabulated_pair_forces(center, neighbor, vectors, kinds, tables, *grid, forces, virials)
    for model in range(3):
        expected, virial, table = np.zeros((6, 3)), np.zeros((3, 3)), np.ascontiguousarray(tables[..., model])
        tabulated_pair_response(
            center, neighbor, vectors, kinds, table, *grid, np.zeros(6), expected, virial
        )  # fmt: skip
        np.testing.assert_allclose(forces[..., model], expected, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(virials[..., model], virial, rtol=1e-11, atol=1e-11)
