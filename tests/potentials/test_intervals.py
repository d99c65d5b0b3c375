"""Intervals that follow the tails of held-out errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import laplace, norm, uniform

import castile
from castile.evaluation.deviations import deviation_statistics
from castile.potentials.calibration import Calibration, KindCalibration, VarianceParts
from castile.potentials.calibration_fit import fit_kind, fit_tail
from castile.potentials.held_out import HeldOutLabels
from castile.potentials.intervals import MIDDLE, half_width, normal_sizes, tail_of
from potentials.examples import copper_set, metal

LEVELS = np.linspace(0.02, 0.98, 25)


def test_without_a_tail_they_are_those_of_a_normal_distribution() -> None:
    for level in LEVELS:
        assert half_width(float(level), 0.0) == pytest.approx(norm.ppf(0.5 + level / 2))
    assert half_width(0.0, 0.3) == 0.0


@pytest.mark.parametrize("tail", [-0.5, -0.1, 0.0, 0.4, 1.0])
def test_half_widths_grow_with_the_level_and_sizes_are_their_inverse(tail: float) -> None:
    widths = np.array([half_width(float(level), tail) for level in LEVELS])
    assert (np.diff(widths) > 0.0).all()
    np.testing.assert_allclose(normal_sizes(widths, tail), norm.ppf(0.5 + LEVELS / 2), rtol=1e-12)
    product = half_width(0.68, tail) * half_width(0.95, tail)
    assert product == pytest.approx(MIDDLE**2, rel=1e-12)
    assert (half_width(0.68, tail) < half_width(0.68, 0.0)) == (tail > 0.0)


@pytest.mark.parametrize(("distribution", "low", "high"), [(laplace, 0.2, 0.6), (uniform(-1, 2), -0.6, -0.3)])
def test_errors_with_other_tails_are_covered_at_both_levels(
    distribution: object, low: float, high: float
) -> None:
    """A Laplace distribution has heavier tails, a uniform one lighter ones; normal intervals miss both."""
    rng = np.random.default_rng(0)
    parts = VarianceParts(np.full(1, 0.04), np.zeros(1), np.ones(1))
    errors = 0.2 * distribution.rvs(size=16000, random_state=rng)
    labels = [HeldOutLabels("energy", errors[[k]], parts, structure=k) for k in range(8000)]
    kind = fit_kind(labels, 0.01)
    assert kind is not None
    tail = fit_tail(kind, labels, None)
    assert low < tail < high
    deviation = kind.deviations(parts)[0]
    unseen = np.abs(errors[8000:]) / deviation
    for level in (0.68, 0.95):
        assert np.mean(unseen <= half_width(level, tail)) == pytest.approx(level, abs=0.02)
    plain = [np.mean(unseen <= half_width(level, 0.0)) - level for level in (0.68, 0.95)]
    assert max(np.abs(plain)) > 0.02
    found = deviation_statistics(errors[8000:], np.full(8000, deviation), tail)
    normal = deviation_statistics(errors[8000:], np.full(8000, deviation))
    assert found is not None
    assert normal is not None
    assert found.miscalibration_area < normal.miscalibration_area
    assert found.coverage_68 == pytest.approx(np.mean(unseen <= half_width(0.68, tail)))
    assert (found.nll, found.crps) == (normal.nll, normal.crps)


def test_few_structures_say_little_about_tails() -> None:
    rng = np.random.default_rng(1)
    heavy = [rng.laplace(size=200) for _ in range(4000)]
    found = [tail_of(heavy[:n]) for n in (10, 100, 4000)]
    assert 0.0 < found[0] < 0.15 * found[2]
    assert found[1] == pytest.approx(0.5 * found[2], rel=0.1)
    assert tail_of([rng.laplace(size=1) for _ in range(49)]) == 0.0
    assert tail_of([]) == 0.0
    assert tail_of([np.zeros(100)]) == 0.0


def test_predictions_have_intervals_and_say_what_is_wrong() -> None:
    gap = castile.GAP({"calibrate": True}, cutoff=3.93, n_max=4, l_max=3, n_sparse=12, threads=1)
    gap.fit(copper_set(12))
    calibration = replace(
        gap.uncertainty.calibration,
        energy=replace(gap.uncertainty.calibration.energy, tail=0.5),
        forces=replace(gap.uncertainty.calibration.forces, tail=-0.2),
    )
    gap.set_calibration(calibration)
    for method in ("exact", "committee"):
        found = gap.predict_with_uncertainty(metal(3), method=method)
        assert found.interval("energy", 0.68).shape == ()
        assert found.interval("energy", 0.68) == pytest.approx(half_width(0.68, 0.5) * found.energy_std)
        np.testing.assert_allclose(found.interval("energies"), half_width(0.95, 0.5) * found.energies_std)
        np.testing.assert_allclose(found.interval("forces"), half_width(0.95, -0.2) * found.forces_std)
        assert found.interval("stress", 0.5).shape == (6,)
    with pytest.raises(castile.InputError, match="kind = 'virial': give one of energy, energies"):
        found.interval("virial")
    for level in (0.0, 1.0, 95, float("nan")):
        with pytest.raises(castile.InputError, match="give a probability between 0 and 1"):
            found.interval("energy", level)
    cluster = metal(3)
    cluster.pbc = False
    cluster.cell = None
    with pytest.raises(castile.InputError, match="no volume"):
        gap.predict_with_uncertainty(cluster).interval("stress")


def test_headers_keep_the_tail_and_those_of_earlier_versions_have_none() -> None:
    calibration = Calibration(energy=KindCalibration(1.0, 2.0, 0.1, 0.25), source="x")
    header = json.loads(json.dumps(calibration.to_header()))
    assert Calibration.from_header(header) == calibration
    for kind in ("energy", "forces", "stress"):
        del header[kind]["tail"]
    assert Calibration.from_header(header).energy == KindCalibration(1.0, 2.0, 0.1)
