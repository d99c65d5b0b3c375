"""Learning curves and budgets: coverage of the intervals, and brute force."""

import numpy as np
import pytest

from castile.comparison.budget import (
    CostModel,
    PowerCost,
    budget,
    crossing_candidates,
    fit_cost,
    parse_duration,
)
from castile.comparison.power_law import fit_learning_curve
from castile.errors import InputError

SIZES = np.array([25, 50, 100, 200, 400])


def noisy(truth, n_seeds: int, generator: np.random.Generator, scatter: float = 0.05, spread: float = 0.1):
    """Labels, errors and seeds of a learning curve."""
    labels, seeds = np.repeat(SIZES, n_seeds), np.tile(np.arange(n_seeds), len(SIZES))
    shifts = generator.normal(0.0, spread, n_seeds)
    noise = scatter * generator.normal(size=len(labels))
    return labels, truth(labels) * np.exp(shifts[seeds] + noise), seeds


SHAPES = {
    "power": lambda b, c: lambda n: n**-b,
    "floor": lambda b, c: lambda n: n**-b + c * 25.0**-b,
    "late": lambda b, c: lambda n: 1.0 / (1.0 + (n / 200.0) ** b),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_beyond_the_data_are_honest(shape: str) -> None:
    generator = np.random.default_rng(0)
    inside = {2: 0, 16: 0}
    n_trials = 60
    for _ in range(n_trials):
        truth = SHAPES[shape](generator.uniform(0.05, 0.7), generator.uniform(0.0, 0.3))
        curve = fit_learning_curve(*noisy(truth, 3, generator))
        for factor in inside:
            told = curve.at(400.0 * factor, 0.9)
            inside[factor] += told.low <= truth(400.0 * factor) <= told.high
    assert min(inside.values()) >= 0.8 * n_trials  # 90 % wanted; binomial scatter of 60 trials is 4 %


def test_interval_widens_and_is_not_vacuous() -> None:
    curve = fit_learning_curve(*noisy(lambda n: n**-0.5, 3, np.random.default_rng(1), 0.02, 0.02))
    mean, deviation = curve.exponent()
    assert mean == pytest.approx(-0.5, abs=0.1)
    assert deviation < 0.12
    widths = [np.log(curve.at(n).high / curve.at(n).low) for n in (400, 800, 3200, 12800)]
    assert widths == sorted(widths)
    assert widths[1] < 0.25
    assert curve.at(800, 0.9, measured=True).low < curve.at(800, 0.9).low


def test_labels_needed_agree_with_the_curve() -> None:
    curve = fit_learning_curve(*noisy(lambda n: n**-0.5, 3, np.random.default_rng(2), 0.02, 0.02))
    for n in (100.0, 800.0):
        draws = curve.labels_needed(curve.at(n).median, 1e5, n_samples=4000)
        assert np.median(draws) == pytest.approx(n, rel=0.1)
    assert np.isinf(curve.labels_needed(1e-9, 1e4)).all()
    np.testing.assert_allclose(curve.labels_needed(10.0, 1e4), 25.0)


def test_budget_against_brute_force() -> None:
    curve = fit_learning_curve(*noisy(lambda n: n**-0.5, 3, np.random.default_rng(3)))
    costs = CostModel(3600.0, 0.01, PowerCost(1e-6, 2.5), PowerCost(1e-7, 1.0))
    found = budget(curve, costs, 0.04, 1_000_000, 1e5)
    hours = []
    for n in curve.labels_needed(0.04, 1e5):
        if np.isinf(n):
            hours.append(np.inf)
            continue
        training = 1e-6 * n**2.5
        hours.append((n * 3600.01 + training + 1_000_000 * (0.01 + 1e-7 * n)) / 3600.0)
    ordered = sorted(hours)
    assert found.cpu_hours is not None
    assert found.cpu_hours.median == pytest.approx(ordered[len(ordered) // 2], rel=0.01)
    assert found.cpu_hours.low == pytest.approx(ordered[len(ordered) // 20], rel=0.01)
    assert found.reach_probability == pytest.approx(np.isfinite(hours).mean())
    never = budget(curve, costs, 1e-6, 10, 1e4)
    assert never.cpu_hours is None
    assert never.reach_probability < 0.5


def test_crossing_against_a_scan() -> None:
    cheap = CostModel(3600.0, 1e-4, PowerCost(1e-6, 2.0), PowerCost(0.0, 1.0))
    dear = CostModel(3600.0, 2e-2, PowerCost(1e-6, 2.0), PowerCost(0.0, 1.0))
    where = crossing_candidates(900.0, cheap, 300.0, dear)
    candidates = np.geomspace(1e3, 1e12, 200_001)
    cheaper = cheap.total(900.0, candidates) < dear.total(300.0, candidates)
    assert where == pytest.approx(candidates[np.argmax(cheaper)], rel=1e-3)
    assert crossing_candidates(300.0, cheap, 900.0, dear) is None
    assert crossing_candidates(300.0, cheap, 300.0, cheap) is None


def test_cost_follows_a_power_and_its_limits() -> None:
    n = np.array([25.0, 50, 100, 200])
    cost = fit_cost(n, 3e-6 * n**2.2, 1.0, 3.0)
    assert (cost.factor, cost.power) == pytest.approx((3e-6, 2.2))
    assert fit_cost(n, 1e-3 * n**-0.5, 0.0, 2.0).power == 0.0


def test_durations() -> None:
    assert parse_duration("5 hours") == 5 * parse_duration("60 minutes") == 18000.0
    assert [parse_duration(t) for t in ("3600s", "1h", "20min", "2d", "90", "1.5 h")] == [
        3600.0, 3600.0, 1200.0, 172800.0, 90.0, 5400.0,
    ]  # fmt: skip
    for text in ("", "soon", "-3s", "0", "3 fortnights"):
        with pytest.raises(InputError, match="give for example 3600s"):
            parse_duration(text)


def test_refusals() -> None:
    with pytest.raises(InputError, match="needs 3 numbers of labels"):
        fit_learning_curve([10, 20], [1.0, 0.5], [0, 0])
    with pytest.raises(InputError, match="must be positive"):
        fit_learning_curve([10, 20, 40], [1.0, 0.5, 0.0], [0, 0, 0])
