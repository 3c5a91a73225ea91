"""Schedules made of schedules: one after another, warmed up, delayed, repeated."""

from __future__ import annotations

from bisect import bisect_right
from collections import abc
from collections.abc import Callable
from typing import Any

import attrs

from updaters.checks import field_name
from updaters.protocols import Schedulable
from updaters.schedules.base import Schedule, at, clocks, count
from updaters.schedules.fields import Clock, inner, inners, moments, one_fewer_than, units, value_in
from updaters.state import OptimizationState


@attrs.frozen(repr=False)
class Warmup(Schedule):
    """A straight line from `start` to where the inner schedule begins, and then that schedule.

    During the first `iterations` iterations the value is `start + (inner - start) * T / iterations`, where the iterations of
    `inner` stand at 0; after them they count from 1. Its epochs count as they are, so that a schedule by epochs is
    ramped up to and otherwise left alone.

    Attributes:
        inner: a schedule, any other scheduler, or a number.
        iterations: how many iterations the line takes.
        start: where the line begins, at T = 0; absolute.

    Raises:
        TypeError, ValueError: a field is out of range; or, at a call, no iteration has begun.

    Conventions:
        The target is reached in iteration `iterations`, and the first update is above `start`. The inner schedule
        begins when the warm-up is over, as in Keras, TensorLayerX and PyTorch's `SequentialLR`; in OneFlow's `WarmupLR` and
        MXNet's `FactorScheduler` its clock runs meanwhile.

    Example:
        >>> rate = up.learning_rate.Warmup(up.learning_rate.Cosine(0.1, 900, clock="iteration"), 100)
        >>> [round(rate(up.OptimizationState(iteration=t)), 6) for t in (1, 50, 100, 550, 1000)]
        [0.001, 0.05, 0.1, 0.05, 0.0]
    """

    inner: Schedulable = inner()
    iterations: int = units(1)
    start: float = value_in(default=0.0, kw_only=True)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        count(self, "iteration", epoch, iteration, state)
        target = at(self.inner, epoch, max(iteration - self.iterations, 0), state)
        if iteration >= self.iterations:
            return target
        return self.start + (target - self.start) * (iteration / self.iterations)

    @property
    def clocks(self) -> frozenset[Clock]:
        return clocks(self.inner) | {"iteration"}


def _clock(members: Callable[[Any], abc.Sequence[Schedulable]], begun_anew: int = 0) -> Any:
    """A field that says which counter a composition goes by: that of its members, unless given.

    Args:
        members: gives the members of a composition.
        begun_anew: from which one on they begin anew, which a schedule does only if it counts what the composition goes by.
    """

    def find(instance: Any) -> Clock | None:
        shared = [counted for member in members(instance) if (counted := clocks(member))]
        found = frozenset.intersection(*shared) if shared else frozenset[Clock]()
        return next(iter(found)) if len(found) == 1 else None

    def check(instance: object, attribute: attrs.Attribute[Any], clock: object) -> None:
        name = field_name(instance, attribute)
        if clock is not None and clock not in ("epoch", "iteration"):
            raise ValueError(f"{name} must be 'epoch' or 'iteration', got {clock!r}")
        if clock is None:
            shown = ", ".join(map(repr, members(instance)))
            raise ValueError(f"{name} must be 'epoch' or 'iteration', which {shown} does not settle, got {clock!r}")
        for member in members(instance)[begun_anew:]:
            if len(clocks(member)) > 1:
                raise ValueError(
                    f"{name} can be neither for {member!r}, which counts epochs and iterations, of which one alone would begin "
                    f"anew, got {clock!r}; put a warm-up around the whole instead"
                )
            for other in clocks(member) - {clock}:
                raise ValueError(
                    f"{name} must be {other!r}, which {member!r} counts and which does not begin anew with another counter, "
                    f"got {clock!r}"
                )

    return attrs.field(default=attrs.Factory(find, takes_self=True), kw_only=True, validator=check)


def _inner(composition: Any) -> tuple[Schedulable]:
    return (composition.inner,)


def _moved(clock: Clock, t: int, schedule: Schedulable, epoch: int, iteration: int, state: OptimizationState) -> float:
    """The value of a schedule with one counter at t."""
    return at(schedule, t, iteration, state) if clock == "epoch" else at(schedule, epoch, t, state)


@attrs.frozen(repr=False)
class Sequence(Schedule):
    """One schedule after another, each on a clock of its own that begins with it.

    Attributes:
        schedules: schedules, other schedulers, or numbers; those after the first count what the boundaries count.
        boundaries: after how many epochs or iterations each schedule but the last is replaced by the next,
            in increasing order.
        clock: whether boundaries count epochs or iterations: what all the schedules count, unless given.

    Raises:
        TypeError, ValueError: a field is out of range; a schedule after the first counts something else than the
            boundaries; the schedules do not agree, and `clock` is not given; or, at a call, the counter still stands at 0.

    Conventions:
        The unit after a boundary is the next schedule's first, whose T is 1, as in PyTorch's `SequentialLR`. In
        OneFlow's each schedule reads the count from the run's beginning, unless told to rescale it.

    Example:
        >>> from updaters.learning_rate import Linear, Fixed, Sequence
        >>> rate = Sequence([Linear(0.0, 4, end=0.5), Fixed(0.5), Linear(0.5, 4)], boundaries=[4, 10])
        >>> [rate(up.OptimizationState(epoch=t)) for t in (1, 4, 5, 10, 11, 14)]
        [0.125, 0.5, 0.5, 0.5, 0.375, 0.0]
    """

    schedules: abc.Sequence[Schedulable] = inners()
    boundaries: abc.Sequence[int] = moments(1, validator=one_fewer_than("schedules"))
    clock: Clock = _clock(lambda sequence: sequence.schedules, begun_anew=1)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        t = count(self, self.clock, epoch, iteration, state)
        which = bisect_right(self.boundaries, t - 1)
        begun = self.boundaries[which - 1] if which else 0
        return _moved(self.clock, t - begun, self.schedules[which], epoch, iteration, state)

    @property
    def clocks(self) -> frozenset[Clock]:
        return clocks(*self.schedules) | {self.clock}


@attrs.frozen(repr=False)
class Delay(Schedule):
    """A schedule that begins later: until then it is where it begins, at T = 0.

    Attributes:
        inner: a schedule or any other scheduler.
        by: how many epochs or iterations later.
        clock: whether these are epochs or iterations: what the inner schedule counts, unless given.

    Raises:
        TypeError, ValueError: a field is out of range; the inner schedule counts something else, or nothing, and `clock` is not
            given; or, at a call, the counter still stands at 0.

    Conventions:
        A delay of 1 turns a curve into that of a system whose steps count from 0: its first update has T = 0.

    Example:
        >>> rate = up.learning_rate.Delay(up.learning_rate.Exp(0.5, gamma=0.5), 1)
        >>> [rate(up.OptimizationState(epoch=t)) for t in (1, 2, 3)]
        [0.5, 0.25, 0.125]
    """

    inner: Schedulable = inner()
    by: int = units()
    clock: Clock = _clock(_inner)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        t = count(self, self.clock, epoch, iteration, state)
        return _moved(self.clock, max(t - self.by, 0), self.inner, epoch, iteration, state)

    @property
    def clocks(self) -> frozenset[Clock]:
        return frozenset((self.clock,))


@attrs.frozen(repr=False)
class Repeat(Schedule):
    """A schedule that begins anew after each period.

    Attributes:
        inner: a schedule or any other scheduler.
        period: after how many epochs or iterations it begins anew.
        times: how many periods there are, after which the last one goes on; None is no end.
        clock: whether these are epochs or iterations: what the inner schedule counts, unless given.

    Raises:
        TypeError, ValueError: a field is out of range; the inner schedule counts something else, or nothing, and `clock` is not
            given; or, at a call, the counter still stands at 0.

    Example:
        >>> rate = up.learning_rate.Repeat(up.learning_rate.Linear(0.5, 4), 4, times=2)
        >>> [rate(up.OptimizationState(epoch=t)) for t in (1, 4, 5, 8, 9)]
        [0.375, 0.0, 0.375, 0.0, 0.0]
    """

    inner: Schedulable = inner()
    period: int = units(1)
    times: int | None = units(1, default=None, kw_only=True)
    clock: Clock = _clock(_inner)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        t = count(self, self.clock, epoch, iteration, state)
        done = max(t - 1, 0) // self.period
        if self.times is not None:
            done = min(done, self.times - 1)
        return _moved(self.clock, t - done * self.period, self.inner, epoch, iteration, state)

    @property
    def clocks(self) -> frozenset[Clock]:
        return frozenset((self.clock,))
