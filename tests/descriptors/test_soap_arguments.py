"""Arguments of SOAP that make no sense are refused at once, with their name and value."""

from typing import Any

import numpy as np
import pytest
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
