"""Arguments of SOAP that make no sense are refused at once, with their name and value."""

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.errors import InputError


@pytest.mark.parametrize("basis", ["gto", "equispaced"])
@pytest.mark.parametrize(
    ("argument", "value"), [("sigma", 1e-4), ("cutoff", "five"), ("cutoff", None), ("sigma", float("nan"))]
)
def test_lengths_that_make_no_sense_are_named(argument: str, value: Any, basis: Any) -> None:
    descriptor = castile.SOAP(species=["Si"], radial_basis=basis, **{argument: value})
    with pytest.raises(InputError, match=argument):
        descriptor.transform(bulk("Si"))


def test_one_element_may_be_given_as_a_string() -> None:
    atoms = bulk("Si")
    alone = castile.SOAP(species="Si", n_max=3, l_max=2).transform(atoms)
    np.testing.assert_array_equal(alone, castile.SOAP(species=["Si"], n_max=3, l_max=2).transform(atoms))
    with pytest.raises(InputError, match="'SiC' is no element"):
        castile.SOAP(species="SiC").fit()


@pytest.mark.parametrize("distance", [0.0, 0.02])
def test_atoms_in_one_place_are_named(distance: float) -> None:
    """As predictions refuse them: features of fused atoms look normal and mean nothing."""
    atoms = Atoms("SiCSi", positions=[[0, 0, 0], [3, 0, 0], [3, distance, 0]])
    soap = castile.SOAP(n_max=3, l_max=2).fit(atoms)
    with pytest.raises(InputError, match=r"structure 1: atoms 1 and 2 are 0?.* A apart"):
        soap.transform([atoms[:2], atoms])
    with pytest.raises(InputError, match="atoms 1 and 2"):
        soap.vjp(atoms, np.zeros((3, soap.n_features_out_)))
    image = Atoms("Si2", positions=[[0, 0, 0], [5 + distance, 0, 0]], cell=[5, 9, 9], pbc=True)
    with pytest.raises(InputError, match="atoms 0 and 1"):
        soap.transform(image)


def test_a_point_may_lie_on_an_atom() -> None:
    atoms = bulk("Si")
    soap = castile.SOAP(n_max=3, l_max=2).fit(atoms)
    assert soap.transform(atoms, centers=atoms.positions).shape == (2, soap.n_features_out_)


def test_changed_arguments_count_from_the_next_fit() -> None:
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=0)
    soap = castile.SOAP(n_max=3, l_max=2, average="inner").fit(atoms)
    before, names = soap.transform(atoms), list(soap.get_feature_names_out())
    new = {"n_max": 4, "average": None, "dtype": "float32", "channels": 1, "normalize": False, "cutoff": 4.0}
    soap.set_params(**new)
    np.testing.assert_array_equal(soap.transform(atoms), before)
    assert soap.transform(atoms).dtype == np.float64
    assert list(soap.get_feature_names_out()) == names
    assert soap.vjp(atoms, np.ones(before.shape)).positions.shape == (2, 3)
    assert soap.jvp(atoms, positions=np.ones((2, 3))).shape == before.shape
    soap.fit(atoms)
    expected = castile.SOAP(l_max=2, **new).fit(atoms)  # type: ignore[arg-type]
    np.testing.assert_array_equal(soap.transform(atoms), expected.transform(atoms))
    assert soap.transform(atoms).dtype == np.float32


def test_without_a_call_of_fit_changed_arguments_count_at_once() -> None:
    atoms = bulk("Si")
    soap = castile.SOAP(n_max=3, l_max=2, species=["Si"])
    assert soap.transform(atoms).shape[0] == 2
    assert soap.set_params(average="outer").transform(atoms).shape[0] == 1
