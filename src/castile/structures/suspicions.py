"""Labels that can be fitted but look wrong (units, signs, contradictions): reported, never raised."""

from dataclasses import dataclass

import numpy as np

ENERGY_SPREAD = 50.0  # eV/atom within one composition
LARGE_FORCE = 100.0  # eV/A
LARGE_STRESS = 5.0  # eV/A^3, about 800 GPa
_EV_PER_A3_IN_GPA = 160.21766


class PressureTrend:
    """Correlation of the mean stress with the volume per atom, accumulated.

    A crystal that is expanded is under tension, so with ASE's sign the stress grows with the volume; a
    clearly negative correlation over a wide range of volumes means that the sign is reversed.
    """

    MIN_STRUCTURES = 5
    MIN_VOLUME_RATIO = 1.1

    def __init__(self) -> None:
        self._n = 0
        self._sums = np.zeros(5)
        self._smallest, self._largest = np.inf, 0.0

    def add(self, volume: float, stress: float) -> None:
        """Count a fully periodic structure: A^3/atom, mean of xx yy zz in eV/A^3."""
        x = np.log(volume)
        self._n += 1
        self._sums += (x, stress, x * x, x * stress, stress * stress)
        self._smallest, self._largest = min(self._smallest, volume), max(self._largest, volume)

    def correlation(self) -> float:
        """Correlation coefficient; 0 where the volumes hardly differ."""
        if self._n < self.MIN_STRUCTURES or self._largest < self.MIN_VOLUME_RATIO * self._smallest:
            return 0.0
        x, y, xx, xy, yy = self._sums / self._n
        scale = np.sqrt(max(xx - x * x, 0.0) * max(yy - y * y, 0.0))
        return float((xy - x * y) / scale) if scale > 0.0 else 0.0


@dataclass(frozen=True)
class Suspicions:
    """The figures of a census that warnings are made from."""

    energy_spread: float
    force: float
    force_at: str
    stress: float
    stress_at: str
    pressure_trend: float
    n_contradicting: int
    several_states: tuple[tuple[str, str], ...]
    ignored: tuple[tuple[str, int], ...]

    def warnings(self) -> tuple[str, ...]:
        """One sentence for each thing that looks wrong."""
        found = []
        if self.energy_spread > ENERGY_SPREAD:
            found.append(
                f"energies of one composition spread over {self.energy_spread:.4g} eV/atom: are they in eV, "
                "and of one reference method?"
            )
        if self.force > LARGE_FORCE:
            found.append(
                f"largest force is {self.force:.4g} eV/A ({self.force_at}): are forces in eV/A (1 kcal/mol/A "
                "= 0.0434 eV/A, 1 Ha/bohr = 51.4 eV/A), and is this structure meant?"
            )
        if self.stress > LARGE_STRESS:
            found.append(
                f"largest stress is {self.stress:.4g} eV/A^3 = {self.stress * _EV_PER_A3_IN_GPA:.4g} GPa "
                f"({self.stress_at}): is it in eV/A^3, not GPa or kbar?"
            )
        if self.pressure_trend < -0.7:
            found.append(
                f"stress falls as the volume grows (correlation {self.pressure_trend:.2f}): the sign of the "
                "stress or virial is probably reversed (a compressed cell has negative ASE stress and "
                "positive virial)"
            )
        if self.n_contradicting:
            found.append(
                f"{self.n_contradicting} structures repeat an earlier geometry with an energy that differs "
                "by more than 1 meV/atom: are the data of one reference method?"
            )
        found += [
            f"structures differ in {key!r} ({example}), which the model does not see: their energies are not "
            "those of one potential, so fit each state by itself"
            for key, example in self.several_states
        ]
        found += [f"not used in {count} structures: {what}" for what, count in self.ignored]
        return tuple(found)
