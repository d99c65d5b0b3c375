"""Variants of QUIP's power spectrum: which pairs of combined density channels it keeps."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from castile.errors import InputError
from castile.formats.quip_strings import ParameterString

Array = NDArray[np.float64]
Groups = tuple[tuple[int, ...], ...]
SUMMED = -1
"""Radial index of a channel that is a sum over all radial functions."""


@dataclass(frozen=True)
class _Channels:
    """Combinations of the channels (species, n), one row each, and the radial index of each."""

    matrix: Array
    radial: tuple[int, ...]


@dataclass(frozen=True)
class SpectrumRule:
    r"""Linear map from the full power spectrum to a variant.

    Two sets of channels A, B are sums of the channels (species, n) of the density, and the components are

    .. math:: x_{abl} = \frac{1}{\sqrt{2l+1}} \sum_m A_{alm} B^*_{blm}

    for all a, b, or where both sets are the same and nothing else is said, for b <= a with a factor
    :math:`\sqrt 2` off the diagonal.

    Parameters
    ----------
    radial_order, species_order : int
        ``nu_R`` and ``nu_S``: 2 keeps radial index (species) in both sets, 1 in the first, 0 in none.
    diagonal : bool
        ``diagonal_radial``: only pairs of equal radial index.
    coupled : bool
        ``coupling``; without it only a = b.
    groups : pair of groups of atomic numbers, or None
        ``Z_map``: species that are summed, for each set.
    two_sets : bool
        Whether ``Z_map`` gives a second set.

    Source: the ``soap`` descriptor of QUIP; Darby, Kermode, Csanyi, npj Comput. Mater. 8, 166 (2022).
    """

    radial_order: int = 2
    species_order: int = 2
    diagonal: bool = False
    coupled: bool = True
    groups: tuple[Groups, Groups] | None = None
    two_sets: bool = False

    @classmethod
    def of(cls, string: ParameterString) -> "SpectrumRule":
        """Return the rule of a descriptor string.

        Raises
        ------
        InputError
            For combinations that QUIP has no meaning for.
        """
        orders = string.whole("nu_R", 2), string.whole("nu_S", 2)
        if not set(orders) <= {0, 1, 2}:
            raise InputError(f"nu_R={orders[0]}, nu_S={orders[1]} must be 0, 1 or 2 in '{string.text}'")
        text = string.text_of("Z_map", "")
        if text and orders != (2, 2):
            raise InputError("the soap options Z_map and nu_R or nu_S together are not supported")
        groups = _parse_groups(text) if text else None
        return cls(
            *orders,
            string.flag("diagonal_radial", False),
            string.flag("coupling", True),
            groups,
            ":" in text,
        )

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out or summed."""
        return self == SpectrumRule()

    def matrix(self, species: tuple[int, ...], n_max: int, l_max: int) -> csr_matrix:
        """Return the map from Castile's full spectrum (l, k, k') to QUIP's order of the variant.

        Raises
        ------
        InputError
            If sets of different size are to be coupled element by element.
        """
        first, second = self._sets(species, n_max)
        pairs = self._pairs(first, second)
        rows, columns, values = [], [], []
        combined = len(species) * n_max
        for row, (a, b) in enumerate(pairs):
            factor = np.sqrt(2.0) if self._symmetric and self.coupled and a != b else 1.0
            for k, other in product(np.flatnonzero(first.matrix[a]), np.flatnonzero(second.matrix[b])):
                low, high = sorted((int(k), int(other)))
                rows.append(row)
                columns.append(low * (2 * combined - low - 1) // 2 + high)
                values.append(factor / (np.sqrt(2.0) if low != high else 1.0))
        return _for_all_degrees(
            np.array(rows), np.array(columns), np.array(values), len(pairs), combined, l_max
        )

    @property
    def _symmetric(self) -> bool:
        return 1 not in (self.radial_order, self.species_order) and not self.two_sets

    def _sets(self, species: tuple[int, ...], n_max: int) -> tuple[_Channels, _Channels]:
        sets = []
        for index in (0, 1):
            if self.groups is not None:
                members = [
                    np.isin(species, group).astype(float)
                    for group in self.groups[index if self.two_sets else 0]
                ]
            elif self.species_order > index:
                members = list(np.eye(len(species)))
            else:
                members = [np.ones(len(species))]
            keeps = self.radial_order > index
            radial = list(np.eye(n_max)) if keeps else [np.ones(n_max)]
            matrix = np.array([np.outer(s, n).ravel() for s in members for n in radial])
            labels = tuple(range(n_max)) if keeps else (SUMMED,)
            sets.append(_Channels(matrix, labels * len(members)))
        return sets[0], sets[1]

    def _pairs(self, first: _Channels, second: _Channels) -> list[tuple[int, int]]:
        n_first, n_second = len(first.matrix), len(second.matrix)
        if not self.coupled:
            if n_first != n_second:
                raise InputError("coupling=F needs two sets of channels of the same size")
            return [(a, a) for a in range(n_first)]
        if self._symmetric:
            pairs = [(a, b) for a in range(n_first) for b in range(a + 1)]
        else:
            pairs = list(product(range(n_first), range(n_second)))
        return [(a, b) for a, b in pairs if not self.diagonal or first.radial[a] == second.radial[b]]


def _for_all_degrees(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: Array,
    n_pairs: int,
    combined: int,
    l_max: int,
) -> csr_matrix:
    """Return the map of one degree for all: l is slow in Castile's spectrum and fast in QUIP's."""
    degrees = np.arange(l_max + 1)[:, None]
    per_degree = combined * (combined + 1) // 2
    all_rows = (rows * (l_max + 1) + degrees).ravel()
    all_columns = (columns + degrees * per_degree).ravel()
    shape = (n_pairs * (l_max + 1), per_degree * (l_max + 1))
    return csr_matrix(coo_matrix((np.tile(values, l_max + 1), (all_rows, all_columns)), shape=shape))


def _parse_groups(text: str) -> tuple[Groups, Groups]:
    parts = text.split(":")
    if len(parts) > 2:
        raise InputError(f"Z_map={{{text}}} must have one set of groups, or two with a colon between")
    sets = []
    for part in parts:
        try:
            sets.append(tuple(tuple(int(word) for word in group.split()) for group in part.split(",")))
        except ValueError:
            raise InputError(f"Z_map={{{text}}} must consist of atomic numbers") from None
    return sets[0], sets[-1]
