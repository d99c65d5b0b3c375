"""A comparison of potentials as a table and sentences."""

from __future__ import annotations

from itertools import pairwise

from castile.comparison.potentials import PotentialComparison
from castile.evaluation.tables import ABSENT, Table, format_number

_ABOUT = 1.05
"""Force errors up to so many times the least one are as good as it: test sets say no more than that."""


def potential_table(comparison: PotentialComparison) -> Table:
    """One row per variant."""
    front = comparison.pareto_front()
    rows = []
    for variant in comparison.variants:
        energy = comparison.mean(variant, "energy_rmse")
        rows.append(
            (
                variant + (" *" if variant in front else ""),
                format_number(comparison.of(variant)[0].n_weights),
                format_number(1000.0 * comparison.mean(variant, "force_rmse")),
                ABSENT if energy < 0 else format_number(1000.0 * energy),
                format_number(comparison.mean(variant, "us_per_atom")),
                format_number(comparison.mean(variant, "fit_cpu_s")),
            )
        )
    first = comparison.points[0]
    columns = ("GAP", "weights", "force RMSE, meV/Å", "energy RMSE, meV/atom", "µs/atom", "fit, CPU s")
    return Table(
        columns,
        tuple(rows),
        f"Potentials: {first.n_train:,} training structures, {first.n_test:,} to test, {comparison.split}",
        "Processor time of energy, forces and stress. * no other is both faster and better in forces.",
    )


def potential_sentences(comparison: PotentialComparison) -> tuple[str, ...]:
    """What to use, what each step along the Pareto front buys, and what is not worth it."""
    front = comparison.pareto_front()
    sentences = [_recommendation(comparison, front)]
    for cheap, dear in pairwise(front):
        times = comparison.mean(dear, "us_per_atom") / comparison.mean(cheap, "us_per_atom")
        less = 1.0 - comparison.mean(dear, "force_rmse") / comparison.mean(cheap, "force_rmse")
        sentences.append(
            f"{dear} costs {times:.3g} times the time of {cheap} and has {100 * less:.2g} % smaller "
            "force errors."
        )
    beaten = [variant for variant in comparison.variants if variant not in front]
    if beaten:
        verb = "is" if len(beaten) == 1 else "are"
        sentences.append(f"Not worth their time here: {'; '.join(beaten)} {verb} beaten in both.")
    if comparison.note:
        sentences.append(comparison.note)
    return tuple(sentences)


def _recommendation(comparison: PotentialComparison, front: list[str]) -> str:
    """The fastest of those that are about as good as the best."""
    least = min(comparison.mean(variant, "force_rmse") for variant in front)
    good = [v for v in front if comparison.mean(v, "force_rmse") <= _ABOUT * least]
    used = good[0]
    error, cost = 1000.0 * comparison.mean(used, "force_rmse"), comparison.mean(used, "us_per_atom")
    what = f"force RMSE {format_number(error)} meV/Å at {format_number(cost)} µs/atom"
    if used == front[-1]:
        return f"Use {used}: {what}; the least error of all."
    return (
        f"Use {used}: {what}; the least error of all is {format_number(1000.0 * least)} meV/Å, {front[-1]}."
    )
