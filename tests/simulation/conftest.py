"""Structures with cheap potentials for the simulation tests."""

from collections.abc import Callable

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters

# Tersoff, Phys. Rev. B 39, 5566 (1989), Table I, silicon; R and D: middle and half width of the cutoff.
TERSOFF_SILICON = TersoffParameters(
    m=3.0,
    gamma=1.0,
    lambda3=0.0,
    c=100390.0,
    d=16.217,
    h=-0.59825,
    n=0.78734,
    beta=1.1e-6,
    lambda2=1.7322,
    B=471.18,
    R=2.85,
    D=0.15,
    lambda1=2.4799,
    A=1830.8,
)


@pytest.fixture
def silicon() -> Callable[..., Atoms]:
    """Make diamond silicon, two or eight atoms, with the Tersoff potential."""

    def make(cubic: bool = False) -> Atoms:
        atoms = bulk("Si", a=5.43, cubic=cubic)
        atoms.calc = Tersoff({("Si", "Si", "Si"): TERSOFF_SILICON})
        return atoms

    return make


def copper_block() -> Atoms:
    """Thirty-two atoms of fcc copper with effective-medium theory, to move about."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.calc = EMT()
    return atoms


@pytest.fixture
def copper() -> Callable[..., Atoms]:
    """Make fcc copper, one or four atoms, with effective-medium theory."""

    def make(cubic: bool = False, repeat: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
        atoms = bulk("Cu", a=3.6, cubic=cubic) * repeat
        atoms.calc = EMT()
        return atoms

    return make
