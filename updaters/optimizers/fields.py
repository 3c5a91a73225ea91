"""The fields of an optimizer: each checks what it is given and names itself where that is wrong."""

from __future__ import annotations

from typing import Any

import attrs

from updaters import checks
from updaters.checks import BELOW_ONE, NONNEGATIVE, POSITIVE, UNIT, Interval, choice, field_name, flag
from updaters.protocols import Schedulable
from updaters.schedules.constant import Null

__all__ = ["choice", "flag", "fraction", "hyperparameter", "momentum", "nonnegative", "positive", "rate"]


def rate(default: float) -> Any:
    """A learning rate, finite and at least 0; the one field that may be given by position."""
    return hyperparameter(default, NONNEGATIVE, kw_only=False)


def momentum(default: float | None) -> Any:
    """A momentum, in [0, 1], or None for none, for which `momentum.Null()` is another word."""
    return hyperparameter(default, UNIT, optional=True)


def fraction(default: float) -> Any:
    """The share that a moving average keeps, in [0, 1)."""
    return hyperparameter(default, BELOW_ONE)


def nonnegative(default: Any, *, optional: bool = False, kw_only: bool = True) -> Any:
    """A number that is finite and at least 0; where it is optional, None is off."""
    return hyperparameter(default, NONNEGATIVE, optional=optional, kw_only=kw_only)


def positive(default: float | None, *, optional: bool = False) -> Any:
    """A number that is finite and above 0; where it is optional, None is off."""
    return hyperparameter(default, POSITIVE, optional=optional)


def hyperparameter(default: Any, interval: Interval, *, optional: bool = False, kw_only: bool = True) -> Any:
    """A number within `interval` or a scheduler of such numbers; where it is optional, None is off."""
    kinds = ", a scheduler, or None" if optional else " or a scheduler"

    def convert(value: Schedulable | None, instance: object, attribute: attrs.Attribute[Any]) -> object:
        if optional and (value is None or isinstance(value, Null)):
            return None
        if callable(value) and not isinstance(value, type):
            return value
        return checks.number(value, field_name(instance, attribute), interval, kinds=kinds)

    converter = attrs.Converter(convert, takes_self=True, takes_field=True)
    return attrs.field(
        default=default, converter=converter, kw_only=kw_only, metadata={"interval": interval, "optional": optional}
    )
