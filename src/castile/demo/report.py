"""The report of the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from castile.demo.data import SiliconReference
from castile.demo.properties import DRIFT_LIMIT, elastic_comparisons, state_comparisons
from castile.report import (
    Section,
    Tile,
    accuracy_section,
    accuracy_tiles,
    elastic_section,
    energy_conservation_section,
    equation_of_state_section,
    timing_section,
    write_html_report,
)
from castile.report.fit_sections import fit_sections
from castile.report.fit_tables import fit_timing_table

if TYPE_CHECKING:
    from castile.demo.run import DemoResult
    from castile.potentials.gap import GAP
    from castile.structures import LabelCensus


def write_demo_report(
    path: Path, result: DemoResult, model: GAP, census: LabelCensus, reference: SiliconReference
) -> Path:
    """Write the whole account of the demonstration as one HTML file."""
    conservation = result.energy_conservation
    drift = Tile(
        "< 0.001" if abs(conservation.drift) < 0.001 else f"{abs(conservation.drift):.3f}",
        "meV/atom/ps",
        "energy drift",
        f"{conservation.n_atoms} atoms, {conservation.times[-1]:.1f} ps, limit {DRIFT_LIMIT}",
        conservation.passed,
    )
    return write_html_report(
        path,
        [
            accuracy_section(result.evaluation, lead=_ACCURACY),
            *_property_sections(result, reference),
            *fit_sections(model.fit_report),
            timing_section(result.step_seconds, lead=_TIMINGS, details=[fit_timing_table(model.fit_report)]),
        ],
        title="A silicon potential, from data to dynamics",
        subtitle=(
            f"Fitted with default settings to {census.n_structures} structures ({census.n_atoms:,} atoms) "
            f"labelled with {reference.engine}, {reference.functional}; tested on "
            f"{result.evaluation.n_structures} others."
        ),
        tiles=[*accuracy_tiles(result.evaluation), drift],
        footer=(
            f"Made by 'castile demo' in {result.seconds:.0f} s. "
            f"The model is {result.model_path.name} beside this file."
        ),
    )


_ACCURACY = "Held-out structures that the fit has not seen: predictions against density-functional theory."
_TIMINGS = "Every step of the demonstration; compilation of the numerical kernels is included."
_STATES = (
    "Energies of the perfect crystal over the volumes of the reference calculation. The line is the model, "
    "the circles are density-functional theory; absolute energies, nothing is shifted."
)
_ELASTIC = "Strains of 0.5 %, ions relaxed, at the model's own lattice constant."


def _property_sections(result: DemoResult, reference: SiliconReference) -> list[Section]:
    states, conservation = result.equation_of_state, result.energy_conservation
    model_curve = (states.volumes / states.n_atoms, states.energies / states.n_atoms)
    return [
        equation_of_state_section(
            model_curve,
            (reference.volumes, reference.energies),
            state_comparisons(states, reference),
            lead=_STATES,
        ),
        elastic_section(elastic_comparisons(result.elastic, reference), lead=_ELASTIC),
        energy_conservation_section(
            conservation.times,
            conservation.energies,
            conservation.temperatures,
            conservation.drift,
            lead=(
                f"{conservation.n_atoms} atoms at constant energy for {conservation.times[-1]:.1f} ps "
                f"in steps of 1 fs. The total energy fluctuates by {conservation.fluctuation:.3f} meV/atom, "
                "as the integrator's finite step makes it, and must not drift."
            ),
        ),
    ]
