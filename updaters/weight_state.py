"""What is kept for a weight, and the index that it is kept under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters.arrays import Array, device, to_host
from updaters.backends import Backend, Bound, load
from updaters.checks import integer

Index: TypeAlias = str | int | tuple[Any, ...]
"""The name of a weight: a str, an int, or a tuple of these."""


def check_index(index: object) -> Index:
    """An index with NumPy's integers as ints, or an error that says what an index may be."""
    if type(index) is str or type(index) is int:
        return index
    if isinstance(index, str):
        return str.__str__(index)  # an enumeration's own would give its member's name
    if isinstance(index, tuple):
        return tuple(check_index(part) for part in index)
    number = integer(index)
    if number is not None:
        return number
    raise TypeError(f"an index must be a str, an int or a tuple of these, got {index!r} ({type(index).__name__})")


@attrs.define(eq=False, repr=False)
class WeightState:
    """What the optimizer keeps for one weight. `state["m"]` finds an array or a scalar by its name.

    Attributes:
        index: the weight's index.
        shape: the weight's shape.
        dtype: the weight's dtype.
        device: where the weight is, `"cpu"` or `"cuda:0"` and so on.
        count: the updates that the weight has had.
        gathered: the gradients that are accumulated, and not yet applied.
        waiting: whether it was loaded, and the weight has not been given since. Its slots are in the host's memory until then.
    """

    index: Index
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: str
    _arrays: dict[str, Array]
    _scalars: dict[str, float]
    count: int = 0
    gathered: int = 0
    waiting: bool = False
    # What runs its updates, chosen and bound at the first one in this process.
    backend: Backend | None = attrs.field(default=None, init=False)
    rule: Any = attrs.field(default=None, init=False)
    runner: Any = attrs.field(default=None, init=False)
    bound: Bound | None = attrs.field(default=None, init=False)
    others: dict[str, Any] = attrs.field(factory=dict, init=False)
    table: Any = attrs.field(default=None, init=False)
    row: dict[str, Array] = attrs.field(factory=dict, init=False)

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The slots and the device's numbers by name, as they are and not copied."""
        return MappingProxyType(self._arrays)

    @property
    def scalars(self) -> Mapping[str, float]:
        """The host numbers by name."""
        return MappingProxyType(self._scalars)

    def __getitem__(self, name: str) -> Any:
        if name in self.arrays:
            return self.arrays[name]
        if name in self.scalars:
            return self.scalars[name]
        raise KeyError(f"no slot or scalar {name!r}; there are {', '.join((*self.arrays, *self.scalars)) or 'none'}")

    def __iter__(self) -> Iterator[str]:
        return iter((*self.arrays, *self.scalars))

    def check(self, weight: Array) -> None:
        """Raise unless the weight is what it was at its first update; wherever it is now, if that was in another process."""
        if self.waiting and weight.shape == self.shape and weight.dtype == self.dtype and device(weight) != self.device:
            self.device = device(weight)
            self._arrays = {name: load("cupy").from_host(array, self.device) for name, array in self._arrays.items()}
        now = {"shape": weight.shape, "dtype": weight.dtype, "device": device(weight)}
        for what, value in now.items():
            then = getattr(self, what)
            if value != then:
                raise ValueError(f"weight {self.index!r}: expected {what} {then} as in its earlier updates, got {value}")

    def unbind(self, rule: Any) -> None:
        """Go on by another rule, which is bound at the next update."""
        self.rule, self.bound, self.others, self.table, self.row = rule, None, {}, None, {}

    @property
    def reports(self) -> bool:
        """Whether its rule takes norms for a report."""
        return self.table is not None and getattr(self.rule, "reports", False)

    def empty(self) -> None:
        """Drop what is accumulated."""
        accumulated = self._arrays["accumulated"]
        with nullcontext() if isinstance(accumulated, np.ndarray) else accumulated.device:
            accumulated[...] = 0
        self.gathered = 0

    @property
    def nbytes(self) -> int:
        """The size of the slots in bytes."""
        return sum(int(array.nbytes) for array in self.arrays.values())

    def __repr__(self) -> str:
        arrays = ", ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in self.arrays.items())
        return f"WeightState({self.index!r}, arrays={{{arrays}}}, scalars={self._scalars}, count={self.count})"

    def __getstate__(self) -> tuple[Any, ...]:
        arrays = {name: to_host(array) for name, array in self.arrays.items()}
        return self.index, self.shape, self.dtype, self.device, arrays, self._scalars, self.count, self.gathered, self.waiting

    def __setstate__(self, values: tuple[Any, ...]) -> None:
        self.__init__(*values)  # type: ignore[misc]
        if self.device == "cpu":  # what was kept in memory that cannot be written to is copied
            arrays = {name: np.require(array, requirements="W") for name, array in self.arrays.items()}
        else:
            arrays = {name: load("cupy").from_host(array, self.device) for name, array in self.arrays.items()}
        self._arrays = arrays

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, WeightState)
            and (self.index, self.shape, self.dtype) == (other.index, other.shape, other.dtype)
            and (self._scalars, self.count, self.gathered) == (other._scalars, other.count, other.gathered)
            and self.arrays.keys() == other.arrays.keys()
            and all(
                bool(((a == b) | ((a != a) & (b != b))).all())
                for a, b in zip(self.arrays.values(), other.arrays.values(), strict=True)
            )
        )
