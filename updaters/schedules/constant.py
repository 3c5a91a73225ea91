"""Values that do not move."""

from __future__ import annotations

import attrs

from updaters.schedules.base import Schedule
from updaters.schedules.fields import value_in
from updaters.state import OptimizationState


@attrs.frozen(repr=False)
class Fixed(Schedule):
    """The same value at every clock.

    Attributes:
        value: the learning rate, momentum or other number.

    Example:
        >>> up.learning_rate.Fixed(0.1)(up.OptimizationState())
        0.1
    """

    value: float = value_in()

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        return self.value


@attrs.frozen(repr=False)
class Null(Schedule):
    """No momentum: 0 at every clock, and no slot is kept for it, as with `momentum=None`.

    Example:
        >>> up.momentum.Null()(up.OptimizationState())
        0.0
    """

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        return 0.0
