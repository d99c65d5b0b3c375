"""Settings of a fit: everything that can be chosen, validated, with None for what comes from the data.

The same keys are read from a TOML file (``castile fit --config``) and written back completely by every fit.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from castile.errors import InputError
from castile.formats import write_text_file

Positive = Annotated[float, Field(gt=0.0)]
HEADING = "# Settings of a Castile fit; `castile fit --config` reads this file."
_BRANCHES = ("int", "constrained-int", "RadialScalingSettings")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RadialScalingSettings(_Section):
    """Weight rate / (rate + (r / scale)^exponent) of the density at distance r."""

    rate: Positive = Field(1.0, description="c, no unit")
    scale: Positive = Field(description="r0, Angstrom")
    exponent: Annotated[float, Field(ge=1.0)] = Field(description="m, no unit")


class SoapSettings(_Section):
    """One SOAP term."""

    name: str = Field("soap", description="label of the term, unique among terms")
    cutoff: Positive | None = Field(None, description="radius of an environment, Angstrom")
    cutoff_width: Positive | None = Field(
        None, description="length over which the cutoff function falls, Angstrom"
    )
    cutoff_function: Literal["cosine", "smooth"] = Field("smooth", description="form of the cutoff function")
    n_max: Annotated[int, Field(ge=1, le=40)] | None = Field(None, description="number of radial functions")
    l_max: Annotated[int, Field(ge=0, le=20)] | None = Field(None, description="largest angular channel")
    sigma: Positive | None = Field(None, description="Gaussian width of an atom, Angstrom")
    radial_basis: Literal["gto", "equispaced"] = Field("gto", description="radial functions")
    radial_scaling: RadialScalingSettings | Literal["auto", "none"] = Field(
        "auto", description="weight of the density by distance"
    )
    central_weight: float = Field(1.0, description="weight of the central atom's own Gaussian")
    channels: Annotated[int, Field(ge=1)] | Literal["auto", "elements"] = Field(
        "auto", description="density channels: one per element, or this many that elements share"
    )
    mixing: Literal["chemical", "learned"] | tuple[tuple[float, ...], ...] = Field(
        "chemical",
        description="weights of the elements in shared channels: by chemical similarity, learned from the "
        "labels, or a matrix with a row per element",
    )
    zeta: Annotated[float, Field(ge=1.0)] | None = Field(None, description="exponent of the kernel")
    n_sparse: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of sparse points, all elements"
    )
    amplitude: Positive | None = Field(None, description="delta, eV; learned when absent")


class PairSettings(_Section):
    """One pair term."""

    name: str = Field("pair", description="label of the term, unique among terms")
    cutoff: Positive | None = Field(None, description="largest distance, Angstrom")
    cutoff_width: Positive | None = Field(
        None, description="length over which the cutoff function falls, Angstrom"
    )
    theta: Positive | None = Field(None, description="length scale of the kernel, Angstrom")
    n_sparse: Annotated[int, Field(ge=2)] | None = Field(
        None, description="sparse points per pair of elements"
    )
    amplitude: Positive | None = Field(None, description="delta, eV; learned when absent")


class CompositionSettings(_Section):
    """Energies of the elements that are subtracted before the fit."""

    method: Literal["auto", "isolated", "least_squares", "given", "none"] = Field(
        "auto", description="auto: isolated atoms where the data hold all of them, else least squares"
    )
    energies: dict[str, float] = Field(
        default_factory=dict, description="eV per element, for method = 'given'"
    )

    @model_validator(mode="after")
    def _energies_are_used(self) -> "CompositionSettings":
        if self.energies and self.method not in ("auto", "given"):
            raise ValueError(
                f"energies are given, but method = {self.method!r} does not use them; leave out one of them"
            )
        return self


class CoreSettings(_Section):
    """ZBL core repulsion, part of the model."""

    enabled: bool = Field(True, description="whether close atoms repel each other as screened nuclei")
    inner: dict[str, Positive] = Field(
        default_factory=dict, description="full repulsion below, Angstrom, per pair 'Si-Si'"
    )
    outer: dict[str, Positive] = Field(
        default_factory=dict, description="none beyond, Angstrom, per pair 'Si-Si'"
    )


class KindNoise(_Section):
    """Noise of one kind of structure; what is absent is as for the rest."""

    energy: Positive | None = Field(
        None, description="eV per root atom: the energy of n atoms has this noise times sqrt(n)"
    )
    forces: Positive | None = Field(None, description="eV/A, per component")
    stress: Positive | None = Field(None, description="eV/A^3, per component")


class NoiseSettings(KindNoise):
    """Standard deviations of the labels; learned when absent."""

    energy_factor: Positive = Field(
        0.3, description="multiplies the learned energy noise: the evidence overrates it (docs/theory.md)"
    )
    config_types: dict[str, KindNoise] = Field(
        default_factory=dict, description="fixed noise per config_type"
    )


class FitSettings(_Section):
    """All settings of a fit."""

    soap: tuple[SoapSettings, ...] | Literal["auto"] = Field(
        "auto", description="SOAP terms; auto: from the data"
    )
    pair: tuple[PairSettings, ...] | Literal["auto"] = Field(
        "auto", description="pair terms; auto: from the data"
    )
    composition: CompositionSettings = Field(default_factory=CompositionSettings)
    core: CoreSettings = Field(default_factory=CoreSettings)
    noise: NoiseSettings = Field(default_factory=NoiseSettings)
    use_energies: bool = Field(True, description="fit energies")
    use_forces: bool = Field(True, description="fit forces")
    use_stress: bool = Field(True, description="fit stresses")
    selection: Literal["farthest", "cur", "kmeans", "random"] = Field(
        "farthest", description="how sparse points are chosen"
    )
    calibrate: bool = Field(
        True, description="scale deviations by errors on training structures that are left out in turn"
    )
    jitter: Positive = Field(1e-9, description="added to the diagonal of K_mm, relative")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of every random choice")

    @model_validator(mode="after")
    def _names_are_unique(self) -> "FitSettings":
        terms: list[SoapSettings | PairSettings] = [
            *(self.soap if self.soap != "auto" else ()),
            *(self.pair if self.pair != "auto" else ()),
        ]
        names = [term.name for term in terms]
        if len(set(names)) != len(names):
            raise ValueError(f"two terms have the same name among {names}; give each its own")
        return self


def parse_settings(values: dict[str, Any], source: str) -> FitSettings:
    """Return validated settings.

    Raises
    ------
    InputError
        Naming ``source``, the key, its value and what is allowed.
    """
    try:
        return FitSettings.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in _relevant(error):
            key = ".".join(str(part) for part in problem["loc"] if not _is_branch(part))
            given = "" if isinstance(problem["input"], dict) else f" = {problem['input']!r}"
            message = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
            problems.append(f"{key}{given}: {message}")
        raise InputError(f"{source}: " + "; ".join(problems)) from None


def _is_branch(part: int | str) -> bool:
    """Whether a part of a location names a branch of a union and not a key."""
    return str(part).startswith(("tuple[", "literal[", "function-")) or part in _BRANCHES


def _relevant(error: ValidationError) -> list[Any]:
    """Return the problems without those of union branches that the value was not meant for."""
    problems: list[Any] = list(error.errors())
    for literal in [p for p in problems if str(p["loc"][-1:]).startswith(('("literal[', "('literal["))]:
        path = literal["loc"][:-1]
        others = [p for p in problems if p is not literal and p["loc"][: len(path)] == path]
        meant = [p for p in others if len(p["loc"]) > len(path) + 1 or not _wrong_type(p)]
        dropped = [literal] if meant else others
        problems = [p for p in problems if all(p is not other for other in dropped)]
    return problems


def _wrong_type(problem: Any) -> bool:
    return str(problem["type"]).endswith(("_type", "_parsing"))


def read_settings(path: str | Path) -> FitSettings:
    """Return the settings of a TOML file.

    Raises
    ------
    InputError
        If the file is missing, no TOML, or has unknown or invalid keys.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such settings file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    return parse_settings(values, str(path))


def write_settings(path: str | Path, settings: FitSettings) -> None:
    """Write :func:`settings_to_toml` to a file, which appears complete or not at all."""
    write_text_file(path, settings_to_toml(settings))


def settings_to_toml(settings: FitSettings) -> str:
    """Return the settings as TOML that :func:`read_settings` turns into equal settings."""
    values = settings.model_dump(exclude_none=True)
    lines = [HEADING]
    tables: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict) or (isinstance(value, tuple) and value):
            tables.append((key, value))
        else:
            lines.append(f"{key} = {_toml(value)}")
    for key, value in tables:
        for entry in value if isinstance(value, tuple) else (value,):
            header = f"[[{key}]]" if isinstance(value, tuple) else f"[{key}]"
            lines += ["", header, *(f"{k} = {_toml(v)}" for k, v in entry.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
        )
    return "[" + ", ".join(_toml(entry) for entry in value) + "]"
