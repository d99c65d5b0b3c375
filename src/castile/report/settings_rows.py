"""Settings of a fit as rows of name, value and meaning."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

Scalar = float | int | bool | str | None


def settings_rows(settings: BaseModel) -> list[tuple[str, str, str]]:
    """Rows (key, value, meaning) of every setting; nested keys read ``soap[0].cutoff``."""
    return [(key, _text(value), meaning) for key, value, meaning in _walk_model(settings, "")]


def settings_values(settings: BaseModel) -> list[tuple[str, Scalar]]:
    """Pairs (key, value) of every setting as JSON scalars; what is not set is None."""
    return [(key, _scalar(value)) for key, value, _ in _walk_model(settings, "")]


def _walk_model(settings: BaseModel, prefix: str) -> Iterator[tuple[str, object, str]]:
    for name, field in type(settings).model_fields.items():
        yield from _walk(prefix + name, getattr(settings, name), field.description or "")


def _walk(key: str, value: object, meaning: str) -> Iterator[tuple[str, object, str]]:
    if isinstance(value, BaseModel):
        yield from _walk_model(value, f"{key}.")
    elif isinstance(value, list | tuple) and any(isinstance(entry, BaseModel) for entry in value):
        for index, entry in enumerate(value):
            yield from _walk(f"{key}[{index}]", entry, meaning)
    elif isinstance(value, dict) and value:
        for name, entry in value.items():
            yield from _walk(f"{key}.{name}", entry, meaning)
    else:
        yield key, value, meaning


def _scalar(value: object) -> Scalar:
    if isinstance(value, str | bool | int | float):
        return value
    return None if _is_empty(value) else str(value)


def _text(value: object) -> str:
    if _is_empty(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, dict | list | tuple) and not value)
