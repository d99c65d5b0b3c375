"""Slow SOAP in plain NumPy: every pair, every image; only the radial functions are shared with the fast path.

Feature order: l slowest, then the pairs k <= k' (row by row) of the combined index k = channel * n_max + n.
"""

import itertools

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from scipy.special import sph_harm_y

Y_00 = 1.0 / np.sqrt(4.0 * np.pi)


def image_shifts(atoms: Atoms, cutoff: float, points: np.ndarray) -> np.ndarray:
    """Lattice translations (n_images, 3) that can bring an atom within the cutoff of a point."""
    cell = atoms.cell.complete().array
    inverse = np.linalg.inv(cell)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    fractional = np.concatenate([atoms.positions, points]) @ inverse
    spread = np.ptp(fractional, axis=0)
    ranges = []
    for axis in range(3):
        reach = int(np.ceil(cutoff / heights[axis] + spread[axis])) + 1 if atoms.pbc[axis] else 0
        ranges.append(range(-reach, reach + 1))
    return np.array(list(itertools.product(*ranges))) @ cell


def neighbors_of_point(atoms: Atoms, cutoff: float, point: np.ndarray, center: int | None):
    """Return (index, vector) of all atoms and images within the cutoff; ``center`` itself is left out."""
    shifts = image_shifts(atoms, cutoff, point[None])
    vectors = atoms.positions[None] + shifts[:, None] - point
    distances = np.linalg.norm(vectors, axis=2)
    inside = (distances < cutoff) & (distances > 1e-10)
    if center is not None:
        inside[(np.abs(shifts).sum(axis=1) == 0), center] = False
    image, index = np.nonzero(inside)
    return index, vectors[image, index]


def real_harmonics(l_max: int, directions: np.ndarray) -> np.ndarray:
    """Orthonormal real spherical harmonics (n, (l_max+1)^2); a zero direction has l = 0 only."""
    x, y, z = directions.T
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    columns = []
    for l in range(l_max + 1):
        for m in range(-l, l + 1):
            value = sph_harm_y(l, abs(m), theta, phi)
            part = value.real if m >= 0 else value.imag
            columns.append(part * (1.0 if m == 0 else np.sqrt(2.0)))
    harmonics = np.stack(columns, axis=1)
    harmonics[np.linalg.norm(directions, axis=1) == 0.0, 1:] = 0.0
    return harmonics


def oracle_density(
    atoms, basis, cutoff_function, scaling, species, central_weight, centers=None, points=None, mixing=None
) -> np.ndarray:
    """Density coefficients (n_centers, n_channels, n_max, (l_max+1)^2)."""
    numbers = [atomic_numbers[symbol] for symbol in species]
    mixing = np.eye(len(numbers)) if mixing is None else np.asarray(mixing, float)
    n_lm = (basis.l_max + 1) ** 2
    degree_of_lm = np.repeat(np.arange(basis.l_max + 1), 2 * np.arange(basis.l_max + 1) + 1)
    if points is None:
        indices = range(len(atoms)) if centers is None else [int(i) for i in centers]
        sites = [(atoms.positions[i], i) for i in indices]
    else:
        sites = [(np.asarray(point, float), None) for point in points]
    density = np.zeros((len(sites), len(numbers), basis.n_max, n_lm))
    for site, (point, center) in enumerate(sites):
        index, vectors = neighbors_of_point(atoms, cutoff_function.cutoff, point, center)
        r = np.linalg.norm(vectors, axis=1)
        weight = cutoff_function.values(r) * scaling.values(r)
        radial = basis.values(r) * weight[:, None, None]
        harmonics = real_harmonics(basis.l_max, vectors)
        for s, number in enumerate(numbers):
            chosen = atoms.numbers[index] == number
            density[site, s] = np.einsum(
                "pan,pa->na", radial[chosen][:, degree_of_lm], harmonics[chosen], optimize=True
            )
            if center is not None and atoms.numbers[center] == number:
                density[site, s, :, 0] += central_weight * basis.center() * Y_00
    return np.einsum("isna,sq->iqna", density, mixing)


def oracle_power_spectrum(density: np.ndarray, normalize: bool) -> np.ndarray:
    """Power spectrum (n_centers, n_features) of the density coefficients, in Castile's order."""
    n_centers, n_channels, n_max, n_lm = density.shape
    l_max = round(np.sqrt(n_lm)) - 1
    combined = density.reshape(n_centers, n_channels * n_max, n_lm)
    row, column = np.triu_indices(n_channels * n_max)
    weight = np.where(row == column, 1.0, np.sqrt(2.0))
    features = []
    for l in range(l_max + 1):
        c = combined[:, :, l * l : (l + 1) ** 2]
        products = np.einsum("ikm,ijm->ikj", c, c) / np.sqrt(2 * l + 1)
        features.append(products[:, row, column] * weight)
    spectrum = np.concatenate(features, axis=1)
    if normalize:
        norm = np.linalg.norm(spectrum, axis=1, keepdims=True)
        spectrum = spectrum / np.where(norm > 0.0, norm, 1.0)
    return spectrum


def oracle_soap(
    atoms,
    basis,
    cutoff_function,
    scaling,
    species,
    normalize,
    central_weight,
    centers=None,
    points=None,
    mixing=None,
) -> np.ndarray:
    """SOAP (n_centers, n_features) around atoms (``centers``: indices, default all) or ``points`` (n, 3).

    ``species``: element symbols in channel order; ``mixing`` (n_species, n_channels): how much an element
    adds to each channel, default one channel per element.
    """
    density = oracle_density(
        atoms, basis, cutoff_function, scaling, species, central_weight, centers, points, mixing
    )
    return oracle_power_spectrum(density, normalize)
