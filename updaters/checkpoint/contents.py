"""What is saved of an updater, and the same as data that JSON can hold, with arrays beside it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import attrs
import numpy as np

from updaters.arrays import Array, library, real_dtype
from updaters.checkpoint.files import CODES, dtype_name
from updaters.state import OptimizationState
from updaters.version import __version__
from updaters.weight_state import Index, WeightState, check_index

FORMAT = 1

MOST_VALUES = 3_000_000
"""The values that the text of a file may have, and so many more for each array; a parser takes 50 bytes and more for each."""

DEEPEST = 200

K = TypeVar("K")


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
        array = self._array if isinstance(self._array, np.ndarray) else self._array.get(order="A")
        if array.dtype.kind == "c":
            return np.require(array, requirements="C")[..., np.newaxis].view(real_dtype(array.dtype))
        return array


def on_host(array: Array) -> Array:
    """A copy of an array in the host's memory, in the machine's byte order."""
    host = array.copy(order="K") if isinstance(array, np.ndarray) else array.get(order="A")
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
        dtypes = _mapping(data, "dtypes", where)
        shape = tuple(_count(length, f"{where}.shape[{i}]") for i, length in enumerate(_list(data, "shape", where)))
        for name, dtype in dtypes.items():
            _check(dtype in CODES, f"{where}.dtypes.{name}", "a dtype of slots", dtype)
        found = {name: slots(name) for name in dtypes}
        for name, dtype in dtypes.items():
            _check_array(found[name], dtype, f"slot {name!r} of {where}")
        order = _text(data, "order", where)
        _check(order in ("C", "F"), f"{where}.order", "'C' or 'F'", order)
        return cls(
            shape, _text(data, "dtype", where), _text(data, "device", where), _counted(data, "count", where),
            _counted(data, "gathered", where), numbers_from_data(_mapping(data, "scalars", where), f"{where}.scalars"),
            dtypes, order, found,
        )  # fmt: skip


@attrs.frozen
class Contents:
    """What is saved of an updater.

    Attributes:
        optimizer: its optimizer, as `described` has it.
        moving: what schedules and others in it remember, by their places.
        clock: the clock's counters.
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
    clock: Mapping[str, Any]
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
            weights = [{"index": _listed(index), "dtype": dtype_name(array.dtype)} for index, array in self.weights.items()]
        return {
            "format": FORMAT,
            "versions": dict(self.versions),
            "optimizer": self.optimizer,
            "moving": {place: to_data(numbers, f"what {place} remembers") for place, numbers in self.moving.items()},
            "clock": dict(self.clock),
            "loss_scale": numbers_to_data(self.loss_scale),
            "calls": self.calls,
            "kept": [{"index": _listed(index), **kept.to_data()} for index, kept in self.kept.items()],
            "met": [_listed(index) for index in self.met],
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

    @classmethod
    def from_text(cls, text: str, arrays: Mapping[str, Source]) -> Contents:
        """The same from JSON.

        Raises:
            ValueError: it is not what `text` gives.
        """
        return cls.from_data(parsed(text, len(arrays)), arrays)

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
        arrays: dict[str, Source] = {}
        records = []
        for name, one in _mapping(values, "kept", "").items():
            index = check_index(name)
            records.append({"index": _listed(index), **_mapping({"kept": one}, "kept", f"weight {index!r}")})
            for name, array in _mapping({"slots": records[-1].pop("slots", None)}, "slots", f"weight {index!r}").items():
                if library(array) is None:
                    raise TypeError(
                        f"slot {name!r} of weight {index!r} must be a NumPy or CuPy array, got {type(array).__name__}"
                    )
                arrays[slot_name(index, name)] = InMemory(array)
        return cls.from_data({**values, "kept": records}, arrays)

    @classmethod
    def from_data(cls, data: Any, arrays: Mapping[str, Source]) -> Contents:
        """The same from data, and arrays by their names.

        Raises:
            ValueError: it is not what `to_data` gives; or a later version wrote it.
        """
        found = _counted(data, "format", "")
        if found != FORMAT:
            by = data.get("versions")
            said = f", of updaters {by['updaters']}" if isinstance(by, Mapping) and "updaters" in by else ""
            raise ValueError(f"format must be {FORMAT}, got {found}{said}; a later updaters reads it")
        unused = dict(arrays)

        def take(name: str) -> Source:
            if name not in unused:
                raise ValueError(f"array {name!r} is missing")
            return unused.pop(name)

        kept: dict[Index, Kept] = {}
        for place, one in enumerate(_list(data, "kept", "")):
            index = _index(one, f"kept[{place}]", kept)
            prefix = slot_name(index, "")
            kept[index] = Kept.from_data(one, f"weight {index!r}", lambda name, prefix=prefix: take(f"{prefix}{name}"))  # type: ignore[misc]
        weights: dict[Index, Any] | None = None
        if _field(data, "weights", "") is not None:
            weights = {}
            for place, one in enumerate(_list(data, "weights", "")):
                index = _index(one, f"weights[{place}]", weights)
                dtype = _text(one, "dtype", f"weights[{place}]")
                weights[index] = dtype, (source := take(weight_name(index)))
                _check_array(source, dtype.lstrip(">"), f"weight {index!r}")
        if unused:
            raise ValueError(f"array {next(iter(unused))!r} is not named where it should be")
        clock = _mapping(data, "clock", "")
        return cls(
            _mapping(data, "optimizer", ""),
            {place: from_data(numbers, place) for place, numbers in _mapping(data, "moving", "").items()},
            clock,
            numbers_from_data(_mapping(data, "loss_scale", ""), "loss_scale"),
            _counted(data, "calls", ""),
            kept,
            tuple(_as_index(index, "met") for index in _list(data, "met", "")),
            weights,
            from_data(_field(data, "extra", ""), "extra"),
            {str(name): str(version) for name, version in _mapping(data, "versions", "").items()},
        )


def versions() -> dict[str, str]:
    """The versions of what saves here."""
    return {"updaters": __version__, "numpy": np.__version__, "python": ".".join(map(str, sys.version_info[:3]))}


def clock_of(state: OptimizationState) -> dict[str, Any]:
    """A clock's counters, by name."""
    return {field.name: getattr(state, field.name) for field in attrs.fields(type(state)) if field.init}


# Names.


def text_of(index: Index) -> str:
    """An index as a text that no other index has: itself where it is a str, unless JSON would read it as something."""
    data = _listed(index)
    if isinstance(data, str) and not _is_json(data) and _has_bytes(data):
        return data
    return json.dumps(data)


JSON = re.compile(r'\s*[-0-9"\[{tfnNI]')
"""How all texts begin that Python takes for JSON."""


def _is_json(text: str) -> bool:
    if JSON.match(text) is None:
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    except RecursionError:
        pass
    return True


def _has_bytes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return True


def slot_name(index: Index, name: str) -> str:
    """What a slot is called in a file."""
    return f"slots/{text_of(index)}/{name}"


def weight_name(index: Index) -> str:
    """What a weight is called in a file."""
    return f"weights/{text_of(index)}"


def _listed(index: Index) -> Any:
    return [_listed(part) for part in index] if isinstance(index, tuple) else index


def _as_index(data: Any, where: str, depth: int = 0) -> Index:
    if isinstance(data, list) and depth < DEEPEST:
        return tuple(_as_index(part, where, depth + 1) for part in data)
    if isinstance(data, bool) or not isinstance(data, (str, int)):
        raise ValueError(f"{where} must have indices, got {data!r:.60}")
    return data


def _index(data: Any, where: str, others: Mapping[Index, Any]) -> Index:
    index = _as_index(_field(data, "index", where), where)
    if index in others:
        raise ValueError(f"{where}: index {index!r} is there twice")
    return index


# Values that JSON has no word for.


def to_data(value: Any, path: str, depth: int = 0) -> Any:
    """Data as JSON can hold it: NumPy's numbers as Python's own, and infinite ones by their names."""
    if depth > DEEPEST:
        raise ValueError(f"{path:.60}... is nested more than {DEEPEST} deep")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer, np.bool_)):
        return bool(value) if isinstance(value, np.bool_) else int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{path} must have names that are str, got {name!r}")
        data = {name: to_data(part, f"{path}.{name}", depth + 1) for name, part in value.items()}
        return {"mapping": data} if data.keys() in ({"float"}, {"mapping"}) else data
    if isinstance(value, (list, tuple)):
        return [to_data(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(value)]
    raise TypeError(f"{path} must be data: None, bool, int, float, str, and lists and mappings of these; got {value!r:.60}")


def from_data(data: Any, path: str) -> Any:
    """What `to_data` was given, with lists for tuples."""
    if isinstance(data, Mapping):
        if data.keys() == {"float"}:
            _check(data["float"] in ("inf", "-inf", "nan"), path, "'inf', '-inf' or 'nan'", data["float"])
            return float(data["float"])
        if data.keys() == {"mapping"} and isinstance(data["mapping"], Mapping):
            data = data["mapping"]
        return {name: from_data(part, f"{path}.{name}") for name, part in data.items()}
    if isinstance(data, list):
        return [from_data(part, path) for part in data]
    return data


def numbers_to_data(numbers: Mapping[str, float]) -> dict[str, Any]:
    """Floats by name, as JSON can hold them."""
    return {name: to_data(float(value), name) for name, value in numbers.items()}


def numbers_from_data(data: Mapping[str, Any], where: str) -> dict[str, float]:
    """Floats by name."""
    numbers = {name: from_data(value, f"{where}.{name}") for name, value in data.items()}
    for name, value in numbers.items():
        _check(type(value) is float, f"{where}.{name}", "a float", value)
    return numbers


# Reading what anybody may have written.


def check_values(text: str, arrays: int) -> None:
    """Raise where a text has more values than so many arrays explain."""
    values, most = sum(map(text.count, ",[{")), MOST_VALUES + 100 * arrays
    if values > most:
        raise ValueError(f"the text of a file with {arrays} arrays has at most {most} values, and this one {values}")


def parsed(text: str, arrays: int) -> Any:
    """Data from a text, which may be hostile.

    Raises:
        ValueError: it is no JSON; or it has more values than so many arrays explain; or it is nested too deep.
    """
    check_values(text, arrays)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("data is nested too deep") from None


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _check(fits: bool, where: str, wanted: str, found: object) -> None:
    if not fits:
        raise ValueError(f"{where.lstrip('.')} must be {wanted}, got {found!r:.60}")


def _check_array(source: Source, dtype: str, where: str) -> None:
    """Raise where an array is not of the dtype that is said of it."""
    fits = CODES.get(dtype) == source.code and ("complex" not in dtype or source.shape[-1:] == (2,))
    _check(fits, where, f"an array of {dtype}", f"{source.code}{list(source.shape)}")


def _field(data: Any, name: str, where: str) -> Any:
    _check(isinstance(data, Mapping), where or "a file's text", "a mapping", data)
    _check(name in data, f"{where}.{name}", "there", "nothing")
    return data[name]


def _mapping(data: Any, name: str, where: str) -> Mapping[str, Any]:
    value = _field(data, name, where)
    _check(isinstance(value, Mapping), f"{where}.{name}", "a mapping", value)
    found: Mapping[str, Any] = value
    return found


def _list(data: Any, name: str, where: str) -> list[Any]:
    value = _field(data, name, where)
    _check(isinstance(value, (list, tuple)), f"{where}.{name}", "a list", value)
    return list(value)


def _text(data: Any, name: str, where: str) -> str:
    value = _field(data, name, where)
    _check(isinstance(value, str), f"{where}.{name}", "a text", value)
    found: str = value
    return found


def _counted(data: Any, name: str, where: str) -> int:
    return _count(_field(data, name, where), f"{where}.{name}")


def _count(value: Any, where: str) -> int:
    _check(type(value) is int and value >= 0, where, "a count", value)
    count: int = value
    return count
