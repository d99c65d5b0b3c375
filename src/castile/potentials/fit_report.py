"""What a fit did: learned numbers, reasons, timings, memory."""

from dataclasses import dataclass

from castile.potentials.defaults import Explanation
from castile.structures.census import LabelCensus


@dataclass(frozen=True)
class LearnedNoise:
    """Noise of one kind of label and what its labels were worth.

    ``sigma`` is in ``unit``; ``training_rmse`` the root mean square misfit of the training labels in the same
    unit. A learned ``sigma`` is ``factor`` times that of the largest evidence (the setting
    ``noise.energy_factor`` for energies beside forces, else 1).
    """

    kind: str
    sigma: float
    unit: str
    learned: bool
    n_labels: int
    effective_parameters: float
    training_rmse: float
    factor: float = 1.0


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

    @property
    def seconds(self) -> float:
        """Wall time of all stages, s."""
        return sum(seconds for _, seconds in self.timings)

    @property
    def n_sparse(self) -> int:
        """Number of sparse points of all terms."""
        return sum(part.n_sparse for part in self.amplitudes)

    def noise(self, kind: str) -> LearnedNoise | None:
        """Return the noise of "energy", "forces", "stress" or "fixed"; None where there is no such label."""
        return next((noise for noise in self.noises if noise.kind == kind), None)

    def to_json_dict(self) -> dict[str, float | int | bool | str]:
        """Flat numbers with units in the key names; keys are on the page of ``castile fit``."""
        values: dict[str, float | int | bool | str] = {
            "n_structures": self.census.n_structures,
            "n_atoms": self.census.n_atoms,
            "n_sparse": self.n_sparse,
            "fit_time_s": self.seconds,
            "peak_memory_gb": self.peak_memory / 1e9,
            "estimated_memory_gb": self.estimated_memory / 1e9,
            "log_evidence": self.log_evidence,
            "training_data_sha256": self.census.data_hash,
        }
        for noise in self.noises:
            name, unit, scale = _JSON_UNITS[noise.kind]
            values[f"n_{name}_labels"] = noise.n_labels
            values[f"train_{name}_rmse_{unit}"] = noise.training_rmse * scale
            values[f"{name}_effective_parameters"] = noise.effective_parameters
            if noise.kind != "fixed":
                values[f"{name}_noise_{unit}"] = noise.sigma * scale
                values[f"{name}_noise_learned"] = noise.learned
                values[f"{name}_noise_factor"] = noise.factor
        for part in self.amplitudes:
            values[f"amplitude/{part.name}_ev"] = part.amplitude
            values[f"amplitude/{part.name}_n_sparse"] = part.n_sparse
        values |= {f"composition/{symbol}_ev": energy for symbol, energy in self.composition}
        values |= {f"seconds/{stage}": seconds for stage, seconds in self.timings}
        return values


_JSON_UNITS = {
    "energy": ("energy", "mev_per_root_atom", 1000.0),
    "forces": ("force", "ev_per_angstrom", 1.0),
    "stress": ("stress", "ev_per_angstrom3", 1.0),
    "fixed": ("fixed", "in_given_noise", 1.0),
}
