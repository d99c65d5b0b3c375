"""Imported potentials against quippy: every descriptor, kernel and convention, on every kind of structure."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.errors import InputError
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.simulation import MolecularDynamicsSettings, relax, run_molecular_dynamics
from potentials.quip_models import TRAINED, deviation, quippy_calculator, quippy_prediction, structures

EXACT = 2e-7
Trained = Callable[[str], Path]
BOTH, MANY, FEW, VARIANTS = TRAINED

GLUE = """<Glue_params n_types="2">
  <per_type_data type="1" atomic_num="29">
    <density num_points="4" density_y1="-0.9" density_yn="0.0" do_spline="T">
      <point a="1.0" rho="1.1"/><point a="2.0" rho="0.5"/>
      <point a="2.9" rho="0.12"/><point a="3.9" rho="0.0"/>
    </density>
    <potential_density num_points="4">
      <point rho="0.0" E="-0.1"/><point rho="1.0" E="-0.9"/>
      <point rho="2.5" E="-1.2"/><point rho="4.0" E="-1.0"/>
    </potential_density>
  </per_type_data>
  <per_type_data type="2" atomic_num="47">
    <density num_points="3" density_y1="0.0" density_yn="0.0">
      <point a="1.0" rho="0.9"/><point a="2.0" rho="0.4"/><point a="4.1" rho="0.0"/>
    </density>
    <potential_density num_points="3" y1="-0.3" yn="1.0e50">
      <point rho="0.5" E="-0.2"/><point rho="1.0" E="-0.6"/><point rho="2.0" E="-0.7"/>
    </potential_density>
  </per_type_data>
  <per_pair_data type1="1" type2="1"><potential_pair num_points="4" y1="1.0e50">
    <point r="1.5" E="2.0"/><point r="2.0" E="0.7"/><point r="2.6" E="0.1"/><point r="3.2" E="0.0"/>
  </potential_pair></per_pair_data>
  <per_pair_data type1="2" type2="1"><potential_pair num_points="3" y1="-2.0" yn="0.0">
    <point r="1.7" E="1.6"/><point r="2.4" E="0.3"/><point r="3.3" E="0.0"/>
  </potential_pair></per_pair_data>
</Glue_params>"""


def copied(path: Path, folder: Path, change: Callable[[str], str]) -> Path:
    """Copy an XML file with its sparse points, with its text changed."""
    for points in path.parent.glob(f"{path.name}.sparseX.*"):
        shutil.copy(points, folder / points.name)
    target = folder / path.name
    target.write_text(change(path.read_text()))
    return target


def with_core(text: str) -> str:
    label = re.search(r'<Potential label="([^"]+)"', text).group(1)
    core = f"Sum init_args_pot1={{IP Glue}} init_args_pot2={{IP GAP label={label}}}"
    return re.sub(r'init_args="[^"]+"/>', f'init_args="{core}"/>' + GLUE, text, count=1)


def assert_agrees(path: Path, cases: dict[str, Atoms], tolerance: float = EXACT, arguments: str = "") -> None:
    model = castile.import_gap(path)
    calculator = quippy_calculator(path, arguments)
    for name, atoms in cases.items():
        found = deviation(model.predict(atoms), quippy_prediction(calculator, atoms))
        assert found.below(tolerance), f"{name}: {found}"


@pytest.mark.parametrize("name", TRAINED)
def test_trained_model_agrees_with_quippy(name: str, trained_gap: Trained) -> None:
    assert_agrees(trained_gap(name), structures())


@pytest.mark.parametrize("version", ["1423143768", "1426512067"])
def test_old_conventions_of_variants_agree_with_quippy(
    version: str, trained_gap: Trained, tmp_path: Path
) -> None:
    old = copied(
        trained_gap(VARIANTS),
        tmp_path,
        lambda text: re.sub(r'gap_version="\d+"', f'gap_version="{version}"', text),
    )
    assert_agrees(old, {"molecule": structures()["molecule"]})
    castile.export_gap(castile.import_gap(old), tmp_path / "again.xml")
    assert_agrees(tmp_path / "again.xml", {"molecule": structures()["molecule"]})


@pytest.mark.parametrize("version", ["0", "1423143768", "1426512067"])
def test_old_conventions_agree_with_quippy(version: str, trained_gap: Trained, tmp_path: Path) -> None:
    path = trained_gap(BOTH)
    old = copied(path, tmp_path, lambda text: re.sub(r'gap_version="\d+"', f'gap_version="{version}"', text))
    assert_agrees(old, {"crystal": structures()["crystal"], "molecule": structures()["molecule"]})
    now, then = castile.import_gap(path), castile.import_gap(old)
    crystal = structures()["crystal"]
    assert abs(now.predict(crystal).energy - then.predict(crystal).energy) > 1e-3


def test_glue_core_agrees_with_quippy(trained_gap: Trained, tmp_path: Path) -> None:
    path = copied(trained_gap(BOTH), tmp_path, with_core)
    close = Atoms("Cu2Ag", positions=[[0, 0, 0], [0.9, 0, 0], [0.2, 0.8, 0.4]])
    assert_agrees(path, {**structures(), "closer than the first knot": close}, 1e-6)


def test_published_models_agree_with_quippy(shared_data: Path) -> None:
    folder = shared_data / "gap_models"
    salt = structures("Li", "Cl", 4.6)
    assert_agrees(folder / "gap_autoplex_LiCl_2b_soap" / "gap.xml", salt)
    water = np.array(
        [[0, 0, 0], [0.9, 0.3, 0.1], [-0.3, 0.9, 0], [2.6, 0.4, 0.8], [3.4, 0.2, 0.3], [2.5, 1.4, 0.9]]
    )
    molecules = Atoms("OH2OH2", positions=water)
    packed = Atoms("OH2OH2", positions=water, cell=[4.5, 4.6, 4.7], pbc=True)
    assert_agrees(folder / "gap_quip_tests" / "GAP.xml", {"molecules": molecules, "packed": packed}, 1e-6)


def test_published_silicon_model_with_glue_core_agrees_with_quippy(shared_data: Path) -> None:
    path = shared_data / "gap_models" / "gap_lammps_example_Si_glue_soap" / "gap_example.xml"
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.15, seed=1)
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    slab.center(vacuum=6.0, axis=2)
    oxide = crystal.copy()
    oxide.symbols[:3] = "O"
    cases = {
        "crystal": crystal,
        "slab": slab,
        "oxide": oxide,
        "molecule": Atoms("Si4", crystal.positions[:4]),
    }
    assert_agrees(path, cases, arguments="xml_label=GAP_2015_2_20_0_10_54_35_765")


def inlined(path: Path, text: str) -> str:
    """Move the sparse points into the XML, in slices of 50 where they are longer."""
    root = ElementTree.fromstring(text)
    for block in root.iter("gpCoordinates"):
        numbers = (path.parent / block.attrib.pop("sparseX_filename")).read_text().split()
        block.attrib.pop("sparseX_md5sum", None)
        size = int(block.get("dimensions"))
        for entry in block.findall("sparseX"):
            start = (int(entry.get("i")) - 1) * size
            point = numbers[start : start + size]
            if size <= 50:
                entry.text = " ".join(point)
                continue
            entry.set("sliced", "T")
            for first in range(0, size, 50):
                last = min(first + 50, size)
                piece = ElementTree.SubElement(entry, "sparseX_slice", start=str(first + 1), end=str(last))
                piece.text = " ".join(point[first:last])
    return ElementTree.tostring(root, encoding="unicode")


def test_sparse_points_inside_the_xml_give_the_same_model(trained_gap: Trained, tmp_path: Path) -> None:
    path = trained_gap(BOTH)
    inside = tmp_path / "inside.xml"
    inside.write_text(inlined(path, path.read_text()))
    crystal = structures()["crystal"]
    assert (
        castile.import_gap(inside).predict(crystal).energy == castile.import_gap(path).predict(crystal).energy
    )


def test_e0_for_all_elements_and_label_mismatch(trained_gap: Trained, tmp_path: Path) -> None:
    path = trained_gap(FEW)

    def general(text: str) -> str:
        text = re.sub(r"<e0 [^>]*/>\s*", "", text)
        return re.sub(r"<GAP_data ", '<GAP_data e0="-1.5" ', text)

    changed = copied(path, tmp_path, general)
    crystal = structures()["crystal"]
    assert deviation(
        castile.import_gap(changed).predict(crystal), quippy_prediction(quippy_calculator(changed), crystal)
    ).below(EXACT)
    wrong = copied(path, tmp_path, lambda text: text.replace("<GAP_params label=", "<GAP_params label_="))
    with pytest.raises(InputError, match="no GAP_params with the label"):
        castile.import_gap(wrong)


def test_imported_model_is_saved_and_loaded(trained_gap: Trained, tmp_path: Path) -> None:
    for name in TRAINED:
        model = castile.import_gap(trained_gap(name))
        model.save(tmp_path / "model.castile")
        loaded = castile.load(tmp_path / "model.castile")
        for atoms in structures().values():
            first, second = model.predict(atoms), loaded.predict(atoms)
            assert first.energy == second.energy
            np.testing.assert_array_equal(first.forces, second.forces)


def test_imported_model_says_that_it_cannot_be_refitted(trained_gap: Trained) -> None:
    model = castile.import_gap(trained_gap(BOTH))
    with pytest.raises(InputError, match=r"imported from QUIP \(gp.xml\).*an update is not possible"):
        model.update([structures()["crystal"]])
    with pytest.raises(InputError, match="report of the fit"):
        _ = model.fit_report


def test_elements_come_from_the_file_or_the_caller(trained_gap: Trained) -> None:
    model = castile.import_gap(trained_gap(BOTH))
    assert model.fitted_model.elements == (29, 47)
    with pytest.raises(InputError, match="not trained on Au"):
        model.predict(Atoms("Au"))
    everything = castile.import_gap(trained_gap(MANY))
    assert len(everything.fitted_model.elements) == 118
    chosen = castile.import_gap(trained_gap(MANY), elements=["Cu", "Ag"])
    assert chosen.fitted_model.elements == (29, 47)
    with pytest.raises(InputError, match="chemical symbols"):
        castile.import_gap(trained_gap(MANY), elements=["Copper"])


def test_runs_dynamics_and_relaxation(trained_gap: Trained) -> None:
    atoms = bulk("Cu", cubic=True, a=3.7)
    atoms.rattle(0.05, seed=2)
    atoms.calc = castile.import_gap(trained_gap(BOTH)).calculator()
    relaxed = relax(atoms, max_force=0.05)
    assert relaxed.converged
    settings = MolecularDynamicsSettings(n_steps=20, temperature_k=100.0)
    result = run_molecular_dynamics(atoms, settings)
    assert result.completed


def test_threads_do_not_change_the_result(trained_gap: Trained) -> None:
    model = castile.import_gap(trained_gap(MANY))
    atoms = structures()["crystal"] * (2, 2, 2)
    model.threads = 1
    single = model.predict(atoms)
    model.threads = 3
    assert deviation(model.predict(atoms), single).below(1e-11)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("soap n_max", "soap_turbo n_max", "soap_turbo"),
        ("soap n_max", "soap R_mix=T n_max", "R_mix"),
        ("soap n_max", "soap Z_mix=T K=4 n_max", "Z_mix"),
        ("soap n_max", "soap radial_basis=CHEBYSHEV n_max", "radial_basis=CHEBYSHEV"),
        ("soap n_max", "soap diagonal_radial=T n_max", "dimensions"),
        ("soap n_max", "soap nu_R=3 n_max", "nu_R=3"),
        ("soap n_max", "soap Z_map={29 47} nu_S=1 n_max", "Z_map and nu_R"),
        ("soap n_max", "soap Z_map={Cu} n_max", "atomic numbers"),
        ("soap n_max", "soap gadget=3 n_max", "gadget"),
        ("soap n_max=4", "soap n_max=5", "dimensions"),
        ("soap n_max=4", "soap n_max=four", "not a number"),
        ("n_species=2", "n_species=3", "3 are announced"),
        ("distance_2b n_sparse", "distance_2b only_intra=T n_sparse", "only_intra"),
        ("distance_2b n_sparse", "distance_Nb order=3 n_sparse", "distance_Nb with order=3"),
        ('covariance_type="2"', 'covariance_type="3"', "bond_real_space"),
        ('covariance_type="2"', 'covariance_type="7"', "number 7"),
        ('covariance_type="2"', 'covariance_type="1"', "theta"),
        ('init_args="IP GAP', 'init_args="IP LJ', "is no GAP"),
        ('init_args="IP GAP', 'init_args="E_scale=2.0 IP GAP', "E_scale"),
        ('fitted="T"', 'fitted="F"', "not fitted"),
        ('sparseX_filename="', 'sparseX_filename="no_', "cannot be read"),
        ('n_coordinate="', 'n_coordinate="1', "announces"),
        ("</gpSparse>", "", "not a readable XML"),
        ("<gpSparse ", "<radial_params/><gpSparse ", "radial_params in GAP_params is not supported"),
        ('sparsified="T"', 'sparsified="T" gadget="1"', "gadget in GAP_params"),
        ('do_core="F"', 'do_core="F" do_pca="T"', "do_pca"),
        ('n_sparseX="12"', 'n_sparseX="many"', "n_sparseX='many' in gpCoordinates is not a number"),
        ('i="2" alpha', 'i="1" alpha', "one of them twice"),
        ('gap_version="', 'gap_version="x', "gap_version='x"),
        (" Z=29", " Z=290", "Z has 290, which is no atomic number"),
        ('<e0 Z="29"', '<e0 Z="Cu"', "Z='Cu' in e0"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    old: str, new: str, message: str, trained_gap: Trained, tmp_path: Path
) -> None:
    path = trained_gap(BOTH)
    assert old in path.read_text()
    changed = copied(path, tmp_path, lambda text: text.replace(old, new))
    with pytest.raises(InputError, match=message):
        castile.import_gap(changed)


def test_other_cores_are_refused(trained_gap: Trained, tmp_path: Path) -> None:
    changed = copied(
        trained_gap(BOTH), tmp_path, lambda text: with_core(text).replace("{IP Glue}", "{IP ZBL}")
    )
    with pytest.raises(InputError, match="IP ZBL"):
        castile.import_gap(changed)


def test_missing_file_is_named() -> None:
    with pytest.raises(InputError, match="nowhere"):
        castile.import_gap("nowhere.xml")


def test_empty_channels_are_left_out(trained_gap: Trained) -> None:
    model = castile.import_gap(trained_gap(BOTH))
    terms = [term for term in model.fitted_model.terms if isinstance(term, QuipSoapTerm)]
    assert {len(term.restricted(np.array([29])).species) for term in terms} == {1}
    calculator = quippy_calculator(trained_gap(BOTH))
    for symbol in ("Cu", "Ag"):
        atoms = structures()["crystal"]
        atoms.symbols[:] = symbol
        assert deviation(model.predict(atoms), quippy_prediction(calculator, atoms)).below(EXACT)


def test_every_key_of_gap_fit_is_known(trained_gap: Trained, tmp_path: Path) -> None:
    path = trained_gap(BOTH)
    changed = copied(
        path,
        tmp_path,
        lambda text: text.replace(
            "distance_2b ", "distance_2b energy_scale=1 lengthscale_uniform=0.8 only_inter=F "
        ).replace("soap n_max", "soap K=4 n_max"),
    )
    crystal = structures()["crystal"]
    assert (
        castile.import_gap(changed).predict(crystal).energy
        == castile.import_gap(path).predict(crystal).energy
    )


def test_the_core_is_the_one_that_the_potential_names(trained_gap: Trained, tmp_path: Path) -> None:
    def two_cores(text: str) -> str:
        other = GLUE.replace("<Glue_params", '<Glue_params label="other"').replace('E="', 'E="9')
        text = with_core(text).replace("{IP Glue}", "{IP Glue label=mine}")
        return text.replace("<Glue_params", other + '<Glue_params label="mine"')

    named = castile.import_gap(copied(trained_gap(BOTH), tmp_path, two_cores))
    only = castile.import_gap(copied(trained_gap(BOTH), tmp_path, with_core))
    crystal = structures()["crystal"]
    assert named.predict(crystal).energy == only.predict(crystal).energy
    missing = copied(
        trained_gap(BOTH), tmp_path, lambda text: two_cores(text).replace("label=mine", "label=no")
    )
    with pytest.raises(InputError, match="no Glue_params with the label 'no'"):
        castile.import_gap(missing)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('r="2.0" E="0.7"', 'r="1.2" E="0.7"', "rising r"),
        ('atomic_num="47">', 'atomic_num="47"><potential_neighbours/>', "potential_neighbours"),
        ('type2="1"', 'type2="3"', "per_pair_data"),
        ("<Glue_params", "<Clue_params", "not a readable XML|no Glue_params"),
    ],
)
def test_bad_glue_is_refused(old: str, new: str, message: str, trained_gap: Trained, tmp_path: Path) -> None:
    changed = copied(trained_gap(BOTH), tmp_path, lambda text: with_core(text).replace(old, new))
    with pytest.raises(InputError, match=message):
        castile.import_gap(changed)


def test_another_checksum_is_refused(trained_gap: Trained, tmp_path: Path) -> None:
    def checksum(value: str) -> Callable[[str], str]:
        return lambda text: re.sub(r'sparseX_md5sum="[^"]*"', f'sparseX_md5sum="{value}"', text)

    with pytest.raises(InputError, match="MD5"):
        castile.import_gap(copied(trained_gap(BOTH), tmp_path, checksum("0" * 32)))
    castile.import_gap(copied(trained_gap(BOTH), tmp_path, checksum("md5sum: not found")))


def test_damaged_sparse_points_are_refused(trained_gap: Trained, tmp_path: Path) -> None:
    changed = copied(trained_gap(BOTH), tmp_path, lambda text: re.sub(r' sparseX_md5sum="[^"]*"', "", text))
    points = sorted(tmp_path.glob("*.sparseX.*"))[0]
    original = points.read_text()
    points.write_text(original.replace("E", "D"))
    fortran = castile.import_gap(changed).predict(structures()["crystal"]).energy
    points.write_text(original)
    assert castile.import_gap(changed).predict(structures()["crystal"]).energy == fortran
    points.write_text("\n".join(original.split()[1:]))
    with pytest.raises(InputError, match=r"holds \d+ numbers"):
        castile.import_gap(changed)
    points.write_text("many " + original)
    with pytest.raises(InputError, match="not a number"):
        castile.import_gap(changed)
    words = original.split()
    points.write_text("\n".join([*words[:3], "NaN", *words[4:]]))
    with pytest.raises(InputError, match=rf"number 4 in .*{points.name} is nan .*copy the original again"):
        castile.import_gap(changed)


def test_a_folder_is_no_xml_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        castile.import_gap(tmp_path)
