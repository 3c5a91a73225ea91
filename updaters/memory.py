"""Where arrays lie in memory, and which of them lie in each other."""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np

from updaters.arrays import Array


class Places:
    """Where the weights of one step lie; never changed once made, so that threads may share it."""

    def __init__(self, weights: Sequence[tuple[Any, Array]]) -> None:
        """Look where weights, given with their indices, lie.

        Raises:
            ValueError: two of them share memory.
        """
        self._weights = [weakref.ref(weight) for _, weight in weights]
        self._placed = sorted((*extent(weight), place) for place, (_, weight) in enumerate(weights))
        self._starts = [start for start, _, _ in self._placed]
        self._reach = list(accumulate((end for _, end, _ in self._placed), max))
        for position, (_, end, place) in enumerate(self._placed):
            for start, _, other in self._placed[position + 1 :]:
                if start >= end:
                    break
                (index, weight), (other_index, other_weight) = (weights[n] for n in sorted((place, other)))
                if share_memory(weight, other_weight):
                    raise ValueError(
                        f"weights {index!r} and {other_index!r} share memory, so the result would depend on their order"
                    )
        owners = [owner(weight) for _, weight in weights if isinstance(weight, np.ndarray)]
        # Where a weight's memory is another object's, that object may be a gradient's owner too.
        self._owners = {id(whole) for whole in owners} if all(whole.base is None for whole in owners) else None

    def are_of(self, weights: Sequence[tuple[Any, Array]]) -> bool:
        """Whether these very weights were looked at."""
        known = self._weights
        return len(weights) == len(known) and all(ref() is weight for ref, (_, weight) in zip(known, weights, strict=True))

    def held(self, grads: Sequence[Array]) -> list[int]:
        """The places of the gradients that lie where another weight does than their own."""
        owners = self._owners
        return [
            place
            for place, grad in enumerate(grads)
            if (owners is None or type(grad) is not np.ndarray or grad.base is not None or id(grad) in owners)
            and self._holds(grad, place)
        ]

    def _holds(self, grad: Array, place: int) -> bool:
        if self._owners is not None and isinstance(grad, np.ndarray):
            whole = owner(grad)
            if whole.base is None and id(whole) not in self._owners:
                return False
        elif isinstance(grad, np.generic):
            return False
        start, end = extent(grad)
        position = bisect_left(self._starts, end) - 1
        while position >= 0 and self._reach[position] > start:
            _, other_end, other = self._placed[position]
            if other != place and other_end > start:
                return True
            position -= 1
        return False


def owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array that an array is a view of, or itself."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def extent(array: Array) -> tuple[int, int]:
    """The first address that an array's elements occupy, and the first beyond them."""
    start = array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr
    spans = [stride * (length - 1) for stride, length in zip(array.strides, array.shape, strict=True)]
    if array.size == 0:
        return start, start
    return start + sum(span for span in spans if span < 0), start + sum(span for span in spans if span > 0) + array.itemsize


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays have an element in common; or might, where that is too hard to tell."""
    try:
        return np.shares_memory(_shadow(a), _shadow(b), max_work=10_000)  # type: ignore[arg-type]  # any bound is allowed
    except np.exceptions.TooHardError:
        return True


def _shadow(array: Array) -> np.ndarray[Any, Any]:
    """A NumPy array at the same addresses, to reason about and never to read."""
    if isinstance(array, np.ndarray):
        return array

    class Interface:
        __array_interface__: ClassVar = {
            "version": 3, "typestr": f"|V{array.itemsize}", "shape": array.shape, "strides": array.strides,
            "data": (array.data.ptr, True),
        }  # fmt: skip

    return np.asarray(Interface())
