"""Groups of options of ``castile screen``, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from castile.cli.screen_options import ObjectiveName
    from castile.screening.filters import Filters
    from castile.screening.objective import Objective
    from castile.screening.targets import Target

_KINDS = {"lcb": "bound", "ei": "improvement"}


@dataclass(frozen=True)
class ObjectiveOptions:
    """What the command line says of the merit of a candidate."""

    kind: ObjectiveName
    goal: str
    kappa: float
    best: float | None
    below: float | None
    above: float | None

    def objective(self) -> Objective:
        """Return the objective; InputError where options contradict each other."""
        from castile.errors import InputError
        from castile.screening.objective import Objective

        kind = self.kind.value
        goal, value = self.goal.replace("minimize", "minimise").replace("maximize", "maximise"), None
        if goal not in ("minimise", "maximise"):
            try:
                goal, value = "value", float(self.goal)
            except ValueError:
                raise InputError(
                    f"--goal {self.goal}: give minimise, maximise, or a number to come near to"
                ) from None
        if kind != "probability" and (self.below is not None or self.above is not None):
            raise InputError("--below and --above are for --objective probability; add it, or leave them out")
        return Objective(_KINDS.get(kind, kind), goal, value, self.kappa, self.best, self.below, self.above)


@dataclass(frozen=True)
class FilterOptions:
    """What the command line says of the candidates that are left out; pairs are least and largest."""

    only: str | None
    required: str | None
    excluded: str | None
    formulas: list[str] | None
    patterns: list[str] | None
    atoms: tuple[int | None, int | None]
    volumes: tuple[float | None, float | None]
    known: list[str] | None
    most_similar: float | None

    def filters(self) -> Filters:
        """Return the filters; known structures are read and described."""
        from castile.screening.filters import Filters
        from castile.screening.likeness import know
        from castile.structures import StructureSource

        known = None
        if self.known:
            known = know((one.name, one.atoms) for one in StructureSource(self.known, needs_labels=False))
        return Filters(
            _symbols(self.only), _symbols(self.required), _symbols(self.excluded),
            tuple(self.formulas or ()), tuple(self.patterns or ()), *self.atoms, *self.volumes, known,
            self.most_similar,
        )  # fmt: skip


@dataclass(frozen=True)
class TargetOptions:
    """What the command line says of the model and of what it predicts."""

    model: Path
    name: str | None
    reference: str | None
    relax_steps: int
    relax_cell: bool
    grade_limit: float | None
    training: tuple[str, ...]

    def open(self) -> Target:
        """Return the target of the model file, whatever that holds."""
        from castile.formats import read_model_file

        if read_model_file(self.model).header.get("kind") == "property":
            return self._of_property()
        return self._of_potential()

    def _of_property(self) -> Target:
        from castile.errors import InputError
        from castile.properties import PropertyModel
        from castile.screening.targets import PropertyTarget

        if self.reference is not None or self.relax_steps or self.grade_limit is not None:
            raise InputError(
                f"{self.model}: predicts a property; --reference, --relax and --grade-limit are for "
                "potentials"
            )
        target = PropertyTarget(PropertyModel.load(self.model))
        if self.name is not None and self.name != target.name:
            raise InputError(
                f"--target {self.name}: {self.model} predicts {target.name}; leave the option out"
            )
        return target

    def _of_potential(self) -> Target:
        import castile
        from castile.screening.targets import (
            GRADE_LIMIT,
            PotentialTarget,
            RelaxationPlan,
            parse_references,
            reference_energies,
        )

        gap = castile.load(self.model)
        energies = {}
        if self.reference is not None and "=" in self.reference:
            energies = parse_references(self.reference)
        elif self.reference is not None:
            energies = reference_energies(gap, _structures(self.reference))
        plan = RelaxationPlan(self.relax_steps, cell=self.relax_cell) if self.relax_steps else None
        name = self.name or "energy_per_atom"
        limit = GRADE_LIMIT if self.grade_limit is None else self.grade_limit
        target = PotentialTarget(gap, name, energies, plan, limit)
        if self.grade_limit is None and self.training:
            return target.limited_by(_structures(list(self.training)))
        return target


def _structures(names: str | list[str]) -> list[Atoms]:
    """Structures of files, with labels or without."""
    from castile.structures import StructureSource

    return [one.atoms for one in StructureSource(names, needs_labels=False)]


def _symbols(text: str | None) -> tuple[str, ...]:
    """Elements of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()
