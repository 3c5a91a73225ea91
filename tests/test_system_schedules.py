"""The schedules of MXNet.jl, TensorLayerX, OneFlow and OpenSeq2Seq: every step, their arguments, and what is refused."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.golden.signatures import signature
from tests.system_schedules import (
    CASES,
    OPTIONS,
    PLATEAUS,
    STEPS,
    SYSTEMS,
    Halving,
    at,
    names,
    observed,
    of,
    os2s,
    plateau,
    tlx,
    wave,
)
from updaters.compat import oneflow, openseq2seq, tensorlayerx
from updaters.compat.tensorlayerx.lr import LRScheduler

FLAT = [(name, *case) for name, cases in CASES.items() for case in cases]
BY_CLOCK = [(*case, clock) for case in FLAT for clock in ("iteration", "epoch") if clock == "iteration" or "Nadam" not in case[0]]


def test_every_schedule_has_an_oracle() -> None:
    assert sorted(names()) == sorted([*CASES, *PLATEAUS])


@pytest.mark.parametrize(("name", "make", "base", "oracle", "clock"), BY_CLOCK)
def test_each_update_sees_the_step_of_the_systems_update(
    name: str, make: Callable[..., Any], base: float, oracle: Callable[[], Iterator[float]], clock: str
) -> None:
    schedule = make(clock)
    for step, expected in enumerate(islice(oracle(), STEPS)):
        value = schedule(at(clock, step + 1))
        assert type(value) is float
        assert abs(value - expected) <= 1e-12 * base, step
    assert step == STEPS - 1


@pytest.mark.parametrize(("name", "make", "base", "oracle"), FLAT)
def test_a_schedule_is_a_pure_function_of_the_clock(name: str, make: Callable[..., Any], base: float, oracle: Any) -> None:
    schedule = make("iteration")
    shown, states = repr(schedule), [at("iteration", k) for k in range(1, STEPS + 1)]
    forward = [schedule(state) for state in states]
    assert [schedule(state) for state in reversed(states)] == forward[::-1]
    assert [schedule(at("iteration", k, held=3)) for k in range(1, STEPS + 1)] == forward
    assert [copy.deepcopy(schedule)(state) for state in states] == forward
    assert [(schedule * 2)(state) for state in states] == [value * 2 for value in forward]
    assert repr(schedule) == shown


@pytest.mark.parametrize(("name", "make", "base", "oracle"), [case for case in FLAT if "Lambda" not in case[0]])
def test_a_schedule_can_be_pickled(name: str, make: Callable[..., Any], base: float, oracle: Any) -> None:
    schedule = make("iteration")
    other = pickle.loads(pickle.dumps(schedule))
    assert [other(at("iteration", k)) for k in (1, 5, 50)] == [schedule(at("iteration", k)) for k in (1, 5, 50)]


@pytest.mark.parametrize(
    ("name", "make", "base", "oracle", "clock"), [case for case in BY_CLOCK if not re.search("fixed|Fixed|Null", case[0])]
)
def test_before_the_first_update_there_is_no_rate(
    name: str, make: Callable[..., Any], base: float, oracle: Any, clock: str
) -> None:
    with pytest.raises(ValueError, match=f"has no value yet, for the clock's {clock} count stands at 0"):
        make(clock)(at(clock, 0))


# Values that systems gave, or that follow from their formulas by hand


GIVEN: list[tuple[Any, list[float]]] = [
    (tlx.LinearWarmup(0.5, 3, 0.0, 1.0), [0.0, 1 / 3, 2 / 3, 0.5, 0.5]),
    (tlx.PiecewiseDecay([2, 4], [1.0, 0.5, 0.1]), [1.0, 1.0, 0.5, 0.5, 0.1]),
    (os2s.piecewise_constant(1.0, [2, 4], [0.5, 0.1]), [1.0, 1.0, 1.0, 0.5, 0.5, 0.1]),
    (tlx.NoamDecay(4, 4), [0.0, 0.0625, 0.125]),
    (os2s.transformer_policy(1.0, 4, 4), [0.0625, 0.125, 0.1875, 0.25]),
    (tlx.PolynomialDecay(1.0, 4, 0.0, cycle=True), [1.0, 0.75, 0.5, 0.25, 0.0, 0.375]),
    (of.PolynomialLR(1.0, 4, 0.0, cycle=True), [0.75, 0.75, 0.5, 0.25, 0.0, 0.375]),
    (os2s.cosine_decay(1.0, 4, min_lr=0.1), [1.0, 0.8681980515339464, 0.55, 0.2318019484660536, 0.1, 0.1]),
    (of.CosineDecayLR(1.0, 4, 0.1), [1.0, 0.8681980515339464, 0.55, 0.2318019484660536, 0.1, 0.1]),
    (of.CosineAnnealingLR(1.0, 4, 0.1), [1.0, 0.8681980515339464, 0.55, 0.2318019484660536, 0.1, 0.2318019484660536, 0.55]),
    (os2s.poly_decay(1.0, 4, warmup_steps=2), [0.0, 0.375, 0.5, 0.25, 0.0]),
    (os2s.inv_poly_decay(1.0, 2, 0.5), [1.0, 2 / 3, 0.5, 0.4, 1 / 3]),
]


@pytest.mark.parametrize(("schedule", "values"), GIVEN)
def test_values_that_are_known(schedule: Any, values: list[float]) -> None:
    for k, value in enumerate(values, start=1):
        clock = next(iter(schedule.clocks))
        assert schedule(at(clock, k)) == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_the_closed_form_of_the_annealing_is_its_recursion() -> None:
    base, low, length = 0.3, 0.05, 7
    schedule, rate = tlx.CosineAnnealingDecay(base, length, low), base
    for step in range(1, STEPS):
        if (step - 1 - length) % (2 * length) == 0:
            rate += (base - low) * (1 - math.cos(math.pi / length)) / 2
        else:
            ratio = (1 + math.cos(math.pi * step / length)) / (1 + math.cos(math.pi * (step - 1) / length))
            rate = (rate - low) * ratio + low
        assert schedule(at("iteration", step + 1)) == pytest.approx(rate, abs=1e-12)


# Plateaus


@pytest.mark.parametrize("called", PLATEAUS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_a_plateau_is_the_systems_state_machine(called: str, options: dict[str, Any], mode: str, shift: float) -> None:
    for seed in range(5):
        rates = set()
        for schedule, rate, cooling in observed(called, options, mode, shift, seed):
            for state in (at("iteration", 1), at("epoch", 9), up.OptimizationState()):
                assert abs(schedule(state) - rate) <= 1e-13
            assert schedule.cooling == cooling
            rates.add(rate)
        assert len(rates) > 1 or options.get("min_lr", 0) > 0.1


@pytest.mark.parametrize("kind", PLATEAUS.values())
def test_a_metric_that_does_not_move_reduces_at_the_calls_that_the_systems_do(kind: Any) -> None:
    schedule, reduced = kind(1.0, patience=2, cooldown=2), []
    for call in range(1, 16):
        before = schedule(up.OptimizationState())
        schedule.step(1.0)
        if schedule(up.OptimizationState()) < before:
            reduced.append(call)
    assert reduced == [4, 9, 14]


def test_the_best_metric_of_a_cooldown_counts_in_oneflow_alone() -> None:
    theirs, frozen = of.ReduceLROnPlateau(1.0, patience=0, cooldown=1), tlx.ReduceOnPlateau(1.0, patience=0, cooldown=1)
    for metric in (3.0, 3.0, 1.0):
        theirs.step(metric)
        frozen.step(metric)
    assert (theirs.best, frozen.best) == (1.0, 3.0)
    theirs.step(2.0)
    frozen.step(2.0)
    assert (theirs.reductions, frozen.reductions) == (2, 1)
    assert (theirs.in_cooldown, frozen.cooling) == (True, 0)
    theirs.step(2.0)
    assert not theirs.in_cooldown


@pytest.mark.parametrize("kind", PLATEAUS.values())
def test_a_nan_or_infinity_is_bad_and_never_the_best(kind: Any) -> None:
    for wrong in (math.nan, math.inf, -math.inf):
        schedule = kind(1.0, patience=1)
        schedule.step(wrong)
        assert (schedule.best, schedule.bad) == (None, 1)
        schedule.step(5.0)
        assert (schedule.best, schedule.bad) == (5.0, 0)


@pytest.mark.parametrize("kind", PLATEAUS.values())
def test_a_negative_metric_that_is_a_little_worse_is_no_improvement(kind: Any) -> None:
    schedule = kind(1.0)
    for metric in (-1.0, -0.99995):
        schedule.step(metric)
    assert (schedule.best, schedule.bad) == (-1.0, 1)


@pytest.mark.parametrize("kind", PLATEAUS.values())
def test_a_reduction_that_is_too_small_is_not_made_though_the_cooldown_begins(kind: Any) -> None:
    schedule = plateau(kind, 0.5, factor=0.5, patience=0, cooldown=1, smallest=0.125)
    rates = []
    for _ in range(7):
        schedule.step(1.0)
        rates.append((schedule(up.OptimizationState()), schedule.cooling))
    # 0.25 less is made, 0.125 less is not
    assert rates == [(0.5, 0), (0.25, 1), (0.25, 0), (0.25, 1), (0.25, 0), (0.25, 1), (0.25, 0)]


@pytest.mark.parametrize("kind", PLATEAUS.values())
def test_a_rate_below_the_lowest_stays_as_it_is(kind: Any) -> None:
    schedule = kind(0.1, factor=0.5, patience=0, min_lr=0.3)
    for _ in range(5):
        schedule.step(1.0)
    assert schedule(up.OptimizationState()) == 0.1


@pytest.mark.parametrize("kind", PLATEAUS.values())
def test_what_a_plateau_remembers_can_be_kept_and_copied(kind: Any) -> None:
    schedule = kind(0.5, factor=0.5, patience=1, cooldown=3)
    for metric in (1.0, 2.0, 2.0, 2.0):
        schedule.step(metric)
    other = kind(0.5, factor=0.5, patience=1, cooldown=3)
    assert other != schedule
    other.load_state_dict(schedule.state_dict())
    assert other == schedule == pickle.loads(pickle.dumps(schedule)) == copy.deepcopy(schedule)
    assert other(up.OptimizationState()) == 0.25
    assert eval(repr(schedule), {type(schedule).__name__: type(schedule)}) == kind(0.5, factor=0.5, patience=1, cooldown=3)
    assert attrs.evolve(schedule, patience=4) == kind(0.5, factor=0.5, patience=4, cooldown=3)
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        schedule.factor = 0.1


@pytest.mark.parametrize("kind", PLATEAUS.values())
@pytest.mark.parametrize("metric", [np.float32(2.0), np.array(2.0), np.array([2.0]), 2])
def test_a_metric_may_be_an_array_of_one(kind: Any, metric: Any) -> None:
    schedule = kind(1.0)
    schedule.step(metric)
    assert (schedule.best, type(schedule.best)) == (2.0, float)


@pytest.mark.parametrize("kind", PLATEAUS.values())
@pytest.mark.parametrize("cooling", [0, 2])
def test_a_metric_that_is_no_number_is_an_error_and_changes_nothing(kind: Any, cooling: int) -> None:
    schedule = kind(1.0, patience=0, cooldown=2)
    for _ in range(2 if cooling else 1):
        schedule.step(1.0)
    before = schedule.state_dict()
    assert before["cooling"] == cooling
    for wrong in ("1", None, True, np.ones(2)):
        with pytest.raises(TypeError, match=rf"^{type(schedule).__name__}\.observe\(metric\) must be a finite number, got"):
            schedule.step(wrong)
    assert schedule.state_dict() == before


# Arguments


def positional(**parameters: Any) -> list[list[Any]]:
    return [[name, "POSITIONAL_OR_KEYWORD", value] for name, value in parameters.items()]


NOTHING = inspect.Parameter.empty
CLOCK = [["clock", "KEYWORD_ONLY", "iteration"]]
EPOCHS = positional(last_epoch=-1, verbose=False) + CLOCK
LAST = [*positional(last_step=-1, verbose=False), ["clock", "KEYWORD_ONLY", "epoch"]]
PLATEAU = {"mode": "min", "factor": 0.1, "patience": 10, "threshold": 0.0001, "threshold_mode": "rel", "cooldown": 0, "min_lr": 0}

SIGNATURES: dict[str, list[list[Any]]] = {
    "tensorlayerx.LRScheduler": positional(learning_rate=0.1) + EPOCHS,
    "tensorlayerx.StepDecay": positional(learning_rate=NOTHING, step_size=NOTHING, gamma=0.1) + EPOCHS,
    "tensorlayerx.CosineAnnealingDecay": positional(learning_rate=NOTHING, T_max=NOTHING, eta_min=0) + EPOCHS,
    "tensorlayerx.NoamDecay": positional(d_model=NOTHING, warmup_steps=NOTHING, learning_rate=1.0) + EPOCHS,
    "tensorlayerx.PiecewiseDecay": positional(boundaries=NOTHING, values=NOTHING) + EPOCHS,
    "tensorlayerx.NaturalExpDecay": positional(learning_rate=NOTHING, gamma=NOTHING) + EPOCHS,
    "tensorlayerx.InverseTimeDecay": positional(learning_rate=NOTHING, gamma=NOTHING) + EPOCHS,
    "tensorlayerx.PolynomialDecay": positional(learning_rate=NOTHING, decay_steps=NOTHING, end_lr=0.0001, power=1.0, cycle=False) + EPOCHS,
    "tensorlayerx.LinearWarmup": positional(learning_rate=NOTHING, warmup_steps=NOTHING, start_lr=NOTHING, end_lr=NOTHING) + EPOCHS,
    "tensorlayerx.ExponentialDecay": positional(learning_rate=NOTHING, gamma=NOTHING) + EPOCHS,
    "tensorlayerx.MultiStepDecay": positional(learning_rate=NOTHING, milestones=NOTHING, gamma=0.1) + EPOCHS,
    "tensorlayerx.LambdaDecay": positional(learning_rate=NOTHING, lr_lambda=NOTHING) + EPOCHS,
    "tensorlayerx.ReduceOnPlateau": positional(learning_rate=NOTHING, **PLATEAU, epsilon=1e-8, verbose=False),
    "oneflow.CosineAnnealingLR": positional(lr=NOTHING, T_max=NOTHING, eta_min=0.0) + LAST,
    "oneflow.CosineDecayLR": positional(lr=NOTHING, decay_steps=NOTHING, alpha=0.0) + LAST,
    "oneflow.ExponentialLR": positional(lr=NOTHING, gamma=NOTHING) + LAST,
    "oneflow.LambdaLR": positional(lr=NOTHING, lr_lambda=NOTHING) + LAST,
    "oneflow.MultiStepLR": positional(lr=NOTHING, milestones=NOTHING, gamma=0.1) + LAST,
    "oneflow.PolynomialLR": positional(lr=NOTHING, decay_batch=NOTHING, end_learning_rate=0.0001, power=1.0, cycle=False) + LAST,
    "oneflow.ReduceLROnPlateau": positional(lr=NOTHING, **PLATEAU, eps=1e-8, verbose=False),
    "oneflow.StepLR": positional(lr=NOTHING, step_size=NOTHING, gamma=0.1) + LAST,
    "openseq2seq.exp_decay": positional(
        learning_rate=NOTHING, decay_steps=NOTHING, decay_rate=NOTHING, use_staircase_decay=NOTHING, begin_decay_at=0, min_lr=0.0
    )
    + CLOCK,
    "openseq2seq.fixed_lr": positional(learning_rate=NOTHING) + CLOCK,
    "openseq2seq.inv_poly_decay": positional(
        learning_rate=NOTHING, decay_steps=NOTHING, min_lr=NOTHING, power=1.0, begin_decay_at=0, warmup_steps=0, name="learning_rate"
    )
    + CLOCK,
    "openseq2seq.piecewise_constant": positional(
        learning_rate=NOTHING, boundaries=NOTHING, decay_rates=NOTHING, steps_per_epoch=None
    )
    + CLOCK,
    "openseq2seq.poly_decay": positional(
        learning_rate=NOTHING, decay_steps=NOTHING, power=1.0, begin_decay_at=0, min_lr=0.0, warmup_steps=0
    )
    + CLOCK,
    "openseq2seq.cosine_decay": positional(
        learning_rate=NOTHING, decay_steps=NOTHING, power=1.0, begin_decay_at=0, min_lr=0.0, warmup_steps=0
    )
    + CLOCK,
    "openseq2seq.transformer_policy": positional(
        learning_rate=NOTHING, d_model=NOTHING, warmup_steps=NOTHING, max_lr=None, coefficient=1.0, dtype=None
    )
    + CLOCK,
}  # fmt: skip


def named(name: str) -> Any:
    system, _, function = name.partition(".")
    return getattr(SYSTEMS[system], function)


def test_every_schedule_has_a_signature_in_the_table() -> None:
    assert SIGNATURES.keys() == {f"{system}.{name}" for system, module in SYSTEMS.items() for name in module.__all__}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_order_and_values_of_arguments_are_the_systems(name: str) -> None:
    ours, theirs = signature(named(name)), SIGNATURES[name]
    assert ours == theirs
    assert [type(value) for *_, value in ours] == [type(value) for *_, value in theirs]


RIGHT: dict[str, Any] = {
    "learning_rate": 0.1, "lr": 0.1, "step_size": 2, "T_max": 4, "d_model": 8, "warmup_steps": 4, "boundaries": [2], "values": [1, 2],
    "gamma": 0.5, "decay_steps": 4, "start_lr": 0.0, "end_lr": 0.1, "milestones": [2], "lr_lambda": wave, "decay_batch": 4,
    "decay_rate": 0.5, "use_staircase_decay": False, "min_lr": 0.01, "decay_rates": [0.5],
}  # fmt: skip


def make(name: str, **arguments: Any) -> Any:
    needed = {argument: RIGHT[argument] for argument, _, value in SIGNATURES[name] if value is NOTHING}
    return named(name)(**needed | arguments)


ARGUMENTS = [
    (name, argument)
    for name, parameters in SIGNATURES.items()
    for argument, *_ in parameters
    if argument not in ("name", "dtype")
]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_an_error_speaks_of_the_argument_that_was_given(name: str, argument: str) -> None:
    make(name)
    for wrong in (math.nan, "one", 1j):
        words = "is not taken" if argument in ("last_epoch", "last_step") else "must be"
        with pytest.raises((TypeError, ValueError), match=rf"^{name.partition('.')[2]}\.{argument}(\[0\])? {words}"):
            make(name, **{argument: wrong})


@pytest.mark.parametrize(("name", "argument"), [one for one in ARGUMENTS if one[1] in ("last_epoch", "last_step")])
def test_where_a_run_stands_is_the_clocks_to_say(name: str, argument: str) -> None:
    make(name, **{argument: np.int64(-1)})
    for wrong in (0, 5, -1.0, True, None):
        message = f"{name.partition('.')[2]}.{argument} is not taken, got {wrong!r}: the clock says where a run stands"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            make(name, **{argument: wrong})


@pytest.mark.parametrize(("name", "argument"), [one for one in ARGUMENTS if one[1] == "verbose"])
def test_nothing_is_printed(name: str, argument: str) -> None:
    message = f"{name.partition('.')[2]}.verbose is not taken, got True: print what the schedule gives for the clock"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(name, verbose=True)
    with pytest.raises(TypeError, match=r"\.verbose must be True or False, got 1$"):
        make(name, verbose=1)


@pytest.mark.parametrize(("name", "argument"), [one for one in ARGUMENTS if one[1] in ("lr", "learning_rate")])
def test_an_optimizer_in_the_place_of_the_base_rate_is_an_error_that_says_so(name: str, argument: str) -> None:
    class Theirs:
        param_groups = ()

    for wrong in (oneflow.SGD(), up.Adam(), up.get_updater(up.SGD()), Theirs()):
        with pytest.raises(TypeError, match=rf"^{name.partition('.')[2]}\.{argument} must be the base rate, not an optimizer"):
            make(name, **{argument: wrong})


@pytest.mark.parametrize("name", of.__all__)
def test_oneflows_optimizer_is_no_argument(name: str) -> None:
    for call in (lambda: getattr(of, name)(oneflow.SGD()), lambda: getattr(of, name)(optimizer=oneflow.SGD())):
        with pytest.raises(TypeError, match=f"^{name} takes no optimizer: its place has the base rate"):
            call()


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: of.StepLR(up.SGD(0.1), 30),
        TypeError,
        "StepLR takes no optimizer: its place has the base rate, a number; "
        "the schedule that comes back goes to the optimizer as its lr",
    ),
    (lambda: tlx.StepDecay(0.1, 30, 1.0), ValueError, "StepDecay.gamma must be in (0, 1), got 1.0"),
    (lambda: tlx.StepDecay(0.1, 0), ValueError, "StepDecay.step_size must be an integer of at least 1, got 0"),
    (lambda: tlx.StepDecay(0.1, 2.5), TypeError, "StepDecay.step_size must be an integer of at least 1, got 2.5"),
    (lambda: tlx.StepDecay(-0.1, 2), ValueError, "StepDecay.learning_rate must be in [0, inf), got -0.1"),
    (lambda: tlx.StepDecay(0.1, 30, clock="batch"), ValueError, "StepDecay.clock must be 'epoch' or 'iteration', got 'batch'"),
    (lambda: Halving(0.1, 3, clock="batch"), ValueError, "Halving.clock must be 'epoch' or 'iteration', got 'batch'"),
    (lambda: Halving("0.1", 3), TypeError, "Halving.learning_rate must be a real number in [0, inf), got '0.1' (str)"),
    (lambda: tlx.MultiStepDecay(0.1, [5, 3]), ValueError, "MultiStepDecay.milestones must be in increasing order, got [5, 3]"),
    (lambda: tlx.MultiStepDecay(0.1, [3, 5], 1.5), ValueError, "MultiStepDecay.gamma must be in (0, 1), got 1.5"),
    (lambda: tlx.CosineAnnealingDecay(0.1, 0), ValueError, "CosineAnnealingDecay.T_max must be in (0, inf), got 0"),
    (lambda: tlx.CosineAnnealingDecay(0.1, 9, -1), ValueError, "CosineAnnealingDecay.eta_min must be in [0, inf), got -1"),
    (lambda: tlx.NoamDecay(0, 9), ValueError, "NoamDecay.d_model must be in (0, inf), got 0"),
    (lambda: tlx.NoamDecay(8, 0), ValueError, "NoamDecay.warmup_steps must be an integer of at least 1, got 0"),
    (
        lambda: tlx.PiecewiseDecay([1, 2], [0.1, 0.2]),
        ValueError,
        "PiecewiseDecay.boundaries must be one fewer than values, (0.1, 0.2), got (1, 2)",
    ),
    (lambda: tlx.NaturalExpDecay(0.1, -1), ValueError, "NaturalExpDecay.gamma must be in [0, inf), got -1"),
    (lambda: tlx.PolynomialDecay(0.1, 9, cycle=1), TypeError, "PolynomialDecay.cycle must be True or False, got 1"),
    (lambda: tlx.LinearWarmup(0.1, 0, 0.0, 0.1), ValueError, "LinearWarmup.warmup_steps must be an integer of at least 1, got 0"),
    (lambda: tlx.LinearWarmup(0.1, 9, 0.1, 0.1), ValueError, "LinearWarmup.end_lr must be above start_lr, 0.1, got 0.1"),
    (
        lambda: tlx.LinearWarmup("0.1", 9, 0, 0.1),
        TypeError,
        "LinearWarmup.learning_rate must be a real number in [0, inf) or a schedule, got '0.1' (str)",
    ),
    (
        lambda: tlx.LinearWarmup(tlx.StepDecay(0.1, 9, clock="epoch"), 9, 0, 0.1),
        ValueError,
        "LinearWarmup.clock must be 'epoch', which Step(0.1, 9) counts and which does not begin anew with another counter, "
        "got 'iteration'",
    ),
    (
        lambda: tlx.LambdaDecay(0.1, [1]),
        TypeError,
        "LambdaDecay.lr_lambda must be a function, got [1]: a group of parameters has a schedule of its own",
    ),
    (lambda: of.LambdaLR(0.1, LRScheduler), TypeError, f"LambdaLR.lr_lambda must be a function, got {LRScheduler!r}"),
    (lambda: tlx.ReduceOnPlateau(0.1, "low"), ValueError, "ReduceOnPlateau.mode must be 'min' or 'max', got 'low'"),
    (lambda: tlx.ReduceOnPlateau(0.1, factor=1), ValueError, "ReduceOnPlateau.factor must be in (0, 1), got 1"),
    (lambda: tlx.ReduceOnPlateau(0.1, epsilon=-1), ValueError, "ReduceOnPlateau.epsilon must be in [0, inf), got -1"),
    (
        lambda: of.ReduceLROnPlateau(0.1, threshold_mode="relative"),
        ValueError,
        "ReduceLROnPlateau.threshold_mode must be 'rel' or 'abs', got 'relative'",
    ),
    (
        lambda: of.ReduceLROnPlateau(0.1, min_lr=[0, 0]),
        TypeError,
        "ReduceLROnPlateau.min_lr must be a real number in [0, inf), got [0, 0] (list)",
    ),
    (lambda: of.CosineDecayLR(0.1, 9, -0.1), ValueError, "CosineDecayLR.alpha must be in [0, inf), got -0.1"),
    (lambda: of.ExponentialLR(0.1, 0), ValueError, "ExponentialLR.gamma must be in (0, inf), got 0"),
    (lambda: of.PolynomialLR(0.1, 0), ValueError, "PolynomialLR.decay_batch must be in (0, inf), got 0"),
    (lambda: of.PolynomialLR(0.1, 9, -1), ValueError, "PolynomialLR.end_learning_rate must be in [0, inf), got -1"),
    (lambda: os2s.exp_decay(0.1, 9, 0.0, True), ValueError, "exp_decay.decay_rate must be in (0, inf), got 0.0"),
    (lambda: os2s.inv_poly_decay(0.0, 9, 0.1), ValueError, "inv_poly_decay.learning_rate must be in (0, inf), got 0.0"),
    (lambda: os2s.inv_poly_decay(0.1, 9, 0.1, power=0), ValueError, "inv_poly_decay.power must be in (0, inf), got 0"),
    (
        lambda: os2s.inv_poly_decay(0.1, 9, 0.1, name="rate"),
        ValueError,
        "inv_poly_decay.name is not taken, got 'rate': a schedule has no name here",
    ),
    (
        lambda: os2s.piecewise_constant(0.1, [1, 2, 3], [0.5]),
        ValueError,
        "piecewise_constant.boundaries must be one fewer than [1, *decay_rates], (1.0, 0.5), got (1, 2, 3)",
    ),
    (
        lambda: os2s.piecewise_constant(0.1, [4, 3], [0.5, 0.5]),
        ValueError,
        "piecewise_constant.boundaries must be in increasing order, got [4, 3]",
    ),
    (
        lambda: os2s.piecewise_constant(0.1, [3, -4], [0.5, 0.5]),
        ValueError,
        "piecewise_constant.boundaries[1] must be an integer of at least 0, got -4",
    ),
    (
        lambda: os2s.piecewise_constant(0.1, [3, 4], [0.5, -0.5]),
        ValueError,
        "piecewise_constant.decay_rates[1] must be in [0, inf), got -0.5",
    ),
    (
        lambda: os2s.piecewise_constant(0.1, [3], 0.5),
        TypeError,
        "piecewise_constant.decay_rates must be a sequence of numbers, got 0.5",
    ),
    (
        lambda: os2s.piecewise_constant(0.1, [3], [0.5], 0),
        ValueError,
        "piecewise_constant.steps_per_epoch must be an integer of at least 1, got 0",
    ),
    (
        lambda: os2s.poly_decay(0.1, 9, begin_decay_at=-1),
        ValueError,
        "poly_decay.begin_decay_at must be an integer of at least 0, got -1",
    ),
    (lambda: os2s.cosine_decay(0.1, 9, min_lr=-1), ValueError, "cosine_decay.min_lr must be in [0, inf), got -1"),
    (
        lambda: os2s.transformer_policy(0.1, 9, 9, dtype="float32"),
        ValueError,
        "transformer_policy.dtype is not taken, got 'float32': rates are float64",
    ),
    (lambda: os2s.fixed_lr(0.1, clock="epochs"), ValueError, "fixed_lr.clock must be 'epoch' or 'iteration', got 'epochs'"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_is_refused_and_how(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_a_schedule_of_ones_own_must_give_a_number() -> None:
    class Broken(LRScheduler):
        def get_lr(self) -> Any:
            return "0.1"

    with pytest.raises(TypeError, match=r"^Broken\.get_lr\(\) must be a finite number, got '0\.1' \(str\)$"):
        Broken()(at("iteration", 1))
    with pytest.raises(NotImplementedError, match="^LRScheduler has no get_lr$"):
        LRScheduler()(at("iteration", 1))


def test_a_reading_of_ones_own_schedule_leaves_it_alone() -> None:
    schedule = Halving(0.5, 2)
    before = dict(vars(schedule))
    assert (schedule.get_lr(), schedule(at("iteration", 9)), schedule.get_lr()) == (0.5, 0.03125, 0.5)
    assert vars(schedule) == before
    assert repr(schedule) == "Halving(every=2, base_lr=0.5, clock='iteration')"


# In optimizers


OPTIMIZERS: list[tuple[str, Callable[[Any], Any]]] = [
    ("tensorlayerx", lambda rate: tensorlayerx.SGD(rate, momentum=0.9)),
    ("tensorlayerx", lambda rate: tensorlayerx.Adam(lr=rate)),
    ("oneflow", lambda rate: oneflow.SGD(rate, momentum=0.9)),
    ("oneflow", lambda rate: oneflow.LAMB(lr=rate)),
    ("openseq2seq", lambda rate: openseq2seq.NovoGrad(rate)),
    ("openseq2seq", lambda rate: openseq2seq.LARC(openseq2seq.AdamW(0.01, learning_rate=rate), 0.01)),
]


@pytest.mark.parametrize(("system", "optimizer"), OPTIMIZERS)
def test_every_schedule_is_a_learning_rate_of_its_systems_optimizers(system: str, optimizer: Callable[[Any], Any]) -> None:
    for name in (name for name in SIGNATURES if name.startswith(system) and not name.endswith("LRScheduler")):
        weights = []
        schedule = make(name)
        rates = [schedule(up.OptimizationState(epoch=k, iteration=k)) for k in range(1, 9)]
        for rate in (schedule, lambda state, rates=rates: rates[state.iteration - 1]):
            weight = np.array([1.0, -2.0])
            update = up.get_updater(optimizer(rate), backend="numpy")
            for k in range(1, 9):
                update.state.epoch = update.state.iteration = k
                update("w", np.array([0.5, -1.0 / k]), weight)
            weights.append(weight)
        assert weights[0].tolist() == weights[1].tolist() != [1.0, -2.0]


def test_a_step_of_gradient_descent_has_the_rate_of_its_step() -> None:
    weight, update = np.zeros(1), up.get_updater(up.SGD(of.StepLR(0.5, 2, 0.5, clock="iteration")), backend="numpy")
    passed = []
    for _ in update.state.batches(range(4)):
        update("w", np.ones(1), weight)
        passed.append(-weight.item())
    assert passed == [0.5, 1.0, 1.25, 1.5]


def test_a_subclass_of_lrscheduler_composes() -> None:
    warmed = up.learning_rate.Warmup(Halving(0.5, 2), 4)
    assert [warmed(at("iteration", k)) for k in (2, 4, 5, 7)] == [0.25, 0.5, 0.5, 0.25]
