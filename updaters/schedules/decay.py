"""Curves that fall for ever: exponential and inverse-time decay."""

from __future__ import annotations

import attrs

from updaters.checks import INSIDE_UNIT
from updaters.schedules.base import Clock, count, driven_by, value_in
from updaters.state import OptimizationState


@attrs.frozen
class Exp:
    """Exponential decay, `value * gamma**T`.

    Attributes:
        value: the value at T = 0, before the first epoch or iteration.
        gamma: the ratio of one value to the one before, strictly between 0 and 1.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        T is 1 during the first epoch, as in MXNet.jl 0.3, so that epoch runs at `value * gamma`. PyTorch's
        `ExponentialLR`, Keras's `ExponentialDecay` and MXNet.jl after 0.3 begin at `value`.

    Example:
        >>> up.learning_rate.Exp(0.1, gamma=0.9)(up.OptimizationState(epoch=1))
        0.09000000000000001
    """

    value: float = value_in()
    gamma: float = value_in(INSIDE_UNIT, default=0.9, kw_only=True)
    clock: Clock = driven_by("epoch")

    def __call__(self, state: OptimizationState, /) -> float:
        decay: float = self.gamma ** count(self, self.clock, state)
        return self.value * decay


@attrs.frozen
class Inv:
    """Inverse-time decay, `value * (1 + gamma * T)**-power`.

    Attributes:
        value: the value at T = 0, before the first epoch or iteration.
        gamma: how soon the decay sets in, in units of 1 / T; strictly between 0 and 1.
        power: how steep it ends: 1 falls as 1 / T, 0.5 as its root.
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
    gamma: float = value_in(INSIDE_UNIT, default=0.9, kw_only=True)
    power: float = value_in(default=0.5, kw_only=True)
    clock: Clock = driven_by("epoch")

    def __call__(self, state: OptimizationState, /) -> float:
        decay: float = (1.0 + self.gamma * count(self, self.clock, state)) ** -self.power
        return self.value * decay
