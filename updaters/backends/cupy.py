"""The CuPy backend: a formula as one CUDA kernel over a weight, on the caller's stream, without a word to the host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import cupy
import numpy as np

from updaters.arrays import HALVES, as_reals, compute_dtype, memory_order, real_dtype
from updaters.backends.language import C
from updaters.backends.trace import Recording
from updaters.memory import extent

Array: TypeAlias = Any

# Names of our own: CuPy's headers, which come first, take real, complex and others.
PREAMBLE = """
typedef %(type)s up_real;
#define up_sqrt sqrt%(suffix)s
#define up_abs fabs%(suffix)s
#define up_power pow%(suffix)s
#define up_infinity __longlong_as_double(0x7ff0000000000000LL)
#define up_nan __longlong_as_double(0x7ff8000000000000LL)
__device__ __forceinline__ float load_float16(unsigned short bits) {
    float number;
    asm("cvt.f32.f16 %%0, %%1;" : "=f"(number) : "h"(bits));
    return number;
}
__device__ __forceinline__ unsigned short store_float16(float number) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %%0, %%1;" : "=h"(bits) : "f"(number));
    return bits;
}
__device__ __forceinline__ float load_bfloat16(unsigned short bits) {
    return __uint_as_float((unsigned int)bits << 16);
}
__device__ __forceinline__ unsigned short store_bfloat16(float number) {
    unsigned int bits = __float_as_uint(number);
    unsigned int rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (unsigned short)(number != number ? (bits >> 16) | 0x40u : rounded);
}
"""


def write(recording: Recording, dtypes: Sequence[str]) -> str:
    """The C of one element's update: of arrays a0, a1, ... and float64 coefficients c0, c1, ..."""
    count = len(recording.arrays)
    lines = []
    if any(node.operation == "sign" for node in recording.nodes):
        lines.append("const up_real zero = 0, one = 1;")
    for number, dtype in enumerate(dtypes):
        lines.append(f"const up_real x{number} = {f'load_{dtype}(a{number})' if dtype in HALVES else f'a{number}'};")
    lines += [f"const up_real x{count + number} = c{number};" for number in range(len(recording.scalars))]
    for node, name, expression in C.lines(recording, "scalar", "array", "mask"):
        cast = f"(up_real)({expression})" if node.operation == "constant" else expression
        lines.append(f"const {'bool' if node.kind == 'mask' else 'up_real'} {name} = {cast};")
    for output, target in zip(recording.outputs, recording.targets, strict=True):
        new = f"store_{dtypes[target]}(x{output})" if dtypes[target] in HALVES else f"x{output}"
        lines.append(f"a{target} = {new};")
    return "\n".join(lines)


def kernel(recording: Recording, dtypes: Sequence[str], compute: str) -> Any:
    """The kernel of a formula for arrays of these dtypes; it takes the gradient, the coefficients, the weight, the slots."""
    stored = ["uint16" if dtype in HALVES else dtype for dtype in dtypes]
    return cupy.ElementwiseKernel(
        ", ".join([f"{stored[1]} a1", *(f"float64 c{number}" for number in range(len(recording.scalars)))]),
        ", ".join(f"{stored[target]} a{target}" for target in recording.targets),
        write(recording, dtypes),
        "updaters_" + re.sub(r"\W", "_", recording.name, flags=re.ASCII),
        preamble=PREAMBLE % ({"type": "float", "suffix": "f"} if compute == "float32" else {"type": "double", "suffix": ""}),
        no_return=True,
        options=("--fmad=false",),
    )


class Bound:
    """A kernel bound to one weight's slots."""

    def __init__(self, kernel: Any, weight: Array, grad: Array, slots: Sequence[Array]) -> None:
        self.kernel, self.slots, self.grad_dtype = kernel, slots, grad.dtype

    def job(self, weight: Array, grad: Array, coefficients: Sequence[float]) -> Job | None:
        """The update, ready to run; None where the binding does not fit this gradient."""
        if grad.dtype != self.grad_dtype:
            return None
        start, end = extent(grad)  # by address, since CuPy's own test knows only memory that CuPy has allocated
        if any(low < end and start < high for low, high in map(extent, (weight, *self.slots))):
            with grad.device:
                grad = grad.copy()
        arrays = [weight, grad, *self.slots]
        if memory_order(arrays) == "F":  # CuPy walks through arrays in C order
            arrays = [array.T for array in arrays]
        weight_view, grad_view, *slots = map(_as_stored, arrays)
        return self.kernel, weight.device, (grad_view, *coefficients, weight_view, *slots)


Job: TypeAlias = tuple[Any, Any, tuple[Any, ...]]
"""One weight's update, ready to run: the kernel, the device and the arguments."""


def _as_stored(array: Array) -> Array:
    """What a kernel takes for an array: a view as pairs of reals of a complex one, as bits of one of half precision."""
    array = as_reals(array)
    return array.view(np.uint16) if array.dtype.itemsize == 2 else array


class CupyBackend:
    """Runs formulas as CUDA kernels on CuPy arrays of any stride, on their device and its current stream."""

    name = "cupy"

    def slot(self, weight: Array, dtype: Any, start: float | Literal["w"]) -> Array:
        """A slot in the weight's shape, on its device, in Fortran order where the weight is."""
        flags = weight.flags
        with weight.device:
            slot = cupy.zeros(weight.shape, dtype, order="F" if flags.f_contiguous and not flags.c_contiguous else "C")
            if start == "w":
                slot[...] = weight
            elif start:
                as_reals(slot)[...] = start
            return slot

    def from_host(self, array: Any, device: str) -> Array:
        """A copy of a NumPy array on a device, `"cuda:0"` and so on."""
        with cupy.cuda.Device(int(device.removeprefix("cuda:"))):
            return cupy.asarray(array)

    def bind(self, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array]) -> Bound:
        """Bind a formula to a weight's slots, compiled for its device."""
        device = weight.device
        key = "cupy", device.id, weight.dtype, grad.dtype
        if key not in recording.compiled:
            dtypes = [real_dtype(array.dtype).name for array in (weight, grad, *slots)]
            compute = compute_dtype(weight.dtype)
            assert compute is not None
            made = kernel(recording, dtypes, compute.name)
            with device:  # CuPy compiles at the first launch; this one is on scratch, before anything of value
                w, g, *rest = (cupy.zeros(1, "uint16" if dtype in HALVES else dtype) for dtype in dtypes)
                made(g, *[0.0] * len(recording.scalars), w, *rest)
            recording.compiled[key] = made
        return Bound(recording.compiled[key], weight, grad, slots)

    def run(self, jobs: Sequence[Job]) -> None:
        """Launch jobs that are ready."""
        for kernel, device, arguments in jobs:
            with device:
                kernel(*arguments)


def backend() -> CupyBackend:
    """The backend of this module."""
    return CupyBackend()
