"""The fields of a schedule: each checks what it is given and names itself where that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import attrs

from updaters.checks import FINITE, NONNEGATIVE, POSITIVE, Interval, choice, field_name, integer, number, whole
from updaters.protocols import Schedulable

Clock: TypeAlias = Literal["epoch", "iteration"]


def value_in(interval: Interval = NONNEGATIVE, **options: Any) -> Any:
    """A field that holds a float within `interval`."""

    def convert(value: object, instance: object, attribute: attrs.Attribute[Any]) -> float:
        return number(value, field_name(instance, attribute), interval)

    return _converted(convert, **options)


def values(interval: Interval = NONNEGATIVE, **options: Any) -> Any:
    """A field that holds one or more floats within `interval`."""

    def convert(given: object, instance: object, attribute: attrs.Attribute[Any]) -> tuple[float, ...]:
        name = field_name(instance, attribute)
        return tuple(number(value, f"{name}[{i}]", interval) for i, value in enumerate(_several(given, name, "numbers")))

    return _converted(convert, **options)


def length(interval: Interval = POSITIVE, **options: Any) -> Any:
    """A field that holds a length of time in units of the clock, whole or not."""

    def convert(value: object, instance: object, attribute: attrs.Attribute[Any]) -> float:
        exact = integer(value)
        checked = number(value, field_name(instance, attribute), interval)
        return checked if exact is None else exact

    return _converted(convert, **options)


def units(least: int = 0, **options: Any) -> Any:
    """A field that holds a whole number of units of the clock, or None where that is the default."""

    def convert(value: object, instance: object, attribute: attrs.Attribute[Any]) -> int | None:
        if value is None and attribute.default is None:
            return None
        return whole(value, field_name(instance, attribute), least)

    return _converted(convert, **options)


def moments(least: int = 0, *, repeated: bool = False, **options: Any) -> Any:
    """A field that holds whole numbers of units of the clock in increasing order."""

    def convert(given: object, instance: object, attribute: attrs.Attribute[Any]) -> tuple[int, ...]:
        name = field_name(instance, attribute)
        result = tuple(whole(value, f"{name}[{i}]", least) for i, value in enumerate(_several(given, name, "integers")))
        if any(after < before or (after == before and not repeated) for before, after in pairwise(result)):
            raise ValueError(f"{name} must be in increasing order, got {given!r}")
        return result

    return _converted(convert, **options)


def one_fewer_than(others: str) -> Any:
    """A validator of boundaries between the members of another field."""

    def check(instance: object, attribute: attrs.Attribute[Any], boundaries: Sequence[int]) -> None:
        members = getattr(instance, others)
        if len(boundaries) != len(members) - 1:
            name = field_name(instance, attribute)
            raise ValueError(f"{name} must be one fewer than {others}, {members!r}, got {boundaries!r}")

    return check


def driven_by(default: Clock) -> Any:
    """A field that says which counter of the clock drives a schedule."""
    return choice("epoch", "iteration", default=default)


def inner(**options: Any) -> Any:
    """A field that holds a schedule, any other callable `state -> float`, or a number."""

    def convert(value: object, instance: object, attribute: attrs.Attribute[Any]) -> Schedulable:
        return schedulable(value, field_name(instance, attribute))

    return _converted(convert, **options)


def inners(**options: Any) -> Any:
    """A field that holds one or more schedules, other callables `state -> float`, or numbers."""

    def convert(given: object, instance: object, attribute: attrs.Attribute[Any]) -> tuple[Schedulable, ...]:
        name = field_name(instance, attribute)
        return tuple(schedulable(value, f"{name}[{i}]") for i, value in enumerate(_several(given, name, "schedules")))

    return _converted(convert, **options)


def function(**options: Any) -> Any:
    """A field that holds a function."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not callable(value) or isinstance(value, type):
            raise TypeError(f"{field_name(instance, attribute)} must be a function, got {value!r}")

    return attrs.field(validator=check, **options)


def schedulable(value: object, name: str) -> Schedulable:
    """`value` if it is a scheduler, or as a float if it is a number."""
    if callable(value) and not isinstance(value, type):
        return value
    return number(value, name, FINITE, kinds=" or a scheduler")


def _several(given: object, name: str, kind: str) -> tuple[Any, ...]:
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise TypeError(f"{name} must be a sequence of {kind}, got {given!r}")
    return tuple(given)


def _converted(convert: Any, **options: Any) -> Any:
    return attrs.field(converter=attrs.Converter(convert, takes_self=True, takes_field=True), **options)
