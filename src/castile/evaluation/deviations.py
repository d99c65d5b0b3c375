"""How well standard deviations predict errors: coverage, miscalibration, likelihood, ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, ndtri
from scipy.stats import rankdata

from castile.potentials.intervals import normal_sizes

LEVELS = np.linspace(0.0, 1.0, 41)
"""Levels of the central intervals in the reliability diagram."""
LEAST_DEVIATION = 1e-12

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DeviationStatistics:
    r"""Standard deviations against the errors that were made, in the unit of the label.

    With z = error / deviation: coverage of the central interval of probability p is the fraction of
    :math:`|z| \le w(p)`, the half width that the calibration of the model has
    (:func:`castile.potentials.intervals.half_width`), which is :math:`\Phi^{-1}((1 + p) / 2)` for a normal
    distribution. Likelihood and CRPS are those of normal distributions with the deviations.

    Attributes:
        n: number of errors.
        coverage_68: fraction of errors within the interval of 68 %.
        coverage_95: fraction of errors within the interval of 95 %.
        miscalibration_area: mean over p of \|coverage(p) - p\|; 0 is perfect, 0.5 the worst.
        nll: mean negative log likelihood of the errors, log(sigma sqrt(2 pi)) + z^2 / 2, with sigma in the
            unit of the label.
        crps: mean continuous ranked probability score, in the unit of the label.
        spearman: rank correlation of deviation and absolute error; None where either does not vary.
        rms_deviation: root mean square deviation.
        rmse: root mean square error.
        coverage: fraction covered at each of ``LEVELS``.

    Source: Kuleshov, Fenner, Ermon, ICML (2018), arXiv:1807.00263 (calibration); Gneiting, Raftery, J. Am.
    Stat. Assoc. 102, 359 (2007), Eq. 20 (CRPS); Tran et al., Mach. Learn.: Sci. Technol. 1, 025006 (2020)
    (miscalibration area).

    """

    n: int
    coverage_68: float
    coverage_95: float
    miscalibration_area: float
    nll: float
    crps: float
    spearman: float | None
    rms_deviation: float
    rmse: float
    coverage: tuple[float, ...]


def deviation_statistics(
    errors: ArrayLike, deviations: ArrayLike, tail: float = 0.0
) -> DeviationStatistics | None:
    """Compare errors (n,) with the standard deviations (n,) that were predicted for them; None for none.

    ``tail`` is the exponent of the intervals.
    """
    e = np.asarray(errors, dtype=np.float64).ravel()
    sigma = np.maximum(np.asarray(deviations, dtype=np.float64).ravel(), LEAST_DEVIATION)
    if e.size == 0:
        return None
    z = e / sigma
    size = normal_sizes(z, tail)
    quantiles = ndtri(0.5 + 0.5 * LEVELS)
    coverage = np.searchsorted(np.sort(size), quantiles, side="right") / e.size
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    crps = sigma * (z * erf(z / np.sqrt(2.0)) + 2.0 * density - 1.0 / np.sqrt(np.pi))
    return DeviationStatistics(
        n=int(e.size),
        coverage_68=float(np.mean(size <= ndtri(0.84))),
        coverage_95=float(np.mean(size <= ndtri(0.975))),
        miscalibration_area=float(np.trapezoid(np.abs(coverage - LEVELS), LEVELS)),
        nll=float(np.mean(np.log(sigma) + 0.5 * np.log(2.0 * np.pi) + 0.5 * z**2)),
        crps=float(np.mean(crps)),
        spearman=rank_correlation(sigma, np.abs(e)),
        rms_deviation=float(np.sqrt(np.mean(sigma**2))),
        rmse=float(np.sqrt(np.mean(e**2))),
        coverage=tuple(float(value) for value in coverage),
    )


def rank_correlation(x: Array, y: Array) -> float | None:
    """Spearman's rank correlation; None where a rank does not vary."""
    ranks = [rankdata(values) - 0.5 * (len(values) + 1.0) for values in (x, y)]
    norms = [float(np.sqrt(rank @ rank)) for rank in ranks]
    if min(norms) == 0.0:
        return None
    return float(ranks[0] @ ranks[1] / (norms[0] * norms[1]))


@dataclass(frozen=True)
class DeviationReport:
    """Deviations of a model on labelled structures.

    Attributes:
        energy: of total energies divided by the number of atoms, eV/atom.
        force: of force components, eV/Angstrom; components that symmetry makes zero do not count.
        force_norm_spearman: rank correlation of the norms of deviation and error of the force on an atom.
        stress: of stress components, eV/Angstrom^3.
        mean_grade: mean extrapolation grade of the atoms.
        max_grade: largest extrapolation grade.
        meaning: what the deviations contain, in words.
        remarks: what the labels showed, such as stresses in a wrong order, whose shear does not count.

    """

    energy: DeviationStatistics | None
    force: DeviationStatistics | None
    force_norm_spearman: float | None
    stress: DeviationStatistics | None
    mean_grade: float
    max_grade: float
    meaning: str
    remarks: tuple[str, ...] = ()


def report_numbers(report: DeviationReport) -> dict[str, float | int]:
    """Flat numbers with units in the key names."""
    numbers: dict[str, float | int] = {}
    kinds = (
        ("energy", report.energy, "mev_per_atom", 1000.0),
        ("force", report.force, "ev_per_angstrom", 1.0),
        ("stress", report.stress, "gpa", 160.21766208),
    )
    for kind, found, unit, scale in kinds:
        if found is None:
            continue
        numbers[f"{kind}_coverage_68"] = found.coverage_68
        numbers[f"{kind}_coverage_95"] = found.coverage_95
        numbers[f"{kind}_miscalibration_area"] = found.miscalibration_area
        numbers[f"{kind}_nll_{unit}"] = found.nll + float(np.log(scale))
        numbers[f"{kind}_crps_{unit}"] = found.crps * scale
        numbers[f"{kind}_rms_deviation_{unit}"] = found.rms_deviation * scale
        if found.spearman is not None:
            numbers[f"{kind}_deviation_spearman"] = found.spearman
    if report.force_norm_spearman is not None:
        numbers["force_norm_deviation_spearman"] = report.force_norm_spearman
    numbers["mean_extrapolation_grade"] = report.mean_grade
    numbers["max_extrapolation_grade"] = report.max_grade
    return numbers
