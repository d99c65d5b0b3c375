"""Exported models: quippy reads them and predicts the same; importing them again gives the same model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.descriptors.cutoffs import CosineCutoff
from castile.errors import InputError
from castile.formats.quip_xml import read_quip_xml
from castile.formats.quip_xml_writer import write_quip_xml
from castile.potentials.composition import Composition
from castile.potentials.glue_core import ExtrapolatedSpline
from castile.potentials.glue_table import tabulated
from castile.potentials.model import PotentialModel
from castile.potentials.pair_term import PairTerm
from castile.potentials.quip_export import quip_potential
from potentials.examples import labelled
from potentials.quip_models import TRAINED, deviation, quippy_calculator, quippy_prediction, structures

EXPRESSIBLE = {"radial_basis": "equispaced", "cutoff_function": "cosine"}
EXACT = 1e-6


def training_set() -> list[Atoms]:
    frames = []
    for k in range(6):
        atoms = bulk("Cu", cubic=True, a=3.7) * (2, 1, 1)
        atoms.symbols[:: 2 + k % 3] = "Ag"
        atoms.rattle(0.1, seed=k)
        frames.append(labelled(atoms))
    return frames


def fitted(**settings: object) -> castile.GAP:
    options = {"n_max": 4, "l_max": 3, "n_sparse": 20, "cutoff": 4.0, "zeta": 3.0, **EXPRESSIBLE, **settings}
    return castile.GAP(**options).fit(training_set())


NATIVE: dict[str, Callable[[], castile.GAP]] = {
    "soap alone": lambda: fitted(pair=False, core=False),
    "soap, smooth pair term and core repulsion": fitted,
    "soap with radial scaling and central weight": lambda: fitted(
        settings={
            "soap": (
                {
                    "radial_scaling": {"rate": 0.8, "scale": 2.5, "exponent": 3.0},
                    "central_weight": 0.4,
                },
            )
        },
        pair=False,
        core=False,
    ),
}


@pytest.fixture(scope="module")
def native() -> Callable[[str], castile.GAP]:
    models: dict[str, castile.GAP] = {}

    def get(name: str) -> castile.GAP:
        if name not in models:
            models[name] = NATIVE[name]()
        return models[name]

    return get


@pytest.mark.parametrize("name", NATIVE)
def test_quippy_reproduces_an_exported_model(
    name: str, native: Callable[[str], castile.GAP], tmp_path: Path
) -> None:
    model = native(name)
    files = castile.export_gap(model, tmp_path / "gp.xml")
    assert files[-1] == tmp_path / "gp.xml"
    assert all(path.exists() for path in files)
    calculator = quippy_calculator(files[-1])
    for case, atoms in structures().items():
        found = deviation(quippy_prediction(calculator, atoms), model.predict(atoms))
        assert max(found.energy, found.forces, found.stress) < EXACT, f"{case}: {found}"


@pytest.mark.parametrize("name", NATIVE)
def test_round_trip_of_a_native_model(
    name: str, native: Callable[[str], castile.GAP], tmp_path: Path
) -> None:
    model = native(name)
    castile.export_gap(model, tmp_path / "gp.xml")
    again = castile.import_gap(tmp_path / "gp.xml")
    assert again.fitted_model.elements == model.fitted_model.elements
    for case, atoms in structures().items():
        assert deviation(again.predict(atoms), model.predict(atoms)).below(EXACT), case


def test_core_repulsion_of_close_atoms_survives_the_table(
    native: Callable[[str], castile.GAP], tmp_path: Path
) -> None:
    model = native("soap, smooth pair term and core repulsion")
    castile.export_gap(model, tmp_path / "gp.xml")
    again = castile.import_gap(tmp_path / "gp.xml")
    for distance in (0.25, 0.6, 1.1, 1.7, 2.3):
        atoms = Atoms("CuAg", positions=[[0, 0, 0], [0, 0, distance]])
        expected, found = model.predict(atoms), again.predict(atoms)
        assert found.energy == pytest.approx(expected.energy, rel=1e-8, abs=1e-7)
        assert found.forces == pytest.approx(expected.forces, rel=1e-8, abs=1e-6)


@pytest.mark.parametrize("name", TRAINED)
def test_round_trip_of_an_imported_model(
    name: str, trained_gap: Callable[[str], Path], tmp_path: Path
) -> None:
    first = castile.import_gap(trained_gap(name))
    castile.export_gap(first, tmp_path / "gp.xml")
    second = castile.import_gap(tmp_path / "gp.xml")
    for atoms in structures().values():
        assert deviation(second.predict(atoms), first.predict(atoms)).below(1e-9)
    crystal = structures()["crystal"]
    quippy = quippy_prediction(quippy_calculator(tmp_path / "gp.xml"), crystal)
    assert deviation(first.predict(crystal), quippy).below(1e-6)


def test_pair_terms_with_a_cosine_cutoff_become_blocks(tmp_path: Path) -> None:
    points = np.tile(np.linspace(2.0, 3.8, 8), (3, 1))
    term = PairTerm("pair", (29, 47), CosineCutoff(4.0, 0.8), 0.5, points)
    weights = np.random.default_rng(2).normal(size=24)
    composition = Composition({29: 0.5, 47: -0.25}, "given")
    model = PotentialModel((29, 47), composition, None, (term,), (weights,))
    potential = quip_potential(model, {"pair/29-47": 3.0})
    assert [block.delta for block in potential.coordinates] == [1.0, 1.5, 1.0]
    assert potential.glue is None
    write_quip_xml(tmp_path / "gp.xml", potential)
    calculator = quippy_calculator(tmp_path / "gp.xml")
    for case, atoms in structures().items():
        found = deviation(quippy_prediction(calculator, atoms), model.predict(atoms))
        assert found.below(1e-7), f"{case}: {found}"


def test_old_conventions_and_glue_core_survive_the_round_trip(
    shared_data: Path, trained_gap: Callable[[str], Path], tmp_path: Path
) -> None:
    source = shared_data / "gap_models" / "gap_lammps_example_Si_glue_soap" / "gap_example.xml"
    first = castile.import_gap(source, elements=["Si", "O"])
    castile.export_gap(first, tmp_path / "gp.xml")
    crystal = bulk("Si", cubic=True)
    crystal.symbols[0] = "O"
    crystal.rattle(0.1, seed=1)
    again = castile.import_gap(tmp_path / "gp.xml")
    assert deviation(again.predict(crystal), first.predict(crystal)).below(1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radial_basis": "gto"}, "'soap' has the radial basis gto.*radial_basis=\"equispaced\""),
        ({"cutoff_function": "smooth"}, "cutoff function smooth"),
        ({"channels": 1}, "1 mixed channels for 2 elements"),
    ],
)
def test_what_quip_does_not_have_is_refused_by_name(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    model = fitted(**settings, pair=False, core=False)
    with pytest.raises(InputError, match=message):
        castile.export_gap(model, tmp_path / "gp.xml")
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a fitted"):
        castile.export_gap(castile.GAP(), tmp_path / "gp.xml")


def test_a_folder_that_is_not_there_is_named(native: Callable[[str], castile.GAP], tmp_path: Path) -> None:
    for path, message in ((tmp_path / "no" / "gp.xml", "there is no folder"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=message):
            castile.export_gap(native("soap alone"), path)
    assert not list(tmp_path.iterdir())


def test_a_potential_that_no_table_can_hold_is_refused() -> None:
    def jumping(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(r < 2.123456, 1.0, 0.0), np.zeros_like(r)

    with pytest.raises(InputError, match="more than 40000 knots"):
        tabulated(jumping, [4.0])


def test_table_is_as_exact_as_promised() -> None:
    def repulsion(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gap = np.maximum(3.0 - r, 0.0)
        return gap**4 / r, -4.0 * gap**3 / r - gap**4 / r**2

    knots = tabulated(repulsion, [3.0])
    spline = ExtrapolatedSpline(np.array(knots.x), np.array(knots.y), knots.first_slope, knots.last_slope)
    r = np.random.default_rng(0).uniform(0.2, 3.0, 5000)
    value, slope = spline(r)
    exact, exact_slope = repulsion(r)
    np.testing.assert_allclose(value, exact, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(slope, exact_slope, rtol=3e-9, atol=2e-7)


def test_rounding_of_large_weights_does_not_enter_the_table() -> None:
    rng = np.random.default_rng(1)
    centers, weights = np.linspace(1.0, 4.0, 60), 2e6 * rng.normal(size=60)
    weights -= weights.mean()

    def cancelling(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = np.exp(-0.5 * (r[:, None] - centers) ** 2 / 0.25)
        cut = np.where(r < 4.5, (1.0 - r / 4.5) ** 3, 0.0)
        steep = np.where(r < 4.5, -3.0 / 4.5 * (1.0 - r / 4.5) ** 2, 0.0)
        value, slope = shape @ weights, (shape * (centers - r[:, None]) / 0.25) @ weights
        return 1e-6 * value * cut, 1e-6 * (slope * cut + value * steep)

    def noisy(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = cancelling(r)
        return value + 5e-11 * rng.normal(size=r.shape), slope

    knots = tabulated(noisy, [4.5])
    assert len(knots.x) < 20_000
    spline = ExtrapolatedSpline(np.array(knots.x), np.array(knots.y), knots.first_slope, knots.last_slope)
    r = rng.uniform(0.3, 4.5, 2000)
    np.testing.assert_allclose(spline(r)[1], cancelling(r)[1], rtol=3e-9, atol=3e-7)


def test_blocks_carry_the_learned_amplitudes(native: Callable[[str], castile.GAP], tmp_path: Path) -> None:
    model = native("soap alone")
    castile.export_gap(model, tmp_path / "gp.xml")
    found = [block.delta for block in read_quip_xml(tmp_path / "gp.xml").coordinates]
    assert found == [part.amplitude for part in model.fit_report.amplitudes]
