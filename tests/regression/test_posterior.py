"""Posterior by QR against the dense Gaussian process, output by output."""

import numpy as np
import pytest
from regression_problems import SIGMAS, make_problem

from castile.errors import FitError
from castile.regression import LabelFactor, Noise, PriorBlock, StreamingQR, fit_exact, solve

KIND_SETS = [("energy",), ("force",), ("energy", "force", "stress")]


def solve_problem(problem, **options):
    return solve(problem.factors(), problem.blocks(), problem.noises(), **options)


@pytest.fixture(params=[(1, kinds) for kinds in KIND_SETS] + [(3, KIND_SETS[-1])], ids=str)
def problem(request):
    n_terms, kinds = request.param
    return make_problem(n_terms=n_terms, kinds=kinds)


@pytest.fixture
def pair(problem):
    posterior = solve_problem(problem, jitter=1e-8)
    sigmas = [SIGMAS[kind] for kind in problem.rows]
    return problem, posterior, *problem.dense(sigmas, problem.amplitudes, posterior.jitters)


def test_mean_equals_dense(pair):
    problem, posterior, exact, A, S = pair
    rows = problem.new_rows(problem.new_points)
    np.testing.assert_allclose(posterior.mean(rows), exact.mean(rows @ S @ A.T), atol=1e-6)


def test_variance_and_covariance_equal_dense(pair):
    problem, posterior, exact, A, S = pair
    rows = problem.new_rows(problem.new_points)
    expected = exact.covariance(rows @ S @ A.T, rows @ S @ rows.T)
    np.testing.assert_allclose(posterior.covariance(rows), expected, atol=1e-6)
    np.testing.assert_allclose(posterior.variance(rows), np.diag(expected), atol=1e-6)


def test_log_evidence_equals_dense(pair):
    _, posterior, exact, _, _ = pair
    assert posterior.log_evidence == pytest.approx(exact.log_evidence, abs=1e-5)


def test_precision_equals_dense(pair):
    problem, posterior, _, A, S = pair
    noise = np.concatenate([problem.relative[kind] * SIGMAS[kind] for kind in problem.rows])
    expected = (A / noise[:, None] ** 2).T @ A + np.linalg.inv(S)
    np.testing.assert_allclose(posterior.R.T @ posterior.R, expected, rtol=1e-6, atol=1e-6 * expected.max())


def test_effective_parameters_equal_dense(pair):
    problem, posterior, _, A, S = pair
    noise = np.concatenate([problem.relative[kind] * SIGMAS[kind] for kind in problem.rows])
    scaled = A / noise[:, None]
    hat = scaled @ np.linalg.inv(scaled.T @ scaled + np.linalg.inv(S)) @ scaled.T
    ends = np.cumsum([len(problem.targets[kind]) for kind in problem.rows])[:-1]
    expected = [part.sum() for part in np.split(np.diag(hat), ends)]
    np.testing.assert_allclose(posterior.effective_parameters, expected, rtol=1e-5)
    assert sum(posterior.effective_parameters) <= A.shape[1]


def test_predictive_variance_with_all_points_sparse_is_the_full_gp():
    """With the training points as sparse points, DTC plus prior correction is the exact GP."""
    rng = np.random.default_rng(1)
    problem = make_problem(n_terms=1, kinds=("energy",))
    points = problem.sparse[0]
    K = problem.blocks()[0].K_mm
    targets = rng.standard_normal(len(points))
    streaming = StreamingQR(len(points))
    streaming.add(K, targets)
    amplitude, sigma, jitter = 1.7, 0.2, 1e-12
    posterior = solve(
        [LabelFactor("energy", streaming.factor(), len(points))],
        [PriorBlock("all", slice(0, len(points)), K, amplitude)],
        [Noise("energy", sigma)],
        jitter=jitter,
    )
    exact = fit_exact(amplitude**2 * K, targets, sigma**2)
    rows = problem.new_rows(problem.new_points)
    prior = np.full(len(rows), amplitude**2)
    np.testing.assert_allclose(posterior.mean(rows), exact.mean(amplitude**2 * rows), atol=1e-6)
    expected = exact.variance(amplitude**2 * rows, prior)
    np.testing.assert_allclose(posterior.predictive_variance(rows, prior), expected, atol=1e-6)


def test_predictive_variance_grows_to_the_prior(problem):
    posterior = solve_problem(problem)
    prior = np.array([sum(a**2 for a in problem.amplitudes)])
    far = problem.new_rows(np.array([[60.0, 60.0]]))
    assert posterior.variance(far)[0] < 1e-12
    assert posterior.predictive_variance(far, prior)[0] == pytest.approx(prior[0], rel=1e-12)


def test_explained_prior_variance(problem):
    posterior = solve_problem(problem, jitter=1e-8)
    rows = problem.new_rows(problem.new_points)
    expected = np.diag(rows @ problem.prior_covariance(problem.amplitudes, posterior.jitters) @ rows.T)
    np.testing.assert_allclose(posterior.explained_prior_variance(rows), expected, rtol=1e-6)


def test_samples_have_posterior_moments(problem):
    posterior = solve_problem(problem)
    rows = problem.new_rows(problem.new_points)
    n_samples = 40_000
    values = posterior.sample_weights(n_samples, np.random.default_rng(5)) @ rows.T
    deviations = np.sqrt(posterior.variance(rows))
    assert np.all(abs(values.mean(axis=0) - posterior.mean(rows)) < 5 * deviations / np.sqrt(n_samples))
    np.testing.assert_allclose(values.std(axis=0), deviations, rtol=0.03)


def test_update_equals_fit_on_all_rows(problem):
    """Merging old and new factors is the same as one factor of all rows."""
    merged = []
    for kind, rows in problem.rows.items():
        parts = []
        for part in (slice(0, 20), slice(20, None)):
            streaming = StreamingQR(rows.shape[1], kind=kind)
            streaming.add(rows[part], problem.targets[kind][part], problem.relative[kind][part])
            parts.append(StreamingQR.unpack(streaming.pack()))
        parts[0].merge(parts[1])
        merged.append(parts[0].label_factor())
    updated = solve(merged, problem.blocks(), problem.noises())
    full = solve_problem(problem)
    rows = problem.new_rows(problem.new_points)
    scale = abs(full.weights).max()
    np.testing.assert_allclose(updated.weights / scale, full.weights / scale, atol=1e-6)
    np.testing.assert_allclose(updated.mean(rows), full.mean(rows), atol=1e-8)
    np.testing.assert_allclose(updated.variance(rows), full.variance(rows), atol=1e-8)
    assert updated.log_evidence == pytest.approx(full.log_evidence, abs=1e-6)


def test_raw_and_triangular_factors_agree(problem):
    triangular = solve_problem(problem)
    raw = []
    for factor in problem.factors():
        rows = problem.rows[factor.kind] / problem.relative[factor.kind][:, None]
        targets = problem.targets[factor.kind] / problem.relative[factor.kind]
        values = np.column_stack([rows, targets])
        raw.append(LabelFactor(factor.kind, values, len(values), factor.log_relative_sigma_sum))
    posterior = solve(raw, problem.blocks(), problem.noises())
    rows = problem.new_rows(problem.new_points)
    np.testing.assert_allclose(posterior.mean(rows), triangular.mean(rows), atol=1e-9)


def test_duplicate_sparse_points_are_jittered_and_reported():
    problem = make_problem(n_terms=1, kinds=("force",))
    points = np.vstack([problem.sparse[0], problem.sparse[0][:4]])
    problem.sparse[0] = points
    problem.rows["force"] = np.hstack([problem.rows["force"], problem.rows["force"][:, :4]])
    posterior = solve_problem(problem, jitter=0.0)
    assert 0.0 < posterior.jitters[0] <= 1e-10
    reference = solve_problem(make_problem(n_terms=1, kinds=("force",)), jitter=1e-10)
    new_points = problem.new_points
    np.testing.assert_allclose(
        posterior.mean(problem.new_rows(new_points)),
        reference.mean(problem.new_rows(new_points)[:, :12]),
        atol=1e-4,
    )


def test_errors():
    problem = make_problem(n_terms=1, kinds=("energy",))
    factors, blocks, noises = problem.factors(), problem.blocks(), problem.noises()
    with pytest.raises(FitError, match="no labels"):
        solve([], blocks, noises)
    with pytest.raises(FitError, match="no term"):
        solve(factors, [], noises)
    with pytest.raises(FitError, match="one noise per kind"):
        solve(factors, blocks, [Noise("force", 1.0)])
    with pytest.raises(FitError, match="noise is None"):
        solve(factors, blocks, [Noise("energy")])
    with pytest.raises(FitError, match="amplitude is -1"):
        solve(factors, blocks, noises, amplitudes=[-1.0])
    indefinite = PriorBlock("soap", blocks[0].columns, blocks[0].K_mm - 0.5 * np.eye(12), 1.0)
    with pytest.raises(FitError, match=r"soap.*not positive definite"):
        solve(factors, [indefinite], noises)
    with pytest.raises(FitError, match="do not follow"):
        solve(factors, [PriorBlock("soap", slice(1, 13), blocks[0].K_mm, 1.0)], noises)
    with pytest.raises(FitError, match="expected"):
        solve_problem(problem).variance(np.zeros((2, 3)))
