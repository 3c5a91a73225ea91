"""The schedules: their curves by other algebra than theirs, and what makes each a value and a pure function of the clock."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from functools import reduce
from typing import Any

import attrs
import numpy as np
import pytest

from updaters import OptimizationState, get_learning_rate, learning_rate, momentum
from updaters.learning_rate import Exp, Inv
from updaters.momentum import Fixed, Nadam, Null

UNITS = (1, 2, 3, 4, 10, 1000)


def times(start: float, ratio: float, count: int) -> float:
    """`start` multiplied by `ratio`, so many times."""
    return reduce(lambda value, _: value * ratio, range(count), start)


# A schedule, and its value at T by other algebra than its own.
CURVES: list[tuple[Any, Callable[[int], float]]] = [
    (Fixed(0.1), lambda t: 0.1),
    (Null(), lambda t: 0.0),
    (Exp(0.1), lambda t: times(0.1, 0.9, t)),
    (Exp(0.5, gamma=0.75), lambda t: times(0.5, 0.75, t)),
    (Exp(3.0, gamma=0.999), lambda t: 3 * math.exp(t * math.log(0.999))),
    (Inv(0.1), lambda t: 0.1 / math.sqrt(1 + 0.9 * t)),
    (Inv(0.1, gamma=0.25, power=1), lambda t: 0.4 / (4 + t)),
    (Inv(2.0, gamma=0.5, power=2), lambda t: 8 / ((2 + t) * (2 + t))),
    (Inv(0.3, power=0), lambda t: 0.3),
    (Nadam(), lambda t: 0.99 - 0.495 * math.exp(0.004 * t * math.log(0.96))),
    (Nadam(mu0=0.8, delta=1, gamma=0.25, alpha=0.5), lambda t: 0.8 - times(0.2, 0.5, t)),
    (Nadam(mu0=0.9, delta=0.5, gamma=1, alpha=0.81), lambda t: 0.9 - times(0.9, 0.9, t)),
    (Nadam(mu0=0.9, gamma=0), lambda t: 0.9),
    (Nadam(mu0=0.9, alpha=0), lambda t: 0.9),
    (Nadam(mu0=0.9, delta=0), lambda t: 0.45),
]
SCHEDULES = [schedule for schedule, _ in CURVES]
DRIVEN = [schedule for schedule in SCHEDULES if hasattr(schedule, "clock")]


def at(clock: str, count: int, held: int = 0) -> OptimizationState:
    """A clock whose one counter stands at `count`, and the other one and the batch elsewhere."""
    if clock == "epoch":
        return OptimizationState(epoch=count, batch=5, iteration=77, held=held)
    return OptimizationState(epoch=77, batch=5, iteration=count + held, held=held)


def test_every_public_schedule_has_a_row() -> None:
    public = {getattr(space, name) for space in (learning_rate, momentum) for name in space.__all__}
    assert public == {type(schedule) for schedule in SCHEDULES}


@pytest.mark.parametrize(("schedule", "curve"), [pytest.param(*row, id=repr(row[0])) for row in CURVES])
@pytest.mark.parametrize("held", [0, 3])
@pytest.mark.parametrize("clock", ["epoch", "iteration"])
def test_curves(schedule: Any, curve: Callable[[int], float], clock: str, held: int) -> None:
    if schedule in DRIVEN:
        schedule = attrs.evolve(schedule, clock=clock)
    values = [schedule(at(clock, unit, held)) for unit in UNITS]
    assert values == pytest.approx([curve(unit) for unit in UNITS], rel=1e-12, abs=0)
    assert {type(value) for value in values} == {float}


# The formulas of MXNet.jl 0.3 at T = 1, 2, 3 and 1000, worked out in 30 digits from the decimals.
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Exp(0.1), [0.09, 0.081, 0.0729, 1.74787125172265160966e-47]),
        (Inv(0.1), [0.0725476250110011671998, 0.0597614304667196819984, 0.0519875244910036344645, 0.00333148302326384780949]),
        (Nadam(), [0.495080820950425737181, 0.495161628704839297151, 0.495242423265395254145, 0.56957345283]),
    ],
)
def test_mxnet_jl_numbers(schedule: Any, expected: list[float]) -> None:
    values = [schedule(at(schedule.clock, unit)) for unit in (1, 2, 3, 1000)]
    assert values == pytest.approx(expected, rel=1e-10, abs=0)


@pytest.mark.parametrize(
    ("schedule", "clock"), [(Exp(0.1), "epoch"), (Inv(0.1), "epoch"), (Nadam(), "iteration")], ids=lambda value: str(value)
)
def test_defaults_are_mxnet_jls(schedule: Any, clock: str) -> None:
    assert schedule.clock == clock
    shown = {"Exp": "value=0.1, gamma=0.9", "Inv": "value=0.1, gamma=0.9, power=0.5"}
    fields = shown.get(type(schedule).__name__, "mu0=0.99, delta=0.004, gamma=0.5, alpha=0.96")
    assert repr(schedule) == f"{type(schedule).__name__}({fields}, clock={clock!r})"


@pytest.mark.parametrize("clock", ["epoch", "iteration"])
def test_the_first_value_is_at_one_in_the_loops_and_what_is_held_does_not_count(clock: Any) -> None:
    state = OptimizationState()
    schedule = Exp(1.0, gamma=0.5, clock=clock)
    seen = []
    for _ in state.epochs(2):
        for number in state.batches(range(3)):
            seen.append(schedule(state))
            state.held += number == 0  # nothing was applied in the first batch of an epoch
    assert seen == ([0.5] * 3 + [0.25] * 3 if clock == "epoch" else [0.5, 0.5, 0.25, 0.125, 0.125, 0.0625])


START = {
    "epoch": "run `for epoch in state.epochs(n)`, or set state.epoch = 1",
    "iteration": "run `for examples in state.batches(data)`, or add 1 to state.iteration before each update",
}


@pytest.mark.parametrize("schedule", DRIVEN, ids=repr)
@pytest.mark.parametrize(("clock", "counter"), [("epoch", 0), ("iteration", 0), ("iteration", -1)])
def test_a_counter_at_zero_is_an_error_that_says_how_to_start(schedule: Any, clock: str, counter: int) -> None:
    schedule = attrs.evolve(schedule, clock=clock)
    with pytest.raises(ValueError, match="no value yet") as info:
        schedule(at(clock, counter, held=2))
    message = str(info.value)
    assert message.startswith(f"{schedule!r} has no value yet")
    assert f"{clock} count stands at {counter}: {START[clock]}" in message


@pytest.mark.parametrize("clock", ["epoch", "iteration"])
def test_the_message_starts_the_clock(clock: Any) -> None:
    schedule = Exp(1.0, gamma=0.5, clock=clock)
    state = OptimizationState()
    for _ in state.epochs(1):
        for _ in state.batches("a"):
            assert schedule(state) == 0.5
    state = OptimizationState()
    exec(START[clock].split("set ")[-1] if clock == "epoch" else "state.iteration += 1")
    assert schedule(state) == 0.5


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_are_pure(schedule: Any) -> None:
    states = [OptimizationState(epoch=t, batch=t, iteration=t + 2, held=1) for t in UNITS]
    before = copy.deepcopy((schedule, states))
    there = [schedule(state) for state in states]
    back = [schedule(state) for state in reversed(states)][::-1]
    assert there == back == [schedule(state) for state in states]
    assert (schedule, states) == before


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_are_values(schedule: Any) -> None:
    fields = {field.name: getattr(schedule, field.name) for field in attrs.fields(type(schedule))}
    for twin in (type(schedule)(**fields), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule)), eval(repr(schedule))):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert twin(at("epoch", 1)) == schedule(at("epoch", 1))
    for name in (*fields, "anything"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(schedule, name, 0.25)
    for name, value in fields.items():
        other = "iteration" if value == "epoch" else "epoch" if name == "clock" else (value + 0.31) / 2
        assert attrs.evolve(schedule, **{name: other}) != schedule, name


def test_schedules_of_different_kinds_differ() -> None:
    assert Null() != Fixed(0.0)
    assert Exp(0.1) != Inv(0.1, power=0.5)


@pytest.mark.parametrize("value", [1, True + 0, np.float32(0.25), np.int64(2)])
def test_real_numbers_become_floats(value: Any) -> None:
    assert type(Fixed(value).value) is float
    assert Fixed(value).value == value


SPANS = {  # where a field takes which numbers, and some that lie outside
    (Fixed, "value"): ("in [0, inf)", [-1e-9, -1.0]),
    (Exp, "value"): ("in [0, inf)", [-1e-9]),
    (Exp, "gamma"): ("in (0, 1)", [0.0, 1.0, -0.5, 1.5]),
    (Inv, "value"): ("in [0, inf)", [-1e-9]),
    (Inv, "gamma"): ("in (0, 1)", [0.0, 1.0, -0.5, 1.5]),
    (Inv, "power"): ("in [0, inf)", [-0.5]),
    (Nadam, "mu0"): ("in [0, 1)", [-1e-9, 1.0]),
    (Nadam, "delta"): ("in [0, inf)", [-1e-9]),
    (Nadam, "gamma"): ("in [0, 1]", [-1e-9, 1.0000001]),
    (Nadam, "alpha"): ("in [0, 1)", [-1e-9, 1.0]),
}


def made(schedule: type[Any], field: str, value: object) -> Any:
    first = {} if schedule is Nadam or field == "value" else {"value": 0.1}
    return schedule(**first | {field: value})


@pytest.mark.parametrize(("schedule", "field"), SPANS)
@pytest.mark.parametrize("always", [math.nan, math.inf, -math.inf])
def test_numbers_outside_a_span_are_refused(schedule: type[Any], field: str, always: float) -> None:
    span, outside = SPANS[schedule, field]
    for value in (always, *outside):
        with pytest.raises(ValueError, match="must be") as info:
            made(schedule, field, value)
        assert str(info.value) == f"{schedule.__name__}.{field} must be {span}, got {value!r}"


@pytest.mark.parametrize(("schedule", "field"), SPANS)
@pytest.mark.parametrize("value", [True, np.False_, "0.5", None, 0.5j, np.array(0.5), [0.5], Fixed(0.5)], ids=repr)
def test_what_is_no_number_is_refused(schedule: type[Any], field: str, value: object) -> None:
    with pytest.raises(TypeError) as info:
        made(schedule, field, value)
    message = str(info.value)
    assert message.startswith(f"{schedule.__name__}.{field} must be a real number ")
    assert message.endswith(f", got {value!r} ({type(value).__name__})")


def test_every_number_of_a_schedule_has_a_span() -> None:
    numbers = {(type(s), field.name) for s in SCHEDULES for field in attrs.fields(type(s)) if field.name != "clock"}
    assert numbers == SPANS.keys()


@pytest.mark.parametrize("schedule", DRIVEN, ids=repr)
@pytest.mark.parametrize("clock", ["epochs", "batch", "", None, 1])
def test_clocks_there_are_none_of(schedule: Any, clock: Any) -> None:
    with pytest.raises(ValueError, match="clock") as info:
        attrs.evolve(schedule, clock=clock)
    assert str(info.value) == f"{type(schedule).__name__}.clock must be 'epoch' or 'iteration', got {clock!r}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exp(0.1, 0.9),  # type: ignore[misc]
        lambda: Inv(0.1, 0.9),  # type: ignore[misc]
        lambda: Nadam(0.9),  # type: ignore[misc]
        lambda: Exp(),  # type: ignore[call-arg]
        lambda: Exp(0.1, gama=0.9),  # type: ignore[call-arg]
        lambda: Null(0.0),  # type: ignore[call-arg]
    ],
)
def test_all_but_the_value_goes_by_name(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="argument"):
        make()


def test_a_curve_is_one_class_in_both_namespaces() -> None:
    assert learning_rate.Fixed is momentum.Fixed
    assert get_learning_rate(learning_rate.Fixed(0.1), OptimizationState()) == 0.1
