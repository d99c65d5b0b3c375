"""Training rows in pieces: each reduced by itself, anywhere, and all merged in a tree.

Pieces and tree depend on the data and the number of columns only, so the factors have the same bits whatever
number of workers or threads computes them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from castile.execution.task_pool import SerialPool, TaskPool
from castile.execution.threads import map_chunks
from castile.potentials.training_rows import FactorSet, LabelRows, RowBuilder
from castile.regression import PackedFactor
from castile.structures.labels import LabelledStructure

ROWS_PER_COLUMN = 4
"""A merge costs about a tenth of what the reduction of a piece of so many rows does."""
LEAST_ROWS = 1000

Factors = tuple[PackedFactor, ...]


@dataclass(frozen=True)
class Piece:
    """Structures in a row whose rows are reduced together."""

    structures: tuple[LabelledStructure, ...]

    @property
    def name(self) -> str:
        """First and last structure."""
        first, last = self.structures[0].name, self.structures[-1].name
        return first if first == last else f"{first} to {last}"


def accumulate_factors(
    structures: Iterable[LabelledStructure],
    builder: RowBuilder,
    factors: FactorSet,
    pool: TaskPool,
    threads: int | None,
    advance: Callable[[], None],
) -> None:
    """Stream the rows of all structures into the factors.

    In this process, threads compute the rows of coming structures while this one reduces; other pools take
    piece by piece. ``advance`` is called for each structure.
    """
    if isinstance(pool, SerialPool):
        parts = _reduced_pieces(structures, builder, threads, advance)
        factors.merge(pool.reduce_tree(FactorSet.packed, merge_factors, parts))
        return

    def count(piece: Piece) -> None:
        """Report each structure of a finished piece."""
        for _ in piece.structures:
            advance()

    pieces = split_pieces(_ready(builder, structures), builder.n_columns)
    factors.merge(pool.reduce_tree(partial(reduce_piece, builder), merge_factors, pieces, count))


def _ready(builder: RowBuilder, structures: Iterable[LabelledStructure]) -> Iterator[LabelledStructure]:
    """Yield the structures; the rows of the first are computed here before it is handed out.

    So the kernels are compiled once and not by every worker at the same time.
    """
    for index, structure in enumerate(structures):
        if index == 0:
            builder(structure)
        yield structure


def split_pieces(structures: Iterable[LabelledStructure], n_columns: int) -> Iterator[Piece]:
    """Yield structures in pieces of at least ``ROWS_PER_COLUMN`` rows a column; the last may have fewer."""
    piece: list[LabelledStructure] = []
    for structure, is_last in _with_ends(structures, n_columns):
        piece.append(structure)
        if is_last:
            yield Piece(tuple(piece))
            piece.clear()
    if piece:
        yield Piece(tuple(piece))


def reduce_piece(builder: RowBuilder, piece: Piece) -> Factors:
    """Return the factors of a piece."""
    factors = FactorSet(builder.n_columns)
    for labels in map_chunks(builder, piece.structures):
        factors.add(labels)
    return factors.packed()


def merge_factors(left: Factors, right: Factors) -> Factors:
    """Return the factors of the rows of both."""
    if not left or not right:
        return left or right
    merged = FactorSet(left[0].n_columns, left)
    merged.merge(right)
    return merged.packed()


def _reduced_pieces(
    structures: Iterable[LabelledStructure],
    builder: RowBuilder,
    threads: int | None,
    advance: Callable[[], None],
) -> Iterator[FactorSet]:
    """Yield the factors of each piece; the threads do not wait for each other between pieces."""

    def rows(item: tuple[LabelledStructure, bool]) -> tuple[list[LabelRows], bool]:
        """Rows of a structure, and whether it is the last one of its piece."""
        return builder(item[0]), item[1]

    factors: FactorSet | None = None
    for labels, is_last in map_chunks(rows, _with_ends(structures, builder.n_columns), threads):
        factors = factors or FactorSet(builder.n_columns)
        factors.add(labels)
        advance()
        if is_last:
            yield factors
            factors = None
    if factors is not None:
        yield factors


def _with_ends(
    structures: Iterable[LabelledStructure], n_columns: int
) -> Iterator[tuple[LabelledStructure, bool]]:
    """Yield structures and whether each ends its piece."""
    least, n_rows = max(LEAST_ROWS, ROWS_PER_COLUMN * n_columns), 0
    for structure in structures:
        n_rows += n_labels(structure)
        is_last = n_rows >= least
        n_rows = 0 if is_last else n_rows
        yield structure, is_last


def n_labels(structure: LabelledStructure) -> int:
    """Number of labels, used or not."""
    forces = 0 if structure.forces is None else 3 * len(structure.atoms)
    return (structure.energy is not None) + forces + 6 * (structure.stress is not None)
