"""Curves that hold a value and then step to another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import attrs

from updaters.checks import POSITIVE
from updaters.schedules.base import Curve
from updaters.schedules.fields import Clock, driven_by, moments, one_fewer_than, units, value_in, values


@attrs.frozen(repr=False)
class Step(Curve):
    """A staircase of equal steps, `value * gamma**floor((T - 1) / every)`.

    Attributes:
        value: the value of the first `every` units.
        every: for how many epochs or iterations each value is held.
        gamma: the ratio of one value to the one before, above 0.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        It counts the units that are done, as PyTorch's `StepLR` does: with `every=10` the tenth epoch still has the
        first value. The documentation of MXNet's `FactorScheduler` says that it falls in the tenth; its source agrees with us.

    Example:
        >>> step = up.learning_rate.Step(0.5, every=10, gamma=0.5)
        >>> [step(up.OptimizationState(epoch=t)) for t in (1, 10, 11)]
        [0.5, 0.5, 0.25]
    """

    value: float = value_in()
    every: int = units(1)
    gamma: float = value_in(POSITIVE, default=0.1, kw_only=True)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        decay: float = self.gamma ** (max(t - 1, 0) // self.every)
        return self.value * decay


@attrs.frozen(repr=False)
class MultiStep(Curve):
    """A staircase whose steps come when they are told to: `value * gamma**k`, where k milestones are done.

    Attributes:
        value: the value until the first milestone.
        milestones: after how many epochs or iterations the value falls, in increasing order; one that is
            repeated counts twice.
        gamma: the ratio of one value to the one before, above 0.
        clock: whether milestones count epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        A milestone of 30 leaves the first 30 epochs as they are, as in PyTorch, OneFlow and TensorLayerX.

    Example:
        >>> step = up.learning_rate.MultiStep(0.5, milestones=(30, 60), gamma=0.5)
        >>> [step(up.OptimizationState(epoch=t)) for t in (30, 31, 61)]
        [0.5, 0.25, 0.125]
    """

    value: float = value_in()
    milestones: Sequence[int] = moments(repeated=True)
    gamma: float = value_in(POSITIVE, default=0.1, kw_only=True)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        decay: float = self.gamma ** bisect_right(self.milestones, max(t - 1, 0))
        return self.value * decay


@attrs.frozen(repr=False)
class Piecewise(Curve):
    """One value after another, each until its boundary.

    Attributes:
        values: the values.
        boundaries: after how many epochs or iterations each value but the last is replaced by the next, in increasing order.
        clock: whether boundaries count epochs or iterations.

    Raises:
        ValueError: a field is out of range, or there are not one fewer boundaries than values; or, at a call, the counter
            still stands at 0.

    Conventions:
        A boundary of 30 leaves the first 30 epochs as they are, as TensorLayerX's `PiecewiseDecay` does. In
        Keras's `PiecewiseConstantDecay` and TensorFlow's `piecewise_constant` a boundary of 30 is passed by the 32nd update.

    Example:
        >>> steps = up.learning_rate.Piecewise((0.1, 0.5, 0.2), boundaries=(5, 30))
        >>> [steps(up.OptimizationState(epoch=t)) for t in (5, 6, 30, 31)]
        [0.1, 0.5, 0.5, 0.2]
    """

    values: Sequence[float] = values()
    boundaries: Sequence[int] = moments(validator=one_fewer_than("values"))
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        return self.values[bisect_right(self.boundaries, max(t - 1, 0))]
