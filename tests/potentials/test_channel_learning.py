"""Learned density channels: elements that interact alike share them."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import castile
from castile.errors import InputError
from castile.potentials.channel_learning import learned_mixing
from castile.structures import StructureSource

CU, AG, AU, PT = 29, 47, 79, 78


def _alloys(numbers: tuple[int, ...], alias: dict[int, int] | None = None, count: int = 24) -> list[Atoms]:
    """Rattled fcc alloys with EMT labels; elements in ``alias`` are renamed after the calculation."""
    rng = np.random.default_rng(3)
    structures = []
    for k in range(count):
        atoms = bulk("Cu", a=rng.uniform(3.7, 4.1), cubic=True) * (1, 1, 2)
        atoms.numbers = rng.choice(numbers, len(atoms))
        atoms.rattle(0.15, seed=k)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        for new, old in (alias or {}).items():
            where = np.flatnonzero(atoms.numbers == old)
            atoms.numbers[where[::2]] = new
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        structures.append(atoms)
    return structures


def test_two_names_of_one_element_share_a_channel() -> None:
    structures = _alloys((CU, AU), alias={AG: CU})
    mixing = learned_mixing(StructureSource(structures), 2)
    kernel = mixing @ mixing.T
    copper, silver, gold = 0, 1, 2
    assert kernel[copper, silver] > 0.9
    assert 1.0 - kernel[copper, gold] > 1.5 * (1.0 - kernel[copper, silver])


def test_all_channels_reproduce_the_similarity() -> None:
    mixing = learned_mixing(StructureSource(_alloys((CU, AU, PT))), 3)
    assert mixing.shape == (3, 3)
    np.testing.assert_allclose(np.diag(mixing @ mixing.T), 1.0, atol=1e-8)


def test_potential_with_learned_channels_survives_its_file(tmp_path) -> None:
    structures = _alloys((CU, AU, PT))
    soap = {"channels": 2, "mixing": "learned", "n_sparse": 40, "n_max": 4, "l_max": 3}
    model = castile.GAP(settings={"soap": [soap]}).fit(structures)
    assert np.shape(model.settings_.soap[0].mixing) == (3, 2)
    model.save(tmp_path / "model.castile")
    again = castile.load(tmp_path / "model.castile")
    np.testing.assert_array_equal(again.predict(structures[0]).forces, model.predict(structures[0]).forces)


def test_impossible_requests_are_refused() -> None:
    source = StructureSource(_alloys((CU, AU), count=4))
    with pytest.raises(InputError, match="channels = 3"):
        learned_mixing(source, 3)
    bare = [atoms.copy() for atoms in _alloys((CU, AU), count=4)]
    with pytest.raises(InputError, match="energies or forces"):
        learned_mixing(StructureSource(bare), 1)
