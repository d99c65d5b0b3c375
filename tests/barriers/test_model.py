"""The model: fit, intervals, leave-one-out, files, suspicious labels, folds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from castile.barriers import (
    BarrierModel,
    MigrationPath,
    cross_validate,
    load_barrier_model,
    save_barrier_model,
    score,
)
from castile.barriers.calibration import Residuals, calibrated
from castile.barriers.channel_mixing import (
    FIXED,
    channel_pairs,
    channels_of_features,
    distances_by_pair,
    mixed,
    pair_weights,
)
from castile.barriers.gaussian_process import (
    condition,
    kernel,
    negative_log_posterior,
    squared_distances,
)
from castile.barriers.process_inputs import Inputs, Prior
from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.radial_bases import GTO
from castile.descriptors.radial_scaling import NoScaling
from castile.descriptors.soap_engine import SoapEngine
from castile.errors import InputError, ModelFileError, NotFittedError
from castile.structures.neighbors import Pairs

GENERATOR = np.random.default_rng(5)


def random_inputs(n: int, channels: NDArray[np.int64] = FIXED) -> Inputs:
    vectors = GENERATOR.normal(size=(n, 2, 12))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return Inputs(GENERATOR.normal(size=(n, 3)), vectors, channels)


@pytest.mark.parametrize("channels", [FIXED, channels_of_features(2, 1, 3)], ids=["fixed", "learned"])
def test_gradient_of_the_evidence_is_its_slope(channels: NDArray[np.int64]) -> None:
    inputs, targets = random_inputs(12, channels), GENERATOR.normal(size=12)
    prior = Prior.default(3, 2, inputs.n_channels)
    vector = prior.mean + 0.3 * GENERATOR.normal(size=len(prior.mean))
    distances = distances_by_pair(inputs.vectors, inputs.channels)
    arguments = (inputs, distances, targets, GENERATOR.uniform(0.5, 2.0, 12), prior)
    _, gradient = negative_log_posterior(vector, *arguments)
    assert np.abs(gradient).min() > 1e-6
    for k in range(len(vector)):
        step = np.zeros(len(vector))
        step[k] = 1e-5
        ahead, behind = (negative_log_posterior(vector + s, *arguments)[0] for s in (step, -step))
        assert gradient[k] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-6)


def test_weights_of_channels_are_those_of_the_density() -> None:
    """Scaling the densities of channels scales the products of two of them."""
    weights = np.array([0.3, -0.5, 0.2])
    basis, cutoff = GTO(3, 2, 4.0, 0.4), CosineCutoff(4.0, 0.8)
    vectors = GENERATOR.uniform(-2.0, 2.0, (9, 3))
    pairs = Pairs.by_center(np.zeros(9, dtype=np.int64), np.arange(9), vectors, 1, 9)
    species, nowhere = np.arange(9) % 4, np.full(1, -1, dtype=np.int64)
    properties = GENERATOR.normal(size=(4, 3))

    def spectrum(mixing: NDArray[np.float64]) -> NDArray[np.float64]:
        engine = SoapEngine(basis, cutoff, NoScaling(), mixing, np.zeros((4, 4)), normalize=False)
        return engine.power_spectrum(engine.density(engine.sort(pairs, species, nowhere), 0, 1), 1)[0]

    learned = mixed(spectrum(properties), channels_of_features(3, 3, 2), weights)
    np.testing.assert_allclose(learned, spectrum(properties * np.exp(weights)), rtol=1e-10)


def test_distances_by_pair_add_up_to_those_of_mixed_vectors() -> None:
    channels, weights = channels_of_features(2, 1, 3), np.array([0.4, -0.7])
    vectors = random_inputs(5).vectors
    parts = distances_by_pair(vectors, channels)
    scaled = mixed(vectors, channels, weights)
    expected = np.square(scaled[:, None] - scaled[None]).sum(axis=-1)
    summed = np.einsum("bpij,p->ijb", parts, pair_weights(channel_pairs(channels), weights))
    np.testing.assert_allclose(summed, expected, atol=1e-12)


def test_learned_mixing_is_kept_in_files_and_holds_for_new_elements(
    paths: list[MigrationPath], model: BarrierModel, tmp_path: Path
) -> None:
    learned = BarrierModel(n_steps=6, mixing="learned").fit_features(model.features_, paths)
    weights = [process.parameters.mixing for process in learned.processes]
    assert [len(values) for values in weights] == [4, 5, 0]
    assert max(np.abs(values).max() for values in weights[:2]) > 1e-3
    save_barrier_model(learned, tmp_path / "m.castile")
    loaded = load_barrier_model(tmp_path / "m.castile")
    host = paths[0].host.copy()
    host.numbers[host.numbers == 8] = 34
    new = replace(paths[0], host=host)
    before, after = learned.predict_intervals([new, paths[1]]), loaded.predict_intervals([new, paths[1]])
    np.testing.assert_array_equal(after.barrier, before.barrier)
    assert np.isfinite(before.std).all()
    assert loaded.get_params() == learned.get_params()
    with pytest.raises(InputError, match="mixing"):
        BarrierModel(mixing="other").fit_features(model.features_, paths)  # type: ignore[arg-type]


def test_leave_groups_out_agrees_with_leaving_out(model: BarrierModel) -> None:
    groups = np.arange(len(model.barriers_)) % 5
    for process in model.processes:
        mean, variance = process.leave_groups_out(groups)
        out = np.flatnonzero(groups == 3)
        rest = np.flatnonzero(groups != 3)
        without = condition(
            process.parameters, process.inputs.take(rest), process.targets[rest], process.weights[rest]
        )
        expected, spread = without.predict(process.inputs.take(out))
        np.testing.assert_allclose(mean[out], expected, atol=1e-5)
        np.testing.assert_allclose(variance[out], spread, rtol=1e-3, atol=1e-6)


def test_intervals_hold_their_share_of_known_and_of_other_hosts() -> None:
    """Errors whose variance is 2 v and hardly any noise, where the process believes in noise."""
    near, far = GENERATOR.uniform(0.01, 0.1, 4000), GENERATOR.uniform(0.1, 0.6, 4000)
    alone, other = (Residuals(np.sqrt(2.0 * v) * GENERATOR.normal(size=4000), v) for v in (near, far))
    scale = calibrated(alone, other, 0.05, 0.68, n_groups=100)
    for residuals in (alone, other):
        inside = np.abs(residuals.errors) < norm.ppf(0.84) * scale.deviations(residuals.variances)
        assert inside.mean() == pytest.approx(0.68, abs=0.02)
    few = calibrated(alone, other, 0.05, 0.68, n_groups=3)
    assert few.ratio == 1.0


def test_leave_one_out_agrees_with_leaving_out(model: BarrierModel) -> None:
    for process in model.processes:
        mean, variance = process.leave_one_out()
        for left in (0, 7):
            rest = np.delete(np.arange(len(mean)), left)
            without = condition(
                process.parameters, process.inputs.take(rest), process.targets[rest], process.weights[rest]
            )
            expected, spread = without.predict(process.inputs.take(np.array([left])))
            assert mean[left] == pytest.approx(expected[0], abs=1e-6)
            assert variance[left] == pytest.approx(spread[0], rel=1e-3, abs=1e-6)


def test_prediction_agrees_with_dense_algebra(model: BarrierModel) -> None:
    process, other = model.processes[0], model.processes[0].inputs.take(np.arange(4))
    cross = kernel(process.parameters, other, process.inputs, squared_distances(other, process.inputs))
    full = kernel(
        process.parameters, process.inputs, process.inputs, squared_distances(process.inputs, process.inputs)
    ) + np.diag(process.noise_variance * process.weights)
    expected = cross @ np.linalg.solve(full, process.targets)
    np.testing.assert_allclose(process.predict(other)[0], expected, atol=1e-6)
    np.testing.assert_allclose(process.leverage(other) @ process.targets, expected, atol=1e-6)


def test_model_learns_the_rule(model: BarrierModel, paths: list[MigrationPath]) -> None:
    scores = score(model.barriers_, model.leave_one_out())
    assert scores.r2 is not None
    assert scores.r2 > 0.8
    assert scores.coverage == pytest.approx(0.68, abs=0.12)


def test_prediction_does_not_depend_on_the_direction(model: BarrierModel, paths: list[MigrationPath]) -> None:
    forth = model.predict_intervals(paths[:4])
    back = model.predict_intervals([path.reversed() for path in paths[:4]])
    np.testing.assert_allclose(back.barrier, forth.barrier, rtol=1e-6)
    np.testing.assert_allclose(back.std, forth.std, rtol=1e-5)


def test_unlike_paths_are_flagged_and_finite(model: BarrierModel, paths: list[MigrationPath]) -> None:
    host = paths[0].host.copy()
    host.numbers[host.numbers == 8] = 53
    host.set_cell(1.5 * host.cell.array, scale_atoms=True)
    odd = replace(paths[0], host=host, mobile=87, track=1.5 * paths[0].track)
    prediction = model.predict_intervals([odd, paths[0]])
    assert prediction.extrapolation_grade[0] > prediction.extrapolation_grade[1]
    assert prediction.extrapolates[0]
    assert all(np.isfinite(v).all() for v in (prediction.barrier, prediction.std, prediction.upper))
    assert (prediction.lower >= 0.0).all()


def test_file_keeps_every_bit(model: BarrierModel, paths: list[MigrationPath], tmp_path: Path) -> None:
    save_barrier_model(model, tmp_path / "m.castile")
    loaded = load_barrier_model(tmp_path / "m.castile")
    before, after = model.predict_intervals(paths[:5]), loaded.predict_intervals(paths[:5])
    np.testing.assert_array_equal(after.barrier, before.barrier)
    np.testing.assert_array_equal(after.std, before.std)
    assert loaded.get_params() == model.get_params()


def test_other_files_are_refused(tmp_path: Path) -> None:
    from castile.formats.model_file import write_model_file

    write_model_file(tmp_path / "x.castile", {"kind": "potential"}, {"a": np.zeros(1)})
    with pytest.raises(ModelFileError, match="no model of barriers"):
        load_barrier_model(tmp_path / "x.castile")
    write_model_file(tmp_path / "old.castile", {"kind": "barriers", "spread": 1.0}, {"a": np.zeros(1)})
    with pytest.raises(ModelFileError, match=r"fit it again"):
        load_barrier_model(tmp_path / "old.castile")


def test_wrong_label_is_suspicious_and_hardly_matters(paths: list[MigrationPath]) -> None:
    wrong = [replace(path, barrier=40.0) if k == 5 else path for k, path in enumerate(paths)]
    features = BarrierModel().featurize(paths)
    trusting = BarrierModel(n_steps=10, robust=False).fit_features(features, wrong)
    doubting = BarrierModel(n_steps=10).fit_features(features, wrong)
    assert doubting.suspicious_labels()[0].path_id == "p5"
    assert {label.reason for label in doubting.suspicious_labels()} <= {"contradicted", "implausible size"}
    tiny = [replace(path, barrier=0.0035) if k < 2 else path for k, path in enumerate(paths)]
    tiny_model = BarrierModel(n_steps=3).fit_features(features, tiny)
    named = {label.path_id for label in tiny_model.suspicious_labels()}
    assert named >= {"p0", "p1"}
    known = np.array([path.barrier for path in paths])
    others = np.arange(len(paths)) != 5

    def error(model: BarrierModel) -> float:
        return float(np.abs(model.leave_one_out().barrier - known)[others].mean())

    assert error(doubting) < error(trusting)


def test_leak_proof_folds_keep_hosts_together(paths: list[MigrationPath]) -> None:
    model = BarrierModel(n_steps=4)
    features = model.featurize(paths)
    random = cross_validate(model, paths, features, n_folds=3)
    assert np.isfinite(random.prediction.barrier).all()
    assert random.scores.n == len(paths)
    with pytest.raises(InputError, match="too few"):
        cross_validate(model, paths[:5], features.take(np.arange(5)))


def test_bad_labels_are_named(paths: list[MigrationPath]) -> None:
    with pytest.raises(InputError, match=r"path p0.*None"):
        BarrierModel().fit([replace(paths[0], barrier=None), *paths[1:]])
    with pytest.raises(InputError, match=r"path p1.*nan"):
        BarrierModel().fit(paths, [1.0, np.nan] + [1.0] * (len(paths) - 2))
    with pytest.raises(InputError, match="too few"):
        BarrierModel().fit(paths[:3])
    with pytest.raises(NotFittedError):
        BarrierModel().predict(paths[:1])
