"""What is saved of an updater, and the same as data that JSON can hold, with arrays beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import attrs
import numpy as np

from updaters.arrays import Array, library, real_dtype, to_host
from updaters.checkpoint.data import (
    as_count,
    from_data,
    get_count,
    get_field,
    get_list,
    get_mapping,
    get_text,
    misfit,
    numbers_from_data,
    numbers_to_data,
    parsed,
    to_data,
)
from updaters.checkpoint.files import CODES, dtype_name
from updaters.checkpoint.names import as_index, listed, slot_name, weight_name
from updaters.state import OptimizationState
from updaters.version import __version__
from updaters.weight_state import Index, WeightState, check_index

FORMAT = 1

MOST_VALUES = 1_000_000
"""The values that the text of a file may have, whatever they are; a parser takes up to 100 bytes for each."""

VALUES_OF_EACH = 20
"""The values that the text may have besides for each array, and for each weight."""


class Source(Protocol):
    """Where an array comes from: a file, or memory."""

    @property
    def code(self) -> str:
        """Its dtype, as files have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, as files have it."""

    def view(self) -> Array:
        """The array as files have it, on the host."""


@attrs.frozen
class InMemory:
    """An array in memory."""

    _array: Array

    @property
    def code(self) -> str:
        """Its dtype, as files have it."""
        name = dtype_name(self._array.dtype).removeprefix(">")
        return CODES.get(name, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, as files have it."""
        return (*self._array.shape, 2) if self._array.dtype.kind == "c" else self._array.shape

    def view(self) -> Array:
        """The array as files have it, on the host."""
        array = to_host(self._array)
        if array.dtype.kind == "c":
            return np.require(array, requirements="C")[..., np.newaxis].view(real_dtype(array.dtype))
        return array


def on_host(array: Array) -> Array:
    """A copy of an array in the host's memory, in the machine's byte order."""
    host = to_host(array)
    host = host.copy(order="K") if host is array else host
    return host if host.dtype.isnative else host.astype(host.dtype.newbyteorder("="))


@attrs.frozen
class Kept:
    """What is kept for a weight.

    Attributes:
        shape: the weight's shape.
        dtype: the weight's dtype, as `dtype_name` has it.
        device: where the weight is.
        count: the updates that it has had.
        gathered: the gradients that are accumulated.
        scalars: the host numbers by name.
        dtypes: the dtypes of the slots by name.
        order: how slots lie in memory, `"C"` or `"F"`.
        slots: the slots and the device's numbers, by name.
    """

    shape: tuple[int, ...]
    dtype: str
    device: str
    count: int
    gathered: int
    scalars: Mapping[str, float]
    dtypes: Mapping[str, str]
    order: str
    slots: Mapping[str, Any]

    @classmethod
    def of(cls, known: WeightState) -> Kept:
        """What is kept for a weight that an updater has."""
        in_f = any(array.flags.f_contiguous and not array.flags.c_contiguous for array in known.arrays.values())
        return cls(
            known.shape, dtype_name(known.dtype), known.device, known.count, known.gathered, dict(known.scalars),
            {name: dtype_name(array.dtype) for name, array in known.arrays.items()}, "F" if in_f else "C", dict(known.arrays),
        )  # fmt: skip

    def to_data(self) -> dict[str, Any]:
        """All but the arrays."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "device": self.device,
            "count": self.count,
            "gathered": self.gathered,
            "scalars": numbers_to_data(self.scalars),
            "dtypes": dict(self.dtypes),
            "order": self.order,
        }

    @classmethod
    def from_data(cls, data: Any, where: str, slots: Callable[[str], Source]) -> Kept:
        """The same from data, with arrays by name."""
        dtypes = get_mapping(data, "dtypes", where)
        shape = tuple(as_count(length, f"{where}.shape") for length in get_list(data, "shape", where))
        for name, dtype in dtypes.items():
            if not isinstance(dtype, str) or dtype not in CODES:
                raise misfit(f"{where}.dtypes.{name}", "a dtype of slots", dtype)
        found = {name: slots(name) for name in dtypes}
        for name, dtype in dtypes.items():
            _check_array(found[name], dtype, f"slot {name!r} of {where}")
        of_weight = get_text(data, "dtype", where)
        if of_weight.removeprefix(">") not in CODES:
            raise misfit(f"{where}.dtype", "a dtype of weights", of_weight)
        order = get_text(data, "order", where)
        if order not in ("C", "F"):
            raise misfit(f"{where}.order", "'C' or 'F'", order)
        return cls(
            shape, of_weight, get_text(data, "device", where), get_count(data, "count", where),
            get_count(data, "gathered", where), numbers_from_data(get_mapping(data, "scalars", where), f"{where}.scalars"),
            dtypes, order, found,
        )  # fmt: skip


@attrs.frozen
class Contents:
    """What is saved of an updater.

    Attributes:
        optimizer: its optimizer, as `described` has it.
        moving: what schedules and others in it remember, by their places.
        clock: the clock.
        loss_scale: what its loss scale keeps.
        calls: the calls of `step` that wait for others.
        kept: what is kept for weights, by index.
        met: the indices of all weights that it has been given, those that stand still included.
        weights: the weights themselves, by index; None where they were not asked for.
        extra: what else its user wants to keep.
        versions: of what it was saved by.
    """

    optimizer: Mapping[str, Any]
    moving: Mapping[str, Any]
    clock: OptimizationState
    loss_scale: Mapping[str, float]
    calls: int
    kept: Mapping[Index, Kept]
    met: tuple[Index, ...]
    weights: Mapping[Index, Any] | None
    extra: Any
    versions: Mapping[str, str] = attrs.field(factory=lambda: versions())

    def to_data(self) -> dict[str, Any]:
        """All but the arrays, as JSON can hold it, with indices as lists where they are tuples."""
        weights = None
        if self.weights is not None:
            weights = [{"index": listed(index), "dtype": dtype_name(array.dtype)} for index, array in self.weights.items()]
        return {
            "format": FORMAT,
            "versions": dict(self.versions),
            "optimizer": self.optimizer,
            "moving": {place: to_data(numbers, f"what {place} remembers") for place, numbers in self.moving.items()},
            "clock": clock_of(self.clock),
            "loss_scale": numbers_to_data(self.loss_scale),
            "calls": self.calls,
            "kept": [{"index": listed(index), **kept.to_data()} for index, kept in self.kept.items()],
            "met": [listed(index) for index in self.met],
            "weights": weights,
            "extra": to_data(self.extra, "extra"),
        }

    def arrays(self) -> dict[str, Array]:
        """The arrays, by their names in a file."""
        slots = {
            f"{prefix}{name}": array
            for index, kept in self.kept.items()
            for prefix in [slot_name(index, "")]
            for name, array in kept.slots.items()
        }
        return slots | {weight_name(index): array for index, array in (self.weights or {}).items()}

    def copied(self) -> Contents:
        """The same with copies of all arrays, in the host's memory."""
        kept = {
            index: attrs.evolve(one, slots={name: on_host(array) for name, array in one.slots.items()})
            for index, one in self.kept.items()
        }
        weights = None if self.weights is None else {index: on_host(array) for index, array in self.weights.items()}
        return attrs.evolve(self, kept=kept, weights=weights)

    def text(self) -> str:
        """All but the arrays as JSON.

        Raises:
            TypeError, ValueError: something in it is more than JSON can hold.
        """
        text = json.dumps(self.to_data(), separators=(",", ":"))
        check_values(text, sum(len(kept.slots) for kept in self.kept.values()) + len(self.weights or ()))
        return text

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dictionary, with copies of the arrays in the host's memory."""
        kept = {
            index: {**one.to_data(), "slots": {name: on_host(array) for name, array in one.slots.items()}}
            for index, one in self.kept.items()
        }
        return self.to_data() | {"kept": kept}

    @classmethod
    def from_dict(cls, values: Any) -> Contents:
        """The same from a dictionary.

        Raises:
            TypeError, ValueError: it is not what `to_dict` gives.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"state_dict must be what an updater's state_dict() gives, got {values!r:.60}")
        check_format(values)
        arrays: dict[str, Source] = {}
        records = []
        for given, one in get_mapping(values, "kept", "").items():
            index = check_index(given)
            where = f"weight {index!r}"
            for name, array in get_mapping(one, "slots", where).items():
                if library(array) is None or isinstance(array, (np.ma.MaskedArray, np.matrix)):
                    raise TypeError(f"slot {name!r} of {where} must be a NumPy or CuPy array, got {type(array).__name__}")
                arrays[slot_name(index, name)] = InMemory(array)
            records.append({**one, "index": listed(index)})
        return cls.from_data({**values, "kept": records}, arrays)

    @classmethod
    def from_data(cls, data: Any, arrays: Mapping[str, Source]) -> Contents:
        """The same from data, and arrays by their names.

        Raises:
            ValueError: it is not what `to_data` gives; or a later version wrote it.
        """
        check_format(data)
        unused = dict(arrays)

        def take(prefix: str, name: str) -> Source:
            if prefix + name not in unused:
                raise ValueError(f"array {prefix + name!r} is missing")
            return unused.pop(prefix + name)

        kept: dict[Index, Kept] = {}
        for place, one in enumerate(get_list(data, "kept", "")):
            index = _index(one, f"kept[{place}]", kept)
            kept[index] = Kept.from_data(one, f"weight {index!r}", partial(take, slot_name(index, "")))
        weights: dict[Index, Any] | None = None
        if get_field(data, "weights", "") is not None:
            weights = {}
            for place, one in enumerate(get_list(data, "weights", "")):
                index = _index(one, f"weights[{place}]", weights)
                dtype = get_text(one, "dtype", f"weights[{place}]")
                weights[index] = dtype, (source := take("", weight_name(index)))
                _check_array(source, dtype.removeprefix(">"), f"weight {index!r}")
        if unused:
            raise ValueError(f"array {next(iter(unused))!r} is not named where it should be")
        return cls(
            get_mapping(data, "optimizer", ""),
            {place: from_data(numbers, place) for place, numbers in get_mapping(data, "moving", "").items()},
            clock_from(get_mapping(data, "clock", "")),
            numbers_from_data(get_mapping(data, "loss_scale", ""), "loss_scale"),
            get_count(data, "calls", ""),
            kept,
            tuple(as_index(index, "met") for index in get_list(data, "met", "")),
            weights,
            from_data(get_field(data, "extra", ""), "extra"),
            {str(name): str(version) for name, version in get_mapping(data, "versions", "").items()},
        )


def read_text(text: str, arrays: int) -> Any:
    """What a text says, for `from_data`, if it speaks of so many arrays.

    Raises:
        ValueError: it is not what `text` gives.
    """
    check_values(text, arrays)
    data = parsed(text)
    check_format(data)
    named = sum(len(get_mapping(one, "dtypes", f"kept[{place}]")) for place, one in enumerate(get_list(data, "kept", "")))
    if get_field(data, "weights", "") is not None:
        named += len(get_list(data, "weights", ""))
    if named != arrays:
        raise ValueError(f"the text speaks of {named} arrays, and there are {arrays}")
    return data


def check_format(data: Any) -> None:
    """Raise where a later version wrote it."""
    found = get_count(data, "format", "")
    if found != FORMAT:
        by = data.get("versions")
        said = f", of updaters {by['updaters']}" if isinstance(by, Mapping) and "updaters" in by else ""
        raise ValueError(f"format must be {FORMAT}, got {found}{said:.60}; a later updaters reads it")


def versions() -> dict[str, str]:
    """The versions of what saves here."""
    return {"updaters": __version__, "numpy": np.__version__, "python": ".".join(map(str, sys.version_info[:3]))}


COUNTERS = ("batch_size", "epoch", "batch", "iteration", "held", "unfinished", "last_held", "last_applied")
"""Of a clock, as the first format has them."""


def clock_from(data: Mapping[str, Any]) -> OptimizationState:
    """A clock from its counters; those that are newer than the file are as they begin.

    Raises:
        ValueError: they are no counters.
    """
    for name in COUNTERS:
        value = get_field(data, name, "clock")
        if name != "unfinished":
            as_count(value, f"clock.{name}")
    try:
        return OptimizationState(**data)
    except (TypeError, ValueError) as error:
        raise ValueError(f"clock must be the counters of an OptimizationState: {error}") from None


def clock_of(state: OptimizationState) -> dict[str, Any]:
    """A clock's counters, by name; not what a class of one's own adds to them."""
    return {field.name: getattr(state, field.name) for field in attrs.fields(OptimizationState) if field.init}


def check_values(text: str, arrays: int) -> None:
    """Raise where a text has more values than so many arrays, and the weights that it speaks of, explain."""
    fields = (field.name for field in attrs.fields(Kept) if field.name != "slots")
    named, weights = text.count('":"'), min(text.count(f'"{name}":') for name in fields)
    if named < arrays:
        raise ValueError(f"the text speaks of {named} arrays at most, and there are {arrays}")
    values, most = sum(map(text.count, ",[{")), MOST_VALUES + VALUES_OF_EACH * (arrays + weights)
    if values > most or text.count("{") > most // 4:  # mappings take most
        raise ValueError(f"a file with {weights} weights has at most {most} values, a quarter of them mappings; here are more")


def _index(one: Any, where: str, others: Mapping[Index, Any]) -> Index:
    index = as_index(get_field(one, "index", where), where)
    if index in others:
        raise ValueError(f"{where}: index {index!r} is there twice")
    return index


def _check_array(source: Source, dtype: str, where: str) -> None:
    """Raise where an array is not of the dtype that is said of it."""
    if CODES.get(dtype) != source.code or ("complex" in dtype and source.shape[-1:] != (2,)):
        raise misfit(where, f"an array of {dtype}", f"{source.code}{list(source.shape)}")
