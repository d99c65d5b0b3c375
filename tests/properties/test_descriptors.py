"""Descriptors of structures: invariances, oracles, names, cost."""

import importlib.util
import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from sklearn.base import clone

from castile.errors import InputError
from castile.properties import DESCRIPTORS, make_descriptor, parse_descriptor
from castile.properties.angles import AngularDistribution
from castile.properties.descriptor import Seen, StructureDescriptor
from castile.properties.distances import PairDistanceHistogram
from castile.properties.matrices import SineEigenvalues
from properties.cases import crystals

INTENSIVE = ("composition", "rdf", "pair-histogram", "angles", "soap")


def fitted(kind: type[StructureDescriptor]) -> tuple[StructureDescriptor, list[Atoms]]:
    if kind.kind == "ewald" and importlib.util.find_spec("dscribe") is None:
        pytest.skip("dscribe is not installed")
    structures = crystals(4) if kind.kind != "coulomb" else [molecule("CH4"), molecule("C2H6")]
    return kind().fit(structures), structures


@pytest.mark.parametrize("kind", DESCRIPTORS, ids=lambda kind: kind.kind)
def test_every_descriptor(kind: type[StructureDescriptor]) -> None:
    descriptor, structures = fitted(kind)
    rows = descriptor.transform(structures)
    assert rows.shape == (len(structures), len(descriptor.get_feature_names_out()))
    assert len(set(descriptor.get_feature_names_out())) == rows.shape[1]
    assert descriptor.cost_.n_structures == len(structures)
    assert descriptor.cost_.n_bytes == rows.nbytes
    assert descriptor.cost_.wall_s > 0
    again = clone(descriptor).settle(descriptor.seen_)
    np.testing.assert_array_equal(again.transform(structures), rows)
    atoms = structures[1]
    moved = atoms.copy()
    moved.rotate(37.0, (1, 2, 3), rotate_cell=True)
    moved.positions += (0.3, -0.2, 0.9)
    moved = moved[np.random.default_rng(0).permutation(len(moved))]
    np.testing.assert_allclose(descriptor.transform(moved)[0], rows[1], atol=2e-3 * np.abs(rows).max())


@pytest.mark.parametrize("kind", [k for k in DESCRIPTORS if k.kind in INTENSIVE], ids=lambda kind: kind.kind)
def test_supercells_look_the_same(kind: type[StructureDescriptor]) -> None:
    descriptor, structures = fitted(kind)
    row = descriptor.transform(structures[0])
    np.testing.assert_allclose(descriptor.transform(structures[0] * (2, 1, 1)), row, atol=1e-9)


@pytest.mark.parametrize("partial", [False, True])
def test_histogram_counts_pairs(partial: bool) -> None:
    atoms = crystals(1)[0]
    descriptor = PairDistanceHistogram(4.0, 8, partial=partial).fit([atoms])
    counts = dict.fromkeys(descriptor.get_feature_names_out(), 0.0)
    shifts = list(itertools.product((-1, 0, 1), repeat=3))
    for i, j, shift in itertools.product(range(len(atoms)), range(len(atoms)), shifts):
        r = np.linalg.norm(atoms.positions[j] + np.array(shift) @ atoms.cell[:] - atoms.positions[i])
        if 1e-9 < r < 4.0:
            k = int(r / 0.5)
            pair = "any-any"
            if partial:
                low, high = sorted((atoms[i], atoms[j]), key=lambda atom: atom.number)
                pair = f"{low.symbol}-{high.symbol}"
            counts[f"{pair} {0.5 * k:.3f}-{0.5 * k + 0.5:.3f} A"] += 0.5 / len(atoms)
    np.testing.assert_allclose(descriptor.transform(atoms)[0], list(counts.values()))


def test_angles_of_a_molecule_with_known_ones() -> None:
    water = Atoms("OH2", [(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    descriptor = AngularDistribution(cutoff=4.0, n_bins=36, sigma=4.0).fit([water])
    row = descriptor.transform(water)[0]
    grid = (np.arange(36) + 0.5) * 5.0

    def peak(angle: float) -> np.ndarray:
        return np.exp(-0.5 * ((grid - angle) / 4.0) ** 2) / (np.sqrt(2 * np.pi) * 4.0) / 3.0

    np.testing.assert_allclose(row, peak(90.0) + 2.0 * peak(45.0), atol=0.03 * row.max())


def test_sine_matrix_against_its_formula() -> None:
    atoms = crystals(1)[0]
    B, Z = atoms.cell[:].T, atoms.numbers
    M = np.diag(0.5 * Z**2.4)
    for i, j in itertools.permutations(range(len(atoms)), 2):
        s = np.linalg.solve(B, atoms.positions[i] - atoms.positions[j])
        M[i, j] = Z[i] * Z[j] / np.linalg.norm(B @ np.sin(np.pi * s) ** 2)
    values = np.linalg.eigvalsh(M)
    row = SineEigenvalues(n_atoms_max=6).fit([atoms]).transform(atoms)[0]
    np.testing.assert_allclose(row[:4], values[np.argsort(-np.abs(values))])
    assert not row[4:].any()


def test_rows_of_atoms_add_up() -> None:
    structures = crystals(3)
    soap = make_descriptor("soap", {"average": "outer"}).fit(structures)
    rows = soap.transform_atoms(structures)
    means = np.add.reduceat(rows.features, rows.first[:-1]) / 4
    np.testing.assert_allclose(means, soap.transform(structures), atol=1e-12)
    with pytest.raises(InputError, match="'soap' or 'rdf'"):
        make_descriptor("composition").fit(structures).transform_atoms(structures)


def test_names_and_options() -> None:
    assert parse_descriptor('soap={"n_max": 3, "average": "outer"}').get_params()["n_max"] == 3
    assert parse_descriptor("soap=n_max=3,average=outer").get_params()["average"] == "outer"
    for text, message in (
        ("soup", "give one of composition"),
        ("soap=n_maximum=3", "no option n_maximum"),
        ("soap={broken", "write soap=n_max=6"),
        ("os:getcwd", "no class with a method"),
        ("subprocess:Popen={}", "no class with a method"),
        ("nowhere:Nothing", "give an installed module:Class"),
    ):
        with pytest.raises(InputError, match=message):
            parse_descriptor(text)


def test_errors_name_the_structure() -> None:
    structures = [*crystals(20), bulk("Al")]
    descriptor = make_descriptor("soap").fit(structures[:-1])
    with pytest.raises(InputError, match=r"structure 20 \(Al\)"):
        descriptor.transform(structures)
    with pytest.raises(InputError, match="give channels=6"):
        make_descriptor("soap", {"n_max": 12, "l_max": 8}).settle(Seen(tuple(range(1, 40)), 9))


@pytest.mark.parametrize("text", ["soap=n_max=x", "rdf=partial=2", "soap=cutoff=true", "soap=average=3"])
def test_options_of_another_type_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"; give (a whole number|a number|true or false|a word)"):
        parse_descriptor(text)
