"""Explicit SIMD vectors inside Numba kernels: loads, stores and fused multiply-adds that stay in registers.

LLVM cannot keep an accumulator in a register when it is an array element that might alias another array, and
then every multiply-add of a contraction goes through memory. A vector value has no address, so it stays in a
register. ``LANES`` elements of either precision form one vector; arrays handed to the kernels are
one-dimensional and contiguous, and padded so that whole vectors can be read.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

LANES = 8

_CONTRACT = ("contract",)


class Vector(types.Type):
    """Numba type of ``LANES`` floating-point numbers held in SIMD registers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype}, {LANES})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, _llvm_vector(fe_type.dtype))


def _llvm_vector(dtype: types.Float) -> ir.VectorType:
    scalar = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(scalar, LANES)


def _element_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def _splat(builder: Any, scalar: Any, vector_type: ir.VectorType) -> Any:
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, mask)


@intrinsic
def load(typing_context: Any, array: Any, offset: Any) -> Any:
    """Return the vector array[offset : offset + LANES]."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
        pointer = builder.bitcast(pointer, _llvm_vector(array.dtype).as_pointer())
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def store(typing_context: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write array[offset : offset + LANES] = vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
        pointer = builder.bitcast(pointer, _llvm_vector(vector.dtype).as_pointer())
        builder.store(args[2], pointer, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic
def splat(typing_context: Any, array: Any, offset: Any) -> Any:
    """Return the vector whose lanes all are array[offset]."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
        return _splat(builder, builder.load(pointer), _llvm_vector(array.dtype))

    return vector(array, types.intp), codegen


@intrinsic
def fill(typing_context: Any, array: Any, value: Any) -> Any:
    """Return the vector whose lanes all are ``value``, in the precision of ``array``."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[1], _llvm_vector(array.dtype))

    return vector(array, array.dtype), codegen


def _binary(operation: str) -> Any:
    @intrinsic
    def apply(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
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
        product = builder.fmul(args[0], args[1], flags=_CONTRACT)
        return builder.fadd(product, args[2], flags=_CONTRACT)

    return a(a, b, c), codegen


@intrinsic
def lane_sum(typing_context: Any, a: Any) -> Any:
    """Return the sum over the lanes of a vector, as a scalar."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, width = args[0], LANES
        undefined = ir.Constant(_llvm_vector(a.dtype), ir.Undefined)
        while width > 1:
            width //= 2
            indices = [(k + width) % LANES if k < width else 0 for k in range(LANES)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), indices)
            value = builder.fadd(value, builder.shuffle_vector(value, undefined, mask))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), codegen


__all__ = [
    "LANES",
    "add",
    "fill",
    "lane_sum",
    "load",
    "multiply",
    "multiply_add",
    "splat",
    "store",
    "subtract",
]
