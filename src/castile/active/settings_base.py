"""What all settings of this package share: no unknown keys, errors that name key, value and remedy."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from castile.errors import InputError

Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of a settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Settings = TypeVar("Settings", bound=Section)


def parse_section(kind: type[Settings], values: dict[str, Any], source: str) -> Settings:
    """Return validated settings.

    Raises
    ------
    InputError
        Naming ``source``, every wrong key, its value and what is allowed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        inside = {problem["loc"][:1] for problem in found if len(problem["loc"]) > 1}
        problems = [
            _describe(problem)
            for problem in found
            if problem["type"] != "too_short" or problem["loc"] not in inside  # wrong entries do not count
        ]
        raise InputError(f"{source}: " + "; ".join(problems)) from None


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its name"
    if problem["type"] == "missing":
        return f"{key}: is missing; give it"
    if problem["type"] == "tuple_type":
        return f"{key}: give a list, [...]; tables of a list have two brackets, [[{key}]]"
    given = "" if isinstance(problem["input"], dict) else f" = {problem['input']!r}"
    return f"{key}{given}: {problem['msg'].removeprefix('Value error, ')}"
