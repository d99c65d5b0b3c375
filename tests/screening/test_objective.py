"""Objectives against integrals over the normal distribution, and their limits."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from castile.errors import InputError
from castile.screening.objective import Objective, expected_improvement

MEANS = (-2.0, -0.3, 0.0, 0.7, 3.0)
STDS = (0.05, 0.6, 2.0)


def integral(function, mean: float, std: float, points: tuple[float, ...]) -> float:
    """Mean of function(y) over the normal distribution."""
    ends = sorted({mean - 12 * std, *(p for p in points if abs(p - mean) < 12 * std), mean + 12 * std})
    return sum(
        quad(lambda y: function(y) * norm.pdf(y, mean, std), a, b, epsabs=1e-14)[0] for a, b in pairwise(ends)
    )


@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("mean", MEANS)
def test_improvements_are_the_integrals_that_define_them(mean: float, std: float) -> None:
    cases = [
        (Objective("improvement", "minimise", best=0.2), lambda y: max(0.2 - y, 0.0), (0.2,)),
        (Objective("improvement", "maximise", best=0.2), lambda y: max(y - 0.2, 0.0), (0.2,)),
        (
            Objective("improvement", "value", value=0.5, best=0.3),
            lambda y: max(0.3 - abs(y - 0.5), 0.0),
            (0.2, 0.5, 0.8),
        ),
        (Objective("probability", above=0.1, below=0.9), lambda y: float(0.1 < y < 0.9), (0.1, 0.9)),
        (Objective("probability", below=0.9), lambda y: float(y < 0.9), (0.9,)),
        (Objective("probability", above=0.9), lambda y: float(y > 0.9), (0.9,)),
    ]
    for objective, function, points in cases:
        (found,) = objective.scores([mean], [std])
        assert found == pytest.approx(integral(function, mean, std, points), rel=1e-8, abs=1e-12)


def test_improvement_keeps_its_digits_far_away() -> None:
    for z in (-5.0, -10.0, -30.0):  # E = phi(z) int_0^oo u exp(z u - u^2 / 2) du, without a difference
        integral = quad(lambda u: u * np.exp(z * u - 0.5 * u * u), 0.0, np.inf, epsabs=0.0)[0]  # noqa: B023
        assert expected_improvement([z], [1.0])[0] == pytest.approx(norm.pdf(z) * integral, rel=1e-9)


@pytest.mark.parametrize("goal", ["minimise", "maximise"])
def test_certain_predictions(goal: str) -> None:
    sign = 1.0 if goal == "maximise" else -1.0
    objective = Objective("improvement", goal, best=1.0)
    np.testing.assert_allclose(
        objective.scores([0.0, 1.0, 3.0], np.zeros(3)), np.maximum(sign * np.array([-1, 0, 2]), 0)
    )
    assert Objective("probability", goal, below=1.0).scores([0.5, 1.5], [0.0, 0.0]).tolist() == [1.0, 0.0]


def test_bounds_and_means_order_as_they_should() -> None:
    mean, std = np.array([1.0, 0.9, 2.0]), np.array([0.0, 0.0, 1.0])
    assert np.argmax(Objective("mean").scores(mean, std)) == 1
    assert np.argmax(Objective("bound", kappa=2.0).scores(mean, std)) == 2
    assert np.argmax(Objective("bound", kappa=-2.0).scores(mean, std)) == 1
    assert np.argmax(Objective("bound", "maximise", kappa=-2.0).scores(mean, std)) == 0
    assert np.argmax(Objective("mean", "value", value=1.9).scores(mean, std)) == 2
    near = Objective("bound", "value", value=1.2, kappa=1.0).scores(mean, std)
    np.testing.assert_allclose(near, [-0.2, -0.3, 0.0])


def test_the_best_of_labels() -> None:
    labels = [3.0, 1.0, 2.2]
    assert Objective("improvement").with_best(labels).best == 1.0
    assert Objective("improvement", "maximise").with_best(labels).best == 3.0
    assert Objective("improvement", "value", value=2.0).with_best(labels).best == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "luck"}, "luck"),
        ({"goal": "up"}, "up"),
        ({"goal": "value"}, "needs a number"),
        ({"kind": "probability"}, "interval"),
        ({"kind": "probability", "above": 2.0, "below": 1.0}, "above 2.0 and below 1.0"),
        ({"kappa": np.nan}, "finite"),
    ],
)
def test_what_means_nothing_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Objective(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="best"):
        Objective("improvement").scores([0.0], [1.0])
