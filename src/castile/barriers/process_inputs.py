"""What a process of a barrier model works on: its inputs, its hyper-parameters, and their prior."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from castile.barriers.channel_mixing import FIXED, mixed

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """Rows of standardized numbers (n, d) and of SOAP vectors (n, n_blocks, m).

    ``channels`` (m, 2) names the density channels of each component, where their weights are learned.
    """

    numbers: Float64Array
    vectors: Float64Array
    channels: NDArray[np.int64] = field(default_factory=lambda: FIXED)

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def sizes(self) -> Float64Array:
        """Squared norms of the vectors, (n, n_blocks)."""
        return np.asarray(np.einsum("ibm,ibm->ib", self.vectors, self.vectors))

    def take(self, rows: NDArray[np.int64]) -> Inputs:
        """Return some of the rows."""
        return Inputs(self.numbers[rows], self.vectors[rows], self.channels)

    @property
    def n_channels(self) -> int:
        """Number of channels whose weights are learned."""
        return int(self.channels.max(initial=-1)) + 1

    def mixed(self, parameters: HyperParameters) -> Inputs:
        """Return the inputs with the learned weights of the channels in their vectors."""
        if not len(self.channels):
            return self
        return Inputs(self.numbers, mixed(self.vectors, self.channels, parameters.mixing))


@dataclass(frozen=True)
class HyperParameters:
    """What the evidence decides, as logarithms.

    Attributes
    ----------
    lengths : ndarray, shape (d,)
        Of the numbers.
    distances : ndarray, shape (n_blocks,)
        Of the SOAP distances.
    mixing : ndarray, shape (n_channels,)
        Weights of the density channels; empty where they are fixed.
    amplitude, noise, slope : float
        Standard deviations of the stationary part, the noise and the linear part.
    """

    lengths: Float64Array
    distances: Float64Array
    mixing: Float64Array
    amplitude: float
    noise: float
    slope: float

    def pack(self) -> Float64Array:
        """All in one vector."""
        scales = [self.amplitude, self.noise, self.slope]
        return np.concatenate([self.lengths, self.distances, self.mixing, scales])

    @classmethod
    def unpack(cls, vector: Float64Array, inputs: Inputs) -> HyperParameters:
        """Inverse of ``pack`` for inputs of this shape."""
        first = inputs.numbers.shape[1]
        second = first + inputs.vectors.shape[1]
        amplitude, noise, slope = (float(value) for value in vector[-3:])
        parts = vector[:first].copy(), vector[first:second].copy(), vector[second:-3].copy()
        return cls(*parts, amplitude, noise, slope)


@dataclass(frozen=True)
class Prior:
    """Normal prior of the logarithms: mean (n,) and standard deviation (n,)."""

    mean: Float64Array
    deviation: Float64Array

    @classmethod
    def default(cls, n_numbers: int, n_blocks: int, n_channels: int = 0) -> Prior:
        """Lengths that grow with the number of inputs, so that no input matters before the data say so."""
        lengths = np.full(n_numbers, np.log(1.5 * np.sqrt(max(n_numbers, 1))))
        distances = np.full(n_blocks, 0.5 * np.log(max(n_blocks, 1)))
        mean = np.concatenate([lengths, distances, np.zeros(n_channels), np.log([0.6, 0.3, 0.3])])
        deviation = np.concatenate([np.full(n_numbers + n_blocks + n_channels, 0.5), [1.0, 0.7, 1.0]])
        return cls(mean, deviation)
