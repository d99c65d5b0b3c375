"""Greedy choice from a pool by the predictive variance of a Gaussian process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from castile.active.pool_process import PoolProcess
from castile.active.selection_result import Selection
from castile.execution.threads import limit_blas, map_chunks
from castile.selection.criteria import Criterion, Information, OwnVariance, TargetCovariance
from castile.selection.greedy import greedy_blocks
from castile.selection.posterior_root import PosteriorRoot
from castile.selection.row_blocks import BlockFile, compress_block
from castile.selection.strata import strata_of, stratum_quotas
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource

Array = NDArray[np.float64]
Report = Callable[[str, int, int | None], None]

OWN: dict[str, Criterion] = {"variance": OwnVariance(), "information": Information()}
"""What a structure is worth by itself, by the name of the method."""
UNITS = {"variance": "noise^2", "information": "nat"}
NO_FORCE = 1e-5
"""eV/A: smaller root mean deviations of the forces of a pool are rounding. They vanish by symmetry."""


@dataclass
class PoolIndex:
    """Names, kinds and sizes of the structures of a pool, and what each block stands for."""

    names: list[str] = field(default_factory=list)
    config_types: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def add(self, structure: LabelledStructure) -> None:
        """Take up the next structure."""
        self.names.append(structure.name)
        self.config_types.append(structure.config_type)
        self.sizes.append(len(structure.atoms))

    def owners(self, what: str) -> NDArray[np.int64]:
        """Return the structure of each candidate: itself, or that of the atom."""
        numbers = np.arange(len(self.names), dtype=np.int64)
        return np.repeat(numbers, self.sizes) if what == "atoms" else numbers

    def strata(self, what: str) -> NDArray[np.int64]:
        """Return the stratum of each candidate, by ``config_type``."""
        return strata_of(self.config_types)[0][self.owners(what)]

    def selection(
        self,
        method: str,
        what: str,
        chosen: NDArray[np.int64],
        values: Array | None = None,
        unit: str = "",
        deviations: tuple[float, float] | None = None,
        deviation_unit: str = "eV/A",
    ) -> Selection:
        """Return the selection of candidates ``chosen``."""
        structures = self.owners(what)[chosen]
        atoms = None
        if what == "atoms":
            first = np.concatenate([[0], np.cumsum(self.sizes)])
            atoms = chosen - first[structures]
        return Selection(
            method,
            what,
            structures,
            atoms,
            tuple(self.names[k] for k in structures),
            tuple(self.config_types[k] for k in structures),
            sum(self.sizes[k] for k in set(structures.tolist())),
            values,
            unit,
            None if deviations is None else deviations[0],
            None if deviations is None else deviations[1],
            deviation_unit,
            len(self.names),
            sum(self.sizes),
        )


@dataclass(frozen=True)
class _Candidates:
    """Blocks of one structure, the number of labels of each, and features of what the pool is judged by."""

    structure: LabelledStructure
    blocks: list[Array]
    n_labels: list[int]
    forces: Array
    energies: Array


class _PoolTargets:
    """Mean variance of the forces of a pool, G = 1/n sum f f^T, or of its energies where no force counts."""

    def __init__(self, n_columns: int) -> None:
        self.forces, self.energies = np.zeros((2, n_columns, n_columns))
        self.n_forces = self.n_energies = 0

    def add(self, found: _Candidates) -> None:
        """Take up a structure."""
        self.forces += found.forces.T @ found.forces
        self.energies += found.energies.T @ found.energies
        self.n_forces += len(found.forces)
        self.n_energies += len(found.energies)

    @property
    def are_forces(self) -> bool:
        """Whether there are forces that do not vanish by symmetry."""
        return bool(np.trace(self.forces) > self.n_forces * NO_FORCE**2)

    @property
    def metric(self) -> Array:
        """G, (n_columns, n_columns)."""
        if self.are_forces:
            return np.asarray(self.forces / self.n_forces)
        return np.asarray(self.energies / max(self.n_energies, 1))

    @property
    def unit(self) -> str:
        """Of deviations."""
        return "eV/A" if self.are_forces else "eV"


def choose_by_variance(
    pool: StructureSource,
    train: StructureSource | None,
    process: PoolProcess,
    n_select: int,
    method: str,
    what: str,
    stratify: bool,
    threads: int | None,
    folder: Path | None,
    report: Report,
) -> Selection:
    """Choose by ``variance``, ``information`` or ``pool-variance``; arguments as of ``select_structures``.

    One pass computes the blocks; then the greedy choice reads those that it needs.
    """
    root = PosteriorRoot(process.n_columns)
    if train is not None:
        root = PosteriorRoot.given(_known_gram(train, process, threads, report))
    index, bounds, n_labels, total = PoolIndex(), list[float](), list[int](), len(pool)
    targets = _PoolTargets(process.n_columns) if method == "pool-variance" else None
    with BlockFile(process.n_columns, folder) as blocks:
        report("rows of the pool", 0, total)
        for found in map_chunks(lambda s: _candidates(process, s, what), pool, threads):
            index.add(found.structure)
            for block in found.blocks:
                blocks.append(block)
            n_labels += found.n_labels
            if targets is not None:
                targets.add(found)
                bounds += [np.inf] * len(found.blocks)
            else:
                bounds += [OWN[method].value(block) for block in found.blocks]
            report("rows of the pool", len(index.names), total)
        strata = index.strata(what) if stratify else None
        quotas = None if strata is None else stratum_quotas(np.bincount(strata), n_select)
        wanted = min(n_select, len(blocks))
        criterion = _criterion(method, root, targets)
        before = criterion.variance if isinstance(criterion, TargetCovariance) else 0.0
        with limit_blas(1):  # as in a fit: threads of BLAS wait for each other where a core is busy
            choice = greedy_blocks(
                blocks, wanted, criterion=criterion, root=root, bounds=bounds, strata=strata, quotas=quotas,
                costs=n_labels if method == "variance" else None,
                progress=lambda done: report("choosing", done, wanted),
            )  # fmt: skip
    if targets is None or not isinstance(criterion, TargetCovariance):
        return index.selection(method, what, choice.indices, choice.values, UNITS[method])
    deviations = (float(np.sqrt(before)), float(np.sqrt(max(criterion.variance, 0.0))))
    unit = "(eV/A)^4" if targets.are_forces else "eV^4"
    return index.selection(method, what, choice.indices, choice.values, unit, deviations, targets.unit)


def _criterion(method: str, root: PosteriorRoot, targets: _PoolTargets | None) -> Criterion:
    """What a block is worth given what ``root`` knows."""
    if targets is None:
        return OWN[method]
    return TargetCovariance(root.matrix.T @ targets.metric @ root.matrix)


def _candidates(process: PoolProcess, structure: LabelledStructure, what: str) -> _Candidates:
    """Return the candidates of a structure: its atoms, or itself."""
    if what == "atoms":
        energies = process.atom_features(structure)
        rows = energies / process.noise["energy"]
        return _Candidates(structure, list(rows[:, None, :]), [1] * len(rows), energies[:0], energies)
    found = process.label_features(structure)
    block = compress_block(found.rows)
    return _Candidates(structure, [block], [len(found.rows)], found.forces, found.energy)


def _known_gram(train: StructureSource, process: PoolProcess, threads: int | None, report: Report) -> Array:
    gram, total = np.zeros((process.n_columns,) * 2), len(train)
    for done, found in enumerate(map_chunks(process.label_features, train, threads), start=1):
        gram += found.rows.T @ found.rows
        report("rows of the training set", done, total)
    return gram
