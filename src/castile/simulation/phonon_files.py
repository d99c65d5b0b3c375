"""Write phonons as tables and a figure."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from castile.simulation.phonons import Phonons


@dataclass(frozen=True)
class PhononFiles:
    """What `write_phonons` wrote."""

    figure: Path
    bands: Path
    density_of_states: Path
    thermodynamics: Path


def write_phonons(phonons: Phonons, directory: str | Path) -> PhononFiles:
    """Write ``bands.png``, ``bands.csv``, ``dos.csv`` and ``thermal.csv`` (units in the column names)."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    files = PhononFiles(
        folder / "bands.png", folder / "bands.csv", folder / "dos.csv", folder / "thermal.csv"
    )
    bands, density, thermal = phonons.bands, phonons.density_of_states, phonons.thermodynamics
    modes = [f"frequency_{mode + 1}_thz" for mode in range(bands.frequencies.shape[1])]
    _write_table(
        files.bands,
        ["distance_per_angstrom", "q1", "q2", "q3", *modes],
        (
            [distance, *qpoint, *frequencies]
            for distance, qpoint, frequencies in zip(
                bands.distances, bands.qpoints, bands.frequencies, strict=True
            )
        ),
    )
    _write_table(
        files.density_of_states,
        ["frequency_thz", "states_per_thz_per_primitive_cell"],
        zip(density.frequencies, density.densities, strict=True),
    )
    _write_table(
        files.thermodynamics,
        ["temperature_k", "free_energy_ev", "entropy_ev_per_k", "heat_capacity_ev_per_k"],
        zip(
            thermal.temperatures,
            thermal.free_energies,
            thermal.entropies,
            thermal.heat_capacities,
            strict=True,
        ),
    )
    draw_phonons(phonons).savefig(files.figure, dpi=150)
    return files


def draw_phonons(phonons: Phonons) -> Figure:
    """Draw the bands beside the density of states; imaginary frequencies lie below zero."""
    bands, density = phonons.bands, phonons.density_of_states
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 1], sharey=True)
    left.plot(bands.distances, bands.frequencies, color="#1f5fa8", linewidth=1.0)
    for position in bands.label_positions:
        left.axvline(position, color="0.8", linewidth=0.8, zorder=0)
    left.set_xticks(bands.label_positions, [_pretty(label) for label in bands.labels])
    left.set_xlim(bands.distances[0], bands.distances[-1])
    left.set_ylabel("frequency (THz)")
    right.fill_betweenx(density.frequencies, density.densities, color="#1f5fa8", alpha=0.4, linewidth=0)
    right.set_xlabel("states / THz")
    right.set_xlim(left=0)
    for axes in (left, right):
        axes.axhline(0.0, color="0.4", linewidth=0.8)
    return figure


def _pretty(label: str) -> str:
    return label.replace("G", "Γ").replace(",", "|")


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Iterable[float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{float(value):.10g}" for value in row] for row in rows)
