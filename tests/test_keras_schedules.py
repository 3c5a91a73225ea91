"""Keras's schedules: the rates that it gave, its arguments, its dictionaries, and what is refused."""

import copy
import inspect
import json
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.golden.schedules import ScheduleCase, schedule_cases
from tests.golden.signatures import schedule_signatures, signature
from tests.schedule_parity import EQUAL, REFUSED, Clock, errors, made, rates
from updaters.compat import keras
from updaters.compat.keras import schedules

CASES = [case for system, case in EQUAL if system == "keras"]
NAMED = {case.name: case for case in schedule_cases("keras")}
CLASSES = [name for name in schedules.__all__ if inspect.isclass(getattr(schedules, name))]


@pytest.mark.parametrize("clock", ["epoch", "iteration"])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_rates_are_those_that_keras_gave(case: ScheduleCase, clock: Clock) -> None:
    beyond = np.flatnonzero(errors(case, clock) > case.tolerance) + 1
    assert tuple(beyond.tolist()) == case.defects


def test_a_restart_that_is_late_in_keras_is_not_late_here() -> None:
    case = NAMED["CosineDecayRestarts(initial_learning_rate=0.1, first_decay_steps=1, t_mul=3.0)"]
    assert case.defects == (122,)  # after 1 + 3 + 9 + 27 + 81 steps
    assert rates(case, "iteration")[0][121] == 0.1 > case.rates[121]


def test_every_case_is_compared_or_refused_or_a_defect() -> None:
    defects = {case.name for case in NAMED.values() if case.defect}
    assert {case.name for case in CASES} | defects == NAMED.keys()
    assert defects - REFUSED.keys() == INTEGERS.keys()


@pytest.mark.parametrize("case", [case for case in NAMED.values() if case.name in REFUSED], ids=repr)
def test_what_keras_gets_wrong_is_refused(case: ScheduleCase) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED[case.name])}$"):
        made(case.scheduler, case.lr, case.arguments, "iteration")


INTEGERS = {
    "ExponentialDecay(initial_learning_rate=1, decay_steps=50, decay_rate=0.9)": lambda t: 0.9 ** (t / 50),
    "CosineDecay(initial_learning_rate=1, decay_steps=100)": lambda t: (1 + math.cos(math.pi * min(t / 100, 1))) / 2,
    "CosineDecayRestarts(initial_learning_rate=1, first_decay_steps=20, t_mul=1.5)": lambda t: (
        (1 + math.cos(math.pi * (t / 20 if t < 20 else (t - 20) / 30 if t < 50 else (t - 50) / 45))) / 2
    ),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_as_initial_rate_is_a_number(name: str) -> None:
    found = rates(NAMED[name], "iteration")[0][:95]
    expected = [INTEGERS[name](t) for t in range(95)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    assert not np.allclose(NAMED[name].rates[:95], expected, atol=1e-2)


# Keras 2's two, by the formula that its documentation has


def linear_cosine(step: int, noise: float = 0.0) -> float:
    initial, steps, periods, alpha, beta = 0.3, 40, 1.5, 0.1, 0.002
    step = min(step, steps)
    linear = (steps - step) / steps
    cosine = 0.5 * (1 + math.cos(math.pi * 2 * periods * step / steps))
    return initial * ((alpha + linear + noise) * cosine + beta)


def test_the_linear_cosine_is_that_of_its_documentation() -> None:
    schedule = schedules.LinearCosineDecay(0.3, 40, 1.5, 0.1, 0.002)
    found = [schedule(up.OptimizationState(iteration=k)) for k in range(1, 61)]
    np.testing.assert_allclose(found, [linear_cosine(k - 1) for k in range(1, 61)], rtol=0, atol=1e-15)


@pytest.mark.parametrize("step", [0, 3, 20])
def test_the_noise_on_the_linear_cosine_has_the_variance_of_its_documentation(step: int) -> None:
    rates = [
        schedules.NoisyLinearCosineDecay(0.3, 40, 0.0004, 0.7, 1.5, 0.1, 0.002, seed)(up.OptimizationState(iteration=step + 1))
        for seed in range(1000)
    ]
    noise = (np.array(rates) - linear_cosine(step)) / (linear_cosine(step, 1.0) - linear_cosine(step))
    expected = math.sqrt(0.0004 / (1 + step) ** 0.7)
    assert np.std(noise) == pytest.approx(expected, rel=0.07)
    assert abs(np.mean(noise)) < 3 * expected / math.sqrt(1000)


def test_the_seed_is_another_noise_and_none_is_0() -> None:
    at = up.OptimizationState(iteration=5)
    one, other, none = (schedules.NoisyLinearCosineDecay(0.1, 100, 0.01, seed=seed) for seed in (0, 1, None))
    assert one(at) == none(at) != other(at)
    assert none.get_config()["seed"] is None


# Arguments

OF_KERAS_2: dict[str, list[list[Any]]] = {
    "LinearCosineDecay": [["num_periods", 0.5], ["alpha", 0.0], ["beta", 0.001], ["name", None]],
    "NoisyLinearCosineDecay": [
        ["initial_variance", 1.0], ["variance_decay", 0.55], ["num_periods", 0.5], ["alpha", 0.0], ["beta", 0.001],
        ["seed", None], ["name", None],
    ],
}  # fmt: skip
FIRST = [[name, "POSITIONAL_OR_KEYWORD", inspect.Parameter.empty] for name in ("initial_learning_rate", "decay_steps")]


@pytest.mark.parametrize("name", CLASSES)
def test_names_order_and_values_of_arguments_are_keras(name: str) -> None:
    theirs = schedule_signatures("keras").get(name)
    if theirs is None:
        theirs = FIRST + [[argument, "POSITIONAL_OR_KEYWORD", value] for argument, value in OF_KERAS_2[name]]
    ours = signature(getattr(schedules, name))
    assert ours.pop() == ["clock", "KEYWORD_ONLY", "iteration"]
    assert ours == theirs
    assert [type(value) is bool for *_, value in ours] == [type(value) is bool for *_, value in theirs]


def test_the_submodule_comes_with_its_package() -> None:
    assert keras.schedules is schedules
    assert schedule_signatures("keras").keys() | OF_KERAS_2.keys() == {*CLASSES}


EXAMPLES: dict[str, dict[str, Any]] = {
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 100, "warmup_target": 0.2, "warmup_steps": 5},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 100},
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.9},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.9},
    "LinearCosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 100},
    "NoisyLinearCosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 100},
    "PiecewiseConstantDecay": {"boundaries": [5], "values": [0.1, 0.2]},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 100},
}


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_names_the_argument_that_was_given(name: str) -> None:
    make = getattr(schedules, name)
    make(**EXAMPLES[name])
    for argument, value in EXAMPLES[name].items():
        if isinstance(value, list):
            for wrong, error in (([0.1, -1.0], ValueError), ([0.1, "1"], TypeError), (5, TypeError), ("12", TypeError)):
                with pytest.raises(error, match=rf"^{name}\.{argument}(\[1\])? must be "):
                    make(**EXAMPLES[name] | {argument: wrong})
            continue
        for wrong, error in ((-1.0, ValueError), (math.nan, ValueError), ("0.1", TypeError), (True, TypeError)):
            if argument == "warmup_steps":
                error = TypeError
            with pytest.raises(error, match=rf"^{name}\.{argument} must be "):
                make(**EXAMPLES[name] | {argument: wrong})
    for argument, _, value in signature(make):
        if type(value) in (float, int):
            with pytest.raises((TypeError, ValueError), match=rf"^{name}\.{argument} must be "):
                make(**EXAMPLES[name] | {argument: -1})
        if type(value) is bool:
            with pytest.raises(TypeError, match=rf"^{name}\.{argument} must be True or False, got 2$"):
                make(**EXAMPLES[name] | {argument: 2})
    for argument, wrong in (("clock", "step"), ("name", 5)):
        with pytest.raises((TypeError, ValueError), match=rf"^{name}\.{argument} must be "):
            make(**EXAMPLES[name] | {argument: wrong})


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: schedules.ExponentialDecay(0.1, 0, 0.9), ValueError, "ExponentialDecay.decay_steps must be in (0, inf), got 0"),
    (lambda: schedules.ExponentialDecay(0.1, 9, 0.0), ValueError, "ExponentialDecay.decay_rate must be in (0, inf), got 0.0"),
    (lambda: schedules.PolynomialDecay(0.1, 9, power=-1), ValueError, "PolynomialDecay.power must be in [0, inf), got -1"),
    (lambda: schedules.CosineDecayRestarts(0.1, 9, 0.5), ValueError, "CosineDecayRestarts.t_mul must be in [1, inf), got 0.5"),
    (
        lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]),
        ValueError,
        "PiecewiseConstantDecay.boundaries must be one fewer than values, (0.1, 0.2), got (1, 2)",
    ),
    (
        lambda: schedules.serialize(up.learning_rate.Exp(0.1)),
        TypeError,
        "serialize takes a schedule of Keras's, or what has a get_config, got Exp(0.1)",
    ),
    (
        lambda: schedules.serialize(schedules.CosineDecay),
        TypeError,
        f"serialize takes a schedule of Keras's, or what has a get_config, got {schedules.CosineDecay!r}",
    ),
    (lambda: schedules.deserialize(5), TypeError, "config must be a dictionary with a class_name and a config, got 5"),  # type: ignore[arg-type]
    (
        lambda: schedules.deserialize({"class_name": "CosineDecay", "config": [0.1, 5]}),
        TypeError,
        "config must be a dictionary with a class_name and a config, got {'class_name': 'CosineDecay', 'config': [0.1, 5]}",
    ),
    (
        lambda: schedules.deserialize({"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "steps": 5}}),
        TypeError,
        "CosineDecay.__init__() got an unexpected keyword argument 'steps'",
    ),
    (
        lambda: schedules.deserialize({"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1}}),
        TypeError,
        "CosineDecay.__init__() missing 1 required positional argument: 'decay_steps'",
    ),
    (
        lambda: schedules.deserialize({"class_name": "CosineDecay", "config": EXAMPLES["CosineDecay"] | {"alpha": "__import__('os')"}}),
        TypeError,
        "CosineDecay.alpha must be a real number in [0, inf), got \"__import__('os')\" (str)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_what_is_wrong_and_how_it_is_said(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


# Dictionaries


@pytest.mark.parametrize("case", [case for case in NAMED.values() if case.name not in REFUSED], ids=repr)
def test_dictionaries_are_keras_own_both_ways(case: ScheduleCase) -> None:
    schedule = made(case.scheduler, None, case.arguments, "iteration")
    written = schedules.serialize(schedule)
    assert written == case.serialized
    assert json.loads(json.dumps(written)) == case.serialized
    read = schedules.deserialize(case.serialized)
    assert type(read) is type(schedule)
    assert read == schedule
    assert schedules.deserialize({key: case.serialized[key] for key in ("class_name", "config")}) == schedule  # Keras 2's form


@pytest.mark.parametrize("name", CLASSES)
def test_a_dictionary_says_where_epochs_count(name: str) -> None:
    schedule = getattr(schedules, name)(**EXAMPLES[name], clock="epoch")
    written = json.loads(json.dumps(schedules.serialize(schedule)))
    assert written["config"].pop("clock") == "epoch"
    assert schedules.deserialize(written) == attrs.evolve(schedule, clock="iteration") != schedule
    assert schedules.deserialize(schedules.serialize(schedule)) == schedule
    assert type(schedule).from_config(schedule.get_config()) == schedule


def test_keras_2s_name_may_be_none() -> None:
    config = {
        "initial_learning_rate": 0.1,
        "decay_steps": 10000,
        "end_learning_rate": 0.01,
        "power": 0.5,
        "cycle": False,
        "name": None,
    }
    schedule = schedules.deserialize({"class_name": "PolynomialDecay", "config": config})
    assert schedule == schedules.PolynomialDecay(0.1, 10000, 0.01, 0.5, name=None)
    assert schedule.get_config() == config


class Mine:
    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, step: int) -> float:
        return self.base / (1 + step)

    def get_config(self) -> dict[str, float]:
        return {"base": self.base}

    @classmethod
    def from_config(cls, config: dict[str, float]) -> "Mine":
        return cls(**config)


def test_classes_of_ones_own_are_written_and_are_read_where_they_are_given() -> None:
    written = schedules.serialize(Mine(0.5))
    assert written == {"module": __name__, "class_name": "Mine", "config": {"base": 0.5}, "registered_name": "Mine"}
    with pytest.raises(ValueError, match=f"got 'Mine' of {re.escape(__name__)}$"):
        schedules.deserialize(written)
    for form in (written, {"class_name": "Mine", "config": {"base": 0.5}}, written | {"registered_name": "package>Mine"}):
        read = schedules.deserialize(form, custom_objects={"Mine": Mine})
        assert isinstance(read, Mine)
        assert read.base == 0.5
    registered = written | {"registered_name": "package>Mine"}
    assert isinstance(schedules.deserialize(registered, {"package>Mine": Mine}), Mine)
    rate = up.learning_rate.per_step(read)
    assert [keras.SGD(rate).at(up.OptimizationState(iteration=k)).lr for k in (1, 2)] == [0.5, 0.25]


@pytest.mark.parametrize(
    "described",
    [
        {"class_name": "os.system", "config": {}},
        {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
        {"module": "other", "class_name": "ExponentialDecay", "config": EXAMPLES["ExponentialDecay"], "registered_name": None},
        {"module": None, "class_name": "ExponentialDecay", "config": EXAMPLES["ExponentialDecay"], "registered_name": "ExponentialDecay"},
        {"class_name": "LearningRateSchedule", "config": {}},
        {"class_name": "KerasSchedule", "config": {}},
    ],
)  # fmt: skip
def test_what_is_not_keras_is_not_looked_up(described: dict[str, Any]) -> None:
    message = (
        f"config.class_name must be one of {', '.join(schedules.CLASSES)}, or in custom_objects, got {described['class_name']!r}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        schedules.deserialize(described)


def test_a_class_of_ones_own_comes_before_keras() -> None:
    written = {"class_name": "ExponentialDecay", "config": {"base": 0.5}}
    assert isinstance(schedules.deserialize(written, {"ExponentialDecay": Mine}), Mine)


# What they are


@pytest.mark.parametrize("name", CLASSES)
def test_a_schedule_is_a_frozen_value_and_a_pure_function_of_the_clock(name: str) -> None:
    schedule = getattr(schedules, name)(**EXAMPLES[name])
    forward = [schedule(up.OptimizationState(iteration=k)) for k in range(1, 60)]
    backward = [schedule(up.OptimizationState(iteration=k)) for k in range(59, 0, -1)]
    assert forward == backward[::-1]
    for same in (getattr(schedules, name)(**EXAMPLES[name]), pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert same == schedule
        assert hash(same) == hash(schedule)
        assert [same(up.OptimizationState(iteration=k)) for k in range(1, 60)] == forward
    assert eval(repr(schedule), vars(schedules)) == schedule
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        schedule.clock = "epoch"
    with pytest.raises(ValueError, match="has no value yet, for the clock's iteration count stands at 0"):
        schedule(up.OptimizationState(epoch=4))


def test_numpys_numbers_are_shown_and_written_as_pythons() -> None:
    steps = schedules.PiecewiseConstantDecay(np.array([3, 9]), np.array([0.5, 0.25, 0.125]))
    assert repr(steps) == "PiecewiseConstantDecay((3, 9), (0.5, 0.25, 0.125))"
    for schedule in (steps, schedules.ExponentialDecay(np.float32(0.1), np.int64(100), np.float64(0.9))):
        written = json.loads(json.dumps(schedules.serialize(schedule)))
        assert schedules.deserialize(written) == schedule == eval(repr(schedule), vars(schedules))


def test_a_change_of_arguments_is_a_change_of_rates() -> None:
    schedule = attrs.evolve(schedules.ExponentialDecay(0.5, 1, 0.5), decay_rate=0.25)
    assert schedule(up.OptimizationState(iteration=2)) == 0.125


def test_schedules_are_learning_rates_and_subject_to_arithmetic() -> None:
    rate = schedules.PiecewiseConstantDecay([0, 1], [0.5, 0.25, 0.125])
    weight = np.array([1.0])
    update = up.get_updater(keras.SGD(rate))
    for _ in range(3):
        update.step([np.array([1.0])], [weight])
    assert weight.tolist() == [1.0 - 0.875]
    assert (2 * rate).clamp(high=0.75)(up.OptimizationState(iteration=1)) == 0.75
    after = up.learning_rate.Sequence([up.learning_rate.Fixed(1.0), rate], [4])
    assert [after(up.OptimizationState(iteration=k)) for k in (4, 5, 6)] == [1.0, 0.5, 0.25]


def test_keras_muon_scales_a_schedule() -> None:
    muon = keras.Muon(schedules.PiecewiseConstantDecay([0], [0.5, 0.25]), adam_lr_ratio=0.5)
    assert muon.otherwise is not None
    assert [muon.otherwise.at(up.OptimizationState(iteration=k)).lr for k in (1, 2)] == [0.25, 0.125]


def test_a_schedule_by_epochs_says_so_to_compositions() -> None:
    by_epochs = schedules.ExponentialDecay(1.0, 1, 0.5, clock="epoch")
    assert up.learning_rate.Sequence([0.25, by_epochs], [3]).clock == "epoch"
    assert up.learning_rate.Delay(by_epochs, 2)(up.OptimizationState(epoch=4)) == 0.5


class Custom:
    """A schedule of a user's, with a `get_config`."""

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = rate

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Custom":
        return cls(**config)


def test_a_class_with_the_name_of_one_of_keras_is_not_taken_for_it() -> None:
    namesake = type("ExponentialDecay", (Custom,), {})
    written = schedules.serialize(namesake(0.5))
    assert written["registered_name"] == "ExponentialDecay"
    assert written["module"] == __name__
    with pytest.raises(ValueError, match="config.class_name must be one of"):
        schedules.deserialize(written)
    assert type(schedules.deserialize(written, {"ExponentialDecay": namesake})) is namesake


def test_keras_own_schedules_are_written_as_keras_writes_them() -> None:
    theirs = type("ExponentialDecay", (Custom,), {"__module__": "keras.src.optimizers.schedules"})
    assert schedules.serialize(theirs())["module"] == "keras.optimizers.schedules"
    assert schedules.serialize(theirs())["registered_name"] is None


def test_the_registered_name_goes_before_the_class_name() -> None:
    first, second = (type(name, (Custom,), {}) for name in ("First", "Second"))
    written = {"class_name": "Second", "registered_name": "First", "module": "mine", "config": {"rate": 2.0}}
    found = schedules.deserialize(written, {"First": first, "Second": second})
    assert (type(found), found.rate) == (first, 2.0)


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        (5, "custom_objects must be a mapping from names to classes, got 5"),
        ([Custom], f"custom_objects must be a mapping from names to classes, got {[Custom]!r}"),
        ({"Custom": math.sqrt}, "custom_objects['Custom'] must be a class with a from_config, got <built-in function sqrt>"),
    ],
)
def test_what_custom_objects_may_not_be(custom: Any, message: str) -> None:
    with pytest.raises(TypeError) as info:
        schedules.deserialize(schedules.serialize(Custom()), custom)
    assert str(info.value) == message


def test_the_keys_of_a_config_are_strings() -> None:
    with pytest.raises(TypeError, match=r"^config.config must have strings as keys, got 1$"):
        schedules.deserialize({"class_name": "ExponentialDecay", "config": {1: 2}})


@pytest.mark.parametrize(
    "make", [lambda rate: keras.Adam(learning_rate=rate), lambda rate: keras.SGD(rate), lambda rate: keras.Muon(rate)]
)
def test_a_schedule_that_is_called_with_a_step_is_refused_before_it_is_called(make: Callable[[Any], object]) -> None:
    class LearningRateSchedule(Custom):
        """The base that all of Keras's have."""

    class OfKeras(LearningRateSchedule):
        def __call__(self, step: int) -> float:
            return 0.1

    with pytest.raises(
        TypeError, match="^learning_rate must be a number or a function of the clock, got .*, a function of a step: give"
    ):
        make(OfKeras())


def test_warm_up_steps_may_be_a_float_that_is_whole() -> None:
    whole = schedules.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10)
    assert schedules.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10.0).schedule == whole.schedule
    for steps in (2.5, -1.0, math.nan):
        with pytest.raises((TypeError, ValueError), match="^CosineDecay.warmup_steps must be an integer of at least 0, got"):
            schedules.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=steps)


@pytest.mark.parametrize("length", [3.6, 2.4, 1.1, 10 / 3, 0.7])
@pytest.mark.parametrize("t_mul", [1.0, 2.0])
def test_restarts_and_stairs_of_fractional_lengths_are_where_they_should_be(length: float, t_mul: float) -> None:
    stairs = schedules.ExponentialDecay(1.0, length, 0.5, staircase=True)
    for step in range(200):
        assert stairs(up.OptimizationState(iteration=step + 1)) == 0.5 ** math.floor(step / length + 1e-9)
    rates = schedules.CosineDecayRestarts(1.0, length, t_mul=t_mul)
    begun, period = 0.0, length
    for step in range(200):
        while step / (begun + period) >= 1 - 1e-12:
            begun, period = begun + period, period * t_mul
        share = max(step - begun, 0.0) / period
        assert rates(up.OptimizationState(iteration=step + 1)) == pytest.approx(math.cos(math.pi * share / 2) ** 2, abs=1e-9), (
            step
        )
