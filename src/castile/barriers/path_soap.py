"""SOAP of the moving ion's environment along the path, in channels that elements share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from castile.barriers.channel_mixing import channels_of_features
from castile.barriers.ions import electronegativity, ionic_radii
from castile.barriers.surroundings import Ion, Surroundings
from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.radial_bases import GTO
from castile.descriptors.radial_scaling import NoScaling
from castile.descriptors.soap_engine import SoapEngine
from castile.structures.neighbors import Pairs

Float64Array = NDArray[np.float64]
Channels = Literal["charges", "elements"]
N_CHANNELS = {"charges": 4, "elements": 5}
BOND_SCALE = 2.4  # Angstrom; bond length to which environments are scaled
_USUAL_ANION = 1.4  # Angstrom; where there is no anion
_NO_DIRECTION = 1e-4  # scaled Angstrom; nearer atoms are that far along each axis


@dataclass(frozen=True)
class PathSoap:
    """SOAP along a path, in units of the bond length of ion and anion.

    Lengths are divided by (r_ion + mean r_anion) / 2.4 Angstrom, so that a channel of the same shape looks
    the same to a small and a large ion; sizes enter the model by themselves. Density channels "charges":
    anions; cations that do not move, weighted by charge; ions of the moving kind; anions weighted by
    electronegativity. Channels "elements": all atoms; all weighted by electronegativity, by ionic radius,
    and by charge; ions of the moving kind.

    Attributes
    ----------
    channels : "charges" or "elements"
    cutoff : float
        Scaled Angstrom.
    n_max, l_max : int
    sigma : float
        Scaled Angstrom.
    """

    channels: Channels = "charges"
    cutoff: float = 4.0
    n_max: int = 5
    l_max: int = 4
    sigma: float = 0.4

    @property
    def n_features(self) -> int:
        """Length of one power spectrum."""
        combined = N_CHANNELS[self.channels] * self.n_max
        return (self.l_max + 1) * combined * (combined + 1) // 2

    def channels_of_features(self) -> NDArray[np.int64]:
        """Return the two density channels of each component of a power spectrum, (n_features, 2)."""
        return channels_of_features(N_CHANNELS[self.channels], self.n_max, self.l_max)

    def scale(self, ion: Ion, around: Surroundings) -> float:
        """Factor between Angstrom and scaled Angstrom."""
        anions = around.anions
        radius = around.radii[anions].mean() if anions.any() else _USUAL_ANION
        return float((ion.radius + radius) / BOND_SCALE)

    def along(self, ion: Ion, around: Surroundings, points: Float64Array, scale: float) -> Float64Array:
        """Power spectra of unit length at ``points`` (n, 3), which need not be atoms: (n, n_features).

        A point with nothing near has zeros.
        """
        vectors = (around.positions[None] - points[:, None]) / scale
        vectors[np.abs(vectors).max(axis=2) < _NO_DIRECTION] = _NO_DIRECTION  # a line may run through an atom
        squared = np.einsum("nja,nja->nj", vectors, vectors)
        center, neighbor = np.nonzero(squared < self.cutoff**2)
        kinds, first, codes = np.unique(
            np.stack([around.numbers, np.round(100 * around.charges)]).astype(np.int64),
            axis=1, return_index=True, return_inverse=True,
        )  # fmt: skip
        mixing = CHANNELS[self.channels](ion, around, first)
        n_points, n_kinds = len(points), kinds.shape[1]
        separate = _engine(self, n_kinds)
        pairs = Pairs.by_center(center, neighbor, vectors[center, neighbor], n_points, len(around.numbers))
        ordered = separate.sort(
            pairs, codes.reshape(-1).astype(np.int64), np.full(n_points, -1, dtype=np.int64)
        )
        density = separate.density(ordered, 0, n_points)
        density = density.reshape(n_points, (self.l_max + 1) ** 2, n_kinds, -1)
        mixed = np.ascontiguousarray(np.einsum("clkn,kq->clqn", density, mixing)).reshape(-1)
        features, norms = _engine(self, N_CHANNELS[self.channels]).power_spectrum(mixed, n_points)
        return np.where(norms[:, None] > 0.0, np.nan_to_num(features), 0.0)


def _charges(ion: Ion, around: Surroundings, chosen: NDArray[np.int64]) -> Float64Array:
    """Weights of the chosen atoms in the channels "charges", (n_chosen, 4)."""
    numbers, charges = around.numbers[chosen], around.charges[chosen]
    anion = charges < 0.0
    alike = (numbers == ion.number) & ~anion
    cation = ~anion & ~alike
    return np.stack(
        [anion, cation * charges / 3.0, alike, anion * (electronegativity(numbers) - 3.2) / 0.5], axis=1
    ).astype(np.float64)


def _elements(ion: Ion, around: Surroundings, chosen: NDArray[np.int64]) -> Float64Array:
    """Weights of the chosen atoms in the channels "elements", (n_chosen, 5)."""
    numbers, charges = around.numbers[chosen], around.charges[chosen]
    alike = (numbers == ion.number) & (charges >= 0.0)
    radii = ionic_radii(numbers, charges)
    columns = [
        np.ones(len(numbers)), electronegativity(numbers) - 2.2, (radii - 1.0) / 0.5, alike, charges / 3.0
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float64)


CHANNELS = {"charges": _charges, "elements": _elements}


@lru_cache(maxsize=64)
def _engine(soap: PathSoap, n_elements: int) -> SoapEngine:
    """Engine with as many separate elements."""
    return SoapEngine(
        GTO(soap.n_max, soap.l_max, soap.cutoff, soap.sigma),
        CosineCutoff(soap.cutoff, 0.2 * soap.cutoff),
        NoScaling(),
        np.eye(n_elements),
        np.zeros((n_elements, n_elements)),
    )
