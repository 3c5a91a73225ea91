"""Rates that rise and fall, and the momenta that fall and rise with them."""

from __future__ import annotations

from math import cos, floor, pi
from typing import Any, Literal, TypeAlias

import attrs

from updaters.checks import POSITIVE, UNIT, choice, flag
from updaters.schedules.base import Curve
from updaters.schedules.fields import Clock, driven_by, length, value_in

Mode: TypeAlias = Literal["triangular", "triangular2", "exp_range"]


def cycle_mode() -> Any:
    """A field that says how the cycles of a wave follow each other."""
    return choice("triangular", "triangular2", "exp_range", default="triangular")


def same_as_up() -> Any:
    """A field that holds the length of a fall, which is that of the rise unless given."""
    return length(default=attrs.Factory(lambda cycle: cycle.up, takes_self=True), kw_only=True)


def height(t: int, up: float, down: float, mode: Mode, gamma: float) -> float:
    """The height of a triangular wave at t, at most 1."""
    cycle = floor(t / (up + down))
    since = max(t - cycle * (up + down), 0.0)
    share = since / up if since <= up else max(up + down - since, 0.0) / down  # below 0 by rounding alone
    if mode == "triangular2":
        return share * 0.5**cycle
    return share * gamma**t if mode == "exp_range" else share


def one_cycle(x: float, rise: float, three_phase: bool, shape: str, start: float, peak: float, end: float) -> float:
    """The value at a share x of a cycle from `start` to `peak` to `end`, with `start` between these in three phases."""
    if x >= 1.0:
        return end
    if x < rise:
        return _between(start, peak, x / rise, shape)
    if not three_phase:
        return _between(peak, end, (x - rise) / (1.0 - rise), shape)
    if x < 2.0 * rise:
        return _between(peak, start, (x - rise) / rise, shape)
    return _between(start, end, (x - 2.0 * rise) / (1.0 - 2.0 * rise), shape)


def _between(first: float, last: float, share: float, shape: str) -> float:
    return first + (last - first) * (share if shape == "linear" else 0.5 * (1.0 - cos(pi * share)))


def check_phases(cycle: Any, _: object, rise: float) -> None:
    """Raise if three phases leave no time for the last one."""
    if cycle.three_phase and rise > 0.5:
        raise ValueError(f"{type(cycle).__name__}.rise must be at most 0.5 for three phases, got {rise!r}")


@attrs.frozen(repr=False)
class Cyclic(Curve):
    """A triangular wave, `low + (high - low) * h(T)`, whose height h rises from 0 to 1 in `up` units and falls in `down`.

    Attributes:
        low: where each cycle begins and ends.
        high: the peak.
        up: how many epochs or iterations the rise takes.
        down: how many the fall takes; as many as the rise unless given.
        mode: `"triangular"` has equal cycles; in `"triangular2"` each is half as high as the one before; in `"exp_range"`
            the height is multiplied by `gamma**T`.
        gamma: the ratio of the heights at one unit and the one before.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        The peak is in unit `up`; PyTorch's `CyclicLR` begins at T = 0, so that its peak is one unit later.
        `momentum.Cyclic` is the momentum that falls while the rate rises.

    References:
        Smith, "Cyclical learning rates for training neural networks", 2017.

    Example:
        >>> wave = up.learning_rate.Cyclic(0.0, 0.5, up=4)
        >>> [wave(up.OptimizationState(iteration=t)) for t in (1, 2, 4, 6, 8)]
        [0.125, 0.25, 0.5, 0.25, 0.0]
    """

    low: float = value_in()
    high: float = value_in()
    up: float = length(kw_only=True)
    down: float = same_as_up()
    mode: Mode = cycle_mode()
    gamma: float = value_in(POSITIVE, default=1.0, kw_only=True)
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        return self.low + (self.high - self.low) * height(t, self.up, self.down, self.mode, self.gamma)


@attrs.frozen(repr=False)
class OneCycle(Curve):
    """One rise and one fall: from `start` to `peak`, and down to `end`, where it stays.

    Attributes:
        peak: the highest value.
        length: how many epochs or iterations the whole takes.
        rise: the share of `length` at which the peak is.
        start: where it begins, at T = 0; a 25th of the peak unless given.
        end: where it ends; a 10,000th of `start` unless given.
        shape: `"cosine"` or `"linear"`, in each phase.
        three_phase: come down to `start` first, in as long as the rise took, and then to `end` in what is left.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range, or three phases leave no time for the last; or, at a call, the counter still
            stands at 0.

    Conventions:
        `start` and `end` are absolute; PyTorch's `OneCycleLR` has the divisors `div_factor` and `final_div_factor`. It begins
        at T = 0, and one update beyond its end has a rate outside the curve. `momentum.OneCycle` is the momentum to go with it.

    References:
        Smith and Topin, "Super-convergence: Very fast training of neural networks using large learning rates", 2018.

    Example:
        >>> rate = up.learning_rate.OneCycle(0.5, 100, rise=0.25, start=0.1, end=0.0, shape="linear")
        >>> [round(rate(up.OptimizationState(iteration=t)), 6) for t in (1, 25, 100, 101)]
        [0.116, 0.5, 0.0, 0.0]
    """

    peak: float = value_in()
    length: float = length()
    rise: float = value_in(UNIT, default=0.3, kw_only=True, validator=check_phases)
    start: float = value_in(default=attrs.Factory(lambda cycle: cycle.peak / 25, takes_self=True), kw_only=True)
    end: float = value_in(default=attrs.Factory(lambda cycle: cycle.start / 1e4, takes_self=True), kw_only=True)
    shape: Literal["cosine", "linear"] = choice("cosine", "linear", default="cosine")
    three_phase: bool = flag(False)
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        return one_cycle(t / self.length, self.rise, self.three_phase, self.shape, self.start, self.peak, self.end)
