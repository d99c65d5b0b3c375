"""Planted twins are found at the suggested threshold, and nothing else is."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from castile.splits.search import find_components
from castile.splits.settings import SimilaritySettings
from castile.splits.similarity_index import build_index
from castile.splits.structure_table import table_of
from castile.splits.threshold import measure_noise, suggest_threshold
from castile.structures import StructureSource

N_PLANTED = 100
KINDS = ("rotated", "permuted", "translated", "supercell", "mirrored", "rattled")
SETS = {
    "perovskites": "properties/prop_perov5/perov5_val.extxyz.gz@:150",
    "molecules": "properties/prop_qm7/qm7.extxyz.gz@200:350",
    "ethanol": "rmd17/ethanol_train.xyz.gz@:100",
}


def twin(atoms: Atoms, kind: str, generator: np.random.Generator) -> Atoms:
    """The same structure in another guise."""
    other = atoms.copy()
    if kind == "rotated":
        turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        turn *= np.sign(np.linalg.det(turn))
        other.set_cell(atoms.cell.array @ turn)
        other.positions = atoms.positions @ turn
    elif kind == "permuted":
        other = atoms[generator.permutation(len(atoms))]
    elif kind == "translated":
        other.positions += generator.normal(size=3)
        other.wrap()
    elif kind == "supercell":
        # of a molecule there is none: two of them far apart
        if not atoms.pbc.any():
            other.positions += [100.0, 0.0, 0.0]
            other = atoms + other
        else:
            other = atoms.repeat(generator.permutation([2, 1, 1]))
    elif kind == "mirrored":
        other.set_cell(atoms.cell.array * [1.0, 1.0, -1.0])
        other.positions = atoms.positions * [1.0, 1.0, -1.0]
    else:
        other.positions += generator.normal(scale=0.01, size=other.positions.shape)
    return other


@pytest.mark.parametrize("name", SETS)
def test_planted_twins_are_found_and_nothing_else(shared_data, name: str) -> None:
    structures = [item.atoms for item in StructureSource(f"{shared_data / SETS[name]}")]
    n, generator = len(structures), np.random.default_rng(0)
    own = find_own_components(structures)
    parents = np.concatenate([generator.choice(n, N_PLANTED, replace=False) for _ in KINDS])
    kinds = np.repeat(KINDS, N_PLANTED)
    planted = [twin(structures[p], k, generator) for p, k in zip(parents, kinds, strict=True)]
    index = build_index(table_of([*structures, *planted]))
    curve = suggest_threshold(index)
    labels = find_components(index, curve.threshold).labels
    missed = labels[n:] != labels[parents]
    assert not missed.any(), f"{curve.reason}: missed {np.unique(kinds[missed], return_counts=True)}"
    # without the planted ones, the set has the same components: no twin brought two strangers together
    assert labels.max() == own.max()
    np.testing.assert_array_equal(labels[:n], own)
    assert own.max() + 1 == n  # and these sets hold no twins of their own


def find_own_components(structures: list[Atoms]) -> np.ndarray:
    """Components of a set as it is, at its own suggestion."""
    index = build_index(table_of(structures))
    return find_components(index, suggest_threshold(index).threshold).labels


def test_noise_grows_with_the_amplitude_and_the_curve_falls(shared_data) -> None:
    source = StructureSource(f"{shared_data}/mlearn/Si_training.xyz.gz@::15")
    structures = [item.atoms for item in source]
    index = build_index(table_of(structures), SimilaritySettings(n_max=6, l_max=4))
    curve = suggest_threshold(index, amplitude=0.02)
    medians = [level.median for level in curve.noise]
    assert medians == sorted(medians)
    assert [level.amplitude for level in curve.noise] == [0.01, 0.02, 0.03, 0.1]
    assert (np.diff(curve.n_components) <= 0).all()
    assert (np.diff(curve.largest_component) >= 0).all()
    assert curve.distance > curve.noise[1].largest
    assert curve.threshold == pytest.approx(1.0 - 0.5 * curve.distance**2)
    again = suggest_threshold(index, amplitude=0.02)
    assert again.distance == curve.distance


def test_noise_does_not_depend_on_the_size_of_the_cell() -> None:
    """Displacing the only atom of a cell changes nothing; its crystal has independent atoms all the same."""
    tables = [table_of([cell]) for cell in (bulk("W"), bulk("W", cubic=True), bulk("W").repeat(3))]
    settings = SimilaritySettings(n_max=6, l_max=4).resolved(tables[0])
    medians = [measure_noise(table, settings)[0].median for table in tables]
    assert min(medians) > 0.3 * max(medians) > 3e-4
    (wire,) = measure_noise(
        table_of([Atoms("Cu", cell=[0, 0, 2.5], pbc=(0, 0, 1))]), settings_of("Cu"), (0.01,)
    )
    assert wire.median > 1e-4
    (lone,) = measure_noise(table_of([Atoms("Cu")]), settings_of("Cu"), (0.01,))
    assert lone.median == 0.0


def settings_of(symbol: str) -> SimilaritySettings:
    return SimilaritySettings(cutoff=4.0, n_max=4, l_max=3, species=(symbol,), channels=0)


def test_twins_of_primitive_cells_in_supercells_are_found() -> None:
    generator = np.random.default_rng(0)
    cells = [bulk("Cu", a=a) for a in np.linspace(3.2, 4.2, 6)] + [molecule("H2O")]
    twins = [twin(atoms.repeat(3) if atoms.pbc.any() else atoms, "rattled", generator) for atoms in cells]
    index = build_index(table_of([*cells, *twins]))
    labels = find_components(index, suggest_threshold(index).threshold).labels
    np.testing.assert_array_equal(labels, np.tile(np.arange(7), 2))
