"""What the built-in schedules share: a counter of the clock, and validated numbers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import attrs

from updaters.protocols import NONNEGATIVE, Interval, is_number
from updaters.state import OptimizationState

Clock: TypeAlias = Literal["epoch", "iteration"]


def number(interval: Interval = NONNEGATIVE, **options: Any) -> Any:
    """A field that holds a float within `interval`, and names itself where it was given something else."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        name = f"{type(instance).__name__}.{attribute.name}"
        if not isinstance(value, float):
            raise TypeError(f"{name} must be a real number {interval}, got {value!r} ({type(value).__name__})")
        if value not in interval:
            raise ValueError(f"{name} must be {interval}, got {value!r}")

    return attrs.field(converter=lambda value: float(value) if is_number(value) else value, validator=check, **options)


def driven_by(default: Clock) -> Any:
    """A field that says which counter of the clock drives a schedule."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in get_args(Clock):
            raise ValueError(f"{type(instance).__name__}.{attribute.name} must be 'epoch' or 'iteration', got {value!r}")

    return attrs.field(default=default, kw_only=True, validator=check)


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
            f"{schedule!r} has no value yet, because its clock's {clock} count stands at {reading}: {start}, "
            "on the OptimizationState that get_updater was given"
        )
    return reading
