"""Every kernel: a covariance, with its derivative, and the loops of the SOAP term beside it."""

import numpy as np
import pytest

import castile
from castile import kernels
from castile.numerics.kernel_powers import raise_dots

ZETAS = (1.0, 2.0, 2.5, 4.0)
CASES = {"DotProductKernel": [kernels.DotProductKernel(zeta) for zeta in ZETAS]}


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of both signs, so that some products are negative."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(7, 4)), rng.normal(size=(5, 4))


def test_every_kernel_is_tested() -> None:
    assert set(CASES) == set(kernels.__all__)


@pytest.fixture(params=[kernel for cases in CASES.values() for kernel in cases], ids=repr)
def kernel(request: pytest.FixtureRequest) -> kernels.DotProductKernel:
    return request.param


def test_derivative_by_finite_differences(kernel, points) -> None:
    P, Q = points
    assert (P @ Q.T < 0).any()
    assert (P @ Q.T > 0).any()
    step = 1e-5
    for axis in range(P.shape[1]):
        shift = step * np.eye(P.shape[1])[axis]
        numeric = (kernel.matrix(P + shift, Q) - kernel.matrix(P - shift, Q)) / (2 * step)
        np.testing.assert_allclose(kernel.derivative(P, Q) * Q[:, axis], numeric, rtol=1e-6, atol=1e-6)


def test_diagonal_is_that_of_the_matrix(kernel, points) -> None:
    P, _ = points
    np.testing.assert_allclose(kernel.diagonal(P), np.diag(kernel.matrix(P, P)), rtol=1e-13)


def test_matrix_is_symmetric(kernel, points) -> None:
    K = kernel.matrix(points[0], points[0])
    np.testing.assert_allclose(K, K.T, rtol=1e-13)


@pytest.mark.parametrize("zeta", [1.0, 2.0, 4.0])
def test_whole_powers_are_covariances_of_positive_descriptors(zeta: float, points) -> None:
    P = np.abs(np.concatenate(points))
    eigenvalues = np.linalg.eigvalsh(castile.DotProductKernel(zeta).matrix(P, P))
    assert eigenvalues.min() > -1e-13 * eigenvalues.max()


@pytest.mark.parametrize("zeta", ZETAS)
def test_matrix_is_the_power_of_each_product(zeta: float, points) -> None:
    P, Q = points
    K = castile.DotProductKernel(zeta).matrix(P, Q)
    for i, p in enumerate(P):
        for j, q in enumerate(Q):
            product = sum(a * b for a, b in zip(p, q, strict=True))
            assert K[i, j] == pytest.approx(product**zeta if product > 0 else 0.0, rel=1e-12)


@pytest.mark.parametrize("zeta", ZETAS)
def test_loops_of_the_soap_term_are_this_kernel(zeta: float, points) -> None:
    P, Q = np.abs(points[0]), np.abs(points[1])
    dots = P @ Q.T
    powers = np.empty_like(dots)
    raise_dots(dots, zeta, powers)
    kernel = castile.DotProductKernel(zeta)
    np.testing.assert_allclose(powers * dots, kernel.matrix(P, Q), rtol=1e-12)
    np.testing.assert_allclose(zeta * powers, kernel.derivative(P, Q), rtol=1e-12)


@pytest.mark.parametrize("zeta", [0.5, float("nan"), float("inf")])
def test_bad_exponents_are_named(zeta: float) -> None:
    with pytest.raises(castile.InputError, match=rf"zeta = {zeta}: must be a number of at least 1"):
        castile.DotProductKernel(zeta)
