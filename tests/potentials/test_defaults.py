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
