"""Draws how zeta and the amplitude decide what a selection takes for known: ``python docs/boldness.py``.

The pool is diamond silicon from compressed to stretched. Four structures are chosen from the prior by the
method ``variance`` of ``castile select``; the curves are the deviation that is left of the energy per atom.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure
from numpy.typing import NDArray

from castile.active.pool_prior import prior_process
from castile.active.structure_selection import PriorChoices, select_structures
from castile.report import style
from castile.selection.posterior_root import PosteriorRoot
from castile.structures import StructureSource

TARGET = Path(__file__).parent / "images" / "boldness.png"
LATTICE_CONSTANTS = np.linspace(4.8, 6.4, 81)
ZETAS, AMPLITUDES, N_CHOSEN = (1.0, 4.0, 16.0), (0.3, 3.0, 30.0), 4


def deviations(zeta: float, amplitude: float) -> tuple[list[int], NDArray[np.float64]]:
    """The structures chosen, and the deviation of the energy per atom (eV) of every structure given them."""
    pool = StructureSource([bulk("Si", a=a) for a in LATTICE_CONSTANTS])
    choices = PriorChoices(zeta=zeta, amplitude=amplitude, n_sparse=2 * len(LATTICE_CONSTANTS))
    chosen = select_structures(pool, N_CHOSEN, labels="energy", prior=choices)
    process = prior_process(pool, choices.n_sparse or 1, choices, ("energy",), 0, 1, lambda: None)
    features = [process.label_features(structure) for structure in pool]
    root = PosteriorRoot(process.n_columns)
    for position in chosen.structures:
        root.observe(root.whiten(features[position].rows))
    energies = np.concatenate([found.energy for found in features])
    return chosen.structures.tolist(), np.sqrt(np.sum(root.whiten(energies) ** 2, axis=1))


def main() -> None:
    """Compute and draw."""
    with mpl.rc_context({**style.FIGURE_SETTINGS, "savefig.facecolor": "white", "axes.facecolor": "white"}):
        figure = Figure(figsize=(11.0, 3.6), layout="constrained")
        for axes, zeta in zip(figure.subplots(1, 3, sharey=True), ZETAS, strict=True):
            for amplitude, color in zip(AMPLITUDES, style.DENSITY[1:4], strict=True):
                chosen, left = deviations(zeta, amplitude)
                axes.plot(LATTICE_CONSTANTS, left, color=color, label=f"amplitude {amplitude:g} eV")
                axes.plot(LATTICE_CONSTANTS[chosen], left[chosen], "o", color=color, markersize=5)
                print(
                    f"zeta {zeta:g}, amplitude {amplitude:g} eV: largest deviation left {left.max():.2g} eV"
                )
            axes.set(xlabel="lattice constant (Å)", yscale="log")
            axes.set_title(f"ζ = {zeta:g}", fontsize=10, loc="left")
        figure.axes[0].set(ylabel="deviation of the energy left (eV/atom)")
        figure.axes[0].legend(fontsize=8.5)
        figure.savefig(TARGET, dpi=130, metadata={"Software": None})
    print(TARGET)


if __name__ == "__main__":
    main()
