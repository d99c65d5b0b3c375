"""Settings: TOML there and back, and errors that name the key."""

from pathlib import Path

import pytest

import castile
from castile.errors import InputError
from castile.potentials.settings import (
    FitSettings,
    parse_settings,
    read_settings,
    settings_to_toml,
    write_settings,
)

COMPLETE = {
    "soap": [
        {
            "name": 'a "quoted" \\ name\twith a tab',
            "cutoff": 5.5,
            "n_max": 8,
            "l_max": 6,
            "sigma": 0.5,
            "zeta": 4,
            "radial_scaling": {"rate": 1.0, "scale": 2.0, "exponent": 4.0},
            "channels": 3,
        },
        {"name": "é", "amplitude": 1e-7},
    ],
    "pair": [],
    "composition": {"method": "given", "energies": {"Si": -158.5}},
    "core": {"inner": {"Si-Si": 0.9}, "outer": {"Si-Si": 1.9}},
    "noise": {"energy": 0.001, "config_types": {"liquid phase": {"forces": 0.2}, "x.y": {}}},
    "use_stress": False,
    "seed": 7,
}


def test_toml_there_and_back(tmp_path: Path) -> None:
    settings = parse_settings(COMPLETE, "test")
    write_settings(tmp_path / "s.toml", settings)
    assert read_settings(tmp_path / "s.toml") == settings
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]
    write_settings(tmp_path / "d.toml", FitSettings())
    assert read_settings(tmp_path / "d.toml") == FitSettings()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[[soap]]\ncutof = 5.0", "soap.0.cutof", "unknown key"),
        ("seeds = 3", "seeds", "unknown key"),
        ("[noise]\nforce = 0.1", "noise.force", "unknown key"),
        ("[[soap]]\ncutoff = -5.0", "soap.0.cutoff = -5.0", "greater than 0"),
        ('[[soap]]\nn_max = "many"', "soap.0.n_max = 'many'", "integer"),
        ("[[soap]]\nl_max = 21", "soap.0.l_max = 21", "less than or equal to 20"),
        ('selection = "best"', "selection = 'best'", "farthest"),
        ("[[soap]]\n[[soap]]", "", "same name"),
        ("[[soap]]\nradial_scaling = { scale = 2.0 }", "soap.0.radial_scaling.exponent", "required"),
        ("[[pair]]\nn_sparse = 1", "pair.0.n_sparse = 1", "greater than or equal to 2"),
        ("soap = 3", "soap = 3", "auto"),
        ("[noise]\nenergy = inf", "noise.energy = inf", "finite"),
        ("seed = ", "", "TOML"),
    ],
)
def test_errors_name_the_file_the_key_and_the_remedy(tmp_path: Path, text: str, key: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(path)
    message = str(caught.value)
    assert str(path) in message
    assert key in message
    assert said in message
    assert message.count(";") <= 1, message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such settings file"):
        castile.GAP(tmp_path / "none.toml").requested_settings()


def test_arguments_change_the_settings() -> None:
    settings = castile.GAP({"soap": [{"cutoff": 5.0}]}, n_max=7, core=False, pair=False).requested_settings()
    assert settings.soap[0].cutoff == 5.0
    assert settings.soap[0].n_max == 7
    assert not settings.core.enabled
    assert settings.pair == ()
    with pytest.raises(InputError, match=r"n_max cannot be given .* 2 SOAP terms"):
        castile.GAP({"soap": [{"name": "a"}, {"name": "b"}]}, n_max=7).requested_settings()
    with pytest.raises(InputError, match=r"GAP: soap.0.cutoff = -1"):
        castile.GAP(cutoff=-1).requested_settings()


def test_energies_of_elements_are_not_overruled() -> None:
    with pytest.raises(InputError, match="energies"):
        parse_settings({"composition": {"method": "least_squares", "energies": {"Si": 1.0}}}, "x")


def test_every_key_has_a_description() -> None:
    text = settings_to_toml(FitSettings())
    assert text.startswith("#")
    stack = [FitSettings]
    while stack:
        for name, field in stack.pop().model_fields.items():
            assert field.description or hasattr(field.annotation, "model_fields"), name
