"""The momenta that fall and rise while the rates of `updaters.schedules.cycles` rise and fall."""

from __future__ import annotations

from typing import Literal

import attrs

from updaters.checks import POSITIVE, UNIT, choice, flag
from updaters.schedules.base import Curve
from updaters.schedules.cycles import Mode, check_phases, cycle_mode, height, one_cycle, same_as_up
from updaters.schedules.fields import Clock, driven_by, length, value_in


@attrs.frozen(repr=False)
class Cyclic(Curve):
    """The mirror image of `learning_rate.Cyclic`, a momentum that falls while the rate rises: `high - (high - low) * h(T)`.

    Attributes:
        low: the momentum at the peak of the rate.
        high: the momentum where each cycle begins and ends.
        up: how many epochs or iterations the rate rises, and the momentum falls.
        down: how many it takes to come back; as many as before unless given.
        mode: as the rate's.
        gamma: as the rate's.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    References:
        Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.

    Example:
        >>> wave = up.momentum.Cyclic(0.75, 0.875, up=4)
        >>> [wave(up.OptimizationState(iteration=t)) for t in (2, 4, 8)]
        [0.8125, 0.75, 0.875]
    """

    low: float = value_in(UNIT, default=0.8)
    high: float = value_in(UNIT, default=0.9)
    up: float = length(kw_only=True)
    down: float = same_as_up()
    mode: Mode = cycle_mode()
    gamma: float = value_in(POSITIVE, default=1.0, kw_only=True)
    clock: Clock = driven_by("iteration")

    def __repr__(self) -> str:
        return f"momentum.{super().__repr__()}"

    def curve(self, t: int) -> float:
        return self.high - (self.high - self.low) * height(t, self.up, self.down, self.mode, self.gamma)


@attrs.frozen(repr=False)
class OneCycle(Curve):
    """The mirror image of `learning_rate.OneCycle`, a momentum that falls while the rate rises: from `high` to `low` and back.

    Attributes:
        length: how many epochs or iterations the whole takes.
        low: the momentum at the peak of the rate.
        high: the momentum at both ends.
        rise: the share of `length` at which the rate has its peak.
        shape: `"cosine"` or `"linear"`, in each phase.
        three_phase: come back in as long as the fall took, and stay for what is left.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range, or three phases leave no time for the last; or, at a call, the counter still
            stands at 0.

    Conventions:
        In PyTorch's `OneCycleLR` this is `cycle_momentum`, which drives Adam's beta1 too. Here give it to the field that is
        to follow it; a bias correction then goes by the product of the betas there have been.

    References:
        Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.

    Example:
        >>> kept = up.momentum.OneCycle(100, low=0.75, high=0.875, rise=0.25)
        >>> [round(kept(up.OptimizationState(iteration=t)), 6) for t in (25, 100)]
        [0.75, 0.875]
    """

    length: float = length()
    low: float = value_in(UNIT, default=0.85, kw_only=True)
    high: float = value_in(UNIT, default=0.95, kw_only=True)
    rise: float = value_in(UNIT, default=0.3, kw_only=True, validator=check_phases)
    shape: Literal["cosine", "linear"] = choice("cosine", "linear", default="cosine")
    three_phase: bool = flag(False)
    clock: Clock = driven_by("iteration")

    def __repr__(self) -> str:
        return f"momentum.{super().__repr__()}"

    def curve(self, t: int) -> float:
        return one_cycle(t / self.length, self.rise, self.three_phase, self.shape, self.high, self.low, self.high)
