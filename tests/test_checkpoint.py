"""Checkpoints: a run that is saved and loaded in the middle ends with the bits of one that is not."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests import fake_cupy
from tests.checkpoints import (
    RULES,
    SETTINGS,
    Case,
    alike,
    bits,
    check_devices,
    device_step,
    draw,
    hosts,
    kept,
    there,
    unlike,
    weights_of,
)
from tests.fake_cupy import take

Array = Any

# Every rule, policy, dtype, layout and kind of index: each weight of a case has another dtype, order or kind of index.

OWN_AVERAGE = {"asgd", "scheduled asgd", "asgd of torch"}


def is_allowed(rule: str, setting: str) -> bool:
    """Whether a rule can be had in a setting: ASGD keeps an average itself, and one rule has clips of its own."""
    if rule == "sgd of tensorlayerx":
        return not SETTINGS[setting].alone and setting != "overrides"
    return not (rule in OWN_AVERAGE and "average" in SETTINGS[setting].arguments)


ALL = [Case(rule, setting) for rule in RULES for setting in SETTINGS if is_allowed(rule, setting)]


KINDS = {(type(rule), tuple(rule.slots), tuple(rule.scalars), tuple(rule.numbers)): name for name, rule in RULES.items()}
"""A rule of all those that keep the same."""


def some() -> Iterator[Case]:
    """Each kind of rule once, and each setting, with a third of the weights."""
    names = list(SETTINGS)
    for place, rule in enumerate(KINDS.values()):
        setting = names[7 * place % len(names)]
        yield Case(rule, setting if is_allowed(rule, setting) else "plain", third=place % 3)


CASES = ALL if os.environ.get("UPDATERS_TEST_ALL") else [*some()]
"""The whole product, of minutes, is for UPDATERS_TEST_ALL=1."""

STOP, LAST = 4, 6  # in the midst of groups of 3 calls, and at their end


def check(case: Case, travel: Callable[[up.Updater, Mapping[Any, Array], dict[Any, Array]], up.Updater]) -> None:
    """Hold a run that changes its updater and its weights in the middle to one that does not."""
    whole, weights = case.updater(), weights_of(case.third)
    for iteration in range(1, STOP + 1):
        case.step(whole, weights, iteration)
    others = alike(weights)
    again = travel(whole, weights, others)
    assert again == whole
    assert unlike(kept(again, others), kept(whole, weights)) == []
    for iteration in range(STOP + 1, LAST + 1):
        case.step(whole, weights, iteration)
        case.step(again, others, iteration)
    assert again == whole
    assert unlike(kept(again, others), kept(whole, weights)) == []


def test_each_kind_of_rule_is_tried_and_each_setting_and_each_weight() -> None:
    assert {case.rule for case in CASES} >= {*KINDS.values()}
    assert {case.setting for case in CASES} == {*SETTINGS}
    assert {index for case in CASES for index in weights_of(case.third)} == {*weights_of()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_that_is_saved_and_loaded_ends_with_the_same_bits(case: Case, tmp_path: Path) -> None:
    def travel(update: up.Updater, weights: Mapping[Any, Array], others: dict[Any, Array]) -> up.Updater:
        update.save(tmp_path / "run.safetensors", weights=weights)
        again = case.updater()
        report = again.load(tmp_path / "run.safetensors", weights=others)
        assert (report.slots, report.weights, report.left) == (tuple(update.slots), tuple(weights), ())
        assert report.waiting == report.slots
        return again

    check(case, travel)


@pytest.mark.parametrize(
    ("rule", "setting"), [("muon", "special"), ("adafactor", "counted calls"), ("prodigy", "all"), ("scheduled nadam", "all")]
)
def test_a_run_that_goes_on_from_a_dictionary_ends_with_the_same_bits(rule: str, setting: str) -> None:
    case = Case(rule, setting)

    def travel(update: up.Updater, weights: Mapping[Any, Array], others: dict[Any, Array]) -> up.Updater:
        values = update.state_dict()
        for index, weight in weights.items():
            others[index][...] = weight
        again = case.updater()
        again.load_state_dict(values)
        for one in values["kept"].values():
            for array in one["slots"].values():
                array[...] = 3  # it is the caller's
        return again

    check(case, travel)


COPIES: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("setting", ["all", "plain"])
def test_a_copy_of_an_updater_that_was_just_loaded_goes_on_alike(how: str, setting: str, tmp_path: Path) -> None:
    case = Case("adam", setting)

    def travel(update: up.Updater, weights: Mapping[Any, Array], others: dict[Any, Array]) -> up.Updater:
        update.save(tmp_path / "run.safetensors", weights=weights)
        again = case.updater()
        again.load(tmp_path / "run.safetensors", weights=others)
        return COPIES[how](again)  # type: ignore[no-any-return]

    check(case, travel)


@pytest.mark.parametrize("setting", ["all", "special", "accumulate"])
def test_a_file_that_is_saved_right_after_loading_is_the_same(setting: str, tmp_path: Path) -> None:
    case = Case("adam", setting)

    def travel(update: up.Updater, weights: Mapping[Any, Array], others: dict[Any, Array]) -> up.Updater:
        update.save(tmp_path / "first.safetensors", weights=weights)
        again = case.updater()
        again.load(tmp_path / "first.safetensors", weights=others)
        again.save(tmp_path / "second.safetensors", weights=others)
        assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()
        third = case.updater()
        third.load(tmp_path / "second.safetensors", weights=others)
        return third

    check(case, travel)


@pytest.mark.parametrize("setting", ["all", "special", "accumulate", "overwriting average"])
def test_an_updater_that_has_run_goes_on_in_the_arrays_that_it_has(setting: str, tmp_path: Path) -> None:
    case, path = Case("adam", setting), tmp_path / "run.safetensors"
    whole, weights = case.updater(), weights_of()
    for iteration in range(1, LAST):
        case.step(whole, weights, iteration)
    whole.save(path, weights=weights)

    again, others = case.updater(), alike(weights)
    for iteration in range(LAST, 2, -1):
        case.step(again, others, iteration)
    slots = {(index, name): array for index, known in again.slots.items() for name, array in known.arrays.items()}
    states = dict(again.slots)
    for _ in range(2):
        report = again.load(path, weights=others)
        assert report.waiting == ()
        assert {*report.slots} == {*again.slots}
        assert again.report().what == "nothing"
    assert all(again.slots[index] is known for index, known in states.items())
    assert all(again.slots[index][name] is array for (index, name), array in slots.items())
    assert again == whole
    for one, arrays in ((whole, weights), (again, others)):
        case.step(one, arrays, LAST)
    found, wanted = kept(again, others), kept(whole, weights)
    for one in (found, wanted):  # weights keep the order in which they came
        one["known"] = sorted(map(repr, one["known"]))
        one["state_dict"]["met"] = sorted(map(repr, one["state_dict"]["met"]))
    assert unlike(found, wanted) == []


@pytest.mark.parametrize(("saves", "loads"), [("numpy", "numba"), ("numba", "numpy")])
def test_backends_go_on_from_each_others_files(saves: str, loads: str, tmp_path: Path) -> None:
    pytest.importorskip("numba")

    def travel(update: up.Updater, weights: Mapping[Any, Array], others: dict[Any, Array]) -> up.Updater:
        update.save(tmp_path / "run.safetensors", weights=weights)
        again = Case("adam", "accumulate", loads).updater()
        again.load(tmp_path / "run.safetensors", weights=others)
        return again

    case = Case("adam", "accumulate", saves)
    whole, weights = case.updater(), weights_of()
    some = {index: weights[index] for index in ("out.float32", ("in", 0, "float32"), 7)}  # of one dtype: all is compiled for each
    others = alike(some)
    again = None
    for iteration in range(1, LAST + 1):
        for update, arrays in ((whole, some), (again, others)):
            if update is not None:
                update.step({index: draw((index, iteration), w.shape, w.dtype) for index, w in arrays.items()}, arrays)
        if iteration == 4:
            again = travel(whole, some, others)
    assert again is not None
    assert unlike(kept(again, others), kept(whole, some)) == []


# Indices


INDICES = [
    "", "a", "a/b", "weights/a", "7", "[1]", "null", "NaN", "-Infinity", "true", " 1 ", '"a"', "{", "größe", "\ud800", "\x00", "\u2028",
    "*", 0, -1, 7, 2**100, (), ("a",), (7,), ("7",), ("a", ("b", ())), ("a", "b"), ("a/b",), ((),), ("größe", -(2**70)),
]  # fmt: skip


@pytest.mark.parametrize("by", ["file", "dictionary"])
def test_indices_come_back_as_they_were(by: str, tmp_path: Path) -> None:
    make = partial(up.get_updater, up.SGD(0.1, momentum=0.9), backend="numpy")
    update, weights = make(), {index: np.full(2, float(place)) for place, index in enumerate(INDICES)}
    update.step({index: draw(index, (2,), float) for index in weights}, weights)
    again, others = make(), alike(weights)
    if by == "file":
        update.save(tmp_path / "run.safetensors", weights=weights)
        again.load(tmp_path / "run.safetensors", weights=others)
        assert bits(list(others.values())) == bits(list(weights.values()))
    else:
        again.load_state_dict(update.state_dict())
    assert [(type(index), index) for index in again.slots] == [(type(index), index) for index in INDICES]
    assert [bits(known["velocity"]) for known in again.slots.values()] == [
        bits(known["velocity"]) for known in update.slots.values()
    ]


def test_weights_in_a_sequence_are_saved_by_their_places(tmp_path: Path) -> None:
    make = partial(up.get_updater, up.SGD(0.1, momentum=0.9), backend="numpy")
    update, weights, others = make(), [np.ones(2), np.ones((2, 2))], [np.zeros(2), np.zeros((2, 2))]
    update.step([np.ones(2), np.ones((2, 2))], weights)
    update.save(tmp_path / "run.safetensors", weights=weights)
    again = make()
    assert again.load(tmp_path / "run.safetensors", weights=others).weights == (0, 1)
    assert bits(others) == bits(weights)
    again.step({np.int64(0): np.ones(2), 1: np.ones((2, 2))}, {np.int64(0): others[0], 1: others[1]})
    update.step([np.ones(2), np.ones((2, 2))], weights)
    assert bits(others) == bits(weights)


# CuPy


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    with fake_cupy.installed() as module:
        yield module


DEVICE_DTYPES = {"adam": ["float16", "float64"], "prodigy": ["complex64", "float64"], "masters": ["bfloat16", "float64"]}
"""Few, since all is compiled for each, float32 included; float64 is on another device."""


@pytest.mark.parametrize(
    ("rule", "saves", "loads", "has_run"),
    [
        ("adam", "gpu", "gpu", False), ("prodigy", "gpu", "cpu", False), ("masters", "cpu", "gpu", False),
        ("masters", "gpu", "gpu", True), ("adam", "gpu", "cpu", True), ("prodigy", "cpu", "gpu", True),
    ],
)  # fmt: skip
def test_a_run_goes_on_from_one_device_to_another(
    cupy: Any, rule: str, saves: str, loads: str, has_run: bool, tmp_path: Path
) -> None:
    check_devices(cupy, rule, DEVICE_DTYPES[rule], saves, loads, has_run, tmp_path, other=1)


def test_an_average_is_evaluated_on_the_device_right_after_loading(cupy: Any, tmp_path: Path) -> None:
    make = partial(up.get_updater, up.SGD(0.1), average=up.Average(0.5))
    update, weights = make(), there(cupy, hosts(["bfloat16", "float64"]), other=1)
    for iteration in (1, 2):
        device_step(cupy, update, weights, iteration)
    update.save(tmp_path / "run.safetensors")
    again = make()
    again.load(tmp_path / "run.safetensors")
    for index, weight in weights.items():
        found, wanted = (one.evaluation_weight(index, weight) for one in (again, update))
        assert found.device == weight.device
        assert bits(take(found)) == bits(take(wanted))
