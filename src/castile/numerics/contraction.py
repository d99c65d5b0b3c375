"""Small matrix products by blocks of registers.

Density expansion, power spectrum and their adjoints all are products of a few rows and columns, summed over
pairs, over m or over radial functions. Here a block of the result stays in registers until its sum is done,
so that a multiply-add costs one load and no store.
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from castile.numerics.simd import LANES, WIDE_BYTES, Vector, element_pointer, llvm_vector, splat_scalar

ROWS = WIDE_BYTES // 8  # rows that are in registers at a time: half of the registers in double precision
_CONTRACT = ("contract",)


class _Product(NamedTuple):
    """What the code of a block needs: the LLVM values of ``contract``, each array with its type."""

    context: Any
    builder: Any
    vector: Any
    align: int
    a: tuple[Any, ...]
    b: tuple[Any, ...]
    out: tuple[Any, ...]
    count: Any
    keep: Any

    def vector_pointer(self, array_type: Any, array: Any, offset: Any) -> Any:
        """Pointer to the whole vector that begins at ``offset``."""
        pointer = element_pointer(self.context, self.builder, array_type, array, offset)
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def add_rows(self, n_rows: int) -> None:
        """Write the code of the whole sum of ``n_rows`` rows."""
        builder, vector, align = self.builder, self.vector, self.align
        a_type, a, a_offset, a_row, a_step = self.a
        b_type, b, b_offset, b_step = self.b
        out_type, out, out_offset, out_row = self.out
        shifts = [ir.Constant(a_row.type, row) for row in range(n_rows)]
        targets = [
            self.vector_pointer(out_type, out, builder.add(out_offset, builder.mul(out_row, shift)))
            for shift in shifts
        ]
        a_rows = [builder.add(a_offset, builder.mul(a_row, shift)) for shift in shifts]
        totals = [cgutils.alloca_once(builder, vector) for _ in shifts]
        for total, target in zip(totals, targets, strict=True):
            before = builder.load(target, align=align)
            builder.store(builder.select(self.keep, before, ir.Constant(vector, None)), total)
        with cgutils.for_range(builder, self.count) as loop:
            step = self.vector_pointer(b_type, b, builder.add(b_offset, builder.mul(b_step, loop.index)))
            column = builder.load(step, align=align)
            shift = builder.mul(a_step, loop.index)
            for total, begin in zip(totals, a_rows, strict=True):
                factor = element_pointer(self.context, builder, a_type, a, builder.add(begin, shift))
                weight = splat_scalar(builder, builder.load(factor), vector)
                product = builder.fmul(weight, column, flags=_CONTRACT)
                builder.store(builder.fadd(product, builder.load(total), flags=_CONTRACT), total)
        for total, target in zip(totals, targets, strict=True):
            builder.store(builder.load(total), target, align=align)


@intrinsic
def _contract_block(
    typing_context: Any,
    a: Any,
    a_offset: Any,
    a_row: Any,
    a_step: Any,
    b: Any,
    b_offset: Any,
    b_step: Any,
    count: Any,
    out: Any,
    out_offset: Any,
    out_row: Any,
    rows: Any,
    keep: Any,
) -> Any:
    """As :func:`contract`, for at most ROWS rows."""
    vector = llvm_vector(Vector(b.dtype))
    align = b.dtype.bitwidth // 8

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Emit one unrolled body for each number of rows, and the switch that jumps to the right one."""
        a, a_offset, a_row, a_step, b, b_offset, b_step, count, out, out_offset, out_row, rows, keep = args
        a_type, b_type, out_type = signature.args[0], signature.args[4], signature.args[8]

        product = _Product(
            context, builder, vector, align, (a_type, a, a_offset, a_row, a_step),
            (b_type, b, b_offset, b_step), (out_type, out, out_offset, out_row), count, keep,
        )  # fmt: skip
        done = builder.append_basic_block("done")
        switch = builder.switch(rows, done)
        for n_rows in range(1, ROWS + 1):
            block = builder.append_basic_block(f"rows.{n_rows}")
            switch.add_case(ir.Constant(rows.type, n_rows), block)
            builder.position_at_end(block)
            product.add_rows(n_rows)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    index = types.intp
    signature = types.void(
        a, index, index, index, b, index, index, index, out, index, index, index, types.boolean
    )
    return signature, codegen


@njit(nogil=True, cache=True, error_model="numpy")
def contract(
    a, a_offset, a_row, a_step, b, b_offset, b_step, count, out, out_offset, out_row, n_rows, n_columns, keep
):
    """Write out[row, :] = sum_{k < count} a[row, k] b[k, :], or add it with ``keep``.

    a[row, k] is at a_offset + row a_row + k a_step, b[k, :] begins at b_offset + k b_step, and out[row, :] at
    out_offset + row out_row of flat arrays. Columns come in whole vectors, rows one by one.
    """
    for row in range(0, n_rows, ROWS):
        rows = min(ROWS, n_rows - row)
        for column in range(0, n_columns, LANES):
            _contract_block(
                a, a_offset + row * a_row, a_row, a_step, b, b_offset + column, b_step, count,
                out, out_offset + row * out_row + column, out_row, rows, keep,
            )  # fmt: skip
