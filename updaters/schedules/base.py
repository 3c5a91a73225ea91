"""What the built-in schedules share: a counter of the clock, and validated numbers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs

from updaters.checks import NONNEGATIVE, Interval, choice, field_name, number
from updaters.state import OptimizationState

Clock: TypeAlias = Literal["epoch", "iteration"]


def value_in(interval: Interval = NONNEGATIVE, **options: Any) -> Any:
    """A field that holds a float within `interval`, and names itself where it was given something else."""

    def convert(value: object, instance: object, attribute: attrs.Attribute[Any]) -> float:
        return number(value, field_name(instance, attribute), interval)

    return attrs.field(converter=attrs.Converter(convert, takes_self=True, takes_field=True), **options)


def driven_by(default: Clock) -> Any:
    """A field that says which counter of the clock drives a schedule."""
    return choice("epoch", "iteration", default=default)


def count(schedule: object, clock: Clock, state: OptimizationState) -> int:
    """The reading of the counter that drives `schedule`: 1 during the first epoch, or at the first iteration.

    Raises:
        ValueError: the counter still stands at 0, where no value of the schedule is in force yet.
    """
    reading = state.epoch if clock == "epoch" else state.iteration - state.held
    if reading < 1:
        start = (
            "run `for epoch in state.epochs(n)`, or set state.epoch = 1"
            if clock == "epoch"
            else "run `for examples in state.batches(data)`, or add 1 to state.iteration before each update"
        )
        raise ValueError(
            f"{schedule!r} has no value yet, for the clock's {clock} count stands at {reading}: {start}, "
            "where state is the OptimizationState that get_updater was given, or else update.state"
        )
    return reading
