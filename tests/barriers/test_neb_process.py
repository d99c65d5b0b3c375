"""The surrogate of a path: derivatives by finite differences, the process against a dense one."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from barriers.neb_cases import random_cluster
from castile.barriers import neb_features
from castile.barriers.neb_features import CartesianPositions, InverseDistances, PairSums, PathFeatures
from castile.barriers.neb_kernels import KERNELS
from castile.barriers.neb_process import (
    ENERGY_NOISE,
    GRADIENT_NOISE,
    HyperparameterPrior,
    Hyperparameters,
    PathProcess,
    path_data,
)

STEP = 1e-4
FEATURES = [
    kind for kind in vars(neb_features).values()
    if isinstance(kind, type) and issubclass(kind, PathFeatures) and kind.__name__[0] != "_"
    and kind is not PathFeatures
]  # fmt: skip
PRIOR = HyperparameterPrior(Hyperparameters(2.0, 1.0, 0.5), Hyperparameters(1.0, 1.0, 1.0))


def crystal() -> Atoms:
    atoms = bulk("Cu", "sc", a=2.6) * (2, 1, 2)
    atoms.rattle(0.1, seed=2)
    return atoms


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("s", [0.0, 0.3, 4.0])
def test_derivatives_of_kernels(name: str, s: float) -> None:
    def kernel(value: float, order: int) -> float:
        return float(KERNELS[name](np.array([value]), 0.8)[order][0])

    if s == 0.0:
        assert kernel(s, 0) == 1.0
        assert np.isfinite([kernel(s, 1), kernel(s, 2)]).all()
        return
    for order in (1, 2):
        slope = (kernel(s + 1e-5, order - 1) - kernel(s - 1e-5, order - 1)) / 2e-5
        assert kernel(s, order) == pytest.approx(slope, rel=1e-5)


def test_all_features_are_tested() -> None:
    assert {kind.__name__ for kind in FEATURES} == {"CartesianPositions", "InverseDistances", "PairSums"}


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("atoms", [random_cluster(6, 1), crystal()], ids=["cluster", "crystal"])
def test_jacobian_is_that_of_finite_differences(kind: type[PathFeatures], atoms: Atoms) -> None:
    free = np.array([1, 3])
    features = kind(atoms, free)
    features.cover([atoms.positions])
    point = features.point(atoms.positions)
    assert np.array_equal(point.values, features.values(atoms.positions))
    numeric = np.empty(point.jacobian.shape)
    for column in range(6):
        moved = [atoms.positions.copy(), atoms.positions.copy()]
        for sign, place in zip((1, -1), moved, strict=True):
            place[free[column // 3], column % 3] += sign * STEP
        numeric[:, column] = (features.values(moved[0]) - features.values(moved[1])) / (2 * STEP)
    scale = np.abs(numeric).max()
    assert np.abs(point.jacobian.toarray() - numeric).max() < 1e-6 * scale
    slopes = np.random.default_rng(0).normal(size=len(point.values))
    assert features.pull(atoms.positions, slopes) == pytest.approx(point.jacobian.T @ slopes, rel=1e-10)


@pytest.mark.parametrize("kind", [InverseDistances, PairSums])
def test_distances_do_not_see_rotation_and_translation(kind: type[PathFeatures]) -> None:
    atoms = random_cluster(6, 3)
    turned = atoms.copy()
    turned.rotate(40.0, (1, 2, 3))
    turned.translate([0.3, -1.0, 2.0])
    features = kind(atoms, np.arange(6))
    features.cover([atoms.positions, turned.positions])
    assert features.values(turned.positions) == pytest.approx(features.values(atoms.positions), rel=1e-10)


def test_features_are_smooth_where_pairs_leave_the_cutoff() -> None:
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [6.99, 0, 0]])
    for kind in (InverseDistances, PairSums):
        features = kind(atoms, np.array([1]))
        features.cover([atoms.positions])
        inside, outside = (
            features.values(np.array([[0, 0, 0], [x, 0, 0]], dtype=float)) for x in (6.999, 7.001)
        )
        assert np.abs(inside - outside).max() < 1e-6
        assert np.abs(outside).max() == 0.0


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("kind", [CartesianPositions, InverseDistances])
@pytest.mark.parametrize("additive", [False, True])
def test_process_is_the_dense_one_of_the_same_kernel(
    name: str, kind: type[PathFeatures], additive: bool
) -> None:
    atoms = random_cluster(4, 5)
    free = np.array([1, 3])
    generator = np.random.default_rng(1)
    places = [atoms.positions + generator.normal(scale=0.2, size=(4, 3)) * (np.isin(range(4), free))[:, None]
              for _ in range(4)]  # fmt: skip
    *known, star = places
    features, sums = kind(atoms, free), PairSums(atoms, free) if additive else None
    for part in (features, sums):
        if part is not None:
            part.cover(places)
    energies, gradients = generator.normal(size=3), generator.normal(size=(3, 6))
    chosen = Hyperparameters(1.7, 0.9, 0.3)
    process = PathProcess(
        features, KERNELS[name], sums, path_data(known, energies, gradients), PRIOR, chosen, 0
    )
    direction = generator.normal(size=6)
    direction /= np.linalg.norm(direction)

    def kernel(one: np.ndarray, other: np.ndarray) -> float:
        """The covariance of two energies."""
        q = features.values(one) - features.values(other)
        total = chosen.amplitude**2 * KERNELS[name](np.array([q @ q]), chosen.length)[0][0]
        if sums is not None:
            origin = sums.values(known[0])
            total += chosen.pair_weight**2 * ((sums.values(one) - origin) @ (sums.values(other) - origin))
        return float(total)

    def shifted(place: np.ndarray, vector: np.ndarray, sign: float) -> np.ndarray:
        moved = place.copy()
        moved[free] += sign * 1e-3 * vector.reshape(-1, 3)
        return moved

    # a row is a list of (position, weight): an energy, or a central difference of two
    def slope(place: np.ndarray, vector: np.ndarray) -> list[tuple[np.ndarray, float]]:
        return [(shifted(place, vector, sign), sign / 2e-3) for sign in (1.0, -1.0)]

    rows = [[(place, 1.0)] for place in known]
    rows += [slope(place, unit) for place in known for unit in np.eye(6)]
    wanted = [[(star, 1.0)], slope(star, direction)]

    def covariance(one: list, other: list) -> float:
        return sum(a * b * kernel(x, y) for x, a in one for y, b in other)

    K = np.array([[covariance(a, b) for b in rows] for a in rows])
    K += np.diag([ENERGY_NOISE**2] * 3 + [GRADIENT_NOISE**2] * 18)
    K_star = np.array([[covariance(a, b) for b in rows] for a in wanted])
    prior = np.array([covariance(a, a) for a in wanted])
    targets = np.concatenate([energies - energies.max(), gradients.ravel()])
    mean = K_star @ np.linalg.solve(K, targets)
    deviation = np.sqrt(prior - np.einsum("ij,ji->i", K_star, np.linalg.solve(K, K_star.T)))
    energy, gradient = process.predict(star)
    assert energy == pytest.approx(mean[0] + energies.max(), rel=2e-3, abs=2e-3)
    assert gradient @ direction == pytest.approx(mean[1], rel=5e-3, abs=5e-3)
    assert process.deviations(star, direction[None]) == pytest.approx(deviation, rel=1e-2)
    assert process.deviations(star, np.empty((0, 6))) == pytest.approx(
        process.deviations(star, direction[None])[:1]
    )


def test_process_reproduces_its_labels_and_finds_a_likely_length() -> None:
    atoms = random_cluster(4, 7)
    free = np.arange(4)
    features = CartesianPositions(atoms, free)
    generator = np.random.default_rng(4)
    places = [atoms.positions + generator.normal(scale=0.3, size=(4, 3)) for _ in range(8)]
    energies = [float(np.sin(place).sum()) for place in places]
    gradients = [np.cos(place).ravel() for place in places]
    data = path_data(places, energies, gradients)
    start = Hyperparameters(2.0, 0.2, 1.0)
    found = PathProcess(features, KERNELS["squared_exponential"], None, data, PRIOR, start, 40)
    assert found.hyperparameters.length > 0.5
    for place, energy, gradient in zip(places, energies, gradients, strict=True):
        predicted, slopes = found.predict(place)
        assert predicted == pytest.approx(energy, abs=2e-3)
        assert np.abs(slopes - gradient).max() < 0.01
    new = atoms.positions + 0.1
    assert found.predict(new)[0] == pytest.approx(np.sin(new).sum(), abs=0.05)
