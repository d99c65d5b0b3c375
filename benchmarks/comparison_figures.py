"""Figures of the comparison, drawn from its flat numbers: curves, error against cost, budgets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Numbers = Mapping[str, Any]
_COST, _PREDICTION = "_cpu_s_per_structure", "_prediction_cpu_s_per_structure"
_HOUR, _MOST_CANDIDATES = 3600.0, 1e11


def draw_set(numbers: Numbers, scale: float, unit: str, path: Path) -> None:
    """Draw one set of properties.

    Parameters
    ----------
    numbers : mapping
        As :meth:`castile.comparison.Comparison.numbers` gives them.
    scale : float
        What errors are multiplied with for ``unit``.
    unit : str
    path : path
    """
    names = descriptor_names(numbers)
    split = numbers["judged_by"].replace("-", "_")
    with _Canvas(11.5, 3.6) as canvas:
        curves, pareto, budget = canvas.subplots(1, 3)
        colors = dict(zip(names, _colors(len(names)), strict=True))
        for name in names:
            _draw_curve(curves, numbers, name, split, scale, colors[name])
        curves.axhline(scale * numbers["error"], color="black", linestyle=":", linewidth=1.0)
        error = f"MAE ({unit})" if unit else "MAE"
        curves.set(
            xscale="log",
            yscale="log",
            xlabel="labels",
            ylabel=error,
            title=f"{numbers['judged_by']} test sets",
        )
        _draw_pareto(pareto, [(*_cost_and_error(numbers, n, split, scale), colors[n]) for n in names])
        pareto.set(xlabel="processor time per candidate (µs)", ylabel=error, title="error against cost")
        for name in names:
            _draw_budget(budget, numbers, name, split, colors[name])
        budget.axvline(numbers["n_candidates"], color="black", linestyle=":", linewidth=1.0)
        wanted = f"{scale * numbers['error']:.3g} {unit}".strip()
        budget.set(xscale="log", yscale="log", xlabel="candidates", ylabel="total budget (CPU hours)",
                   title=f"budget for {wanted}")  # fmt: skip
        _plain(curves, pareto, budget)
        canvas.legend(*curves.get_legend_handles_labels(), loc="outside right center", fontsize=7.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, dpi=130)


def draw_potentials(numbers: Numbers, path: Path) -> None:
    """Draw the force error of potentials against the time of a prediction."""
    ending = "_us_per_atom"
    names = [key.removesuffix(ending) for key in numbers if key.endswith(ending)]
    with _Canvas(7.6, 3.4) as canvas:
        axes = canvas.subplots()
        colors = _colors(len(names))
        points = [
            (numbers[f"{n}_us_per_atom"], 1000.0 * numbers[f"{n}_force_rmse_ev_per_a"], color)
            for n, color in zip(names, colors, strict=True)
        ]
        _draw_pareto(axes, points, [label_of(name) for name in names])
        axes.set(xlabel="processor time of energy and forces (µs/atom)", ylabel="force RMSE (meV/Å)")
        _plain(axes)
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, dpi=130)


def of_set(numbers: Numbers, name: str) -> dict[str, Any]:
    """Return the numbers of one set out of those of all."""
    return {
        key.removeprefix(f"{name}_"): value for key, value in numbers.items() if key.startswith(f"{name}_")
    }


def descriptor_names(numbers: Numbers) -> list[str]:
    """Return the names of the descriptors, as they stand in the keys."""
    return [
        key.removesuffix(_COST) for key in numbers if key.endswith(_COST) and not key.endswith(_PREDICTION)
    ]


def label_of(name: str) -> str:
    """Return a name as it is shown."""
    return name.replace("_", " ")


def curve_of(numbers: Numbers, name: str, split: str) -> list[tuple[int, float, float, float]]:
    """Return labels, mean error, smallest and largest over the seeds for every size, in rising order."""
    start = f"{name}_{split}_mae_at_"
    sizes = sorted(int(k.removeprefix(start)) for k in numbers if k.startswith(start) and k[-1].isdigit())
    return [(n, *(numbers[f"{start}{n}{end}"] for end in ("", "_low", "_high"))) for n in sizes]


def budget_of(numbers: Numbers, name: str, split: str, candidates: Any, side: str = "median") -> Any:
    """Return CPU hours for ``candidates``; None where the wanted error is not reached.

    The total at the number of candidates that was asked for is the measured one; from there it changes by the
    cost of descriptor and prediction, the latter as measured with the largest training set.
    """
    hours = numbers.get(f"{name}_{split}_budget_cpu_h_{side}")
    if hours is None:
        return None
    each = numbers[f"{name}{_COST}"] + numbers[f"{name}{_PREDICTION}"]
    return hours + (np.asarray(candidates) - numbers["n_candidates"]) * each / _HOUR


def _draw_curve(axes: Any, numbers: Numbers, name: str, split: str, scale: float, color: Any) -> None:
    sizes, means, lows, highs = np.array(curve_of(numbers, name, split)).T
    axes.plot(sizes, scale * means, "o-", color=color, label=label_of(name), markersize=3, linewidth=1.1)
    axes.fill_between(sizes, scale * lows, scale * highs, color=color, alpha=0.12, linewidth=0)


def _cost_and_error(numbers: Numbers, name: str, split: str, scale: float) -> tuple[float, float]:
    each = numbers[f"{name}{_COST}"] + numbers[f"{name}{_PREDICTION}"]
    return 1e6 * each, scale * curve_of(numbers, name, split)[-1][1]


def _draw_pareto(
    axes: Any, points: Sequence[tuple[float, float, Any]], labels: Sequence[str] | None = None
) -> None:
    """Circles for what no other beats in both, crosses for the rest."""
    front = []
    for k, (cost, error, color) in enumerate(points):
        beaten = any(c <= cost and e <= error and (c, e) != (cost, error) for c, e, _ in points)
        marker = "x" if beaten else "o"
        text = None if labels is None else labels[k]
        axes.plot(cost, error, marker, color=color, markersize=7, label=text, linestyle="none")
        if not beaten:
            front.append((cost, error))
    front.sort()
    axes.step(
        [c for c, _ in front], [e for _, e in front], where="post", color="grey", linewidth=0.9, zorder=0
    )
    axes.set(xscale="log", yscale="log")


def _draw_budget(axes: Any, numbers: Numbers, name: str, split: str, color: Any) -> None:
    candidates = np.geomspace(1e3, _MOST_CANDIDATES, 80)
    hours = budget_of(numbers, name, split, candidates)
    if hours is None:
        return
    axes.plot(candidates, hours, color=color, linewidth=1.2)
    low, high = (budget_of(numbers, name, split, candidates, side) for side in ("low", "high"))
    if low is not None and high is not None:
        axes.fill_between(candidates, low, high, color=color, alpha=0.08, linewidth=0)


def _plain(*panels: Any) -> None:
    from castile.report.figures import plain_log_ticks

    for axes in panels:
        plain_log_ticks(axes.xaxis, axes.yaxis)


def _colors(n: int) -> list[Any]:
    import matplotlib as mpl

    return [mpl.colormaps["tab20"]((2 * k + (k // 10)) % 20) for k in range(n)]


class _Canvas:
    """A figure in the style of the reports."""

    def __init__(self, width: float, height: float) -> None:
        import matplotlib as mpl

        from castile.report import style

        settings = {**style.FIGURE_SETTINGS, "savefig.facecolor": "white"}
        self._context = mpl.rc_context(settings)  # type: ignore[arg-type]
        self._size = width, height

    def __enter__(self) -> Any:
        from matplotlib.figure import Figure

        self._context.__enter__()
        return Figure(figsize=self._size, layout="constrained")

    def __exit__(self, *problem: Any) -> None:
        self._context.__exit__(*problem)
