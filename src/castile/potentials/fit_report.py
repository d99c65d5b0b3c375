"""What a fit did: learned numbers, reasons, timings, memory."""

from dataclasses import dataclass

from castile.potentials.defaults import Explanation
from castile.structures.census import LabelCensus


@dataclass(frozen=True)
class LearnedNoise:
    """Noise of one kind of label and what its labels were worth.

    ``sigma`` is in ``unit``; ``training_rmse`` the root mean square misfit of the training labels in the same
    unit.
    """

    kind: str
    sigma: float
    unit: str
    learned: bool
    n_labels: int
    effective_parameters: float
    training_rmse: float


@dataclass(frozen=True)
class LearnedAmplitude:
    """Amplitude of one part of the prior (a term, or one element of it), eV, with its number of sparse
    points.
    """

    name: str
    amplitude: float
    learned: bool
    n_sparse: int
    jitter: float


@dataclass(frozen=True)
class FitReport:
    """Everything that a fit has to say about itself.

    ``timings`` are seconds per stage in order; ``estimated_memory`` and ``peak_memory`` bytes;
    ``composition`` pairs of symbol and eV with ``composition_source`` in words.
    """

    census: LabelCensus
    explanations: tuple[Explanation, ...]
    composition: tuple[tuple[str, float], ...]
    composition_source: str
    noises: tuple[LearnedNoise, ...]
    amplitudes: tuple[LearnedAmplitude, ...]
    n_columns: int
    log_evidence: float
    evidence_message: str
    timings: tuple[tuple[str, float], ...]
    estimated_memory: int
    peak_memory: int
