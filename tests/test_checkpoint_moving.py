"""What moves besides slots, in checkpoints: schedulers that remember, clocks, loss scales, and what was loaded and not used yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.checkpoints import bits, draw
from updaters.compat.oneflow import lr_scheduler as oneflow
from updaters.compat.torch import lr_scheduler as torch
from updaters.learning_rate import Plateau, Warmup

Array = np.ndarray[Any, Any]

get_updater = partial(up.get_updater, backend="numpy")


def step(update: up.Updater, weights: Mapping[Any, Array], iteration: int) -> None:
    update.step({index: draw((index, iteration), w.shape, w.dtype) for index, w in weights.items()}, weights)


def two() -> dict[str, Array]:
    return {"a": np.ones((2, 3)), "b": np.ones(4)}


# Schedulers that remember


@attrs.frozen
class Plateaus:
    """An optimizer with the plateaus in it."""

    optimizer: up.Optimizer
    all: tuple[Plateau, ...]

    def updater(self) -> up.Updater:
        return get_updater(self.optimizer)

    def observe(self, *metrics: float) -> None:
        for place, plateau in enumerate(self.all):
            for metric in metrics:
                plateau.observe(metric + place * (metric - 1))


def plateau(value: Any = 0.1, patience: int = 0) -> Plateau:
    return Plateau(value, factor=0.5, patience=patience)


def several() -> Plateaus:
    lr, momentum, decay = plateau(0.1), plateau(0.9, 1), plateau(0.2, 2)
    return Plateaus(up.SGD(Warmup(lr, 3), momentum=momentum, weight_decay=decay), (lr, momentum, decay))


def nested() -> Plateaus:
    inner = plateau()
    outer = plateau(inner * 0.5, 1)
    return Plateaus(up.SGD(Warmup(outer, 3) + inner), (inner, outer))


def of_policy() -> Plateaus:
    bound, keep, scale, of_group, other = (plateau(value) for value in (0.5, 0.9, 0.7, 0.4, 0.3))
    policy = up.Policy(
        clip=(up.transforms.ClipByValue(-9.0, 9.0), up.transforms.ClipByNorm(bound)),
        average=up.Average(keep),
        overrides={"b": {"lr_scale": scale, "clip": up.transforms.ClipByNorm(of_group)}, "?": up.SGD(other)},
    )
    return Plateaus(up.SGD(0.1, policy=policy), (bound, keep, scale, of_group, other))


def in_two_places() -> Plateaus:
    shared = plateau(0.1, 1)
    return Plateaus(up.Adam(shared, policy=up.Policy(overrides={"b": {"lr_scale": shared}})), (shared,))


def of_systems() -> Plateaus:
    rates = (torch.ReduceLROnPlateau(0.1, factor=0.5, patience=1), oneflow.ReduceLROnPlateau(0.2, factor=0.5, patience=1))
    return Plateaus(up.SGD(rates[0], policy=up.Policy(overrides={"b": {"lr": rates[1]}})), rates)


PLATEAUS = {make.__name__: make for make in (several, nested, of_policy, in_two_places, of_systems)}


@pytest.mark.parametrize("name", PLATEAUS)
@pytest.mark.parametrize("by", ["file", "dictionary"])
def test_plateaus_go_on_wherever_they_are(name: str, by: str, tmp_path: Path) -> None:
    make, path = PLATEAUS[name], tmp_path / "run.safetensors"
    plateaus, others = make(), make()
    update, weights = plateaus.updater(), two()
    step(update, weights, 1)
    plateaus.observe(1.0, 0.9, 0.9, 0.95)
    assert any(one.reductions for one in plateaus.all)
    step(update, weights, 2)

    again, arrays = others.updater(), two()
    if by == "file":
        update.save(path, weights=weights)
        report = again.load(path, weights=arrays)
    else:
        report = again.load_state_dict(update.state_dict())
        arrays = {name: weight.copy() for name, weight in weights.items()}
    assert report.left == report.unchecked == ()
    assert others.optimizer == plateaus.optimizer
    assert [one.state_dict() for one in others.all] == [one.state_dict() for one in plateaus.all]
    for one in (plateaus, others):
        one.observe(0.9, 0.99)
    for iteration in (3, 4):
        step(update, weights, iteration)
        step(again, arrays, iteration)
    assert bits(arrays) == bits(weights)
    assert bits(again.state_dict()) == bits(update.state_dict())
    assert again == update


class Plain:
    """A scheduler of one's own that is no value."""

    def __init__(self) -> None:
        self.rate = 0.1

    def __call__(self, state: up.OptimizationState, /) -> float:
        return self.rate

    def state_dict(self) -> dict[str, Any]:
        return self.__dict__  # as many do; what is loaded later changes it

    def load_state_dict(self, numbers: Mapping[str, Any]) -> None:
        self.__dict__.update(numbers)


@attrs.define
class WithFields:
    """One of fields, one of which moves, and which is in no config."""

    top: float = 0.3
    rate: float = 0.1

    def __call__(self, state: up.OptimizationState, /) -> float:
        return min(self.top, self.rate)

    def state_dict(self) -> dict[str, Any]:
        return {"rate": self.rate}

    def load_state_dict(self, numbers: Mapping[str, Any]) -> None:
        self.rate = numbers["rate"]


@dataclass
class OfData(WithFields):
    """The same as a dataclass."""

    top: float = 0.3
    rate: float = 0.1


@up.register(name="tests.Registered")
@attrs.define
class Registered(WithFields):
    """The same with a name in configs."""


@up.register(name="tests.Remembering")
@attrs.define
class Remembering:
    """What it remembers is no argument of it, as a Plateau's is none."""

    rate: float = attrs.field(default=0.1, init=False)
    history: list[Any] = attrs.field(factory=list, init=False)

    def __call__(self, state: up.OptimizationState, /) -> float:
        return self.rate

    def state_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, "history": [*self.history, None, True, float("inf"), {"float": "nan"}]}

    def load_state_dict(self, numbers: Mapping[str, Any]) -> None:
        self.rate, self.history = numbers["rate"], numbers["history"][:-4]


@pytest.mark.parametrize("kind", [Plain, WithFields, OfData, Registered, Remembering])
@pytest.mark.parametrize("by", ["file", "dictionary"])
def test_schedulers_of_ones_own_go_on(kind: Callable[[], Any], by: str, tmp_path: Path) -> None:
    mine, others = kind(), kind()
    update, again = get_updater(up.SGD(mine)), get_updater(up.SGD(others))
    mine.rate = 0.25
    values = update.state_dict()
    update.save(tmp_path / "run.safetensors")
    mine.rate = 0.5
    report = again.load(tmp_path / "run.safetensors") if by == "file" else again.load_state_dict(values)
    assert others.rate == 0.25
    named = kind in (Registered, Remembering, WithFields, OfData)
    assert report.unchecked == (() if named else ("optimizer.lr",))


@pytest.mark.parametrize("kind", [WithFields, OfData, Registered])
def test_fields_that_do_not_move_are_compared(kind: Callable[..., Any]) -> None:
    update, again = get_updater(up.SGD(kind(top=0.2))), get_updater(up.SGD(kind()))
    with pytest.raises(ValueError, match=r"optimizer\.lr\.top: 0\.2 in the file, 0\.3 here"):
        again.load_state_dict(update.state_dict())


@attrs.define
class Choosy(WithFields):
    """One that refuses some numbers, after it has taken them."""

    def load_state_dict(self, numbers: Mapping[str, Any]) -> None:
        self.rate = numbers["rate"]
        if self.rate > 0.4:
            raise KeyError("too much")


def test_one_that_refuses_leaves_all_as_they_were(tmp_path: Path) -> None:
    def make(rate: float, last: float) -> tuple[up.Updater, Plain, Choosy]:
        plain, choosy = Plain(), Choosy()
        plain.rate, choosy.rate = rate, last
        return get_updater(up.SGD(plain, momentum=choosy)), plain, choosy

    (update, *_), (again, plain, choosy) = make(0.2, 0.5), make(0.3, 0.35)
    weights, others = two(), two()
    step(update, weights, 1)
    before = bits(again.state_dict())
    with pytest.raises(ValueError, match=r"optimizer\.momentum: .*too much"):
        again.load_state_dict(update.state_dict())
    assert (plain.rate, choosy.rate) == (0.3, 0.35)
    assert bits(again.state_dict()) == before
    report = again.load_state_dict(update.state_dict(), strict=False)
    assert report.left == ("optimizer.momentum: 'too much'",)
    assert (plain.rate, choosy.rate) == (0.2, 0.35)
    step(again, others, 2)


@attrs.define
class Interrupted(WithFields):
    """One during whose loading somebody presses the keys for it."""

    def load_state_dict(self, numbers: Mapping[str, Any]) -> None:
        first, self.rate = self.rate != numbers["rate"], numbers["rate"]
        if first:
            raise KeyboardInterrupt


@pytest.mark.parametrize("strict", [True, False])
def test_an_interruption_leaves_all_that_moves_as_it_was(strict: bool) -> None:
    saved, plain, interrupted = Plain(), Plain(), Interrupted()
    saved.rate, plain.rate, interrupted.rate = 0.2, 0.3, 0.35
    update = get_updater(up.SGD(saved, momentum=Interrupted()))
    again = get_updater(up.SGD(plain, momentum=interrupted))
    with pytest.raises(KeyboardInterrupt):
        again.load_state_dict(update.state_dict(), strict=strict)
    assert (plain.rate, interrupted.rate) == (0.3, 0.35)


# Clocks


def test_the_clock_of_ones_own_goes_on_with_what_was_held(tmp_path: Path) -> None:
    def make() -> tuple[up.OptimizationState, up.Updater, up.Updater]:
        state = up.OptimizationState(batch_size=2)
        skips = get_updater(up.SGD(up.learning_rate.Inv(0.1)), state, nonfinite="skip", accumulate=2)
        return state, skips, get_updater(up.Adam(up.learning_rate.Exp(0.1, gamma=0.9)), state)

    def epoch(parts: tuple[up.OptimizationState, up.Updater, up.Updater], weights: Any, until: int) -> None:
        state, first, second = parts
        for _ in state.epochs(2):
            for batch in state.batches(range(5)):
                first.step({"a": np.full((2, 3), np.inf if batch == 3 else float(batch))}, {"a": weights["a"]})
                if batch % 2:
                    second("b", draw(state.iteration, (4,), float), weights["b"])
                if state.iteration == until:
                    return

    whole, weights = make(), two()
    epoch(whole, weights, 99)
    for stop in range(1, 11):
        parts, arrays = make(), two()
        epoch(parts, arrays, stop)
        for name, update in zip("ab", parts[1:], strict=True):
            update.save(tmp_path / f"{name}.safetensors", weights={name: arrays[name]})
        parts, arrays = make(), two()
        for name, update in zip("ab", parts[1:], strict=True):
            update.load(tmp_path / f"{name}.safetensors", weights={name: arrays[name]})
        epoch(parts, arrays, 99)
        assert bits(arrays) == bits(weights), stop
        assert [bits(update.state_dict()) for update in parts[1:]] == [bits(update.state_dict()) for update in whole[1:]], stop


@attrs.define
class Hours(up.OptimizationState):
    """A clock that counts something more, for its user alone."""

    hours: int = 0


def test_a_clock_of_a_class_of_ones_own_goes_on_but_for_what_that_adds() -> None:
    state, others = Hours(iteration=3, hours=7), Hours(hours=1)
    update = up.get_updater(up.SGD(0.1), state)
    up.get_updater(up.SGD(0.1), others).load_state_dict(update.state_dict())
    assert (others.iteration, others.hours) == (3, 1)


def test_an_updaters_own_clock_goes_on_and_stays_its_own(tmp_path: Path) -> None:
    update, weights = get_updater(up.SGD(0.1)), two()
    for iteration in (1, 2, 3):
        step(update, weights, iteration)
    again = get_updater(up.SGD(0.1))
    state = again.state
    again.load_state_dict(update.state_dict())
    assert again.state is state
    assert state == update.state
    step(again, weights, 4)
    assert state.iteration == 4


@pytest.mark.parametrize("loop", ["epochs", "batches"])
def test_loading_within_a_loop_is_refused(loop: str) -> None:
    state = up.OptimizationState()
    update = get_updater(up.SGD(0.1), state)
    values = update.state_dict()
    for _ in state.epochs(1) if loop == "epochs" else state.batches([1]):
        with pytest.raises(ValueError, match="load comes before the loops"):
            update.load_state_dict(values)
    assert update.load_state_dict(values).left == ()


def test_an_epoch_that_ran_here_leaves_nothing_to_pass_over(tmp_path: Path) -> None:
    state = up.OptimizationState()
    update = get_updater(up.SGD(0.1), state)
    values = update.state_dict()
    for _ in state.epochs(3):
        for batch in state.batches("abc"):
            if state.epoch == 2 and batch == "b":
                break
    update.load_state_dict(values)
    assert state == up.OptimizationState()
    assert [(epoch, batch) for epoch in state.epochs(1) for batch in state.batches("ab")] == [(1, "a"), (1, "b")]


# What was loaded, and not used yet


AVERAGES: dict[str, Callable[[], up.Updater]] = {
    "average": lambda: get_updater(up.SGD(0.1), average=up.Average(0.5)),
    "average of every call": lambda: get_updater(up.SGD(0.1), average=up.Average(0.5, every_call=True), accumulate=2),
    "schedule-free": lambda: get_updater(up.ScheduleFreeSGD(0.1)),
    "schedule-free adamw": lambda: get_updater(up.ScheduleFreeAdamW(0.1)),
    "asgd": lambda: get_updater(up.ASGD(0.1, start=1)),
    "masters": lambda: get_updater(up.SGD(0.1), master_weights=True),
}


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("freeze", [None, "before", "after"])
def test_a_weight_is_evaluated_right_after_loading(name: str, freeze: str | None) -> None:
    update, weights = AVERAGES[name](), two() | {"h": np.ones(3, np.float16)}
    for iteration in (1, 2, 3):
        step(update, weights, iteration)
    again = AVERAGES[name]()
    if freeze == "before":
        update.override("a", up.FROZEN)
        again.override("a", up.FROZEN)
    again.load_state_dict(update.state_dict())
    if freeze == "after":
        update.override("a", up.FROZEN)
        again.override("a", up.FROZEN)
    for index, weight in weights.items():
        found, wanted = (one.evaluation_weight(index, weight) for one in (again, update))
        assert bits(found) == bits(wanted)


def test_weights_that_stood_still_are_known_after_loading() -> None:
    make = partial(get_updater, up.SGD(0.1), overrides={"a": up.FROZEN})
    update, weights = make(), two()
    step(update, weights, 1)
    again = make()
    again.load_state_dict(update.state_dict())
    assert bits(again.evaluation_weight("a", weights["a"])) == bits(weights["a"])
    with pytest.raises(KeyError, match="'c' has been in no update"):
        again.evaluation_weight("c", weights["a"])


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("alone", [False, True])
def test_what_is_accumulated_can_be_flushed_right_after_loading(calls: int, alone: bool, tmp_path: Path) -> None:
    make = partial(get_updater, up.Adam(0.1), accumulate=3)
    update, weights, others = make(), two(), two()
    for iteration in range(1, 4 + calls):
        if alone:
            for index, weight in weights.items():
                update(index, draw((index, iteration), weight.shape, float), weight)
        else:
            step(update, weights, iteration)
    update.save(tmp_path / "run.safetensors", weights=weights)
    again = make()
    again.load(tmp_path / "run.safetensors", weights=others)
    for one, arrays in ((update, weights), (again, others)):
        with pytest.raises(ValueError, match="accumulated gradients"):
            one.flush({"a": arrays["a"]})
        one.flush(arrays)
    assert bits(others) == bits(weights)
    assert bits(again.state_dict()) == bits(update.state_dict())
    assert {known.count for known in again.slots.values()} == {2}


def test_another_optimizer_takes_its_place_right_after_loading() -> None:
    update, weights = get_updater(up.Adam(0.1), master_weights=True), {"a": np.ones(3), "h": np.ones(3, np.float16)}
    step(update, weights, 1)
    again, others = get_updater(up.Adam(0.1), master_weights=True), {name: w.copy() for name, w in weights.items()}
    again.load_state_dict(update.state_dict())
    with pytest.raises(ValueError, match="Lion.* keeps"):
        again.optimizer = up.Lion(0.1)
    for one, arrays in ((update, weights), (again, others)):
        one.optimizer = up.AdamW(0.3)
        one.overrides = {"h": {"lr_scale": 0.5}}
        step(one, arrays, 2)
    assert bits(others) == bits(weights)
    assert bits(again.state_dict()) == bits(update.state_dict())


def test_a_frozen_weight_goes_on_from_what_was_loaded_for_it() -> None:
    make = partial(get_updater, up.Adam(0.1), average=up.Average(0.5))
    update, weights = make(), two()
    step(update, weights, 1)
    update.override("a", up.FROZEN)
    again, others = make(), {name: weight.copy() for name, weight in weights.items()}
    again.override("a", up.FROZEN)
    again.load_state_dict(update.state_dict())
    for one, arrays in ((update, weights), (again, others)):
        step(one, arrays, 2)
        one.override("a", None)
        step(one, arrays, 3)
    assert bits(others) == bits(weights)
    assert bits(again.state_dict()) == bits(update.state_dict())


SCALES = [
    up.loss_scale.Static(8.0),
    up.loss_scale.GrowthInterval(16.0, growth_interval=2),
    up.loss_scale.Backoff(step_window=2),
    up.loss_scale.LogMax(scale_max=2.0**20),
]


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_a_loss_scale_is_where_it_was_right_after_loading(scale: Any) -> None:
    make = partial(get_updater, up.SGD(0.1), loss_scale=scale)
    update, weights = make(), two()
    for grad in (1.0, np.inf, 2.0, 3.0, np.inf, np.inf, 4.0):
        update.step({index: np.full(w.shape, grad) for index, w in weights.items()}, weights)
    again = make()
    again.load_state_dict(update.state_dict())
    assert again.loss_scale == update.loss_scale
    kept, fresh = (bits(one.state_dict()["loss_scale"]) for one in (again, make()))
    assert kept == bits(update.state_dict()["loss_scale"])
    assert (kept == fresh) is (scale == SCALES[0])
    assert again.report().what == "nothing"
    assert again == update
