"""A minute for continuous integration: speed on tiny cells, and every answer against an oracle."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from ase import Atoms

import castile
from benchmarks import peers
from benchmarks.isolation import ROOT
from benchmarks.models import random_model
from benchmarks.records import Record, Table, figure
from benchmarks.systems import System, smoke_systems
from benchmarks.timing import time_interleaved
from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.radial_bases import GTO, EquispacedGaussians
from castile.descriptors.radial_scaling import NoScaling
from castile.potentials.model import PotentialModel
from castile.potentials.soap_term import SoapTerm

STEP = 1e-4
N_SPARSE, ZETA = 12, 4.0
VALUES_TOLERANCE, GRADIENT_TOLERANCE, ENERGY_TOLERANCE = 1e-10, 1e-6, 1e-9


class Disagreement(RuntimeError):
    """A fast answer is not that of the oracle."""


@dataclass(frozen=True)
class Agreement:
    """Largest relative difference between a fast answer and the oracle's."""

    what: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether they agree; NaN does not."""
        return self.difference <= self.tolerance


def smoke(threads: int) -> Record:
    """Time and verify; no time has a threshold.

    Raises:
        Disagreement: naming the system, the quantity and both sizes.

    """
    oracle = load_oracle()
    rows, numbers, notes = [], {}, dict[str, None]()
    for system in smoke_systems():
        agreements = [*check_descriptor(system, oracle, threads), *check_potential(system, oracle, threads)]
        for agreement in agreements:
            if not agreement.holds:
                raise Disagreement(
                    f"{system.label}: {agreement.what} differs from the oracle by {agreement.difference:.2e} "
                    f"(relative), allowed {agreement.tolerance:.0e}"
                )
            numbers[f"{system.key}_{agreement.what.replace(' ', '_')}_difference"] = agreement.difference
        timings = _time_all(system, threads, notes)
        numbers |= {f"{system.key}_{name}_us_per_atom": micros for name, micros in timings.items()}
        worst = {a.what: f"{a.difference:.0e}" for a in agreements}
        rows.append((system.label, str(system.n_atoms), *worst.values()))
    columns = ("system", "atoms", *worst)
    tables = (
        Table("Relative difference from the oracle", columns, tuple(rows)),
        _timing_table(numbers),
    )
    return Record("smoke", False, numbers, tables=tables, notes=tuple(notes))


def load_oracle() -> ModuleType:
    """The plain-NumPy SOAP of the tests."""
    path = ROOT / "tests" / "descriptors" / "oracle.py"
    spec = importlib.util.spec_from_file_location("castile_oracle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_descriptor(system: System, oracle: ModuleType, threads: int) -> list[Agreement]:
    """SOAP values, and the vector-Jacobian product against differences of the oracle."""
    atoms = system.copies[0]
    soap = castile.SOAP(
        system.cutoff, system.n_max, system.l_max, system.sigma,
        cutoff_width=system.cutoff_width, species=system.species, threads=threads,
    ).fit()  # fmt: skip
    basis = GTO(system.n_max, system.l_max, system.cutoff, system.sigma)
    reference = _oracle_function(system, oracle, basis)
    generator = np.random.default_rng(0)
    values = reference(atoms)
    weights = generator.normal(size=values.shape)
    gradient = soap.vjp(atoms, weights)
    direction, strain = generator.normal(size=(len(atoms), 3)), 0.1 * generator.normal(size=(3, 3))
    moved = _difference(
        lambda structure: float((weights * reference(structure)).sum()), atoms, direction, None
    )
    strained = _difference(
        lambda structure: float((weights * reference(structure)).sum()), atoms, None, strain
    )
    return [
        Agreement("SOAP values", _relative(soap.transform(atoms), values), VALUES_TOLERANCE),
        Agreement(
            "SOAP gradient", _relative((gradient.positions * direction).sum(), moved), GRADIENT_TOLERANCE
        ),
        Agreement(
            "SOAP strain gradient", _relative((gradient.strain * strain).sum(), strained), GRADIENT_TOLERANCE
        ),
    ]


def check_potential(system: System, oracle: ModuleType, threads: int) -> list[Agreement]:
    """Energies of a GAP against the oracle's, forces and stress against differences of those."""
    atoms = system.copies[0]
    model = random_model(system, N_SPARSE, ZETA)
    reference = _oracle_energies(system, model, oracle)
    predicted = model.predict(atoms, threads)
    generator = np.random.default_rng(1)
    direction, strain = generator.normal(size=(len(atoms), 3)), 0.1 * generator.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)
    moved = _difference(lambda structure: float(reference(structure).sum()), atoms, direction, None)
    strained = _difference(lambda structure: float(reference(structure).sum()), atoms, None, strain)
    xx, yy, zz, yz, xz, xy = predicted.stress * atoms.get_volume()
    virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return [
        Agreement("energies", _relative(predicted.energies, reference(atoms)), ENERGY_TOLERANCE),
        Agreement("forces", _relative(-(predicted.forces * direction).sum(), moved), GRADIENT_TOLERANCE),
        Agreement("stress", _relative((virial * strain).sum(), strained), GRADIENT_TOLERANCE),
    ]


def _oracle_function(system: System, oracle: ModuleType, basis: Any) -> Callable[[Atoms], np.ndarray]:
    cutoff = CosineCutoff(system.cutoff, system.cutoff_width)
    return lambda atoms: oracle.oracle_soap(atoms, basis, cutoff, NoScaling(), system.species, True, 1.0)


def _oracle_energies(
    system: System, model: PotentialModel, oracle: ModuleType
) -> Callable[[Atoms], np.ndarray]:
    """Atomic energies as a plain sum over sparse points of the oracle's power spectra."""
    basis = EquispacedGaussians(system.n_max, system.l_max, system.cutoff, system.sigma)
    soap = _oracle_function(system, oracle, basis)
    (term,), (weights,) = model.terms, model.weights
    assert isinstance(term, SoapTerm)

    def energies(atoms: Atoms) -> np.ndarray:
        spectra = soap(atoms)
        total = np.array([model.composition.energies[int(z)] for z in atoms.numbers])
        for element, number in enumerate(term.elements):
            own, columns = atoms.numbers == number, term.columns(element)
            kernel = (spectra[own] @ term.sparse_points[columns].T) ** term.zeta
            total[own] += kernel @ weights[columns]
        return total

    return energies


def _difference(
    function: Callable[[Atoms], float], atoms: Atoms, direction: np.ndarray | None, strain: np.ndarray | None
) -> float:
    """Derivative along a direction, by central differences of fourth order."""

    def at(step: float) -> float:
        moved = atoms.copy()
        if direction is not None:
            moved.positions += step * direction
        if strain is not None:
            moved.set_cell(moved.cell[:] @ (np.eye(3) + step * strain), scale_atoms=True)
        return function(moved)

    return (8 * (at(STEP) - at(-STEP)) - (at(2 * STEP) - at(-2 * STEP))) / (12 * STEP)


def _relative(value: Any, reference: Any) -> float:
    return float(np.abs(np.asarray(value) - reference).max() / np.abs(reference).max())


def _time_all(system: System, threads: int, notes: dict[str, None]) -> dict[str, float]:
    model = random_model(system, N_SPARSE, ZETA)
    copies = system.alternating()
    makers: dict[str, Callable[[], Callable[[], object]]] = {
        "values_castile": lambda: peers.castile_values(system, threads),
        "values_dscribe": lambda: peers.dscribe_values(system),
        "values_featomic": lambda: peers.featomic_values(system),
        "values_quippy": lambda: peers.quippy_values(system),
        "gradients_castile": lambda: peers.castile_gradients(system, threads),
        "gradients_featomic": lambda: peers.featomic_values(system, gradients=True),
        "gap_castile": lambda: lambda: model.predict(next(copies), threads),
    }
    calls = {}
    for name, make in makers.items():
        try:
            calls[name] = make()
        except peers.PeerMissing as error:
            notes[f"left out: {error}"] = None
    timings = time_interleaved(calls, 5)
    return {name: 1e6 * timing.median / system.n_atoms for name, timing in timings.items()}


def _timing_table(numbers: dict[str, Any]) -> Table:
    suffix = "_us_per_atom"
    keys = [system.key for system in smoke_systems()]
    kinds = sorted(
        {k.removeprefix(f"{key}_").removesuffix(suffix) for key in keys for k in numbers
         if k.startswith(f"{key}_") and k.endswith(suffix)}
    )  # fmt: skip
    rows = tuple(
        (kind.replace("_", ", "), *(figure(numbers[f"{key}_{kind}{suffix}"]) for key in keys))
        for kind in kinds
    )
    labels = tuple(system.label for system in smoke_systems())
    return Table("Microseconds per atom on tiny cells (no thresholds)", ("", *labels), rows)
