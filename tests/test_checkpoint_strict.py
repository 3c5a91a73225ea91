"""Loading is strict: whatever is not of the updater is named, with both sides, and nothing has changed; or what fits is taken."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.checkpoints import bits, draw
from updaters.checkpoint import contents
from updaters.checkpoint.described import described, differences
from updaters.config import Field, _compat, _types, fields_of, kind_named, written
from updaters.learning_rate import Exp, Inv, Plateau

Array = np.ndarray[Any, Any]

get_updater = partial(up.get_updater, backend="numpy")
NORM = up.transforms.ClipByGlobalNorm


def weights_of() -> dict[str, Array]:
    return {"a": np.ones((2, 3)), "b": np.ones(4, np.float32), "h": np.ones(3, np.float16)}


def step(update: up.Updater, weights: Mapping[Any, Array], iteration: int) -> None:
    for _ in update.state.batches([iteration]):
        update.step({index: draw((index, iteration), w.shape, w.dtype) for index, w in weights.items()}, weights)


def rule(kind: Callable[..., up.Optimizer] = up.Adam, lr: Any = None, **fields: Any) -> up.Optimizer:
    return kind(Plateau(Exp(0.1, gamma=0.9, clock="iteration"), patience=0) if lr is None else lr, weight_decay=0.01, **fields)


ARGUMENTS: dict[str, Any] = {
    "clip": NORM(1.0),
    "overrides": {"b": {"lr_scale": 0.5}},
    "loss_scale": up.loss_scale.GrowthInterval(8.0, growth_interval=1),
    "accumulate": 2,
    "average": up.Average(0.9),
}


def make(optimizer: up.Optimizer | None = None, **changes: Any) -> up.Updater:
    return get_updater(rule() if optimizer is None else optimizer, **{**ARGUMENTS, **changes})


def saved(calls: int = 3) -> tuple[up.Updater, dict[str, Array]]:
    """An updater that has run, into the midst of a group of calls."""
    update, weights = make(), weights_of()
    for iteration in range(1, calls + 1):
        step(update, weights, iteration)
    lr: Any = update.optimizer.lr
    lr.observe(1.0)
    lr.observe(2.0)
    return update, weights


def everything(update: up.Updater, weights: Mapping[Any, Array]) -> Any:
    """All that a load could change."""
    lr: Any = update.optimizer.lr
    clock = update.state
    return (
        bits(update.state_dict()), bits(weights), update.loss_scale, repr(update.report()), getattr(lr, "reductions", None),
        [getattr(clock, field.name) for field in attrs.fields(type(clock))],
        {index: [id(known), *map(id, known.arrays.values())] for index, known in update.slots.items()},
    )  # fmt: skip


def check_goes_on(update: up.Updater, weights: Mapping[Any, Array], fresh: Callable[[], up.Updater], tmp_path: Path) -> None:
    """Hold an updater to being whole: it saves, steps, flushes, evaluates and reports, and what it saves can be loaded."""
    update.save(tmp_path / "at_once.safetensors", weights=weights)
    for iteration in (11, 12, 13):
        step(update, weights, iteration)
        assert update.report().what in ("applied", "accumulated", "skipped")
    for index, weight in weights.items():
        assert np.isfinite(update.evaluation_weight(index, weight)).all()
    update.save(tmp_path / "midway.safetensors", weights=weights)
    again, others = fresh(), {index: weight.copy() for index, weight in weights.items()}
    report = again.load(tmp_path / "midway.safetensors", weights=others)
    assert report.left == ()
    for one, arrays in ((update, weights), (again, others)):
        one.flush(arrays)
        step(one, arrays, 16)
    assert bits(others) == bits(weights)
    assert bits(again.state_dict()) == bits(update.state_dict())


Other = tuple[Callable[[], up.Updater], tuple[str, ...]]

OTHERS: dict[str, Other] = {
    "another rule": (lambda: make(rule(up.SGD)), ("optimizer: Adam in the file, SGD here", "slot 'm'")),
    "a rule of the same slots": (lambda: make(rule(up.AdamW)), ("optimizer: Adam in the file, AdamW here",)),
    "a rule of fewer slots": (lambda: make(rule(up.Lion)), ("weight 'a': slot 'v': float64[2, 3] in the file, nothing here",)),
    "a rule of more slots": (
        lambda: make(rule(amsgrad=True)),
        ("optimizer.amsgrad: False in the file, True here", "nothing in the file, float64[2, 3] here"),
    ),
    "a rule of other scalars": (
        lambda: make(rule(up.Nadam)), ("weight 'a': scalars: correction1, correction2 in the file,", "optimizer: Adam in the file, Nadam here"),
    ),
    "a number": (lambda: make(rule(beta1=0.8)), ("optimizer.beta1: 0.9 in the file, 0.8 here",)),
    "a number within a schedule": (
        lambda: make(rule(lr=Plateau(Exp(0.1, gamma=0.8, clock="iteration"), patience=0))),
        ("optimizer.lr.inner.gamma: 0.9 in the file, 0.8 here",),
    ),
    "a word within a schedule": (
        lambda: make(rule(lr=Plateau(Exp(0.1, gamma=0.9, clock="iteration"), patience=0, mode="max"))),
        ("optimizer.lr.mode: 'min' in the file, 'max' here",),
    ),
    "another schedule": (
        lambda: make(rule(lr=Plateau(Inv(0.1, clock="iteration"), patience=0))),
        ("optimizer.lr.inner: learning_rate.Exp in the file, learning_rate.Inv here",),
    ),
    "no plateau": (
        lambda: make(rule(lr=0.1)),
        ("optimizer.lr: learning_rate.Plateau in the file, 0.1 here",),
    ),
    "a schedule in place of a number": (
        lambda: make(rule(beta1=up.momentum.Fixed(0.9))), ("optimizer.beta1: 0.9 in the file, learning_rate.Fixed here",),
    ),
    "another plateau besides": (
        lambda: make(rule(beta1=Plateau(0.9))), ("optimizer.beta1: 0.9 in the file, learning_rate.Plateau here",),
    ),
    "sums of gradients": (lambda: make(rule(gradient="sum")), ("optimizer.gradient: 'mean' in the file, 'sum' here",)),
    "a decay": (lambda: make(attrs.evolve(rule(), weight_decay=None)), ("optimizer.weight_decay: 0.01 in the file, None here",)),
    "no clip": (lambda: make(clip=None), ("optimizer.policy.clip: [{'bound': 1.0, 'epsilon'", "}] in the file, [] here")),
    "another clip": (
        lambda: make(clip=up.transforms.ClipByNorm(1.0)),
        ("optimizer.policy.clip[0]: transforms.ClipByGlobalNorm in the file, transforms.ClipByNorm here",),
    ),
    "another bound": (lambda: make(clip=NORM(2.0)), ("optimizer.policy.clip[0].bound: 1.0 in the file, 2.0 here",)),
    "no overrides": (lambda: make(overrides=None), ("optimizer.policy.overrides: [{'pattern': 'b'", "}] in the file, [] here")),
    "another setting": (
        lambda: make(overrides={"b": {"lr_scale": 0.25}}),
        ("optimizer.policy.overrides[0].settings.lr_scale: 0.5 in the file, 0.25 here",),
    ),
    "one setting more": (
        lambda: make(overrides={"b": {"lr_scale": 0.5, "clip": None}}),
        ("optimizer.policy.overrides[0].settings.clip: nothing in the file, None here",),
    ),
    "another pattern": (
        lambda: make(overrides={"a": {"lr_scale": 0.5}}), ("optimizer.policy.overrides[0].pattern: 'b' in the file, 'a' here",),
    ),
    "a frozen weight": (
        lambda: make(overrides={"b": up.FROZEN}),
        ("optimizer.policy.overrides[0].settings: a mapping in the file, policy.FROZEN here",),
    ),
    "another rule for some": (
        lambda: make(overrides={"b": up.Lion(0.1)}),
        ("optimizer.policy.overrides[0].settings: a mapping in the file, Lion here", "weight 'b': slot 'v'"),
    ),
    "longer groups": (lambda: make(accumulate=3), ("optimizer.policy.accumulate: 2 in the file, 3 here",)),
    "no groups": (
        lambda: make(accumulate=None),
        ("optimizer.policy.accumulate: 2 in the file, 1 here", "slot 'accumulated'", "accumulated gradients"),
    ),
    "another loss scale": (
        lambda: make(loss_scale=up.loss_scale.GrowthInterval(16.0, growth_interval=1)),
        ("optimizer.policy.loss_scale.initial_scale: 8.0 in the file, 16.0 here",),
    ),
    "a loss scale of another kind": (
        lambda: make(loss_scale=up.loss_scale.LogMax()),
        ("optimizer.policy.loss_scale: loss_scale.GrowthInterval in the file, loss_scale.LogMax here", "loss_scale: "),
    ),
    "a loss scale that stays": (
        lambda: make(loss_scale=4.0),
        ("optimizer.policy.loss_scale: loss_scale.GrowthInterval in the file, loss_scale.Static here",),
    ),
    "no loss scale": (
        lambda: make(loss_scale=None), ("optimizer.policy.loss_scale: loss_scale.GrowthInterval in the file, None here",),
    ),
    "no average": (
        lambda: make(average=None), ("optimizer.policy.average: policy.Average in the file, None here", "slot 'average'"),
    ),
    "another average": (lambda: make(average=up.Average(0.5)), ("optimizer.policy.average.keep: 0.9 in the file, 0.5 here",)),
    "masters": (
        lambda: make(master_weights=True),
        (
            "optimizer.policy.master_weights: False in the file, True here",
            "weight 'h': slot 'master': nothing in the file, float32[3] here",
        ),
    ),
    "random rounding": (
        lambda: make(stochastic_rounding=1), ("optimizer.policy.stochastic_rounding: None in the file, 1 here",),
    ),
    "what is not finite": (
        lambda: make(loss_scale=None, nonfinite="raise"), ("optimizer.policy.nonfinite: None in the file, 'raise' here",),
    ),
    "counted calls": (
        lambda: make(attrs.evolve(rule(), policy=up.Policy(count_calls=True))),
        ("optimizer.policy.count_calls: False in the file, True here",),
    ),
    "another batch size": (
        lambda: get_updater(rule(), up.OptimizationState(4), **ARGUMENTS), ("clock.batch_size: 1 in the file, 4 here",),
    ),
}  # fmt: skip


FRESH_OR_NOT = (
    list(product(OTHERS, (False, True))) if os.environ.get("UPDATERS_TEST_ALL") else list(zip(OTHERS, cycle((False, True))))
)


@pytest.mark.parametrize(("name", "has_run"), FRESH_OR_NOT)
def test_a_file_of_another_updater_is_refused_or_taken_in_part(name: str, has_run: bool, tmp_path: Path) -> None:
    other, wanted = OTHERS[name]
    path = tmp_path / "run.safetensors"
    update, weights = saved()
    update.save(path, weights=weights)

    again, others = other(), weights_of()
    for iteration in range(5, 5 + 3 * has_run):
        step(again, others, iteration)
    before = everything(again, others)
    with pytest.raises(ValueError, match=r"run\.safetensors is not of this updater: .*\. strict=False takes what fits") as caught:
        again.load(path, weights=others)
    for text in wanted:
        assert text in str(caught.value)
    assert everything(again, others) == before
    if not has_run:
        with pytest.raises(KeyError):
            again.evaluation_weight("a", others["a"])

    report = again.load(path, weights=others, strict=False)
    for text in wanted:
        assert any(text in line for line in report.left), report
    assert bits(others) == bits(weights)
    assert again.state == attrs.evolve(update.state, batch_size=again.state.batch_size)
    check_goes_on(again, others, other, tmp_path)


def test_long_lists_of_differences_are_cut() -> None:
    update, weights = get_updater(up.SGD(0.1, momentum=0.9)), {place: np.ones(1) for place in range(30)}
    step(update, weights, 1)
    again = get_updater(up.SGD(0.1))
    with pytest.raises(ValueError, match="slot 'velocity'.*; and 21 more") as caught:
        again.load_state_dict(update.state_dict())
    assert len(str(caught.value)) < 2000
    assert len(again.load_state_dict(update.state_dict(), strict=False).left) == 31


# Slots that are not what they should be


def changed(change: Callable[[dict[Any, Any]], None]) -> dict[str, Any]:
    values = saved()[0].state_dict()
    change(values)
    return values


def without(name: str) -> Callable[[dict[Any, Any]], None]:
    def change(values: dict[Any, Any]) -> None:
        for part in ("slots", "dtypes"):
            values["kept"]["a"][part].pop(name)

    return change


def put(index: str, name: str, array: Array) -> Callable[[dict[Any, Any]], None]:
    def change(values: dict[Any, Any]) -> None:
        values["kept"][index]["slots"][name] = array
        values["kept"][index]["dtypes"][name] = array.dtype.name

    return change


def set_to(index: str, **fields: Any) -> Callable[[dict[Any, Any]], None]:
    return lambda values: values["kept"][index].update(fields)


SLOTS: dict[str, tuple[Callable[[dict[Any, Any]], None], str]] = {
    "a missing one": (without("m"), "weight 'a': slot 'm': nothing in the file, float64[2, 3] here"),
    "a missing average": (without("average"), "weight 'a': slot 'average': nothing in the file, float64[2, 3] here"),
    "a missing sum": (without("accumulated"), "weight 'a': slot 'accumulated': nothing in the file, float64[2, 3] here"),
    "another one": (put("a", "x", np.ones(2, np.float32)), "weight 'a': slot 'x': float32[2] in the file, nothing here"),
    "one of another shape": (put("a", "m", np.ones((3, 2))), "weight 'a': slot 'm': float64[3, 2] in the file, float64[2, 3] here"),
    "one of another dtype": (
        put("a", "m", np.ones((2, 3), np.float32)), "weight 'a': slot 'm': float32[2, 3] in the file, float64[2, 3] here",
    ),
    "a complex one": (
        put("a", "m", np.ones((2, 3), complex)), "weight 'a': slot 'm': complex128[2, 3] in the file, float64[2, 3] here",
    ),
    "another scalar": (set_to("a", scalars={"d": 1.0}), "weight 'a': scalars: d in the file, correction1, correction2 here"),
}  # fmt: skip


@pytest.mark.parametrize("has_run", [False, True], ids=["fresh", "has run"])
@pytest.mark.parametrize("name", SLOTS)
def test_slots_that_are_not_the_rules_are_refused_or_left(name: str, has_run: bool, tmp_path: Path) -> None:
    change, text = SLOTS[name]
    values = changed(change)
    again, others = make(), weights_of()
    if has_run:
        step(again, others, 9)
    before = everything(again, others)
    with pytest.raises(ValueError, match="the state dict is not of this updater") as caught:
        again.load_state_dict(values)
    assert text in str(caught.value)
    assert everything(again, others) == before
    report = again.load_state_dict(values, strict=False)
    assert text in report.left
    assert {"b", "h"} <= {*report.slots} <= {*values["kept"]}
    check_goes_on(again, others, make, tmp_path)


def test_a_slot_whose_dtype_is_not_told_is_refused() -> None:
    values = saved()[0].state_dict()
    values["kept"]["a"]["slots"]["x"] = np.ones(2)
    for strict in (True, False):
        with pytest.raises(ValueError, match="array 'slots/a/x' is not named where it should be"):
            make().load_state_dict(values, strict=strict)


def test_what_a_rule_keeps_is_taken_with_the_count_or_not_at_all() -> None:
    again, others = make(), weights_of()
    step(again, others, 1)
    step(again, others, 2)
    before = bits(dict(again.slots["a"].arrays)), again.slots["a"].count
    report = again.load_state_dict(changed(without("v")), strict=False)
    assert report.slots == ("b", "h")
    assert (bits(dict(again.slots["a"].arrays)), again.slots["a"].count) == before


RESHAPED: dict[str, tuple[Array, str]] = {
    "another shape": (np.ones((3, 2)), "weight 'a': float64[2, 3] in the file, float64[3, 2] here"),
    "another dtype": (np.ones((2, 3), np.float32), "weight 'a': float64[2, 3] in the file, float32[2, 3] here"),
    "another byte order": (np.ones((2, 3), ">f8"), "weight 'a': float64[2, 3] in the file, >float64[2, 3] here"),
    "complex numbers": (np.ones((2, 3), complex), "weight 'a': float64[2, 3] in the file, complex128[2, 3] here"),
}


@pytest.mark.parametrize("has_run", [False, True], ids=["fresh", "has run"])
@pytest.mark.parametrize("name", RESHAPED)
def test_a_weight_that_is_another_is_refused_or_left(name: str, has_run: bool, tmp_path: Path) -> None:
    array, text = RESHAPED[name]
    update, weights = saved()
    update.save(tmp_path / "run.safetensors", weights=weights)
    again, others = make(), weights_of() | {"a": array}
    if has_run:
        step(again, others, 9)
    before = everything(again, others)
    with pytest.raises(ValueError, match=r"run\.safetensors is not of this updater") as caught:
        again.load(tmp_path / "run.safetensors", weights=others)
    assert text in str(caught.value)
    assert everything(again, others) == before
    report = again.load(tmp_path / "run.safetensors", weights=others, strict=False)
    assert text in report.left
    assert report.weights == ("b", "h")
    assert report.slots == (("b", "h") if has_run else ("a", "b", "h"))
    if has_run:
        check_goes_on(again, others, make, tmp_path)
    else:  # its slots wait for a weight that there is not
        with pytest.raises(ValueError, match="weight 'a': expected (shape|dtype) .* as in its earlier updates"):
            step(again, others, 10)


@pytest.mark.parametrize("what", ["lacking", "extra"])
def test_weights_on_one_side_only_are_refused_or_left(what: str, tmp_path: Path) -> None:
    update, weights = saved()
    update.save(tmp_path / "run.safetensors", weights=weights)
    again, others = make(), weights_of()
    if what == "lacking":
        del others["b"]
        text = "weight 'b': a weight in the file, none given here"
    else:
        others["c"] = np.zeros(2)
        text = "weight 'c': no weight in the file, float64[2] here"
    before = everything(again, others)
    with pytest.raises(ValueError, match=text.replace("[", r"\[")):
        again.load(tmp_path / "run.safetensors", weights=others)
    assert everything(again, others) == before
    report = again.load(tmp_path / "run.safetensors", weights=others, strict=False)
    assert report.left == (text,)
    assert {*report.weights} == {*weights} & {*others}
    check_goes_on(again, {"b": np.ones(4, np.float32), **others}, make, tmp_path)


def test_weights_that_are_not_in_the_file_or_not_asked_for(tmp_path: Path) -> None:
    update, weights = saved()
    update.save(tmp_path / "with.safetensors", weights=weights)
    update.save(tmp_path / "without.safetensors")
    with pytest.raises(ValueError, match=r"weight 'a': no weight in the file, float64\[2, 3\] here"):
        make().load(tmp_path / "without.safetensors", weights=weights_of())
    again = make()
    with pytest.raises(ValueError, match=r"with\.safetensors has weights too: load\(\.\.\., weights=weights\) takes them"):
        again.load(tmp_path / "with.safetensors")
    assert again == make()
    report = again.load(tmp_path / "with.safetensors", strict=False)
    assert report.left == ("3 weights, which were not asked for; load(..., weights=weights) takes them",)
    assert make().load(tmp_path / "without.safetensors").left == ()


def test_a_weight_that_is_here_only_is_refused_or_stays() -> None:
    update, _ = saved()
    again, others = make(), weights_of() | {"c": np.ones(2)}
    step(again, others, 1)
    step(again, others, 2)
    before = bits(dict(again.slots["c"].arrays)), again.slots["c"].count
    with pytest.raises(ValueError, match="weight 'c': nothing in the file, slots here"):
        again.load_state_dict(update.state_dict())
    report = again.load_state_dict(update.state_dict(), strict=False)
    assert report.left == ("weight 'c': nothing in the file, slots here",)
    assert (bits(dict(again.slots["c"].arrays)), again.slots["c"].count) == before
    step(again, others, 3)


REFUSED: dict[str, tuple[Callable[[], up.Updater], tuple[int, ...], str]] = {
    "a rule": (lambda: get_updater(up.Muon(0.1)), (6,), "weight 'a': .*Muon.*"),
    "a slot of another shape": (
        lambda: get_updater(up.Adafactor(0.1)), (3, 2), r"weight 'a': slot 'row': float64\[2\] in the file, float64\[3\] here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_shapes_that_a_rule_does_not_take_are_refused(name: str) -> None:
    fresh, shape, text = REFUSED[name]
    update, weights = fresh(), {"a": np.ones((2, 3))}
    step(update, weights, 1)
    values = update.state_dict()
    values["kept"]["a"]["shape"] = list(shape)
    again = fresh()
    with pytest.raises(ValueError, match=text):
        again.load_state_dict(values)
    assert again == fresh()
    report = again.load_state_dict(values, strict=False)
    assert report.slots == ()
    step(again, weights, 2)


@pytest.mark.parametrize("strict", [True, False])
def test_a_later_format_is_refused(strict: bool) -> None:
    values = saved()[0].state_dict()
    values["format"], values["versions"]["updaters"] = 2, "7.1"
    again = make()
    with pytest.raises(ValueError, match=r"format must be 1, got 2, of updaters 7\.1; a later updaters reads it"):
        again.load_state_dict(values, strict=strict)
    assert again == make()


def test_no_policy_is_the_same_as_one_that_does_nothing() -> None:
    without, within = get_updater(up.Adam(0.1)), get_updater(up.Adam(0.1), accumulate=1)
    assert without.policy == within.policy
    assert within.load_state_dict(without.state_dict()).left == ()
    assert without.load_state_dict(within.state_dict()).left == ()


POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "accumulate": ({"accumulate": 2}, "optimizer.policy.accumulate: 1 in the file, 2 here"),
    "nonfinite": ({"nonfinite": "skip"}, "optimizer.policy.nonfinite: None in the file, 'skip' here"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_what_a_policy_does_besides_is_named(name: str) -> None:
    arguments, text = POLICIES[name]
    report = get_updater(up.Adam(0.1), **arguments).load_state_dict(get_updater(up.Adam(0.1)).state_dict(), strict=False)
    assert report.left == (text,)
    turned = text.replace("1 in the file, 2", "2 in the file, 1").replace("None in the file, 'skip'", "'skip' in the file, None")
    report = get_updater(up.Adam(0.1)).load_state_dict(get_updater(up.Adam(0.1), **arguments).state_dict(), strict=False)
    assert report.left == (turned,)


def test_a_weight_of_another_shape_is_named_once_and_a_report_is_short(tmp_path: Path) -> None:
    def run(shape: tuple[int, ...]) -> tuple[up.Updater, list[Array]]:
        update, weights = get_updater(up.Adam(0.1)), [np.ones(shape) for _ in range(50)]
        update.step(weights, [*map(np.copy, weights)])
        return update, weights

    update, weights = run((2, 3))
    update.save(tmp_path / "run.safetensors", weights=weights)
    again, others = run((3, 2))
    with pytest.raises(ValueError, match=r"weight 1: float64\[2, 3\] in the file, float64\[3, 2\] here; .*; and 40 more\. "):
        again.load(tmp_path / "run.safetensors", weights=others)
    report = again.load(tmp_path / "run.safetensors", weights=others, strict=False)
    text = "weight 0: float64[2, 3] in the file, float64[3, 2] here"
    assert report.left.count(text) == 1
    assert f"left: {text}" in repr(report)
    assert len(repr(report).splitlines()) == 13
    assert repr(report).endswith(f"\nand {len(report.left) - 10} more, in left")


NO_STATE_DICTS: dict[str, tuple[Any, type[Exception], str]] = {
    "a path": ("run.safetensors", TypeError, "state_dict must be what an updater's state_dict() gives, got 'run.safetensors'"),
    "another system's": ({"state": {}, "param_groups": []}, ValueError, "format is missing"),
    "a part": ({"format": 1}, ValueError, "kept is missing"),
}


@pytest.mark.parametrize("name", NO_STATE_DICTS)
def test_what_is_no_state_dict_is_refused_by_name(name: str) -> None:
    values, kind, text = NO_STATE_DICTS[name]
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        make().load_state_dict(values)


@pytest.mark.parametrize("given", [3, "ab", np.ones(2), iter([])], ids=["a number", "a text", "an array", "an iterator"])
@pytest.mark.parametrize("call", ["save", "load", "flush"])
def test_weights_are_a_mapping_or_a_sequence(call: str, given: Any, tmp_path: Path) -> None:
    update = make()
    with pytest.raises(TypeError, match=f"^weights must be a mapping or a sequence, got {type(given).__name__}$"):
        update.flush(given) if call == "flush" else getattr(update, call)(tmp_path / "run.safetensors", weights=given)


class Forgetful:
    def __call__(self, state: up.OptimizationState, /) -> float:
        return 0.1

    def state_dict(self) -> None: ...

    def load_state_dict(self, values: Mapping[str, float]) -> None: ...


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"optimizer\.lr: state_dict\(\) must give a mapping, got None"):
        get_updater(up.SGD(Forgetful())).save(tmp_path / "run.safetensors")
    assert not [*tmp_path.iterdir()]


def test_strict_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="strict must be True or False, got 1"):
        make().load_state_dict(saved()[0].state_dict(), strict=1)  # type: ignore[arg-type]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something is in nested data."""
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, name)
        yield from places(value[name], (*path, name))


ODD = [
    None, True, False, 0, 1, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "F", [], [1], {}, {"a": 1}, np.ones(2), (),
    "float64", {"float": "nan"}, {"float": "x"}, [[["a"]]],
]  # fmt: skip


def test_a_dictionary_that_was_tampered_with_is_refused_with_nothing_changed_or_is_as_good_as_another() -> None:
    values = saved()[0].state_dict()
    cases = [(place, odd) for place in places(values) for odd in ODD][:: 1 if os.environ.get("UPDATERS_TEST_ALL") else 37]
    refused = 0
    for place, odd in cases:
        changed_values = copy.deepcopy(values)
        part = changed_values
        for name in place[:-1]:
            part = part[name]
        part[place[-1]] = odd
        again, others = make(), weights_of()
        before = everything(again, others)
        try:
            again.load_state_dict(changed_values)
        except (TypeError, ValueError):
            refused += 1
            assert everything(again, others) == before, (place, odd)
            continue
        if place[0] not in ("clock", "calls"):
            step(again, others, 4)
            assert again.report().what == "applied", (place, odd)
    assert refused > 0.8 * len(cases)


# What is taken in part


def test_gradients_that_are_accumulated_are_taken_together_or_not_at_all() -> None:
    update, _ = saved(calls=3)
    values = update.state_dict()
    values["kept"]["a"]["slots"]["m"] = np.ones(7)
    again, others = make(), weights_of()
    step(again, others, 1)
    report = again.load_state_dict(values, strict=False)
    assert report.slots == ("b", "h")
    assert {known.gathered for known in again.slots.values()} == {0}
    assert not any(known["accumulated"].any() for known in again.slots.values())
    assert any("accumulated gradients" in line for line in report.left)
    assert [again.slots[index].count for index in "abh"] == [0, 1, 1]


def test_none_that_are_accumulated_here_stay_where_the_file_has_none() -> None:
    update, weights = get_updater(up.SGD(0.1)), {"a": np.ones(2)}
    step(update, weights, 1)
    again, others = get_updater(up.SGD(0.1), accumulate=2), {"a": np.ones(2)}
    again.step({"a": np.full(2, 100.0)}, others)
    again.load_state_dict(update.state_dict(), strict=False)
    for one, arrays, calls in ((update, weights, 1), (again, others, 2)):
        arrays["a"][...] = 1
        for _ in range(calls):
            one.step({"a": np.ones(2)}, arrays)
    assert bits(others) == bits(weights)


def test_calls_of_a_longer_group_that_brought_no_gradient_are_not_taken() -> None:
    update, weights = get_updater(up.SGD(0.1), accumulate=3), {"a": np.ones(2)}
    for _ in range(2):
        update.step({"a": None}, weights)
    again = get_updater(up.SGD(0.1), accumulate=2)
    again.load_state_dict(update.state_dict(), strict=False)
    for what in ("accumulated", "applied"):
        again.step({"a": np.ones(2)}, weights)
        assert again.report().what == what


def test_gradients_of_a_weight_that_is_here_only_are_dropped_with_the_others() -> None:
    update, weights = saved(calls=3)
    again, others = make(), {name: weight.copy() for name, weight in weights.items()} | {"c": np.ones(2)}
    step(again, others, 9)
    again.load_state_dict(update.state_dict(), strict=False)
    assert {index: known.gathered for index, known in again.slots.items()} == {"a": 1, "b": 1, "h": 1, "c": 0}
    for one, arrays in ((update, weights), (again, others)):
        step(one, arrays, 4)
        assert one.report().what == "applied"
    assert not again.slots["c"]["accumulated"].any()
    assert bits(again.slots["a"]["average"]) != bits(others["a"])


def test_a_weight_that_is_frozen_here_keeps_no_gradient_of_a_group() -> None:
    update, _ = saved(calls=3)
    again, others = make(overrides={"b": up.FROZEN}), weights_of()
    again.load_state_dict(update.state_dict(), strict=False)
    step(again, others, 4)
    assert again.slots["b"].gathered == 0
    again.override("b", {"lr_scale": 0.5})
    for iteration in (5, 6, 7):
        step(again, others, iteration)
    assert [known.count for known in again.slots.values()] == [3, 3, 3]


def test_a_loss_scale_that_stays_is_what_its_field_says() -> None:
    update = get_updater(up.SGD(0.1), loss_scale=8.0)
    again = get_updater(up.SGD(0.1), loss_scale=16.0)
    again.load_state_dict(update.state_dict(), strict=False)
    assert again.loss_scale == 16


def test_masters_and_averages_that_are_switched_on_begin_with_their_weights() -> None:
    update, weights = get_updater(up.SGD(0.1)), {"h": np.ones(3, np.float16)}
    step(update, weights, 1)
    before = weights["h"].astype(np.float32)
    again = get_updater(up.SGD(0.1), master_weights=True, average=up.Average(0.5))
    again.load_state_dict(update.state_dict(), strict=False)
    assert bits(again.evaluation_weight("h", weights["h"])) == bits(weights["h"])
    assert bits(again.slots["h"]["master"]) == bits(again.slots["h"]["average"]) == bits(before)
    step(again, weights, 2)
    master = again.slots["h"]["master"]
    np.testing.assert_array_equal(master.astype(np.float16), weights["h"])
    np.testing.assert_array_equal(again.slots["h"]["average"], np.float32(0.5) * before + np.float32(0.5) * master)


def test_true_is_not_one() -> None:
    values = make().state_dict()
    values["optimizer"]["amsgrad"], values["optimizer"]["beta1"] = 0, True
    with pytest.raises(ValueError, match=r"beta1: True in the file, 0\.9 here.*amsgrad: 0 in the file, False here"):
        make().load_state_dict(values)


def test_a_frozen_weight_may_lack_what_is_switched_on() -> None:
    update, weights = get_updater(up.SGD(0.1)), {"h": np.ones(3, np.float16)}
    step(update, weights, 1)
    again = get_updater(up.SGD(0.1), master_weights=True, average=up.Average(0.5), overrides={"h": up.FROZEN})
    again.load_state_dict(update.state_dict(), strict=False)
    assert bits(again.evaluation_weight("h", weights["h"])) == bits(weights["h"])
    again.override("h", None)
    step(again, weights, 2)
    assert again.slots["h"].count == 2


def test_slots_that_waited_for_a_frozen_weight_are_checked_when_it_moves() -> None:
    update, weights = get_updater(up.Adam(0.1)), {"a": np.ones((2, 3))}
    step(update, weights, 1)
    update.override("a", up.FROZEN)
    values = update.state_dict()
    values["kept"]["a"]["slots"]["m"] = np.ones(2)
    again = get_updater(up.Adam(0.1), overrides={"a": up.FROZEN})
    again.load_state_dict(values)
    with pytest.raises(ValueError, match=r"weight 'a': slot 'm': float64\[2\]"):
        again.override("a", None)


def test_two_files_one_after_the_other_are_the_last_one(tmp_path: Path) -> None:
    update, weights = get_updater(up.SGD(0.1)), {"h": np.ones(3, np.float16)}
    step(update, weights, 1)
    other = get_updater(up.SGD(0.1), master_weights=True)
    step(other, weights, 1)
    again = get_updater(up.SGD(0.1), master_weights=True)
    again.load_state_dict(update.state_dict(), strict=False)
    again.load_state_dict(other.state_dict())
    assert again == other
    again.load_state_dict(update.state_dict(), strict=False)
    assert [*again.slots["h"].arrays] == []


# Functions and classes of one's own


def halving(state: up.OptimizationState) -> float:
    return 0.5**state.iteration


def custom_rule() -> Any:
    path = Path(__file__).parents[1] / "examples" / "custom_rule.py"
    spec = importlib.util.spec_from_file_location("custom_rule", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ProximalSGD


UNCHECKED: dict[str, tuple[Callable[[], up.Optimizer], tuple[str, ...]]] = {
    "a function": (lambda: up.SGD(halving), ("optimizer.lr",)),
    "a lambda": (lambda: up.SGD(0.1, momentum=lambda state: 0.5), ("optimizer.momentum",)),
    "a partial": (lambda: up.SGD(partial(max, 0.1)), ("optimizer.lr",)),  # type: ignore[arg-type]
    "a function in a schedule": (
        lambda: up.SGD(up.learning_rate.Lambda(0.1, lambda t: 1.0, clock="iteration")),
        ("optimizer.lr.function",),
    ),
    "a function in a policy": (
        lambda: up.SGD(0.1, policy=up.Policy(overrides={"*": {"lr_scale": halving}}, average=up.Average(halving))),
        ("optimizer.policy.average.keep", "optimizer.policy.overrides[0].settings.lr_scale"),
    ),
    "several": (lambda: up.Adam(halving, beta1=halving), ("optimizer.lr", "optimizer.beta1")),
    "a rule": (lambda: custom_rule()(0.1, l1=0.01), ()),
    "a rule with a function": (lambda: custom_rule()(halving), ("optimizer.lr",)),
}


@pytest.mark.parametrize("name", UNCHECKED)
def test_what_cannot_be_compared_is_named(name: str, tmp_path: Path) -> None:
    fresh, wanted = UNCHECKED[name]
    update, weights = get_updater(fresh()), {"a": np.ones((2, 3))}
    with np.errstate(all="ignore"):
        update.state.iteration = 1
        if name != "a partial":
            step(update, weights, 1)
    update.save(tmp_path / "run.safetensors", weights=weights)
    again, others = get_updater(fresh()), {"a": np.zeros((2, 3))}
    report = again.load(tmp_path / "run.safetensors", weights=others)
    assert report.unchecked == wanted
    assert ("not compared: " in repr(report)) is bool(wanted)
    assert report.left == ()
    if name != "a partial":
        for one, arrays in ((update, weights), (again, others)):
            step(one, arrays, 2)
        assert bits(others) == bits(weights)


def test_fields_of_a_rule_of_ones_own_are_compared() -> None:
    kind = custom_rule()
    update, again = (get_updater(kind(0.1, l1=l1)) for l1 in (0.01, 0.02))
    with pytest.raises(ValueError, match=r"optimizer\.l1: 0\.01 in the file, 0\.02 here"):
        again.load_state_dict(update.state_dict())
    with pytest.raises(ValueError, match="optimizer: ProximalSGD in the file, SGD here"):
        get_updater(up.SGD(0.1)).load_state_dict(update.state_dict())


@pytest.mark.parametrize("kind", [lambda: halving, lambda: None], ids=["a function", "a number"])
def test_a_function_of_another_name_is_another(kind: Callable[[], Any]) -> None:
    def other(state: up.OptimizationState) -> float:
        return 0.1

    update, again = get_updater(up.SGD(other)), get_updater(up.SGD(kind() or 0.1))
    with pytest.raises(ValueError, match=r"optimizer\.lr: .*other in the file, (halving|0\.1) here"):
        again.load_state_dict(update.state_dict())


# Fields that are newer than a file

MADE_OF_OTHERS = {
    "learning_rate.Cyclic.down", "learning_rate.Delay.clock", "learning_rate.OneCycle.end", "learning_rate.OneCycle.start",
    "learning_rate.Repeat.clock", "learning_rate.Sequence.clock", "momentum.Cyclic.down",
}  # fmt: skip
"""Fields whose defaults are made of other fields. All files have these; one that is newer than version 1 needs a plain default."""


def fields_of_ours() -> list[tuple[str, type, Field]]:
    """All fields of the classes that configs have names for."""
    kinds = {kind: name for name, kind in reversed([*_types.items(), *_compat().items()]) if not name.startswith("tests.")}
    return [(f"{name}.{field.argument}", kind, field) for kind, name in kinds.items() for field in fields_of(kind)]


def test_all_fields_but_those_of_the_first_version_have_plain_defaults() -> None:
    assert {name for name, _, field in fields_of_ours() if not field.needed and field.default is attrs.NOTHING} == MADE_OF_OTHERS


def test_defaults_are_written_as_what_they_become() -> None:
    for name, kind, field in fields_of_ours():
        (of_kind,) = (one for one in attrs.fields(kind) if one.name == field.attribute)
        if field.default is attrs.NOTHING or of_kind.converter is None or isinstance(of_kind.converter, attrs.Converter):
            continue
        assert list(differences(described_part(field.default), described_part(of_kind.converter(field.default)))) == [], name


def described_part(value: Any) -> Any:
    return written(value, "x", 0)


def parts(value: Any, path: str) -> Iterator[tuple[str, type, Any]]:
    """The mappings of a description that are of a class, by their places."""
    if isinstance(value, dict):
        kind = kind_named(value.get("type"))
        if kind is not None:
            yield path, kind, value
        for name, part in value.items():
            yield from parts(part, f"{path}.{name}")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from parts(part, f"{path}[{place}]")


NEW_AND_OLD = up.Adam(
    up.learning_rate.OneCycle(0.1, 20, clock="epoch"),
    beta1=up.momentum.Fixed(0.8),
    amsgrad=True,
    transforms=(up.transforms.LARC(0.1), up.transforms.ClipByValue(-1, 2)),
    policy=up.Policy(
        clip=(up.transforms.AGC(0.1), NORM(1.0, 3)),
        accumulate=3,
        loss_scale=up.loss_scale.GrowthInterval(8.0, growth_interval=7),
        average=up.Average(0.5),
        overrides={"b": {"lr_scale": Plateau(0.5, cooldown=2)}, "c": up.SGD(0.1, momentum=0.5)},
    ),
)


def test_a_field_that_is_newer_than_a_file_counts_as_its_default() -> None:
    whole = described(NEW_AND_OLD)
    results = []
    for path, kind, data in list(parts(whole, "optimizer")):
        for field in fields_of(kind):
            value = data.pop(field.argument)
            found = [str(one) for one in differences(whole, described(NEW_AND_OLD))]
            data[field.argument] = value
            is_default = field.default is not attrs.NOTHING and value == described_part(field.default)
            assert (found == []) is is_default, (path, field)
            assert all(one.startswith(f"{path}.{field.argument}") for one in found)
            results.append(is_default)
    assert {*results} == {True, False}


def test_an_old_file_is_loaded_where_newer_fields_have_their_defaults_and_refused_where_not() -> None:
    update, again = make(), make()
    values = update.state_dict()
    for name in ("epsilon_hat", "maximize"):
        del values["optimizer"][name]
    del values["optimizer"]["policy"]["overrides"][0]["settings"]
    with pytest.raises(ValueError, match=r"optimizer\.policy\.overrides\[0\]\.settings: nothing in the file, a mapping here"):
        again.load_state_dict(values)
    values = update.state_dict()
    for name in ("epsilon_hat", "maximize"):
        del values["optimizer"][name]
    assert again.load_state_dict(values).left == ()
    other = make(rule(epsilon_hat=True))
    with pytest.raises(ValueError, match=r"optimizer\.epsilon_hat: False in the file, True here"):
        other.load_state_dict(values)


def test_a_field_that_is_no_more_is_a_difference() -> None:
    values = make().state_dict()
    values["optimizer"]["gone"] = 1
    with pytest.raises(ValueError, match=r"optimizer\.gone: 1 in the file, nothing here"):
        make().load_state_dict(values)


def test_a_counter_that_is_newer_than_a_file_is_as_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "COUNTERS", tuple(name for name in contents.COUNTERS if name != "last_applied"))
    update, _ = saved()
    values = update.state_dict()
    del values["clock"]["last_applied"]
    again = make()
    again.load_state_dict(values)
    assert (again.state.iteration, again.state.last_applied) == (3, 0)
