"""SOAP of whole structures: mean power spectra, one density channel per element or a few shared ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.base import element_codes as codes_of_atoms
from castile.descriptors.soap import SOAP
from castile.errors import InputError
from castile.properties.descriptor import Float64Array, Seen, StructureDescriptor
from castile.splits.settings import element_codes

MOST_FEATURES = 100_000


class SOAPVectors(StructureDescriptor):
    r"""Mean power spectrum of a structure; of each atom for targets that are sums over atoms.

    .. math:: \bar p = p\Bigl(\tfrac1N \sum_i c_i\Bigr) \text{ (inner)} \quad\text{or}\quad
              \tfrac1N \sum_i p(c_i) \text{ (outer)}

    Parameters
    ----------
    cutoff, n_max, l_max, sigma
        As for :class:`castile.SOAP`, Angstrom.
    average : "inner" or "outer"
        Power spectrum of the mean density, or mean of the power spectra.
    channels : int, optional
        Density channels that the elements share; None gives each element its own.
    mixing : "chemical" or "coded"
        Similar elements share channels (Willatt et al., 2018), or each element has a unit vector far from
        those of all others.
    normalize : bool
        Whether power spectra have unit length; without, the number of neighbours counts too, which energies
        at different densities need.
    """

    kind: ClassVar[str] = "soap"
    describes_atoms: ClassVar[bool] = True
    uses_threads: ClassVar[bool] = True

    def __init__(
        self,
        cutoff: float = 5.0,
        n_max: int = 6,
        l_max: int = 4,
        sigma: float = 0.5,
        average: Literal["inner", "outer"] = "outer",
        channels: int | None = None,
        mixing: Literal["chemical", "coded"] = "chemical",
        normalize: bool = False,
    ) -> None:
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.average = average
        self.channels = channels
        self.mixing = mixing
        self.normalize = normalize

    def _settle(self, seen: Seen) -> None:
        if self.average not in ("inner", "outer"):
            raise InputError(f"average = {self.average!r}: give 'inner' or 'outer'")
        if self.mixing not in ("chemical", "coded"):
            raise InputError(f"mixing = {self.mixing!r}: give 'chemical' or 'coded'")
        n_channels = len(seen.species) if self.channels is None else self.channels
        width = n_channels * self.n_max
        n_features = (self.l_max + 1) * width * (width + 1) // 2
        if n_features > MOST_FEATURES:
            raise InputError(
                f"soap: {n_channels} channels with n_max = {self.n_max}, l_max = {self.l_max} make "
                f"{n_features:,} features for each structure; give channels=6 or so, or a smaller n_max"
            )
        channels: Any = self.channels
        if channels is not None and self.mixing == "coded":
            channels = element_codes(tuple(_symbols(seen.species)), channels)
        self._mean = self._soap(seen, channels, self.average)
        self._each = self._soap(seen, channels, None)

    def _soap(self, seen: Seen, channels: Any, average: Literal["inner", "outer"] | None) -> SOAP:
        return SOAP(
            self.cutoff, self.n_max, self.l_max, self.sigma,
            species=seen.species, channels=channels, average=average, normalize=self.normalize, threads=1,
        ).fit()  # fmt: skip

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return names such as ``l2 Si:0 Si:3``."""
        return self._mean.get_feature_names_out()

    def _row(self, atoms: Atoms) -> Float64Array:
        return np.asarray(self._mean.transform(atoms)[0])

    def _rows(self, listed: Sequence[Atoms]) -> Float64Array:
        return np.asarray(self._mean.transform(list(listed)))

    def _atom_rows(self, atoms: Atoms) -> Float64Array:
        codes_of_atoms(atoms, self.seen_.species, "structure 0")
        return np.asarray(self._each.transform(atoms))


def _symbols(species: Sequence[int]) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in species]
