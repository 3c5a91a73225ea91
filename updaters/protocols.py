"""What a scheduler is, and the one place that reads one and checks what it says."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from updaters.checks import NONNEGATIVE, UNIT, Interval, number
from updaters.state import OptimizationState

Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
"""A real number, NumPy's included."""


@runtime_checkable
class LearningRateScheduler(Protocol):
    """Any callable that gives the learning rate, finite and not negative, at a clock."""

    def __call__(self, state: OptimizationState, /) -> Number: ...


@runtime_checkable
class MomentumScheduler(Protocol):
    """Any callable that gives the momentum, from 0 to 1, at a clock."""

    def __call__(self, state: OptimizationState, /) -> Number: ...


Schedulable: TypeAlias = Number | LearningRateScheduler | MomentumScheduler
"""A hyperparameter: a number, or any callable that gives one at a clock.

A scheduler is a function of the clock alone: it may be asked more than once for an update, and says the same.
"""


def read(scheduler: Schedulable, state: OptimizationState, name: str, interval: Interval) -> float:
    """What `scheduler` says at `state`, as a Python float, or an error about `name` that quotes it."""
    if callable(scheduler) and not isinstance(scheduler, type):
        try:
            value = scheduler(state)
        except Exception as error:
            error.add_note(f"{name} was asked of {scheduler!r}, called with {state!r}")
            raise
        return number(value, name, interval, source=lambda: f" from {scheduler!r} at {state!r}")
    return number(scheduler, name, interval, kinds=" or a scheduler")


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
