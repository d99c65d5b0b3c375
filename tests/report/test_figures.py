"""Figures draw what they are given, with units, and the same input gives the same text."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from castile.evaluation import ParitySample, evaluate
from castile.report import Comparison, accuracy_section, comparison_table, equation_of_state_section, figures
from castile.report.figures import (
    Figure,
    energy_conservation_figure,
    line_figure,
    parity_figure,
    point_density,
)
from evaluation.emt_model import EMTModel, labelled_copper


def sample(n: int, seed: int = 0) -> ParitySample:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=n)
    return ParitySample(reference, reference + 0.1 * rng.normal(size=n), n)


def texts(figure: Figure) -> list[str]:
    return [
        "".join(e.itertext())
        for e in ElementTree.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize("n", [1, 2, 50, 5000])
def test_parity_of_any_size(n: int) -> None:
    figure = parity_figure(
        sample(n), quantity="energy", unit="eV/atom", error_unit="meV/atom", error_scale=1000.0
    )
    shown = texts(figure)
    assert "predicted (eV/atom)" in shown
    assert "reference energy (eV/atom)" in shown
    assert "error (meV/atom)" in shown
    assert len(figure.svg) < 600_000


@pytest.mark.parametrize("offset", [0.0, -106.3, -12345.6])
def test_long_tick_labels_leave_room_for_the_names_of_the_axes(
    offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes: list[float] = []

    def paint(paint: Callable[[Canvas], None], width: float, height: float, name: str) -> str:
        canvas = Canvas(figsize=(width, height))
        paint(canvas)
        canvas.draw_without_rendering()
        boxes.extend(box.x0 for axes in canvas.axes if (box := axes.get_tightbbox()) is not None)
        return ""

    monkeypatch.setattr(figures, "draw", paint)
    values = offset + np.linspace(-0.3, 0.3, 20)
    parity_figure(ParitySample(values, values + 0.001, 20), quantity="energy", unit="eV/atom")
    assert len(boxes) == 2
    assert min(boxes) > 0.0


def test_parity_of_equal_values() -> None:
    values = np.full(5, -3.0)
    parity_figure(ParitySample(values, values, 5), quantity="energy", unit="eV/atom")


def test_caption_says_when_not_all_values_are_drawn() -> None:
    part = ParitySample(np.arange(3.0), np.arange(3.0), 1000)
    assert "3 of 1,000" in parity_figure(part, quantity="force component", unit="eV/Å").caption


def test_equal_input_gives_equal_text() -> None:
    one, two = (parity_figure(sample(600), quantity="energy", unit="eV/atom").svg for _ in range(2))
    assert one == two
    assert "Date" not in one


def test_density_is_highest_where_points_are() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([np.zeros(500) + 0.01 * rng.normal(size=500), rng.uniform(-1, 1, size=50)])
    density = point_density(x, x)
    assert density.max() == pytest.approx(1.0)
    assert density[:500].mean() > 3 * density[500:].mean()


def test_svg_scales_with_the_page() -> None:
    head = re.match(r"<svg[^>]*>", parity_figure(sample(5), quantity="energy", unit="eV").svg)
    assert head is not None
    assert "viewBox" in head[0]
    assert "width=" not in head[0]


def test_energy_conservation_shows_change_and_drift() -> None:
    times = np.linspace(0, 1, 50)
    figure = energy_conservation_figure(times, -5.0 + 1e-5 * times, np.full(50, 300.0), 0.01)
    shown = texts(figure)
    assert "drift +0.01 meV/atom/ps" in shown
    assert "time (ps)" in shown
    assert "temperature (K)" in shown


def test_accuracy_section_leaves_out_absent_labels() -> None:
    frames = [atoms for atoms in labelled_copper(3)]
    everything = accuracy_section(evaluate(EMTModel(), frames))
    assert sum(isinstance(block, Figure) for block in everything.blocks) == 3
    from ase.calculators.singlepoint import SinglePointCalculator

    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy())
    energies_only = accuracy_section(evaluate(EMTModel(), frames))
    assert sum(isinstance(block, Figure) for block in energies_only.blocks) == 1


def test_comparison_states_relative_differences() -> None:
    table = comparison_table([Comparison("C11", "GPa", 165.0, 150.0), Comparison("C12", "GPa", 60.0)])
    assert table.rows[0] == ("C11", "GPa", "165.0", "150.0", "+10.0 %")
    assert table.rows[1][3:] == ("–", "–")


def test_equation_of_state_takes_unsorted_points() -> None:
    section = equation_of_state_section(([20, 18, 19], [1, 2, 0]), ([18, 20], [2, 1]), [])
    assert section.blocks[0].wide
    line_figure([], x_label="x (Å)", y_label="y (eV)", caption="empty")
