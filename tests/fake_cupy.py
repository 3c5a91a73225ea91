"""A stand-in for CuPy on a CPU, and the comparison with NumPy that the tests of both share.

`installed` puts this module in CuPy's place. Its arrays are no NumPy arrays and refuse what CuPy's refuse; its
`ElementwiseKernel` compiles the very text that CuPy would be given with gcc, and runs it over arrays of any stride.
"""

from __future__ import annotations

import atexit
import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import attrs
import ml_dtypes
import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

import updaters as up
from tests.rules import KERNELS as KERNELS_OF_OURS
from tests.rules import RULES as RULES_OF_OURS
from updaters import backends
from updaters import rule as made
from updaters.backends.trace import record
from updaters.formula import Formula
from updaters.optimizers.fields import rate

Array: TypeAlias = Any
"""An array of NumPy, of CuPy or of this module."""

FLUSH = False
"""Whether float32 subnormals are flushed to zero, as CuPy's kernels do (it compiles with -ftz=true)."""

transfers: list[str] = []
"""What was asked for that copies to the host, in order."""

launches: list[tuple[str, int, tuple[int, ...]]] = []
"""The kernels that were launched: name, device and shape."""


class Current(threading.local):
    """The devices that a thread has made current, the innermost last."""

    def __init__(self) -> None:
        self.devices = [0]


current = Current()


class Device:
    """One of any number of devices; `with` makes it the current one."""

    __hash__ = None  # type: ignore[assignment]  # as CuPy's

    def __init__(self, number: int | None = None) -> None:
        self.id = current.devices[-1] if number is None else number

    def __enter__(self) -> Device:
        current.devices.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        assert current.devices.pop() == self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


cuda = SimpleNamespace(Device=Device)


class ndarray(NDArrayOperatorsMixin):
    """An array on a device. As much of CuPy's as updaters use, and what tests need to make and read one."""

    def __init__(self, host: np.ndarray[Any, Any], device: int) -> None:
        self._host, self._device = host, device

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    ndim = property(lambda self: self._host.ndim)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides if self.size else (0,) * self.ndim)  # an empty array's are 0 there
    device = property(lambda self: Device(self._device))
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data))

    @property
    def flags(self) -> SimpleNamespace:
        flags = self._host.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous)  # no aligned, no carray

    def _view(self, host: np.ndarray[Any, Any]) -> ndarray:
        return ndarray(host, self._device)

    def __getitem__(self, key: Any) -> ndarray:
        if isinstance(key, ndarray):
            return ndarray(here(self)[here(key)], self._device)
        return self._view(self._host[(*key, ...) if isinstance(key, tuple) and ... not in key else key])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray):
            raise TypeError("Non-scalar numpy.ndarray cannot be used for fill")
        here(self)[key] = here(value) if isinstance(value, ndarray) else value

    def view(self, dtype: Any) -> ndarray:
        return self._view(self._host.view(dtype))

    def transpose(self, *axes: int) -> ndarray:
        return self._view(self._host.transpose(*axes))

    T = property(transpose)

    def reshape(self, shape: Any) -> ndarray:
        return self._view(self._host.reshape(shape))

    def sum(self, axis: Any = None) -> ndarray:
        return ndarray(np.asarray(here(self).sum(axis)), self._device)

    def max(self) -> ndarray:
        return ndarray(np.asarray(here(self).max()), self._device)

    def copy(self, order: Any = "C") -> ndarray:
        return ndarray(self._host.copy(order), Device().id)

    def astype(self, dtype: Any, order: Any = "K", copy: bool = True) -> ndarray:
        return ndarray(here(self).astype(dtype, order, copy=copy), self._device)

    def conj(self) -> ndarray:
        return ndarray(np.conj(here(self)), self._device)

    def all(self) -> ndarray:
        return ndarray(np.asarray(here(self).all()), self._device)

    def get(self, order: Any = "C") -> np.ndarray[Any, Any]:
        transfers.append("get")
        return self._host.copy(order)

    def set(self, host: np.ndarray[Any, Any]) -> None:
        if not isinstance(host, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if host.dtype != self.dtype:
            raise TypeError(f"{host.dtype} array cannot be set to {self.dtype} array")
        if host.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {host.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        here(self)[...] = host

    def __len__(self) -> int:
        return len(self._host)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __array__(self, *args: object, **kwargs: object) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> ndarray:
        out = options.pop("out", None)
        dtype = options.pop("dtype", None)
        if method != "__call__" or options or any(isinstance(value, np.ndarray) for value in inputs):
            return NotImplemented
        hosts = [here(value) if isinstance(value, ndarray) else value for value in inputs]
        if out is not None:
            ufunc(*hosts, out=here(out[0]))
            return out[0]
        return ndarray(np.asarray(ufunc(*hosts, dtype=dtype)), self._device)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ndarray:
        assert function in DISPATCHED, f"is CuPy's {function.__name__} the same?"

        def host(value: Any) -> Any:
            if isinstance(value, list):
                return [host(one) for one in value]
            return here(value) if isinstance(value, ndarray) else value

        return ndarray(np.asarray(function(*map(host, args), **kwargs)), self._device)

    def __deepcopy__(self, memo: object) -> ndarray:
        with self.device:
            return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return asarray, (self.get(),)  # CuPy too forgets the device


DISPATCHED = {np.mean, np.linalg.norm, np.max, np.where, np.concatenate, np.moveaxis}
"""NumPy's functions that find CuPy's, which take the same arguments as they are given here."""


def here(array: ndarray) -> np.ndarray[Any, Any]:
    """The memory of an array that is on the current device; CuPy refuses others, or warns and is slow."""
    if array._device != Device().id:
        raise ValueError(f"The array resides on device {array._device}, and the current one is {Device().id}.")
    return array._host


def zeros(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    return asarray(np.zeros(shape, dtype, order))


def empty(shape: Any, dtype: Any = float) -> ndarray:
    return asarray(np.full(shape, np.nan, dtype))


def asarray(host: Any) -> ndarray:
    return ndarray(np.array(host), Device().id)


def broadcast_to(array: ndarray, shape: tuple[int, ...]) -> ndarray:
    return array._view(np.broadcast_to(array._host, shape))


# Kernels. CUDA's own words are given to gcc as functions and macros, PTX as the calls that do the same.

PTX = {
    'asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(bits));': "number = from_half(bits);",
    'asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(number));': "bits = to_half(number);",
}

HOST = """
#include <math.h>
#include <stdbool.h>
#include <string.h>
#define __device__ static
#define __forceinline__ inline
#define AS(name, to, from) static inline to name(from x) { to y; memcpy(&y, &x, sizeof y); return y; }
AS(__longlong_as_double, double, long long)
AS(__uint_as_float, float, unsigned int)
AS(__float_as_uint, unsigned int, float)
AS(bits_of_half, unsigned short, _Float16)
AS(half_of_bits, _Float16, unsigned short)
enum { complex, real, imag, arg, float16, bfloat16, half, thrust, cupy }; // taken by CuPy's headers
static inline float from_half(unsigned short bits) { return half_of_bits(bits); }
static inline unsigned short to_half(float number) { return bits_of_half((_Float16)number); }
#ifdef __x86_64__
#define CONTROL __builtin_ia32_stmxcsr()
#define SET_CONTROL __builtin_ia32_ldmxcsr
#define FLUSH_TO_ZERO 0x8040
#else
#define CONTROL __builtin_aarch64_get_fpcr()
#define SET_CONTROL __builtin_aarch64_set_fpcr
#define FLUSH_TO_ZERO (1u << 24)
#endif
"""

LOOP = """
static __attribute__((noinline)) void loop(
    long size, long ndim, const long *shape, char *const *start, const long *strides, const double *scalars
) {
    for (long i = 0; i < size; i++) {
        char *at[COUNT];
        memcpy(at, start, sizeof at);
        for (long axis = ndim - 1, rest = i; axis >= 0; rest /= shape[axis--])
            for (long array = 0; array < COUNT; array++)
                at[array] += rest % shape[axis] * strides[array * ndim + axis];
        OPERATION
    }
}
void run(
    long size, long ndim, const long *shape, char *const *start, const long *strides, const double *scalars, int flush
) {
    const unsigned int before = CONTROL;
    if (flush)
        SET_CONTROL(before | FLUSH_TO_ZERO);
    loop(size, ndim, shape, start, strides, scalars);
    SET_CONTROL(before);
}
"""

TYPES = {"float32": "float", "float64": "double", "uint16": "unsigned short"}


@cache
def compiled(text: str) -> Any:
    """The library that a C text makes, compiled once per session."""
    folder = _folder()
    source, library = (folder / f"{len(list(folder.glob('*.c')))}{suffix}" for suffix in (".c", ".so"))
    source.write_text(text)
    command = "gcc -O1 -ffp-contract=off -fno-fast-math -fno-math-errno -fno-strict-aliasing -shared -fPIC"
    subprocess.run([*command.split(), "-o", library, source, "-lm"], check=True)
    return ctypes.CDLL(str(library))


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="updaters_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class ElementwiseKernel:
    """A kernel over elements, which holds its arguments to what was declared."""

    def __init__(
        self, in_params: str, out_params: str, operation: str, name: str, *, preamble: str, no_return: bool, options: Any
    ) -> None:
        if not re.fullmatch("[a-zA-Z_][a-zA-Z_0-9]*", name):
            raise ValueError(f'Invalid kernel name: "{name}"')
        assert "--fmad=false" in options, "without it products and sums are fused"
        assert no_return
        self.inputs, self.outputs = ([tuple(p.split()) for p in params.split(",")] for params in (in_params, out_params))
        self.raw = [parameter[-1] for parameter in self.inputs if parameter[:-1] == ("raw", "float64")]
        assert all(len(parameter) == 2 or parameter[-1] in self.raw for parameter in self.inputs + self.outputs)
        self.operation, self.name, self.preamble, self.options = operation, name, preamble, options

    @property
    def text(self) -> str:
        """The C that runs the kernel on a CPU."""
        preamble = self.preamble
        for cuda_only, call in PTX.items():
            preamble = preamble.replace(cuda_only, call)
        for name in self.raw:
            preamble += f"static const double *{name};\nvoid set_{name}(const double *n) {{ {name} = n; }}\n"
        scalars, arrays, names = 0, 0, []
        for *_, kind, name in self.inputs + self.outputs:
            if name in self.raw:
                continue
            if name.startswith("c"):
                names.append(f"#define {name} scalars[{scalars}]")
                scalars += 1
            else:
                names.append(f"#define {name} (*({TYPES[kind]} *)at[{arrays}])")
                arrays += 1
        return "\n".join([HOST, preamble, f"#define COUNT {arrays}", *names, LOOP.replace("OPERATION", self.operation)])

    def __call__(self, *args: Any) -> None:
        declared = self.inputs + self.outputs
        if len(args) != len(declared):
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)} in place of {len(declared)}.")
        arrays, scalars, raw = [], [], {}
        for (*_, kind, name), value in zip(declared, args, strict=True):
            if name in self.raw:
                assert isinstance(value, ndarray), f"{name} is an array of {kind}, got {value!r}"
                assert value.dtype == np.float64
                raw[name] = here(value)
                continue
            if not isinstance(value, ndarray):
                assert name.startswith("c"), f"{name} is an array of {kind}, got {value!r}"
                assert kind == "float64"
                assert isinstance(value, (float, np.floating)), f"Unsupported type {type(value)}"
                scalars.append(float(value))
                continue
            if value.dtype != kind:
                raise TypeError(f"Type is mismatched. {name} {value.dtype} {kind}")
            arrays.append(here(value))
        assert len(arrays) + len(scalars) + len(raw) == len(args)
        shape = arrays[-1].shape
        assert all(array.shape == shape for array in arrays), [array.shape for array in arrays]
        launches.append((self.name, Device().id, shape))
        if arrays[0].size == 0:
            return  # nor does CuPy compile for nothing
        c = lambda kind, values: (kind * len(values))(*values)  # noqa: E731
        for name, array in raw.items():
            getattr(compiled(self.text), f"set_{name}")(ctypes.c_void_p(array.ctypes.data))
        compiled(self.text).run(
            ctypes.c_long(arrays[0].size),
            ctypes.c_long(len(shape)),
            c(ctypes.c_long, shape),
            c(ctypes.c_void_p, [array.ctypes.data for array in arrays]),
            c(ctypes.c_long, [stride for array in arrays for stride in array.strides]),
            c(ctypes.c_double, scalars),
            FLUSH and self.outputs[0][0] != "float64",
        )


LANES = {
    "#define up_shared __shared__": "#define up_shared static",
    "#define up_chunk blockIdx.x": "static long long up_chunk;\nvoid set_chunk(long long chunk) { up_chunk = chunk; }",
    "#define up_for_lanes for (int lane = threadIdx.x, once = 1; once; once = 0)": "#define up_for_lanes for (int lane = 0; lane < 1024; lane++)",
    "#define up_all_lanes_done __syncthreads();": "#define up_all_lanes_done",
    "#define up_each 1": "#define up_each 1024",
    "#define up_own 0": "#define up_own lane",
    "#define up_bounds __launch_bounds__(1024)": "#define up_bounds",
}  # fmt: skip
"""How the threads of a block take turns on a CPU: each in its turn up to where they wait for each other."""


class RawKernel:
    """A kernel of one's own, run block by block."""

    def __init__(self, code: str, name: str, *, options: Any) -> None:
        assert "--fmad=false" in options, "without it products and sums are fused"
        self.code, self.name, self.options = code, name, options
        (declared,) = re.findall(rf'extern "C" __global__ void (?:up_bounds )?{name}\((.*?)\) {{', code)
        self.parameters = [parameter.strip() for parameter in declared.split(",")]

    @property
    def text(self) -> str:
        """The C that runs the kernel on a CPU."""
        text = self.code
        for cuda_only, here in (PTX | LANES).items():
            text = text.replace(cuda_only, here)
        control = "static unsigned int before;\nvoid flush(int on) { if (on) { before = CONTROL; SET_CONTROL(before | FLUSH_TO_ZERO); } else SET_CONTROL(before); }\n"
        return HOST + control + text.replace('extern "C" __global__ ', "")

    def compile(self) -> None:
        """Compile it, as CuPy does here and not at the first launch."""
        compiled(self.text)

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...]) -> None:
        assert block in ((1,), (1024,))
        assert len(args) == len(self.parameters), (args, self.parameters)
        passed: list[Any] = []
        for parameter, value in zip(self.parameters, args, strict=True):
            kind = " ".join(parameter.removeprefix("const ").split()[:-1])
            if isinstance(value, ndarray):
                assert "*" in parameter
                assert TYPES[value.dtype.name] == kind, (parameter, value.dtype)
                assert value.flags.c_contiguous
                passed.append(ctypes.c_void_p(here(value).ctypes.data))
            else:
                assert {np.float64: "double", np.int64: "long long"}[type(value)] == kind, (parameter, value)
                passed.append((ctypes.c_double if kind == "double" else ctypes.c_longlong)(value))
        launches.append((self.name, Device().id, grid))
        library = compiled(self.text)
        flushes = FLUSH and "typedef float up_real" in self.code
        for chunk in range(grid[0]):
            if block != (1,):
                library.set_chunk(ctypes.c_longlong(chunk))
            if flushes:
                library.flush(1)
            getattr(library, self.name)(*passed)
            if flushes:
                library.flush(0)


@contextmanager
def installed(*, flush: bool = False) -> Iterator[ModuleType]:
    """This module in the place of CuPy, and all as it was afterwards.

    Args:
        flush: treat float32 subnormals as CuPy does. Without it the kernels give the values of NumPy and numba.
    """
    global FLUSH
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: what CuPy would be given cannot be compiled on the CPU")
    names = ("cupy", "updaters.backends.cupy")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    attribute, flushed = vars(backends).pop("cupy", None), FLUSH
    _forget()
    this = sys.modules[__name__]
    sys.modules["cupy"], FLUSH = this, flush
    try:
        yield this
    finally:
        FLUSH = flushed
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
        vars(backends).pop("cupy", None)
        if attribute is not None:
            backends.cupy = attribute  # type: ignore[attr-defined]
        _forget()


def _forget() -> None:
    """Forget backends that were chosen and formulas that were compiled, which are those of another CuPy."""
    for cached in (backends.load, backends.best, made._recorded):
        cached.cache_clear()


# The comparison with NumPy.


@attrs.frozen(repr=False)
class EveryOperation(up.Optimizer):
    """What a formula may do and none of the library's own does yet."""

    lr: up.Schedulable = rate(0.1)

    slots = ("s",)

    @staticmethod
    def formula(w: Any, g: Any, s: Any, lr: Any, half: Any) -> Any:
        low, high = np.minimum(g, w), np.maximum(s, -w)
        size = np.abs(g)
        chosen = ((g > w) & ~(w <= s)) | ((size >= 1.0) & (low != low)) | (high < -half)
        step = np.where(chosen, np.sign(g) * np.sqrt(size), np.clip(low, -1.0, 2.0))
        step = np.where(g > 50.0, np.inf, np.where(g < -50.0, -np.inf, np.where(w == 0.0, np.nan, step)))
        return w - lr * step / (size + half), np.where(size > half, low, high)

    def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
        return {"lr": self.lr, "half": 0.5}


RULES = RULES_OF_OURS | {"every operation": EveryOperation()}
KERNELS = [*KERNELS_OF_OURS, "every operation"]
EVALUATED = ["asgd", "schedule-free sgd", "sgd"]

DTYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]

OTHER_PRECISION = {
    "float16": "float64", "bfloat16": "float16", "float32": "float64", "float64": "float32",
    "complex64": "complex128", "complex128": "complex64",
}  # fmt: skip

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e30, 3e38, -3e38]
"""None of these is, and no update makes of them, a float32 subnormal: a test without a GPU holds them to that."""

SPECIAL_FLOAT64 = [*SPECIAL, 1e-310, -5e-324, 1e308]
SUBNORMAL = [1e-40, -3e-45]


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def numbers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], share: float, subnormal: bool = False
) -> np.ndarray[Any, Any]:
    """Numbers from 1e-9 to 1e2 of both signs, a share of them special."""
    special = (SPECIAL_FLOAT64 if dtype.name in ("float64", "complex128") else SPECIAL) + SUBNORMAL * subnormal

    def part() -> np.ndarray[Any, Any]:
        values = rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-9, 2, shape)
        return np.where(rng.random(shape) < share, rng.choice(special, shape), values)

    with np.errstate(all="ignore"):
        if dtype.kind != "c":
            return np.asarray(part().astype(dtype))
        both = np.empty((*shape, 2), f"f{dtype.itemsize // 2}")
        both[..., 0], both[..., 1] = part(), part()
        return both.view(dtype)[..., 0]


def put(cupy: Any, host: np.ndarray[Any, Any]) -> Array:
    """A copy on the device. Halves travel as their bits."""
    return cupy.asarray(host.view(np.uint16) if host.dtype.itemsize == 2 else host).view(host.dtype)


def take(array: Array) -> np.ndarray[Any, Any]:
    """A copy on the host."""
    return array.view(np.uint16).get().view(array.dtype) if array.dtype.itemsize == 2 else array.get()


def fortran(cupy: Any, host: np.ndarray[Any, Any]) -> Array:
    return put(cupy, np.asfortranarray(host))


def strided(cupy: Any, host: np.ndarray[Any, Any]) -> Array:
    return put(cupy, np.repeat(host, 3, axis=-1))[..., ::3]


def backwards(cupy: Any, host: np.ndarray[Any, Any]) -> Array:
    return put(cupy, host[::-1, :, ::-1].copy())[::-1, :, ::-1]


def transposed(cupy: Any, host: np.ndarray[Any, Any]) -> Array:
    return put(cupy, host.transpose(2, 0, 1).copy()).transpose(1, 2, 0)


LAYOUTS: dict[str, tuple[tuple[int, ...], Callable[..., Array], Callable[..., Array]]] = {
    # The shape, how a weight is laid out, and how a gradient is, given the weight.
    "C": ((5, 6, 7), put, lambda cupy, host, weight: put(cupy, host)),
    "F": ((5, 6, 7), fortran, lambda cupy, host, weight: fortran(cupy, host)),
    "strided": ((5, 6, 7), strided, lambda cupy, host, weight: strided(cupy, host)),
    "reversed": ((5, 6, 7), backwards, lambda cupy, host, weight: backwards(cupy, host)),
    "transposed": ((5, 6, 7), transposed, lambda cupy, host, weight: transposed(cupy, host)),
    "mixed": ((5, 6, 7), fortran, lambda cupy, host, weight: strided(cupy, host)),
    "0-d": ((), put, lambda cupy, host, weight: put(cupy, host)),
    "empty": ((0, 3), put, lambda cupy, host, weight: put(cupy, host)),
    "broadcast gradient": ((5, 6, 7), put, lambda cupy, host, weight: cupy.broadcast_to(put(cupy, host[:1]), host.shape)),
    "other precision": (
        (5, 6, 7), put, lambda cupy, host, weight: put(cupy, cast(host, OTHER_PRECISION[host.dtype.name])),
    ),
    "overlapping": ((210,), put, lambda cupy, host, weight: weight[::-1]),
}  # fmt: skip


def cast(host: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        return host.astype(dtype_of(name))


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Whether all values are equal, zeros with their sign, NaN to NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "c":
        return same(a.real, b.real) and same(a.imag, b.imag)
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a) & (a == a), np.signbit(b) & (b == b))


def check_values(cupy: Any, rule: str, dtype: str, layout: str, *, subnormal: bool = False) -> None:
    """Hold three updates on CuPy's arrays, the slots included, to NumPy's values."""
    shape, lay_weight, lay_gradient = LAYOUTS[layout]
    rng = np.random.default_rng([*map(ord, rule + dtype + layout)])
    weight = lay_weight(cupy, numbers(rng, shape, dtype_of(dtype), 0.1, subnormal))
    expected = take(weight)
    clock = up.OptimizationState(batch_size=3)
    update = up.get_updater(RULES[rule], clock)
    reference = up.get_updater(RULES[rule], clock, backend="numpy")
    for _ in clock.batches(range(3)):
        gradient = lay_gradient(cupy, numbers(rng, shape, dtype_of(dtype), 0.3, subnormal), weight)
        given = take(gradient)
        transfers.clear()
        update("w", gradient, weight)
        assert not transfers
        reference("w", given, expected)
        assert same(take(weight), expected)
        assert layout == "overlapping" or same(take(gradient), given)
        for name, slot in reference.slots["w"].arrays.items():
            assert same(take(update.slots["w"][name]), slot), name


def check_powers(cupy: Any, rule: str) -> None:
    """Hold three updates of float64 weights to NumPy's values, but for the rounding of powers."""
    rng = np.random.default_rng(4)
    expected = numbers(rng, (500,), np.dtype(np.float64), 0)
    weight = put(cupy, expected)
    clock = up.OptimizationState()
    update, reference = (up.get_updater(RULES[rule], clock, backend=backend) for backend in ("auto", "numpy"))
    for gradient in clock.batches(numbers(rng, (3, 500), np.dtype(np.float64), 0)):
        update("w", put(cupy, gradient), weight)
        reference("w", gradient, expected)
        kept = reference.slots["w"].arrays
        pairs = [(take(weight), expected), *((take(update.slots["w"][name]), slot) for name, slot in kept.items())]
        for found, wanted in pairs:
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def check_evaluation(cupy: Any, rule: str, dtype: str, layout: str) -> None:
    """Hold the weight to evaluate with to NumPy's, without a transfer."""
    shape, lay, _ = LAYOUTS[layout]
    rng = np.random.default_rng(5)
    weight = lay(cupy, numbers(rng, shape, dtype_of(dtype), 0))
    expected = take(weight)
    update, reference = (up.get_updater(RULES[rule], backend=backend) for backend in ("auto", "numpy"))
    for _ in range(6):
        gradient = lay(cupy, numbers(rng, shape, dtype_of(dtype), 0))
        update("w", gradient, weight)
        reference("w", take(gradient), expected)
    transfers.clear()
    found = update.evaluation_weight("w", weight)
    assert not transfers
    assert same(take(found), reference.evaluation_weight("w", expected))


def check_rounding(cupy: Any, dtype: str) -> None:
    """Hold what is stored to NumPy's rounding, at and beside all that is halfway between two halves of either kind."""
    with np.errstate(all="ignore"):
        low = np.arange(2**16, dtype=np.uint16).view(np.float16)
        high = np.nextafter(low, np.float16(np.inf))
        halfway = low.astype(np.float32) / 2 + high.astype(np.float32) / 2
        brain = (np.arange(2**16, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
        exact = np.concatenate([halfway, brain])
        numbers = np.concatenate([np.nextafter(exact, np.float32(toward)) for toward in (-np.inf, np.inf)] + [exact])
    numbers[np.abs(numbers) < np.finfo(np.float32).tiny] = 0
    gradient = numbers.astype(np.complex64) if dtype.startswith("complex") else numbers
    weight = np.zeros(gradient.shape, dtype_of(dtype))
    found = put(cupy, weight)
    up.get_updater(up.SGD(1.0))("w", put(cupy, gradient), found)
    up.get_updater(up.SGD(1.0), backend="numpy")("w", gradient, weight)
    assert same(take(found), weight)


def check_normalized_gradient(cupy: Any, dtype: str, layout: str) -> Array:
    """Hold the gradient that a rule would get to NumPy's, without a transfer; the last one found."""
    shape, lay_weight, lay_gradient = LAYOUTS[layout]
    rng = np.random.default_rng(3)
    weight = lay_weight(cupy, numbers(rng, shape, dtype_of(dtype), 0.3))
    gradient = lay_gradient(cupy, numbers(rng, shape, dtype_of(dtype), 0.3), weight)
    clock = up.OptimizationState(batch_size=3)
    for name in ("adam", "adam everything l2"):
        expected = up.normalized_gradient(RULES[name], clock, take(weight), take(gradient))
        transfers.clear()
        with cupy.cuda.Device(0):
            found = up.normalized_gradient(RULES[name], clock, weight, gradient)
        assert not transfers
        assert isinstance(found, cupy.ndarray)
        assert same(take(found), expected)
    return found


SHARED: dict[str, Any] = {
    "no number": lambda w, g, s, a, b, c: (w - a * g * b, s * c + b),
    "one pass": lambda w, g, s, n, a, b, c: (w - a * g * b, s * c + b, n),
    "passes": lambda w, g, s, n, a, b, c: (w - b * np.linalg.norm(a * g - c) * g, s + g * b, n * b + np.sum(g * c)),
    "a number": lambda w, g, s, n, a, b, c: (w, s, np.where(n > b, b, c) * a),
}


def check_shared(cupy: Any, name: str, dtype: str, device: int) -> None:
    """Hold a formula with coefficients that are on the device to NumPy's values, without a transfer."""
    kept = ("n",) * ("n" in signature(SHARED[name]).parameters)
    recording = record(Formula("Shared", SHARED[name], ("s",), kept, ("a", "b", "c"), shared=(1, 2)))
    rng = np.random.default_rng(0)
    hosts = [
        numbers(rng, (70_000,), dtype_of(name), 0) for name in (dtype, dtype, "float64" if dtype == "float64" else "float32")
    ]
    with cupy.cuda.Device(device):
        arrays, table = [put(cupy, host) for host in hosts], cupy.asarray(np.array([0.5, 0.3, 0.7]))
        hosts.append(np.full((), 0.5))
        found, expected = backends.load("cupy"), backends.load("numpy")
        bound = found.bind(recording, arrays[0], arrays[1], [arrays[2]], [table[0, ...] for _ in kept])
    transfers.clear()
    found.run([bound.job(arrays[0], arrays[1], [0.1, table[1, ...], table[2, ...]])])
    assert not transfers
    bound = expected.bind(recording, hosts[0], hosts[1], [hosts[2]], [hosts[3] for _ in kept])
    expected.run([bound.job(hosts[0], hosts[1], [0.1, 0.3, 0.7])])
    with cupy.cuda.Device(device):
        assert all(same(take(a), b) for a, b in zip([*arrays, table[0, ...]], hosts, strict=True))


def check_add_up(cupy: Any, device: int) -> None:
    """Hold sums of device's numbers to NumPy's, and these to additions one by one."""
    rng = np.random.default_rng(0)
    cases = [
        [],
        [-0.0],
        [0.1],
        [np.inf, -np.inf],
        [1e308, 1e308, -1e308],
        rng.standard_normal(1000) * 10.0 ** rng.uniform(-9, 9, 1000),
    ]
    for case in cases:
        host, total = np.array(case, np.float64), np.float64(0)
        with np.errstate(all="ignore"):
            for place, term in enumerate(host):
                total = total + term if place else term
        with cupy.cuda.Device(device):
            there = put(cupy, host)
            strided = put(cupy, np.repeat(host, 2))[::2]
        transfers.clear()
        sums = [backends.load("cupy").add_up(array) for array in (there, strided)]
        assert not transfers
        assert all((found.device.id, found.shape, found.dtype) == (device, (), np.float64) for found in sums)
        ours = [backends.load("numpy").add_up(array) for array in (host, np.repeat(host, 2)[::2])]
        with cupy.cuda.Device(device):
            assert all(same(np.asarray(found), np.asarray(total)) for found in (*map(take, sums), *ours))
