"""Schedules made of functions of a count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from updaters.checks import finite, scalar
from updaters.schedules.base import Curve
from updaters.schedules.fields import Clock, driven_by, function, units, value_in


@attrs.frozen(repr=False)
class Lambda(Curve):
    """A value times a function of T.

    Attributes:
        value: the value that is multiplied.
        function: gives the factor from T, an int of at least 1.
        clock: whether T counts epochs or iterations.

    Raises:
        TypeError: a field is of another kind; or, at a call, the function gives no number.
        ValueError: `value` is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        T is 1 in the first unit. PyTorch's `LambdaLR` begins at 0; `value * per_step(function)` is that.

    Example:
        >>> up.learning_rate.Lambda(0.5, lambda t: 1 / t)(up.OptimizationState(epoch=2))
        0.25
    """

    value: float = value_in()
    function: Callable[[int], Any] = function()
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        return self.value * _value(self.function, max(t, 1))


@attrs.frozen(repr=False)
class PerStep(Curve):
    """Another library's schedule, a function of a step: what `per_step` gives.

    Attributes:
        function: gives the value at a step.
        first: the step of the first update.
        clock: whether steps are epochs or iterations.

    Example:
        >>> up.learning_rate.PerStep(lambda step: 0.5 * step)(up.OptimizationState(iteration=3))
        1.0
    """

    function: Callable[[int], Any] = function()
    first: int = units(default=0, kw_only=True)
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        return _value(self.function, max(t - 1, 0) + self.first)


def per_step(function: Callable[[int], Any], *, first: Literal[0, 1] = 0, clock: Clock = "iteration") -> PerStep:
    """The schedule of another library, of optax, Keras or your own, that is a function of a step.

    Args:
        function: gives the value at a step, as a number or an array of one.
        first: the step that it is to get at the first update; 0 in most libraries, 1 in some.
        clock: whether steps are epochs or iterations.

    Raises:
        TypeError: `function` is none; or, at a call, it gives no number.
        ValueError: at a call, the counter still stands at 0.

    Example:
        >>> rate = up.learning_rate.per_step(lambda step: 0.5 * 0.5**step)
        >>> rate(up.OptimizationState(iteration=1)), rate(up.OptimizationState(iteration=2))
        (0.5, 0.25)
    """
    return PerStep(function, first=first, clock=clock)


def _value(function: Callable[[int], Any], step: int) -> float:
    return finite(scalar(function(step)), lambda: f"{function!r} at {step}")
