"""Greedy choice from a pool by the predictive variance of a Gaussian process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from castile.active.pool_process import PoolProcess
from castile.active.selection_result import Selection
from castile.execution.threads import limit_blas, map_chunks
from castile.regression import StreamingQR
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
WAITING_ROWS = 256
"""Rows whose products are summed at once."""


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
    """Blocks of one structure, the number of labels of each, a bound of its worth (not divided by that
    number), and features of what the pool is judged by.
    """

    structure: LabelledStructure
    blocks: list[Array]
    n_labels: list[int]
    bounds: list[float]
    forces: Array
    energies: Array


class _ProductSum:
    """Sum of F^T F over blocks of rows F, which wait until they are many: a product for each lone row would
    take most of the time of a pool of small structures.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_rows = 0
        self._sum = np.zeros((n_columns, n_columns))
        self._waiting, self._n_waiting = list[Array](), 0

    def add(self, rows: Array) -> None:
        """Take up rows (b, n_columns)."""
        self.n_rows += len(rows)
        self._waiting.append(rows)
        self._n_waiting += len(rows)
        if self._n_waiting >= WAITING_ROWS:
            self.total()

    def total(self) -> Array:
        """Return the sum, (n_columns, n_columns), which further rows change."""
        if self._n_waiting:
            rows = np.concatenate(self._waiting)
            with limit_blas(1):
                self._sum += rows.T @ rows
        self._waiting, self._n_waiting = [], 0
        return self._sum


class _PoolTargets:
    """Mean variance of the forces of a pool, G = 1/n sum f f^T, or of its energies where no force counts."""

    def __init__(self, n_columns: int) -> None:
        self._forces, self._energies = _ProductSum(n_columns), _ProductSum(n_columns)

    def add(self, found: _Candidates) -> None:
        """Take up a structure."""
        self._forces.add(found.forces)
        self._energies.add(found.energies)

    @property
    def are_forces(self) -> bool:
        """Whether there are forces that do not vanish by symmetry."""
        return bool(np.trace(self._forces.total()) > self._forces.n_rows * NO_FORCE**2)

    @property
    def metric(self) -> Array:
        """G, (n_columns, n_columns)."""
        counted = self._forces if self.are_forces else self._energies
        return counted.total() / max(counted.n_rows, 1)

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
        root = PosteriorRoot.given(_known_factor(train, process, threads, report))
    index, bounds, n_labels, total = PoolIndex(), list[float](), list[int](), len(pool)
    targets = _PoolTargets(process.n_columns) if method == "pool-variance" else None
    with BlockFile(process.n_columns, folder) as blocks:
        report("rows of the pool", 0, total)
        for found in map_chunks(lambda s: _candidates(process, s, what, OWN.get(method)), pool, threads):
            index.add(found.structure)
            for block in found.blocks:
                blocks.append(block)
            n_labels += found.n_labels
            bounds += found.bounds
            if targets is not None:
                targets.add(found)
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


def _candidates(
    process: PoolProcess, structure: LabelledStructure, what: str, own: Criterion | None
) -> _Candidates:
    """Return the candidates of a structure: its atoms, or itself; ``own`` bounds their worth."""
    if what == "atoms":
        energies = process.atom_features(structure)
        blocks = list((energies / process.noise["energy"])[:, None, :])
        n_labels, forces = [1] * len(blocks), energies[:0]
    else:
        found = process.label_features(structure)
        blocks, forces, energies = [compress_block(found.rows)], found.forces, found.energy
        n_labels = [max(len(found.rows), 1)]  # none: a molecule has no stress
    bounds = [np.inf if own is None else own.value(block) for block in blocks]
    return _Candidates(structure, blocks, n_labels, bounds, forces, energies)


def _known_factor(train: StructureSource, process: PoolProcess, threads: int | None, report: Report) -> Array:
    """Return the triangle R of R^T R = 1 + A^T A with the rows A of all labels of the training set."""
    stream, n_columns, total = StreamingQR(process.n_columns), process.n_columns, len(train)
    stream.add(np.eye(n_columns), np.zeros(n_columns))
    for done, found in enumerate(map_chunks(process.label_features, train, threads), start=1):
        with limit_blas(1):
            stream.add(found.rows, np.zeros(len(found.rows)))
        report("rows of the training set", done, total)
    return stream.factor()[:n_columns, :n_columns]
