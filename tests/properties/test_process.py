"""Gaussian processes on features against dense formulas, scikit-learn, and repeated fits."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from castile.errors import InputError
from castile.properties import describe, make_descriptor
from castile.properties.covariance import KERNELS, Scaler, covariance, covariance_slope, proximity
from castile.properties.hyperparameters import HyperParameters, learn_hyperparameters
from castile.properties.inputs import Inputs
from castile.properties.learning import LearningSettings, learn_process
from castile.properties.process import Basis, condition_exactly, condition_sparsely
from properties.cases import crystals, density, random_inputs

N_FEATURES = 3


def make_basis(kernel: str, *, per_atom: bool = False, linear: float = np.log(0.5)) -> Basis:
    scaler = Scaler(np.zeros(N_FEATURES), np.ones(N_FEATURES), unit=kernel == "dot")
    parameters = HyperParameters(np.log(2.0 if kernel == "dot" else 1.7), linear, np.log(0.2), 1.3)
    return Basis(kernel, scaler, parameters, np.zeros(2), 1.0, 0.4, 2.0, per_atom)


def targets_of(inputs: Inputs, seed: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    values = np.sin(inputs.features[:, 0]) + 0.3 * inputs.features[:, 1]
    return inputs.sums(values) + 0.05 * generator.normal(size=len(inputs))


def positive(inputs: Inputs) -> Inputs:
    """Features without negative numbers: powers of their products are covariances."""
    return replace(inputs, features=np.abs(inputs.features))


@pytest.mark.parametrize("kernel", ["rbf", "matern"])
def test_exact_process_is_that_of_scikit_learn(kernel: str) -> None:
    train, test = random_inputs(30), random_inputs(7, seed=1)
    basis = make_basis(kernel, linear=-20.0)
    y = targets_of(train)
    a = (basis.parameters.amplitude * basis.spread) ** 2
    shape = RBF(1.7) if kernel == "rbf" else Matern(1.7, nu=2.5)
    peer = GaussianProcessRegressor(
        ConstantKernel(a) * shape + WhiteKernel(a * 0.04), optimizer=None, alpha=1e-12
    ).fit(train.features, y - 0.4)
    mean, variance = condition_exactly(basis, train, y, refine=False).predict(test)
    peer_mean, peer_deviation = peer.predict(test.features, return_std=True)
    np.testing.assert_allclose(mean, peer_mean + 0.4, rtol=1e-7)
    np.testing.assert_allclose(variance + a * 0.04, peer_deviation**2, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_exact_process_is_the_dense_formula(kernel: str) -> None:
    train, test = positive(random_inputs(25)), positive(random_inputs(5, seed=1))
    basis = make_basis(kernel)
    process = condition_exactly(basis, train, targets_of(train), refine=False)
    mean, variance = process.predict(test)
    expected_mean, expected_variance = dense(basis, train, targets_of(train), test)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-8)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-6)


def dense(basis: Basis, train: Inputs, y: np.ndarray, test: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance from the covariance of all structures, atom by atom."""
    p = basis.parameters

    def matrix(A: Inputs, B: Inputs) -> np.ndarray:
        near = proximity(basis.kernel, basis.scaler(A.features), basis.scaler(B.features))
        k = covariance(basis.kernel, p.theta, near)
        k = B.sums(A.sums(k).T).T
        return p.amplitude**2 * (k + np.exp(2 * p.linear) * basis.linear(A) @ basis.linear(B).T)

    scaled = (y - basis.offset * basis.sizes(train)) / basis.spread
    K = matrix(train, train) + p.amplitude**2 * np.exp(2 * p.noise) * np.eye(len(train))
    cross = matrix(test, train)
    mean = basis.offset * basis.sizes(test) + basis.spread * cross @ np.linalg.solve(K, scaled)
    variance = np.diag(matrix(test, test)) - np.einsum("ij,ij->i", cross, np.linalg.solve(K, cross.T).T)
    return mean, basis.spread**2 * variance


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("atoms", [False, True])
def test_sparse_process_on_all_rows_is_exact(kernel: str, atoms: bool) -> None:
    train, test = (positive(random_inputs(n, seed=n, atoms=atoms)) for n in (25, 6))
    basis = make_basis(kernel, per_atom=atoms)
    y = targets_of(train)
    process = condition_sparsely(basis, basis.scaler(train.features), train, y, refine=False)
    mean, variance = process.predict(test)
    expected_mean, expected_variance = dense(basis, train, y, test)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-3, atol=1e-4)


def test_sparse_variance_counts_what_few_points_leave_out() -> None:
    train, far = random_inputs(40), random_inputs(5, seed=1)
    far = replace(far, features=far.features + 30.0)
    basis = make_basis("rbf", linear=-20.0)
    process = condition_sparsely(basis, train.features[:5], train, targets_of(train), refine=False)
    np.testing.assert_allclose(process.predict(far)[1], (2.0 * 1.3) ** 2, rtol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_leave_one_out_is_that_of_repeated_fits(sparse: bool) -> None:
    train = random_inputs(18)
    y, basis = targets_of(train), make_basis("rbf")
    points = basis.scaler(train.features)

    def fit(inputs: Inputs, values: np.ndarray):
        if sparse:
            return condition_sparsely(basis, points, inputs, values, refine=False)
        return condition_exactly(basis, inputs, values, refine=False)

    process = fit(train, y)
    residuals, variances = process.leave_one_out()
    for k in (0, 7, 17):
        others = np.delete(np.arange(18), k)
        mean, variance = fit(train.take(others), y[others]).predict(train.take(np.array([k])))
        assert residuals[k] == pytest.approx(y[k] - mean[0], rel=1e-3, abs=1e-4)
        assert variances[k] == pytest.approx(variance[0] + process.noise_deviation**2, rel=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_slope_of_the_kernel(kernel: str) -> None:
    X = np.random.default_rng(0).normal(size=(6, 3))
    near = proximity(kernel, np.abs(X) if kernel == "dot" else X, X)
    theta, step = 0.3, 1e-6
    k = covariance(kernel, theta, near)
    difference = (covariance(kernel, theta + step, near) - covariance(kernel, theta - step, near)) / (
        2 * step
    )
    np.testing.assert_allclose(covariance_slope(kernel, theta, near, k), difference, rtol=1e-6, atol=1e-9)


def test_evidence_finds_the_parameters_of_drawn_targets() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(300, 2))
    near = proximity("rbf", X, X)
    K = covariance("rbf", np.log(0.8), near) + 0.1**2 * np.eye(300)
    y = 3.0 * np.linalg.cholesky(K) @ generator.normal(size=300)
    found, _ = learn_hyperparameters("rbf", near, np.zeros((300, 300)), y)
    assert np.exp(found.theta) == pytest.approx(0.8, rel=0.15)
    assert np.exp(found.noise) * found.amplitude == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize("seed", [1, 2])
def test_near_twins_do_not_shorten_the_length(seed: int) -> None:
    single = crystals(60, seed=seed)
    twins = [atoms.copy() for atoms in single]
    for k, atoms in enumerate(twins):
        atoms.rattle(1e-4, seed=k)
    rdf = make_descriptor("rdf", {"n_bins": 20, "cutoff": 4.0, "partial": False}).fit(single)
    settings = LearningSettings(("matern",))
    alone, doubled = (
        learn_process(describe(rdf, listed), density(listed), settings) for listed in (single, single + twins)
    )
    assert doubled.noise_deviation > 0.3 * alone.noise_deviation
    assert doubled.basis.parameters.theta == pytest.approx(alone.basis.parameters.theta, abs=0.7)


def test_large_and_small_problems_agree() -> None:
    train, test = random_inputs(400, n_features=2), random_inputs(50, seed=1, n_features=2)
    y = targets_of(train)
    exact = learn_process(train, y, LearningSettings(("rbf",)))
    sparse = learn_process(train, y, LearningSettings(("rbf",), solver="sparse", n_sparse=250))
    assert np.abs(exact.predict(test)[0] - sparse.predict(test)[0]).max() < 0.02


def test_refusals() -> None:
    train = random_inputs(10)
    with pytest.raises(InputError, match="few to learn"):
        learn_process(random_inputs(3), np.zeros(3), LearningSettings())
    with pytest.raises(InputError, match="target of row 4"):
        learn_process(train, np.where(np.arange(10) == 4, np.nan, 1.0), LearningSettings())
    with pytest.raises(InputError, match="'exact' is for targets of whole"):
        learn_process(random_inputs(10, atoms=True), np.arange(10.0), LearningSettings(solver="exact"))
    with pytest.raises(InputError, match="give one of rbf"):
        LearningSettings(("cubic",))  # type: ignore[arg-type]
