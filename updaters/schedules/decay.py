"""Curves that fall for ever: exponential and inverse-time decay."""

from __future__ import annotations

from math import exp

import attrs

from updaters.checks import POSITIVE, flag
from updaters.schedules.base import Curve, completed
from updaters.schedules.fields import Clock, driven_by, length, units, value_in


@attrs.frozen(repr=False)
class Exp(Curve):
    """Exponential decay, `value * gamma**(T / every)`, and never below `floor`.

    Attributes:
        value: the value at T = 0, before the first epoch or iteration.
        gamma: the ratio of one value to the one `every` units before, above 0; above 1 the curve rises.
        every: in how many units the value falls by `gamma`.
        staircase: hold the value for `every` units, then let it fall at once, `value * gamma**floor((T - 1) / every)`.
        begin: units before the decay begins; T counts from there.
        floor: the lowest value, absolute. A `value` below it is raised to it.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.
        OverflowError: at a call, a curve that rises has left the range of floats.

    Conventions:
        T is 1 during the first epoch, as in MXNet.jl 0.3, so that epoch runs at `value * gamma`. PyTorch's
        `ExponentialLR`, Keras's `ExponentialDecay` and MXNet.jl after 0.3 begin at `value`. A staircase holds `value`
        for T = 1 to `every`, as theirs does.

    Example:
        >>> up.learning_rate.Exp(0.1, gamma=0.9)(up.OptimizationState(epoch=1))
        0.09000000000000001
    """

    value: float = value_in()
    gamma: float = value_in(POSITIVE, default=0.9, kw_only=True)
    every: float = length(default=1, kw_only=True)
    staircase: bool = flag(False)
    begin: int = units(default=0, kw_only=True)
    floor: float = value_in(default=0.0, kw_only=True)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        decay: float = self.gamma ** _elapsed(t - self.begin, self.every, self.staircase)
        return max(self.value * decay, self.floor)


@attrs.frozen(repr=False)
class NaturalExp(Curve):
    """Exponential decay to the base e, `value * exp(-rate * T / every)`.

    Attributes:
        value: the value at T = 0, before the first epoch or iteration.
        rate: how fast it falls; 1 is by a factor of e in `every` units.
        every: the unit of `rate`, in epochs or iterations.
        staircase: hold the value for `every` units, then let it fall at once.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        T is 1 during the first epoch; TensorLayerX's `NaturalExpDecay` begins at `value`.

    Example:
        >>> round(up.learning_rate.NaturalExp(0.1, rate=0.5)(up.OptimizationState(epoch=2)), 6)
        0.036788
    """

    value: float = value_in()
    rate: float = value_in(kw_only=True)
    every: float = length(default=1, kw_only=True)
    staircase: bool = flag(False)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        return self.value * exp(-self.rate * _elapsed(t, self.every, self.staircase))


@attrs.frozen(repr=False)
class Inv(Curve):
    """Inverse-time decay, `value * (1 + gamma * T / every)**-power`.

    Attributes:
        value: the value at T = 0, before the first epoch or iteration.
        gamma: how soon the decay sets in, in units of `every / T`.
        power: how steep it ends: 1 falls as 1 / T, 0.5 as its root.
        every: the unit of T, in epochs or iterations.
        staircase: hold the value for `every` units, then let it fall at once.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        T is 1 during the first epoch, as in MXNet.jl 0.3. Keras's `InverseTimeDecay` and TensorLayerX's have
        no power (theirs is 1) and begin at T = 0.

    Example:
        >>> up.learning_rate.Inv(0.1, gamma=0.5, power=1)(up.OptimizationState(epoch=2))
        0.05
    """

    value: float = value_in()
    gamma: float = value_in(default=0.9, kw_only=True)
    power: float = value_in(default=0.5, kw_only=True)
    every: float = length(default=1, kw_only=True)
    staircase: bool = flag(False)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        decay: float = (1.0 + self.gamma * _elapsed(t, self.every, self.staircase)) ** -self.power
        return self.value * decay


def _elapsed(t: int, every: float, staircase: bool) -> float:
    """How many times `every` units have passed at the t-th one, completed ones alone in a staircase."""
    return completed(max(t - 1, 0), every) if staircase else max(t, 0) / every
