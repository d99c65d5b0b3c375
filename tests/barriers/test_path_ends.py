"""Ends of paths: doubled ions go, the image of the final site that is in reach is taken."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from barriers.examples import rocksalt_path
from castile.barriers import MigrationPath
from castile.barriers.hops import find_hops
from castile.barriers.path_ends import settled


def blocked(shift: float = 0.1) -> MigrationPath:
    """Half-way through a cell of 6 A: one way runs through a titanium ion, the other is open."""
    host = Atoms("TiO4", positions=[[1.5, 0, 0], [1.5, 2, 0], [1.5, -2, 0], [1.5, 0, 2], [1.5, 0, -2]])
    host.set_cell([6.0, 8.0, 8.0])
    host.pbc = True
    return MigrationPath("blocked", host, 3, np.array([[0.0, 0, 0], [3.0 - shift, 0, 0]]))


def test_the_open_way_is_taken() -> None:
    path = blocked()
    chosen = settled(path)
    np.testing.assert_allclose(chosen.track[-1] - chosen.track[0], [-3.1, 0, 0])
    assert "another image" in chosen.warnings[0]
    back = settled(path.reversed())
    np.testing.assert_allclose(back.track[-1] - back.track[0], [3.1, 0, 0])


@pytest.mark.parametrize(
    "path",
    [
        replace(blocked(), certain=True),
        replace(blocked(), track=np.array([[0.0, 0, 0], [1.5, 1.0, 0], [2.9, 0, 0]])),  # a relaxed path
        blocked(shift=0.5),  # the other image is 1 A further away
        rocksalt_path("Li", "O", 4.5, "plain"),
    ],
    ids=["certain", "relaxed", "far", "plain"],
)
def test_other_paths_keep_their_ends(path: MigrationPath) -> None:
    assert settled(path) is path


def test_a_hop_to_the_next_image_of_the_own_site_stays_a_hop() -> None:
    path = blocked()
    host = path.host.copy()
    host.set_cell([3.0, 8.0, 8.0])
    assert settled(replace(path, host=host, track=np.array([[0.0, 0, 0], [3.0, 0, 0]]))).length == 3.0


def test_an_ion_in_an_end_site_is_left_out() -> None:
    path = rocksalt_path("Li", "O", 4.5, "double")
    doubled = replace(path, host=path.host + Atoms("Li", [path.track[-1] + [0.2, 0.0, 0.0]]))
    mended = settled(doubled)
    assert len(mended.host) == len(path.host)
    np.testing.assert_array_equal(mended.host.numbers, path.host.numbers)
    assert "left out" in mended.warnings[0]
    foreign = replace(path, host=path.host + Atoms("Na", [path.track[-1] + [0.2, 0.0, 0.0]]))
    assert settled(foreign) is foreign


def test_hops_of_crystals_are_certain() -> None:
    cubic = Atoms("LiO", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[3.4] * 3, pbc=True)
    assert all(hop.path.certain for hop in find_hops(cubic, "Li", "cubic", longest=4.0))
