"""The momentum of Nadam, which warms up."""

from __future__ import annotations

import attrs

from updaters.checks import BELOW_ONE, UNIT
from updaters.schedules.base import Curve
from updaters.schedules.fields import Clock, driven_by, value_in


@attrs.frozen(repr=False)
class Nadam(Curve):
    """The momentum that Nadam warms up, `mu0 * (1 - gamma * alpha**(T * delta))`.

    Attributes:
        mu0: the momentum that the curve approaches.
        delta: how fast, per epoch or iteration.
        gamma: the share of `mu0` that is missing at T = 0.
        alpha: the base of the approach.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        One number, for any rule that has a momentum. MXNet.jl's `NadamScheduler` answers a pair, this
        number and the next one; here a rule that needs the next one asks again at `state.ahead(1)`.

    References:
        Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    Example:
        >>> round(up.momentum.Nadam()(up.OptimizationState(iteration=1)), 6)
        0.495081
    """

    mu0: float = value_in(BELOW_ONE, default=0.99, kw_only=True)
    delta: float = value_in(default=0.004, kw_only=True)
    gamma: float = value_in(UNIT, default=0.5, kw_only=True)
    alpha: float = value_in(BELOW_ONE, default=0.96, kw_only=True)
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        missing: float = self.gamma * self.alpha ** (t * self.delta)
        return self.mu0 * (1.0 - missing)
