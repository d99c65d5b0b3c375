"""The simulations of the demonstration, with a published silicon potential."""

import numpy as np
import pytest
from ase.calculators.tersoff import Tersoff

from castile.demo.data import SiliconReference, silicon_reference
from castile.demo.properties import (
    conserve_energy,
    cubic_constants,
    elastic_comparisons,
    silicon_elastic_constants,
    silicon_equation_of_state,
    state_comparisons,
)
from simulation.conftest import TERSOFF_SILICON

# Tersoff, Phys. Rev. B 39, 5566 (1989): lattice constant and elastic constants, ions relaxed.
PUBLISHED = SiliconReference(
    "Tersoff", "none", (18.0, 22.5), (0.0, 0.0), 5.432, 20.035, 97.6, 142.5, 75.4, 69.0
)


def tersoff() -> Tersoff:
    return Tersoff({("Si", "Si", "Si"): TERSOFF_SILICON})


def test_shipped_reference_is_read() -> None:
    reference = silicon_reference()
    assert reference.functional == "PBE"
    assert len(reference.volumes) == len(reference.energies) > 6
    assert 5.4 < reference.lattice_constant < 5.5
    assert reference.c11_gpa > reference.c44_gpa > reference.c12_gpa > 0


def test_equation_of_state_of_a_published_potential() -> None:
    states = silicon_equation_of_state(tersoff(), PUBLISHED)
    for entry in state_comparisons(states, PUBLISHED):
        assert entry.model == pytest.approx(entry.reference, rel=0.02), entry.name
    assert states.volumes.min() / 2 == pytest.approx(18.0)


def test_elastic_constants_of_a_published_potential() -> None:
    seen: list[tuple[int, int]] = []
    elastic = silicon_elastic_constants(tersoff(), PUBLISHED, lambda done, total: seen.append((done, total)))
    for entry in elastic_comparisons(elastic, PUBLISHED):
        assert entry.model == pytest.approx(entry.reference, rel=0.03), entry.name
    assert seen[-1] == (12, 12)
    assert cubic_constants(elastic)[0] == pytest.approx(np.diag(elastic.constants)[:3].mean())


class TooStrong(Tersoff):
    """Forces a tenth larger than the slope of the energy."""

    def calculate(self, *arguments, **options) -> None:
        super().calculate(*arguments, **options)
        self.results["forces"] = 1.1 * self.results["forces"]


def test_energy_conservation_passes_for_a_real_potential() -> None:
    seen: list[int] = []
    run = conserve_energy(tersoff(), 5.432, n_steps=40, repeat=1, progress=seen.append)
    assert run.n_atoms == 8
    assert run.passed
    assert run.times[-1] == pytest.approx(0.04)
    assert run.fluctuation < 1.0
    assert seen[-1] == 40


def test_energy_conservation_fails_where_forces_are_wrong() -> None:
    wrong = TooStrong({("Si", "Si", "Si"): TERSOFF_SILICON})
    assert not conserve_energy(wrong, 5.432, n_steps=40, repeat=1).passed
