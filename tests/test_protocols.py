"""What may be a scheduler, and the guards that read one."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from updaters import LearningRateScheduler, MomentumScheduler, OptimizationState, get_learning_rate, get_momentum
from updaters.learning_rate import Exp, Fixed

GUARDS = {get_learning_rate: ("a learning rate", "in [0, inf)"), get_momentum: ("a momentum", "in [0, 1]")}
guards = pytest.mark.parametrize("guard", GUARDS)


@guards
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 0.0),
        (0.0, 0.0),
        (1, 1.0),
        (0.25, 0.25),
        (5e-324, 5e-324),
        (Fraction(1, 3), 1 / 3),
        (np.float16(0.1), 0.0999755859375),
        (np.float32(0.1), 0.10000000149011612),
        (np.float64(0.1), 0.1),
        (np.longdouble(0.5), 0.5),
        (np.int64(1), 1.0),
        (np.uint8(1), 1.0),
    ],
)
def test_numbers_pass_as_floats(guard: Callable[..., float], number: Any, expected: float, scheduled: bool) -> None:
    got = guard((lambda state: number) if scheduled else number, OptimizationState())
    assert type(got) is float
    assert got == expected


def test_a_learning_rate_may_be_above_one() -> None:
    assert get_learning_rate(1e300, OptimizationState()) == 1e300


NOT_NUMBERS = [True, False, np.True_, 1j, np.complex64(1), "0.1", None, (0.1,), [0.1], Decimal("0.1"), np.array(0.1), np.ones(1)]
OUTSIDE: list[tuple[Callable[..., float], Any]] = [
    *[(guard, value) for guard in GUARDS for value in (math.nan, math.inf, -math.inf, -1, -1e-300, Fraction(-1, 3))],
    *[(guard, value) for guard in GUARDS for value in (np.float32("nan"), np.float16("inf"), np.int8(-1))],
    *[(get_momentum, value) for value in (1.0000000001, 2, np.float64(1.5), Fraction(4, 3))],
]
REFUSED = [
    *[(guard, value, TypeError, f"a real number {GUARDS[guard][1]}") for guard in GUARDS for value in NOT_NUMBERS],
    *[(guard, value, ValueError, GUARDS[guard][1]) for guard, value in OUTSIDE],
]


@attrs.frozen
class Constant:
    """A scheduler of a user's own."""

    value: Any

    def __call__(self, state: OptimizationState, /) -> Any:
        return self.value


@pytest.mark.parametrize(("guard", "value", "error", "wanted"), REFUSED)
def test_all_else_is_refused(guard: Callable[..., float], value: Any, error: type[Exception], wanted: str) -> None:
    state = OptimizationState(epoch=3, batch=2, iteration=11)
    given = repr(value) if error is ValueError else f"{value!r} ({type(value).__name__})"
    with pytest.raises(error) as info:
        guard(value, state)
    or_else = " or a scheduler" if error is TypeError else ""
    assert str(info.value) == f"{GUARDS[guard][0]} must be {wanted}{or_else}, got {given}"
    with pytest.raises(error) as info:
        guard(Constant(value), state)
    assert str(info.value) == f"{GUARDS[guard][0]} must be {wanted}, got {given} from {Constant(value)!r} at {state!r}"


class Model:
    """Something that has a method to give."""

    def rate(self, state: OptimizationState) -> float:
        return 0.5**state.epoch

    def __call__(self, clock: OptimizationState) -> float:  # the name of the argument is its own
        return self.rate(clock)


def halved(base: float, state: OptimizationState) -> float:
    return base**state.epoch


@attrs.frozen
class Halved:
    """A frozen class of a user's own."""

    base: float = 0.5

    def __call__(self, state: OptimizationState, /) -> float:
        return self.base**state.epoch


SCHEDULERS = [lambda state: 0.5**state.epoch, Halved(), Model().rate, Model(), partial(halved, 0.5), Exp(1.0, gamma=0.5)]


@guards
@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda scheduler: type(scheduler).__name__)
def test_any_callable_is_a_scheduler(guard: Callable[..., float], scheduler: Any) -> None:
    assert [guard(scheduler, OptimizationState(epoch=epoch)) for epoch in (1, 2, 3)] == [0.5, 0.25, 0.125]


@guards
def test_a_scheduler_is_asked_once_with_the_clock_itself(guard: Callable[..., float]) -> None:
    state = OptimizationState()
    asked: list[OptimizationState] = []
    guard(lambda clock: asked.append(clock) or 0.5, state)
    assert len(asked) == 1
    assert asked[0] is state


@guards
def test_what_a_scheduler_raises_is_not_hidden(guard: Callable[..., float]) -> None:
    with pytest.raises(ZeroDivisionError):
        guard(lambda state: 1 / state.epoch, OptimizationState())


@pytest.mark.parametrize("protocol", [LearningRateScheduler, MomentumScheduler])
def test_protocols_are_checked_at_run_time(protocol: type[Any]) -> None:
    assert all(isinstance(scheduler, protocol) for scheduler in [*SCHEDULERS, Fixed(0.1)])
    assert not any(isinstance(value, protocol) for value in [0.1, np.float32(0.1), "Exp", None, OptimizationState()])


def test_what_a_scheduler_raises_says_which_field_asked_it() -> None:
    def scheduler() -> float:  # as some systems have them
        return 0.1

    with pytest.raises(TypeError, match="takes 0 positional arguments") as info:
        up.get_updater(up.SGD(scheduler))("w", np.ones(1), np.ones(1))
    (note,) = info.value.__notes__
    assert note.startswith("SGD.lr was asked of <function")
    assert "called with OptimizationState(" in note
