"""Checks of what people hand in, each with an error that names the place, what was expected and what came."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import numpy as np


@attrs.frozen
class Interval:
    """The numbers that a value may take; infinity and NaN lie in none."""

    low: float = 0.0
    high: float = math.inf
    low_closed: bool = True
    high_closed: bool = True

    def __contains__(self, number: float) -> bool:
        above = number >= self.low if self.low_closed else number > self.low
        below = number <= self.high if self.high_closed else number < self.high
        return above and below and math.isfinite(number)

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "finite"
        closed = self.high_closed and self.high < math.inf
        return f"in {'[' if self.low_closed else '('}{self.low:g}, {self.high:g}{']' if closed else ')'}"


FINITE = Interval(low=-math.inf)
NONNEGATIVE = Interval()
POSITIVE = Interval(low_closed=False)
UNIT = Interval(high=1.0)
BELOW_ONE = Interval(high=1.0, high_closed=False)
INSIDE_UNIT = Interval(high=1.0, low_closed=False, high_closed=False)
AT_LEAST_ONE = Interval(low=1.0)


def number(value: object, name: str, interval: Interval, *, kinds: str = "", source: Callable[[], str] = str) -> float:
    """`value` as a float within `interval`.

    Args:
        value: a real number, NumPy's scalars included and booleans not.
        name: what the error calls it.
        interval: where it must lie.
        kinds: what else there might have been, for the error.
        source: says where it comes from, for the error.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        kind = " (the class; call it)" if isinstance(value, type) else f" ({type(value).__name__})"
        wanted = "a finite number" if interval == FINITE else f"a real number {interval}"
        raise TypeError(f"{name} must be {wanted}{kinds}, got {value!r}{kind}{source()}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if result not in interval:
        raise ValueError(f"{name} must be {interval}, got {value!r:.60}{source()}")
    return result


def finite(value: Any, name: Callable[[], str]) -> float:
    """What another's function gave, as a finite float; `name` says what the error calls it, which no other reading pays for."""
    return value if type(value) is float and math.isfinite(value) else number(value, name(), FINITE)


def scalar(value: Any) -> Any:
    """The one number of an array of one, of any library that has `shape` and `item`; all else as it is."""
    if type(value) is float:  # as most are, at each reading of a schedule
        return value
    shape = getattr(value, "shape", None)
    if shape is None or isinstance(value, numbers.Real) or not hasattr(value, "item"):
        return value
    return value.item() if math.prod(shape) == 1 else value


def whole(value: object, name: str, least: int = 0) -> int:
    """`value` as an int of at least `least`."""
    result = integer(value)
    if result is None:
        raise TypeError(f"{name} must be an integer of at least {least}, got {value!r}")
    if result < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return result


def integer(value: object) -> int | None:
    """`value` as an int, NumPy's integers included and booleans not; None if it is no integer."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # whether it has an index is the question
    except TypeError:
        return None


def listed(names: Iterable[object]) -> str:
    """Names in their order, for a message."""
    return ", ".join(sorted(map(repr, names))) or "nothing"


def choice(*words: str, default: str) -> Any:
    """A keyword-only field that holds one of a few words."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, str) or value not in words:
            wanted = " or ".join(map(repr, words))
            raise ValueError(f"{field_name(instance, attribute)} must be {wanted}, got {value!r}")

    return attrs.field(default=default, kw_only=True, validator=check)


def flag(default: bool, *, kw_only: bool = True) -> Any:
    """A field that holds True or False."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"{field_name(instance, attribute)} must be True or False, got {value!r}")

    return attrs.field(default=default, kw_only=kw_only, validator=check)


def field_name(instance: object, attribute: attrs.Attribute[Any]) -> str:
    """What errors call a field."""
    return f"{type(instance).__name__}.{attribute.name}"
