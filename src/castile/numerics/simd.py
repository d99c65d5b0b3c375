"""Explicit SIMD vectors inside Numba kernels: loads, stores and fused multiply-adds that stay in registers.

LLVM cannot keep an accumulator in a register when it is an array element that might alias another array, and
then every multiply-add of a contraction goes through memory. A vector value has no address, so it stays in a
register. ``LANES`` elements of either precision form one vector; a wide vector (``wide_load`` and its kin)
has ``WIDE_BYTES`` whatever the precision, so twice as many elements in single precision. Arrays handed to the
kernels are one-dimensional and contiguous, and padded so that whole vectors can be read.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.extending import intrinsic, models, register_jitable, register_model

LANES = 8
# a register of the processor: eight-lane vectors of doubles would spill where there are 16 short registers
WIDE_BYTES = 64 if get_host_cpu_features().get("avx512f") else 32

_CACHE_LINE = 64
_CONTRACT = ("contract",)


@register_jitable
def aligned_empty(size, dtype):
    """Return an array of ``size`` elements that begins at a whole cache line, in Python and in kernels.

    A vector as long as a cache line that begins anywhere else costs two accesses.
    """
    raw = np.empty(size + _CACHE_LINE // 4, dtype)
    shift = -raw.ctypes.data % _CACHE_LINE // raw.itemsize
    return raw[shift : shift + size]


@register_jitable
def aligned_zeros(size, dtype):
    """Return zeros as :func:`aligned_empty` does."""
    array = aligned_empty(size, dtype)
    array[:] = 0.0
    return array


class Vector(types.Type):
    """Numba type of ``lanes`` floating-point numbers held in SIMD registers."""

    def __init__(self, dtype: types.Float, lanes: int = LANES) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, llvm_vector(fe_type))


def llvm_vector(vector: Vector) -> ir.VectorType:
    """Return LLVM's type of a vector."""
    scalar = ir.FloatType() if vector.dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(scalar, vector.lanes)


def _usual(dtype: types.Float) -> Vector:
    return Vector(dtype)


def _wide(dtype: types.Float) -> Vector:
    return Vector(dtype, 8 * WIDE_BYTES // dtype.bitwidth)


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Return the pointer to array[offset]."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def splat_scalar(builder: Any, scalar: Any, vector_type: ir.VectorType) -> Any:
    """Return the vector whose lanes all are ``scalar``."""
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(first, undefined, mask)


def _loader(vector_of: Callable[[types.Float], Vector]) -> Any:
    """Intrinsic that reads consecutive elements into a vector of the type that ``vector_of`` names."""

    @intrinsic
    def apply(typing_context: Any, array: Any, offset: Any) -> Any:
        """Vector of ``array`` from ``offset`` on."""
        vector = vector_of(array.dtype)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            """Emit one load, aligned to an element only: the offset may be any."""
            pointer = element_pointer(context, builder, signature.args[0], args[0], args[1])
            pointer = builder.bitcast(pointer, llvm_vector(vector).as_pointer())
            return builder.load(pointer, align=array.dtype.bitwidth // 8)

        return vector(array, types.intp), codegen

    return apply


def _splatter(vector_of: Callable[[types.Float], Vector]) -> Any:
    """Intrinsic that repeats one element of an array in all lanes."""

    @intrinsic
    def apply(typing_context: Any, array: Any, offset: Any) -> Any:
        """Vector of copies of array[offset]."""
        vector = vector_of(array.dtype)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            """Emit the load of one element and its broadcast."""
            pointer = element_pointer(context, builder, signature.args[0], args[0], args[1])
            return splat_scalar(builder, builder.load(pointer), llvm_vector(vector))

        return vector(array, types.intp), codegen

    return apply


def _filler(vector_of: Callable[[types.Float], Vector]) -> Any:
    """Intrinsic that repeats a scalar in all lanes."""

    @intrinsic
    def apply(typing_context: Any, array: Any, value: Any) -> Any:
        """Vector of copies of ``value``; ``array`` serves for its type alone."""
        vector = vector_of(array.dtype)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            """Emit a broadcast; the array is not touched."""
            return splat_scalar(builder, args[1], llvm_vector(vector))

        return vector(array, array.dtype), codegen

    return apply


# load(array, offset): the vector array[offset : offset + lanes]
load, wide_load = _loader(_usual), _loader(_wide)
# splat(array, offset): the vector whose lanes all are array[offset]
splat, wide_splat = _splatter(_usual), _splatter(_wide)
# fill(array, value): the vector whose lanes all are ``value``, in the precision of ``array``
fill, wide_fill = _filler(_usual), _filler(_wide)


@intrinsic
def store(typing_context: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write array[offset : offset + lanes] = vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Emit one store, aligned to an element only: the offset may be any."""
        pointer = element_pointer(context, builder, signature.args[0], args[0], args[1])
        pointer = builder.bitcast(pointer, llvm_vector(vector).as_pointer())
        builder.store(args[2], pointer, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


def _binary(operation: str) -> Any:
    """Intrinsic of LLVM's ``operation`` on two vectors, lane by lane."""

    @intrinsic
    def apply(typing_context: Any, a: Any, b: Any) -> Any:
        """Vector of the results, of the type of the operands."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            """Emit the operation so that a multiplication and an addition may fuse."""
            return getattr(builder, operation)(args[0], args[1], flags=_CONTRACT)

        return a(a, b), codegen

    return apply


add = _binary("fadd")
subtract = _binary("fsub")
multiply = _binary("fmul")


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c (one fused instruction where the processor has it)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Emit product and sum apart, both marked so that LLVM may fuse them."""
        product = builder.fmul(args[0], args[1], flags=_CONTRACT)
        return builder.fadd(product, args[2], flags=_CONTRACT)

    return a(a, b, c), codegen


@intrinsic
def transpose(
    typing_context: Any, a: Any, a_offset: Any, a_row: Any, out: Any, out_offset: Any, out_row: Any
) -> Any:
    """Write the transpose of LANES by LANES elements of ``a`` to ``out``.

    Row k begins at a_offset + k a_row, and at out_offset + k out_row. The whole block is read before any of
    it is written.
    """
    vector = llvm_vector(Vector(a.dtype))
    align = a.dtype.bitwidth // 8

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Emit all loads, log2 LANES exchanges of quarters between pairs of rows, then all stores."""

        def row_pointers(array: int, row: int) -> list[Any]:
            """Pointers to the LANES rows of a block."""
            offsets = [args[array + 1]]
            for _ in range(LANES - 1):
                offsets.append(builder.add(offsets[-1], args[row]))
            pointers = [
                element_pointer(context, builder, signature.args[array], args[array], k) for k in offsets
            ]
            return [builder.bitcast(pointer, vector.as_pointer()) for pointer in pointers]

        rows = [builder.load(pointer, align=align) for pointer in row_pointers(0, 2)]
        width = LANES // 2
        while width:  # exchange the off-diagonal quarters of all blocks of 2 width elements
            for k in range(LANES):
                if k & width:
                    continue
                lower = [q if not q & width else LANES + q - width for q in range(LANES)]
                upper = [q + width if not q & width else LANES + q for q in range(LANES)]
                pair = rows[k], rows[k + width]
                rows[k], rows[k + width] = (_shuffle(builder, *pair, mask) for mask in (lower, upper))
            width //= 2
        for value, pointer in zip(rows, row_pointers(3, 5), strict=True):
            builder.store(value, pointer, align=align)
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, out, types.intp, types.intp), codegen


def _shuffle(builder: Any, first: Any, second: Any, lanes: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(first, second, mask)


@intrinsic
def lane_sum(typing_context: Any, a: Any) -> Any:
    """Return the sum over the lanes of a vector, as a scalar."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Emit additions of the upper half of the lanes to the lower, until one lane is left."""
        value, width = args[0], a.lanes
        undefined = ir.Constant(llvm_vector(a), ir.Undefined)
        while width > 1:
            width //= 2
            indices = [k + width if k < width else 0 for k in range(a.lanes)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), a.lanes), indices)
            value = builder.fadd(value, builder.shuffle_vector(value, undefined, mask))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), codegen


__all__ = [
    "LANES",
    "WIDE_BYTES",
    "add",
    "aligned_empty",
    "aligned_zeros",
    "fill",
    "lane_sum",
    "load",
    "multiply",
    "multiply_add",
    "splat",
    "store",
    "subtract",
    "wide_fill",
    "wide_load",
    "wide_splat",
]
