"""Half-precision numbers in numba, which has none on a CPU: 16 bits in, float32 out, and back.

Conversions are LLVM's own for float16, and shifts for bfloat16, the upper half of a float32. Both round to the
nearest, ties to even. What is dithered is rounded by chance: random bits are added below the last that is kept.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import float32, uint16, uint32, uint64
from numba.core import types
from numba.core.extending import intrinsic
from numba.extending import register_jitable

BITS16, BITS32, HALF, SINGLE = ir.IntType(16), ir.IntType(32), ir.HalfType(), ir.FloatType()


def has_float16() -> bool:
    """Whether this processor converts float16 itself; elsewhere LLVM calls a library that may not be there."""
    return bool(binding.get_host_cpu_features().get("f16c")) or binding.get_process_triple().startswith(("aarch64", "arm64"))


@intrinsic
def load_float16(context: Any, bits: Any) -> Any:
    """The float32 that float16 bits stand for."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], HALF), SINGLE)

    return float32(uint16), emit


@intrinsic
def store_float16(context: Any, number: Any) -> Any:
    """The bits of the float16 nearest to a float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], HALF), BITS16)

    return uint16(float32), emit


@intrinsic
def as_float(context: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], SINGLE)

    return float32(uint32), emit


@intrinsic
def as_bits(context: Any, number: Any) -> Any:
    """The bits of a float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], BITS32)

    return types.uint32(float32), emit


@register_jitable
def load_bfloat16(bits):  # type: ignore[no-untyped-def]  # numba infers the types
    """The float32 that bfloat16 bits stand for."""
    return as_float(uint32(bits) << uint32(16))  # type: ignore[call-arg]  # numba gives the context


@register_jitable
def store_bfloat16(number):  # type: ignore[no-untyped-def]  # numba infers the types
    """The bits of the bfloat16 nearest to a float32; a NaN stays one."""
    bits: Any = as_bits(number)  # type: ignore[call-arg]  # numba gives the context
    rounded = uint32(bits + uint32(0x7FFF) + ((bits >> uint32(16)) & uint32(1))) >> uint32(16)
    quiet = (bits >> uint32(16)) | uint32(0x40)
    return uint16(quiet if number != number else rounded)


@register_jitable
def random_bits(low, high, position):  # type: ignore[no-untyped-def]  # numba infers the types
    """64 random bits for the element at a position: what splitmix64 gives there from a key."""
    key = (uint64(high) << uint64(32)) | uint64(low)
    z = key + (uint64(position) + uint64(1)) * uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


@register_jitable
def dithered_float16(number, low, high, position):  # type: ignore[no-untyped-def]  # numba infers the types
    """One of the two float16 beside a float32, by chance, as a float32."""
    bits: Any = as_bits(number)  # type: ignore[call-arg]  # numba gives the context
    size = bits & uint32(0x7FFFFFFF)
    small = size < uint32(0x38800000)  # 2**-14, below which float16 are as far apart as they are just above
    least = float32(2.0**-14)
    lifted: Any = as_bits(as_float(size) + least)
    chance = uint32(random_bits(low, high, position) >> uint64(51))
    chosen = uint32((lifted if small else size) + chance) & uint32(0xFFFFE000)
    lowered: Any = as_bits(as_float(chosen) - least)
    chosen = (lowered if small else chosen) | (bits & uint32(0x80000000))
    return number if size >= uint32(0x7F800000) else as_float(chosen)


@register_jitable
def dithered_bfloat16(number, low, high, position):  # type: ignore[no-untyped-def]  # numba infers the types
    """One of the two bfloat16 beside a float32, by chance, as a float32."""
    bits: Any = as_bits(number)  # type: ignore[call-arg]  # numba gives the context
    chance = uint32(random_bits(low, high, position) >> uint64(48))
    chosen = uint32(bits + chance) & uint32(0xFFFF0000)
    return number if (bits & uint32(0x7FFFFFFF)) >= uint32(0x7F800000) else as_float(chosen)
