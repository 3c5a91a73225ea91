"""The fields of the optimizers: what each takes, what it says otherwise, and what makes an optimizer a value."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from updaters import (
    ASGD,
    LAMB,
    LARS,
    SGD,
    AdaBelief,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    Muon,
    Nadam,
    NovoGrad,
    Optimizer,
    Prodigy,
    RAdam,
    RMSProp,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Yogi,
)
from updaters.momentum import Fixed, Null
from updaters.policy import Policy
from updaters.protocols import Interval
from updaters.transforms import AGC, ClipByGlobalNorm, ClipByNorm

RULES = [rule for rule in vars(up).values() if inspect.isclass(rule) and issubclass(rule, Optimizer) and rule is not Optimizer]
FIELDS = [(rule, field) for rule in RULES for field in attrs.fields(rule)]
NUMERIC = [(rule, field.name, field.metadata["interval"]) for rule, field in FIELDS if "interval" in field.metadata]
# What None amounts to, in the fields that may be off.
NEUTRAL = {
    "weight_decay": 0.0, "grad_clip": 1e300, "momentum": 0.0, "dampening": 0.0, "min_norm": 0.0, "max_norm": 1e300,
    "growth_rate": 1e300,
}  # fmt: skip
OFF = [
    (rule, field.name)
    for rule, field in FIELDS
    if field.name in NEUTRAL and field.metadata["optional"] and (rule, field.name) != (Nadam, "momentum")  # whose None is its own
]
NEEDED: dict[tuple[type[Any], str], dict[str, Any]] = {  # what a field cannot do without, or does nothing without
    (SGD, "nesterov"): {"momentum": 0.9},
    (SGD, "dampening"): {"momentum": 0.9},
    (Rprop, "max_step"): {"lr": 0.3},
    (Muon, "rms_rate"): {"scale": "rms"},
    (Prodigy, "growth_rate"): {"d_coefficient": 50.0},
    (ScheduleFreeSGD, "lr_power"): {"lr": lambda state: 0.1 * state.iteration},
    (ScheduleFreeAdamW, "lr_power"): {"lr": lambda state: 0.1 * state.iteration},
}
WORDS = {"decay": {"l2", "decoupled"}, "gradient": {"mean", "sum"}, "buffer": {"steps", "gradients"}}
OTHER_WORDS = {
    (ScheduleFreeSGD, "decay"): {"l2"},
    (Muon, "scale"): {"spectral", "rms", "none"},
    (LAMB, "decay"): {"inside", "outside", "l2", "decoupled"},
    **{(rule, "decay"): {"inside", "l2", "decoupled"} for rule in (LARS, NovoGrad, Adafactor)},
    **{(rule, "decay"): {"inside", "l2"} for rule in (ScheduleFreeAdamW, Prodigy)},
}
OTHERS: dict[str, Any] = {  # of fields that hold neither numbers nor words
    "transforms": (ClipByNorm(100.0),), "otherwise": SGD(0.5), "polynomial": (2.0, -1.5, 0.5), "iterations": 3,
    "policy": Policy(nonfinite="raise"),
}  # fmt: skip
LARGE = {
    (LAMB, "min_norm"): 50.0,
    (Adafactor, "epsilon2"): 50.0,
    (Prodigy, "d_coefficient"): 50.0,
}  # below, they would do nothing

rules = pytest.mark.parametrize("rule", RULES)
numeric = pytest.mark.parametrize(("rule", "field", "interval"), NUMERIC)


SIZES = [1.0, 2.0, 0.5, -0.2, -3.0, -0.2, 0.3]  # they take every way through every rule


def moved(optimizer: Optimizer) -> np.ndarray:
    """A weight after some updates, and the one to evaluate with."""
    weight = np.array([[1.0, -2.0], [0.0, 0.5]])
    state = up.OptimizationState(epoch=1)
    update = up.get_updater(optimizer, state, backend="numpy")
    for size in SIZES:
        state.iteration += 1
        update("w", np.array([[0.5, -1.0], [3e-3, 0.1]]) * size, weight)
    return np.concatenate([weight, update.evaluation_weight("w", weight)])


def made(rule: type[Any], field: str, value: object) -> Any:
    """A rule with a field, and with what that field cannot do without."""
    return rule(**NEEDED.get((rule, field), {}) | {field: value})


def inside(interval: Interval) -> list[float]:
    """Numbers that a field takes: its closed ends, and one between."""
    ends = [(interval.low, interval.low_closed), (interval.high, interval.high_closed and interval.high < math.inf)]
    return [interval.low + 0.37, *[end for end, closed in ends if closed]]


def outside(interval: Interval) -> list[float]:
    """Numbers that it does not take: its open ends, and some beyond them."""
    ends = [(interval.low, interval.low_closed), (interval.high, interval.high_closed)]
    beyond = [interval.low - 1e-9, interval.high + 1e-9]
    return [math.nan, math.inf, -math.inf, *beyond, *[end for end, closed in ends if not closed]]


# Numbers


def test_the_numeric_fields_are_those_that_are_known() -> None:
    shared = {"weight_decay", "grad_clip"}
    known = {
        SGD: {"lr", "momentum", "dampening"},
        Adam: {"lr", "beta1", "beta2", "epsilon"},
        AdamW: {"lr", "beta1", "beta2", "epsilon"},
    }
    for rule, names in known.items():
        assert {field for other, field, _ in NUMERIC if other is rule} == names | shared


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), "SGD.lr must be in [0, inf), got -0.1"),
        (lambda: SGD(math.nan), "SGD.lr must be in [0, inf), got nan"),
        (lambda: SGD(momentum=1.5), "SGD.momentum must be in [0, 1], got 1.5"),
        (lambda: SGD(momentum=-1), "SGD.momentum must be in [0, 1], got -1"),
        (lambda: SGD(weight_decay=-1e-4), "SGD.weight_decay must be in [0, inf), got -0.0001"),
        (lambda: SGD(grad_clip=0), "SGD.grad_clip must be in (0, inf), got 0"),
        (lambda: SGD(grad_clip=math.inf), "SGD.grad_clip must be in (0, inf), got inf"),
        (lambda: Adam(-1), "Adam.lr must be in [0, inf), got -1"),
        (lambda: Adam(beta1=1), "Adam.beta1 must be in [0, 1), got 1"),
        (lambda: Adam(beta2=-0.1), "Adam.beta2 must be in [0, 1), got -0.1"),
        (lambda: Adam(epsilon=-1e-8), "Adam.epsilon must be in [0, inf), got -1e-08"),
        (lambda: Adam(weight_decay=math.inf), "Adam.weight_decay must be in [0, inf), got inf"),
        (lambda: AdamW(beta2=1.0), "AdamW.beta2 must be in [0, 1), got 1.0"),
        (lambda: AdamW(weight_decay=-0.5), "AdamW.weight_decay must be in [0, inf), got -0.5"),
        (lambda: SGD(10**400), f"SGD.lr must be in [0, inf), got {10**400!r:.60}"),
        (lambda: SGD(decay="l1"), "SGD.decay must be 'l2' or 'decoupled', got 'l1'"),
        (lambda: AdamW(decay=None), "AdamW.decay must be 'l2' or 'decoupled', got None"),
        (lambda: SGD(gradient="max"), "SGD.gradient must be 'mean' or 'sum', got 'max'"),
        (lambda: SGD(nesterov=True), "SGD.nesterov needs a momentum, got momentum=None"),
        (lambda: SGD(dampening=0.1), "SGD.dampening needs a momentum, got momentum=None"),
        (lambda: SGD(dampening=0.1, momentum=Null()), "SGD.dampening needs a momentum, got momentum=None"),
        (lambda: SGD(momentum=0.9, dampening=0.1, nesterov=True), "SGD.nesterov takes no dampening, got dampening=0.1"),
        (lambda: SGD(momentum=0.9, dampening=1.1), "SGD.dampening must be in [0, 1], got 1.1"),
        (lambda: SGD(buffer="velocity"), "SGD.buffer must be 'steps' or 'gradients', got 'velocity'"),
        (lambda: Adagrad(lr_decay=-1), "Adagrad.lr_decay must be in [0, inf), got -1"),
        (lambda: Adagrad(initial_accumulator=-0.1), "Adagrad.initial_accumulator must be in [0, inf), got -0.1"),
        (lambda: Adadelta(rho=1), "Adadelta.rho must be in [0, 1), got 1"),
        (lambda: RMSProp(rho=1.0), "RMSProp.rho must be in [0, 1), got 1.0"),
        (lambda: RMSProp(momentum=1.5), "RMSProp.momentum must be in [0, 1], got 1.5"),
        (lambda: RMSProp(buffer=None), "RMSProp.buffer must be 'steps' or 'gradients', got None"),
        (lambda: Adamax(beta2=1), "Adamax.beta2 must be in [0, 1), got 1"),
        (lambda: Nadam(momentum=1), "Nadam.momentum must be in [0, 1), got 1"),
        (lambda: Nadam(momentum_decay=-1), "Nadam.momentum_decay must be in [0, inf), got -1"),
        (lambda: RAdam(beta2=1), "RAdam.beta2 must be in [0, 1), got 1"),
        (lambda: Ftrl(0), "Ftrl.lr must be in (0, inf), got 0"),
        (lambda: Ftrl(l1=-0.01), "Ftrl.l1 must be in [0, inf), got -0.01"),
        (lambda: Ftrl(power=-0.5), "Ftrl.power must be in [0, inf), got -0.5"),
        (lambda: Lion(beta2=1), "Lion.beta2 must be in [0, 1), got 1"),
        (lambda: Yogi(initial_accumulator=math.nan), "Yogi.initial_accumulator must be in [0, inf), got nan"),
        (lambda: AdaBelief(epsilon=-1e-16), "AdaBelief.epsilon must be in [0, inf), got -1e-16"),
        (lambda: ASGD(regularization=-1), "ASGD.regularization must be in [0, inf), got -1"),
        (lambda: ASGD(start=-1), "ASGD.start must be in [0, inf), got -1"),
        (lambda: Rprop(shrink=1), "Rprop.shrink must be in (0, 1), got 1"),
        (lambda: Rprop(shrink=0), "Rprop.shrink must be in (0, 1), got 0"),
        (lambda: Rprop(grow=1), "Rprop.grow must be in (1, inf), got 1"),
        (lambda: Rprop(max_step=0), "Rprop.max_step must be in (0, inf), got 0"),
        (lambda: Rprop(min_step=1, max_step=0.5), "Rprop.min_step must be at most max_step, got 1.0 and 0.5"),
        (lambda: ScheduleFreeSGD(beta=0), "ScheduleFreeSGD.beta must be in (0, 1), got 0"),
        (lambda: ScheduleFreeSGD(beta=1), "ScheduleFreeSGD.beta must be in (0, 1), got 1"),
        (lambda: ScheduleFreeSGD(decay="decoupled"), "ScheduleFreeSGD.decay must be 'l2', got 'decoupled'"),
        (lambda: ScheduleFreeAdamW(beta1=1), "ScheduleFreeAdamW.beta1 must be in (0, 1), got 1"),
        (lambda: ScheduleFreeAdamW(lr_power=-1), "ScheduleFreeAdamW.lr_power must be in [0, inf), got -1"),
        (lambda: ScheduleFreeAdamW(decay="decoupled"), "ScheduleFreeAdamW.decay must be 'inside' or 'l2', got 'decoupled'"),
    ],
)
def test_values_out_of_range(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD("0.1"), "SGD.lr must be a real number in [0, inf) or a scheduler, got '0.1' (str)"),
        (lambda: SGD(None), "SGD.lr must be a real number in [0, inf) or a scheduler, got None (NoneType)"),
        (lambda: SGD(momentum="0.9"), "SGD.momentum must be a real number in [0, 1], a scheduler, or None, got '0.9' (str)"),
        (lambda: SGD(momentum=False), "SGD.momentum must be a real number in [0, 1], a scheduler, or None, got False (bool)"),
        (lambda: Adam(beta1=None), "Adam.beta1 must be a real number in [0, 1) or a scheduler, got None (NoneType)"),
        (lambda: SGD(Fixed), f"SGD.lr must be a real number in [0, inf) or a scheduler, got {Fixed!r} (the class; call it)"),
        (lambda: SGD(maximize=1), "SGD.maximize must be True or False, got 1"),
        (lambda: SGD(momentum=0.9, nesterov="yes"), "SGD.nesterov must be True or False, got 'yes'"),
        (lambda: Adam(amsgrad=None), "Adam.amsgrad must be True or False, got None"),
        (lambda: Adam(epsilon_hat=0.0), "Adam.epsilon_hat must be True or False, got 0.0"),
        (lambda: SGD(damp_first=1), "SGD.damp_first must be True or False, got 1"),
        (lambda: RMSProp(centered=None), "RMSProp.centered must be True or False, got None"),
        (lambda: Yogi(bias_correction=1), "Yogi.bias_correction must be True or False, got 1"),
        (lambda: Nadam(momentum="0.9"), "Nadam.momentum must be a real number in [0, 1), a scheduler, or None, got '0.9' (str)"),
        (lambda: Ftrl(None), "Ftrl.lr must be a real number in (0, inf) or a scheduler, got None (NoneType)"),
        (lambda: Rprop(grow=True), "Rprop.grow must be a real number in (1, inf) or a scheduler, got True (bool)"),
    ],
)
def test_values_of_another_kind(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        make()


@numeric
def test_numbers_outside_the_interval_are_refused(rule: type[Any], field: str, interval: Interval) -> None:
    for value in outside(interval):
        with pytest.raises(ValueError, match=re.escape(f"{rule.__name__}.{field} must be {interval}, got {value!r}")):
            rule(**{field: value})


@numeric
def test_numbers_inside_it_become_floats(rule: type[Any], field: str, interval: Interval) -> None:
    low = int(interval.low)
    for value in [*inside(interval), low + Fraction(1, 3), np.float32(low + 0.1), np.float16(low + 0.5)]:
        got = getattr(made(rule, field, value), field)
        assert type(got) is float
        assert got == float(value)


@numeric
def test_what_is_no_number_is_refused(rule: type[Any], field: str, interval: Interval) -> None:
    for value in (True, False, np.True_, "0.5", 0.5j, np.array(0.5), np.ones(1), [0.5], (0.5,)):
        with pytest.raises(TypeError, match=re.escape(f"{rule.__name__}.{field} must be a real number {interval}")):
            rule(**{field: value})


# Schedulers


@pytest.mark.parametrize(
    ("rule", "field", "interval"),
    [row for row in NUMERIC if row[:2] != (Rprop, "grad_clip")],  # of gradients it takes the signs alone
)
def test_a_scheduler_is_read_at_each_update(rule: type[Any], field: str, interval: Interval) -> None:
    number = LARGE.get((rule, field), interval.low + 0.25)
    choices = [choice.name for choice in alternatives(rule) if "interval" not in choice.metadata]
    if field == "dampening":
        choices.remove("nesterov")  # they exclude each other
    if field == "rms_rate":
        choices.remove("scale")
    needed = NEEDED.get((rule, field), {})
    others = [rule(**needed | NEEDED.get((rule, choice), {}) | {choice: changed(rule, choice)}) for choice in choices]
    for optimizer in [rule(**needed), *others]:
        asked = []

        def scheduler(state: up.OptimizationState, asked: list[int] = asked) -> np.float32:
            asked.append(state.iteration)
            return np.float32(number)

        scheduled = attrs.evolve(optimizer, **{field: scheduler})
        assert getattr(scheduled, field) is scheduler
        assert asked == []
        np.testing.assert_array_equal(moved(scheduled), moved(attrs.evolve(optimizer, **{field: number})), strict=True)
        ahead = (rule, field) == (Nadam, "momentum")  # which looks ahead
        assert sorted({*asked}) == [*range(1, len(SIZES) + 1 + ahead)]
        assert not np.array_equal(moved(scheduled), moved(optimizer))


@numeric
def test_a_reading_outside_the_interval_names_class_and_field(rule: type[Any], field: str, interval: Interval) -> None:
    for reading in (*outside(interval), True, "0.5", None, np.array(0.5)):
        scheduler = Reading(reading)
        weight = np.ones((2, 2))
        state = up.OptimizationState(epoch=1, iteration=1)
        with pytest.raises((TypeError, ValueError)) as info:
            up.get_updater(made(rule, field, scheduler), state, backend="numpy")("w", np.ones((2, 2)), weight)
        number = isinstance(reading, float)
        assert info.type is (ValueError if number else TypeError)
        given = repr(reading) if number else f"{reading!r} ({type(reading).__name__})"
        wanted = str(interval) if number else f"a real number {interval}"
        assert str(info.value) == f"{rule.__name__}.{field} must be {wanted}, got {given} from {scheduler!r} at {state!r}"
        np.testing.assert_array_equal(weight, 1)


@attrs.frozen(eq=False)
class Reading:
    """A scheduler that says whatever it was told to."""

    value: Any

    def __call__(self, state: up.OptimizationState, /) -> Any:
        return self.value


@rules
def test_hyperparameters_at_a_clock(rule: type[Any]) -> None:
    names = {name for other, name, _ in NUMERIC if other is rule}
    assert vars(rule().at(up.OptimizationState())) == {name: getattr(rule(), name) for name in names}
    scheduled = rule(lambda state: state.epoch // 2)
    now, later = (scheduled.at(up.OptimizationState(epoch=epoch)) for epoch in (2, 4))
    assert (vars(now), vars(later)) == (vars(rule(1.0).at(up.OptimizationState())), vars(rule(2.0).at(up.OptimizationState())))
    assert type(now.lr) is float


# Off


@pytest.mark.parametrize(("rule", "field"), OFF)
@pytest.mark.parametrize("off", [None, Null()])
def test_none_and_null_are_off(rule: type[Any], field: str, off: object) -> None:
    optimizer = made(rule, field, off)
    assert getattr(optimizer, field) is None
    assert getattr(optimizer.at(up.OptimizationState()), field) is None
    np.testing.assert_array_equal(moved(optimizer), moved(made(rule, field, NEUTRAL[field])), strict=True)


def test_without_a_momentum_nadam_has_its_own() -> None:
    own = Nadam(beta1=0.8, momentum_decay=0.5, momentum=lambda state: 0.8 * (1 - 0.5 * 0.96 ** (0.5 * state.iteration)))
    for off in (None, Null()):
        optimizer = Nadam(beta1=0.8, momentum_decay=0.5, momentum=off)
        assert optimizer.momentum is None
        np.testing.assert_array_equal(moved(optimizer), moved(own), strict=True)


@pytest.mark.parametrize(
    ("rule", "field"), [(rule, name) for rule, name, _ in NUMERIC if rule in {SGD, Adam, AdamW} and name not in NEUTRAL]
)
def test_all_else_is_always_on(rule: type[Any], field: str) -> None:
    with pytest.raises(TypeError, match=f"^{rule.__name__}.{field} must be .* or a scheduler, got None \\(NoneType\\)$"):
        rule(**{field: None})
    assert getattr(rule(**{field: Null()}).at(up.OptimizationState()), field) == 0


@pytest.mark.parametrize(
    ("momentum", "slots"),
    [(None, ()), (Null(), ()), (0, ("velocity",)), (Fixed(0.0), ("velocity",)), (lambda state: 0.0, ("velocity",))],
)
def test_a_slot_is_kept_unless_momentum_is_off(momentum: Any, slots: tuple[str, ...]) -> None:
    assert SGD(momentum=momentum).slots == slots
    np.testing.assert_array_equal(moved(SGD(0.1, momentum=momentum)), moved(SGD(0.1)), strict=True)


def test_nesterov_needs_a_momentum_that_is_on() -> None:
    assert SGD(momentum=0.9, nesterov=True).nesterov
    assert SGD(momentum=up.momentum.Nadam(), nesterov=True).nesterov
    with pytest.raises(ValueError, match=r"^SGD.nesterov needs a momentum"):
        SGD(momentum=Null(), nesterov=True)


# Values


SHARED = {"weight_decay": None, "decay": "l2", "grad_clip": None, "gradient": "mean", "maximize": False, "transforms": ()}
SHARED |= {"policy": None}
BETAS = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
MOMENTS = BETAS | {"lr": 1e-3, "amsgrad": False, "epsilon_hat": False, "bias_correction": True}


@pytest.mark.parametrize(
    ("rule", "defaults"),
    [
        (
            SGD,
            SHARED | {"lr": 0.01, "momentum": None, "nesterov": False, "dampening": None, "damp_first": False, "buffer": "steps"},
        ),
        (Adam, SHARED | MOMENTS),
        (AdamW, SHARED | MOMENTS | {"weight_decay": 0.01, "decay": "decoupled"}),
        (Adagrad, SHARED | {"lr": 0.01, "epsilon": 1e-10, "epsilon_inside": False, "lr_decay": 0.0, "initial_accumulator": 0.0}),
        (Adadelta, SHARED | {"lr": 1.0, "rho": 0.95, "epsilon": 1e-6}),
        (
            RMSProp,
            SHARED
            | {"lr": 1e-3, "rho": 0.9, "epsilon": 1e-8, "epsilon_inside": False}
            | {"momentum": None, "buffer": "steps", "centered": False},
        ),
        (Adamax, SHARED | BETAS | {"lr": 2e-3, "epsilon_inside": False}),
        (Nadam, SHARED | BETAS | {"lr": 2e-3, "momentum_decay": 0.004, "momentum": None}),
        (RAdam, SHARED | BETAS | {"lr": 1e-3, "epsilon_hat": False}),
        (
            Ftrl,
            SHARED
            | {"lr": 0.1, "beta": 1.0, "l1": 0.0, "l2": 0.0, "l2_shrinkage": 0.0, "power": 0.5, "initial_accumulator": 0.0},
        ),
        (Lion, SHARED | {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "decay": "decoupled"}),
        (
            Yogi,
            SHARED
            | BETAS
            | {"lr": 1e-2, "epsilon": 1e-3, "initial_accumulator": 1e-6, "bias_correction": False, "epsilon_hat": False},
        ),
        (AdaBelief, SHARED | BETAS | {"lr": 1e-3, "epsilon": 1e-16, "epsilon_hat": False}),
        (ASGD, SHARED | {"lr": 1e-2, "regularization": 1e-4, "power": 0.75, "start": 1e6}),
        (Rprop, SHARED | {"lr": 0.01, "shrink": 0.5, "grow": 1.2, "min_step": 1e-6, "max_step": 50.0}),
        (
            LAMB,
            SHARED
            | BETAS
            | {"lr": 1e-3, "epsilon": 1e-6, "decay": "inside", "bias_correction": True, "min_norm": None, "max_norm": None},
        ),
        (LARS, SHARED | {"lr": 0.1, "momentum": 0.9, "trust": 1e-3, "epsilon": 1e-8, "decay": "inside"}),
        (
            NovoGrad,
            SHARED
            | {"lr": 0.01, "beta1": 0.95, "beta2": 0.98, "epsilon": 1e-8, "epsilon_inside": False}
            | {"gradient_averaging": False, "decay": "inside"},
        ),
        (
            Prodigy,
            SHARED
            | BETAS
            | {"lr": 1.0, "beta3": None, "d0": 1e-6, "d_coefficient": 1.0, "growth_rate": None}
            | {"bias_correction": False, "safeguard_warmup": False, "decay": "inside"},
        ),
        (
            Adafactor,
            SHARED
            | {"lr": 0.01, "decay_rate": 0.8, "epsilon1": 1e-30, "epsilon2": 1e-3, "clip_threshold": 1.0}
            | {"relative_step": True, "epsilon_added": True, "factored": True, "decay": "decoupled"},
        ),
        (
            Muon,
            SHARED
            | {"lr": 0.02, "momentum": 0.95, "nesterov": True, "otherwise": None, "scale": "spectral", "rms_rate": 0.2}
            | {"polynomial": (3.4445, -4.775, 2.0315), "iterations": 5, "epsilon": 1e-7, "epsilon_added": True}
            | {"decay": "decoupled"},
        ),
        (ScheduleFreeSGD, SHARED | {"lr": 1.0, "beta": 0.9, "lr_power": 2.0}),
        (ScheduleFreeAdamW, SHARED | BETAS | {"lr": 2.5e-3, "lr_power": 2.0, "decay": "inside"}),
    ],
)
def test_defaults(rule: type[Any], defaults: dict[str, object]) -> None:
    assert attrs.asdict(rule()) == defaults


@rules
def test_only_the_learning_rate_goes_by_position(rule: type[Any]) -> None:
    assert rule(0.5) == rule(lr=0.5)
    with pytest.raises(TypeError, match="positional argument"):
        rule(0.5, 0.5)


@rules
@pytest.mark.parametrize("name", ["learning_rate", "momentm", "Beta1", "weightdecay", "slots", "formula"])
def test_misspelt_names_are_refused(rule: type[Any], name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        rule(**{name: 0.5})


@pytest.mark.parametrize("rule", [Optimizer, *RULES])
def test_optimizers_are_frozen(rule: type[Any]) -> None:
    optimizer = rule()
    for name in [*(field.name for field in attrs.fields(rule)), "slots", "anything"]:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(optimizer, name, 0.25)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(optimizer, name)
    assert optimizer == rule()


def words(rule: type[Any], name: str) -> set[str]:
    """The words that a field takes."""
    return OTHER_WORDS.get((rule, name), WORDS.get(name, set()))


def alternatives(rule: type[Any]) -> list[attrs.Attribute[Any]]:
    """The fields of a rule that may be another than they are."""
    return [field for field in attrs.fields(rule) if len(words(rule, field.name)) != 1]


def changed(rule: type[Any], name: str) -> Any:
    """A value of a field that is not its default."""
    field = attrs.fields_dict(rule)[name]
    if isinstance(field.default, bool):
        return not field.default
    if "interval" in field.metadata:
        return inside(field.metadata["interval"])[0]
    if name in OTHERS:
        return OTHERS[name]
    return next(iter(words(rule, name) - {field.default}))


def other(rule: type[Any], field: attrs.Attribute[Any]) -> Any:
    """An optimizer that differs from the default one in one field, or in what that field cannot do without."""
    needed = {} if field.name == "lr_power" else NEEDED.get((rule, field.name), {})
    return rule(**needed | {field.name: changed(rule, field.name)})


@rules
def test_equality_and_hash_are_of_all_fields(rule: type[Any]) -> None:
    others = [other(rule, field) for field in alternatives(rule)]
    for optimizer in [rule(), *others]:
        optimizer.at(up.OptimizationState())  # what it remembers is no part of its value
        twins = [copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), attrs.evolve(optimizer)]
        for twin in twins:
            assert twin == optimizer
            assert hash(twin) == hash(optimizer)
            np.testing.assert_array_equal(moved(twin), moved(optimizer), strict=True)
    assert len({rule(), *others}) == 1 + len(others)


def test_rules_of_the_same_fields_differ() -> None:
    assert AdamW(0.1, weight_decay=0.1, decay="l2") != Adam(0.1, weight_decay=0.1)


@rules
def test_an_evolved_optimizer_reads_its_own_numbers(rule: type[Any]) -> None:
    optimizer = rule(0.25)
    optimizer.at(up.OptimizationState())
    assert attrs.evolve(optimizer, lr=0.5).at(up.OptimizationState()).lr == 0.5


@rules
def test_the_representation_shows_what_differs_and_the_learning_rate(rule: type[Any]) -> None:
    lr = attrs.fields(rule).lr.default
    assert repr(rule()) == f"{rule.__name__}(lr={lr!r})"
    for field in alternatives(rule):
        optimizer = other(rule, field)
        assert f"{field.name}={changed(rule, field.name)!r}" in repr(optimizer)
        assert repr(optimizer).startswith(f"{rule.__name__}(lr=")
        assert eval(repr(optimizer)) == optimizer


@pytest.mark.parametrize(
    ("optimizer", "shown"),
    [
        (SGD(), "SGD(lr=0.01)"),
        (SGD(1, momentum=Null(), maximize=False), "SGD(lr=1.0)"),
        (SGD(momentum=0.9, nesterov=True), "SGD(lr=0.01, momentum=0.9, nesterov=True)"),
        (SGD(np.float64(0.01), momentum=Fraction(9, 10), weight_decay=None), "SGD(lr=0.01, momentum=0.9)"),
        (Adam(beta1=Fraction(9, 10), beta2=np.float64(0.999)), "Adam(lr=0.001)"),
        (AdamW(weight_decay=None), "AdamW(lr=0.001, weight_decay=None)"),
        (SGD(up.learning_rate.Exp(0.1)), "SGD(lr=Exp(0.1))"),
        (Adam(beta2=0.99, epsilon=1e-7), "Adam(lr=0.001, beta2=0.99, epsilon=1e-07)"),
        (AdamW(decay="l2", weight_decay=0), "AdamW(lr=0.001, weight_decay=0.0, decay='l2')"),
    ],
    ids=repr,
)
def test_representations(optimizer: Optimizer, shown: str) -> None:
    assert repr(optimizer) == shown


def test_a_reading_is_not_for_writing_to() -> None:
    optimizer = SGD(0.1)
    with pytest.raises(AttributeError, match="not for writing to: lr"):
        optimizer.at(up.OptimizationState()).lr = 5.0


TRANSFORMS = [getattr(up.transforms, name) for name in up.transforms.__all__]
CLIPS_ALONE = {AGC, ClipByGlobalNorm}
"""Those that are clips of an updater and nothing else: one needs all gradients, the other works on units."""
BOUNDS = [(kind, field.name) for kind in TRANSFORMS for field in attrs.fields(kind) if "interval" in field.metadata]


def test_every_number_of_a_transform_takes_a_schedule() -> None:
    words = {"mode", "p", "axis"}
    fields = {(kind, field.name) for kind in TRANSFORMS for field in attrs.fields(kind) if field.name not in words}
    assert set(BOUNDS) == fields


@pytest.mark.parametrize(("kind", "field", "as_clip"), [(*bound, as_clip) for bound in BOUNDS for as_clip in (False, True)])
def test_a_scheduled_number_of_a_transform_is_read_at_each_update(kind: type[Any], field: str, as_clip: bool) -> None:
    if kind in CLIPS_ALONE and not as_clip:
        with pytest.raises(ValueError, match=f"SGD.transforms must be transforms of each weight's gradient, got {kind.__name__}"):
            up.SGD(transforms=kind(0.5))
        return
    needed: dict[str, Any] = {
        other.name: {"low": -1.0}.get(other.name, 0.5) for other in attrs.fields(kind) if other.default is attrs.NOTHING
    }
    schedule = up.learning_rate.Linear(0.1, 10, end=0.9, clock="iteration")
    scheduler = -schedule if field == "low" else schedule
    start = np.array([3.0, -4.0, 0.0]) if (kind, field) != (AGC, "epsilon") else np.array([0.01, -0.02, 0.0])
    by_schedule, by_numbers, by_one_number = (start.copy() for _ in range(3))

    def updater(number: Any, state: Any = None) -> up.Updater:
        transform = kind(**needed | {field: number})
        if as_clip:
            return up.get_updater(up.SGD(0.1), state, clip=transform, backend="numpy")
        return up.get_updater(up.SGD(0.1, transforms=transform), state, backend="numpy")

    update = updater(scheduler, up.OptimizationState())
    first = scheduler(up.OptimizationState(iteration=1))
    for k in range(1, 6):
        gradient = np.array([0.7, -2.0, 1e-7]) * k
        update.state.iteration = k
        update.step([gradient], [by_schedule])
        for weight, number in ((by_numbers, scheduler(update.state)), (by_one_number, first)):
            updater(number, update.state).step([gradient], [weight])
    np.testing.assert_array_equal(by_schedule, by_numbers, strict=True)
    if (kind.__name__, field) not in (("LARC", "epsilon"), ("LARC", "min_update")):  # which count where norms are almost 0
        assert not np.array_equal(by_schedule, by_one_number)
