"""Error statistics against plain formulas."""

import numpy as np
import pytest

from castile.evaluation import ErrorAccumulator, ParityReservoir


def dense_statistics(reference: np.ndarray, predicted: np.ndarray) -> tuple[float, ...]:
    error = predicted - reference
    r2 = 1 - np.sum(error**2) / np.sum((reference - reference.mean()) ** 2)
    return np.sqrt(np.mean(error**2)), np.mean(abs(error)), abs(error).max(), error.mean(), r2


@pytest.mark.parametrize("offset", [0.0, -1e5])
def test_batches_equal_the_formula_on_everything(offset: float) -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(size=1000) + offset
    predicted = reference + 0.1 * rng.normal(size=1000) + 0.02
    accumulator = ErrorAccumulator()
    for piece in np.array_split(np.arange(1000), [1, 1, 40, 41, 600]):
        accumulator.add(reference[piece], predicted[piece])
    found = accumulator.statistics()
    assert found is not None
    assert found.n == 1000
    values = (found.rmse, found.mae, found.max_abs, found.mean_error, found.r2)
    np.testing.assert_allclose(values, dense_statistics(reference, predicted), rtol=1e-9)


def test_nothing_added_gives_nothing() -> None:
    accumulator = ErrorAccumulator()
    accumulator.add([], [])
    assert accumulator.statistics() is None


@pytest.mark.parametrize("reference", [[3.0], [3.0, 3.0, 3.0]])
def test_no_r2_where_the_reference_does_not_vary(reference: list[float]) -> None:
    accumulator = ErrorAccumulator()
    accumulator.add(reference, [value + 1 for value in reference])
    found = accumulator.statistics()
    assert found is not None
    assert found.rmse == pytest.approx(1.0)
    assert found.r2 is None


def test_reservoir_is_bounded_and_does_not_depend_on_batches() -> None:
    values = np.arange(5000.0)
    whole, pieces = ParityReservoir(100, seed=3), ParityReservoir(100, seed=3)
    whole.add(values, -values)
    for piece in np.array_split(values, 61):
        pieces.add(piece, -piece)
    one, two = whole.sample(), pieces.sample()
    assert len(one.reference) == 100
    assert one.n_seen == 5000
    np.testing.assert_array_equal(one.reference, two.reference)
    np.testing.assert_array_equal(one.predicted, -one.reference)


def test_reservoir_is_uniform() -> None:
    means = []
    for seed in range(200):
        reservoir = ParityReservoir(50, seed=seed)
        for piece in np.array_split(np.linspace(0, 1, 1000), 10):
            reservoir.add(piece, piece)
        means.append(reservoir.sample().reference.mean())
    assert np.mean(means) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 50 / 200))


def test_small_streams_are_kept_whole() -> None:
    reservoir = ParityReservoir(100)
    reservoir.add([1.0, 2.0], [3.0, 4.0])
    np.testing.assert_array_equal(reservoir.sample().reference, [1.0, 2.0])
