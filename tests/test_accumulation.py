"""Updates of several calls, and the clock beside them: what is held, what is applied, and going on from the midst of a group."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import updaters as up
from updaters.learning_rate import Linear
from updaters.transforms import AGC, ClipByGlobalNorm

Array = np.ndarray[Any, Any]
RATE = Linear(0.1, 100, end=1.1, clock="iteration")


def fresh() -> list[Array]:
    return [np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(1, 2, 3)]


def drawn(seed: int, number: int) -> list[list[Array]]:
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal((2, 3)), rng.standard_normal(3)] for _ in range(number)]


def mean(*gradients: list[Array]) -> list[Array]:
    return [np.mean(arrays, axis=0) for arrays in zip(*gradients, strict=True)]


def close(found: list[Array], expected: list[Array]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_calls_are_updates_by_their_mean(k: int) -> None:
    weights, expected = fresh(), fresh()
    update, other = up.get_updater(up.Adam(RATE), accumulate=k), up.get_updater(up.Adam(RATE))
    for group in range(3):
        gradients = drawn(group, k)
        for n, gradient in enumerate(gradients, 1):
            before = [weight.tobytes() for weight in weights]
            update.step(gradient, weights)
            assert update.report().what == ("applied" if n == k else "accumulated")
            assert ([weight.tobytes() for weight in weights] == before) == (n < k)
            assert (update.state.iteration, update.state.held) == (group * k + n, group * (k - 1) + min(n, k - 1))
        other.step(mean(*gradients), expected)
        close(weights, expected)
    assert [known.count for known in update.slots.values()] == [3, 3]
    assert all(not known.arrays.get("accumulated", np.zeros(0)).any() for known in update.slots.values())


def test_weights_without_a_gradient_in_some_calls() -> None:
    weights, expected = [np.zeros(1) for _ in range(4)], [-1.5, -1.0, -2.0, 0.0]
    update = up.get_updater(up.SGD(1.0), accumulate=2)
    update.step([np.array([1.0]), np.array([2.0]), None, None], weights)
    update.step([np.array([2.0]), None, np.array([4.0]), None], weights)
    assert [float(weight[0]) for weight in weights] == expected
    assert set(update.slots) == {0, 1, 2}
    update.step([None] * 4, weights)  # is a call too
    assert (update.state.iteration, update.report().what, update._calls) == (3, "accumulated", 1)
    update.step([np.array([1.0]), None, None, None], weights)
    assert [float(weight[0]) for weight in weights] == [-2.0, *expected[1:]]
    assert (update.state.iteration, update.state.held) == (4, 2)
    for _ in range(2):
        update.step([None] * 4, weights)
    assert (update.state.iteration, update.state.held, update.report().what, update._calls) == (6, 4, "nothing", 0)
    update.step([None] * 4, weights)
    update.flush(weights)  # begins anew
    assert (update.state.iteration, update.state.held, update._calls) == (7, 5, 0)
    assert [float(weight[0]) for weight in weights] == [-2.0, *expected[1:]]


# Flush.


def test_flush_applies_what_there_is() -> None:
    weights, expected = fresh(), fresh()
    update, other = up.get_updater(up.SGD(RATE), accumulate=3), up.get_updater(up.SGD(RATE))
    update.flush(weights)
    assert (update.state.iteration, update.report().what) == (0, "nothing")
    gradients = drawn(1, 6)
    for gradient in gradients[:5]:
        update.step(gradient, weights)
    assert (update.state.iteration, update.state.held) == (5, 4)
    update.flush(weights)
    assert (update.state.iteration, update.state.held, update.report().what) == (5, 3, "applied")
    other.step(mean(*gradients[:3]), expected)
    other.step(mean(*gradients[3:5]), expected)
    close(weights, expected)
    before = copy.deepcopy(update)
    update.flush(weights)
    assert update == before
    update.step(gradients[5], weights)
    assert (update.report().what, update._calls) == ("accumulated", 1)


def test_flush_takes_the_weights_that_wait_by_any_index() -> None:
    weights = {"a": np.zeros(1), "b": np.zeros(1)}
    update = up.get_updater(up.SGD(1.0), accumulate=4)
    update.step({"a": np.ones(1), "b": None}, weights)
    with pytest.raises(ValueError, match="^weights 'a' have accumulated gradients that are to be applied, and are not given$"):
        update.flush({"b": weights["b"]})
    update.flush({"a": weights["a"]})
    assert (float(weights["a"][0]), float(weights["b"][0])) == (-1.0, 0.0)


def test_calls_of_single_weights_are_groups_of_their_own() -> None:
    weights = {"a": np.zeros(1), "b": np.zeros(1)}
    update = up.get_updater(up.SGD(1.0), up.OptimizationState(), accumulate=2)
    update.state.iteration = 1
    for name, size in (("a", 1.0), ("a", 3.0), ("b", 5.0), ("a", 7.0)):
        update(name, np.full(1, size), weights[name])
    assert (float(weights["a"][0]), float(weights["b"][0])) == (-2.0, 0.0)
    assert [known.gathered for known in update.slots.values()] == [1, 1]
    with pytest.raises(ValueError, match=r"^weights 'a', 'b' have gradients of update\(...\) that wait for others; call flush$"):
        update.step({name: np.ones(1) for name in weights}, weights)
    update("a", np.full(1, 1.0), weights["a"])
    update("a", np.full(1, 2.0), weights["a"])
    update("b", np.full(1, 1.0), weights["b"])
    update("b", np.full(1, 2.0), weights["b"])
    update.flush(weights)
    assert (float(weights["a"][0]), float(weights["b"][0])) == (-8.0, -5.0)
    three = up.get_updater(up.SGD(1.0), accumulate=3)
    for name in "aab":
        three(name, np.ones(1), weights[name])
    with pytest.raises(
        ValueError, match=re.escape("flush takes weights with as many accumulated gradients each, got {'a': 2, 'b': 1}")
    ):
        three.flush(weights)


def test_single_weights_do_not_come_between_calls_of_step() -> None:
    weight = np.zeros(1)
    update = up.get_updater(up.SGD(1.0), accumulate=2)
    update.step([np.ones(1)], [weight])
    with pytest.raises(
        ValueError, match=re.escape("update(0, ...) comes between calls of step that wait for others; call flush or step")
    ):
        update(0, np.ones(1), weight)
    update.flush([weight])
    update(0, np.ones(1), weight)
    assert update.slots[0].gathered == 1


# Skipped, frozen, copied.


def test_a_group_that_is_not_finite_is_dropped_as_a_whole() -> None:
    weights, expected = fresh(), fresh()
    update = up.get_updater(up.Adam(RATE), accumulate=2, nonfinite="skip")
    other = up.get_updater(up.Adam(RATE))
    gradients = drawn(2, 6)
    gradients[2][1][1] = math.nan
    for gradient in gradients:
        update.step(gradient, weights)
    for first in (0, 4):
        other.step(mean(*gradients[first : first + 2]), expected)
    close(weights, expected)
    assert (update.state.iteration, update.state.held) == (6, 4)


def test_what_is_frozen_in_the_midst_of_a_group_waits_for_nothing() -> None:
    weights = {"a": np.zeros(1), "b": np.zeros(1)}
    update = up.get_updater(up.SGD(1.0), accumulate=2)
    update.step({"a": np.ones(1), "b": np.full(1, 100.0)}, weights)
    update.overrides = {"b": up.FROZEN}
    update.step({"a": np.ones(1), "b": np.ones(1)}, weights)
    assert (float(weights["a"][0]), float(weights["b"][0])) == (-1.0, 0.0)
    update.overrides = {}
    for _ in range(2):
        update.step({"a": np.ones(1), "b": np.ones(1)}, weights)
    assert (float(weights["a"][0]), float(weights["b"][0])) == (-2.0, -1.0)
    update.step({"a": np.ones(1), "b": np.ones(1)}, weights)
    update.overrides = {"*": up.FROZEN}
    update.flush(weights)
    update.overrides = {}
    for _ in range(2):
        update.step({"a": np.ones(1), "b": np.ones(1)}, weights)
    assert (float(weights["a"][0]), float(weights["b"][0])) == (-3.0, -2.0)


@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
@pytest.mark.parametrize("done", range(7))
def test_a_copy_goes_on_from_the_midst_of_a_group(done: int, how: str) -> None:
    policy: dict[str, Any] = {
        "accumulate": 3, "clip": (AGC(0.5), ClipByGlobalNorm(1.0)), "loss_scale": up.loss_scale.GrowthInterval(8.0, growth_interval=1),
        "average": up.Average(0.9, 2, every_call=True), "stochastic_rounding": 5, "report": True,
    }  # fmt: skip
    gradients = drawn(3, 12)
    gradients[7][0][0, 0] = math.inf
    gradients = [[array.astype(np.float16) for array in gradient] for gradient in gradients]
    update = up.get_updater(up.Adam(RATE), **policy)
    weights = [weight.astype(np.float16) for weight in fresh()]
    for gradient in gradients[:done]:
        update.step(gradient, weights)
    copies: dict[str, Callable[[Any], Any]] = {"pickle": lambda one: pickle.loads(pickle.dumps(one)), "deepcopy": copy.deepcopy}
    other, others = copies[how]((update, weights))
    assert other == update
    for gradient in gradients[done:]:
        for one, mine in ((update, weights), (other, others)):
            one.step(gradient, mine)
        assert [weight.tobytes() for weight in others] == [weight.tobytes() for weight in weights]
        assert other == update
        assert other.report() == update.report()
    assert other.report().what == "applied"


# The clock.


def held(update: up.Updater) -> tuple[int, int]:
    return update.state.iteration, update.state.held


def test_a_schedule_of_iterations_counts_what_was_applied_unless_it_is_to_count_calls() -> None:
    for counts, expected in ((False, [1, 2, 3]), (True, [2, 4, 6])):
        read: list[float] = []
        rate = up.learning_rate.Lambda(1.0, lambda t, read=read: read.append(t) or 0.1, clock="iteration")
        update = up.get_updater(up.SGD(rate, policy=up.Policy(count_calls=counts)), accumulate=2)
        weight, moved = np.zeros(1), []
        for _ in range(6):
            read.clear()
            before = weight.copy()
            update.step([np.ones(1)], [weight])
            if (weight != before).any():
                moved.append(read[-1])
        assert moved == expected
        assert held(update) == (6, 0 if counts else 3)


def test_a_skipped_call_is_held_however_calls_count() -> None:
    for counts in (False, True):
        update = up.get_updater(up.SGD(RATE, policy=up.Policy(count_calls=counts)), nonfinite="skip")
        for value in (1.0, math.nan, 1.0, math.inf):
            update.step([np.array([value])], [np.zeros(1)])
        assert held(update) == (4, 2)


@pytest.mark.parametrize("order", ["applied first", "held first"])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("by_index", [True, False])
def test_several_updaters_on_one_clock(order: str, plain: bool, by_index: bool) -> None:
    state = up.OptimizationState()
    applies = up.get_updater(up.SGD(RATE), state, nonfinite=None if plain else "raise")
    waits = up.get_updater(up.SGD(RATE), state, accumulate=2)
    weights, moved = [np.zeros(1), np.zeros(1)], []
    for _ in state.batches(range(4)):
        before = weights[0].copy()
        for update in (applies, waits) if order == "applied first" else (waits, applies):
            weight = weights[update is waits]
            if by_index:
                update("w", np.ones(1), weight)
            else:
                update.step({"w": np.ones(1)}, {"w": weight})
        moved.append(float((before - weights[0])[0]))
        assert state.held == 0  # something was applied in each iteration
    np.testing.assert_allclose(moved, [RATE(up.OptimizationState(iteration=t)) for t in range(1, 5)], rtol=1e-13)
    alone = up.OptimizationState()
    only, other = (up.get_updater(up.SGD(RATE), alone, accumulate=2) for _ in range(2))
    for _ in alone.batches(range(3)):
        for update in (only, other):  # held once, whoever waits
            update.step([np.ones(1)], [np.zeros(1)])
    assert (alone.iteration, alone.held) == (3, 2)


def test_weights_of_one_iteration_hold_it_together() -> None:
    state = up.OptimizationState()
    update = up.get_updater(up.SGD(RATE), state, nonfinite="skip")
    weights = {name: np.zeros(1) for name in "abc"}
    for iteration, (values, expected) in enumerate(
        [
            ((1.0, math.nan, 1.0), 0),
            ((math.nan, 1.0, math.nan), 0),
            ((math.nan, math.nan, math.nan), 1),
            ((1.0, 1.0, math.nan), 1),
        ],
        1,
    ):
        state.iteration = iteration
        for (name, weight), value in zip(weights.items(), values, strict=True):
            update(name, np.array([value]), weight)
        assert state.held == expected
    assert {name: known.count for name, known in update.slots.items()} == {"a": 2, "b": 2, "c": 1}


def test_a_clock_that_nobody_drives_is_not_held() -> None:
    update = up.get_updater(up.SGD(0.1), up.OptimizationState(), accumulate=2)
    for _ in range(3):
        update.step([np.ones(1)], [np.zeros(1)])
    assert held(update) == (0, 0)


def test_hold_and_release() -> None:
    state = up.OptimizationState(iteration=3)
    state.hold()
    state.hold()
    assert (state.held, state.last_held) == (1, 3)
    twin = copy.deepcopy(state)
    twin.hold()
    twin.release()
    assert (twin.held, twin.last_held) == (0, 0)
    twin.hold()
    assert twin.held == 0  # something was applied
    twin.iteration = 4
    twin.hold()
    assert twin.held == 1
    assert (state.held, state.last_held) == (1, 3)
    state.iteration = 4
    state.release()
    assert state.held == 1


def test_an_updater_that_a_loop_drives_counts_no_iteration_itself() -> None:
    update = up.get_updater(up.SGD(0.1), accumulate=2)
    weight = np.zeros(1)
    for _ in update.state.batches(range(4)):
        update.step([np.ones(1)], [weight])
    assert held(update) == (4, 2)
    update.step([np.ones(1)], [weight])
    assert held(update) == (5, 3)


# A loss scale that moves.


def test_a_loss_scale_moves_with_what_is_applied() -> None:
    rule = up.loss_scale.GrowthInterval(8.0, growth_interval=2)
    update = up.get_updater(up.SGD(1.0), loss_scale=rule, accumulate=2)
    weight, scales = np.zeros(1), []
    for value in (1, 1, 1, 1, 1, math.inf, 1, 1):
        assert update.scale_loss(0.5) == 0.5 * update.loss_scale
        update.step([np.array([value * update.loss_scale])], [weight])
        scales.append(update.loss_scale)
    assert scales == [8, 8, 8, 16, 16, 8, 8, 8]
    assert float(weight[0]) == -3.0
    assert up.get_updater(up.SGD(1.0)).loss_scale == 1.0
    assert up.get_updater(up.SGD(1.0), loss_scale=4).loss_scale == 4.0


@pytest.mark.parametrize("of_clipped", [False, True])
def test_the_peak_is_that_of_all_gradients_and_for_openseq2seq_that_of_clipped_ones(of_clipped: bool) -> None:
    found: list[Any] = []

    class Peak(up.loss_scale.LogMax):
        peak_of_clipped = of_clipped

        def after(self, kept: Any, finite: bool, peak: float | None) -> dict[str, float]:
            found.append((finite, peak))
            return super().after(kept, finite, peak)

    overrides = {"b": {"clip": None}, "c": {"clip": ClipByGlobalNorm(2.0)}}
    update = up.get_updater(up.SGD(1.0), loss_scale=Peak(scale_max=1.0), clip=ClipByGlobalNorm(1.0), overrides=overrides)
    weights = {name: np.zeros(2) for name in "abc"}
    for a, b, c in ((5.0, 0.5, 0.0), (0.3, 1.5, 0.1), (0.0, 0.0, -10.0), (math.nan, 1.0, 1.0), (0.0, 0.0, 0.0)):
        update.step({"a": np.array([a, 0.0]), "b": np.array([b, -0.1 * b]), "c": np.array([c, 0.0])}, weights)
    largest = [1.0, 1.5, 2.0] if of_clipped else [5.0, 1.5, 10.0]
    assert found == [*((True, peak) for peak in largest), (False, None), (True, 0.0)]
