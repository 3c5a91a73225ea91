"""The CuPy backend: a formula as CUDA kernels over a weight, on the caller's stream, without a word to the host.

A formula without sums is one kernel. Others are passes: those with sums are kernels of their own, a block for each
chunk, and what is worked out between passes is done by a kernel of one thread, in an array on the device.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, TypeAlias

import cupy
import numpy as np

from updaters.arrays import HALVES, as_reals, compute_dtype, memory_order, real_dtype
from updaters.backends.language import C
from updaters.backends.stages import CHUNK, LANES, Pass, Stages, arithmetic, is_plain, split
from updaters.backends.trace import TRUTHS, Recording
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


DITHERING = """
__device__ __forceinline__ unsigned long long random_bits(double low, double high, unsigned long long position) {
    unsigned long long z = (unsigned long long)high << 32 | (unsigned long long)low;
    z += (position + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
__device__ __forceinline__ float dithered_float16(float number, double low, double high, unsigned long long position) {
    const unsigned int bits = __float_as_uint(number), size = bits & 0x7fffffffu;
    if (size >= 0x7f800000u) return number;
    const float least = 6.103515625e-05f; // 2**-14, below which float16 are as far apart as they are just above
    const bool small = size < 0x38800000u;
    unsigned int chosen = small ? __float_as_uint(__uint_as_float(size) + least) : size;
    chosen = (chosen + (unsigned int)(random_bits(low, high, position) >> 51)) & 0xffffe000u;
    if (small) chosen = __float_as_uint(__uint_as_float(chosen) - least);
    return __uint_as_float(chosen | (bits & 0x80000000u));
}
__device__ __forceinline__ float dithered_bfloat16(float number, double low, double high, unsigned long long position) {
    const unsigned int bits = __float_as_uint(number);
    if ((bits & 0x7fffffffu) >= 0x7f800000u) return number;
    return __uint_as_float((bits + (unsigned int)(random_bits(low, high, position) >> 48)) & 0xffff0000u);
}
"""


SUMMING = f"""
#define up_shared __shared__
#define up_chunk blockIdx.x
#define up_for_lanes for (int lane = threadIdx.x, once = 1; once; once = 0)
#define up_all_lanes_done __syncthreads();
#define up_each 1
#define up_own 0
#define up_bounds __launch_bounds__({LANES})
"""


def element(
    recording: Recording, dtypes: Sequence[str], at: str = "", imports: Sequence[int] = ()
) -> tuple[list[str], list[str]]:
    """The C of one element's update: of arrays a0, a1, ... and float64 coefficients c0, c1, ...

    Args:
        recording: what to write.
        dtypes: the arrays' dtypes.
        at: the index of the element, in brackets, where the arrays are pointers.
        imports: where in `numbers` the last of the recording's coefficients are.

    Returns:
        What is done for each element, and what may be done before.
    """
    count = len(recording.arrays)
    before, lines = [], []
    if any(node.operation == "sign" for node in recording.nodes):
        before.append("const up_real zero = 0, one = 1;")
    if any(node.operation == "dithered" for node in recording.nodes):
        lines.append("const unsigned long long position = i;")
    read = {n for node in recording.nodes for n in node.operands[: 1 if node.operation == "dithered" else None]} | {
        *recording.outputs,
        *chain(*(node.operands for node in recording.sums)),
    }
    scalars = [name + "[0]" * is_shared for name, is_shared in own_coefficients(recording, imports)]
    scalars += [f"numbers[{place}]" for place in imports]
    before += [f"const up_real x{count + n} = {scalar};" for n, scalar in enumerate(scalars) if count + n in read]
    for number, dtype in enumerate(dtypes):
        if number in read:
            value = f"a{number}{at}"
            lines.append(f"const up_real x{number} = {f'load_{dtype}({value})' if dtype in HALVES else value};")
    for node, name, expression in C.lines(recording, scalars, "scalar", "truth", "array", "mask"):
        cast = f"(up_real)({expression})" if node.operation == "constant" else expression
        lines.append(f"const {'bool' if node.kind in TRUTHS else 'up_real'} {name} = {cast};")
    for output, target in zip(recording.outputs, recording.targets, strict=True):
        new = f"store_{dtypes[target]}(x{output})" if dtypes[target] in HALVES else f"x{output}"
        lines.append(f"a{target}{at} = {new};")
    return lines, before


def own_coefficients(recording: Recording, imports: Sequence[int] = ()) -> list[tuple[str, bool]]:
    """The names of those of a recording's coefficients that are not imported; whether each is shared, and behind a pointer."""
    return [(f"c{number}", number in recording.shared) for number in range(len(recording.scalars) - len(imports))]


def name_of(recording: Recording) -> str:
    """What a recording's kernels are called."""
    return "updaters_" + re.sub(r"\W", "_", recording.name, flags=re.ASCII)


def preamble(compute: str, recording: Recording | None = None) -> str:
    """What comes before a kernel that computes in this dtype, and does what is recorded."""
    text = PREAMBLE % ({"type": "float", "suffix": "f"} if compute == "float32" else {"type": "double", "suffix": ""})
    dithers = recording is not None and any(node.operation == "dithered" for node in recording.nodes)
    return text + DITHERING * dithers


def as_stored(dtypes: Sequence[str]) -> list[str]:
    """The dtypes of arrays as kernels see them."""
    return ["uint16" if dtype in HALVES else dtype for dtype in dtypes]


def elementwise(recording: Recording, dtypes: Sequence[str], compute: str, imports: Sequence[int] = ()) -> Any:
    """The kernel of a pass without sums, for arrays of any stride.

    It takes the arrays that it only reads, the coefficients, the numbers where it imports any, and the arrays that it
    replaces.
    """
    stored = as_stored(dtypes)
    lines, before = element(recording, dtypes, imports=imports)
    inputs = [f"{stored[place]} a{place}" for place in range(len(stored)) if place not in recording.targets]
    inputs += ["raw " * is_shared + f"float64 {name}" for name, is_shared in own_coefficients(recording, imports)]
    inputs += ["raw float64 numbers"] * bool(imports)
    return cupy.ElementwiseKernel(
        ", ".join(inputs),
        ", ".join(f"{stored[target]} a{target}" for target in recording.targets),
        "\n".join([*before, *lines]),
        name_of(recording),
        preamble=preamble(compute, recording),
        no_return=True,
        options=("--fmad=false",),
    )


def summing(made: Pass, dtypes: Sequence[str], compute: str) -> Any:
    """The kernel of a pass with sums, for dense arrays: a block for each chunk, whose sums go into a row of `sums`.

    It takes all arrays, the coefficients, the numbers, `sums` and the arrays' size.
    """
    recording = made.recording
    count = len(recording.sums)
    lines, before = element(recording, dtypes, "[i]", made.imports)
    c_types = {"uint16": "unsigned short", "float32": "float", "float64": "double"}
    parameters = [
        f"{'' if place in recording.targets else 'const '}{c_types[stored]} *a{place}"
        for place, stored in enumerate(as_stored(dtypes))
    ]
    parameters += [f"const double {'*' * is_shared}{name}" for name, is_shared in own_coefficients(recording, made.imports)]
    parameters += ["const double *numbers", "double *sums", "const long long size"]
    name = f"{name_of(recording)}_sums"
    adds = [
        C.gather(node.operation, f"sum{number}[up_own]", " * ".join(f"(double)x{operand}" for operand in node.operands)) + ";"
        for number, node in enumerate(recording.sums)
    ]
    body = [
        f'extern "C" __global__ void up_bounds {name}({", ".join(parameters)}) {{',
        *before,
        f"up_shared double lanes[{LANES}];",
        *(f"double sum{number}[up_each];" for number in range(count)),
        f"const long long start = (long long)up_chunk * {CHUNK};",
        f"const long long stop = start + {CHUNK} < size ? start + {CHUNK} : size;",
        "up_for_lanes {",
        *(f"sum{number}[up_own] = 0;" for number in range(count)),
        f"for (long long i = start + lane; i < stop; i += {LANES}) {{",
        *lines,
        *adds,
        "}",
        "}",
    ]
    for number, node in enumerate(recording.sums):  # through the same memory, of which a block has little
        body += [
            f"up_for_lanes lanes[lane] = sum{number}[up_own];",
            "up_all_lanes_done",
            f"for (int half = {LANES // 2}; half; half /= 2) {{",
            f"up_for_lanes if (lane < half) {C.gather(node.operation, 'lanes[lane]', 'lanes[lane + half]')};",
            "up_all_lanes_done",
            "}",
            f"up_for_lanes if (lane == 0) sums[(long long)up_chunk * {count} + {number}] = lanes[0];",
            "up_all_lanes_done",
        ]
    body.append("}")
    return cupy.RawKernel(preamble(compute, recording) + SUMMING + "\n".join(body) + "\n", name, options=("--fmad=false",))


def between(stages: Stages, now: int) -> Any:
    """The kernel of one thread that works out what pass `now` needs, or at the end what is kept; None for nothing.

    It takes the coefficients, the array `x` of a float64 for each value, the sums of the pass before with the number
    of their rows, and the numbers that are kept.
    """
    whole, last = stages.whole, len(stages.passes)
    first = len(whole.arrays)
    numbers = [place for place in range(first, first + len(whole.numbers))]
    made = stages.passes[now - 1].sums if now else ()
    assignments = arithmetic(C, whole, stages.between[now], truth="({} != 0)")
    if not (made or assignments or (numbers and now in (0, last))):
        return None
    lines = []
    if now == 0:
        lines += [f"x[{place}] = *n{number};" for number, place in enumerate(numbers)]
    for place, (scalar, is_shared) in enumerate(own_coefficients(whole), first + len(numbers)):
        lines.append(f"x[{place}] = {'*' * is_shared}{scalar};")
    for column, place in enumerate(made):
        lines += [f"x[{place}] = sums[{column}];"]
        more = C.gather(whole.nodes[place].operation, f"x[{place}]", f"sums[row * {len(made)} + {column}]")
        lines += [f"for (long long row = 1; row < rows; row++) {more};"]
    lines += [f"{line};" for line in assignments]
    if now == last:
        lines += [f"*n{number} = x[{place}];" for number, place in enumerate(whole.kept)]
    parameters = [f"const double {'*' * is_shared}{name}" for name, is_shared in own_coefficients(whole)]
    parameters += ["double *x", "const double *sums", "const long long rows"]
    parameters += [f"double *n{number}" for number in range(len(numbers))]
    name = f"{name_of(whole)}_numbers_{now}"
    head = [
        f'extern "C" __global__ void {name}({", ".join(parameters)}) {{',
        "const double zero = 0, one = 1;",
        "(void)zero, (void)one;",
    ]
    return cupy.RawKernel(preamble("float64") + "\n".join([*head, *lines, "}"]) + "\n", name, options=("--fmad=false",))


ADD_UP = cupy.RawKernel(
    """
extern "C" __global__ void updaters_add_up(const double *terms, const long long count, double *total) {
    double sum = count ? terms[0] : 0;
    for (long long i = 1; i < count; i++) sum += terms[i];
    *total = sum;
}
""",
    "updaters_add_up",
    options=("--fmad=false",),
)


class Bound:
    """A kernel bound to one weight's slots."""

    def __init__(self, kernel: Any, recording: Recording, grad: Array, slots: Sequence[Array]) -> None:
        self.kernel, self.recording, self.slots, self.grad_dtype = kernel, recording, slots, grad.dtype

    def job(self, weight: Array, grad: Array, coefficients: Sequence[Any]) -> Job | None:
        """The update, ready to run; None where the binding does not fit this gradient."""
        if grad.dtype != self.grad_dtype:
            return None
        grad = apart(grad, self.recording.written(weight, self.slots))
        arrays = [weight, grad, *self.slots]
        if memory_order(arrays) == "F":  # CuPy walks through arrays in C order
            arrays = [array.T for array in arrays]
        views, targets = [_as_stored(array) for array in arrays], self.recording.targets
        read = [view for place, view in enumerate(views) if place not in targets]
        launch = self.kernel, (*read, *coefficients, *(views[target] for target in targets))
        return [launch] * bool(targets), weight.device


def apart(grad: Array, written: Sequence[Array]) -> Array:
    """The gradient, or a copy where it shares memory with what is written."""
    start, end = extent(grad)  # by address, since CuPy's own test knows only memory that CuPy has allocated
    if any(low < end and start < high for low, high in map(extent, written)):
        with grad.device:
            return grad.copy()
    return grad


class StagedBound:
    """A recording with sums bound to what is kept for a weight: kernels for passes, and for what is between them."""

    def __init__(
        self,
        passes: Sequence[Any],
        steps: Sequence[Any],
        recording: Recording,
        weight: Array,
        grad: Array,
        slots: Sequence[Array],
        numbers: Sequence[Array],
    ) -> None:
        self.passes, self.steps, self.stages = passes, steps, split(recording)
        self.slots, self.numbers, self.grad_dtype = slots, numbers, grad.dtype
        self.order = memory_order(slots or (weight,)) or "C"
        self.size = weight.size * (2 if weight.dtype.kind == "c" else 1)
        self.rows = max(1, -(-self.size // CHUNK))
        with weight.device:
            self.values = cupy.zeros(len(recording.nodes), np.float64)
            self.sums = [cupy.zeros((self.rows, max(1, len(made.sums))), np.float64) for made in self.stages.passes]

    def job(self, weight: Array, grad: Array, coefficients: Sequence[Any]) -> Job | None:
        """The update, ready to run; None where the binding does not fit this gradient."""
        if grad.dtype != self.grad_dtype:
            return None
        grad = apart(grad, self.stages.whole.written(weight, self.slots))
        dense, dense_grad = self._dense(weight), self._dense(grad)
        flat = [_as_stored(array.T if self.order == "F" else array) for array in (dense, dense_grad, *self.slots)]
        launches: list[Any] = []
        shared = self.stages.whole.shared
        given = [number if place in shared else np.float64(number) for place, number in enumerate(coefficients)]
        for now in range(len(self.passes) + 1):
            if self.steps[now] is not None:
                sums = self.sums[max(0, now - 1)]
                arguments = (*given, self.values, sums, np.int64(self.rows), *self.numbers)
                launches.append((self.steps[now], ((1,), (1,), arguments)))
            if now == len(self.passes):
                break
            made = self.stages.passes[now]
            if made.sums:
                arguments = (*flat, *given, self.values, self.sums[now], np.int64(self.size))
                launches.append((self.passes[now], ((self.rows,), (LANES,), arguments)))
            elif made.recording.targets:
                targets = made.recording.targets
                read = [view for place, view in enumerate(flat) if place not in targets]
                imported = [self.values] * bool(made.imports)
                launches.append((self.passes[now], (*read, *coefficients, *imported, *(flat[target] for target in targets))))
        if dense is not weight and 0 in self.stages.whole.targets:
            launches.append((_copy, (weight, dense)))
        return launches, weight.device

    def _dense(self, array: Array) -> Array:
        """The array itself, or a copy that lies as the slots do."""
        if array.flags.c_contiguous if self.order == "C" else array.flags.f_contiguous:
            return array
        with array.device:
            return array.copy(self.order)


def _copy(target: Array, source: Array) -> None:
    target[...] = source


Job: TypeAlias = tuple[list[tuple[Any, tuple[Any, ...]]], Any]
"""One weight's update, ready to run: kernels with their arguments, and the device."""


def _as_stored(array: Array) -> Array:
    """What a kernel takes for an array: a view as pairs of reals of a complex one, as bits of one of half precision."""
    array = as_reals(array)
    return array.view(np.uint16) if array.dtype.itemsize == 2 else array


class CupyBackend:
    """Runs formulas as CUDA kernels on CuPy arrays of any stride, on their device and its current stream."""

    name = "cupy"

    def slot(self, weight: Array, shape: tuple[int, ...], dtype: Any, start: float | Literal["w"]) -> Array:
        """A slot on the weight's device, in Fortran order where the weight is."""
        flags = weight.flags
        with weight.device:
            slot = cupy.zeros(shape, dtype, order="F" if flags.f_contiguous and not flags.c_contiguous else "C")
            if start == "w":
                slot[...] = weight
            elif start:
                as_reals(slot)[...] = start
            return slot

    def from_host(self, array: Any, device: str) -> Array:
        """A copy of a NumPy array on a device, `"cuda:0"` and so on."""
        with cupy.cuda.Device(int(device.removeprefix("cuda:"))):
            return cupy.asarray(array)

    def number(self, weight: Array, start: float) -> Array:
        """A number to keep for a weight, on its device."""
        with weight.device:
            return cupy.asarray(np.full((), start, np.float64))

    def bind(self, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array], numbers: Sequence[Array]) -> Any:
        """Bind a formula to what is kept for a weight, compiled for its device."""
        recording.check(weight)
        device = weight.device
        key = "cupy", device.id, weight.dtype, grad.dtype
        if key not in recording.compiled:
            dtypes = [real_dtype(array.dtype).name for array in (weight, grad, *slots)]
            compute = compute_dtype(weight.dtype)
            assert compute is not None
            with device:
                recording.compiled[key] = compiled(recording, dtypes, compute.name)
        passes, steps = recording.compiled[key]
        if is_plain(recording):
            return Bound(passes[0], recording, grad, slots)
        return StagedBound(passes, steps, recording, weight, grad, slots, numbers)

    def add_up(self, array: Array) -> Array:
        """The sum of an array of one dimension, added in order by one thread."""
        with array.device:
            total = cupy.empty((), np.float64)
            terms = array if array.flags.c_contiguous else array.copy()
            ADD_UP((1,), (1,), (terms, np.int64(terms.size), total))
            return total

    def run(self, jobs: Sequence[Job]) -> None:
        """Launch jobs that are ready."""
        for launches, device in jobs:
            with device:
                for kernel, arguments in launches:
                    kernel(*arguments)


def compiled(recording: Recording, dtypes: Sequence[str], compute: str) -> tuple[list[Any], list[Any]]:
    """The kernels of a formula's passes and of what is between them, compiled for the current device.

    CuPy compiles at the first launch; this one is on scratch, before anything of value.
    """
    scratch = [cupy.zeros(1, stored) for stored in as_stored(dtypes)]
    stages = split(recording)
    passes = []
    for made in stages.passes:
        own = [cupy.zeros(()) if number in recording.shared else 0.0 for number in range(len(recording.scalars))]
        if made.sums:
            passes.append(summing(made, dtypes, compute))
            passes[-1].compile()
            continue
        if not made.recording.targets:
            passes.append(None)
            continue
        passes.append(elementwise(made.recording, dtypes, compute, made.imports))
        numbers = [cupy.zeros(len(recording.nodes), np.float64)] * bool(made.imports)
        targets = made.recording.targets
        read = [array for place, array in enumerate(scratch) if place not in targets]
        passes[-1](*read, *own, *numbers, *(scratch[target] for target in targets))
    steps = [between(stages, now) for now in range(len(stages.passes) + 1)]
    for step in steps:
        if step is not None:
            step.compile()
    return passes, steps


def backend() -> CupyBackend:
    """The backend of this module."""
    return CupyBackend()
