"""The schedules: their curves by other algebra than theirs, and what makes each a value and a pure function of the clock."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest

from tests.curves import COMPOSED, COMPOSITIONS, CURVES, FALL, RAMP, SCHEDULES
from updaters import OptimizationState, get_learning_rate, learning_rate, momentum
from updaters.checks import Interval
from updaters.learning_rate import (
    Cosine,
    CosineRestarts,
    Cyclic,
    Delay,
    Exp,
    Inv,
    InverseSqrt,
    Lambda,
    Linear,
    LinearCosine,
    MultiStep,
    NaturalExp,
    Noam,
    NoisyLinearCosine,
    OneCycle,
    PerStep,
    Piecewise,
    Plateau,
    Polynomial,
    Repeat,
    Sequence,
    Step,
    Warmup,
    WarmupStableDecay,
)
from updaters.momentum import Fixed, Nadam, Null
from updaters.schedules.base import Combination, Curve, Schedule, default

UNITS = (*range(1, 45), 100, 101, 599, 1000)
DRIVEN = [schedule for schedule in SCHEDULES if hasattr(schedule, "clock")]
EVERY = SCHEDULES + COMPOSITIONS


def shown(value: object) -> str:
    """The representation of a value without addresses in it, which differ from process to process."""
    return re.sub(r" at 0x\w+", "", repr(value))


def at(clock: str, count: int, held: int = 0) -> OptimizationState:
    """A clock whose one counter stands at `count`, and the other one and the batch elsewhere."""
    if clock == "epoch":
        return OptimizationState(epoch=count, batch=5, iteration=77, held=held)
    return OptimizationState(epoch=77, batch=5, iteration=count + held, held=held)


def classes() -> set[type[Schedule]]:
    """Every class of schedules in the package's own files."""

    def below(kind: type[Any]) -> Iterator[type[Any]]:
        for sub in kind.__subclasses__():
            yield sub
            yield from below(sub)

    return {kind for kind in below(Schedule) if kind.__module__.startswith("updaters.schedules.")} - {Curve}


def test_every_schedule_is_public_and_has_a_row() -> None:
    public = {getattr(space, name) for space in (learning_rate, momentum) for name in space.__all__}
    assert classes() == {kind for kind in public if inspect.isclass(kind)} | {Combination}
    assert classes() == {type(schedule) for schedule in EVERY}


@pytest.mark.parametrize(("schedule", "curve"), [pytest.param(*row, id=shown(row[0])) for row in CURVES])
@pytest.mark.parametrize("held", [0, 3])
@pytest.mark.parametrize("clock", ["epoch", "iteration"])
def test_curves(schedule: Any, curve: Callable[[int], float], clock: Any, held: int) -> None:
    if hasattr(schedule, "clock"):
        schedule = attrs.evolve(schedule, clock=clock)
    check(schedule, curve, clock, held)


@pytest.mark.parametrize(("schedule", "curve"), [pytest.param(*row, id=shown(row[0])) for row in COMPOSED])
@pytest.mark.parametrize("held", [0, 3])
def test_compositions(schedule: Any, curve: Callable[[int], float], held: int) -> None:
    check(schedule, curve, "iteration", held)


def check(schedule: Any, curve: Callable[[int], float], clock: str, held: int) -> None:
    values = [schedule(at(clock, unit, held)) for unit in UNITS]
    assert values == pytest.approx([curve(unit) for unit in UNITS], rel=1e-12, abs=1e-15)
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
    ("schedule", "expected"),
    [
        (Exp(0.1), {"gamma": 0.9, "every": 1, "staircase": False, "begin": 0, "floor": 0.0, "clock": "epoch"}),
        (NaturalExp(0.1, rate=1), {"every": 1, "staircase": False, "clock": "epoch"}),
        (Inv(0.1), {"gamma": 0.9, "power": 0.5, "every": 1, "staircase": False, "clock": "epoch"}),
        (Step(0.1, 2), {"gamma": 0.1, "clock": "epoch"}),
        (MultiStep(0.1, (2,)), {"gamma": 0.1, "clock": "epoch"}),
        (Piecewise((0.1,), ()), {"clock": "epoch"}),
        (Linear(0.1, 2), {"end": 0.0, "clock": "epoch"}),
        (Polynomial(0.1, 2), {"end": 0.0, "power": 1.0, "cycle": False, "clock": "epoch"}),
        (Cosine(0.1, 2), {"end": 0.0, "periodic": False, "clock": "epoch"}),
        (CosineRestarts(0.1, 2), {"period_factor": 1, "peak_factor": 1.0, "floor": 0.0, "clock": "epoch"}),
        (LinearCosine(0.1, 2), {"periods": 0.5, "alpha": 0.0, "beta": 0.001, "clock": "epoch"}),
        (
            NoisyLinearCosine(0.1, 2),
            {
                "periods": 0.5,
                "alpha": 0.0,
                "beta": 0.001,
                "initial_variance": 1.0,
                "variance_decay": 0.55,
                "seed": 0,
                "clock": "epoch",
            },
        ),
        (Noam(model_size=2, warmup=2), {"value": 1.0, "clock": "iteration"}),
        (InverseSqrt(0.1, 2), {"clock": "iteration"}),
        (
            WarmupStableDecay(0.1, warmup=1, stable=1, decay=1),
            {"start": 0.0, "end": 0.0, "shape": "linear", "clock": "iteration"},
        ),
        (Cyclic(0.1, 0.2, up=2), {"down": 2, "mode": "triangular", "gamma": 1.0, "clock": "iteration"}),
        (
            OneCycle(0.1, 2),
            {"rise": 0.3, "start": 0.004, "end": 4e-7, "shape": "cosine", "three_phase": False, "clock": "iteration"},
        ),
        (momentum.Cyclic(up=2), {"low": 0.8, "high": 0.9, "down": 2, "mode": "triangular", "gamma": 1.0, "clock": "iteration"}),
        (
            momentum.OneCycle(2),
            {"low": 0.85, "high": 0.95, "rise": 0.3, "shape": "cosine", "three_phase": False, "clock": "iteration"},
        ),
        (Nadam(), {"mu0": 0.99, "delta": 0.004, "gamma": 0.5, "alpha": 0.96, "clock": "iteration"}),
        (Lambda(0.1, math.sqrt), {"clock": "epoch"}),
        (PerStep(math.sqrt), {"first": 0, "clock": "iteration"}),
        (Warmup(0.1, 2), {"start": 0.0}),
        (Sequence([RAMP], []), {"clock": "iteration"}),
        (Sequence([Exp(0.1)], []), {"clock": "epoch"}),
        (Delay(RAMP, 2), {"clock": "iteration"}),
        (Delay(Exp(0.1), 2), {"clock": "epoch"}),
        (Repeat(RAMP, 2), {"times": None, "clock": "iteration"}),
        (Repeat(Exp(0.1), 2), {"times": None, "clock": "epoch"}),
        (
            Plateau(0.1),
            {"factor": 0.1, "patience": 10, "threshold": 1e-4, "relative": True, "mode": "min", "cooldown": 0, "floor": 0.0},
        ),
        (Fixed(0.1), {}),
        (Null(), {}),
        (Combination("+", 1, RAMP), {}),
    ],
    ids=repr,
)
def test_defaults(schedule: Any, expected: dict[str, object]) -> None:
    defaults = [field.name for field in attrs.fields(type(schedule)) if field.init and field.default is not attrs.NOTHING]
    assert {name: getattr(schedule, name) for name in defaults} == expected
    call = repr(schedule).replace(repr(RAMP), "")
    assert [name for name in defaults if f"{name}=" in call] == []


def test_defaults_are_known_for_every_schedule() -> None:
    rows = {type(mark[0]) for mark in test_defaults.pytestmark[0].args[1]}  # type: ignore[attr-defined]
    assert rows == classes()


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


@pytest.mark.parametrize("schedule", DRIVEN, ids=shown)
@pytest.mark.parametrize(("clock", "counter"), [("epoch", 0), ("iteration", 0), ("iteration", -1)])
def test_a_counter_at_zero_is_an_error_that_says_how_to_start(schedule: Any, clock: Any, counter: int) -> None:
    schedule = attrs.evolve(schedule, clock=clock)
    with pytest.raises(ValueError, match="no value yet") as info:
        schedule(at(clock, counter, held=2))
    message = str(info.value)
    assert message.startswith(f"{schedule!r} has no value yet")
    assert f"{clock} count stands at {counter}: {START[clock]}" in message


@pytest.mark.parametrize("schedule", COMPOSITIONS, ids=shown)
def test_a_composition_whose_counter_is_at_zero_is_an_error_too(schedule: Any) -> None:
    if schedule.clocks:
        with pytest.raises(ValueError, match="no value yet, for the clock's iteration count stands at 0: run "):
            schedule(at("iteration", 0, held=3))


@pytest.mark.parametrize("schedule", DRIVEN + [s for s in COMPOSITIONS if s.clocks == {"iteration"}], ids=shown)
def test_no_other_counter_is_asked_for(schedule: Any) -> None:
    for clock in {"epoch", "iteration"} if schedule in DRIVEN else {"iteration"}:
        driven = attrs.evolve(schedule, clock=clock) if schedule in DRIVEN else schedule
        alone = OptimizationState(**{clock: 3})
        assert driven(alone) == driven(at(clock, 3))


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


@pytest.mark.parametrize("schedule", EVERY, ids=shown)
def test_schedules_are_pure(schedule: Any) -> None:
    states = [OptimizationState(epoch=t, batch=t, iteration=t + 2, held=1) for t in UNITS]
    before = copy.deepcopy((schedule, states))
    name = repr(schedule)
    there = [schedule(state) for state in states]
    back = [schedule(state) for state in reversed(states)][::-1]
    assert there == back == [schedule(state) for state in states]
    assert states == before[1]
    assert repr(schedule) == name
    if "lambda" not in name:
        assert schedule == before[0]


NAMES = {name: getattr(space, name) for space in (learning_rate, momentum) for name in space.__all__}
NAMES |= {name: getattr(learning_rate, name) for name in learning_rate.__all__}
NAMES |= {"sqrt": math.sqrt, "exp2": math.exp2, "momentum": momentum}


@pytest.mark.parametrize("schedule", EVERY, ids=shown)
def test_schedules_are_values(schedule: Any) -> None:
    fields = {field.name: getattr(schedule, field.name) for field in attrs.fields(type(schedule)) if field.init}
    twins = [type(schedule)(**fields), copy.deepcopy(schedule)]
    if "lambda" not in repr(schedule):
        call = repr(schedule).replace("<built-in function sqrt>", "sqrt").replace("<built-in function exp2>", "exp2")
        twins += [pickle.loads(pickle.dumps(schedule)), eval(call, NAMES)]
    for twin in twins:
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert twin(at("iteration", 1)) == schedule(at("iteration", 1))
    for name in (*fields, "anything"):
        with pytest.raises((attrs.exceptions.FrozenInstanceError, attrs.exceptions.FrozenAttributeError, AttributeError)):
            setattr(schedule, name, 0.25)
    assert {name: getattr(schedule, name) for name in fields} == fields


def test_schedules_of_different_kinds_or_fields_differ() -> None:
    assert Null() != Fixed(0.0)
    assert Exp(0.1) != Inv(0.1, power=0.5)
    assert Cyclic(0.1, 0.9, up=2) != momentum.Cyclic(0.1, 0.9, up=2)
    kinds = [schedule for schedule in EVERY if "lambda" not in repr(schedule)]
    assert len(set(kinds)) == len(set(map(repr, kinds))) == len(kinds)


@pytest.mark.parametrize("value", [1, True + 0, np.float32(0.25), np.int64(2)])
def test_real_numbers_become_floats(value: Any) -> None:
    assert type(Fixed(value).value) is float
    assert Fixed(value).value == value
    assert type((value * RAMP).left) is float  # type: ignore[attr-defined]


SPANS = {  # where the numbers of a schedule lie
    (Fixed, "value"): "[0, inf)",
    (Exp, "value"): "[0, inf)",
    (Exp, "gamma"): "(0, inf)",
    (Exp, "every"): "(0, inf)",
    (Exp, "floor"): "[0, inf)",
    (NaturalExp, "value"): "[0, inf)",
    (NaturalExp, "rate"): "[0, inf)",
    (NaturalExp, "every"): "(0, inf)",
    (Inv, "value"): "[0, inf)",
    (Inv, "gamma"): "[0, inf)",
    (Inv, "power"): "[0, inf)",
    (Inv, "every"): "(0, inf)",
    (Step, "value"): "[0, inf)",
    (Step, "gamma"): "(0, inf)",
    (MultiStep, "value"): "[0, inf)",
    (MultiStep, "gamma"): "(0, inf)",
    (Linear, "value"): "[0, inf)",
    (Linear, "length"): "(0, inf)",
    (Linear, "end"): "[0, inf)",
    (Polynomial, "value"): "[0, inf)",
    (Polynomial, "length"): "(0, inf)",
    (Polynomial, "end"): "[0, inf)",
    (Polynomial, "power"): "[0, inf)",
    (Cosine, "value"): "[0, inf)",
    (Cosine, "length"): "(0, inf)",
    (Cosine, "end"): "[0, inf)",
    (CosineRestarts, "value"): "[0, inf)",
    (CosineRestarts, "period"): "(0, inf)",
    (CosineRestarts, "period_factor"): "[1, inf)",
    (CosineRestarts, "peak_factor"): "[0, inf)",
    (CosineRestarts, "floor"): "[0, inf)",
    **{(kind, name): "[0, inf)" for kind in (LinearCosine, NoisyLinearCosine) for name in ("value", "periods", "alpha", "beta")},
    **{(kind, "length"): "(0, inf)" for kind in (LinearCosine, NoisyLinearCosine)},
    (NoisyLinearCosine, "initial_variance"): "[0, inf)",
    (NoisyLinearCosine, "variance_decay"): "[0, inf)",
    (Noam, "value"): "[0, inf)",
    (Noam, "model_size"): "(0, inf)",
    (InverseSqrt, "value"): "[0, inf)",
    **{(WarmupStableDecay, name): "[0, inf)" for name in ("value", "start", "end")},
    **{(Cyclic, name): "[0, inf)" for name in ("low", "high")},
    **{(momentum.Cyclic, name): "[0, 1]" for name in ("low", "high")},
    **{(kind, name): "(0, inf)" for kind in (Cyclic, momentum.Cyclic) for name in ("up", "down", "gamma")},
    **{(OneCycle, name): "[0, inf)" for name in ("peak", "start", "end")},
    **{(momentum.OneCycle, name): "[0, 1]" for name in ("low", "high")},
    **{(kind, "length"): "(0, inf)" for kind in (OneCycle, momentum.OneCycle)},
    **{(kind, "rise"): "[0, 1]" for kind in (OneCycle, momentum.OneCycle)},
    (Lambda, "value"): "[0, inf)",
    (Nadam, "mu0"): "[0, 1)",
    (Nadam, "delta"): "[0, inf)",
    (Nadam, "gamma"): "[0, 1]",
    (Nadam, "alpha"): "[0, 1)",
    (Warmup, "start"): "[0, inf)",
    (Plateau, "factor"): "(0, 1)",
    (Plateau, "threshold"): "[0, inf)",
    (Plateau, "floor"): "[0, inf)",
}
COUNTS = {  # the least that a whole number of a schedule may be
    (Exp, "begin"): 0,
    (Step, "every"): 1,
    (NoisyLinearCosine, "seed"): 0,
    (Noam, "warmup"): 1,
    (InverseSqrt, "warmup"): 1,
    (WarmupStableDecay, "warmup"): 0,
    (WarmupStableDecay, "stable"): 0,
    (WarmupStableDecay, "decay"): 0,
    (PerStep, "first"): 0,
    (Warmup, "iterations"): 1,
    (Delay, "by"): 0,
    (Repeat, "period"): 1,
    (Repeat, "times"): 1,
    (Plateau, "patience"): 0,
    (Plateau, "cooldown"): 0,
}
NUMBERS = {(Piecewise, "values"): "[0, inf)"}
MOMENTS = {(MultiStep, "milestones"): 0, (Piecewise, "boundaries"): 0, (Sequence, "boundaries"): 1}
INNER = {
    (Warmup, "inner"),
    (Delay, "inner"),
    (Repeat, "inner"),
    (Plateau, "inner"),
    (Combination, "left"),
    (Combination, "right"),
}
INNERS = {(Sequence, "schedules")}
FUNCTIONS = {(Lambda, "function"), (PerStep, "function")}
FLAGS = [
    *((kind, "staircase") for kind in (Exp, NaturalExp, Inv)),
    *((kind, "three_phase") for kind in (OneCycle, momentum.OneCycle)),
    (Polynomial, "cycle"),
    (Cosine, "periodic"),
    (Plateau, "relative"),
]
WORDS = {
    **{(kind, "mode"): "'triangular' or 'triangular2' or 'exp_range'" for kind in (Cyclic, momentum.Cyclic)},
    **{(kind, "shape"): "'cosine' or 'linear'" for kind in (OneCycle, momentum.OneCycle)},
    (WarmupStableDecay, "shape"): "'linear' or 'cosine' or 'sqrt'",
    (Plateau, "mode"): "'min' or 'max'",
    (Combination, "operation"): "one of '+', '-', '*', '/', 'minimum', 'maximum'",
}
EXAMPLES: dict[type[Any], Any] = {type(schedule): schedule for schedule in reversed(EVERY)}


def made(schedule: type[Any], field: str, value: object) -> Any:
    return attrs.evolve(EXAMPLES[schedule], **{field: value})


def test_every_field_of_a_schedule_is_in_a_table() -> None:
    fields = {(kind, field.name) for kind in classes() for field in attrs.fields(kind) if field.init and field.name != "clock"}
    tables = [*map(set, (SPANS, COUNTS, NUMBERS, MOMENTS, INNER, INNERS, FUNCTIONS, FLAGS, WORDS))]
    assert set().union(*tables) == fields
    assert sum(map(len, tables)) == len(fields)


def outside(span: str) -> list[float]:
    low, high = span[1:-1].split(", ")
    values = [math.nan, math.inf, -math.inf, float(low) - 1e-9]
    values += [float(low)] if span[0] == "(" else []
    values += [float(high) + 1e-9] if high != "inf" else []
    return values + ([float(high)] if span[-1] == ")" and high != "inf" else [])


@pytest.mark.parametrize(("schedule", "field"), SPANS)
def test_numbers_outside_a_span_are_refused(schedule: type[Any], field: str) -> None:
    span = SPANS[schedule, field]
    for value in outside(span):
        with pytest.raises(ValueError, match="must be") as info:
            made(schedule, field, value)
        assert str(info.value) == f"{schedule.__name__}.{field} must be in {span}, got {value!r}"


@pytest.mark.parametrize(("schedule", "field"), SPANS)
def test_numbers_inside_a_span_are_taken(schedule: type[Any], field: str) -> None:
    span = SPANS[schedule, field]
    ends = [float(end) for end, bracket in zip(span[1:-1].split(", "), (span[0], span[-1]), strict=True) if bracket in "[]"]
    for value in (*ends, 0.5 + (span[:2] == "[1")):
        taken = made(schedule, field, value)
        assert getattr(taken, field) == value
        assert math.isfinite(taken(OptimizationState(epoch=2, iteration=2)))


@pytest.mark.parametrize(("schedule", "field"), SPANS)
@pytest.mark.parametrize("value", [True, np.False_, "0.5", None, 0.5j, np.array(0.5), [0.5], Fixed(0.5)], ids=repr)
def test_what_is_no_number_is_refused(schedule: type[Any], field: str, value: object) -> None:
    with pytest.raises(TypeError) as info:
        made(schedule, field, value)
    message = str(info.value)
    assert message.startswith(f"{schedule.__name__}.{field} must be a real number in {SPANS[schedule, field]}")
    assert message.endswith(f", got {value!r} ({type(value).__name__})")


@pytest.mark.parametrize(("schedule", "field"), COUNTS)
@pytest.mark.parametrize("value", [-1, 0, 1.0, "1", None, True, np.float64(2)], ids=repr)
def test_what_is_no_count_is_refused(schedule: type[Any], field: str, value: Any) -> None:
    least = COUNTS[schedule, field]
    if (value == 0 == least and value is not True) or (value is None and field == "times"):
        assert getattr(made(schedule, field, value), field) == value
        return
    with pytest.raises(ValueError if type(value) is int else TypeError) as info:
        made(schedule, field, value)
    assert str(info.value) == f"{schedule.__name__}.{field} must be an integer of at least {least}, got {value!r}"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Piecewise((), ()), ValueError, "Piecewise.boundaries must be one fewer than values, (), got ()"),
        (lambda: Piecewise((0.1, 0.2), (1, 2)), ValueError, "Piecewise.boundaries must be one fewer than values, (0.1, 0.2), got (1, 2)"),
        (lambda: Piecewise((0.1, -0.2), (1,)), ValueError, "Piecewise.values[1] must be in [0, inf), got -0.2"),
        (lambda: Piecewise(0.1, ()), TypeError, "Piecewise.values must be a sequence of numbers, got 0.1"),  # type: ignore[arg-type]
        (lambda: Piecewise((1.0, 2.0, 3.0), (2, 2)), ValueError, "Piecewise.boundaries must be in increasing order, got (2, 2)"),
        (lambda: Piecewise((1.0, 2.0), (-1,)), ValueError, "Piecewise.boundaries[0] must be an integer of at least 0, got -1"),
        (lambda: MultiStep(0.1, (3, 2)), ValueError, "MultiStep.milestones must be in increasing order, got (3, 2)"),
        (lambda: MultiStep(0.1, (3, 4.0)), TypeError, "MultiStep.milestones[1] must be an integer of at least 0, got 4.0"),  # type: ignore[arg-type]
        (lambda: MultiStep(0.1, "12"), TypeError, "MultiStep.milestones must be a sequence of integers, got '12'"),  # type: ignore[arg-type]
        (lambda: MultiStep(0.1, 30), TypeError, "MultiStep.milestones must be a sequence of integers, got 30"),  # type: ignore[arg-type]
        (lambda: Sequence([RAMP], [3]), ValueError, f"Sequence.boundaries must be one fewer than schedules, ({RAMP!r},), got (3,)"),
        (lambda: Sequence([RAMP, FALL], [0]), ValueError, "Sequence.boundaries[0] must be an integer of at least 1, got 0"),
        (lambda: Sequence([RAMP, FALL, 1], [3, 3]), ValueError, "Sequence.boundaries must be in increasing order, got [3, 3]"),
        (lambda: Sequence([RAMP, Exp], [3]), TypeError, f"Sequence.schedules[1] must be a finite number or a scheduler, got {Exp!r} (the class; call it)"),  # type: ignore[list-item]
        (lambda: Sequence(RAMP, []), TypeError, f"Sequence.schedules must be a sequence of schedules, got {RAMP!r}"),  # type: ignore[arg-type]
        (
            lambda: Sequence([0.1, 0.2], [3]),
            ValueError,
            "Sequence.clock must be 'epoch' or 'iteration', which 0.1, 0.2 does not settle, got None",
        ),
        (
            lambda: Sequence([1.0, RAMP, Exp(0.1)], [3, 5]),
            ValueError,
            f"Sequence.clock must be 'epoch' or 'iteration', which 1.0, {RAMP!r}, Exp(0.1) does not settle, got None",
        ),
        (
            lambda: Sequence([RAMP, Exp(0.1)], [3], clock="iteration"),
            ValueError,
            "Sequence.clock must be 'epoch', which Exp(0.1) counts and which does not begin anew with another counter, got 'iteration'",
        ),
        (
            lambda: Delay(lambda state: 0.1, 3),
            ValueError,
            "Delay.clock must be 'epoch' or 'iteration', which",
        ),
        (
            lambda: Delay(RAMP, 3, clock="epoch"),
            ValueError,
            f"Delay.clock must be 'iteration', which {RAMP!r} counts and which does not begin anew with another counter, got 'epoch'",
        ),
        (lambda: Repeat(RAMP, 3, clock="batch"), ValueError, "Repeat.clock must be 'epoch' or 'iteration', got 'batch'"),  # type: ignore[arg-type]
        (lambda: Warmup("0.1", 3), TypeError, "Warmup.inner must be a finite number or a scheduler, got '0.1' (str)"),  # type: ignore[arg-type]
        (lambda: Warmup(math.nan, 3), ValueError, "Warmup.inner must be finite, got nan"),
        (lambda: Plateau(Exp), TypeError, f"Plateau.inner must be a finite number or a scheduler, got {Exp!r} (the class; call it)"),  # type: ignore[arg-type]
        (lambda: Lambda(0.1, 0.5), TypeError, "Lambda.function must be a function, got 0.5"),  # type: ignore[arg-type]
        (lambda: Lambda(0.1, float), TypeError, f"Lambda.function must be a function, got {float!r}"),
        (lambda: learning_rate.per_step(0.5), TypeError, "PerStep.function must be a function, got 0.5"),  # type: ignore[arg-type]
        (lambda: OneCycle(0.1, 9, rise=0.6, three_phase=True), ValueError, "OneCycle.rise must be at most 0.5 for three phases, got 0.6"),
        (lambda: momentum.OneCycle(9, rise=0.6, three_phase=True), ValueError, "OneCycle.rise must be at most 0.5 for three phases, got 0.6"),
        (lambda: RAMP.clamp("a"), TypeError, "clamp(low=) must be a finite number or a scheduler, got 'a' (str)"),  # type: ignore[arg-type]
        (lambda: RAMP.clamp(high=True), TypeError, "clamp(high=) must be a finite number or a scheduler, got True (bool)"),
        (lambda: learning_rate.minimum(RAMP), TypeError, f"minimum takes two or more schedules, got ({RAMP!r},)"),
        (lambda: learning_rate.maximum(RAMP, None), TypeError, "maximum[1] must be a finite number or a scheduler, got None (NoneType)"),  # type: ignore[arg-type]
        (lambda: Combination("**", RAMP, 2), ValueError, "Combination.operation must be one of '+', '-', '*', '/', 'minimum', 'maximum', got '**'"),
        (lambda: Combination(["+"], RAMP, 2), ValueError, "Combination.operation must be one of '+', '-', '*', '/', 'minimum', 'maximum', got ['+']"),  # type: ignore[arg-type]
        (lambda: RAMP / 0, ValueError, f"Combination.right must not be 0, by which {RAMP!r} is divided"),
        (lambda: RAMP.clamp(0.4, 0.1), ValueError, "clamp(high=) must be at least low, 0.4, got 0.1"),
        (lambda: RAMP * math.inf, ValueError, "Combination.right must be finite, got inf"),
        (lambda: RAMP * {}, TypeError, "unsupported operand type(s) for *: 'Linear' and 'dict'"),  # type: ignore[operator]
        (lambda: None + RAMP, TypeError, "unsupported operand type(s) for +: 'NoneType' and 'Linear'"),  # type: ignore[operator]
        (lambda: np.ones(2) * RAMP, TypeError, "unsupported operand type(s) for *: 'numpy.ndarray' and 'Linear'"),
        (lambda: RAMP**2, TypeError, "unsupported operand type(s) for ** or pow(): 'Linear' and 'int'"),  # type: ignore[operator]
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        make()
    assert str(info.value).startswith(message)


@pytest.mark.parametrize(("schedule", "field"), [*FLAGS, *WORDS], ids=str)
@pytest.mark.parametrize("value", ["yes", 1, None, ["min"]], ids=repr)
def test_words_and_flags_there_are_none_of(schedule: type[Any], field: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)) as info:
        made(schedule, field, value)
    wanted = WORDS.get((schedule, field), "True or False")
    assert str(info.value) == f"{schedule.__name__}.{field} must be {wanted}, got {value!r}"


@pytest.mark.parametrize("schedule", DRIVEN, ids=shown)
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
        lambda: Cosine(0.1, 10, 0.01),  # type: ignore[misc]
        lambda: Linear(0.1, 10, 0.01),  # type: ignore[misc]
        lambda: Cyclic(0.1, 0.2, 10),  # type: ignore[misc]
        lambda: Warmup(0.1, 10, 0.01),  # type: ignore[misc]
    ],
)
def test_all_but_values_and_lengths_goes_by_name(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="argument"):
        make()


def test_what_both_namespaces_have_is_one_thing_but_for_the_mirrors() -> None:
    shared = set(learning_rate.__all__) & set(momentum.__all__)
    different = {name for name in shared if getattr(learning_rate, name) is not getattr(momentum, name)}
    assert different == {"Cyclic", "OneCycle"}
    assert get_learning_rate(learning_rate.Fixed(0.1), OptimizationState()) == 0.1


@pytest.mark.parametrize("value", [None, "0.1", math.nan, math.inf, np.ones(2), True, np.True_, 1j, np.array(1j)], ids=repr)
@pytest.mark.parametrize(
    "make", [learning_rate.per_step, lambda f: Lambda(1.0, f), lambda f: Warmup(f, 2), lambda f: 0.5 * Delay(f, 1, clock="epoch")]
)
def test_what_a_function_may_not_give(make: Any, value: Any) -> None:
    def foreign(_: object) -> Any:
        return value

    schedule = make(foreign)
    with pytest.raises((TypeError, ValueError), match="finite") as info:
        schedule(OptimizationState(epoch=3, iteration=3))
    assert f"{foreign!r}" in str(info.value)
    given = value.item() if getattr(value, "ndim", None) == 0 else value
    assert f"got {value!r}" in str(info.value) or f"got {given!r}" in str(info.value)


@pytest.mark.parametrize("number", [np.float32(0.5), np.array(0.5), np.float16(0.5), np.int8(1), 1])
def test_numbers_that_functions_give_may_be_arrays_of_one(number: Any) -> None:
    value = learning_rate.per_step(lambda step: number)(OptimizationState(iteration=1))
    assert type(value) is float
    assert value == number


def test_steps_of_other_libraries_are_ints_that_count_from_zero_or_one() -> None:
    asked: list[Any] = []
    zero, one = (learning_rate.per_step(lambda step: asked.append(step) or 0.0, first=first) for first in (0, 1))  # type: ignore[func-returns-value, arg-type]
    for t in (1, 2, 10):
        zero(at("iteration", t))
        one(at("iteration", t))
    assert asked == [0, 1, 1, 2, 9, 10]
    assert {type(step) for step in asked} == {int}


def test_a_foreign_scheduler_in_a_composition_sees_a_clock_that_begins_anew() -> None:
    seen: list[OptimizationState] = []

    def foreign(state: OptimizationState) -> float:
        seen.append(state)
        return 0.5

    now = OptimizationState(batch_size=8, epoch=4, batch=3, iteration=25, held=5)
    (2 * Sequence([0.1, foreign], [15], clock="iteration"))(now)
    Warmup(foreign, 100)(now)
    Delay(foreign, 3, clock="epoch")(now)
    (foreign * RAMP)(now)  # type: ignore[operator]
    assert [(state.epoch, state.iteration, state.held) for state in seen] == [(4, 5, 0), (4, 1, 0), (1, 20, 0), (4, 20, 0)]
    assert {(state.batch_size, state.batch) for state in seen} == {(8, 3)}
    Warmup(foreign, 10)(OptimizationState(iteration=3))
    assert (seen[4].epoch, seen[4].iteration) == (0, 1)
    now.held = 0
    (foreign * RAMP)(now)  # type: ignore[operator]
    assert seen[5] is now


def test_the_first_of_a_sequence_may_count_what_it_likes_for_it_does_not_begin_anew() -> None:
    rate = Sequence([Warmup(Step(0.8, 1, gamma=0.5), 4), Linear(0.4, 2)], [2])
    assert rate.clock == "epoch"
    assert rate.clocks == {"epoch", "iteration"}
    state = OptimizationState()
    seen = [rate(state) for _ in state.epochs(4) for _ in state.batches("abc")]
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="Sequence.clock can be neither for"):
        Sequence([0.1, rate], [2], clock="epoch")


def test_a_warm_up_by_iterations_leaves_the_epochs_of_what_it_warms_up() -> None:
    rate = Warmup(Step(0.8, 2, gamma=0.5), 5) * Linear(1.0, 10, end=0.0)
    state = OptimizationState()
    seen = []
    for _ in state.epochs(4):
        for _ in state.batches("abc"):
            seen.append(rate(state))
    steps = [0.8] * 6 + [0.4] * 6
    ramp = [0.2, 0.4, 0.6, 0.8] + [1.0] * 8
    line = [1 - epoch / 10 for epoch in (1, 2, 3, 4) for _ in range(3)]
    assert seen == pytest.approx([a * b * c for a, b, c in zip(steps, ramp, line, strict=True)], rel=1e-14)


class TestNoise:
    """The noise of NoisyLinearCosine."""

    def noises(self, seed: int, count: int = 4000) -> Any:
        flat = NoisyLinearCosine(1.0, 1e9, periods=0, alpha=9, beta=0, initial_variance=0.25, variance_decay=0, seed=seed)
        values = np.array([flat(OptimizationState(epoch=t)) for t in range(1, count + 1)])
        return (values - 10 + np.arange(1, count + 1) / 1e9) / 0.5

    def test_it_is_that_of_a_normal_distribution(self) -> None:
        noises = self.noises(0)
        shares = np.arange(0.5, 4000) / 4000
        normal = np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in np.sort(noises)])
        assert np.abs(normal - shares).max() < 1.63 / math.sqrt(4000)  # Kolmogorov and Smirnov, 1 %
        assert abs(np.corrcoef(noises[1:], noises[:-1])[0, 1]) < 0.04

    def test_seeds_have_noises_of_their_own(self) -> None:
        assert abs(np.corrcoef(self.noises(0), self.noises(1))[0, 1]) < 0.04
        np.testing.assert_array_equal(self.noises(5, 10), self.noises(5, 10))

    def test_it_is_the_same_in_every_run_and_version(self) -> None:
        assert self.noises(0, 4) == pytest.approx(PINNED, rel=1e-12)

    def test_its_variance_falls_as_it_should_and_rests_at_the_end(self) -> None:
        noise = self.noises(2, 40)
        curve = NoisyLinearCosine(1.0, 20, periods=0, alpha=9, beta=0, initial_variance=0.25, variance_decay=0.8, seed=2)
        for t in range(1, 41):
            line = 10 - min(t / 20, 1)
            expected = noise[min(t, 20) - 1] * 0.5 / math.pow(1 + min(t, 20), 0.4)
            assert curve(OptimizationState(epoch=t)) - line == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("length", [10, 9.5])
    def test_it_rests_with_the_curve(self, length: float) -> None:
        curve = NoisyLinearCosine(0.1, length, periods=1, alpha=5, seed=2)
        assert len({curve(OptimizationState(epoch=t)) for t in (10, 11, 12, 1000)}) == 1

    def test_no_rate_is_negative(self) -> None:
        curve = NoisyLinearCosine(0.1, 100, beta=0)
        values = [curve(OptimizationState(epoch=t)) for t in range(1, 101)]
        assert min(values) == 0.0
        assert 5 < values.count(0.0) < 80


PINNED = [-1.1059954512309818, 1.706411686714407, -0.712865072307324, -0.7190726149311508]


@pytest.mark.parametrize("schedule", [Fixed(0.1), Exp(0.1), 2 * Exp(0.1), Warmup(0.1, 2)], ids=repr)
@pytest.mark.parametrize("state", [5, None, 0.5])
def test_a_step_in_the_place_of_the_clock_is_an_error_that_says_so(schedule: Any, state: Any) -> None:
    with pytest.raises(TypeError) as info:
        schedule(state)
    assert str(info.value) == f"{schedule!r} is a function of a clock, an OptimizationState, got {state!r}"


def test_the_table_of_defaults_is_of_use() -> None:
    """What `repr` takes for a default is what there is without the argument."""
    for schedule in EVERY:
        for field in attrs.fields(type(schedule)):
            if field.init and field.default is not attrs.NOTHING:
                required = {
                    other.name: getattr(schedule, other.name)
                    for other in attrs.fields(type(schedule))
                    if other.init and other.name != field.name
                }
                if default(schedule, field) is not None or field.name == "times":  # numbers alone count nothing
                    assert getattr(type(schedule)(**required), field.name) == default(schedule, field)


@pytest.mark.parametrize("number", [np.array([0.5]), np.ones((1, 1), np.float32) / 2])
def test_functions_of_other_libraries_may_give_arrays_of_one(number: Any) -> None:
    assert learning_rate.per_step(lambda step: number)(at("iteration", 1)) == 0.5
    with pytest.raises(TypeError, match="must be a finite number, got"):  # a scheduler gives a number, there as in an optimizer
        Warmup(lambda state: number, 2)(at("iteration", 1))


def test_fractional_lengths_step_where_they_should() -> None:
    restarts = CosineRestarts(1.0, 200 / 6)
    assert [restarts(at("epoch", t)) for t in (101, 201, 301)] == [1.0, 1.0, 1.0]
    staircase = Exp(1.0, gamma=0.5, every=90 / 7, staircase=True)
    assert [staircase(at("epoch", t)) for t in (90, 91, 180, 181)] == [0.5**6, 0.5**7, 0.5**13, 0.5**14]
    cycles = Polynomial(1.0, 17 / 7, cycle=True)
    assert cycles(at("epoch", 17)) == pytest.approx(0.0, abs=1e-9)
    growing = CosineRestarts(1.0, 10, period_factor=1.1)  # 10 + 11 is 21, and a unit later the second restart
    assert growing(at("epoch", 22)) == pytest.approx(1.0, abs=1e-12)
    assert growing(at("epoch", 21)) < 0.05


@pytest.mark.parametrize(("period", "factor"), [(10, 1 + 1e-7), (100, 1.001), (1, 2), (3, 10**6), (0.5, 1.5), (0.001, 1 + 1e-9)])
def test_restarts_are_found_at_once_however_many_there_are(period: float, factor: float) -> None:
    curve = CosineRestarts(1.0, period, period_factor=factor)
    for done in (0, 1, 10**3, 10**9, 10**12):
        restarts, begun, length = curve._period_at(done)
        near = 1e-9 + 1e-12 * done
        assert begun - near <= done < begun + length + near
        assert begun == pytest.approx(period * math.expm1(restarts * math.log1p(factor - 1)) / (factor - 1), rel=1e-11)
        assert length == pytest.approx(period * math.exp(restarts * math.log1p(factor - 1)), rel=1e-6)


@pytest.mark.parametrize("period", ["10", "7", "2.5", "10000", "1000000"])
@pytest.mark.parametrize("factor", ["1.1", "1.3", "1.05", "1.5", "1.001", "1.0001", "1.000001", "2", "3", "10"])
def test_restarts_are_where_decimals_put_them(period: str, factor: str) -> None:
    first, growth = (int(text) if text.isdigit() else float(text) for text in (period, factor))
    curve = CosineRestarts(1.0, first, period_factor=growth)
    begun, length = Fraction(0), Fraction(period)
    for _ in range(12):
        first_unit = math.ceil(begun)  # done before the unit in which the restart is seen
        for done in (first_unit, first_unit + 1):
            if done < begun + length:
                expected = math.cos(math.pi * float((done - begun) / length) / 2) ** 2
                assert curve.curve(done + 1) == pytest.approx(expected, abs=1e-6), done
        begun, length = begun + length, length * Fraction(factor)
        last = math.ceil(begun) - 1
        share = float((last - (begun - length / Fraction(factor))) / (length / Fraction(factor)))
        assert curve.curve(last + 1) == pytest.approx(math.cos(math.pi * share / 2) ** 2, abs=1e-6), last


def test_what_counts_both_cannot_begin_anew() -> None:
    warm = Warmup(Cosine(0.1, 20), 500)
    for clock in ("epoch", "iteration"):
        with pytest.raises(
            ValueError, match=f"^Delay.clock can be neither for .*, got '{clock}'; put a warm-up around the whole"
        ):
            Delay(warm, 3, clock=clock)  # type: ignore[arg-type]


def test_the_schedules_of_a_sequence_have_to_agree_on_the_clock() -> None:
    for members in ([Cosine(0.1, 10), InverseSqrt(0.1, 10)], [Step(0.1, 30), Warmup(0.1, 100)]):
        with pytest.raises(ValueError, match="Sequence.clock must be 'epoch' or 'iteration', which .* does not settle, got None"):
            Sequence(members, [5])
    assert Sequence([RAMP, Cosine(0.1, 10)], [5], clock="epoch").clocks == {"epoch", "iteration"}


def test_an_unbounded_interval_prints_as_finite() -> None:
    assert str(Interval(low=-math.inf)) == "finite"


ELSEWHERE = {  # what is held to a permille by tests of its own
    *((Plateau, field) for field in ("factor", "threshold", "floor")),
    *((NoisyLinearCosine, field) for field in ("initial_variance", "variance_decay")),
}


@pytest.mark.parametrize(("schedule", "field"), [key for key in SPANS if key not in ELSEWHERE])
def test_every_number_matters_in_some_row(schedule: type[Any], field: str) -> None:
    """So that the rows above hold all of them to a permille."""
    rows = [row for row, _ in CURVES + COMPOSED if type(row) is schedule and getattr(row, field)]
    nearby = [
        attrs.evolve(row, **{field: getattr(row, field) * (0.999 if SPANS[schedule, field][-2] == "1" else 1.001)})
        for row in rows
    ]
    states = [at(getattr(row, "clock", "iteration"), unit) for row in rows[:1] for unit in UNITS]
    moved = [
        abs(near(state) - row(state)) > 1e-6 * row(state) for row, near in zip(rows, nearby, strict=True) for state in states
    ]
    assert any(moved)


@pytest.mark.parametrize("t", [782, 1862, 10**6 + 1])
@pytest.mark.parametrize("length", [4.6, 4.9, 0.3, 7.1])
def test_rounding_at_the_joints_of_fractional_lengths_leaves_no_curve_outside_its_ends(length: float, t: int) -> None:
    states = [OptimizationState(epoch=k, iteration=k) for k in range(t - 20, t + 20)]
    for curve in (
        Polynomial(0.1, length, power=0.5, cycle=True),
        Cyclic(0.0, 0.1, up=length),
        momentum.Cyclic(0.0, 0.1, up=length),
        CosineRestarts(0.1, length, period_factor=1.1),
        Exp(0.1, every=length, staircase=True),
    ):
        assert all(0.0 <= curve(state) <= 0.1 for state in states)
