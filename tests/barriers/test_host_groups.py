"""Which paths stay together in folds: near-twins, whatever was done to them, and families of structures."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.geometry import get_distances
from scipy.spatial.transform import Rotation

from barriers.examples import labelled_paths, layered, olivine, rocksalt_path
from castile.barriers import BarrierModel, MigrationPath, cross_validate
from castile.barriers.crossval import TooFewGroupsError
from castile.barriers.hops import find_hops
from castile.barriers.host_groups import host_families, host_formulas, twin_groups
from castile.barriers.near_twins import TWIN_SIMILARITY, twin_similarities
from castile.descriptors.soap import SOAP
from castile.errors import InputError

GENERATOR = np.random.default_rng(11)


def rattled(path: MigrationPath, amplitude: float) -> MigrationPath:
    host = path.host.copy()
    host.positions += amplitude * GENERATOR.normal(size=host.positions.shape)
    return replace(path, host=host, track=path.track + amplitude * GENERATOR.normal(size=path.track.shape))


def deformed(path: MigrationPath, matrix: np.ndarray) -> MigrationPath:
    host = path.host.copy()
    host.set_cell(host.cell.array @ matrix, scale_atoms=True)
    return replace(path, host=host, track=path.track @ matrix)


def supercell(path: MigrationPath) -> MigrationPath:
    return replace(path, host=path.host.repeat((2, 1, 1)))


def shuffled(path: MigrationPath) -> MigrationPath:
    return replace(path, host=path.host[GENERATOR.permutation(len(path.host))])


def rotated(path: MigrationPath) -> MigrationPath:
    return deformed(path, Rotation.random(random_state=3).as_matrix())


def strained(path: MigrationPath) -> MigrationPath:
    strain = 0.005 * GENERATOR.normal(size=(3, 3))
    strain += strain.T
    return deformed(path, np.eye(3) + 0.01 * strain / np.abs(np.linalg.eigvalsh(strain)).max())


def doped(path: MigrationPath) -> MigrationPath:
    """Another element far from the line: another composition, but hardly another path."""
    host = path.host.copy()
    lines = get_distances(path.points(5), host.positions, cell=host.cell, pbc=host.pbc)[1]
    furthest = int(np.argmax(lines.min(axis=0)))
    assert lines[:, furthest].min() > 5.0
    host.numbers[furthest] = 45
    return replace(path, host=host)


TWINS = {
    "rattled by 0.03 A": lambda path: rattled(path, 0.03),
    "supercell": supercell,
    "reversed": MigrationPath.reversed,
    "other order of atoms": shuffled,
    "rotated": rotated,
    "strained by 1 %": strained,
    "doped far away": doped,
}


@pytest.fixture(scope="module")
def originals() -> list[MigrationPath]:
    """Paths through hosts large enough for an atom that the line does not see."""
    pytest.importorskip("spglib", reason="spglib is not installed")
    found = [next(find_hops(crystal, "Li", "host")).path for crystal in (layered(), olivine())]
    path = rocksalt_path("Na", "S", 5.7, "rocksalt")
    host = path.host + Atoms("H", [path.points(3)[1]])  # where the middle of the line runs through
    return [*found, path, replace(path, host=host)]


@pytest.mark.parametrize("change", TWINS.values(), ids=TWINS.keys())
def test_near_twins_are_found_by_their_similarity_alone(change, originals: list[MigrationPath]) -> None:
    """Without the help of a common composition."""
    twins = [change(path) for path in originals]
    K = twin_similarities([*originals, *twins])
    n = len(originals)
    assert np.diagonal(K[:n, n:]).min() > TWIN_SIMILARITY
    assert np.where(np.eye(n) == 1.0, 0.0, K[:n, n:]).max() < 0.95


def test_similarity_is_that_of_one_channel_per_element(originals: list[MigrationPath]) -> None:
    """The sparse products, against power spectra with a place for every element."""
    soap = SOAP(5.0, 6, 4, 0.5, species=["H", "Li", "O", "Na", "P", "S", "Fe", "Co"]).fit()
    whole = []
    for path in originals:
        spectra = soap.transform(path.host, centers=path.points(5) + 1e-4)
        blocks = [spectra[0] + spectra[4], spectra[1] + spectra[3], spectra[2]]
        whole.append(np.concatenate([block / np.linalg.norm(block) for block in blocks]) / np.sqrt(3.0))
    np.testing.assert_allclose(twin_similarities(originals), np.array(whole) @ np.array(whole).T, atol=1e-10)


def replaced(path: MigrationPath, old: int, new: int) -> MigrationPath:
    host = path.host.copy()
    host.numbers[host.numbers == old] = new
    return replace(path, host=host)


def test_other_metals_are_no_twins_but_one_family(originals: list[MigrationPath]) -> None:
    cobalt = originals[0]
    listed = [cobalt, replaced(cobalt, 27, 28), doped(cobalt), *originals[1:]]
    assert len(set(host_formulas(listed))) == len(listed)
    twins = twin_groups(listed)
    assert twins[0] == twins[2]
    assert len(set(twins)) == len(listed) - 1
    families = host_families(listed, BarrierModel().featurize(listed))
    assert families[0] == families[1] == families[2]
    assert len(set(families)) == len(listed) - 2


class Recording(BarrierModel):
    """Remembers on which paths each fold was fitted."""

    fitted: ClassVar[list[set[str]]] = []

    def fit_features(self, features, paths, y=None):
        """Fit, and remember."""
        self.fitted.append({path.path_id for path in paths})
        return super().fit_features(features, paths, y)


def test_folds_never_part_near_twins() -> None:
    """Two of each path, the second through a host of another composition."""
    firsts = [replace(path, path_id=f"{k}") for k, path in enumerate(labelled_paths(8))]
    listed = [*firsts, *(replace(doped(path), path_id=f"{path.path_id} doped") for path in firsts)]
    anions = (8, 9, 16, 17, 34, 35, 52, 53)
    for k, path in enumerate(listed):  # eight hosts, and their twins
        path.host.numbers[np.isin(path.host.numbers, (8, 16))] = anions[k % 8]
    model = Recording(n_steps=2)
    features = model.featurize(listed)
    Recording.fitted.clear()
    proof = cross_validate(model, listed, features, folds="leak-proof", n_folds=4)
    assert proof.n_groups == 8
    assert len(Recording.fitted) == 4
    for trained in Recording.fitted:
        assert {name.removesuffix(" doped") for name in trained} == {
            name for name in trained if " " not in name
        }
        assert len(trained) % 2 == 0
    Recording.fitted.clear()
    cross_validate(model, listed, features, n_folds=4)
    assert any(len({name.removesuffix(" doped") for name in t}) * 2 > len(t) for t in Recording.fitted)


def test_too_few_groups_say_so() -> None:
    listed = labelled_paths(8)
    model = BarrierModel(n_steps=2)
    with pytest.raises(TooFewGroupsError, match=r"families folds: .* groups .* too few for 6 folds"):
        cross_validate(model, listed, model.featurize(listed), folds="families", n_folds=6)
    with pytest.raises(InputError, match="give 'random'"):
        cross_validate(model, listed, model.featurize(listed), folds="other", n_folds=6)  # type: ignore[arg-type]
