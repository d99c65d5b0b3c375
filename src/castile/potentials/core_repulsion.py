"""Screened repulsion of nuclei: what keeps atoms apart where no data were."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError

COULOMB_CONSTANT = 14.399645
"""e^2 / (4 pi epsilon_0), eV Angstrom."""
SCREENING_LENGTH = 0.46850
"""0.8854 Bohr radii, Angstrom."""
SCREENING_WEIGHTS = (0.18175, 0.50986, 0.28022, 0.02817)
SCREENING_RATES = (3.19980, 0.94229, 0.40290, 0.20162)

INNER_FRACTION = 0.5
OUTER_FRACTION = 0.9


def zbl(
    r: ArrayLike, number_1: ArrayLike, number_2: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Universal screened repulsion of two nuclei and its derivative.

    .. math::

        V(r) = \frac{e^2}{4\pi\epsilon_0} \frac{Z_1 Z_2}{r} \sum_k w_k e^{-b_k r / a}, \qquad
        a = \frac{0.46850}{Z_1^{0.23} + Z_2^{0.23}}

    Parameters
    ----------
    r : array_like, shape (n_pairs,)
        Distances, above zero, Angstrom.
    number_1, number_2 : array_like, shape (n_pairs,) or scalar
        Atomic numbers.

    Returns
    -------
    tuple of ndarray, shape (n_pairs,)
        V in eV and dV/dr in eV/Angstrom.

    Notes
    -----
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985), chapter 2, with
    the five-digit constants that LAMMPS uses; the weights add up to 1.
    """
    r = np.asarray(r, dtype=np.float64)
    z_1, z_2 = np.asarray(number_1, dtype=np.float64), np.asarray(number_2, dtype=np.float64)
    inverse_length = (z_1**0.23 + z_2**0.23) / SCREENING_LENGTH
    screening, slope = np.zeros(r.shape), np.zeros(r.shape)
    for weight, rate in zip(SCREENING_WEIGHTS, SCREENING_RATES, strict=True):
        term = weight * np.exp(-rate * inverse_length * r)
        screening += term
        slope -= rate * inverse_length * term
    bare = COULOMB_CONSTANT * z_1 * z_2 / r
    return bare * screening, bare * (slope - screening / r)


def pair_count(species: Sequence[str]) -> int:
    """Return the number of unordered element pairs, equal ones included."""
    return len(species) * (len(species) + 1) // 2


def default_switch_radii(
    min_distances: ArrayLike, species: Sequence[str] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Switching radii from the shortest distances in the data.

    .. math:: r_{inner} = 0.5\, d, \qquad r_{outer} = 0.9\, d

    where d is the shortest distance of the element pair in the data, at most the sum of the two covalent
    radii. The repulsion is then zero wherever there were data (the fitted terms rule there alone) and rises
    right below, where the fitted terms extrapolate. The margin of a tenth keeps it out of the way of slightly
    shorter distances; at 0.7 d a Si pair with d = 2.1 A already feels 5 eV.

    Parameters
    ----------
    min_distances : array_like, shape (n_pairs,)
        Shortest distance of each unordered element pair, Angstrom, in the order of
        ``itertools.combinations_with_replacement(species, 2)``; infinite for a pair that never met.
    species : sequence of str, optional
        Elements; gives the covalent radii that limit d and stand in for pairs that never met.

    Returns
    -------
    tuple of ndarray, shape (n_pairs,)
        Inner and outer radii, Angstrom.

    Raises
    ------
    InputError
        If a distance is not positive, or infinite without ``species``, or the number of pairs is wrong.
    """
    shortest = np.array(min_distances, dtype=np.float64)
    if species is not None:
        if shortest.shape != (pair_count(species),):
            raise InputError(
                f"min_distances has shape {shortest.shape}; species {tuple(species)} "
                f"make {pair_count(species)} pairs"
            )
        radii = [covalent_radii[atomic_numbers[symbol]] for symbol in species]
        sums = np.array([a + b for a, b in combinations_with_replacement(radii, 2)])
        shortest = np.minimum(np.where(np.isnan(shortest), np.inf, shortest), sums)
    if not (np.isfinite(shortest).all() and (shortest > 0).all()):
        raise InputError(
            f"shortest distances {shortest.tolist()} A must be positive and finite; pass species to use "
            "covalent radii for pairs that never met"
        )
    return INNER_FRACTION * shortest, OUTER_FRACTION * shortest


@dataclass(frozen=True)
class CoreRepulsion:
    r"""ZBL repulsion, switched off between two radii per element pair.

    .. math:: v(r) = S(t)\, V(r), \quad S(t) = 1 - 10 t^3 + 15 t^4 - 6 t^5, \quad
              t = \frac{r - r_{inner}}{r_{outer} - r_{inner}}

    with S = 1 below the inner and 0 beyond the outer radius; energy, force and force constant are continuous.

    Parameters
    ----------
    species : sequence of str
        Elements.
    inner, outer : sequence of float, length n_pairs
        Switching radii, Angstrom, in the order of ``itertools.combinations_with_replacement(species, 2)``.

    Raises
    ------
    InputError
        If an element is unknown or repeated, or the radii are not 0 < inner < outer.
    """

    species: tuple[str, ...]
    inner: tuple[float, ...]
    outer: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", tuple(self.species))
        for name in ("inner", "outer"):
            object.__setattr__(self, name, tuple(float(radius) for radius in getattr(self, name)))
        unknown = [symbol for symbol in self.species if symbol not in atomic_numbers or symbol == "X"]
        if unknown or not self.species or len(set(self.species)) < len(self.species):
            raise InputError(f"species = {self.species} must be different chemical symbols, at least one")
        expected = pair_count(self.species)
        if not len(self.inner) == len(self.outer) == expected:
            raise InputError(
                f"{len(self.inner)} inner and {len(self.outer)} outer radii were given; species "
                f"{self.species} make {expected} pairs"
            )
        for pair, inner, outer in zip(self.pairs, self.inner, self.outer, strict=True):
            if not (np.isfinite(outer) and 0 < inner < outer):
                raise InputError(
                    f"switching radii of {'-'.join(pair)} are inner = {inner} A and outer = {outer} A; "
                    "they must satisfy 0 < inner < outer"
                )

    @classmethod
    def from_min_distances(cls, species: Sequence[str], min_distances: ArrayLike) -> "CoreRepulsion":
        """Return the repulsion with `default_switch_radii` of the given shortest distances."""
        inner, outer = default_switch_radii(min_distances, species)
        return cls(tuple(species), tuple(inner.tolist()), tuple(outer.tolist()))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Unordered element pairs in the order of the radii."""
        return tuple(combinations_with_replacement(self.species, 2))

    @property
    def cutoff(self) -> float:
        """Largest outer radius, Angstrom."""
        return max(self.outer)

    def pair_energy(
        self, r: ArrayLike, number_1: ArrayLike, number_2: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energy of each pair and its derivative with respect to the distance.

        Parameters
        ----------
        r : array_like, shape (n_pairs,)
            Distances, above zero, Angstrom.
        number_1, number_2 : array_like, shape (n_pairs,)
            Atomic numbers of the two atoms.

        Returns
        -------
        tuple of ndarray, shape (n_pairs,)
            v in eV (of the whole pair) and dv/dr in eV/Angstrom.

        Raises
        ------
        InputError
            If an atom's element is not among ``species``.
        """
        r = np.asarray(r, dtype=np.float64)
        number_1 = np.broadcast_to(np.asarray(number_1, dtype=np.int64), r.shape)
        number_2 = np.broadcast_to(np.asarray(number_2, dtype=np.int64), r.shape)
        pair = self._pair_index(number_1, number_2)
        inner, outer = np.array(self.inner)[pair], np.array(self.outer)[pair]
        energy, slope = np.zeros(r.shape), np.zeros(r.shape)
        near = r < outer
        width = outer[near] - inner[near]
        t = np.clip((r[near] - inner[near]) / width, 0.0, 1.0)
        s = 1.0 - t
        switch = s**3 * (10.0 + s * (-15.0 + 6.0 * s))
        switch_slope = -30.0 / width * (t * s) ** 2
        bare, bare_slope = zbl(r[near], number_1[near], number_2[near])
        energy[near] = switch * bare
        slope[near] = switch * bare_slope + switch_slope * bare
        return energy, slope

    def _pair_index(self, number_1: NDArray[np.int64], number_2: NDArray[np.int64]) -> NDArray[np.int64]:
        n_species = len(self.species)
        element = np.full(len(covalent_radii), -1, dtype=np.int64)
        element[[atomic_numbers[symbol] for symbol in self.species]] = np.arange(n_species)
        first, second = element[number_1], element[number_2]
        low, high = np.minimum(first, second), np.maximum(first, second)
        if (low < 0).any():
            missing = sorted({int(z) for z in np.concatenate([number_1[first < 0], number_2[second < 0]])})
            raise InputError(
                f"atomic numbers {missing} are not among the species {self.species} of this repulsion"
            )
        return low * n_species - low * (low - 1) // 2 + high - low
