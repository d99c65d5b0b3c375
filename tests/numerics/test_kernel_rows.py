import numpy as np
import pytest

from castile.numerics.kernel_rows import add_kernel_rows, rows_of_pairs
from castile.numerics.panel_products import pack_panels

N_ATOMS, N_CENTERS, WIDTH = 5, 3, 11
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("n_points", [1, 130])
@pytest.mark.parametrize("labels", ["forces", "virial", "both"])
def test_rows_equal_the_sums_over_pairs_written_out(normalized, n_points, labels):
    rng = np.random.default_rng(n_points)
    n_pairs = 13
    changes = np.zeros((rows_of_pairs(n_pairs), WIDTH))
    changes[: 3 * n_pairs] = rng.normal(size=(3 * n_pairs, WIDTH))
    spectra, points = rng.normal(size=(N_CENTERS, WIDTH)), rng.normal(size=(n_points, WIDTH))
    dots, factors = spectra @ points.T, rng.normal(size=(N_CENTERS, n_points))
    center = np.sort(rng.integers(0, N_CENTERS, n_pairs))
    atoms, neighbor = np.array([4, 0, 2]), rng.integers(0, N_ATOMS, n_pairs)
    vectors = rng.normal(size=(n_pairs, 3))
    forces = np.zeros((3 * N_ATOMS if labels != "virial" else 0, n_points))
    virial = np.zeros((6 if labels != "forces" else 0, n_points))
    add_kernel_rows(
        changes, spectra, normalized, pack_panels(points), dots, factors, center, atoms, neighbor, vectors,
        forces, virial,
    )  # fmt: skip
    expected_forces, expected_virial = np.zeros((3 * N_ATOMS, n_points)), np.zeros((6, n_points))
    for pair in range(n_pairs):
        i = center[pair]
        dp = changes[3 * pair : 3 * pair + 3]
        slope = dp @ points.T
        if normalized:
            slope -= np.outer(dp @ spectra[i], dots[i])
        slope *= factors[i]
        expected_forces[3 * atoms[i] : 3 * atoms[i] + 3] += slope
        expected_forces[3 * neighbor[pair] : 3 * neighbor[pair] + 3] -= slope
        for row, (a, b) in enumerate(_VOIGT):
            expected_virial[row] += 0.5 * (vectors[pair, a] * slope[b] + vectors[pair, b] * slope[a])
    if labels != "virial":
        np.testing.assert_allclose(forces, expected_forces, rtol=1e-11, atol=1e-11)
    if labels != "forces":
        np.testing.assert_allclose(virial, expected_virial, rtol=1e-11, atol=1e-11)
