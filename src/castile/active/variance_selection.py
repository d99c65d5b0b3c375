"""Greedy choice from a pool by the predictive variance of a Gaussian process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from castile.active.pool_process import PoolProcess
from castile.active.selection_result import Selection
from castile.execution.threads import limit_blas, map_chunks
from castile.selection.information import (
    GreedyChoice,
    OwnInformation,
    PosteriorRoot,
    TargetVariance,
    greedy_blocks,
    information_gain,
)
from castile.selection.row_blocks import BlockFile, compress_block
from castile.selection.strata import strata_of, stratum_quotas
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource

Array = NDArray[np.float64]
Report = Callable[[str, int, int | None], None]


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
    """Blocks of one structure, a bound of the worth of each, and G of its targets with their number."""

    structure: LabelledStructure
    blocks: list[Array]
    bounds: list[float]
    targets: Array


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
    """Choose by ``variance`` or ``pool-variance``; arguments as of ``select_structures``.

    One pass computes the blocks; then the greedy choice reads those that it needs.
    """
    root = PosteriorRoot(process.n_columns)
    if train is not None:
        root = PosteriorRoot.given(_known_gram(train, process, threads, report))
    index, bounds, total = PoolIndex(), list[float](), len(pool)
    metric, n_targets = np.zeros((process.n_columns,) * 2), 0
    with BlockFile(process.n_columns, folder) as blocks:
        report("rows of the pool", 0, total)
        for found in map_chunks(lambda s: _candidates(process, s, what), pool, threads):
            index.add(found.structure)
            for block in found.blocks:
                blocks.append(block)
            bounds += found.bounds
            if method == "pool-variance":
                metric += found.targets.T @ found.targets
                n_targets += len(found.targets)
            report("rows of the pool", len(index.names), total)
        strata = index.strata(what) if stratify else None
        quotas = None if strata is None else stratum_quotas(np.bincount(strata), n_select)
        wanted = min(n_select, len(blocks))
        with limit_blas(1):  # as in a fit: threads of BLAS wait for each other where a core is busy
            choice, deviations = _choose(
                blocks, wanted, root, metric / max(n_targets, 1) if method == "pool-variance" else None,
                np.array(bounds), strata, quotas, lambda done: report("choosing", done, wanted),
            )  # fmt: skip
    targets_are_forces = what == "structures" and "forces" in process.kinds
    unit = "nat" if deviations is None else ("(eV/A)^2" if targets_are_forces else "eV^2")
    return index.selection(
        method, what, choice.indices, choice.values, unit, deviations, "eV/A" if targets_are_forces else "eV"
    )


def _choose(
    blocks: BlockFile,
    n_select: int,
    root: PosteriorRoot,
    metric: Array | None,
    bounds: Array,
    strata: NDArray[np.int64] | None,
    quotas: NDArray[np.int64] | None,
    progress: Callable[[int], None],
) -> tuple[GreedyChoice, tuple[float, float] | None]:
    """Return the choice and, with a metric, the root mean variance of the targets before and after."""
    if metric is None:
        own = OwnInformation()
        return greedy_blocks(
            blocks, n_select, criterion=own, root=root, bounds=bounds, strata=strata, quotas=quotas,
            progress=progress,
        ), None  # fmt: skip
    target = TargetVariance(root.matrix.T @ metric @ root.matrix)
    before = target.total
    choice = greedy_blocks(
        blocks, n_select, criterion=target, root=root, strata=strata, quotas=quotas, progress=progress
    )
    return choice, (float(np.sqrt(before)), float(np.sqrt(max(target.total, 0.0))))


def _candidates(process: PoolProcess, structure: LabelledStructure, what: str) -> _Candidates:
    if what == "atoms":
        energies = process.atom_features(structure)
        rows = energies / process.noise["energy"]
        return _Candidates(
            structure,
            list(rows[:, None, :]),
            list(0.5 * np.log1p(np.einsum("ij,ij->i", rows, rows))),
            energies,
        )
    rows, targets = process.label_features(structure)
    block = compress_block(rows)
    # what compression leaves out is no part of the block any more: the bound is that of what is kept
    return _Candidates(structure, [block], [information_gain(block)], targets)


def _known_gram(train: StructureSource, process: PoolProcess, threads: int | None, report: Report) -> Array:
    gram, total = np.zeros((process.n_columns,) * 2), len(train)
    for done, (rows, _) in enumerate(map_chunks(process.label_features, train, threads), start=1):
        gram += rows.T @ rows
        report("rows of the training set", done, total)
    return gram
