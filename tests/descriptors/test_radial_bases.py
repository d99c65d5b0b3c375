"""Radial bases, cutoff functions and radial scalings: values, orthonormality, smoothness, bad input."""

import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.special import ive, spherical_in

from castile.descriptors.cutoffs import CUTOFF_FUNCTIONS, CutoffFunction
from castile.descriptors.quip_radial_bases import QUIP_BASES, FittedBasis, QuipOrbitals, QuipPolynomials
from castile.descriptors.radial_bases import (
    GTO,
    RADIAL_BASES,
    ContractedBasis,
    EquispacedGaussians,
    RadialBasis,
    principal_contraction,
    scaled_bessel,
)
from castile.descriptors.radial_scaling import (
    RADIAL_SCALINGS,
    NoScaling,
    PowerScaling,
    RadialScaling,
    Willatt2018,
    quip_decay,
)
from castile.errors import InputError

N_MAX, L_MAX, CUTOFF, SIGMA = 6, 5, 4.5, 0.45


def _contracted(n_max, l_max, cutoff, sigma):
    matrix = np.random.default_rng(0).normal(size=(l_max + 1, n_max + 3, n_max))
    return ContractedBasis(GTO(n_max + 3, l_max, cutoff, sigma), matrix)


BASES = {cls.name: cls for cls in (*RADIAL_BASES, *QUIP_BASES)} | {"contracted": _contracted}
SCALINGS = {
    "none": NoScaling(),
    "willatt2018": Willatt2018(rate=1.3, scale=2.0, exponent=3.0),
    "power": PowerScaling(scale=2.0, exponent=2.0),
}
each_basis = pytest.mark.parametrize("make", BASES.values(), ids=BASES)
each_cutoff = pytest.mark.parametrize("cls", CUTOFF_FUNCTIONS, ids=lambda cls: cls.name)
each_scaling = pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)


def test_every_class_is_tested():
    concrete = {*RadialBasis.__subclasses__(), *FittedBasis.__subclasses__()} - {FittedBasis}
    assert {cls.name for cls in concrete} == set(BASES)
    assert set(CutoffFunction.__subclasses__()) == set(CUTOFF_FUNCTIONS)
    assert {cls.name for cls in RadialScaling.__subclasses__()} == set(SCALINGS)
    assert {cls.name for cls in RADIAL_SCALINGS} == set(SCALINGS)


@pytest.mark.parametrize("l_max", [0, 1, 7, 14])
def test_scaled_bessel_equals_scipy_over_sixteen_decades(l_max):
    x = np.geomspace(1e-12, 1e4, 3000)
    expected = np.array([np.sqrt(0.5 * np.pi / x) * ive(l + 0.5, x) for l in range(l_max + 1)])
    representable = expected > 1e-280
    ours = scaled_bessel(l_max, x)
    np.testing.assert_allclose(ours[representable], expected[representable], rtol=5e-13)
    np.testing.assert_array_equal(scaled_bessel(2, np.zeros((1, 2)))[:, 0], [[1, 1], [0, 0], [0, 0]])


@each_basis
def test_shapes_and_empty_input(make):
    basis = make(N_MAX, L_MAX, CUTOFF, SIGMA)
    assert basis.values(np.linspace(0.0, CUTOFF, 7)).shape == (7, L_MAX + 1, N_MAX)
    assert basis.values(np.zeros(0)).shape == (0, L_MAX + 1, N_MAX)
    assert basis.center().shape == (N_MAX,)
    assert (basis.n_max, basis.l_max, basis.cutoff, basis.sigma) == (N_MAX, L_MAX, CUTOFF, SIGMA)


@each_basis
def test_center_is_the_limit_of_a_neighbor_at_distance_zero(make):
    basis = make(N_MAX, L_MAX, CUTOFF, SIGMA)
    at_zero = basis.values(np.zeros(1))[0]
    np.testing.assert_allclose(at_zero[0], basis.center(), atol=1e-12)
    np.testing.assert_array_equal(at_zero[1:], 0.0)


@each_basis
def test_small_distances_follow_the_power_law_of_the_angular_channel(make):
    """R_nl ~ r^l: what keeps the density smooth when a neighbour passes through the centre."""
    near, far = make(N_MAX, L_MAX, CUTOFF, SIGMA).values(np.array([1e-4, 2e-4]))
    for l in range(L_MAX + 1):
        np.testing.assert_allclose(far[l], near[l] * 2.0**l, rtol=1e-5, atol=1e-7 * np.abs(near[l]).max())


GRID = np.linspace(0.0, 16.0, 16001)


def test_gto_is_the_projection_by_simpson_quadrature():
    basis, r = GTO(3, 2, 4.0, 0.5), 1.7
    n = np.arange(3)[:, None]
    widths = np.maximum(np.sqrt(n), 1.0) * 4.0 / 3
    primitives = GRID**n * np.exp(-0.5 * (GRID / widths) ** 2)
    overlap = simpson(GRID**2 * primitives[:, None] * primitives[None], x=GRID)
    norm = np.diag(1.0 / np.sqrt(np.diag(overlap)))
    values, vectors = np.linalg.eigh(norm @ overlap @ norm)
    transform = norm @ vectors @ np.diag(values**-0.5) @ vectors.T
    for l in range(3):
        gaussian = np.exp(-2.0 * (GRID**2 + r**2)) * spherical_in(l, 4.0 * GRID * r)
        projections = simpson(GRID**2 * primitives * gaussian, x=GRID)
        expected = 4.0 * np.pi * (np.pi * 0.25) ** -0.75 * projections @ transform
        np.testing.assert_allclose(basis.values(np.array([r]))[0, l], expected, rtol=1e-9)


def test_equispaced_overlap_is_the_integral_it_stands_for():
    basis = EquispacedGaussians(4, 1, 3.0, 0.6)
    gaussians = np.exp(-0.5 * ((GRID - basis._centers[:, None]) / 0.6) ** 2)
    expected = simpson(GRID**2 * gaussians[:, None] * gaussians[None], x=GRID)
    factor = basis._cholesky
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-9, atol=1e-12)


def test_principal_contraction_loses_least():
    rng = np.random.default_rng(4)
    distances = rng.uniform(2.0, CUTOFF, size=300)
    weights = rng.uniform(0.1, 1.0, size=300)
    base = GTO(9, 3, CUTOFF, 0.3)
    contracted = principal_contraction(base, distances, 4, weights)
    primitive = base.values(distances) * weights[:, None, None]
    for l in range(4):
        matrix = contracted.matrix[l]
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(4), atol=1e-12)
        lost = np.linalg.norm(primitive[:, l] - primitive[:, l] @ matrix @ matrix.T) ** 2
        singular = np.linalg.svd(primitive[:, l], compute_uv=False)
        np.testing.assert_allclose(lost, (singular[4:] ** 2).sum(), rtol=1e-6)
    np.testing.assert_array_equal(
        contracted.matrix, principal_contraction(base, distances, 4, weights).matrix
    )


@each_cutoff
def test_cutoff_functions(cls):
    function = cls(cutoff=5.0, width=1.2)
    start, end = function.knots
    assert (start, end) == (pytest.approx(3.8), 5.0)
    np.testing.assert_array_equal(function.values([0.0, 3.0, 5.0, 5.1]), [1.0, 1.0, 0.0, 0.0])
    r, h = np.linspace(0.5, 5.5, 997), 1e-5
    slope = (function.values(r + h) - function.values(r - h)) / (2 * h)
    np.testing.assert_allclose(function.derivatives(r), slope, atol=3e-5)
    assert (np.diff(function.values(r)) <= 0.0).all()
    assert function.values(np.ones((2, 3))).shape == (2, 3)


def test_smooth_cutoff_has_a_continuous_second_derivative_and_the_cosine_has_not():
    by_name = {cls.name: cls(cutoff=5.0, width=1.0) for cls in CUTOFF_FUNCTIONS}

    def jump(function, at, h=1e-4):
        return abs(function.derivatives(at + h) - function.derivatives(at - h)) / h

    for knot in (4.0, 5.0):
        assert jump(by_name["smooth"], knot) < 0.01
        assert jump(by_name["cosine"], knot) > 1.0


@each_cutoff
@pytest.mark.parametrize(
    ("cutoff", "width", "named"),
    [
        (-1.0, 0.5, "cutoff = -1.0"),
        (np.nan, 0.5, "nan"),
        (5.0, 0.0, "width = 0.0"),
        (5.0, 6.0, "width = 6.0"),
    ],
)
def test_bad_cutoffs_are_named(cls, cutoff, width, named):
    with pytest.raises(InputError, match=named):
        cls(cutoff=cutoff, width=width)


@each_scaling
def test_scaling_derivatives(scaling):
    r, h = np.linspace(0.4, 6.0, 101), 1e-5
    slope = (scaling.values(r + h) - scaling.values(r - h)) / (2 * h)
    np.testing.assert_allclose(scaling.derivatives(r), slope, atol=1e-6)


def test_willatt_scaling_starts_at_one_and_halves_where_it_says():
    scaling = Willatt2018(rate=1.0, scale=2.5, exponent=6.0)
    np.testing.assert_allclose(scaling.values([0.0, 2.5]), [1.0, 0.5])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Willatt2018(rate=0.0, scale=1.0, exponent=2.0),
        lambda: Willatt2018(rate=1.0, scale=-1.0, exponent=2.0),
        lambda: Willatt2018(rate=1.0, scale=1.0, exponent=0.5),
        lambda: PowerScaling(scale=0.0, exponent=2.0),
        lambda: PowerScaling(scale=1.0, exponent=0.0),
        lambda: quip_decay(cutoff_dexp=-1),
        lambda: GTO(0, 3, 4.0, 0.5),
        lambda: GTO(4, -1, 4.0, 0.5),
        lambda: GTO(4.5, 1, 4.0, 0.5),
        lambda: GTO(4, 3, 4.0, 0.0),
        lambda: GTO(40, 3, 4.0, 0.5),
        lambda: QuipPolynomials(8, 3, 4.0, 0.5),
        lambda: QuipOrbitals(16, 3, 4.0, 0.5),
        lambda: EquispacedGaussians(4, 3, np.inf, 0.5),
        lambda: EquispacedGaussians(4, 3, 4.0, 0.5, basis_error_exponent=0.0),
        lambda: ContractedBasis(GTO(4, 3, 4.0, 0.5), np.ones((3, 4, 2))),
        lambda: ContractedBasis(GTO(4, 3, 4.0, 0.5), np.full((4, 4, 2), np.nan)),
        lambda: principal_contraction(GTO(4, 3, 4.0, 0.5), [2.0], 5),
        lambda: principal_contraction(GTO(4, 3, 4.0, 0.5), [], 2),
    ],
)
def test_bad_parameters_are_refused(make):
    with pytest.raises(InputError):
        make()
