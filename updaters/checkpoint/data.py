"""Data as JSON holds it: values that JSON has no word for, and reading what anybody may have written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from updaters.checkpoint.names import DEEPEST, PAIR

LARGEST = 2**63 - 1
"""A count is at most so much."""

T = TypeVar("T")


def to_data(value: Any, path: str, depth: int = 0) -> Any:
    """Data as JSON can hold it: NumPy's numbers as Python's own, and infinite ones by their names."""
    if depth > DEEPEST:
        raise ValueError(f"{path:.60}... is nested more than {DEEPEST} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if PAIR.search(value):
            raise ValueError(f"{path} has two surrogates in a row, which JSON takes for one character: {value!r:.60}")
        return str.__str__(value)
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


def from_data(data: Any, path: str, depth: int = 0) -> Any:
    """What `to_data` was given, with lists for tuples."""
    if depth > DEEPEST:
        raise ValueError(f"{path:.60}... is nested more than {DEEPEST} deep")
    if isinstance(data, Mapping):
        if data.keys() == {"float"}:
            if data["float"] not in ("inf", "-inf", "nan"):
                raise misfit(path, "'inf', '-inf' or 'nan'", data["float"])
            return float(data["float"])
        if data.keys() == {"mapping"} and isinstance(data["mapping"], Mapping):
            data = data["mapping"]
        return {name: from_data(part, f"{path}.{name}", depth + 1) for name, part in data.items()}
    if isinstance(data, list):
        return [from_data(part, path, depth + 1) for part in data]
    return data


def numbers_to_data(numbers: Mapping[str, float]) -> dict[str, Any]:
    """Floats by name, as JSON can hold them."""
    return {name: to_data(float(value), name) for name, value in numbers.items()}


def numbers_from_data(data: Mapping[str, Any], where: str) -> dict[str, float]:
    """Floats by name."""
    numbers = {name: from_data(value, f"{where}.{name}") for name, value in data.items()}
    for name, value in numbers.items():
        if type(value) is not float:
            raise misfit(f"{where}.{name}", "a float", value)
    return numbers


def parsed(text: str) -> Any:
    """Data from a text, which may be hostile.

    Raises:
        ValueError: it is no JSON, or is nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("data is nested too deep") from None


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word:.60} is more than a float holds")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r:.60} is there twice")
    return data


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def misfit(where: str, wanted: str, found: object) -> ValueError:
    """The error about what is something else than it should be."""
    return ValueError(f"{where.lstrip('.')} must be {wanted}, got {found!r:.60}")


def get_field(data: Any, name: str, where: str) -> Any:
    """A value by its name in a mapping; `where` is what errors call the mapping."""
    if type(data) is not dict and not isinstance(data, Mapping):
        raise misfit(where or "a file's text", "a mapping", data)
    if name not in data:
        raise ValueError(f"{f'{where}.{name}'.lstrip('.')} is missing")
    return data[name]


def _of(kind: type[T], wanted: str, data: Any, name: str, where: str) -> T:
    value = get_field(data, name, where)
    if not isinstance(value, kind):
        raise misfit(f"{where}.{name}", wanted, value)
    return value


def get_mapping(data: Any, name: str, where: str) -> Mapping[Any, Any]:
    """A mapping by its name in another."""
    value = get_field(data, name, where)
    return value if type(value) is dict else _of(Mapping, "a mapping", data, name, where)  # type: ignore[type-abstract]


def get_list(data: Any, name: str, where: str) -> list[Any]:
    """A list by its name in a mapping; a tuple is taken for one."""
    value = get_field(data, name, where)
    return list(value) if isinstance(value, tuple) else _of(list, "a list", data, name, where)


def get_text(data: Any, name: str, where: str) -> str:
    """A text by its name in a mapping."""
    return _of(str, "a text", data, name, where)


def get_count(data: Any, name: str, where: str) -> int:
    """A count by its name in a mapping."""
    value = get_field(data, name, where)
    return value if type(value) is int and 0 <= value <= LARGEST else as_count(value, f"{where}.{name}")


def as_count(value: Any, where: str) -> int:
    """A count, or an error."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise misfit(where, "a count", value)
    return value
