"""QUIP's XML: what is written is read back, and both ways to store sparse points are read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from castile.errors import InputError
from castile.formats.quip_strings import ParameterString
from castile.formats.quip_xml import (
    GluePair,
    GlueType,
    QuipCoordinates,
    QuipGlue,
    QuipPotential,
    QuipSpline,
    read_quip_xml,
)
from castile.formats.quip_xml_writer import write_quip_xml


def coordinates(covariance_type: int, n_features: int) -> QuipCoordinates:
    rng = np.random.default_rng(n_features)
    return QuipCoordinates(
        "GAP_castile1",
        ParameterString.parse("distance_2b cutoff=4.0 exponents={-1 -3}"),
        covariance_type,
        0.3,
        0.1,
        2.5 if covariance_type == 2 else 0.0,
        np.empty(0) if covariance_type == 2 else rng.uniform(size=n_features),
        ((0,),) if covariance_type == 2 else (tuple(range(n_features)),),
        rng.normal(size=(3, n_features)),
        rng.normal(size=3) * 1e-7,
        rng.uniform(size=3),
    )


def potential() -> QuipPotential:
    spline = QuipSpline((0.5, 1.0, 2.0), (1.0, 0.1 + 0.2, 0.0), None, 1.0e50)
    glue = QuipGlue(
        (GlueType(14, spline, True, spline), GlueType(8, spline, False, spline)),
        (GluePair((14, 14), spline), GluePair((8, 14), replace(spline, first_slope=-3.25))),
    )
    blocks = (coordinates(1, 2), replace(coordinates(2, 60), label="GAP_castile2"))
    return QuipPotential("GAP_castile", 1686220958, -0.5, ((8, 1.5), (14, 1e-3)), blocks, glue)


def assert_same(found: QuipCoordinates, expected: QuipCoordinates) -> None:
    for name in ("label", "covariance_type", "delta", "f0", "zeta", "permutations"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("theta", "sparse_points", "alpha", "sparse_cutoff"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.descriptor == expected.descriptor


def test_written_files_are_read_back_to_the_last_bit(tmp_path: Path) -> None:
    expected = potential()
    files = write_quip_xml(tmp_path / "gp.xml", expected)
    assert [path.name for path in files] == [
        "gp.xml.sparseX.GAP_castile1",
        "gp.xml.sparseX.GAP_castile2",
        "gp.xml",
    ]
    found = read_quip_xml(tmp_path / "gp.xml")
    for name in ("label", "gap_version", "default_energy", "energies", "glue"):
        assert getattr(found, name) == getattr(expected, name), name
    for block, original in zip(found.coordinates, expected.coordinates, strict=True):
        assert_same(block, original)


def document(points: str, attributes: str = 'dimensions="3" n_sparseX="2"') -> str:
    return (
        '<!-- comment --><q><Potential label="G" init_args="IP GAP label=G"/><GAP_params label="G">'
        '<GAP_data do_core="F"/><gpSparse n_coordinate="1"><gpCoordinates label="G1" '
        f'signal_variance=".5E+000" signal_mean="0.0" covariance_type="1" {attributes}>'
        f"<theta>1 1 1</theta><descriptor>angle_3b</descriptor>"
        f"{points}</gpCoordinates></gpSparse></GAP_params></q>"
    )


INLINE = (
    '<sparseX i="1" alpha="1.0" sparseCutoff="1.0">1.0 2.0 3.0</sparseX>'
    '<sparseX i="2" alpha="2.0" sparseCutoff="0.5">4.0 5.0 .6E+001</sparseX>'
)
SLICED = (
    '<sparseX i="1" alpha="1.0" sparseCutoff="1.0" sliced="T">'
    '<sparseX_slice start="1" end="2">1 2</sparseX_slice>'
    '<sparseX_slice start="3" end="3">3</sparseX_slice></sparseX>'
    '<sparseX i="2" alpha="2.0" sparseCutoff="0.5" sliced="T">'
    '<sparseX_slice start="1" end="3">4 5 6</sparseX_slice></sparseX>'
)


@pytest.mark.parametrize("points", [INLINE, SLICED])
def test_sparse_points_inside_the_xml(points: str, tmp_path: Path) -> None:
    (tmp_path / "gp.xml").write_text(document(points))
    found = read_quip_xml(tmp_path / "gp.xml")
    assert found.gap_version == 0
    np.testing.assert_array_equal(found.coordinates[0].sparse_points, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(found.coordinates[0].alpha, [1.0, 2.0])
    assert found.coordinates[0].delta == 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4.0 5.0 .6E+001", "4.0 5.0", "sparse point 2 does not have 3 finite numbers"),
        ("4.0 5.0 .6E+001", "4.0 5.0 nan", "sparse point 2 does not have 3 finite numbers"),
        ('i="2"', 'i="3"', "announces the sparse points 1 to 2"),
        ('alpha="2.0"', 'alpha="two"', "alpha='two' in sparseX is not a number"),
        ('alpha="2.0"', 'alpha="inf"', "not finite"),
        ('signal_mean="0.0"', "", "gpCoordinates has no signal_mean"),
        ("gpSparse", "gpSpars", "holds no gpSparse"),
        ("<Potential", "<Potentiel", "no Potential element"),
        ("IP GAP", "IP GAP calc_force", "calc_force"),
        (
            "IP GAP label=G",
            "Sum init_args_pot1={IP GAP label=G} init_args_pot2={IP SW}",
            "only core that can be imported is IP Glue",
        ),
        (
            "IP GAP label=G",
            "Sum init_args_pot1={IP GAP label=G} init_args_pot2={IP Glue cutoff=3}",
            "cutoff in the core's arguments",
        ),
        ("IP GAP label=G", "Sum init_args_pot1={IP GAP label=G}", "sum of a Glue core and one GAP"),
        (
            "IP GAP label=G",
            "Sum init_args_pot1={IP GAP label=G} init_args_pot2={IP Glue}",
            "there are no Glue_params",
        ),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = document(INLINE)
    assert old in text
    (tmp_path / "gp.xml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_quip_xml(tmp_path / "gp.xml")


def test_incomplete_slices_are_named(tmp_path: Path) -> None:
    (tmp_path / "gp.xml").write_text(document(SLICED.replace(">4 5 6<", ">4 5<")))
    with pytest.raises(InputError, match=r"slice 1-3 of sparse point 2 is incomplete"):
        read_quip_xml(tmp_path / "gp.xml")
