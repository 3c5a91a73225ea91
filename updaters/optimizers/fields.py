"""The fields of an optimizer: each checks what it is given and names itself where that is wrong."""

from __future__ import annotations

from typing import Any

import attrs

from updaters.protocols import BELOW_ONE, NONNEGATIVE, POSITIVE, UNIT, Interval, is_number
from updaters.schedules.constant import Null


def rate(default: float) -> Any:
    """A learning rate, finite and at least 0; the one field that may be given by position."""
    return hyperparameter(default, NONNEGATIVE, kw_only=False)


def momentum(default: float | None) -> Any:
    """A momentum, in [0, 1], or None for none, for which `momentum.Null()` is another word."""
    return hyperparameter(default, UNIT, optional=True)


def fraction(default: float) -> Any:
    """The share that a moving average keeps, in [0, 1)."""
    return hyperparameter(default, BELOW_ONE)


def nonnegative(default: float | None, *, optional: bool = False) -> Any:
    """A number that is finite and at least 0; where it is optional, None is off."""
    return hyperparameter(default, NONNEGATIVE, optional=optional)


def positive(default: float | None, *, optional: bool = False) -> Any:
    """A number that is finite and above 0; where it is optional, None is off."""
    return hyperparameter(default, POSITIVE, optional=optional)


def hyperparameter(default: float | None, interval: Interval, *, optional: bool = False, kw_only: bool = True) -> Any:
    """A number within `interval` or a scheduler of such numbers; where it is optional, None is off."""

    def convert(value: object) -> object:
        if optional and isinstance(value, Null):
            return None
        return float(value) if is_number(value) else value  # type: ignore[arg-type]  # a Real has __float__

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        name = f"{type(instance).__name__}.{attribute.name}"
        if (value is None and optional) or callable(value):
            return
        if not isinstance(value, float):
            kinds = f"a number {interval}, or a scheduler" + (", or None" if optional else "")
            raise TypeError(f"{name} must be {kinds}, got {value!r}")
        if value not in interval:
            raise ValueError(f"{name} must be {interval}, got {value!r}")

    return attrs.field(default=default, converter=convert, validator=check, kw_only=kw_only, metadata={"interval": interval})


def flag(default: bool) -> Any:
    """A choice between two formulas or conventions."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"{type(instance).__name__}.{attribute.name} must be True or False, got {value!r}")

    return attrs.field(default=default, validator=check, kw_only=True)


def choice(default: str, *others: str) -> Any:
    """One of a few words, the default the first."""
    words = (default, *others)

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in words:
            wanted = " or ".join(map(repr, words))
            raise ValueError(f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {value!r}")

    return attrs.field(default=default, validator=check, kw_only=True)
