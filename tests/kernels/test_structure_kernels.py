"""Kernels between structures: invariances, limits, and slow oracles."""

from itertools import permutations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVR

from castile.descriptors.soap import SOAP
from castile.errors import InputError, NotFittedError
from castile.kernels.environments import (
    describe_environments,
    environment_dissimilarity,
    make_environments,
)
from castile.kernels.similarity import StructureSimilarity, structure_array
from castile.kernels.structure_kernels import (
    KERNELS,
    AverageKernel,
    BestMatchKernel,
    REMatchKernel,
    StructureKernel,
    average,
    average_soap,
    best_match,
    largest,
    make_structure_kernel,
    rematch,
)
from castile.kernels.transport import (
    MatchingError,
    entropic_plan,
    optimal_plan,
    optimal_transport_cost,
)

SOAP_SETTINGS = {"cutoff": 4.0, "n_max": 5, "l_max": 4}
KINDS = [kind(zeta) for kind in KERNELS for zeta in (1.0, 2.0)]


def named(kernel: StructureKernel) -> str:
    return f"{kernel.name}-{kernel.zeta:g}"


def rattled(atoms: Atoms, seed: int, amplitude: float = 0.1) -> Atoms:
    moved = atoms.copy()
    moved.positions += np.random.default_rng(seed).normal(scale=amplitude, size=moved.positions.shape)
    return moved


def alloy() -> Atoms:
    """Two elements, no symmetry."""
    atoms = bulk("NaCl", "rocksalt", a=5.0, cubic=True)
    atoms.set_cell(atoms.cell.array + np.random.default_rng(0).normal(scale=0.1, size=(3, 3)), True)
    return rattled(atoms, 1)


def same_structures(atoms: Atoms) -> dict[str, Atoms]:
    """The structure under everything that does not change it."""
    generator = np.random.default_rng(3)
    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation)
    turned.positions = atoms.positions @ rotation
    mirrored = atoms.copy()
    mirrored.set_cell(atoms.cell.array * [-1.0, 1.0, 1.0])
    mirrored.positions = atoms.positions * [-1.0, 1.0, 1.0]
    moved = atoms.copy()
    moved.positions += [0.3, -1.1, 2.0]
    moved.wrap()
    other_cell = atoms.copy()
    other_cell.set_cell(np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    return {
        "rotated or reflected": turned,
        "mirrored": mirrored,
        "translated": moved,
        "permuted": atoms[generator.permutation(len(atoms))],
        "supercell": atoms.repeat((2, 1, 1)),
        "odd supercell": atoms.repeat((1, 3, 1)),
        "other cell": other_cell,
    }


@pytest.mark.parametrize("kernel", KINDS, ids=named)
@pytest.mark.parametrize("change", same_structures(alloy()))
def test_same_structures_have_similarity_one(kernel: StructureKernel, change: str) -> None:
    atoms = alloy()
    soap = SOAP(**SOAP_SETTINGS).fit([atoms])
    own, other = describe_environments(soap, [atoms, same_structures(atoms)[change]])
    assert kernel.dissimilarity(own, other) < 1e-9
    assert kernel.distance(own, other) < 1e-5


@pytest.mark.parametrize("kernel", KINDS, ids=named)
def test_other_structures_have_less_and_supercells_do_not_matter(kernel: StructureKernel) -> None:
    atoms, other = alloy(), rattled(alloy(), 7, 0.3)
    soap = SOAP(**SOAP_SETTINGS).fit([atoms])
    a, b, aa = describe_environments(soap, [atoms, other, atoms.repeat((2, 1, 1))])
    gap = kernel.dissimilarity(a, b)
    assert 1e-4 < gap < 1.0
    assert kernel.dissimilarity(b, a) == pytest.approx(gap, abs=1e-12)
    assert kernel.dissimilarity(aa, b) == pytest.approx(gap, abs=1e-8)


def test_best_match_is_the_best_of_all_permutations() -> None:
    generator = np.random.default_rng(0)
    a = make_environments(np.abs(generator.normal(size=(5, 9))), [1, 1, 8, 8, 8])
    b = make_environments(np.abs(generator.normal(size=(5, 9))), [8, 1, 8, 1, 1])
    K = 1.0 - environment_dissimilarity(a, b, 2.0)
    brute = max(np.mean([K[i, p[i]] for i in range(5)]) for p in permutations(range(5)))
    assert best_match(a, b, 2.0) == pytest.approx(brute, abs=1e-14)


@pytest.mark.parametrize(("n", "m"), [(4, 6), (7, 5), (17, 19), (1, 8)])
def test_matching_of_different_sizes_is_that_of_equal_supercells(n: int, m: int) -> None:
    cost = np.random.default_rng(n).random((n, m))
    replicated = np.repeat(np.repeat(cost, m, axis=0), n, axis=1)
    assert optimal_transport_cost(cost) == pytest.approx(optimal_transport_cost(replicated), abs=1e-12)


def test_transport_agrees_with_linear_programming() -> None:
    generator = np.random.default_rng(9)
    for n, m in [(12, 17), (30, 8), (9, 64), (33, 32), (2, 1)]:
        for kind in range(3):
            cost = generator.random((n, m))
            if kind == 1:  # ties
                cost = np.round(cost, 1)
            elif kind == 2:  # blocks that must not be matched
                cost[generator.integers(2, size=n)[:, None] != generator.integers(2, size=m)] = 1.0
            sums = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
            weights = np.concatenate([np.full(n, 1.0 / n), np.full(m, 1.0 / m)])
            expected = linprog(cost.ravel(), A_eq=sums, b_eq=weights).fun
            rows, columns, shares = optimal_plan(cost)
            assert shares @ cost[rows, columns] == pytest.approx(expected, abs=1e-9)
            np.testing.assert_allclose(np.bincount(rows, shares, n), 1.0 / n)
            np.testing.assert_allclose(np.bincount(columns, shares, m), 1.0 / m)


def test_elements_are_never_matched_with_others() -> None:
    features = np.eye(3)
    a, b = make_environments(features, [6, 6, 8]), make_environments(features, [6, 8, 6])
    assert best_match(a, b) == pytest.approx(1.0 / 3.0)
    assert largest(a, b) == 1.0
    assert BestMatchKernel().per_atom(a, b)[1, 1] == 0.0


def test_rematch_lies_between_average_and_best_match() -> None:
    atoms = [alloy(), rattled(alloy(), 7, 0.3)]
    a, b = describe_environments(SOAP(**SOAP_SETTINGS).fit(atoms), atoms)
    assert rematch(a, b, 2.0, 1e7) == pytest.approx(average(a, b, 2.0), abs=1e-6)
    assert rematch(a, b, 2.0, 1e-5) == pytest.approx(best_match(a, b, 2.0), abs=1e-4)
    raw = [REMatchKernel(2.0, gamma).unnormalized(a, b) for gamma in (1e-4, 1e-2, 1e-1, 1.0, 10.0)]
    assert raw == sorted(raw, reverse=True)
    assert raw[0] <= best_match(a, b, 2.0) + 1e-12


@pytest.mark.parametrize("gamma", [1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("kind", ["random", "ties", "blocks"])
def test_entropic_plan_has_exact_marginals_and_never_overflows(gamma: float, kind: str) -> None:
    generator = np.random.default_rng(1)
    cost = generator.random((6, 4))
    if kind == "ties":
        cost = np.round(cost, 1)
    elif kind == "blocks":  # elements that must not be matched beside near-twins
        cost = np.where(generator.random((6, 4)) < 0.5, 1.0, 1e-3 * cost)
    plan = entropic_plan(cost, gamma).plan
    assert np.isfinite(plan).all()
    np.testing.assert_allclose(plan.sum(axis=1), 1.0 / 6.0, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), 1.0 / 4.0, rtol=1e-12)
    assert (plan >= 0.0).all()
    assert -1e-12 <= np.sum(plan * cost) - optimal_transport_cost(cost) <= gamma * np.log(24.0) + 1e-8


def test_matching_that_does_not_converge_is_explained() -> None:
    with pytest.raises(MatchingError, match="raise gamma"):
        entropic_plan(np.random.default_rng(1).random((6, 4)), 1e-3, tolerance=0.0, max_iterations=3)


@pytest.mark.parametrize("kind", KERNELS)
def test_supercells_and_other_cells_have_the_same_similarity_to_another_structure(kind) -> None:
    atoms, other = alloy(), rattled(alloy(), 7, 0.3)
    soap = SOAP(**SOAP_SETTINGS).fit([atoms])
    kernel = make_structure_kernel(kind.name, zeta=2.0, gamma=0.05)
    own, *same = describe_environments(soap, [other, atoms, *same_structures(atoms).values()])
    values = [kernel.dissimilarity(own, each) for each in same]
    np.testing.assert_allclose(values, values[0], atol=1e-8)


def test_per_atom_similarity_does_not_depend_on_orientation_order_or_supercell() -> None:
    atoms, other = alloy(), rattled(alloy(), 7, 0.3)
    soap = SOAP(**SOAP_SETTINGS).fit([atoms])
    a, b, bb = describe_environments(soap, [atoms, other, other.repeat((1, 1, 2))])
    K = BestMatchKernel(2.0).per_atom(a, b)
    np.testing.assert_allclose(np.diag(BestMatchKernel(2.0).per_atom(a, a)), 1.0)
    np.testing.assert_allclose(BestMatchKernel(2.0).per_atom(a, bb), np.tile(K, 2), atol=1e-9)
    order = np.random.default_rng(3).permutation(len(other))
    turned = other[order]
    turned.rotate(40.0, (1, 2, 3), rotate_cell=True)
    turned.positions += 1.0
    (c,) = describe_environments(soap, [turned])
    np.testing.assert_allclose(BestMatchKernel(2.0).per_atom(a, c), K[:, order], atol=1e-9)
    similarity = StructureSimilarity(soap, "best-match", zeta=2.0).fit([atoms])
    np.testing.assert_allclose(similarity.per_atom(atoms, other), K, atol=1e-12)


def test_entropic_plan_agrees_with_plain_sinkhorn() -> None:
    cost, gamma = np.random.default_rng(2).random((5, 7)), 0.2
    gibbs = np.exp(-cost / gamma)
    u, v = np.ones(5), np.ones(7)
    for _ in range(5000):
        u = (1.0 / 5.0) / (gibbs @ v)
        v = (1.0 / 7.0) / (gibbs.T @ u)
    np.testing.assert_allclose(entropic_plan(cost, gamma).plan, u[:, None] * gibbs * v, atol=1e-10)


def test_average_agrees_with_a_double_loop() -> None:
    generator = np.random.default_rng(4)
    a = make_environments(np.abs(generator.normal(size=(3, 6))), [1, 8, 8])
    b = make_environments(np.abs(generator.normal(size=(4, 6))), [8, 8, 1, 1])

    def raw(x, y) -> float:
        total = 0.0
        for p, z in zip(x.features, x.numbers, strict=True):
            for q, w in zip(y.features, y.numbers, strict=True):
                total += (z == w) * (p @ q) ** 2
        return total / (x.n_atoms * y.n_atoms)

    expected = raw(a, b) / np.sqrt(raw(a, a) * raw(b, b))
    assert AverageKernel(2.0).similarity(a, b) == pytest.approx(expected, abs=1e-13)
    p, q = a.features.mean(axis=0), b.features.mean(axis=0)
    expected = (p @ q / np.sqrt((p @ p) * (q @ q))) ** 2
    assert average_soap(a, b, 2.0) == pytest.approx(expected, abs=1e-13)


def test_distance_keeps_its_digits_near_one() -> None:
    features = np.random.default_rng(5).random((2, 30))
    direction = np.random.default_rng(6).normal(size=(2, 30))
    a = make_environments(features, [14, 14])
    for size in (1e-4, 1e-6, 1e-9):
        b = make_environments(a.features + size * direction, [14, 14])
        exact = np.sqrt(np.mean(np.sum((a.features - b.features) ** 2, axis=1)))
        assert BestMatchKernel().distance(a, b) == pytest.approx(exact, rel=1e-4)
    assert BestMatchKernel().distance(a, a) == 0.0


@pytest.mark.parametrize("method", [kind.name for kind in KERNELS])
def test_blocks_give_the_whole_matrix(method: str) -> None:
    structures = [rattled(alloy(), seed, 0.2) for seed in range(7)]
    similarity = StructureSimilarity(SOAP(**SOAP_SETTINGS), method, zeta=2.0, gamma=0.1).fit(structures)
    whole = similarity.pairwise(structures, block_size=100)
    np.testing.assert_allclose(similarity.pairwise(structures, block_size=3), whole, atol=1e-12)
    np.testing.assert_allclose(similarity(structures, structures[2:4]), whole[:, 2:4], atol=1e-12)
    np.testing.assert_allclose(np.diag(whole), 1.0, atol=1e-10)
    assert np.isfinite(similarity.distance(structures)).all()


def test_scikit_learn_takes_it_as_kernel_and_as_matrix() -> None:
    structures = [rattled(bulk("Si"), seed, 0.2) for seed in range(12)]
    y = np.array([atoms.get_distance(0, 1) for atoms in structures])
    similarity = StructureSimilarity(SOAP(**SOAP_SETTINGS), zeta=2.0)
    K = similarity(structures)
    ridge = KernelRidge(alpha=1e-10, kernel="precomputed").fit(K, y)
    assert np.abs(ridge.predict(K) - y).max() < 0.1 * np.std(y)
    kernel = ConstantKernel(4.0, (1e-3, 1e12)) * clone(similarity)
    process = GaussianProcessRegressor(kernel, alpha=1e-2, optimizer=None)
    X = structure_array(structures)
    expected = 4.0 * K @ np.linalg.solve(4.0 * K + 1e-2 * np.eye(12), y)
    np.testing.assert_allclose(process.fit(X, y).predict(X), expected, atol=1e-6)
    learned = GaussianProcessRegressor(kernel, alpha=1e-2).fit(X, y)  # its amplitude by the evidence
    assert learned.log_marginal_likelihood_value_ >= process.log_marginal_likelihood_value_
    _, deviations = learned.predict(structure_array(structures[:2]), return_std=True)
    assert np.isfinite(deviations).all()
    machine = SVR(kernel="precomputed", C=1e5, epsilon=1e-3).fit(K, y)
    new = [rattled(bulk("Si"), seed, 0.1) for seed in (50, 51)]
    assert machine.predict(similarity(new, structures)).shape == (2,)
    assert np.median(np.abs(machine.predict(K) - y)) < 0.1 * np.std(y)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match=r"zeta = 0\.5"):
        BestMatchKernel(0.5)
    with pytest.raises(InputError, match="gamma = 0"):
        REMatchKernel(1.0, 0.0)
    with pytest.raises(InputError, match="kernel = 'magic'"):
        make_structure_kernel("magic")
    with pytest.raises(InputError, match="atom 1"):
        make_environments([[1.0, 0.0], [0.0, 0.0]], [1, 1])
    with pytest.raises(NotFittedError):
        StructureSimilarity().pairwise([molecule("H2O")])
