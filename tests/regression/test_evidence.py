"""Evidence against the dense Gaussian process; its derivatives against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from regression_problems import SIGMAS, make_problem
from scipy.optimize import minimize

from castile.errors import FitError
from castile.regression import LabelFactor, Noise, PriorBlock, factor_priors, maximize_evidence, solve
from castile.regression.evidence import HYPER_PRIOR_WIDTH, NOISE_FRACTION
from castile.regression.whitening import WhitenedProblem

CASES = [
    (1, ("energy",)),
    (1, ("force",)),
    (2, ("energy", "force")),
    (3, ("energy", "force", "stress")),
]
MANY_ROWS = {"energy": 80, "force": 300, "stress": 120}


@pytest.fixture(params=CASES, ids=str)
def problem(request):
    n_terms, kinds = request.param
    return make_problem(n_terms=n_terms, kinds=kinds)


def whitened(problem, jitter=1e-8):
    priors = factor_priors(problem.blocks(), jitter)
    return WhitenedProblem(problem.factors(), priors), [prior.jitter for prior in priors]


def evaluate(white, x):
    n_kinds = len(white.kinds)
    return white.value(np.exp(x[:n_kinds]), np.exp(x[n_kinds:])).log_evidence


def points(problem):
    x = np.log([SIGMAS[kind] for kind in problem.rows] + list(problem.amplitudes))
    rng = np.random.default_rng(3)
    return [x, x + 0.5 * rng.standard_normal(len(x)), x + rng.standard_normal(len(x))]


def test_value_equals_dense_gp(problem):
    white, jitters = whitened(problem)
    for x in points(problem):
        n_kinds = len(problem.rows)
        exact, _, _ = problem.dense(np.exp(x[:n_kinds]), np.exp(x[n_kinds:]), jitters)
        assert evaluate(white, x) == pytest.approx(exact.log_evidence, abs=1e-5)


def test_value_equals_posterior(problem):
    white, _ = whitened(problem)
    posterior = solve(problem.factors(), problem.blocks(), problem.noises(), jitter=1e-8)
    value = evaluate(white, points(problem)[0])
    assert value == pytest.approx(posterior.log_evidence, abs=1e-6)


def test_gradient_equals_finite_differences(problem):
    white, _ = whitened(problem)
    n_kinds = len(problem.rows)
    for x in points(problem):
        scales = np.exp(x)
        value = white.value(scales[:n_kinds], scales[n_kinds:])
        gradient = white.derivatives(value, scales[:n_kinds], scales[n_kinds:]).gradient
        step = 1e-4 * np.eye(len(x))
        numerical = [(evaluate(white, x + d) - evaluate(white, x - d)) / 2e-4 for d in step]
        np.testing.assert_allclose(gradient, numerical, rtol=1e-5, atol=1e-5)


def test_average_information_equals_dense(problem):
    white, jitters = whitened(problem)
    n_kinds = len(problem.rows)
    x = points(problem)[1]
    sigmas, amplitudes = np.exp(x[:n_kinds]), np.exp(x[n_kinds:])
    value = white.value(sigmas, amplitudes)
    information = white.derivatives(value, sigmas, amplitudes).information
    A = np.vstack(list(problem.rows.values()))
    y = np.concatenate(list(problem.targets.values()))
    labels = np.repeat(np.arange(n_kinds), [len(t) for t in problem.targets.values()])
    relative = np.concatenate(list(problem.relative.values()))
    S = problem.prior_covariance(amplitudes, jitters)
    changes = [np.diag(2 * (labels == q) * (relative * sigmas[q]) ** 2) for q in range(n_kinds)]
    changes += [2 * A[:, b.columns] @ S[b.columns, b.columns] @ A[:, b.columns].T for b in problem.blocks()]
    V = np.diag((relative * sigmas[labels]) ** 2) + A @ S @ A.T
    sides = np.array([change @ np.linalg.solve(V, y) for change in changes])
    expected = 0.5 * sides @ np.linalg.solve(V, sides.T)
    np.testing.assert_allclose(information, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def test_effective_parameters_equal_posterior(problem):
    white, _ = whitened(problem)
    posterior = solve(problem.factors(), problem.blocks(), problem.noises(), jitter=1e-8)
    sigmas, amplitudes = np.array(posterior.sigmas), np.array(posterior.amplitudes)
    found = white.derivatives(white.value(sigmas, amplitudes), sigmas, amplitudes).effective_parameters
    np.testing.assert_allclose(found, posterior.effective_parameters, rtol=1e-5)


def log_posterior(problem, white, x):
    rms = [np.sqrt(np.mean((problem.targets[kind] / problem.relative[kind]) ** 2)) for kind in problem.rows]
    center = np.log(NOISE_FRACTION * np.array(rms))
    return evaluate(white, x) - 0.5 * np.sum((x[: len(rms)] - center) ** 2) / HYPER_PRIOR_WIDTH**2


def test_maximum_equals_that_of_a_general_optimizer():
    problem = make_problem(n_terms=2, n_rows=MANY_ROWS)
    blocks = problem.blocks(learn=False)
    result = maximize_evidence(problem.factors(), blocks, problem.noises(start=False), jitter=1e-8)
    white, _ = whitened(problem)
    fixed = np.log(problem.amplitudes)
    found = minimize(
        lambda x: -log_posterior(problem, white, np.concatenate([x, fixed])),
        np.log([SIGMAS[kind] for kind in problem.rows]),
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4000},
    )
    assert result.converged
    np.testing.assert_allclose(np.log(result.sigmas), found.x, atol=5e-3)
    assert result.amplitudes == pytest.approx(problem.amplitudes)


@pytest.mark.parametrize("seed", range(4))
def test_known_noise_and_amplitude_are_found(seed):
    """Labels drawn from the model itself give its parameters back within a few standard errors."""
    problem = make_problem(seed=seed, n_terms=2, n_sparse=40, n_rows=MANY_ROWS)
    rng = np.random.default_rng(seed)
    S = problem.prior_covariance(problem.amplitudes, [1e-8, 1e-8])
    weights = np.linalg.cholesky(S + 1e-9 * np.eye(len(S))) @ rng.standard_normal(len(S))
    for kind, rows in problem.rows.items():
        noise = SIGMAS[kind] * problem.relative[kind] * rng.standard_normal(len(rows))
        problem.targets[kind] = rows @ weights + noise
    steps = []
    result = maximize_evidence(
        problem.factors(),
        problem.blocks(start=False),
        problem.noises(start=False),
        jitter=1e-8,
        progress=steps.append,
    )
    truth = np.log(list(SIGMAS.values()) + problem.amplitudes)
    found = np.log(result.sigmas + result.amplitudes)
    assert result.converged, result.message
    assert np.all(abs(found - truth) < 4.0 * np.array(result.log_errors))
    values = [step.log_evidence for step in steps]
    assert len(values) == result.n_iterations + 1
    assert result.n_evaluations < 25
    assert values[-1] > values[0]


def test_units_do_not_matter():
    """Targets in other units give the same result in these units: nothing depends on a hidden scale."""
    problem = make_problem(n_terms=2, n_rows=MANY_ROWS)
    blocks, noises = problem.blocks(start=False), problem.noises(start=False)
    result = maximize_evidence(problem.factors(), blocks, noises)
    for kind in problem.targets:
        problem.targets[kind] = problem.targets[kind] * 1e3
    scaled = maximize_evidence(problem.factors(), blocks, noises)
    np.testing.assert_allclose(scaled.sigmas, 1e3 * np.array(result.sigmas), rtol=1e-3)
    np.testing.assert_allclose(scaled.amplitudes, 1e3 * np.array(result.amplitudes), rtol=1e-3)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_few_labels_do_not_collapse(n_rows):
    problem = make_problem(n_terms=1, kinds=("energy", "force"), n_rows={"energy": n_rows, "force": 200})
    result = maximize_evidence(problem.factors(), problem.blocks(start=False), problem.noises(start=False))
    rms = np.sqrt(np.mean((problem.targets["energy"] / problem.relative["energy"]) ** 2))
    assert result.converged
    assert 1e-4 * rms < result.sigmas[0] < 10 * rms
    assert result.sigmas[1] == pytest.approx(SIGMAS["force"], rel=0.2)


def test_one_sparse_point_per_term():
    problem = make_problem(n_terms=2, n_sparse=1, n_rows=MANY_ROWS)
    result = maximize_evidence(problem.factors(), problem.blocks(start=False), problem.noises(start=False))
    assert result.converged
    assert result.sigmas == pytest.approx(tuple(SIGMAS.values()), rel=0.25)


def test_targets_of_zero():
    problem = make_problem(n_terms=1, kinds=("energy", "force"))
    for kind in problem.targets:
        problem.targets[kind] = np.zeros_like(problem.targets[kind])
    result = maximize_evidence(problem.factors(), problem.blocks(start=False), problem.noises(start=False))
    assert np.isfinite(result.log_evidence)
    assert min(result.sigmas) > 0.0


def test_bounds_and_fixed_values_are_kept():
    problem = make_problem(n_terms=1, kinds=("energy", "force"), n_rows=MANY_ROWS)
    noises = [Noise("energy", 0.5, learn=False), Noise("force", 1.0, lower=0.4, upper=2.0)]
    result = maximize_evidence(problem.factors(), problem.blocks(start=False), noises)
    assert result.converged
    assert result.sigmas == pytest.approx((0.5, 0.4))
    assert np.isnan(result.log_errors[0])
    fixed = maximize_evidence(problem.factors(), problem.blocks(learn=False), problem.noises(learn=False))
    assert fixed.sigmas == pytest.approx(tuple(SIGMAS[kind] for kind in problem.rows))
    assert fixed.n_evaluations == 1
    assert fixed.converged


def test_a_term_that_the_data_hardly_touch_does_not_explode():
    problem = make_problem(n_terms=2, n_rows=MANY_ROWS)
    absent = problem.blocks()[1].columns
    factors = []
    for given in problem.factors():  # what pairs leave that are at the cutoff but for rounding
        factor = given.factor.copy()
        factor[:, absent] *= 1e-17
        factors.append(replace(given, factor=factor))
    noises = problem.noises(start=False)
    result = maximize_evidence(factors, problem.blocks(start=False), noises)
    assert result.converged
    assert result.amplitudes[1] < 1e3


def test_duplicate_sparse_points():
    problem = make_problem(n_terms=1, kinds=("force",), n_rows=MANY_ROWS)
    block = problem.blocks(start=False)[0]
    twice = np.r_[np.arange(12), np.arange(5)]
    blocks = [PriorBlock("soap", slice(0, 17), block.K_mm[np.ix_(twice, twice)])]
    factor = problem.factors()[0].factor[:, np.r_[twice, 12]]
    doubled = [LabelFactor("force", factor, MANY_ROWS["force"], problem.factors()[0].log_relative_sigma_sum)]
    noises = problem.noises(start=False)
    result = maximize_evidence(doubled, blocks, noises, jitter=0.0)
    single = maximize_evidence(problem.factors(), [block], noises, jitter=1e-12)
    assert result.jitters[0] > 0.0
    assert result.sigmas == pytest.approx(single.sigmas, rel=1e-3)
    assert result.amplitudes == pytest.approx(single.amplitudes, rel=1e-2)


def test_iteration_limit_is_reported():
    problem = make_problem(n_terms=2, n_rows=MANY_ROWS)
    result = maximize_evidence(
        problem.factors(), problem.blocks(start=False), problem.noises(start=False), max_iterations=1
    )
    assert not result.converged
    assert "1 iterations" in result.message


def test_not_positive_definite_term_is_named():
    problem = make_problem(n_terms=1, kinds=("energy",))
    blocks = [PriorBlock("pair Si-Si", slice(0, 12), -np.eye(12))]
    with pytest.raises(FitError, match="pair Si-Si"):
        maximize_evidence(problem.factors(), blocks, problem.noises())


def test_precise_labels_are_followed_to_the_maximum() -> None:
    """Labels of a relative noise of 3e-5: curvature that drowns in rounding ends the ascent early."""
    rng = np.random.default_rng(3)
    points, x = np.linspace(0.0, 10.0, 60), rng.uniform(0.0, 10.0, 400)

    def kernel(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
        return np.exp(-0.5 * ((a[:, None] - b[None, :]) / length) ** 2)

    noise = 1e-3
    y = 30.0 * np.sin(x) + 4.0 * np.sin(3.0 * x + 1.0) + noise * rng.normal(size=400)
    rows = np.hstack([kernel(x, points, 0.8), kernel(x, points, 0.3)])
    factors = [
        LabelFactor("energy", np.column_stack([rows[::2], y[::2]]), 200),
        LabelFactor("force", np.column_stack([rows[1::2], y[1::2]]), 200),
    ]
    blocks = [
        PriorBlock("long", slice(0, 60), kernel(points, points, 0.8)),
        PriorBlock("short", slice(60, 120), kernel(points, points, 0.3)),
    ]
    result = maximize_evidence(factors, blocks, [Noise("energy"), Noise("force")])
    assert result.converged
    best = np.log(np.array(result.sigmas + result.amplitudes))

    def evidence(x: np.ndarray) -> float:
        kinds = zip(("energy", "force"), np.exp(x[:2]), strict=True)
        noises = [Noise(kind, float(sigma), False) for kind, sigma in kinds]
        return solve(factors, blocks, noises, list(np.exp(x[2:])), result.jitters).log_evidence

    for k in range(3):  # the amplitude of the needless short term is at its bound
        for step in (0.2, -0.2):
            moved = best.copy()
            moved[k] += step
            assert evidence(moved) < evidence(best) - 0.5
