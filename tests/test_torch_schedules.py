"""PyTorch's schedules: the rates that it gave, its arguments, and what is refused."""

import inspect
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests.golden.schedules import ScheduleCase, schedule_cases
from tests.golden.signatures import schedule_signatures, signature
from tests.schedule_parity import EQUAL, REFUSED, WITHOUT_BASE, WITHOUT_CLOCK, Clock, errors, made, rates
from updaters.compat import torch
from updaters.compat.torch import lr_scheduler as schedulers

CASES = [case for system, case in EQUAL if system == "torch"]
NAMED = {case.name: case for case in schedule_cases("torch")}
ENDED = [case for case in CASES if case.after is not None]


@pytest.mark.parametrize("clock", ["epoch", "iteration"])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_rates_and_momenta_are_those_that_pytorch_gave(case: ScheduleCase, clock: Clock) -> None:
    assert errors(case, clock).max() <= case.tolerance


def test_every_case_is_compared_or_refused_or_a_defect() -> None:
    defects = {case.name for case in NAMED.values() if case.defect}
    assert {case.name for case in CASES} | defects | REFUSED.keys() >= NAMED.keys()
    assert defects - REFUSED.keys() == DEFECTS.keys()


@pytest.mark.parametrize("case", [case for case in NAMED.values() if case.name in REFUSED], ids=repr)
def test_what_pytorch_gets_wrong_or_what_has_no_use_is_refused(case: ScheduleCase) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED[case.name])}$"):
        made(case.scheduler, case.lr, case.arguments, "epoch")


# Defects of PyTorch's, and what there is in their place


def after_the_peak(case: ScheduleCase) -> list[float]:
    start, end = 0.1, 0.1 / 25 / 1e4
    return [end + (start - end) * (1 + math.cos(math.pi * t / 99)) / 2 for t in range(100)]


def product(case: ScheduleCase) -> list[float]:
    return [0.1 * 0.99**t * (1 + math.cos(math.pi * t / 40)) / 2 for t in range(200)]


def plateau(case: ScheduleCase) -> list[float]:
    """The state machine, with a margin that is a fraction of the best metric's size."""
    settings = {"factor": 0.1, "patience": 10, "threshold": 1e-4, "mode": "min"} | case.arguments
    rate, best, bad, found = 0.1, None, 0, [0.1]
    assert case.metrics is not None
    for metric in case.metrics[:-1]:
        sign = 1 if settings["mode"] == "min" else -1
        if best is None or sign * metric < sign * best - settings["threshold"] * abs(best):
            best, bad = metric, 0
        else:
            bad += 1
        if bad > settings["patience"]:
            bad = 0
            if rate - rate * settings["factor"] > 1e-8:
                rate *= settings["factor"]
        found.append(rate)
    return found


DEFECTS: dict[str, Callable[[ScheduleCase], list[float]]] = {
    "OneCycleLR(max_lr=0.1, total_steps=100, pct_start=0.0)": after_the_peak,
    "ChainedScheduler(schedulers=[ExponentialLR(gamma=0.99), CosineAnnealingLR(T_max=40)]) over several periods": product,
    "ReduceLROnPlateau(factor=0.9, patience=4, threshold=0.1) of negative metrics": plateau,
    "ReduceLROnPlateau(factor=0.9, patience=4, threshold=0.1, mode='max') of negative metrics": plateau,
    "ReduceLROnPlateau(patience=5) of constant negative metrics": plateau,
    "ReduceLROnPlateau(patience=20, threshold=1.0) of falling metrics": plateau,
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_put_right(name: str) -> None:
    case = NAMED[name]
    assert case.defect
    expected = DEFECTS[name](case)
    assert not np.allclose(case.rates, expected[: len(case.rates)], rtol=1e-3)
    np.testing.assert_allclose(rates(case, "epoch")[0], expected[: len(case.rates)], rtol=0, atol=1e-13)


def test_chained_schedules_are_pytorchs_until_the_cosine_is_at_its_lowest() -> None:
    case = NAMED["ChainedScheduler(schedulers=[ExponentialLR(gamma=0.99), CosineAnnealingLR(T_max=40)]) over several periods"]
    assert errors(case, "epoch")[:41].max() <= case.tolerance


@pytest.mark.parametrize("case", ENDED, ids=repr)
def test_a_cycle_that_has_ended_stays_there(case: ScheduleCase) -> None:
    schedule = made(case.scheduler, case.lr, case.arguments, "iteration")
    last = len(case.rates)
    assert case.after is not None
    assert not math.isclose(case.after[0], case.rates[-1])
    for t in (last, last + 1, last + 2, 10 * last):
        assert schedule(up.OptimizationState(iteration=t)) == pytest.approx(case.rates[-1], rel=1e-12)
        assert (
            schedule.momentum is None
            or case.momenta is None
            or schedule.momentum(up.OptimizationState(iteration=t)) == pytest.approx(case.momenta[-1], rel=1e-12)
        )


@pytest.mark.parametrize(("steps", "share"), [(2, 0.3), (2, 0.5), (10, 0.1), (10, 0), (40, 0.02)])
def test_a_rise_of_a_step_or_less_begins_at_the_peak(steps: int, share: float) -> None:
    schedule = schedulers.OneCycleLR(0.5, steps, pct_start=share, anneal_strategy="linear")
    found = [schedule(up.OptimizationState(iteration=k)) for k in (1, steps)]
    assert found == [0.5, 0.5 / 25 / 1e4]
    assert schedule.momentum is not None
    assert [schedule.momentum(up.OptimizationState(iteration=k)) for k in (1, steps)] == [0.85, 0.95]


def test_a_cycle_of_three_phases_may_leave_the_last_none() -> None:
    schedule = schedulers.OneCycleLR(0.5, 9, pct_start=5 / 9, anneal_strategy="linear", three_phase=True)
    found = [schedule(up.OptimizationState(iteration=k)) for k in (1, 5, 9)]
    np.testing.assert_allclose(found, [0.02, 0.5, 0.02 / 1e4], rtol=1e-12)


def test_a_power_of_0_never_falls() -> None:
    schedule = schedulers.PolynomialLR(0.5, 2, power=0)
    assert [schedule(up.OptimizationState(epoch=k)) for k in (1, 2, 3, 4)] == [0.5] * 4


def test_a_constant_factor_of_0_is_taken() -> None:
    schedule = schedulers.ConstantLR(0.5, factor=0.0, total_iters=2)
    assert [schedule(up.OptimizationState(epoch=k)) for k in (1, 2, 3)] == [0.0, 0.0, 0.5]


def test_a_scale_of_ones_own_is_in_the_place_of_a_mode() -> None:
    def half(cycle: int) -> float:
        return 0.5

    plain, other = (schedulers.CyclicLR(0.0, 1.0, 2, mode=mode, scale_fn=half) for mode in ("triangular", "triangular2"))
    assert plain == other
    assert [other(up.OptimizationState(iteration=k)) for k in (1, 2, 3, 7)] == [0.0, 0.25, 0.5, 0.5]


def test_a_cycle_may_leave_the_momentum_alone() -> None:
    for scale in (None, math.sqrt):
        assert schedulers.CyclicLR(0.0, 1.0, 2, scale_fn=scale, cycle_momentum=False).momentum is None
    assert schedulers.OneCycleLR(1.0, 10, cycle_momentum=False).momentum is None


def test_a_cycle_says_what_it_counts() -> None:
    schedule = schedulers.SequentialLR([schedulers.CyclicLR(0.0, 1.0, 2), schedulers.OneCycleLR(1.0, 10)], [3])
    assert [schedule(up.OptimizationState(iteration=k)) for k in (1, 3, 4)] == [0.0, 1.0, 1.0 / 25]


def test_a_plateau_may_come_after_a_warm_up() -> None:
    plateau = schedulers.ReduceLROnPlateau(0.5, factor=0.5, patience=0)
    schedule = schedulers.SequentialLR([schedulers.LinearLR(0.5, 0.5, total_iters=2), plateau], [2])
    for _ in range(2):
        plateau.step(1.0)
    assert [schedule(up.OptimizationState(epoch=k)) for k in (1, 2, 3)] == [0.25, 0.375, 0.25]


def test_sequences_may_be_nested() -> None:
    warm = schedulers.SequentialLR([schedulers.ConstantLR(0.5, 0.5, 1), schedulers.StepLR(0.5, 1, 0.5)], [1])
    schedule = schedulers.SequentialLR([schedulers.StepLR(8.0, 1, 0.5), warm], [2])
    assert [schedule(up.OptimizationState(epoch=k)) for k in range(1, 6)] == [8.0, 4.0, 0.25, 0.5, 0.25]


# Arguments


@pytest.mark.parametrize("name", schedulers.__all__)
def test_names_order_and_values_of_arguments_are_pytorchs(name: str) -> None:
    ours = signature(getattr(schedulers, name))
    if name not in WITHOUT_BASE:
        assert ours.pop(0) == ["lr", "POSITIONAL_OR_KEYWORD", inspect.Parameter.empty]
    if name not in ("ChainedScheduler", "ReduceLROnPlateau"):
        clock = None if name in WITHOUT_CLOCK else "iteration" if name in ("CyclicLR", "OneCycleLR") else "epoch"
        assert ours.pop() == ["clock", "KEYWORD_ONLY", clock]
    theirs = schedule_signatures("torch")[name]
    assert ours == theirs
    assert [type(value) is bool for *_, value in ours] == [type(value) is bool for *_, value in theirs]


def test_the_submodule_comes_with_its_package() -> None:
    assert torch.lr_scheduler is schedulers
    assert set(schedule_signatures("torch")) == set(schedulers.__all__)


class Optimizer:
    param_groups = ()


@pytest.mark.parametrize(
    "optimizer", [Optimizer(), up.Adam(), torch.SGD(0.1), up.get_updater(torch.SGD(0.1))], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("name", schedulers.__all__)
def test_an_optimizer_is_no_base_rate(name: str, optimizer: object) -> None:
    function = getattr(schedulers, name)
    for call in (lambda: function(optimizer), lambda: function(optimizer, 30), lambda: function(optimizer=optimizer)):
        with pytest.raises(
            TypeError,
            match=f"^{name} takes no optimizer: (its place has the base rate, a number|it begins with \\w+); the schedule",
        ):
            call()


REQUIRED: dict[str, tuple[Any, ...]] = {
    "LambdaLR": (0.1, math.sqrt),
    "StepLR": (0.1, 30),
    "MultiStepLR": (0.1, [30]),
    "ConstantLR": (0.1,),
    "LinearLR": (0.1,),
    "ExponentialLR": (0.1, 0.9),
    "PolynomialLR": (0.1,),
    "CosineAnnealingLR": (0.1, 50),
    "CosineAnnealingWarmRestarts": (0.1, 10),
    "CyclicLR": (0.01, 0.1),
    "OneCycleLR": (0.1, 100),
    "SequentialLR": ([schedulers.StepLR(0.1, 30)], []),
}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_last_epoch_is_refused(name: str) -> None:
    message = f"{name}.last_epoch is not taken, got 5: the clock says where a run stands"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(schedulers, name)(*REQUIRED[name], last_epoch=5)
    getattr(schedulers, name)(*REQUIRED[name], last_epoch=-1)


@pytest.mark.parametrize("name", REQUIRED)
def test_an_error_names_the_base_rate_and_the_clock(name: str) -> None:
    if name == "SequentialLR":
        return
    first = {"CyclicLR": "base_lr", "OneCycleLR": "max_lr"}.get(name, "lr")
    for wrong, error in ((-0.1, ValueError), (math.inf, ValueError), ("0.1", TypeError), (True, TypeError)):
        with pytest.raises(error, match=rf"^{name}\.{first} must be "):
            getattr(schedulers, name)(wrong, *REQUIRED[name][1:])
    with pytest.raises(ValueError, match=f"^{name}.clock must be 'epoch' or 'iteration', got 'step'$"):
        getattr(schedulers, name)(*REQUIRED[name], clock="step")


STEP = schedulers.StepLR(0.1, 30)
WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: schedulers.LambdaLR(0.1, [math.sqrt]), TypeError, f"LambdaLR.lr_lambda must be a function, got {[math.sqrt]!r}: a group of parameters has a schedule of its own"),
    (lambda: schedulers.StepLR(0.1, 0), ValueError, "StepLR.step_size must be an integer of at least 1, got 0"),
    (lambda: schedulers.StepLR(0.1, 30, gamma=0), ValueError, "StepLR.gamma must be in (0, inf), got 0"),
    (lambda: schedulers.MultiStepLR(0.1, 30), TypeError, "MultiStepLR.milestones must be a sequence of integers, got 30"),
    (lambda: schedulers.MultiStepLR(0.1, [3, 1.5]), TypeError, "MultiStepLR.milestones[1] must be an integer of at least 0, got 1.5"),
    (lambda: schedulers.MultiStepLR(0.1, [3], -1), ValueError, "MultiStepLR.gamma must be in (0, inf), got -1"),
    (lambda: schedulers.ConstantLR(0.1, 1.5), ValueError, "ConstantLR.factor must be in [0, 1], got 1.5"),
    (lambda: schedulers.LinearLR(0.1, 1.5), ValueError, "LinearLR.start_factor must be in [0, 1], got 1.5"),
    (lambda: schedulers.LinearLR(0.1, 0.5, 2), ValueError, "LinearLR.end_factor must be in [0, 1], got 2"),
    (lambda: schedulers.ExponentialLR(0.1, 0.0), ValueError, "ExponentialLR.gamma must be in (0, inf), got 0.0"),
    (lambda: schedulers.PolynomialLR(0.1, 0), ValueError, "PolynomialLR.total_iters must be an integer of at least 1, got 0"),
    (lambda: schedulers.PolynomialLR(0.1, 5, -1), ValueError, "PolynomialLR.power must be in [0, inf), got -1"),
    (lambda: schedulers.CosineAnnealingLR(0.1, 0), ValueError, "CosineAnnealingLR.T_max must be an integer of at least 1, got 0"),
    (lambda: schedulers.CosineAnnealingLR(0.1, 5, -1), ValueError, "CosineAnnealingLR.eta_min must be in [0, inf), got -1"),
    (
        lambda: schedulers.CosineAnnealingWarmRestarts(0.1, 1.5),
        TypeError,
        "CosineAnnealingWarmRestarts.T_0 must be an integer of at least 1, got 1.5",
    ),
    (
        lambda: schedulers.CosineAnnealingWarmRestarts(0.1, 1, 0),
        ValueError,
        "CosineAnnealingWarmRestarts.T_mult must be an integer of at least 1, got 0",
    ),
    (
        lambda: schedulers.CosineAnnealingWarmRestarts(0.1, 1, eta_min=-1),
        ValueError,
        "CosineAnnealingWarmRestarts.eta_min must be in [0, inf), got -1",
    ),
    (lambda: schedulers.CyclicLR([0.1], 0.2), TypeError, "CyclicLR.base_lr must be a real number in [0, inf), got [0.1] (list)"),
    (lambda: schedulers.CyclicLR(0.1, -1), ValueError, "CyclicLR.max_lr must be in [0, inf), got -1"),
    (lambda: schedulers.CyclicLR(0.1, 0.2, 0), ValueError, "CyclicLR.step_size_up must be in (0, inf), got 0"),
    (lambda: schedulers.CyclicLR(0.1, 0.2, 5, 0), ValueError, "CyclicLR.step_size_down must be in (0, inf), got 0"),
    (
        lambda: schedulers.CyclicLR(0.1, 0.2, mode="sine"),  # type: ignore[arg-type]  # wrong on purpose
        ValueError,
        "CyclicLR.mode must be 'triangular' or 'triangular2' or 'exp_range', got 'sine'",
    ),
    (lambda: schedulers.CyclicLR(0.1, 0.2, scale_fn=0.5), TypeError, "CyclicLR.scale_fn must be a function, got 0.5"),
    (
        lambda: schedulers.CyclicLR(0.1, 0.2, scale_mode="epochs"),  # type: ignore[arg-type]  # wrong on purpose
        ValueError,
        "CyclicLR.scale_mode must be 'cycle' or 'iterations', got 'epochs'",
    ),
    (lambda: schedulers.CyclicLR(0.1, 0.2, cycle_momentum=1), TypeError, "CyclicLR.cycle_momentum must be True or False, got 1"),
    (lambda: schedulers.CyclicLR(0.1, 0.2, base_momentum=2), ValueError, "CyclicLR.base_momentum must be in [0, 1], got 2"),
    (lambda: schedulers.CyclicLR(0.1, 0.2, max_momentum=2), ValueError, "CyclicLR.max_momentum must be in [0, 1], got 2"),
    (
        lambda: schedulers.OneCycleLR(0.1, epochs=3),
        TypeError,
        "OneCycleLR takes total_steps, or epochs and steps_per_epoch, got total_steps=None, epochs=3 and steps_per_epoch=None",
    ),
    (lambda: schedulers.OneCycleLR(0.1, 1), ValueError, "OneCycleLR.total_steps must be an integer of at least 2, got 1"),
    (
        lambda: schedulers.OneCycleLR(0.1, epochs=1, steps_per_epoch=1),
        ValueError,
        "OneCycleLR.epochs * steps_per_epoch must be at least 2, got 1",
    ),
    (
        lambda: schedulers.OneCycleLR(0.1, epochs=0, steps_per_epoch=1),
        ValueError,
        "OneCycleLR.epochs must be an integer of at least 1, got 0",
    ),
    (lambda: schedulers.OneCycleLR(0.1, 9, pct_start=1.0), ValueError, "OneCycleLR.pct_start must be in [0, 1), got 1.0"),
    (lambda: schedulers.OneCycleLR(0.1, 9, div_factor=0), ValueError, "OneCycleLR.div_factor must be in (0, inf), got 0"),
    (lambda: schedulers.OneCycleLR(0.1, 9, final_div_factor=0), ValueError, "OneCycleLR.final_div_factor must be in (0, inf), got 0"),
    (
        lambda: schedulers.OneCycleLR(0.1, 9, anneal_strategy="cosine"),  # type: ignore[arg-type]  # wrong on purpose
        ValueError,
        "OneCycleLR.anneal_strategy must be 'cos' or 'linear', got 'cosine'",
    ),
    (lambda: schedulers.OneCycleLR(0.1, 9, base_momentum=2), ValueError, "OneCycleLR.base_momentum must be in [0, 1], got 2"),
    (lambda: schedulers.OneCycleLR(0.1, 9, max_momentum=-1), ValueError, "OneCycleLR.max_momentum must be in [0, 1], got -1"),
    (lambda: schedulers.OneCycleLR(0.1, 9, three_phase=1), TypeError, "OneCycleLR.three_phase must be True or False, got 1"),
    (lambda: schedulers.OneCycleLR(0.1, 9, cycle_momentum=0), TypeError, "OneCycleLR.cycle_momentum must be True or False, got 0"),
    (lambda: schedulers.SequentialLR([], []), TypeError, "SequentialLR.schedulers must be one or more schedules, got []"),
    (lambda: schedulers.SequentialLR(STEP, []), TypeError, f"SequentialLR.schedulers must be one or more schedules, got {STEP!r}"),
    (lambda: schedulers.SequentialLR([STEP, 0.1], [3]), TypeError, f"SequentialLR.schedulers must be one or more schedules, got {[STEP, 0.1]!r}"),
    (lambda: schedulers.SequentialLR([STEP], [3]), ValueError, "SequentialLR.milestones must be one fewer than the 1 schedulers, got (3,)"),
    (
        lambda: schedulers.SequentialLR([STEP, STEP, STEP], [5, 3]),
        ValueError,
        "SequentialLR.milestones must be in increasing order, got (5, 3)",
    ),
    (
        lambda: schedulers.SequentialLR([STEP, STEP], [1.5]),
        TypeError,
        "SequentialLR.milestones[0] must be an integer of at least 0, got 1.5",
    ),
    (
        lambda: schedulers.SequentialLR([STEP, schedulers.StepLR(0.1, 5, clock="iteration")], [3], clock="epoch"),
        ValueError,
        "SequentialLR.clock must be 'iteration', which Step(0.1, 5, clock='iteration') counts and which does not begin anew "
        "with another counter, got 'epoch'",
    ),
    (lambda: schedulers.ChainedScheduler([]), TypeError, "ChainedScheduler.schedulers must be one or more schedules, got []"),
    (
        lambda: schedulers.ChainedScheduler([STEP, schedulers.ExponentialLR(0.2, 0.9)]),
        ValueError,
        "ChainedScheduler.schedulers must have one base rate, got 0.1 and 0.2 in Delay(Exp(0.2), 1)",
    ),
    (
        lambda: schedulers.ReduceLROnPlateau(STEP),
        TypeError,
        "ReduceLROnPlateau.lr must be a number, got Step(0.1, 30); updaters.learning_rate.Plateau takes a schedule",
    ),
    (lambda: schedulers.ReduceLROnPlateau(-1), ValueError, "ReduceLROnPlateau.lr must be in [0, inf), got -1"),
    (lambda: schedulers.ReduceLROnPlateau(1, factor=1), ValueError, "ReduceLROnPlateau.factor must be in (0, 1), got 1"),
    (lambda: schedulers.ReduceLROnPlateau(1, "best"), ValueError, "ReduceLROnPlateau.mode must be 'min' or 'max', got 'best'"),
    (
        lambda: schedulers.ReduceLROnPlateau(1, threshold_mode="relative"),  # type: ignore[arg-type]  # wrong on purpose
        ValueError,
        "ReduceLROnPlateau.threshold_mode must be 'rel' or 'abs', got 'relative'",
    ),
    (
        lambda: schedulers.ReduceLROnPlateau(1, patience=-1),
        ValueError,
        "ReduceLROnPlateau.patience must be an integer of at least 0, got -1",
    ),
    (lambda: schedulers.ReduceLROnPlateau(1, min_lr=-1), ValueError, "ReduceLROnPlateau.min_lr must be in [0, inf), got -1"),
    (lambda: schedulers.ReduceLROnPlateau(1, eps=-1), ValueError, "ReduceLROnPlateau.eps must be in [0, inf), got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_what_is_wrong_and_how_it_is_said(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize(
    "other",
    [
        schedulers.LambdaLR(0.1, math.sqrt),
        schedulers.CosineAnnealingLR(0.1, 50, eta_min=0.01),
        schedulers.CosineAnnealingWarmRestarts(0.1, 10),
        schedulers.CyclicLR(0.01, 0.1),
        schedulers.OneCycleLR(0.1, 10),
        schedulers.SequentialLR([STEP, STEP], [5]),
        schedulers.ChainedScheduler([STEP]),
        schedulers.ReduceLROnPlateau(0.1),
        up.learning_rate.Delay(up.learning_rate.Polynomial(0.1, 10, end=0.01), 1),
        up.learning_rate.Fixed(0.1),
    ],
    ids=repr,
)
def test_what_does_not_multiply_the_rate_cannot_be_chained(other: Any) -> None:
    message = f"ChainedScheduler.schedulers[1] must be a product of its base rate and a factor, got {other!r}: put it after"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        schedulers.ChainedScheduler([STEP, other])


# What they are


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_a_schedule_is_a_pure_function_of_the_clock(case: ScheduleCase) -> None:
    if case.scheduler == "ReduceLROnPlateau":
        return
    schedule = made(case.scheduler, case.lr, case.arguments, "epoch")
    forward = [schedule(up.OptimizationState(epoch=k)) for k in range(1, 60)]
    backward = [schedule(up.OptimizationState(epoch=k)) for k in range(59, 0, -1)]
    assert forward == backward[::-1]
    assert schedule == made(case.scheduler, case.lr, case.arguments, "epoch")
    with pytest.raises(ValueError, match="has no value yet, for the clock's epoch count stands at 0"):
        schedule(up.OptimizationState(iteration=4))
    if not {"lr_lambda", "scale_fn"} & set(re.findall(r"\w+", case.name)):
        assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_a_plateau_is_moved_by_metrics_alone_and_goes_on_from_its_numbers() -> None:
    first, second = (schedulers.ReduceLROnPlateau(0.5, factor=0.5, patience=1, cooldown=1) for _ in range(2))
    for metric in (1.0, 1.0, np.array([1.0])):
        first.step(metric)
    second.load_state_dict(first.state_dict())
    assert first(up.OptimizationState()) == second(up.OptimizationState()) == 0.25
    for one in (first, second, pickle.loads(pickle.dumps(first))):
        for _ in range(3):
            one.observe(1.0)
        assert one(up.OptimizationState()) == 0.125
    with pytest.raises(TypeError, match="metric"):
        first.step("1.0")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("mode", "best", "metric", "better"),
    [("min", 0.2, 0.18, True), ("max", 0.3, 0.33, False), ("min", -0.3, -0.33, False), ("max", -0.2, -0.18, True)],
)
def test_metrics_at_the_threshold_are_compared_with_a_product(mode: Any, best: float, metric: float, better: bool) -> None:
    schedule = schedulers.ReduceLROnPlateau(0.5, mode, threshold=0.1)
    schedule.step(best)
    assert schedule.is_better(metric) is better


def test_a_reduction_that_is_too_small_is_not_made_and_is_followed_by_a_cooldown_all_the_same() -> None:
    schedule = schedulers.ReduceLROnPlateau(0.5, factor=0.5, patience=0, cooldown=2, eps=0.25)
    for _ in range(2):
        schedule.step(1.0)
    assert (schedule.reductions, schedule.cooling) == (0, 2)
    schedule = schedulers.ReduceLROnPlateau(0.5, factor=0.5, patience=0, cooldown=2, eps=0.2499)
    for _ in range(2):
        schedule.step(1.0)
    assert (schedule.reductions, schedule.cooling) == (1, 2)


def test_schedules_are_the_rate_and_the_momentum_of_an_optimizer() -> None:
    rate = schedulers.CyclicLR(0.0, 0.5, 2, base_momentum=0.25, max_momentum=0.75)
    optimizer = torch.SGD(lr=rate, momentum=rate.momentum)
    at = optimizer.at(up.OptimizationState(iteration=2))
    assert (at.lr, at.momentum) == (0.25, 0.5)
    state = up.OptimizationState()
    update = up.get_updater(torch.SGD(lr=schedulers.StepLR(0.5, 1, gamma=0.5)), state)
    weight = np.array([1.0])
    for _ in state.epochs(3):
        for _ in state.batches(range(2)):
            update("w", np.array([1.0]), weight)
    assert weight.tolist() == [1.0 - 2 * (0.5 + 0.25 + 0.125)]


def test_schedules_are_subject_to_arithmetic() -> None:
    rate = (0.5 * schedulers.StepLR(0.5, 1, gamma=0.5) + 0.25).clamp(high=0.4)
    assert [rate(up.OptimizationState(epoch=k)) for k in (1, 2)] == [0.4, 0.375]


def test_a_scale_of_cycles_counts_those_that_are_longer_one_way() -> None:
    rate = schedulers.CyclicLR(0.0, 1.0, 2, 6, scale_fn=lambda cycle: 1 / cycle)
    seen = [rate(up.OptimizationState(iteration=k)) for k in (3, 11, 19)]
    assert seen == pytest.approx([1.0, 1 / 2, 1 / 3])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda rate: torch.SGD(momentum=rate), "SGD.momentum"),
        (lambda rate: torch.RMSprop(momentum=rate), "RMSprop.momentum"),
        (lambda rate: torch.Adam(betas=(rate, 0.999)), r"Adam.betas\[0\]"),
    ],
)
def test_a_rate_with_a_momentum_is_no_momentum(make: Callable[[Any], Any], name: str) -> None:
    rate = schedulers.CyclicLR(0.1, 0.2)
    with pytest.raises(
        TypeError, match=f"^{name} must be a momentum, got RateAndMomentum.*, a rate whose momentum is its attribute"
    ):
        make(rate)
    make(rate.momentum)


def test_an_optimizer_is_no_base_rate_wherever_it_stands() -> None:
    class Theirs:
        param_groups: tuple[object, ...] = ()

    with pytest.raises(TypeError, match="^StepLR.lr must be the base rate, not an optimizer"):
        schedulers.StepLR(lr=Theirs(), step_size=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^ChainedScheduler takes no optimizer: it begins with schedulers;"):
        schedulers.ChainedScheduler([schedulers.StepLR(0.1, 3)], Theirs())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="^MultiStepLR.milestones must be a sequence of integers, got b'ab'"):
        schedulers.MultiStepLR(0.1, b"ab")
