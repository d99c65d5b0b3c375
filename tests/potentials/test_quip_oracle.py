"""Imported terms against plain sums over images, straight from their equations."""

from itertools import permutations, product

import numpy as np
import pytest
from ase import Atoms
from scipy.special import erf

from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.soap_engine import CHUNK
from castile.potentials.covariance import ScalarKernel
from castile.potentials.quip_pair_term import QuipPairTerm
from castile.potentials.quip_soap_features import from_quip, quip_positions, to_quip
from castile.potentials.quip_triplet_term import QuipTripletTerm
from potentials.examples import PartModel, metal, structures

CU, AU, CUTOFF, WIDTH = 29, 79, 3.6, 0.9


def neighbors(atoms: Atoms, i: int) -> list[tuple[int, np.ndarray]]:
    """(atomic number, vector) of all images within the cutoff."""
    images = [range(-3, 4) if periodic else range(1) for periodic in atoms.pbc]
    found = []
    for shift in product(*images):
        for j in range(len(atoms)):
            vector = atoms.positions[j] + np.array(shift) @ atoms.cell[:] - atoms.positions[i]
            if 1e-9 < np.linalg.norm(vector) < CUTOFF:
                found.append((int(atoms.numbers[j]), vector))
    return found


def envelope(r: float) -> float:
    if r < CUTOFF - WIDTH:
        return 1.0
    return 0.5 * (1.0 + np.cos(np.pi * (r - CUTOFF + WIDTH) / WIDTH))


def kernel_value(kernel: ScalarKernel, x: np.ndarray, y: np.ndarray) -> float:
    rho = np.sqrt(np.sum(((x - y) / np.array(kernel.theta)) ** 2))
    if kernel.form == "ard_se":
        shape = np.exp(-0.5 * rho**2)
    else:
        j = len(x) // 2 + 2
        shape = (1.0 - rho) ** (j + 1) * ((j + 1) * rho + 1.0) if rho < 1.0 else 0.0
    return kernel.delta**2 * shape + kernel.f0**2


@pytest.mark.parametrize(
    ("form", "exponents", "tail", "numbers"),
    [
        ("ard_se", (1.0,), 0, (CU, AU)),
        ("pp", (1.0,), 0, (CU, CU)),
        ("ard_se", (-1.0, -3.0), 2, (0, AU)),
        ("pp", (-2.0, 1.0), 0, (0, 0)),
    ],
)
@pytest.mark.parametrize("name", ["crystal", "skewed", "cluster", "wire"])
def test_pairs(
    name: str, form: str, exponents: tuple[float, ...], tail: int, numbers: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(1.8, 3.5, 6)[:, None] ** np.array(exponents)
    theta = tuple(float(t) for t in 3.0 * np.ptp(points, axis=0) / 5.0)
    kernel, weights = ScalarKernel(form, 0.7, 0.3, theta), rng.normal(size=6)
    term = QuipPairTerm(
        "pair", numbers, CosineCutoff(CUTOFF, WIDTH), exponents, tail, 0.8, kernel, points, np.ones(6)
    )
    atoms = structures()[name]
    expected = 0.0
    for i, z in enumerate(atoms.numbers):
        for other, vector in neighbors(atoms, i):
            if not any(
                all(n in (0, q) for n, q in zip(numbers, p, strict=True)) for p in permutations((z, other))
            ):
                continue
            r = float(np.linalg.norm(vector))
            cut = envelope(r) * (erf(0.8 * r) / r) ** tail
            x = r ** np.array(exponents)
            expected += cut * sum(
                w * kernel_value(kernel, x, y) for w, y in zip(weights, points, strict=True)
            )
    assert PartModel(term, weights).predict(atoms).energy == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("form", ["ard_se", "pp"])
@pytest.mark.parametrize(("center", "numbers"), [(CU, (CU, AU)), (0, (AU, AU)), (AU, (0, CU)), (0, (0, 0))])
@pytest.mark.parametrize("name", ["skewed", "cluster", "wire"])
def test_triplets(name: str, center: int, numbers: tuple[int, int], form: str) -> None:
    rng = np.random.default_rng(1)
    points = np.stack([rng.uniform(4, 7, 5), rng.uniform(0, 1, 5), rng.uniform(2, 4, 5)], axis=1)
    kernel, weights = ScalarKernel(form, 0.7, 0.2, (2.0, 1.5, 2.5)), rng.normal(size=5)
    term = QuipTripletTerm("angle", center, numbers, CosineCutoff(CUTOFF, WIDTH), kernel, points, np.ones(5))
    atoms = structures()[name]
    expected = np.zeros(len(atoms))
    for i, z in enumerate(atoms.numbers):
        if center not in (0, z):
            continue
        for (z_j, a), (z_k, b) in permutations(neighbors(atoms, i), 2):
            pair = permutations((z_j, z_k))
            if not any(all(n in (0, q) for n, q in zip(numbers, p, strict=True)) for p in pair):
                continue
            r_j, r_k = np.linalg.norm(a), np.linalg.norm(b)
            x = np.array([r_j + r_k, (r_j - r_k) ** 2, np.linalg.norm(a - b)])
            values = sum(w * kernel_value(kernel, x, y) for w, y in zip(weights, points, strict=True))
            expected[i] += envelope(r_j) * envelope(r_k) * values
    np.testing.assert_allclose(PartModel(term, weights).predict(atoms).energies, expected, atol=1e-11)


def test_table_of_pairs_equals_the_kernel_sum() -> None:
    points = np.linspace(1.5, 3.5, 12)[:, None]
    weights = np.random.default_rng(2).normal(size=12) * 50.0
    kernel = ScalarKernel("ard_se", 1.0, 0.0, (0.3,))
    term = QuipPairTerm(
        "pair", (CU, CU), CosineCutoff(CUTOFF, WIDTH), (1.0,), 0, 1.0, kernel, points, np.ones(12)
    )
    assert term._table(weights) is not None
    for r in np.concatenate([np.linspace(0.2, 0.9, 8), np.random.default_rng(3).uniform(0.9, 3.7, 50)]):
        prediction = PartModel(term, weights).predict(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, r]]))
        value, slope = term.potential(np.array([r]), weights)
        assert prediction.energy == pytest.approx(value[0], abs=1e-10)
        assert prediction.forces[0, 2] == pytest.approx(slope[0], abs=2e-9)


def test_feature_order_is_a_permutation_and_its_own_inverse() -> None:
    positions = quip_positions(6, 3)
    assert sorted(positions) == list(range(21 * 4))
    points = np.random.default_rng(4).normal(size=(3, 84))
    stored = to_quip(points, 6, 3, 0.25)
    assert (stored[:, -1] == 0.25).all()
    np.testing.assert_array_equal(from_quip(stored, 6, 3), points)


def test_more_centres_than_a_chunk() -> None:
    from potentials.examples import part_examples

    part = part_examples()["quip_soap"]
    small = metal(5, "CuAuCuAu")
    large = small * (5, 4, 3)
    assert len(large) > 2 * CHUNK
    assert part.predict(large).energy == pytest.approx(60 * part.predict(small).energy, rel=1e-10)
