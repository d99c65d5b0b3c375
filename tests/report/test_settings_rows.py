"""Every setting of a fit is a row with its meaning."""

from castile.potentials.settings import FitSettings, PairSettings, SoapSettings
from castile.report.settings_rows import settings_rows


def test_every_setting_has_a_row_and_a_meaning() -> None:
    rows = settings_rows(
        FitSettings(soap=(SoapSettings(cutoff=5.0), SoapSettings(name="short")), pair=(PairSettings(),))
    )
    values = {key: value for key, value, _ in rows}
    assert values["soap[0].cutoff"] == "5"
    assert values["soap[1].name"] == "short"
    assert values["soap[1].cutoff"] == "–"
    assert values["core.enabled"] == "yes"
    assert values["seed"] == "0"
    assert len(values) == len(rows)
    assert all(meaning for _, _, meaning in rows)


def test_dictionaries_have_a_row_per_entry() -> None:
    settings = FitSettings.model_validate({"noise": {"config_types": {"md": {"forces": 0.1}}}})
    values = {key: value for key, value, _ in settings_rows(settings)}
    assert values["noise.config_types.md.forces"] == "0.1"
