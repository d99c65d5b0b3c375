"""Products of long rows with many points, by blocks of registers: what training rows consist of.

Points are kept in panels, [panel, feature, point within the panel], so that one load serves all rows of a
block, and a block of rows times one panel stays in registers during the whole sum over features.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from castile.numerics.simd import WIDE_BYTES, Vector, element_pointer, llvm_vector, splat_scalar

ROWS = WIDE_BYTES // 8  # of a block, in double precision: with three vectors each it fills the registers
_VECTORS = 3
_LANES = WIDE_BYTES // 8
PANEL = _VECTORS * _LANES
_CONTRACT = ("contract",)


@intrinsic
def _multiply_block(
    typing_context: Any,
    rows: Any,
    offset: Any,
    width: Any,
    panel: Any,
    panel_offset: Any,
    out: Any,
    out_offset: Any,
    out_row: Any,
) -> Any:
    """Write the products of ROWS rows with one panel."""
    vector = llvm_vector(Vector(types.float64, _LANES))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Emit a loop over the width whose running totals LLVM turns into registers."""
        rows, offset, width, panel, panel_offset, out, out_offset, out_row = args
        rows_type, panel_type, out_type = signature.args[0], signature.args[3], signature.args[5]

        def number(value: int) -> Any:
            """A constant of the offsets' integer type."""
            return ir.Constant(offset.type, value)

        def vectors_at(array_type: Any, array: Any, start: Any) -> list[Any]:
            """Pointers to the vectors of a panel's row."""
            starts = [builder.add(start, number(v * _LANES)) for v in range(_VECTORS)]
            pointers = [element_pointer(context, builder, array_type, array, s) for s in starts]
            return [builder.bitcast(pointer, vector.as_pointer()) for pointer in pointers]

        begins = [builder.add(offset, builder.mul(width, number(row))) for row in range(ROWS)]
        totals = [[cgutils.alloca_once(builder, vector) for _ in range(_VECTORS)] for _ in range(ROWS)]
        for total in (total for line in totals for total in line):
            builder.store(ir.Constant(vector, None), total)
        with cgutils.for_range(builder, width) as loop:
            start = builder.add(panel_offset, builder.mul(loop.index, number(PANEL)))
            columns = [builder.load(p, align=8) for p in vectors_at(panel_type, panel, start)]
            for begin, line in zip(begins, totals, strict=True):
                factor = element_pointer(context, builder, rows_type, rows, builder.add(begin, loop.index))
                weight = splat_scalar(builder, builder.load(factor), vector)
                for column, total in zip(columns, line, strict=True):
                    product = builder.fmul(weight, column, flags=_CONTRACT)
                    builder.store(builder.fadd(product, builder.load(total), flags=_CONTRACT), total)
        for row, line in enumerate(totals):
            target = builder.add(out_offset, builder.mul(out_row, number(row)))
            for total, pointer in zip(line, vectors_at(out_type, out, target), strict=True):
                builder.store(builder.load(total), pointer, align=8)
        return context.get_dummy_value()

    index = types.intp
    return types.void(rows, index, index, panel, index, out, index, index), codegen


@njit(nogil=True, cache=True, error_model="numpy")
def pack_panels(points):
    """Return points (n_points, width) as flat panels, padded with zeros to whole panels."""
    n_points, width = points.shape
    n_panels = (n_points + PANEL - 1) // PANEL
    panels = np.zeros(n_panels * width * PANEL)
    for point in range(n_points):
        corner = point // PANEL * width * PANEL + point % PANEL
        for f in range(width):
            panels[corner + f * PANEL] = points[point, f]
    return panels


@njit(nogil=True, cache=True, error_model="numpy")
def multiply_panels(rows, n_rows, width, panels, begin, end, out, out_row):
    """Write rows times the points of the panels begin:end to out[row out_row + column].

    rows: flat (n_rows, width), n_rows a multiple of ROWS; panels: of :func:`pack_panels`; columns count from
    the first point of panel ``begin``.
    """
    for panel in range(begin, end):
        for row in range(0, n_rows, ROWS):
            _multiply_block(
                rows, row * width, width, panels, panel * width * PANEL,
                out, row * out_row + (panel - begin) * PANEL, out_row,
            )  # fmt: skip


def times_panels(rows, panels, n_points):
    """Return rows (n, width) times the points in panels, (n, n_points)."""
    n_rows, width = rows.shape
    padded, n_panels = -(-n_rows // ROWS) * ROWS, -(-n_points // PANEL)
    given = np.zeros((padded, width))
    given[:n_rows] = rows
    out = np.empty((padded, n_panels * PANEL))
    multiply_panels(given.ravel(), padded, width, panels, 0, n_panels, out.ravel(), n_panels * PANEL)
    return out[:n_rows, :n_points]
