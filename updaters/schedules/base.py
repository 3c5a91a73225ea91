"""What the built-in schedules share: a reading of the clock, arithmetic, and how they are shown."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import floor
from typing import Any

import attrs

from updaters.checks import field_name, finite
from updaters.protocols import Schedulable
from updaters.schedules.fields import Clock, inner, schedulable
from updaters.state import OptimizationState


class Schedule:
    """The base of the built-in schedules: a frozen value and a pure function of the clock.

    Schedules, numbers and other callables `state -> float` may be added, subtracted, multiplied and divided, and
    `clamp` keeps a schedule within bounds; `updaters.learning_rate.minimum` and `maximum` choose among several.
    What comes out is a schedule again.

    A subclass under `@attrs.frozen(repr=False)` gives `at`, and `clocks` where it reads a counter.
    """

    __slots__ = ()
    __array_ufunc__ = None  # a NumPy number on the left leaves the arithmetic to us

    def __call__(self, state: OptimizationState, /) -> float:
        try:
            epoch, iteration = state.epoch, state.iteration - state.held
        except AttributeError:
            raise TypeError(f"{self!r} is a function of a clock, an OptimizationState, got {state!r}") from None
        return self.at(epoch, iteration, state)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        """The value where the counters stand at `epoch` and `iteration`, which is elsewhere than in `state` within a composition.

        Counters stand at 0 where a schedule begins, before its first epoch or iteration.
        """
        raise NotImplementedError(f"{type(self).__name__} has no values")

    @property
    def clocks(self) -> frozenset[Clock]:
        """The counters that it reads."""
        return frozenset()

    def clamp(self, low: Schedulable | None = None, high: Schedulable | None = None) -> Schedule:
        """This schedule, raised to `low` where it is below, and lowered to `high` where it is above.

        Example:
            >>> up.learning_rate.Exp(0.1, gamma=0.5).clamp(low=0.02)(up.OptimizationState(epoch=9))
            0.02
        """
        low = None if low is None else schedulable(low, "clamp(low=)")
        high = None if high is None else schedulable(high, "clamp(high=)")
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise ValueError(f"clamp(high=) must be at least low, {low!r}, got {high!r}")
        result = self if low is None else Combination("maximum", self, low)
        return result if high is None else Combination("minimum", result, high)

    def __add__(self, other: Schedulable) -> Schedule:
        return _combined("+", self, other)

    def __radd__(self, other: Schedulable) -> Schedule:
        return _combined("+", other, self)

    def __sub__(self, other: Schedulable) -> Schedule:
        return _combined("-", self, other)

    def __rsub__(self, other: Schedulable) -> Schedule:
        return _combined("-", other, self)

    def __mul__(self, other: Schedulable) -> Schedule:
        return _combined("*", self, other)

    def __rmul__(self, other: Schedulable) -> Schedule:
        return _combined("*", other, self)

    def __truediv__(self, other: Schedulable) -> Schedule:
        return _combined("/", self, other)

    def __rtruediv__(self, other: Schedulable) -> Schedule:
        return _combined("/", other, self)

    def __neg__(self) -> Schedule:
        return Combination("*", -1.0, self)

    def __repr__(self) -> str:
        """The call that makes it: what goes by position, and what differs from its default."""
        if not attrs.has(type(self)):
            return super().__repr__()
        parts = []
        for field in attrs.fields(type(self)):  # type: ignore[arg-type]  # it is one, as was just asked
            value = getattr(self, field.name)
            if field.init and not field.kw_only:
                parts.append(repr(value))
            elif field.init and value != default(self, field):
                parts.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def default(instance: object, field: attrs.Attribute[Any]) -> object:
    """What a field of `instance` holds if it is not given."""
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # it is a class, and a function to type checkers
        made: Any = field.default
        return made.factory(instance) if made.takes_self else made.factory()
    return field.default


def at(schedule: Schedulable, epoch: int, iteration: int, state: OptimizationState) -> float:
    """The value of a schedule, of another scheduler or of a number, where the counters stand at `epoch` and `iteration`.

    Another scheduler is given a clock whose counters stand there, with nothing held.
    """
    if isinstance(schedule, Schedule):
        return schedule.at(epoch, iteration, state)
    if not callable(schedule):
        return float(schedule)
    if (epoch, iteration) != (state.epoch, state.iteration):  # at 1 at least, as in a clock that runs
        epoch, iteration = max(epoch, min(state.epoch, 1)), max(iteration, min(state.iteration, 1))
        state = OptimizationState(state.batch_size, epoch, state.batch, iteration, 0, state.unfinished)
    return finite(schedule(state), lambda: f"the value of {schedule!r}")


def clocks(*schedules: Schedulable) -> frozenset[Clock]:
    """The counters that schedules read; those of other callables are not known."""
    return frozenset().union(*(schedule.clocks for schedule in schedules if isinstance(schedule, Schedule)))


INFIX: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
OPERATIONS: dict[str, Callable[[float, float], float]] = {**INFIX, "minimum": min, "maximum": max}


def _check_operation(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or value not in OPERATIONS:
        wanted = ", ".join(map(repr, OPERATIONS))
        raise ValueError(f"{field_name(instance, attribute)} must be one of {wanted}, got {value!r}")


def _check_divisor(instance: Combination, attribute: attrs.Attribute[Any], right: object) -> None:
    if instance.operation == "/" and not callable(right) and right == 0:
        raise ValueError(f"{field_name(instance, attribute)} must not be 0, by which {instance.left!r} is divided")


@attrs.frozen(repr=False)
class Combination(Schedule):
    """Two schedules, or a schedule and a number, in an operation: what arithmetic on schedules gives.

    Attributes:
        operation: `"+"`, `"-"`, `"*"`, `"/"`, `"minimum"` or `"maximum"`.
        left: a schedule, any other scheduler, or a number.
        right: another.

    Example:
        >>> up.learning_rate.Exp(0.1, gamma=0.5) * 0.5
        Exp(0.1, gamma=0.5) * 0.5
    """

    operation: str = attrs.field(validator=_check_operation)
    left: Schedulable = inner()
    right: Schedulable = inner(validator=_check_divisor)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        operation = OPERATIONS[self.operation]
        return operation(at(self.left, epoch, iteration, state), at(self.right, epoch, iteration, state))

    @property
    def clocks(self) -> frozenset[Clock]:
        return clocks(self.left, self.right)

    def __repr__(self) -> str:
        if self.operation not in INFIX:
            return f"{self.operation}({self.left!r}, {self.right!r})"
        left, right = (
            f"({side!r})" if isinstance(side, Combination) and side.operation in INFIX else repr(side)
            for side in (self.left, self.right)
        )
        return f"{left} {self.operation} {right}"


def _combined(operation: str, left: Schedulable, right: Schedulable) -> Schedule:
    try:
        return Combination(operation, left, right)
    except TypeError:
        return NotImplemented  # type: ignore[no-any-return]  # Python asks the other side then


def minimum(*schedules: Schedulable) -> Schedule:
    """The lowest of several schedules, other schedulers and numbers, at each clock.

    Example:
        >>> up.learning_rate.minimum(0.05, up.learning_rate.Exp(0.1))(up.OptimizationState(epoch=1))
        0.05
    """
    return _chosen("minimum", schedules)


def maximum(*schedules: Schedulable) -> Schedule:
    """The highest of several schedules, other schedulers and numbers, at each clock.

    Example:
        >>> up.learning_rate.maximum(0.05, up.learning_rate.Exp(0.1))(up.OptimizationState(epoch=1))
        0.09000000000000001
    """
    return _chosen("maximum", schedules)


def _chosen(operation: str, schedules: tuple[Any, ...]) -> Schedule:
    if len(schedules) < 2:
        raise TypeError(f"{operation} takes two or more schedules, got {schedules!r}")
    first, second, *others = (schedulable(schedule, f"{operation}[{i}]") for i, schedule in enumerate(schedules))
    result = Combination(operation, first, second)
    for other in others:
        result = Combination(operation, result, other)
    return result


class Curve(Schedule):
    """A schedule that is a function of one counter of the clock.

    A subclass under `@attrs.frozen(repr=False)` has a field `clock`, and gives `curve`.
    """

    __slots__ = ()
    clock: Clock

    def curve(self, t: int) -> float:
        """The value in the t-th epoch or iteration; 0 is where the curve begins."""
        raise NotImplementedError(f"{type(self).__name__} has no curve")

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        return self.curve(count(self, self.clock, epoch, iteration, state))

    @property
    def clocks(self) -> frozenset[Clock]:
        return frozenset((self.clock,))


def count(schedule: object, clock: Clock, epoch: int, iteration: int, state: OptimizationState) -> int:
    """The counter that drives `schedule`, which stands at 0 where a composition has it begin.

    Raises:
        ValueError: the clock itself still stands at 0, where no value is in force yet; the message says how to start it.
    """
    t = epoch if clock == "epoch" else iteration
    if t < 1:
        _check_started(schedule, clock, state)
    return t


def _check_started(schedule: object, clock: Clock, state: OptimizationState) -> None:
    reading = state.epoch if clock == "epoch" else state.iteration - state.held
    if reading < 1:
        start = (
            "run `for epoch in state.epochs(n)`, or set state.epoch = 1"
            if clock == "epoch"
            else "run `for examples in state.batches(data)`, or add 1 to state.iteration before each update"
        )
        raise ValueError(
            f"{schedule!r} has no value yet, for the clock's {clock} count stands at {reading}: {start}, "
            "where state is the OptimizationState that get_updater was given, or else update.state"
        )


ROUNDING = 1e-9
"""By how much a fractional length may miss a whole unit, as 3 * (200 / 6) misses 100."""


def completed(units: int, period: float) -> int:
    """How many periods fit into so many units."""
    return units // period if isinstance(period, int) else floor(units / period + ROUNDING)
