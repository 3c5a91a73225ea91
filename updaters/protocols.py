"""What a scheduler is, and the one place that reads one and checks what it says."""

from __future__ import annotations

import math
import numbers
from typing import Protocol, TypeAlias, runtime_checkable

import attrs

from updaters.state import OptimizationState


@runtime_checkable
class LearningRateScheduler(Protocol):
    """Any callable that gives the learning rate, finite and not negative, at a clock."""

    def __call__(self, state: OptimizationState, /) -> float: ...


@runtime_checkable
class MomentumScheduler(Protocol):
    """Any callable that gives the momentum, from 0 to 1, at a clock."""

    def __call__(self, state: OptimizationState, /) -> float: ...


Schedulable: TypeAlias = float | LearningRateScheduler | MomentumScheduler
"""A hyperparameter: a number, or any callable that gives one at a clock."""


@attrs.frozen
class Interval:
    """The numbers that a hyperparameter may take; infinity and NaN lie in none."""

    low: float = 0.0
    high: float = math.inf
    low_closed: bool = True
    high_closed: bool = True

    def __contains__(self, number: float) -> bool:
        above = number >= self.low if self.low_closed else number > self.low
        below = number <= self.high if self.high_closed else number < self.high
        return above and below and math.isfinite(number)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"finite and {'at least' if self.low_closed else 'above'} {self.low:g}"
        return f"in {'[' if self.low_closed else '('}{self.low:g}, {self.high:g}{']' if self.high_closed else ')'}"


NONNEGATIVE = Interval()
POSITIVE = Interval(low_closed=False)
UNIT = Interval(high=1.0)
BELOW_ONE = Interval(high=1.0, high_closed=False)


def is_number(value: object) -> bool:
    """Whether `value` is a real number, NumPy's scalars included and booleans not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def read(scheduler: Schedulable, state: OptimizationState, name: str, interval: Interval) -> float:
    """What `scheduler` says at `state`, as a Python float, or an error about `name` that quotes it."""
    value = scheduler(state) if callable(scheduler) else scheduler
    if not is_number(value):
        raise TypeError(f"{name} must be a real number {interval}, got {_source(scheduler, value, state)}")
    number = float(value)
    if number not in interval:
        raise ValueError(f"{name} must be {interval}, got {_source(scheduler, value, state)}")
    return number


def _source(scheduler: object, value: object, state: OptimizationState) -> str:
    given = repr(value) if is_number(value) else f"{value!r} ({type(value).__name__})"
    return f"{given} from {scheduler!r} at {state!r}" if callable(scheduler) else given


def get_learning_rate(scheduler: Schedulable, state: OptimizationState) -> float:
    """The learning rate that `scheduler`, or the number in its place, gives at `state`.

    Raises:
        TypeError: the scheduler returned something that is not a real number.
        ValueError: it returned a number that is negative or not finite.

    Example:
        >>> up.get_learning_rate(lambda state: 0.1 / state.epoch, up.OptimizationState(epoch=2))
        0.05
    """
    return read(scheduler, state, "a learning rate", NONNEGATIVE)


def get_momentum(scheduler: Schedulable, state: OptimizationState) -> float:
    """The momentum that `scheduler`, or the number in its place, gives at `state`.

    Raises:
        TypeError: the scheduler returned something that is not a real number.
        ValueError: it returned a number outside [0, 1].

    Example:
        >>> up.get_momentum(0.9, up.OptimizationState())
        0.9
    """
    return read(scheduler, state, "a momentum", UNIT)
