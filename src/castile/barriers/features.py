"""Features of migration paths: named numbers, and SOAP at the ends, between and in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.barriers.path import MigrationPath
from castile.barriers.path_soap import PathSoap
from castile.barriers.physical_features import REACH, physical_features
from castile.barriers.surroundings import HostChemistry, host_chemistry, moving_ion, surroundings
from castile.errors import InputError

Float64Array = NDArray[np.float64]
N_POINTS = 5  # images 0 to 4: ends, quarters (between), middle
BLOCKS = ("ends", "quarters", "middle")
DESCRIPTORS = (PathSoap(), PathSoap("elements", cutoff=4.5, sigma=0.45))


@dataclass(frozen=True)
class PathFeatures:
    """Features of paths.

    Attributes
    ----------
    names : tuple of str
        Of the columns of ``physical``.
    physical : ndarray, shape (n_paths, n_names)
    soap : tuple of ndarray, shape (n_paths, 3, n_soap)
        Unit vectors of each descriptor: mean of the two ends, of the two quarters, and the middle.
    """

    names: tuple[str, ...]
    physical: Float64Array
    soap: tuple[Float64Array, ...]

    def __len__(self) -> int:
        return len(self.physical)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> PathFeatures:
        """Features of some of the paths."""
        return PathFeatures(self.names, self.physical[rows], tuple(blocks[rows] for blocks in self.soap))


class Featurizer:
    """Computes the features of one path after the other; hosts seen just before are not analysed again."""

    def __init__(self, descriptors: Sequence[PathSoap] = DESCRIPTORS) -> None:
        """Take the settings of each SOAP descriptor."""
        self.descriptors = tuple(descriptors)
        self._host: Atoms | None = None
        self._chemistry: HostChemistry | None = None

    def one(self, path: MigrationPath) -> PathFeatures:
        """Features of one path.

        Raises InputError when they are not finite, naming the path.
        """
        if self._chemistry is None or self._host is not path.host:
            self._host, self._chemistry = path.host, host_chemistry(path.host)
        chemistry, ion, points = self._chemistry, moving_ion(path), path.points(N_POINTS)
        around = surroundings(path, chemistry, points, REACH)
        if len(around.numbers) == 0:
            raise InputError(f"path {path.path_id}: there is no atom within {REACH} A of it")
        named = physical_features(path, chemistry, ion, around)
        blocks = tuple(
            symmetric(soap.along(ion, around, points, soap.scale(ion, around)))[None]
            for soap in self.descriptors
        )
        physical = np.array(list(named.values()))
        if not (np.isfinite(physical).all() and all(np.isfinite(block).all() for block in blocks)):
            bad = [name for name, value in named.items() if not np.isfinite(value)]
            raise InputError(
                f"path {path.path_id}: its features {bad} are not finite; check cell and positions"
            )
        return PathFeatures(tuple(named), physical[None], blocks)

    def many(self, paths: Iterable[MigrationPath]) -> PathFeatures:
        """Features of all paths."""
        return concatenate([self.one(path) for path in paths])


def concatenate(parts: Sequence[PathFeatures] | Iterator[PathFeatures]) -> PathFeatures:
    """All features in one table."""
    listed = list(parts)
    if not listed:
        raise InputError("there is no path; give at least one")
    return PathFeatures(
        listed[0].names,
        np.concatenate([part.physical for part in listed]),
        tuple(np.concatenate(blocks) for blocks in zip(*(part.soap for part in listed), strict=True)),
    )


def symmetric(spectra: Float64Array) -> Float64Array:
    """Mean of each point and its mirror image, of unit length: the same for the reversed path."""
    last = len(spectra) - 1
    blocks = np.stack([0.5 * (spectra[k] + spectra[last - k]) for k in range(last // 2 + 1)])
    norms = np.linalg.norm(blocks, axis=1, keepdims=True)
    return blocks / np.where(norms > 0.0, norms, 1.0)
