"""The arrays that updates take: their kinds, dtypes and libraries, and the errors about them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A NumPy or CuPy array; CuPy has no types of its own."""

DType: TypeAlias = np.dtype[Any]


HALVES = ("float16", "bfloat16")
"""The dtypes that are stored in 16 bits and computed in float32."""


LARGEST = {"float16": 65504.0, "bfloat16": 2.0**128 - 2.0**120}
"""The largest finite number of each."""


@cache
def compute_dtype(dtype: DType) -> DType | None:
    """The real dtype in which arrays of `dtype` are computed, in the machine's byte order; None if they are not."""
    width = {("f", 2): 4, ("f", 4): 4, ("f", 8): 8, ("c", 8): 4, ("c", 16): 8}.get((dtype.kind, dtype.itemsize))
    if dtype.name == "bfloat16":
        width = 4
    return None if width is None else np.dtype(f"f{width}")


@cache
def slot_dtype(dtype: DType) -> DType:
    """The dtype of a slot for weights of `dtype`: the same, but float32 for halves."""
    if dtype.kind == "c":
        return dtype.newbyteorder("=")
    compute = compute_dtype(dtype)
    assert compute is not None
    return compute


def library(array: object) -> str | None:
    """`"numpy"` or `"cupy"`, or None for what is an array of neither."""
    if isinstance(array, np.ndarray):
        return "numpy"
    cupy = sys.modules.get("cupy")  # who holds a CuPy array has imported it
    return "cupy" if cupy is not None and isinstance(array, cupy.ndarray) else None


def as_reals(array: Array) -> Array:
    """The array itself, or a complex one as a view of reals with a last axis of two."""
    return array[..., np.newaxis].view(real_dtype(array.dtype)) if array.dtype.kind == "c" else array


def memory_order(arrays: Sequence[Array]) -> Literal["C", "F"] | None:
    """The order in which all arrays lie densely in memory, if there is one."""
    flags = [array.flags for array in arrays]
    if all(flag.c_contiguous for flag in flags):
        return "C"
    return "F" if all(flag.f_contiguous for flag in flags) else None


def flat(array: Array, order: Literal["C", "F"], view: DType | None) -> Array | None:
    """A one-dimensional view of a dense array's memory, as another dtype where one is given; None if it is not dense."""
    flags = array.flags
    if not flags.aligned:
        return None
    if order == "C":
        if not flags.c_contiguous:
            return None
        array = array.reshape(-1)
    else:
        if not flags.f_contiguous:
            return None
        array = array.T.reshape(-1)
    return array if view is None else array.view(view)


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real and imaginary parts of a complex one, any other itself."""
    return np.dtype(f"{dtype.byteorder}f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def check_weight(weight: Array, name: object, *, written: bool = True) -> Array:
    """A weight that an update can take, without its NumPy subclass, or an error that names it.

    Raises:
        TypeError: it is not an array of NumPy or CuPy, or its dtype is neither floating nor complex.
        ValueError: it would be written to and is read-only, or has elements that share memory.
    """
    weight = _check_array(weight, "weight", name)
    if compute_dtype(weight.dtype) is None:
        raise TypeError(f"{_label('weight', name)}: expected {_DTYPES}, got {weight.dtype}")
    if written and isinstance(weight, np.ndarray) and not weight.flags.writeable:
        raise ValueError(f"{_label('weight', name)}: expected an array that can be written to, got a read-only one")
    if written and _overlaps_itself(weight):
        raise ValueError(f"{_label('weight', name)}: expected elements with memory of their own, got strides {weight.strides}")
    return weight


def check_grad(grad: Array, weight: Array, name: object) -> Array:
    """A gradient for `weight`, without its NumPy subclass, or an error that names it.

    Raises:
        TypeError: it is not an array of the weight's library, or its dtype is of another kind than the weight's.
        ValueError: its shape or its device is another than the weight's.
    """
    if isinstance(grad, np.generic):  # what NumPy's arithmetic makes of arrays of no dimension
        grad = np.asarray(grad)
    grad = _check_array(grad, "gradient", name)
    if library(grad) != library(weight):
        raise TypeError(
            f"{_label('gradient', name)}: expected a {library(weight)} array as its weight is, got a {library(grad)} array"
        )
    if compute_dtype(grad.dtype) is None or (grad.dtype.kind == "c") != (weight.dtype.kind == "c"):
        kind = "a complex dtype" if weight.dtype.kind == "c" else "a real floating dtype"
        raise TypeError(f"{_label('gradient', name)}: expected {kind} for a weight of {weight.dtype}, got {grad.dtype}")
    if grad.shape != weight.shape:
        raise ValueError(f"{_label('gradient', name)}: expected shape {weight.shape} as its weight has, got {grad.shape}")
    if not isinstance(grad, np.ndarray) and grad.device != weight.device:
        raise ValueError(f"{_label('gradient', name)}: expected device {device(weight)} as its weight is on, got {device(grad)}")
    return grad


def _label(what: str, name: object) -> str:
    return what if name is None else f"{what} {name!r}"


def _overlaps_itself(array: Array) -> bool:
    """Whether elements share memory, as a broadcast array's do: some stride does not step over what lies below it."""
    if array.flags.c_contiguous or array.flags.f_contiguous or not array.size:
        return False
    reach = array.itemsize
    for stride, length in sorted(
        (abs(stride), length) for stride, length in zip(array.strides, array.shape, strict=True) if length > 1
    ):
        if stride < reach:
            return True
        reach += stride * (length - 1)
    return False


_DTYPES = "float16, bfloat16, float32, float64, complex64 or complex128"


def _check_array(array: Array, what: str, name: object) -> Array:
    if type(array) is np.ndarray:
        return array
    kind = library(array)
    if kind is None:
        raise TypeError(f"{_label(what, name)}: expected a NumPy or CuPy array, got {array!r:.60} ({type(array).__name__})")
    if isinstance(array, (np.ma.MaskedArray, np.matrix)):
        raise TypeError(
            f"{_label(what, name)}: expected a plain array, got a {type(array).__name__}, whose own rules an update would ignore"
        )
    return np.asarray(array) if kind == "numpy" else array


def device(array: Array) -> str:
    """Where an array is: `"cpu"`, or `"cuda:0"` and so on."""
    return "cpu" if isinstance(array, np.ndarray) else f"cuda:{array.device.id}"


def to_host(array: Array) -> Array:
    """The array itself where it is NumPy's, and a copy of CuPy's in the host's memory, in the same order."""
    return array if isinstance(array, np.ndarray) else array.get(order="A")
