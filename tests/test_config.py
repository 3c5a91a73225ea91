"""Optimizers, schedules, transforms and loss scales as data and back: all of them by machine, and what a config must not be able to do."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FunctionType, MappingProxyType
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import updaters as up
from tests import random_schedules
from tests.rules import RULES
from tests.test_imports import python
from tests.weight_rules import ARRAY_RULES, NORM_RULES
from updaters import config, learning_rate, loss_scale, momentum, transforms
from updaters.compat import keras, openseq2seq, tensorlayerx, torch
from updaters.learning_rate import Cosine, Delay, Exp, Fixed, Lambda, Plateau, Sequence, Warmup, minimum
from updaters.schedules.base import Combination, Schedule

few = settings(max_examples=20, deadline=None)
CLOCKS = [up.OptimizationState(epoch=t, batch=1, iteration=3 * t) for t in (1, 2, 7, 40)]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that random schedules are made of, and no name that a test adds is left."""
    for table in ("_types", "_functions", "_names"):
        monkeypatch.setattr(config, table, dict(getattr(config, table)))
    for name, function in random_schedules.FUNCTIONS.items():
        up.register(function, name=name)


def functions(value: Any) -> Iterator[FunctionType]:
    """The functions in a value's fields, at any depth."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, tuple):
        for member in value:
            yield from functions(member)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from functions(getattr(value, field.name))


def kinds(value: Any) -> Iterator[type]:
    """The classes of a value and of its fields, at any depth."""
    yield type(value)
    members = value if isinstance(value, tuple) else ()
    if attrs.has(type(value)):
        members = tuple(getattr(value, field.name) for field in attrs.fields(type(value)) if field.init)
    for member in members:
        yield from kinds(member)


def check_round_trip(value: Any) -> dict[str, Any]:
    data = up.to_config(value)
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text) == data
    back = up.from_config(json.loads(text))
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)
    assert up.to_config(back) == data
    for state in CLOCKS:
        assert readings(back, state) == readings(value, state)
    return data


def readings(value: Any, state: up.OptimizationState) -> Any:
    if isinstance(value, up.Optimizer):
        return value.at(state)
    if isinstance(value, up.Policy):
        return value.decision, value.moves
    if callable(value):
        return value(state)
    if hasattr(value, "initial"):
        return value.after(value.initial(), True, float(state.iteration))
    return value.coefficients(up.Adam().at(state), state)


OPTIMIZERS = {**RULES, **NORM_RULES, **ARRAY_RULES}
COMPAT: list[Any] = [
    torch.ASGD(0.1, t0=0, weight_decay=0.1),
    torch.Rprop(Exp(0.1), etas=(0.25, 1.5)),
    torch.Adafactor(),
    keras.Muon(Exp(0.1), exclude_layers=["head", "embed.*"], exclude_embeddings=False),
    keras.Muon(0.1, adam_lr_ratio=0.5, weight_decay=0.1, adam_weight_decay=0.3),
    torch.lr_scheduler.ReduceLROnPlateau(0.1, "max", 0.5, threshold=0.01, cooldown=3, min_lr=1e-3, eps=1e-5),
    tensorlayerx.lr.ReduceOnPlateau(0.1, factor=0.5, epsilon=0.0),
    torch.lr_scheduler.CyclicLR(0.01, 0.1, step_size_up=4, clock="epoch"),
    torch.lr_scheduler.OneCycleLR(0.1, 20, cycle_momentum=False),
    torch.lr_scheduler.CyclicLR(0.01, 0.1, 4, scale_fn=random_schedules.inverse),
    keras.schedules.CosineDecay(0.0, 100, 0.1, None, 0.1, 3),
    keras.schedules.CosineDecayRestarts(0.1, 3, m_mul=0.5),
    keras.schedules.ExponentialDecay(0.1, 3, 1 / 3, staircase=True, clock="epoch"),
    keras.schedules.InverseTimeDecay(0.1, 2.5, 0.3),
    keras.schedules.LinearCosineDecay(0.1, 20, 1.5),
    keras.schedules.NoisyLinearCosineDecay(0.1, 20, 1e-3, seed=5),
    keras.schedules.PiecewiseConstantDecay([2, 6.5], [0.1, 0.2, 1]),
    keras.schedules.PolynomialDecay(0.1, 20, 0.0, 2, True, name="mine"),
    openseq2seq.AutomaticLossScaler("LogMax", {"log_max": 15.5, "beta1": 1 / 3}).scaler,
    openseq2seq.rules.RMSProp(Exp(0.1), momentum=0.9, centered=True),
    tensorlayerx.SGD(0.1, weight_decay=Exp(0.1), grad_clip=tensorlayerx.ClipByGlobalNorm(5.0)),
]
CLIPS = [
    transforms.ClipByValue(-0.1, 0.3),
    transforms.ClipByValue(-1, Fixed(2.0)),
    transforms.ClipByNorm(1 / 3),
    transforms.ClipByNorm(Exp(0.1, clock="iteration")),
    transforms.LARC(0.02),
    transforms.ClipByGlobalNorm(1 / 3, math.inf),
    transforms.ClipByGlobalNorm(Exp(0.1), 2.5, epsilon=1e-6),
    transforms.AGC(0.02, epsilon=Fixed(0.1), axis=-1),
    transforms.LARC(Exp(0.1), mode="scale", min_update=1e-300, epsilon=5e-324),
]
OF_ALL = (transforms.ClipByGlobalNorm, transforms.AGC)
SCALES = [
    loss_scale.Static(0.1),
    loss_scale.GrowthInterval(3.0, growth_factor=1.1, backoff_factor=0.7, growth_interval=7, min_scale=0.1, max_scale=1e30),
    loss_scale.Backoff(scale_min=0.1, scale_max=1 / 3, step_factor=3.0, step_window=1),
    loss_scale.LogMax(scale_min=2.0, scale_max=3.0, log_max=128, beta1=0.0, beta2=0.9, overflow_std_dev=0.1),
]


def register_all(optimizer: up.Optimizer) -> None:
    for i, function in enumerate(functions(optimizer)):
        up.register(function, name=f"function {i}")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_come_back(name: str) -> None:
    register_all(OPTIMIZERS[name])
    data = check_round_trip(OPTIMIZERS[name])
    assert list(data)[:3] == ["version", "type", "lr"]


@pytest.mark.parametrize("name", [name for name in RULES if name.startswith("scheduled")])
def test_optimizers_of_random_schedules_come_back(name: str) -> None:
    register_all(RULES[name])

    @few
    @given(
        random_schedules.schedules(),
        st.lists(st.sampled_from([clip for clip in CLIPS if not isinstance(clip, OF_ALL)]), max_size=3),
    )
    def check(schedule: Schedule, clips: list[Any]) -> None:
        check_round_trip(attrs.evolve(RULES[name], lr=schedule.clamp(low=1e-3), transforms=clips))

    check()


def test_every_public_rule_comes_back() -> None:
    public = {value for name in up.__all__ if isinstance(value := getattr(up, name), type) and issubclass(value, up.Optimizer)}
    assert {type(optimizer) for optimizer in OPTIMIZERS.values()} == public - {up.Optimizer}


@pytest.mark.parametrize("value", COMPAT, ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)))
def test_classes_of_compat_come_back(value: Any) -> None:
    check_round_trip(value)


def test_every_optimizer_schedule_and_loss_scale_that_is_a_class_of_compat_comes_back() -> None:
    assert set(config._compat().values()) == {kind for value in COMPAT for kind in kinds(value) if "compat" in kind.__module__}


@pytest.mark.parametrize("clip", CLIPS, ids=repr)
def test_transforms_come_back(clip: Any) -> None:
    check_round_trip(clip)


def test_every_public_transform_comes_back() -> None:
    assert {type(clip) for clip in CLIPS} == {getattr(transforms, name) for name in transforms.__all__}


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_loss_scales_come_back(scale: Any) -> None:
    check_round_trip(scale)


def test_every_public_loss_scale_comes_back() -> None:
    public = {getattr(loss_scale, name) for name in loss_scale.__all__}
    assert {type(scale) for scale in SCALES} == public - {loss_scale.LossScale}


POLICIES = [
    up.Policy(),
    up.Policy(
        clip=CLIPS[-1:], nonfinite="raise", accumulate=3, loss_scale=0.1, stochastic_rounding=7, count_calls=True,
        average=up.Average(Exp(1.0), 5, every_call=True),
    ),
    up.Policy(
        master_weights=True, loss_scale=SCALES[1], clip=[CLIPS[2], CLIPS[-2]], average=up.Average(1 / 3),
        overrides={
            "*.bias": {"weight_decay": None, "lr_scale": Exp(0.1), "clip": None},
            re.compile(r"^head\.(?P<n>\d+)", re.IGNORECASE | re.DOTALL): up.Adam(0.1, beta1=momentum.Nadam()),
            re.compile("(?x) a b"): {"clip": (CLIPS[0], CLIPS[2])},
            ("layer", 0, ("w",)): up.FROZEN,
            3: {},
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=["off", "on", "overrides"])
def test_policies_come_back(policy: up.Policy) -> None:
    data = check_round_trip(policy)
    assert list(data)[2:] == [field.name for field in attrs.fields(up.Policy)]
    check_round_trip(up.SGD(0.1, policy=policy))


def test_a_policy_in_full() -> None:
    clip = {"type": "transforms.ClipByNorm", "bound": 1 / 3}
    assert up.to_config(POLICIES[2])["overrides"] == [
        {
            "type": "policy.Override",
            "pattern": "*.bias",
            "settings": {"weight_decay": None, "lr_scale": without_version(Exp(0.1)), "clip": None},
        },
        {
            "type": "policy.Override",
            "pattern": {"type": "policy.Expression", "pattern": r"^head\.(?P<n>\d+)", "flags": ["IGNORECASE", "DOTALL"]},
            "settings": without_version(up.Adam(0.1, beta1=momentum.Nadam())),
        },
        {
            "type": "policy.Override",
            "pattern": {"type": "policy.Expression", "pattern": "(?x) a b", "flags": ["VERBOSE"]},
            "settings": {"clip": [{"type": "transforms.ClipByValue", "low": -0.1, "high": 0.3}, clip]},
        },
        {"type": "policy.Override", "pattern": ["layer", 0, ["w"]], "settings": {"type": "policy.FROZEN"}},
        {"type": "policy.Override", "pattern": 3, "settings": {}},
    ]


def without_version(value: Any) -> dict[str, Any]:
    return {name: part for name, part in up.to_config(value).items() if name != "version"}


CLASSES = random_schedules.by_class("iteration")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_schedules_come_back(kind: type[Schedule]) -> None:
    @few
    @given(CLASSES[kind] | random_schedules.by_class("epoch").get(kind, st.nothing()))
    def check(schedule: Schedule) -> None:
        data = check_round_trip(schedule)
        assert list(data) == ["version", "type", *(field.name for field in attrs.fields(kind) if field.init)]

    check()


def test_every_public_schedule_comes_back() -> None:
    public = {getattr(space, name) for space in (learning_rate, momentum) for name in space.__all__}
    assert CLASSES.keys() == {value for value in public if isinstance(value, type)} | {Combination}


@settings(max_examples=200, deadline=None)
@given(random_schedules.schedules())
def test_compositions_come_back(schedule: Schedule) -> None:
    check_round_trip(schedule)


# What a config of version 1 is, for ever.

STORED = {
    "version": 1,
    "type": "compat.keras.MuonOfPaths",
    "lr": {
        "type": "learning_rate.Warmup",
        "inner": {
            "type": "learning_rate.Sequence",
            "schedules": [
                {"type": "learning_rate.Exp", "value": 0.1, "gamma": 0.3333333333333333, "every": 1, "staircase": True}
                | {"begin": 0, "floor": 5e-324, "clock": "epoch"},
                0.25,
            ],
            "boundaries": [10],
            "clock": "epoch",
        },
        "iterations": 100,
        "start": 0.0,
    },
    "momentum": {"type": "momentum.Nadam", "mu0": 0.99, "delta": 0.004, "gamma": 0.5, "alpha": 0.96, "clock": "iteration"},
    "otherwise": {
        "type": "Adam",
        "lr": {
            "type": "learning_rate.Combination",
            "operation": "*",
            "left": {"type": "learning_rate.Lambda", "value": 0.1, "function": {"function": "inverse"}, "clock": "epoch"},
            "right": 0.5,
        },
        "beta1": 0.9,
        "weight_decay": None,
        "maximize": True,
        "transforms": [{"type": "transforms.ClipByNorm", "bound": 1.0}],
    },
    "polynomial": [2.0, -1.5, 0.5],
    "exclude_layers": ["head"],
}


def test_a_config_of_version_1_is_read_for_ever() -> None:
    exp = Exp(0.1, gamma=1 / 3, staircase=True, floor=5e-324)
    assert up.from_config(STORED) == keras.MuonOfPaths(
        Warmup(Sequence([exp, 0.25], [10]), 100),
        momentum=momentum.Nadam(),
        otherwise=up.Adam(
            Lambda(0.1, random_schedules.inverse) * 0.5, maximize=True, transforms=transforms.ClipByNorm(1.0), weight_decay=None
        ),
        polynomial=(2.0, -1.5, 0.5),
        exclude_layers=("head",),
    )


NAMES = """
ASGD AdaBelief Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl LAMB LARS Lion Muon Nadam NovoGrad Prodigy RAdam RMSProp Rprop
SGD ScheduleFreeAdamW ScheduleFreeSGD Yogi learning_rate.Combination learning_rate.Cosine learning_rate.CosineRestarts
learning_rate.Cyclic learning_rate.Delay learning_rate.Exp learning_rate.Fixed learning_rate.Inv learning_rate.InverseSqrt
learning_rate.Lambda learning_rate.Linear learning_rate.LinearCosine learning_rate.MultiStep learning_rate.NaturalExp
learning_rate.Noam learning_rate.NoisyLinearCosine learning_rate.OneCycle learning_rate.PerStep learning_rate.Piecewise
learning_rate.Plateau learning_rate.Polynomial learning_rate.Repeat learning_rate.Sequence learning_rate.Step learning_rate.Warmup
learning_rate.WarmupStableDecay momentum.Cyclic momentum.Nadam momentum.Null momentum.OneCycle transforms.ClipByNorm
transforms.ClipByValue transforms.LARC transforms.ClipByGlobalNorm transforms.AGC loss_scale.Backoff loss_scale.GrowthInterval loss_scale.LogMax loss_scale.Static
policy.Policy policy.Average policy.Override policy.FROZEN policy.Expression
compat.RatePlateau compat.keras.MuonOfPaths compat.keras.schedules.CosineDecay
compat.keras.schedules.CosineDecayRestarts compat.keras.schedules.ExponentialDecay compat.keras.schedules.InverseTimeDecay
compat.keras.schedules.LinearCosineDecay compat.keras.schedules.NoisyLinearCosineDecay
compat.keras.schedules.PiecewiseConstantDecay compat.keras.schedules.PolynomialDecay
compat.openseq2seq.loss_scaling.LogMaxOfPower compat.openseq2seq.rules.RMSPropOfOnes compat.tensorlayerx.AddDecay
compat.tensorlayerx.lr.PlateauOfFrozenBest compat.torch.AdafactorOfDtype compat.torch.DelayedASGD compat.torch.RpropOfFirstRate
compat.torch.lr_scheduler.PerCycle compat.torch.lr_scheduler.RateAndMomentum
"""


def test_names_of_version_1_stay() -> None:
    written = {config._type_name(kind) for kind in (*config._types.values(), *config._compat().values())}
    assert set(NAMES.split()) <= written


def test_a_schedule_is_read_by_any_of_its_public_names_and_written_as_learning_rates() -> None:
    data = {"version": 1, "type": "momentum.Fixed", "value": 0.5}
    assert up.from_config(data) == Fixed(0.5)
    assert up.to_config(Fixed(0.5)) == data | {"type": "learning_rate.Fixed"}


def test_an_example_in_full() -> None:
    assert up.to_config(up.SGD(Cosine(0.1, 100), transforms=transforms.ClipByNorm(2))) == {
        "version": 1,
        "type": "SGD",
        "lr": {
            "type": "learning_rate.Cosine",
            "value": 0.1,
            "length": 100,
            "end": 0.0,
            "periodic": False,
            "clock": "epoch",
        },
        "momentum": None,
        "nesterov": False,
        "dampening": None,
        "damp_first": False,
        "buffer": "steps",
        "weight_decay": None,
        "decay": "l2",
        "grad_clip": None,
        "gradient": "mean",
        "maximize": False,
        "transforms": [{"type": "transforms.ClipByNorm", "bound": 2.0}],
        "policy": None,
    }


def test_a_config_may_hold_another_with_its_version() -> None:
    data = up.to_config(up.Adam()) | {"lr": up.to_config(Exp(0.1))}
    assert up.from_config(data) == up.Adam(Exp(0.1))


def test_what_is_left_out_is_as_if_it_were_not_given() -> None:
    assert up.from_config({"version": 1, "type": "Adam"}) == up.Adam()
    assert up.from_config(
        {"type": "learning_rate.Delay", "inner": {"type": "learning_rate.Exp", "value": 1}, "by": 2, "version": 1}
    ) == Delay(Exp(1.0), 2)


def test_any_mapping_and_any_sequence_are_read() -> None:
    data = MappingProxyType(
        {"version": 1, "type": "learning_rate.MultiStep", "value": np.float64(0.5), "milestones": range(1, 4)}
    )
    assert up.from_config(data) == learning_rate.MultiStep(0.5, (1, 2, 3))


def test_what_a_plateau_remembers_is_not_its_configuration() -> None:
    rate = Plateau(0.1, patience=0)
    fresh = up.to_config(rate)
    for metric in (1.0, 2.0):
        rate.observe(metric)
    assert rate.reductions == 1
    assert up.to_config(rate) == fresh
    back = up.from_config(fresh)
    back.load_state_dict(rate.state_dict())
    assert back == rate


def test_a_config_is_read_and_not_written_to() -> None:
    before = json.dumps(STORED)
    up.from_config(STORED)
    assert json.dumps(STORED) == before


# Classes and functions of one's own.


@attrs.frozen
class Ramp:
    top: float
    _since: Any = 0
    calls: int = attrs.field(default=0, init=False)

    def __call__(self, state: up.OptimizationState, /) -> float:
        return min(float(self.top), (state.iteration - self._since) / 100)


@dataclasses.dataclass(frozen=True)
class Line:
    inner: Any
    steps: tuple[int, ...] = (1,)
    name: str = dataclasses.field(default="line", kw_only=True)
    places: tuple[int, ...] = dataclasses.field(default_factory=tuple)
    made: int = dataclasses.field(default=0, init=False)

    def __call__(self, state: up.OptimizationState, /) -> float:
        return float(self.inner(state)) * len(self.steps)


@attrs.frozen(repr=False)
class Rule(up.SGD):
    extra: float = 0.5


@attrs.frozen(repr=False)
class Curve(Schedule):
    value: float

    def at(self, epoch: int, iteration: int, state: up.OptimizationState) -> float:
        return self.value * epoch


@attrs.frozen
class Sign:
    scale: float = 1.0

    @staticmethod
    def apply(w: Any, g: Any, scale: Any) -> Any:
        return scale * np.sign(g)

    def coefficients(self, now: Any, state: up.OptimizationState, /) -> tuple[float]:
        return (self.scale,)


def falling(state: up.OptimizationState) -> float:
    return 0.5 / state.epoch


class Doubling:
    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, state: up.OptimizationState, /) -> float:
        return self.base * 2

    at = __call__


def test_classes_of_ones_own_come_back() -> None:
    assert up.register(Ramp) is Ramp
    assert up.register(Line, name="mine.Line") is Line
    for kind in (Rule, Curve, Sign):
        up.register(kind)
    ramp = Ramp(0.1 + 0.2, since=3)
    assert check_round_trip(ramp) == {"version": 1, "type": "Ramp", "top": 0.1 + 0.2, "since": 3}
    line = Line(Warmup(ramp, 10), steps=(1, 2))
    assert list(check_round_trip(line)) == ["version", "type", "inner", "steps", "name", "places"]
    assert up.to_config(line)["type"] == "mine.Line"
    assert up.from_config({"version": 1, "type": "mine.Line", "inner": 0.5}) == Line(0.5)
    with pytest.raises(ValueError, match="^config.inner is missing, which mine.Line needs$"):
        up.from_config({"version": 1, "type": "mine.Line"})
    check_round_trip(Rule(Curve(0.5) + line, extra=2.0, momentum=ramp, transforms=(Sign(2.0), transforms.LARC(ramp))))


def test_numpys_scalars_become_pythons() -> None:
    up.register(Ramp)
    for value in (np.float32(0.1), np.float64(0.1), np.int16(3), np.bool_(True), np.str_("x"), True, 0, -0.0, "y", None, 2**70):
        data = up.to_config(Ramp(value))
        assert type(data["top"]) in (float, int, bool, str, type(None))
        assert data["top"] == value
        assert (type(data["top"]) is bool) == isinstance(value, (bool, np.bool_))
        back = up.from_config(json.loads(json.dumps(data)))
        assert back == Ramp(value)
        assert repr(back.top) == repr(data["top"])


def test_functions_go_by_their_names() -> None:
    bound = Doubling(0.25)
    up.register(falling)
    up.register(bound.at, name="doubling.at")
    up.register(bound, name="doubling")
    up.register(partial(min, 3), name="at most 3")
    up.register(lambda t: 2.0 * t, name="twice")
    assert up.to_config(falling) == {"version": 1, "function": "falling"}
    assert up.from_config({"version": 1, "function": "falling"}) is falling
    optimizer = up.SGD(falling, momentum=bound.at, weight_decay=bound)
    data = check_round_trip(optimizer)
    assert [data[key]["function"] for key in ("lr", "momentum", "weight_decay")] == ["falling", "doubling.at", "doubling"]
    for name in ("at most 3", "twice"):
        check_round_trip(Lambda(0.5, config._functions[name]))


def test_register_is_a_decorator_with_a_name_or_without() -> None:
    @up.register
    @attrs.frozen
    class One:
        pass

    @up.register(name="mine.Two")
    @dataclasses.dataclass
    class Two:
        pass

    @up.register()
    def three(state: object) -> float:
        return 3.0

    assert up.from_config({"version": 1, "type": "One"}) == One()
    assert up.from_config({"version": 1, "type": "mine.Two"}) == Two()
    assert up.from_config({"version": 1, "function": "three"}) is three


def test_one_name_is_for_one_object() -> None:
    up.register(Ramp, name="mine")
    assert up.register(Ramp, name="mine") is Ramp
    for other in (Line, falling):
        with pytest.raises(ValueError, match="free") as info:
            up.register(other, name="mine")
        assert str(info.value) == f"register(name=) must be free, got 'mine', the name of {Ramp!r}"
    with pytest.raises(ValueError, match="the name of <class 'updaters.optimizers.adam.Adam'>"):
        up.register(Ramp, name="Adam")
    with pytest.raises(ValueError, match="the name of <class 'updaters.optimizers.adam.Adam'>"):
        up.register(falling, name="Adam")
    up.register(falling)
    with pytest.raises(ValueError, match="the name of <function falling"):
        up.register(Ramp, name="falling")
    assert up.from_config({"version": 1, "type": "mine", "top": 0.5}) == Ramp(0.5)


def test_a_method_is_its_objects() -> None:
    first, second = Doubling(0.25), Doubling(0.5)
    for _ in range(2):
        up.register(first.at, name="doubling")
    with pytest.raises(ValueError, match="free"):
        up.register(second.at, name="doubling")
    check_round_trip(up.SGD(first.at))
    with pytest.raises(TypeError, match=r"config\.lr must be a registered function"):
        up.to_config(up.SGD(second.at))


def test_of_several_names_all_are_read_and_the_first_is_written() -> None:
    up.register(Ramp)
    up.register(Ramp, name="Slope")
    up.register(up.Adam, name="mine.Adam")
    assert up.to_config(Ramp(0.5))["type"] == "Ramp"
    assert up.from_config({"version": 1, "type": "Slope", "top": 0.5}) == Ramp(0.5)
    assert up.to_config(up.from_config({"version": 1, "type": "mine.Adam"}))["type"] == "Adam"


CELL = """
import attrs

@attrs.frozen
class Cell:
    top: float = {top}

def cell(t):
    return {top}
"""


def run_cell(top: float, module: str = "__main__") -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": module}
    exec(CELL.format(top=top), names)
    return names


def test_a_cell_that_is_run_again_takes_the_place_of_its_definitions() -> None:
    first, second = run_cell(0.25), run_cell(0.5)
    for names in (first, second):
        for name in ("Cell", "cell"):
            up.register(names[name])
            up.register(names[name], name=f"another {name}")
    for name in ("Cell", "another Cell"):
        assert type(up.from_config({"version": 1, "type": name})) is second["Cell"]
    assert up.from_config({"version": 1, "function": "another cell"}) is second["cell"]
    assert up.to_config(second["Cell"]()) == {"version": 1, "type": "Cell", "top": 0.5}
    for old in (first["Cell"](), first["cell"]):
        with pytest.raises(TypeError, match="registered"):
            up.to_config(old)
    with pytest.raises(ValueError, match="free"):
        up.register(run_cell(0.75, "another")["Cell"])
    second["cell"].__qualname__ = "Cell"
    with pytest.raises(ValueError, match="free"):
        up.register(second["cell"], name="Cell")  # a function is no new definition of a class


@pytest.mark.parametrize("make", [lambda top: lambda t: top, lambda top: type("Local", (), {"__call__": lambda self, t: top})()])
def test_of_lambdas_and_local_functions_none_takes_the_place_of_another(make: Callable[[float], Any]) -> None:
    up.register(make(0.25), name="mine")
    with pytest.raises(ValueError, match="register.name=. must be free, got 'mine'"):
        up.register(make(0.5), name="mine")


class Plain:
    pass


class Undecorated(up.Adam):
    pass


@attrs.frozen
class OfItsOwn:
    top: float

    def __init__(self, height: float) -> None:
        self.__attrs_init__(height)  # type: ignore[attr-defined]


@dataclasses.dataclass
class OfLess:
    top: dataclasses.InitVar[float]


@attrs.frozen
class Typed:
    type: str


@attrs.frozen
class Versioned:
    version: int


@attrs.define
class Unhashable:
    def __call__(self, state: object) -> float:
        return 0.5


OWN = "register takes an attrs class or a dataclass, above whose decorator it stands, got"


@pytest.mark.parametrize(
    ("item", "name", "error", "message"),
    [
        (Plain, None, TypeError, f"{OWN} {Plain!r}"),
        (Undecorated, None, TypeError, f"{OWN} {Undecorated!r}"),
        (OfItsOwn, None, TypeError, f"register takes a class whose arguments are its fields, top, got {OfItsOwn!r}"),
        (OfLess, None, TypeError, f"register takes a class whose arguments are its fields, , got {OfLess!r}"),
        (Typed, None, TypeError, f"register takes no class with a field 'type', a word that configs need themselves, got {Typed!r}"),
        (Versioned, "V", TypeError, f"register takes no class with a field 'version', a word that configs need themselves, got {Versioned!r}"),
        (Unhashable(), "U", TypeError, "register takes a class or a hashable callable, got Unhashable()"),
        (0.1, "number", TypeError, "register takes a class or a hashable callable, got 0.1"),
        ("falling", None, TypeError, "register takes a class or a hashable callable, got 'falling'"),
        (falling, "", TypeError, f"register(name=) must be a name, got '' for {falling!r}"),
        (falling, 3, TypeError, f"register(name=) must be a name, got 3 for {falling!r}"),
        (min, "compat.min", ValueError, "register(name=) must not begin as ours do, with 'learning_rate.' or 'momentum.' or 'transforms.' or 'loss_scale.' or 'policy.' or 'compat.', got 'compat.min'"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),
)  # fmt: skip
def test_what_cannot_be_registered(item: Any, name: Any, error: type[Exception], message: str) -> None:
    before = dict(config._types), dict(config._functions), dict(config._names)
    with pytest.raises(error) as info:
        up.register(item, name=name)
    assert str(info.value) == message
    assert (config._types, config._functions, config._names) == before


@pytest.mark.parametrize("item", [lambda t: 0.5, partial(min, 3), Doubling(0.5)])
def test_what_has_no_name_is_given_one(item: Any) -> None:
    with pytest.raises(TypeError, match=r"register\(name=\) must be a name, got '"):
        up.register(item)


# What cannot be written.


def unregistered(state: object) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (up.Adam(unregistered), TypeError, f"config.lr must be a registered function, got {unregistered!r}; give it a name with updaters.register"),
        (Sequence([0.5, Lambda(0.1, math.sqrt)], [3], clock="epoch"), TypeError, "config.schedules[1].function must be a registered function, got <built-in function sqrt>; give it a name with updaters.register"),
        (up.SGD(momentum=Ramp(0.5)), TypeError, "config.momentum must be of a registered class, got Ramp(top=0.5, _since=0, calls=0); give Ramp a name with updaters.register"),
        (up.SGD(Warmup(Unhashable(), 5)), TypeError, "config.lr.inner must be of a registered class, got Unhashable(); give Unhashable a name with updaters.register"),
        (Undecorated(), TypeError, "config must be of a registered class, got Undecorated(lr=0.001); give Undecorated a name with updaters.register"),
        (up.Adam, TypeError, "config must be a value, got <class 'updaters.optimizers.adam.Adam'> (the class; call it)"),
        (0.1, TypeError, "config must be an optimizer, a schedule, a transform, a loss scale or a policy, got 0.1"),
        (up.get_updater(up.SGD(0.1)), TypeError, f"config must be an optimizer, a schedule, a transform, a loss scale or a policy, got {up.get_updater(up.SGD(0.1))!r}, which has one: give its `optimizer`"),
        ((Fixed(0.1),), TypeError, "config must be an optimizer, a schedule, a transform, a loss scale or a policy, got (Fixed(0.1),)"),
        (None, TypeError, "config must be an optimizer, a schedule, a transform, a loss scale or a policy, got None"),
        (Sign(math.nan), ValueError, "config.scale must be finite, got nan"),
        (Sign(np.float32("inf")), ValueError, "config.scale must be finite, got np.float32(inf)"),
        (up.Policy(overrides={"w": {5: 1.0}}), TypeError, "config.overrides[0].settings must have the names of hyperparameters, got 5"),
        (up.Policy(overrides={re.compile(b"w"): up.FROZEN}), TypeError, "config.overrides[0].pattern.pattern must be of a registered class, got b'w'; give bytes a name with updaters.register"),
        (Sign([1.0]), TypeError, "config.scale must be a tuple, as which it would come back, got [1.0]"),
        (Sign((1.0, {})), TypeError, "config.scale[1] must be of a registered class, got {}; give dict a name with updaters.register"),
    ],
    ids=lambda value: str(value).split(" at 0x")[0][:40],
)  # fmt: skip
def test_what_cannot_be_written(value: Any, error: type[Exception], message: str) -> None:
    up.register(Sign)
    with pytest.raises(error) as info:
        up.to_config(value)
    assert str(info.value) == message


# What cannot be read.


def bad(*path: str, **changed: Any) -> dict[str, Any]:
    """A config of an Adam whose rate is a warm-up of an exponential decay, with something else in it, at some place."""
    exp = {"type": "learning_rate.Exp", "value": 0.1, "gamma": 0.5}
    data: dict[str, Any] = {"version": 1, "type": "Adam", "lr": {"type": "learning_rate.Warmup", "inner": exp, "iterations": 5}}
    place = data
    for key in path:
        place = place[key]
    place.update(changed)
    for key in [key for key, value in place.items() if value is ...]:
        del place[key]
    return data


def policy(**fields: Any) -> dict[str, Any]:
    return {"type": "policy.Policy", **fields}


def override(pattern: Any = "w", settings: Any = None) -> dict[str, Any]:
    return {"type": "policy.Override", "pattern": pattern, "settings": {} if settings is None else settings}


BAD: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "config must be a mapping, got None"),
    ([bad()], TypeError, "config must be a mapping, got [{'lr': {'inner': {'gamma': 0.5, 'type': 'learning_rate.Exp', 'value': 0.1}, 'iterations': 5, 'type': 'learning_rate.Warmup'}, 'type': 'Adam', 'version': 1}]"),
    (json.dumps({"version": 1}), TypeError, "config must be a mapping, got '{\"version\": 1}'"),
    ({}, ValueError, "config.version is missing, which is 1"),
    (bad(version=...), ValueError, "config.version is missing, which is 1"),
    (bad(version=2), ValueError, "config.version must be 1, got 2; a later updaters wrote it"),
    (bad(version=0), ValueError, "config.version must be 1, got 0"),
    (bad(version=True), ValueError, "config.version must be 1, got True"),
    (bad(version="1"), ValueError, "config.version must be 1, got '1'"),
    (bad("lr", version=3), ValueError, "config.lr.version must be 1, got 3; a later updaters wrote it"),
    (bad(type=...), ValueError, "config.type is missing, the name of an optimizer, a schedule, a transform, a loss scale, a policy or a registered class"),
    (bad("lr", "inner", type=...), ValueError, "config.lr.inner.type is missing, the name of an optimizer, a schedule, a transform, a loss scale, a policy or a registered class"),
    (bad(type="Adm"), ValueError, "config.type must be the name of a class, got 'Adm'; did you mean 'Adam'?"),
    (bad(type="adam"), ValueError, "config.type must be the name of a class, got 'adam'; did you mean 'Adam'?"),
    (bad(type="optim.Adam"), ValueError, "config.type must be the name of a class, got 'optim.Adam'; did you mean 'Adam'?"),
    (bad("lr", type="Cosine"), ValueError, "config.lr.type must be the name of a class, got 'Cosine'; did you mean 'learning_rate.Cosine'?"),
    (bad("lr", type="Warmups"), ValueError, "config.lr.type must be the name of a class, got 'Warmups'; did you mean 'learning_rate.Warmup'?"),
    (bad("lr", type="learning_rate.Cosines"), ValueError, "config.lr.type must be the name of a class, got 'learning_rate.Cosines'; did you mean 'learning_rate.Cosine'?"),
    (bad(type="compat.torch.DelayedSGD"), ValueError, "config.type must be the name of a class, got 'compat.torch.DelayedSGD'; did you mean 'compat.torch.DelayedASGD'?"),
    (bad("lr", type="mine"), ValueError, "config.lr.type must be the name of a class, got 'mine'; updaters.register gives a name to a class of your own"),
    (bad("lr", type="inverse"), ValueError, "config.lr.type must be the name of a class, got 'inverse'; updaters.register gives a name to a class of your own"),
    (bad("lr", type="rates.OneCycles"), ValueError, "config.lr.type must be the name of a class, got 'rates.OneCycles'; did you mean 'learning_rate.OneCycle'?"),
    (bad("lr", type=5), ValueError, "config.lr.type must be the name of a class, got 5; updaters.register gives a name to a class of your own"),
    (bad("lr", type=["Adam"]), ValueError, "config.lr.type must be the name of a class, got ['Adam']; updaters.register gives a name to a class of your own"),
    (bad(beta_1=0.9), ValueError, "config.beta_1 is no field of Adam; did you mean 'beta1'?"),
    (bad("lr", "inner", gama=0.9), ValueError, "config.lr.inner.gama is no field of learning_rate.Exp; did you mean 'gamma'?"),
    (bad("lr", best=0.9), ValueError, "config.lr.best is no field of learning_rate.Warmup; there are inner, iterations, start"),
    (bad(lr={"type": "momentum.Null", "value": 0.0}), ValueError, "config.lr.value is no field of momentum.Null; there are none"),
    ({"version": 1, "type": "learning_rate.Plateau", "inner": 0.1, "best": 1.0}, ValueError, "config.best is no field of learning_rate.Plateau; there are inner, factor, patience, threshold, relative, mode, cooldown, floor"),
    (bad("lr", "inner", **{"__class__": "Adam"}), ValueError, "config.lr.inner.__class__ is no field of learning_rate.Exp; there are value, gamma, every, staircase, begin, floor, clock"),
    ({**bad(), 1: 2}, ValueError, "config.1 is no field of Adam; there are lr, beta1, beta2, epsilon, amsgrad, epsilon_hat, bias_correction, weight_decay, decay, grad_clip, gradient, maximize, transforms, policy"),
    (bad("lr", "inner", value=...), ValueError, "config.lr.inner.value is missing, which learning_rate.Exp needs"),
    (bad("lr", "inner", gamma=-1), ValueError, "config.lr.inner.gamma must be in (0, inf), got -1"),
    (bad("lr", "inner", gamma="0.5"), TypeError, "config.lr.inner.gamma must be a real number in (0, inf), got '0.5' (str)"),
    (bad("lr", "inner", gamma=math.nan), ValueError, "config.lr.inner.gamma must be finite, got nan"),
    (bad("lr", "inner", gamma=math.inf), ValueError, "config.lr.inner.gamma must be finite, got inf"),
    (bad("lr", "inner", gamma=None), TypeError, "config.lr.inner.gamma must be a real number in (0, inf), got None (NoneType)"),
    (bad("lr", "inner", clock="epochs"), ValueError, "config.lr.inner.clock must be 'epoch' or 'iteration', got 'epochs'"),
    (bad("lr", inner=...), ValueError, "config.lr.inner is missing, which learning_rate.Warmup needs"),
    (bad(lr={"type": "SGD"}), TypeError, "config.lr must be a real number in [0, inf) or a scheduler, got SGD(lr=0.01) (SGD)"),
    (bad(policy=policy(accumulate=0)), ValueError, "config.policy: accumulate must be an integer of at least 1, got 0"),
    (bad(policy=policy(clip=0.1)), TypeError, "config.policy: clip must hold transforms of gradients, as those of updaters.transforms are, got 0.1"),
    (bad(policy=policy(overrides={"w": 1})), ValueError, "config.policy.overrides.type is missing, the name of an optimizer, a schedule, a transform, a loss scale, a policy or a registered class"),
    (bad(policy=policy(overrides=[override(settings={"lr": {"type": "Exp"}})])), ValueError, "config.policy.overrides[0].settings.lr.type must be the name of a class, got 'Exp'; did you mean 'learning_rate.Exp'?"),
    (bad(policy=policy(overrides=[{"type": "policy.Override", "settings": {}}])), ValueError, "config.policy.overrides[0].pattern is missing, which policy.Override needs"),
    (bad(policy=policy(overrides=[override({"type": "policy.Expression", "pattern": "("})])), ValueError, "config.policy.overrides[0].pattern: pattern must be a regular expression, got '(': missing ), unterminated subpattern at position 0"),
    (bad(policy=policy(overrides=[override({"type": "policy.Expression", "pattern": 5})])), TypeError, "config.policy.overrides[0].pattern: pattern must be a string, got 5"),
    (bad(policy=policy(overrides=[override({"type": "policy.Expression", "pattern": "w", "flags": ["DEBUG"]})])), ValueError, "config.policy.overrides[0].pattern: flags must be among ASCII, IGNORECASE, MULTILINE, DOTALL, VERBOSE, got 'DEBUG'"),
    (bad(policy=policy(overrides=[override({"type": "policy.Expression", "pattern": "w", "flags": 2})])), ValueError, "config.policy.overrides[0].pattern: flags must be among ASCII, IGNORECASE, MULTILINE, DOTALL, VERBOSE, got 2"),
    (bad(policy=policy(overrides=[override(settings={"type": "policy.FROZEN", "by": 1})])), ValueError, "config.policy.overrides[0].settings.by is no field of policy.FROZEN; there are none"),
    (bad(policy={"type": "policy.Average", "keep": 0.5}), TypeError, "config.policy must be a Policy or None, got Average(keep=0.5, overwrite_every=None, every_call=False)"),
    (bad(transforms=[{"type": "SGD"}]), TypeError, "config.transforms must hold transforms of gradients, got SGD(lr=0.01)"),
    (bad(beta1=b"0.9"), TypeError, "config.beta1 must be a number, a string, True, False, None, a sequence or a mapping, got b'0.9'"),
    (bad(lr=Exp(0.1)), TypeError, "config.lr must be a number, a string, True, False, None, a sequence or a mapping, got Exp(0.1)"),
    (bad(lr=unregistered), TypeError, f"config.lr must be a number, a string, True, False, None, a sequence or a mapping, got {unregistered!r}"),
    (bad(lr={"function": "invers"}), ValueError, "config.lr.function must be the name of a registered function, got 'invers'; did you mean 'inverse'?"),
    (bad(lr={"function": "Adam"}), ValueError, "config.lr.function must be the name of a registered function, got 'Adam'; updaters.register gives it one"),
    (bad(lr={"function": None}), ValueError, "config.lr.function must be the name of a registered function, got None; updaters.register gives it one"),
    (bad(lr={"function": "inverse", "state": 1}), ValueError, "config.lr.state is no field of a function; there are none"),
    (bad("lr", function="inverse"), ValueError, "config.lr.function is no field of learning_rate.Warmup; there are inner, iterations, start"),
    (bad(otherwise={"type": "Adam"}, type="Muon", polynomial=[1, 2]), ValueError, "config.polynomial must be three numbers, got (1, 2)"),
    (bad(lr={"type": "compat.RatePlateau", "inner": {"type": "learning_rate.Exp", "value": 0.1}}), TypeError, "config.lr.inner must be a real number in [0, inf), got Exp(0.1) (Exp)"),
    (bad(lr={"type": "compat.torch.lr_scheduler.RateAndMomentum", "rate": "0.1"}), TypeError, "config.lr.rate must be a finite number or a scheduler, got '0.1' (str)"),
    (bad(lr={"type": "compat.torch.lr_scheduler.RateAndMomentum", "rate": 0.1, "momentum": "0.9"}), TypeError, "config.lr.momentum must be a finite number or a scheduler, got '0.9' (str)"),
    (bad(lr={"type": "compat.torch.lr_scheduler.PerCycle", "function": 0.5, "length": 2}), TypeError, "config.lr.function must be a function, got 0.5"),
    (bad(lr={"type": "compat.torch.lr_scheduler.PerCycle", "function": {"function": "inverse"}, "length": 0}), ValueError, "config.lr.length must be in (0, inf), got 0"),
    (bad(lr={"type": "compat.keras.schedules.ExponentialDecay", "initial_learning_rate": 0.1, "decay_steps": 0, "decay_rate": 0.5}), ValueError, "config.lr.decay_steps must be in (0, inf), got 0"),
    ({"version": 1, "type": "SGD", "nesterov": True}, ValueError, "config.nesterov needs a momentum, got momentum=None"),
    ({"version": 1, "type": "Muon", "otherwise": {"type": "learning_rate.Fixed", "value": 1.0}}, TypeError, "config.otherwise must be an Optimizer, got Fixed(1.0)"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "error", "message"), BAD, ids=[message[:80] for _, _, message in BAD])
def test_what_cannot_be_read(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        up.from_config(data)
    assert str(info.value) == message


def test_the_config_that_bad_ones_are_made_of_is_good() -> None:
    assert up.from_config(bad()) == up.Adam(Warmup(Exp(0.1, gamma=0.5), 5))


def nested(depth: int, wrap: Callable[[Any], Any], inner: Any) -> Any:
    for _ in range(depth):
        inner = wrap(inner)
    return inner


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: [inner],
        lambda inner: {"type": "learning_rate.Warmup", "inner": inner, "iterations": 1},
        lambda inner: {"type": "no such", "lr": inner},
        lambda inner: {"version": inner},
    ],
)
def test_configs_of_any_depth_are_errors_that_are_short(wrap: Callable[[Any], Any]) -> None:
    deep = nested(100_000, wrap, 0.1)
    for data in (bad(lr=deep), bad(version=deep), bad("lr", type=deep), deep):
        with pytest.raises((TypeError, ValueError)) as info:
            up.from_config(data)
        assert len(str(info.value)) < 500


def test_how_deep_a_config_may_be() -> None:
    def warmed(times: int) -> Any:
        return nested(times, lambda inner: Warmup(inner, 1), 0.5)

    check_round_trip(warmed(100))
    data = nested(101, lambda inner: {"type": "learning_rate.Warmup", "inner": inner, "iterations": 1}, 0.5) | {"version": 1}
    message = f"{'config' + '.inner' * 9}... is nested more than 100 deep"
    for attempt in (lambda: up.from_config(data), lambda: up.to_config(warmed(101))):
        with pytest.raises(ValueError, match="nested") as info:
            attempt()
        assert str(info.value) == message


# What a config must not be able to do.

STRANGE = [
    "os.system",
    "builtins.eval",
    "eval",
    "subprocess.Popen",
    "antigravity.fly",
    "updaters.Adam",
    "updaters.config.register",
    "register",
    "Optimizer",
    "OptimizationState",
    "Adam.__class__",
    "__class__",
    "__import__",
    "",
    ".",
    "Adam.",
    "learning_rate.",
    "learning_rate.minimum",
    "learning_rate.per_step",
    "learning_rate.Schedule",
    "learning_rate.__builtins__",
    "transforms.np",
    "compat",
    "compat.",
    "compat.torch",
    "compat.torch.np",
    "compat.torch.SGD",
    "compat.torch.rules.SGD",
    "compat.torch.Schedulable",
    "compat.keras.Scaled",
    "compat._arguments.Scaled",
    "compat.tensorlayerx.ClipByGlobalNorm",
    "compat.antigravity.fly",
    "compat..antigravity",
    "compat.../antigravity",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_is_looked_up_and_nothing_else(name: str) -> None:
    config._compat()
    before = set(sys.modules)
    for key in ("type", "function"):
        for data in ({"version": 1, key: name}, bad(lr={key: name}), {"version": 1, key: name, "args": ["true"]}):
            with pytest.raises(ValueError, match=f"{key} must be the name of a|no field of a function"):
                up.from_config(data)
    assert set(sys.modules) == before


def test_a_name_of_ours_imports_ours_alone() -> None:
    program = f"""
import json, sys
import updaters as up
before = set(sys.modules)
up.from_config(up.to_config(up.Adam(up.learning_rate.Exp(0.1))))
first = set(sys.modules) - before
names = {STRANGE!r}
for name in names:
    try:
        up.from_config({{"version": 1, "type": name}})
    except ValueError:
        pass
up.from_config({{"version": 1, "type": "compat.torch.DelayedASGD"}})
print(json.dumps([sorted(first), sorted(name for name in set(sys.modules) - before if name.split(".")[0] not in sys.stdlib_module_names)]))
"""
    at_first, later = python(program)
    assert at_first == []
    assert "updaters.compat.torch" in later
    assert [name for name in later if not name.startswith("updaters.compat")] == []


def test_a_registered_function_is_not_called_by_reading() -> None:
    calls = []
    up.register(calls.append, name="append")
    for data in (bad(lr={"function": "append"}), {"version": 1, "function": "append"}):
        up.from_config(data)
        with pytest.raises(ValueError, match="must be the name of a class"):
            up.from_config(bad(lr={"type": "append", "value": 1}))
    assert calls == []


def test_mappings_that_are_no_dicts_are_read_like_dicts() -> None:
    class Only(Mapping[str, Any]):
        def __init__(self, data: dict[str, Any]) -> None:
            self.data = data

        def __getitem__(self, key: str) -> Any:
            return self.data[key]

        def __iter__(self) -> Iterator[str]:
            return iter(self.data)

        def __len__(self) -> int:
            return len(self.data)

    assert up.from_config(Only({"version": 1, "type": "Adam", "lr": Only(up.to_config(minimum(0.1, Exp(0.3))))})) == up.Adam(
        minimum(0.1, Exp(0.3))
    )


def test_clips_of_tensorlayerx_are_ours() -> None:
    check_round_trip(tensorlayerx.SGD(0.1, grad_clip=tensorlayerx.ClipGradByNorm(0.5)))
