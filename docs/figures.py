"""Draws the figure of the README from the silicon data that Castile ships: ``python docs/figures.py``.

Everything is computed anew: fits with default settings to growing parts of the training set, errors on the
held-out structures, equation of state against density-functional theory.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

import castile
from castile.demo.data import silicon_file, silicon_reference
from castile.demo.properties import silicon_equation_of_state
from castile.report import style
from castile.structures import LabelledStructure, StructureSource

TARGET = Path(__file__).parent / "images" / "silicon.png"
PARTS = (0.125, 0.25, 0.5, 1.0)


def growing_parts(structures: list[LabelledStructure]) -> list[list[LabelledStructure]]:
    """Nested random parts of the training set; the free atom is in all of them."""
    atoms = [s for s in structures if len(s.atoms) == 1 and s.config_type == "isolated_atom"]
    others = [s for s in structures if s not in atoms]
    order = np.random.default_rng(0).permutation(len(others))
    return [atoms + [others[k] for k in order[: round(part * len(others))]] for part in PARTS]


def draw_parity(axes: Axes, model: castile.GAP, test: list[LabelledStructure]) -> None:
    """Predicted against reference force components, by kind of structure."""
    kinds = sorted({s.config_type for s in test})
    palette = mpl.colormaps["viridis"](np.linspace(0.0, 0.92, len(kinds)))
    limit = 0.0
    errors = []
    for kind, color in zip(kinds, palette, strict=True):
        chosen = [s for s in test if s.config_type == kind]
        reference = np.concatenate([np.ravel(s.forces) for s in chosen])
        predicted = np.concatenate([model.predict(s.atoms).forces.ravel() for s in chosen])
        errors.append(predicted - reference)
        limit = max(limit, 1.05 * float(np.abs(reference).max()))
        axes.scatter(reference, predicted, s=9, color=color, linewidths=0, label=kind.replace("_", " "))
    axes.plot([-limit, limit], [-limit, limit], color=style.MUTED, linewidth=0.8, zorder=0)
    rmse = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set(xlabel="density-functional theory (eV/Å)", ylabel="Castile (eV/Å)")
    axes.set_title(f"Held-out force components, RMSE {rmse:.3f} eV/Å", fontsize=10, loc="left")
    axes.legend(loc="upper left", fontsize=7.5, handletextpad=0.1, borderpad=0.1, labelspacing=0.25)


def draw_learning(axes: Axes, sizes: list[int], errors: list[float]) -> None:
    """Force error on the held-out structures against the number of training structures."""
    axes.loglog(sizes, errors, "o-", color=style.MODEL, markersize=5)
    for size, error in zip(sizes, errors, strict=True):
        axes.annotate(f"{error:.3f}", (size, error), (5, 5), textcoords="offset points", fontsize=8)
    low, high = min(errors) / 1.3, 1.5 * max(errors)
    marks = [mark for mark in (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5) if low < mark < high]
    for axis, ticks in ((axes.xaxis, sizes), (axes.yaxis, marks)):
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_ticks(ticks, minor=False)
        axis.set_ticks([], minor=True)
    axes.set(ylim=(low, high), xlim=(0.8 * sizes[0], 1.5 * sizes[-1]))
    axes.set(xlabel="training structures", ylabel="force RMSE (eV/Å)")
    axes.set_title("Held-out error and amount of data", fontsize=10, loc="left")


def draw_states(axes: Axes, model: castile.GAP) -> None:
    """Energy of the diamond structure against volume."""
    reference = silicon_reference()
    states = silicon_equation_of_state(model.calculator(), reference)
    volumes, energies = states.volumes / states.n_atoms, states.energies / states.n_atoms
    axes.plot(volumes, energies, color=style.MODEL, label="Castile")
    axes.plot(
        reference.volumes,
        reference.energies,
        "o",
        color=style.REFERENCE,
        markersize=5,
        label="density-functional theory",
    )
    axes.set(xlabel="volume (Å³/atom)", ylabel="energy (eV/atom)")
    axes.set_title("Diamond structure", fontsize=10, loc="left")
    axes.legend(loc="upper center", fontsize=8.5)


def main() -> None:
    """Fit, test and draw."""
    train = list(StructureSource(silicon_file("silicon_train.xyz")))
    test = list(StructureSource(silicon_file("silicon_test.xyz")))
    sizes, errors = [], []
    for part in growing_parts(train):
        model = castile.GAP().fit(part)
        evaluation = castile.evaluate(model, test)
        assert evaluation.overall.force is not None
        sizes.append(len(part))
        errors.append(evaluation.overall.force.rmse)
        print(f"{sizes[-1]} structures: force RMSE {errors[-1]:.3f} eV/A")
    with mpl.rc_context({**style.FIGURE_SETTINGS, "savefig.facecolor": "white", "axes.facecolor": "white"}):
        figure = Figure(figsize=(12.0, 3.9), layout="constrained")
        parity, learning, states = figure.subplots(1, 3)
        draw_parity(parity, model, test)
        draw_learning(learning, sizes, errors)
        draw_states(states, model)
        TARGET.parent.mkdir(exist_ok=True)
        figure.savefig(TARGET, dpi=130, metadata={"Software": None})
    print(TARGET)


if __name__ == "__main__":
    main()
