"""Settings of an oracle: which program labels structures, and what it may take and give."""

import hashlib
import re
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from castile.active.settings_base import AtLeastOne, Count, Positive, Section

UNCONVERGED_TEXT = (
    r"convergence (has )?not (been )?achieved|not (be )?converge|n't converge|failed to converge|unconverged"
)
"""Errors with these words mean that the self-consistent cycle did not converge."""


class OracleSettings(Section):
    """The ``[oracle]`` table: exactly one of ``preset``, ``calculator`` and ``command``."""

    preset: Literal["tblite", "espresso", "pyscf", "unep", "emt"] | None = Field(
        None, description="a program with settings that work; see docs/active-learning.md"
    )
    calculator: str | None = Field(
        None,
        description="class of an ASE calculator, 'package.module.Class'; the folder of the TOML is searched",
    )
    command: str | None = Field(
        None, description="program that reads input_file and writes output_file in the folder where it runs"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the preset or calculator")
    input_file: str = Field("input.xyz", description="for command: written in a format that ASE knows")
    input_format: str | None = Field(None, description="for command: ASE's name; default from the suffix")
    output_file: str = Field("output.xyz", description="for command: read in a format that ASE knows")
    output_format: str | None = Field(None, description="for command: ASE's name; default from the suffix")
    stress: Literal["auto", "none"] = Field("auto", description="whether stresses of crystals are asked for")
    timeout_s: Positive = Field(3600.0, description="s; the process is killed after it")
    retries: Count = Field(1, description="further attempts after a failure")
    threads: AtLeastOne = Field(1, description="threads of one calculation (OMP_NUM_THREADS)")
    unconverged_text: str = Field(
        "", description="regular expression: a calculation whose output has it did not converge"
    )
    output_files: tuple[str, ...] = Field(
        ("log.txt", "*.out", "*.pwo"), description="files that are searched for unconverged_text"
    )
    max_force: Positive = Field(50.0, description="eV/A; larger forces are absurd and rejected")
    contact_fraction: float = Field(
        0.4, ge=0.0, description="of the covalent radii; closer atoms have fused and are rejected; 0: never"
    )
    python_path: tuple[str, ...] = Field(
        (), description="folders in which the calculator's module is searched"
    )

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        given = [name for name in ("preset", "calculator", "command") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of preset, calculator and command, not {' and '.join(given) or 'none'}"
            )
        if self.calculator is not None and not re.fullmatch(r"[\w.]+[.:]\w+", self.calculator):
            raise ValueError(f"calculator {self.calculator!r} is no class; write 'package.module.Class'")
        return self

    @model_validator(mode="after")
    def _text_is_a_pattern(self) -> Self:
        try:
            re.compile(self.unconverged_text)
        except re.error as error:
            raise ValueError(f"unconverged_text is no regular expression ({error})") from None
        return self

    @property
    def name(self) -> str:
        """Name of the program."""
        return self.preset or self.calculator or str(self.command).split()[0]

    @property
    def task(self) -> str:
        """Short hash of everything that decides a label, so that another oracle's labels are not taken."""
        chosen = self.model_dump_json(
            include={"preset", "calculator", "command", "options", "input_file", "input_format", "stress"}
        )
        return hashlib.blake2b(chosen.encode(), digest_size=8).hexdigest()
