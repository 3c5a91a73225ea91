"""Curves from one value to another in a given time: straight lines and powers."""

from __future__ import annotations

from math import ceil

import attrs

from updaters.checks import flag
from updaters.schedules.base import ROUNDING, Curve
from updaters.schedules.fields import Clock, driven_by, length, value_in


@attrs.frozen(repr=False)
class Linear(Curve):
    """A straight line, `value + (end - value) * T / length`, up or down, and then `end`.

    Attributes:
        value: where it begins, at T = 0.
        length: how many epochs or iterations it takes.
        end: where it ends, and stays. By epochs, the whole of epoch `length` is there.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        `end` is absolute. PyTorch's `LinearLR` has factors of the rate instead, and begins at T = 0.

    Example:
        >>> ramp = up.learning_rate.Linear(0.0, 4, end=0.5)
        >>> [ramp(up.OptimizationState(epoch=t)) for t in (1, 2, 4, 9)]
        [0.125, 0.25, 0.5, 0.5]
    """

    value: float = value_in()
    length: float = length()
    end: float = value_in(default=0.0, kw_only=True)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        if t >= self.length:
            return self.end
        return self.value + (self.end - self.value) * (t / self.length)


@attrs.frozen(repr=False)
class Polynomial(Curve):
    """A power of the time that is left, `(value - end) * (1 - T / length)**power + end`, and then `end`.

    Attributes:
        value: where it begins, at T = 0.
        length: how many epochs or iterations it takes.
        end: where it ends, and stays. By epochs, the whole of epoch `length` is there.
        power: 1 is a straight line; 2 falls fast first and slowly at the end; 0 stays at `value`.
        cycle: begin again at each end instead of staying there, with a `length` that is the smallest multiple
            of itself not yet passed: the k-th cycle begins at about 1 / k of the height.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        `end` is reached in unit `length`. Keras, TensorLayerX and OneFlow begin at T = 0, so that theirs is a unit later;
        their `end` is 0.0001 unless given.

    Example:
        >>> up.learning_rate.Polynomial(0.1, 10, power=2)(up.OptimizationState(epoch=5))
        0.025
    """

    value: float = value_in()
    length: float = length()
    end: float = value_in(default=0.0, kw_only=True)
    power: float = value_in(default=1.0, kw_only=True)
    cycle: bool = flag(False)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        whole = self.length * max(ceil(t / self.length - ROUNDING), 1) if self.cycle else self.length
        left: float = max(1.0 - t / whole, 0.0) ** self.power
        return (self.value - self.end) * left + self.end
