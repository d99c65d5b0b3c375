"""Real spherical harmonics against SciPy, their gradients against finite differences and sum rules."""

import numpy as np
import pytest
from scipy.special import sph_harm_y

from castile.numerics.harmonics import harmonics_gradients, harmonics_table, harmonics_values
from castile.numerics.simd import LANES

L_MAX = 12
POLES = np.array([[0, 0, 1.0], [0, 0, -1.0], [1.0, 0, 0], [0, -1.0, 0]])


def directions(seed: int = 0) -> np.ndarray:
    free = np.random.default_rng(seed).normal(size=(LANES - len(POLES), 3))
    return np.concatenate([POLES, free / np.linalg.norm(free, axis=1)[:, None]])


def values(points: np.ndarray, l_max: int = L_MAX, dtype: str = "float64") -> np.ndarray:
    out = np.empty((l_max + 1) ** 2 * LANES, dtype)
    harmonics_values(points.T.ravel().astype(dtype), harmonics_table(l_max, dtype), out)
    return out.reshape(-1, LANES)


def gradients(
    points: np.ndarray, l_max: int = L_MAX, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    out = [np.empty((l_max + 1) ** 2 * LANES, dtype) for _ in range(4)]
    harmonics_gradients(points.T.ravel().astype(dtype), harmonics_table(l_max, dtype), *out)
    return out[0].reshape(-1, LANES), np.stack([g.reshape(-1, LANES) for g in out[1:]])


def scipy_harmonics(points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    rows = []
    for degree in range(L_MAX + 1):
        for m in range(-degree, degree + 1):
            # without the Condon-Shortley phase that SciPy includes
            value = sph_harm_y(degree, abs(m), theta, phi) * (-1.0) ** m
            part = value.real if m >= 0 else value.imag
            rows.append(part * (np.sqrt(2.0) if m else 1.0))
    return np.array(rows)


def test_values_are_those_of_scipy() -> None:
    points = directions()
    np.testing.assert_allclose(values(points), scipy_harmonics(points), atol=1e-12)


def test_addition_theorem() -> None:
    ours = values(directions(1))
    for degree in range(L_MAX + 1):
        block = ours[degree**2 : (degree + 1) ** 2]
        np.testing.assert_allclose((block**2).sum(axis=0), (2 * degree + 1) / (4 * np.pi), rtol=1e-12)


def test_gradients_on_the_sphere() -> None:
    points = directions(2)
    same, ours = gradients(points)
    np.testing.assert_allclose(same, values(points), atol=1e-14)
    step = 1e-6
    tangent = np.cross(points, np.roll(points, 1, axis=0) + np.array([0.3, 0.2, 0.1]))
    shifted = []
    for sign in (1.0, -1.0):
        moved = points + sign * step * tangent
        shifted.append(values(moved / np.linalg.norm(moved, axis=1)[:, None]))
    numerical = (shifted[0] - shifted[1]) / (2.0 * step)
    radial = np.einsum("alp,pa->lp", ours, points)
    on_sphere = ours - radial[None] * points.T[:, None]
    np.testing.assert_allclose(np.einsum("alp,pa->lp", on_sphere, tangent), numerical, atol=1e-7)


@pytest.mark.parametrize("l_max", [0, 1, 6])
def test_single_precision(l_max: int) -> None:
    points = directions(3)
    single, slopes = gradients(points, l_max, "float32")
    double, exact = gradients(points, l_max)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=3e-6)
    np.testing.assert_allclose(slopes, exact, atol=3e-5)
