"""What holds of schedules whatever their numbers are: where they are monotone, where they join, and where they rest."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_schedules import schedules
from updaters import OptimizationState, momentum
from updaters.learning_rate import (
    Cosine,
    CosineRestarts,
    Cyclic,
    Delay,
    Exp,
    Inv,
    InverseSqrt,
    Linear,
    LinearCosine,
    MultiStep,
    NaturalExp,
    Noam,
    OneCycle,
    Piecewise,
    Polynomial,
    Repeat,
    Sequence,
    Step,
    Warmup,
    WarmupStableDecay,
)
from updaters.schedules import Schedule

values = st.floats(1e-6, 10.0)
shares = st.floats(0.0, 1.0)
lengths = st.integers(1, 500)
long = st.integers(100_000, 10_000_000)
many = settings(max_examples=60, deadline=None)


def read(schedule: Any, *units: int) -> list[float]:
    return [schedule(OptimizationState(epoch=t, iteration=t)) for t in units]


@many
@given(values, shares, lengths, st.floats(0.01, 1.0), st.floats(0.0, 4.0), st.booleans())
def test_decays_never_rise_and_stay_between_their_ends(
    value: float, share: float, length: int, gamma: float, power: float, staircase: bool
) -> None:
    end = value * share
    falling: list[tuple[Any, float]] = [
        (Exp(value, gamma=gamma, every=length, staircase=staircase, begin=length, floor=end), end),
        (NaturalExp(value, rate=power, every=length, staircase=staircase), 0.0),
        (Inv(value, gamma=gamma, power=power, every=length, staircase=staircase), 0.0),
        (Step(value, length, gamma=gamma), 0.0),
        (MultiStep(value, (length, 2 * length), gamma=gamma), value * gamma**2),
        (Linear(value, length, end=end), end),
        (Polynomial(value, length, end=end, power=power), end),
        (Cosine(value, length, end=end), end),
        (Delay(Cosine(value, length, end=end), length), end),
    ]
    for schedule, low in falling:
        seen = read(schedule, *range(1, 50), *range(length, 3 * length + 2, max(length // 7, 1)), 10**7)
        ordered = read(schedule, *sorted([*range(1, 50), *range(length, 3 * length + 2, max(length // 7, 1))]), 10**7)
        tiny = 1e-15 * value
        assert all(after <= before + tiny for before, after in pairwise(ordered)), schedule
        assert low - tiny <= min(seen), schedule
        assert max(seen) <= value + tiny, schedule


@many
@given(values, shares, lengths, st.floats(0.1, 4.0))
def test_ramps_never_fall(value: float, share: float, length: int, power: float) -> None:
    for schedule in (
        Linear(value * share, length, end=value),
        Polynomial(value * share, length, end=value, power=power),
        Cosine(value * share, length, end=value),
        Warmup(value, length, start=value * share),
        Warmup(Linear(value, 10, end=2 * value, clock="iteration"), length),
    ):
        seen = read(schedule, *range(1, length + 20))
        assert all(after >= before - 1e-15 * value for before, after in pairwise(seen)), schedule


@many
@given(values, values, lengths, lengths, st.sampled_from(["linear", "cosine"]), st.floats(0.0, 0.5), st.booleans())
def test_curves_with_an_end_reach_it_on_time_and_stay(
    value: float, end: float, length: int, more: int, shape: Any, rise: float, three_phase: bool
) -> None:
    ending: list[tuple[Any, int, float]] = [
        (Linear(value, length, end=end), length, end),
        (Polynomial(value, length, end=end, power=2), length, end),
        (Cosine(value, length, end=end), length, end),
        (OneCycle(value, length, end=end, rise=rise, shape=shape, three_phase=three_phase), length, end),
        (momentum.OneCycle(length, high=0.9, rise=rise, shape=shape, three_phase=three_phase), length, 0.9),
        (WarmupStableDecay(value, warmup=more, stable=length, decay=more, end=end), 2 * more + length, end),
        (Warmup(Linear(value, length, end=end, clock="iteration"), more), length + more, end),
        (Sequence([value, Linear(value, length, end=end)], [more]), length + more, end),
        (Delay(Linear(value, length, end=end), more), length + more, end),
        (Repeat(Linear(value, length, end=end), length + more, times=2), 2 * length + more, end),
        (Piecewise((value, end), (length,)), length + 1, end),
    ]
    for schedule, last, rest in ending:
        assert read(schedule, last, last + 1, last + more, 10**9) == [rest] * 4, schedule
    line = LinearCosine(value, length, periods=more, alpha=0.25)
    assert len(set(read(line, length, length + 1, 10**9))) == 1


@many
@given(values, long, long, long, shares, st.sampled_from(["linear", "cosine", "sqrt"]))
def test_parts_join_without_a_jump(value: float, first: int, second: int, third: int, share: float, shape: Any) -> None:
    start = value * share
    wave = ["cosine", "linear"][shape == "linear"]
    total = first + second + third
    whole = first + second
    cosine = Cosine(value, second, end=start, clock="iteration")
    joined: list[tuple[Any, list[int]]] = [
        (WarmupStableDecay(value, warmup=first, stable=second, decay=third, start=start, end=start), [first, whole, total]),
        (InverseSqrt(value, first), [first]),
        (Noam(value=value * math.sqrt(first), model_size=1, warmup=first), [first]),
        (OneCycle(value, total, rise=0.25, start=start, end=0.0, shape=wave), [total // 4, total]),
        (OneCycle(value, total, rise=0.25, start=start, end=0.0, shape=wave, three_phase=True), [total // 4, total // 2, total]),
        (momentum.OneCycle(total, rise=0.25, shape=wave), [total // 4, total]),
        (Cyclic(start, value, up=first, down=second), [first, whole, whole + first]),
        (Cyclic(start, value, up=first, down=second, mode="triangular2"), [first, whole, whole + first]),
        (momentum.Cyclic(up=first, down=second), [first, whole, whole + first]),
        (Warmup(cosine, first, start=start), [first, whole]),
        (Warmup(Delay(cosine, third), first), [first, first + third, total]),
        (Sequence([Linear(start, first, end=value, clock="iteration"), cosine], [first]), [first, whole]),
        (Exp(value, gamma=0.5, every=first, begin=second), [second]),
        (Delay(Exp(value, gamma=0.5, every=first), second), [second]),
        (Cosine(value, first, end=start, periodic=True), [first, 2 * first]),
    ]
    for schedule, joints in joined:
        for joint in joints:
            before, at, after = read(schedule, max(joint - 1, 1), joint, joint + 1)
            height = 0.1 if type(schedule).__module__.endswith("mirrors") else value
            step = 10 * height / 100_000  # more than the steepest of these moves in a unit, and a ten-thousandth of the whole
            root = 2 * value / math.sqrt(third) if shape == "sqrt" else 0.0
            assert abs(at - before) <= step + root, (schedule, joint)
            assert abs(after - at) <= step + root, (schedule, joint)


@many
@given(values, lengths, st.integers(1, 9), st.floats(0.0, 2.0), shares, st.integers(0, 9))
def test_restarts_are_at_their_peaks_exactly_when_they_should_be(
    value: float, period: int, factor: int, peak_factor: float, share: float, restarts: int
) -> None:
    floor = value * share
    schedule = CosineRestarts(value, period, period_factor=factor, peak_factor=peak_factor, floor=floor)
    begun = sum(period * factor**i for i in range(restarts))
    peak = floor + (value - floor) * peak_factor**restarts
    assert read(schedule, begun + 1) == pytest.approx([peak], rel=1e-14)
    last = period * factor**restarts
    lowest = floor + (peak - floor) * math.sin(math.pi / last / 2) ** 2
    assert read(schedule, begun + last) == pytest.approx([lowest], rel=1e-9, abs=1e-15 * max(peak, 1.0))


@many
@given(values, lengths, st.integers(1, 40), st.integers(1, 200))
def test_compositions_are_their_members_on_clocks_of_their_own(value: float, length: int, by: int, t: int) -> None:
    inner = Polynomial(value, length, end=value / 3, power=1.7)
    assert read(Sequence([0.5, inner], [by]), by + t) == read(inner, t)
    assert read(Delay(inner, by), by + t) == read(inner, t)
    assert read(Repeat(inner, length), 3 * length + 1 + t % length) == read(inner, 1 + t % length)
    assert read(Repeat(inner, length, times=2), length + t) == read(inner, t)
    assert read(Delay(inner, by), 1 + t % by) == [inner.curve(0)]


clocks = st.builds(
    OptimizationState, st.integers(1, 64), st.integers(1, 300), st.integers(1, 99), st.integers(100, 10**6), st.integers(0, 99)
)


@settings(max_examples=150, deadline=None)
@given(schedules(), st.lists(clocks, min_size=2, max_size=5))
def test_any_composition_is_a_pure_function_of_a_clock_that_it_leaves_alone(schedule: Schedule, states: list[Any]) -> None:
    before, shown = copy.deepcopy((schedule, states)), repr(schedule)
    there = [schedule(state) for state in states]
    assert [schedule(state) for state in reversed(states)][::-1] == there
    assert (schedule, states, repr(schedule)) == (*before, shown)
    assert all(type(value) is float and math.isfinite(value) for value in there)
    # What is held does not count, and neither does the batch.
    for state, value in zip(states, there, strict=True):
        epoch, iteration = state.epoch, state.iteration - state.held
        assert schedule(OptimizationState(epoch=epoch, batch=7, iteration=iteration)) == value


@settings(max_examples=150, deadline=None)
@given(schedules("iteration"), st.integers(1, 60), st.integers(1, 200))
def test_any_composition_may_be_composed_again(schedule: Schedule, by: int, t: int) -> None:
    (value,) = read(schedule, t)
    assert read(Sequence([0.5, schedule], [by], clock="iteration"), by + t) == [value]
    assert read(Sequence([schedule, 0.5], [t], clock="iteration"), t) == [value]
    assert read(Delay(schedule, by, clock="iteration"), by + t) == [value]
    assert read(Warmup(schedule, by), by + t) == [value]
    assert read(Repeat(schedule, t + by, clock="iteration"), 2 * (t + by) + t) == [value]
    assert read(2 * schedule + 1, t) == [2 * value + 1]
    assert read(schedule.clamp(0.25, 0.5), t) == [min(max(value, 0.25), 0.5)]
    begun = read(Delay(schedule, by, clock="iteration"), 1)
    assert read(Warmup(schedule, 2 * by), by) == pytest.approx([begun[0] / 2], rel=1e-14)


@many
@given(values, st.floats(0.0, 4.0), lengths, st.integers(1, 1000))
def test_a_curve_is_proportional_to_its_value(value: float, factor: float, length: int, t: int) -> None:
    for curve in (Exp(value), Inv(value), Cosine(value, length), CosineRestarts(value, length), Step(value, length)):
        scaled = type(curve)(**{"value": value * factor, **({} if isinstance(curve, Exp | Inv) else _length(curve))})
        assert read(scaled, t) == pytest.approx(read(factor * curve, t), rel=1e-13, abs=1e-300)


def _length(curve: Any) -> dict[str, Any]:
    return {name: getattr(curve, name) for name in ("length", "period", "every") if hasattr(curve, name)}
