"""The schedule that listens: its state machine beside another one, what counts as better, and how it keeps and composes."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import updaters as up
from updaters import OptimizationState
from updaters.learning_rate import Cosine, Linear, Plateau, Sequence, Warmup

NOW = OptimizationState(epoch=1, iteration=1)


def reductions(plateau: Plateau, metrics: list[Any]) -> list[int]:
    """The numbers of the calls that reduced."""
    calls = []
    for call, metric in enumerate(metrics, 1):
        before = plateau.reductions
        plateau.observe(metric)
        calls += [call] * (plateau.reductions - before)
    return calls


def test_a_metric_that_stands_still_reduces_as_it_does_in_pytorch() -> None:
    assert reductions(Plateau(0.1, patience=2, cooldown=2), [1.0] * 16) == [4, 9, 14]
    assert reductions(Plateau(0.1, patience=2), [1.0] * 16) == [4, 7, 10, 13, 16]
    assert reductions(Plateau(0.1, patience=0), [1.0] * 4) == [2, 3, 4]
    assert reductions(Plateau(0.1), [1.0] * 30) == [12, 23]


metrics = st.lists(
    st.sampled_from([0.5, 0.9, 0.99, 0.9999, 0.99995, 1.0, 1.5, -1.0, -1.5, -0.99995, math.nan, math.inf]), max_size=60
)


@settings(max_examples=300, deadline=None)
@given(
    metrics, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["min", "max"]), st.booleans(), st.sampled_from([0, 1e-4, 0.3])
)
def test_the_state_machine(seen: list[float], patience: int, cooldown: int, mode: Any, relative: bool, threshold: float) -> None:
    plateau = Plateau(1.0, factor=0.5, patience=patience, cooldown=cooldown, mode=mode, relative=relative, threshold=threshold)
    best, waited, resting, rate = None, 0, 0, 1.0
    for metric in seen:
        plateau.observe(metric)
        sign = 1 if mode == "min" else -1
        bound = None if best is None else sign * best - threshold * (abs(best) if relative else 1)
        if math.isfinite(metric) and (bound is None or sign * metric < bound):
            best, waited = metric, 0
        else:
            waited += 1
        if resting:
            resting, waited = resting - 1, 0
        if waited > patience:
            rate, resting, waited = rate / 2, cooldown, 0
        assert (plateau.best, plateau.bad, plateau.cooling, plateau(NOW)) == (best, waited, resting, rate)


@pytest.mark.parametrize(
    ("mode", "relative", "best", "worse", "better"),
    [
        ("min", True, 2.0, 1.80001, 1.79999),
        ("min", True, -2.0, -2.19999, -2.20001),
        ("max", True, 2.0, 2.19999, 2.20001),
        ("max", True, -2.0, -1.80001, -1.79999),
        ("min", False, 2.0, 1.90001, 1.89999),
        ("min", False, -2.0, -2.09999, -2.10001),
        ("max", False, 2.0, 2.09999, 2.10001),
        ("max", False, -2.0, -1.90001, -1.89999),
        ("min", True, 0.0, 0.0, -1e-9),
    ],
)
def test_what_counts_as_better(mode: Any, relative: bool, best: float, worse: float, better: float) -> None:
    plateau = Plateau(0.1, mode=mode, relative=relative, threshold=0.1)
    plateau.observe(best)
    assert (plateau.is_better(worse), plateau.is_better(better)) == (False, True)
    plateau.observe(worse)
    assert (plateau.best, plateau.bad) == (best, 1)
    plateau.observe(better)
    assert (plateau.best, plateau.bad) == (better, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 10**400, np.float32("nan"), np.array(math.nan)])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_metrics_that_are_not_finite_are_bad(bad: Any, mode: Any) -> None:
    plateau = Plateau(0.1, patience=1, mode=mode)
    plateau.observe(bad)
    assert (plateau.best, plateau.bad) == (None, 1)
    plateau.observe(1.0)
    assert (plateau.best, plateau.bad) == (1.0, 0)
    assert reductions(plateau, [bad, bad]) == [2]
    assert plateau.best == 1.0


def test_the_best_metric_is_kept_up_to_date_in_a_cooldown() -> None:
    plateau = Plateau(0.1, patience=0, cooldown=3)
    for metric in (1.0, 1.0, 0.5, 0.7):
        plateau.observe(metric)
    assert (plateau.best, plateau.cooling, plateau.reductions) == (0.5, 1, 1)


def test_the_value_is_that_of_the_inner_schedule_times_the_factor_to_the_reductions() -> None:
    inner = Linear(1.0, 10)
    plateau = Plateau(inner, factor=0.3, patience=0)
    for metric in (1.0, 1.0, 1.0):
        plateau.observe(metric)
    for epoch in (1, 5, 12):
        state = OptimizationState(epoch=epoch)
        assert plateau(state) == inner(state) * 0.3**2


def test_no_reduction_goes_below_the_floor_and_none_raises_a_lower_value() -> None:
    plateau = Plateau(Linear(0.0, 10, end=1.0), factor=0.1, patience=0, floor=0.3)
    before = [plateau(OptimizationState(epoch=epoch)) for epoch in range(1, 11)]
    assert before == [Linear(0.0, 10, end=1.0)(OptimizationState(epoch=epoch)) for epoch in range(1, 11)]
    for _ in range(3):
        plateau.observe(1.0)
    after = [plateau(OptimizationState(epoch=epoch)) for epoch in range(1, 11)]
    assert after == [min(value, 0.3) for value in before]


def test_reading_moves_nothing() -> None:
    plateau = Plateau(0.1, patience=0)
    plateau.observe(1.0)
    before = plateau.state_dict()
    assert [plateau(NOW) for _ in range(5)] == [0.1] * 5
    up.get_updater(up.SGD(plateau))("w", np.ones(2), np.ones(2))
    plateau.is_better(0.0)
    repr(plateau)
    assert plateau.state_dict() == before == {"best": 1.0, "bad": 0, "cooling": 0, "reductions": 0}


def test_what_it_remembers_can_be_read_and_put_back() -> None:
    plateau = Plateau(0.1, factor=0.5, patience=1, cooldown=2)
    for metric in (1.0, 2.0, 3.0, 0.5, 1.0):
        plateau.observe(metric)
    assert plateau.state_dict() == {"best": 0.5, "bad": 0, "cooling": 0, "reductions": 1}
    twin = Plateau(0.1, factor=0.5, patience=1, cooldown=2)
    assert twin != plateau
    assert hash(twin) == hash(plateau)
    twin.load_state_dict(plateau.state_dict())
    assert twin == plateau
    assert [reductions(one, [1.0] * 9) for one in (plateau, twin)] == [[2, 6]] * 2
    for copied in (copy.deepcopy(plateau), pickle.loads(pickle.dumps(plateau))):
        assert copied == plateau
        copied.observe(-5.0)
        assert copied != plateau


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        ({}, ValueError, "Plateau.load_state_dict must be given best, bad, cooling, reductions, got "),
        (
            {"best": 1.0, "bad": 0, "cooling": 0},
            ValueError,
            "Plateau.load_state_dict must be given best, bad, cooling, reductions, got best",
        ),
        (
            {"best": 1.0, "bad": 0, "cooling": 0, "reductions": 0, "lr": 1},
            ValueError,
            "Plateau.load_state_dict must be given best, bad",
        ),
        ({"best": math.nan, "bad": 0, "cooling": 0, "reductions": 0}, ValueError, "Plateau.best must be finite, got nan"),
        (
            {"best": "1", "bad": 0, "cooling": 0, "reductions": 0},
            TypeError,
            "Plateau.best must be a finite number, got '1' (str)",
        ),
        (
            {"best": None, "bad": -1, "cooling": 0, "reductions": 0},
            ValueError,
            "Plateau.bad must be an integer of at least 0, got -1",
        ),
        (
            {"best": None, "bad": 0, "cooling": 0.5, "reductions": 0},
            TypeError,
            "Plateau.cooling must be an integer of at least 0, got 0.5",
        ),
        (
            {"best": None, "bad": 0, "cooling": 0, "reductions": True},
            TypeError,
            "Plateau.reductions must be an integer of at least 0, got True",
        ),
        (None, TypeError, "Plateau.load_state_dict must be given a mapping, got None"),
        ({1: 2}, ValueError, "Plateau.load_state_dict must be given best, bad, cooling, reductions, got 1"),
    ],
)
def test_what_cannot_be_put_back_changes_nothing(numbers: Any, error: type[Exception], message: str) -> None:
    plateau = Plateau(0.1, patience=0)
    for _ in range(3):
        plateau.observe(2.0)
    before = plateau.state_dict()
    with pytest.raises(error) as info:
        plateau.load_state_dict(numbers)
    assert str(info.value).startswith(message)
    assert plateau.state_dict() == before


@pytest.mark.parametrize("metric", ["1", None, True, np.True_, np.array(True), 1j, [1.0], np.ones(2)], ids=repr)
def test_what_is_no_metric_changes_nothing(metric: Any) -> None:
    plateau = Plateau(0.1)
    with pytest.raises(TypeError) as info:
        plateau.observe(metric)
    assert str(info.value).startswith("Plateau.observe(metric) must be a finite number, got ")
    assert plateau.state_dict() == Plateau(0.1).state_dict()


class Tensor:
    """An array of one as PyTorch has it, whose `size` is a method."""

    shape = (1,)
    size = staticmethod(lambda: (1,))
    item = staticmethod(lambda: 1.0)


@pytest.mark.parametrize("metric", [1, np.float32(1), np.array(1.0), np.ones((1, 1)), np.int64(1), Tensor()])
def test_metrics_may_be_arrays_of_one(metric: Any) -> None:
    plateau = Plateau(0.1)
    plateau.observe(metric)
    assert type(plateau.best) is float
    assert plateau.best == 1.0


def test_its_fields_and_its_numbers_are_not_for_assignment() -> None:
    plateau = Plateau(0.1)
    for name in ("factor", "inner", "best", "reductions"):
        with pytest.raises(AttributeError):
            setattr(plateau, name, 0.5)


def test_warm_up_then_plateau_then_cosine() -> None:
    plateau = Plateau(0.4, factor=0.5, patience=0)
    rate = Sequence([Warmup(plateau, 4), Cosine(0.1, 6, clock="iteration")], [10])
    update = up.get_updater(up.SGD(rate), OptimizationState())
    weight = np.zeros(1)
    moved = []
    for iteration in update.state.batches(range(1, 19)):
        before = weight.copy()
        update("w", np.ones(1), weight)
        moved.append(float(before[0] - weight[0]))
        if iteration >= 5:
            plateau.observe(1.0 if iteration < 8 else 0.5)
    cosine = [0.05 * (1 + math.cos(math.pi * t / 6)) for t in range(1, 7)]
    assert moved == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.2, 0.1, 0.1, 0.05, *cosine, 0.0, 0.0], abs=1e-15)
    assert plateau.reductions == 12
