"""Defaults that come from the survey of the data."""

import numpy as np
import pytest
from ase.data import atomic_numbers

from castile.descriptors.channels import channels_for_similarity, chemical_mixing
from castile.potentials.defaults import resolve_settings
from castile.potentials.settings import FitSettings, SoapSettings
from castile.potentials.survey import Survey


def survey(elements: str, n_atoms: int, elements_per_atom: float) -> Survey:
    numbers = tuple(sorted(atomic_numbers[symbol] for symbol in elements.split()))
    n_pairs = len(numbers) * (len(numbers) + 1) // 2
    return Survey(
        numbers, (n_atoms // len(numbers),) * len(numbers), n_atoms // 32, n_atoms, 32, n_atoms // 32, 2.5,
        np.full(n_pairs, 2.0), elements_per_atom, np.linspace(0.0, 60.0, 121), np.linspace(0.0, 6.0, 121),
    )  # fmt: skip


def default_channels(found: Survey) -> int | str | None:
    soap = resolve_settings(FitSettings(), found, 3 * found.n_atoms).settings.soap
    assert isinstance(soap[0], SoapSettings)
    return soap[0].channels


@pytest.mark.parametrize(
    ("elements", "n_atoms", "mixed", "channels"),
    [
        ("Si", 100, 1.0, "elements"),
        ("Cu Au", 100, 2.0, "elements"),  # two channels are needed for two elements
        ("H C O", 500, 3.0, "elements"),  # nothing in common
        ("Nb Mo Ta W", 8_000, 2.0, 3),
        ("Nb Mo Ta W", 80_000, 2.0, "elements"),  # enough atoms for each by itself
        ("Ni Cu Pd Ag Pt Au", 3_500, 3.6, 3),
        ("Ni Cu Pd Ag Pt Au", 350_000, 4.5, 4),  # own ones would cost too much
    ],
)
def test_elements_share_channels_where_they_can_learn_from_each_other(
    elements: str, n_atoms: int, mixed: float, channels: int | str
) -> None:
    assert default_channels(survey(elements, n_atoms, mixed)) == channels


def test_given_channels_stay() -> None:
    settings = FitSettings(soap=(SoapSettings(channels="elements"),))
    resolved = resolve_settings(settings, survey("Nb Mo Ta W", 8_000, 2.0), 24_000)
    assert resolved.settings.soap[0].channels == "elements"  # type: ignore[union-attr]
    assert "soap.channels" not in {note.name for note in resolved.explanations}


def test_channels_keep_the_similarity_they_promise() -> None:
    numbers = [atomic_numbers[symbol] for symbol in ("Ni", "Cu", "Pd", "Ag", "Pt", "Au")]
    full = np.trace(chemical_mixing(numbers, 6) @ chemical_mixing(numbers, 6).T)
    for kept in (0.5, 0.9, 0.95, 1.0):
        n = channels_for_similarity(numbers, kept)
        shares = [
            np.trace(chemical_mixing(numbers, k) @ chemical_mixing(numbers, k).T) / full
            for k in (n, n - 1)
            if k
        ]
        assert shares[0] > kept - 1e-9
        assert all(share < kept for share in shares[1:])


def default_points(found: Survey, n_labels: int) -> tuple[int, str]:
    resolved = resolve_settings(FitSettings(), found, n_labels)
    (reason,) = (note.reason for note in resolved.explanations if note.name == "soap.n_sparse")
    assert isinstance(resolved.settings.soap[0], SoapSettings)
    return resolved.settings.soap[0].n_sparse or 0, reason


@pytest.mark.parametrize(("elements", "mixed"), [("Si", 1.0), ("Cu Au", 2.0), ("H C O", 3.0), ("Nb W", 1.2)])
@pytest.mark.parametrize("labels_per_atom", [0.1, 1.0, 3.2, 10.0])
def test_more_data_get_more_points_apart_from_the_step_that_the_explanation_tells(
    elements: str, mixed: float, labels_per_atom: float
) -> None:
    sizes = np.unique(np.geomspace(40, 2e6, 60).astype(int))
    found = [default_points(survey(elements, n, mixed), int(labels_per_atom * n)) for n in sizes]
    small = sizes < 5000
    assert [("any data of less than 5,000 atoms may cost" in reason) for _, reason in found] == small.tolist()
    points = np.array([n for n, _ in found])
    assert (np.diff(points[~small]) >= 0).all()
    # below, what labels and atoms allow, or more than the data above get
    allowed = np.minimum((labels_per_atom * sizes).astype(int) // 4, sizes)
    assert ((points == np.maximum(allowed, 1)) | (points >= points[~small][0]))[small].all()
