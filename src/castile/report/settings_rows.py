"""Settings of a fit as rows of name, value and meaning."""

from __future__ import annotations

from pydantic import BaseModel


def settings_rows(settings: BaseModel, prefix: str = "") -> list[tuple[str, str, str]]:
    """(key, value, meaning) of every setting, nested ones as ``soap[0].cutoff``; meanings are the fields' own."""
    rows: list[tuple[str, str, str]] = []
    for name, field in type(settings).model_fields.items():
        rows.extend(_rows(prefix + name, getattr(settings, name), field.description or ""))
    return rows


def _rows(key: str, value: object, meaning: str) -> list[tuple[str, str, str]]:
    if isinstance(value, BaseModel):
        return settings_rows(value, f"{key}.")
    if isinstance(value, list | tuple) and any(isinstance(entry, BaseModel) for entry in value):
        return [row for index, entry in enumerate(value) for row in _rows(f"{key}[{index}]", entry, meaning)]
    if isinstance(value, dict) and value:
        return [row for name, entry in value.items() for row in _rows(f"{key}.{name}", entry, meaning)]
    return [(key, _text(value), meaning)]


def _text(value: object) -> str:
    if value is None or value in ({}, [], ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
