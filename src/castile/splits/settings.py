"""Which similarity a split or an audit goes by; what is not given comes from the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.base import species_numbers
from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.kernels.structure_kernels import StructureKernel, make_structure_kernel
from castile.potentials.defaults import CUTOFF_IN_BONDS, LONGEST_CUTOFF, SHORTEST_CUTOFF
from castile.potentials.survey import Survey, take_survey
from castile.splits.structure_table import StructureTable

MOST_OWN_CHANNELS = 4
CODE_CHANNELS = 6
_CANDIDATES = 400


@dataclass(frozen=True)
class SimilaritySettings:
    """Kernel between structures and the descriptor below it; None is chosen from the data.

    Parameters
    ----------
    kernel : str
        "best-match", "average-soap", "average", "rematch" or "largest".
    zeta : float
        Exponent of the environment kernel (of the kernel itself for "average-soap").
    gamma : float
        Weight of the entropy, for "rematch".
    cutoff : float, optional
        Radius of an environment, Angstrom. Default: 2.4 nearest-neighbour distances, from 5 to 7.5 A.
    n_max, l_max : int, optional
        Radial functions and largest angular channel. Default: 8 and 6; 6 and 4 from five elements on.
    sigma : float
        Width of the Gaussians, Angstrom.
    species : tuple of str, optional
        Elements; default: those of the data.
    channels : int, optional
        Density channels; 0 gives each element its own. Default: 0 for up to four elements, 6 coded ones
        for more.
    """

    kernel: str = "best-match"
    zeta: float = 1.0
    gamma: float = 0.02
    cutoff: float | None = None
    n_max: int | None = None
    l_max: int | None = None
    sigma: float = 0.5
    species: tuple[str, ...] | None = None
    channels: int | None = None

    def structure_kernel(self) -> StructureKernel:
        """Return the kernel.

        Raises
        ------
        InputError
            For an unknown kernel or an exponent out of range.
        """
        return make_structure_kernel(self.kernel, zeta=self.zeta, gamma=self.gamma)

    def descriptor(self) -> SOAP:
        """Return the descriptor, ready for use; all numbers must be filled in."""
        if None in (self.cutoff, self.n_max, self.l_max, self.species, self.channels):
            raise InputError("the settings of the similarity are not complete; use resolved(...) first")
        assert self.cutoff is not None
        assert self.n_max is not None
        assert self.l_max is not None
        assert self.species is not None
        codes = element_codes(self.species, self.channels) if self.channels else None
        soap = SOAP(
            self.cutoff, self.n_max, self.l_max, self.sigma, species=self.species, channels=codes, threads=1
        )
        return soap.fit()

    def resolved(self, table: StructureTable, survey: Survey | None = None) -> SimilaritySettings:
        """Return the settings with every number filled in from the data."""
        survey = take_survey(table.labelled()) if survey is None else survey
        many = len(survey.elements) > MOST_OWN_CHANNELS
        cutoff = float(np.clip(CUTOFF_IN_BONDS * survey.bond_length, SHORTEST_CUTOFF, LONGEST_CUTOFF))
        channels = (CODE_CHANNELS if many else 0) if self.channels is None else self.channels
        if channels < 0:
            raise InputError(f"channels = {channels}: give 0 (one per element) or a positive number")
        return replace(
            self,
            cutoff=round(cutoff, 2) if self.cutoff is None else self.cutoff,
            n_max=(6 if many else 8) if self.n_max is None else self.n_max,
            l_max=(4 if many else 6) if self.l_max is None else self.l_max,
            species=survey.symbols if self.species is None else self.species,
            channels=channels,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a manifest."""
        values = asdict(self)
        return values | {"species": None if self.species is None else list(self.species)}


def settings_from_dict(values: Mapping[str, Any]) -> SimilaritySettings:
    """Return the settings that `SimilaritySettings.to_dict` wrote.

    Raises
    ------
    InputError
        For a key that is missing or unknown.
    """
    known = {field.name for field in fields(SimilaritySettings)}
    if set(values) != known:
        raise InputError(
            f"settings of the similarity: expected the keys {sorted(known)}, found {sorted(values)}"
        )
    species = values["species"]
    return SimilaritySettings(**{**values, "species": None if species is None else tuple(species)})


def element_codes(species: tuple[str, ...], n_channels: int) -> NDArray[np.float64]:
    """Return unit vectors that tell the elements apart in a few density channels, (n_elements, n_channels).

    They are far from parallel to each other, whatever the chemistry, and depend on the element and the number
    of channels alone: each is the best of 400 random directions, in the order of the atomic numbers.
    """
    table = _codes(n_channels)
    return table[list(species_numbers(species))]


@cache
def _codes(n_channels: int) -> NDArray[np.float64]:
    """Codes of all elements, by atomic number."""
    n_elements = len(chemical_symbols)
    draws = 2 * n_elements * _CANDIDATES * n_channels
    raw = np.random.PCG64(1).random_raw(draws)  # bits of this generator never change between versions
    uniform = (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    first, second = uniform.reshape(2, -1)
    normal = np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)
    candidates = normal.reshape(n_elements, _CANDIDATES, n_channels)
    candidates /= np.linalg.norm(candidates, axis=2, keepdims=True)
    codes = np.zeros((n_elements, n_channels))
    codes[0] = candidates[0, 0]
    for z in range(1, n_elements):
        overlap = np.abs(candidates[z] @ codes[:z].T).max(axis=1)
        codes[z] = candidates[z, int(np.argmin(np.round(overlap, 9)))]
    return codes
