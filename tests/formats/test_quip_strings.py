"""QUIP's parameter strings and numbers."""

import pytest

from castile.errors import InputError
from castile.formats.quip_strings import ParameterString, quip_float, write_list, write_number


def test_keys_lists_quotes_and_bare_words() -> None:
    string = ParameterString.parse(
        "soap Cutoff=5.0 species_Z={14 8 } Z = {{14}} add_species=F note='two words' file=\"a b\" average"
    )
    assert string.real("cutoff") == 5.0
    assert string.integers("species_Z", (), 2) == (14, 8)
    assert string.integers("Z", (), 1) == (14,)
    assert string.text_of("note", "") == "two words"
    assert string.text_of("file", "") == "a b"
    assert string.flag("average", False)
    assert not string.flag("add_species", True)
    assert string.has("SOAP")
    assert string.unknown(["soap", "cutoff", "species_z", "z", "add_species", "note", "average"]) == ["file"]


def test_nested_arguments_of_a_sum() -> None:
    string = ParameterString.parse("Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP label=GAP_1}")
    assert string.text_of("init_args_pot2", "") == "IP GAP label=GAP_1"


def test_defaults_and_aliases() -> None:
    string = ParameterString.parse("soap atom_gaussian_width=0.4")
    assert string.real("atom_sigma", None, "atom_gaussian_width") == 0.4
    assert string.whole("n_species", 1) == 1
    assert string.reals("exponents", (1.0,)) == (1.0,)


@pytest.mark.parametrize(
    ("text", "call", "message"),
    [
        ("soap", lambda s: s.real("cutoff"), "cutoff is missing"),
        ("soap n_max=2.5", lambda s: s.whole("n_max"), "must be an integer"),
        ("soap average=maybe", lambda s: s.flag("average", False), "neither T nor F"),
        ("soap Z={1 2}", lambda s: s.integers("Z", (), 3), "2 entries but 3"),
        ("soap Z={Si}", lambda s: s.integers("Z", (), 1), "no list of numbers"),
    ],
)
def test_bad_values_are_named(text: str, call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(ParameterString.parse(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [(".5E+000", 0.5), ("1.0D-3", 1e-3), ("-.25", -0.25), (" 3 ", 3.0), (".10000000-100", 1e-101)],
)
def test_fortran_numbers(text: str, value: float) -> None:
    assert quip_float(text) == value


def test_numbers_keep_all_digits() -> None:
    assert quip_float(write_number(0.1 + 0.2)) == 0.1 + 0.2
    assert write_list([3.0, -1.5]) == "{3 -1.5}"
