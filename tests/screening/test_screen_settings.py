"""What the options of ``castile screen`` make of a potential."""

from dataclasses import replace
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

import castile
from castile.cli.screen_settings import TargetOptions
from castile.errors import InputError
from castile.screening.targets import GRADE_LIMIT, PotentialTarget, RelaxationPlan, reference_energies
from evaluation.emt_model import labelled_copper


@pytest.fixture
def plain(gap: castile.GAP, tmp_path: Path) -> TargetOptions:
    gap.save(tmp_path / "m.castile")
    return TargetOptions(tmp_path / "m.castile", None, None, 0, False, None, ())


def opened(options: TargetOptions) -> PotentialTarget:
    target = options.open()
    assert isinstance(target, PotentialTarget)
    return target


def test_without_options_it_is_the_energy_per_atom(plain: TargetOptions) -> None:
    target = opened(plain)
    assert (target.quantity, target.references, target.relaxation) == ("energy_per_atom", {}, None)
    assert target.grade_limit == GRADE_LIMIT


def test_every_option_arrives(plain: TargetOptions) -> None:
    target = opened(
        TargetOptions(plain.model, "formation_energy", "Cu=-0.5", 3, True, 0.25, ("nowhere.xyz",))
    )
    assert (target.quantity, target.references) == ("formation_energy", {"Cu": -0.5})
    assert target.relaxation == RelaxationPlan(3, cell=True)
    assert target.grade_limit == 0.25


def test_references_and_limit_are_computed_from_data(plain: TargetOptions, gap: castile.GAP) -> None:
    elements, training = plain.model.with_name("e.xyz"), plain.model.with_name("t.xyz")
    pure = [bulk("Cu", "fcc", a=a) for a in (3.5, 3.7)]
    ase.io.write(elements, pure)
    ase.io.write(training, labelled_copper(5, noise=0.01))
    target = opened(replace(plain, reference=str(elements), training=(str(training),)))
    assert target.references == pytest.approx(reference_energies(gap, pure))
    expected = PotentialTarget(gap).limited_by(ase.io.read(training, ":"))
    assert target.grade_limit == pytest.approx(expected.grade_limit)
    assert target.grade_limit != GRADE_LIMIT


def test_a_limit_of_zero_is_refused(plain: TargetOptions) -> None:
    with pytest.raises(InputError, match=r"grade_limit = 0\.0: give a positive number"):
        replace(plain, grade_limit=0.0).open()
