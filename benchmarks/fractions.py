"""Fractions of labels with the interval that their number leaves."""

from dataclasses import dataclass
from math import sqrt

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Fraction:
    """A fraction of labels, and the 95 % interval of the fraction that many more labels would have."""

    fraction: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.fraction:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def wilson(fraction: float, n: float) -> Fraction:
    """Return Wilson's 95 % interval of a fraction of n independent labels.

    Source: Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    z = NORMAL_95
    center = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2))
    return Fraction(fraction, max(center - half, 0.0), min(center + half, 1.0))
