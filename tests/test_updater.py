"""The updater: its clock, its slots, transactions, copies, and optimizers that are replaced."""

import copy
import math
import pickle
from collections import OrderedDict, UserDict, UserList
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests.rules import RULES, warm

Array = np.ndarray[Any, Any]


def train(update: up.Updater, weights: dict[Any, Array], steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        update.step({index: rng.standard_normal(weight.shape) for index, weight in weights.items()}, weights)


def fresh() -> dict[Any, Array]:
    return {"a": np.ones((2, 3)), 1: np.ones(4), ("b", 2): np.zeros(())}


def test_update_and_step_are_the_same() -> None:
    apart, together = fresh(), fresh()
    one, all_ = (up.get_updater(RULES["adam everything l2"], up.OptimizationState(3)) for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(3):
        grads = {index: rng.standard_normal(weight.shape) for index, weight in apart.items()}
        all_.step(grads, together)
        for index, weight in apart.items():
            one(index, grads[index], weight)
    assert one == all_
    assert all(np.array_equal(apart[index], together[index]) for index in apart)


@pytest.mark.parametrize("kind", [list, tuple, UserList])
def test_positions_are_the_indices_of_a_sequence(kind: type) -> None:
    weights = [np.ones(2), np.ones(3)]
    update = up.get_updater(up.SGD(0.5))
    update.step(kind([np.ones(2), np.ones(3)]), kind(weights))
    assert set(update.slots) == {0, 1}
    assert [weight[0] for weight in weights] == [0.5, 0.5]


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict])
def test_mappings_match_by_index_and_not_by_order(kind: type) -> None:
    weights = {"a": np.ones(2), "b": np.ones(3)}
    up.get_updater(up.SGD(0.5)).step(kind({"b": np.ones(3), "a": -np.ones(2)}), kind(weights))
    assert weights["a"][0] == 1.5
    assert weights["b"][0] == 0.5


def test_a_gradient_of_none_leaves_its_weight_and_its_count() -> None:
    weights = [np.ones(2), np.ones(2)]
    update = up.get_updater(up.Adam(0.1))
    for _ in range(3):
        update.step([np.ones(2), None], weights)
    update.step([None, np.ones(2)], weights)
    assert [update.slots[n].count for n in (0, 1)] == [3, 1]
    # Each weight's bias correction counts its own updates: a first step is lr long.
    np.testing.assert_allclose(weights[1], 0.9, rtol=1e-7)


def test_numpy_integers_are_the_indices_that_ints_are() -> None:
    update, weight = up.get_updater(up.SGD()), np.ones(2)
    update(np.int64(3), np.ones(2), weight)
    update((np.uint8(3), np.str_("w")), np.ones(2), weight)
    update(3, np.ones(2), weight)
    assert {repr(index): kept.count for index, kept in update.slots.items()} == {"3": 2, "(3, 'w')": 1}


def test_what_is_kept_can_be_looked_at_by_name() -> None:
    update, weight = up.get_updater(up.Adam(beta1=0.5)), np.ones(2)
    update("w", np.full(2, 4.0), weight)
    kept = update.slots["w"]
    assert kept.count == 1
    assert kept["m"] is kept.arrays["m"]
    assert list(kept["m"]) == [2.0, 2.0]
    assert kept["correction1"] == kept.scalars["correction1"] == 0.5
    assert kept.nbytes == 2 * weight.nbytes
    with pytest.raises(KeyError, match="no slot or scalar 'n'; there are m, v, correction1, correction2"):
        kept["n"]
    with pytest.raises(TypeError):
        update.slots["x"] = kept  # type: ignore[index]


def test_slots_lie_as_their_weight_does() -> None:
    weight = np.zeros((4, 5), order="F")
    update = up.get_updater(up.Adam())
    update("w", np.ones((4, 5)), weight)
    assert all(slot.flags.f_contiguous for slot in update.slots["w"].arrays.values())


def test_an_updater_without_a_clock_advances_its_own_with_each_step() -> None:
    weights = [np.zeros(1)]
    update = up.get_updater(up.SGD(warm(0.0, 8.0)))
    for t in (1, 2, 3):
        before = weights[0][0]
        update.step([np.ones(1)], weights)
        assert before - weights[0][0] == t
    assert update.state.iteration == 3
    update.step([None], weights)
    update.step([], [])
    assert update.state.iteration == 3  # nothing was applied


def test_its_own_clock_is_not_advanced_twice() -> None:
    weights, seen = [np.zeros(1)], []
    update = up.get_updater(up.SGD(lambda state: seen.append(state.iteration) or 0.1))
    for _ in update.state.epochs(2):
        for _ in update.state.batches(range(3)):
            update.step([np.ones(1)], weights)
    assert seen == [1, 2, 3, 4, 5, 6]
    update.step([np.ones(1)], weights)
    assert seen[-1] == update.state.iteration == 7


def test_two_steps_of_one_batch_are_one_iteration_of_its_own_clock() -> None:
    weights = [np.zeros(1), np.zeros(1)]
    update = up.get_updater(up.SGD())
    for _ in update.state.batches(range(3)):
        update.step([np.ones(1), None], weights)
        update.step([None, np.ones(1)], weights)
    assert update.state.iteration == 3
    update.state.iteration = 100
    update.step([np.ones(1)] * 2, weights)
    assert update.state.iteration == 101


def test_a_clock_of_the_caller_is_the_callers_to_advance() -> None:
    state = up.OptimizationState(iteration=5)
    update = up.get_updater(up.SGD(), state)
    update.step([np.ones(1)], [np.zeros(1)])
    assert update.state is state
    assert state.iteration == 5


def test_schedulers_are_asked_once_for_a_step() -> None:
    calls: list[int] = []
    update = up.get_updater(up.SGD(lambda state: calls.append(1) or 0.1))
    update.step([np.ones(1)] * 10, [np.zeros(1) for _ in range(10)])
    assert len(calls) == 1


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("how", ["pickle", "deepcopy", "go on"])
def test_going_on_from_a_copy_is_bit_for_bit_going_on(name: str, how: str) -> None:
    optimizer = RULES[name]
    if "scheduled" in name and how == "pickle":
        optimizer = up.Adam(up.learning_rate.Exp(0.1, clock="iteration"), beta1=up.momentum.Nadam())
    weights = fresh()
    update = up.get_updater(optimizer)
    train(update, weights, 3, seed=1)
    copies = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "deepcopy": copy.deepcopy, "go on": lambda x: x}
    other, other_weights = copies[how](update), copy.deepcopy(weights)
    assert other == update
    kept = copy.deepcopy(update)
    if how != "go on":
        train(other, other_weights, 4, seed=2)
        assert update == kept  # a copy is independent
        assert other != update
    train(update, weights, 4, seed=2)
    if how != "go on":
        assert other == update
        assert all(weights[index].tobytes() == other_weights[index].tobytes() for index in weights)


def test_another_optimizer_goes_on_with_the_slots() -> None:
    weights, expected = fresh(), fresh()
    update = up.get_updater(up.Adam(0.1))
    scheduled = up.get_updater(up.Adam(lambda state: 0.1 if state.iteration <= 3 else 0.5))
    train(update, weights, 3, seed=1)
    train(scheduled, expected, 3, seed=1)
    update.optimizer = up.AdamW(0.5, weight_decay=None)
    train(update, weights, 3, seed=2)
    train(scheduled, expected, 3, seed=2)
    assert all(weights[index].tobytes() == expected[index].tobytes() for index in weights)


def test_a_changed_beta_keeps_the_bias_correction_true() -> None:
    # The first moment of gradients that are all 1, corrected, is 1, whatever the betas were on the way.
    weight = np.zeros(1)
    update = up.get_updater(up.Adam(0.1, beta1=0.9, beta2=0.99))
    for beta in (0.9, 0.5, 0.99):
        update.optimizer = up.Adam(0.1, beta1=beta, beta2=beta)
        before = weight[0]
        update("w", np.ones(1), weight)
        np.testing.assert_allclose(before - weight[0], 0.1, rtol=1e-7)


def test_repr_says_what_there_is() -> None:
    update = up.get_updater(up.Adam(0.1), up.OptimizationState(batch_size=8), backend="numpy")
    update("w", np.ones((10, 100)), np.ones((10, 100)))
    assert repr(update) == (
        "Updater(Adam(lr=0.1), OptimizationState(batch_size=8, epoch=0, batch=0, iteration=0, held=0, unfinished=False), "
        "backend='numpy'; 1 weight, 16 kB of slots)"
    )


def test_weights_may_be_dropped() -> None:
    # The updater keeps slots, and no weight or gradient alive.
    import gc
    import weakref

    update, weight, gradient = up.get_updater(up.Adam()), np.ones(1000), np.ones(1000)
    update.step([gradient], [weight])
    update(0, gradient, weight)
    references = weakref.ref(weight), weakref.ref(gradient)
    del weight, gradient
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_normalized_gradient_is_what_the_rule_gets() -> None:
    rng = np.random.default_rng(0)
    state = up.OptimizationState(batch_size=3)
    for dtype in ("float32", "float64", "complex64", "float16"):
        weight, gradient = (rng.standard_normal((4, 5)).astype(dtype) for _ in range(2))
        optimizer = up.SGD(1.0, grad_clip=0.2, weight_decay=0.1, gradient="sum", maximize=True)
        normalized = up.normalized_gradient(optimizer, state, weight, gradient)
        assert normalized.dtype == ("float32" if dtype == "float16" else dtype)
        plain, stepped = weight.copy(), weight.copy()
        up.get_updater(up.SGD(1.0))("w", normalized, plain)
        up.get_updater(optimizer, state)("w", gradient, stepped)
        assert np.array_equal(plain, stepped)
        w, g = (array.real.astype(np.float64) for array in (weight, gradient))
        by_hand = -np.clip(g / 3, -0.2, 0.2) + 0.1 * w
        np.testing.assert_allclose(normalized.real, by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("size", [3, 100_000])
def test_a_gradient_may_lie_in_another_weight_of_the_step(size: int, backend: str) -> None:
    memory = np.arange(3.0 * size)
    x, y, z = memory[:size], memory[size : 2 * size], np.array(memory[2 * size :])
    weights = {"x": x, "y": y, "z": z}
    grads = {"x": y[::-1], "y": x, "z": memory[size // 2 :][:size]}
    expected = {name: weight - 0.5 * grads[name] for name, weight in weights.items()}
    update = up.get_updater(up.SGD(0.5), backend=backend)
    update.step(grads, weights)
    for name, weight in weights.items():
        assert np.array_equal(weight, expected[name])
    for _ in range(2):  # weights that are known to lie apart
        expected = {name: weight - 0.5 * grads[name] for name, weight in weights.items()}
        update.step(grads, weights)
        for name, weight in weights.items():
            assert np.array_equal(weight, expected[name])


def test_a_gradient_is_found_in_memory_that_no_array_owns() -> None:
    memory = np.ones(20)
    weights = {"a": np.lib.stride_tricks.as_strided(memory, (10,), (8,)), "b": np.zeros(10)}
    up.get_updater(up.SGD(1.0)).step({"a": np.full(10, 5.0), "b": memory[:10]}, weights)
    assert weights["b"][0] == -1


@pytest.mark.parametrize("scalar", [np.float64, np.float32])
def test_what_arithmetic_makes_of_arrays_of_no_dimension_is_a_gradient(scalar: type) -> None:
    weights = {"b": np.array(2.0), "c": np.array(3.0)}
    update = up.get_updater(up.SGD(0.5))
    update("b", scalar(1), weights["b"])
    update.step({"b": scalar(1), "c": scalar(2)}, weights)
    assert (weights["b"], weights["c"]) == (1, 2)
    for optimizer in (up.SGD(), up.SGD(grad_clip=1.0)):
        normalized = up.normalized_gradient(optimizer, up.OptimizationState(), weights["b"], scalar(0.5))
        assert isinstance(normalized, np.ndarray)


def test_what_is_kept_for_one_weight_is_not_another_ones() -> None:
    update = up.get_updater(up.Adam())
    update.step([np.ones(2)] * 2, [np.ones(2), np.ones(2)])
    with pytest.raises(TypeError):
        update.slots[0].scalars["correction1"] = 0.5  # type: ignore[index]


def test_slots_from_memory_that_is_read_only_can_be_written() -> None:
    update, weight = up.get_updater(up.Adam()), np.ones(1000)
    update("w", np.ones(1000), weight)
    buffers: list[Any] = []
    pickled = pickle.dumps(update, protocol=5, buffer_callback=buffers.append)
    other = pickle.loads(pickled, buffers=[bytes(buffer.raw()) for buffer in buffers])
    other_weight = weight.copy()
    update("w", np.ones(1000), weight)
    other("w", np.ones(1000), other_weight)
    assert np.array_equal(weight, other_weight)


def test_a_scheduler_is_not_shown_unless_it_fails() -> None:
    class Shy:
        def __call__(self, state: up.OptimizationState, /) -> float:
            return 0.5

        def __repr__(self) -> str:
            raise AssertionError("nobody asked")

    weight = np.ones(2)
    up.get_updater(up.SGD(Shy()))("w", np.ones(2), weight)
    assert weight[0] == up.get_learning_rate(Shy(), up.OptimizationState()) == 0.5


def test_enumerations_are_the_strings_that_they_equal() -> None:
    import enum

    class Name(str, enum.Enum):  # noqa: UP042
        RED = "red"

    update, weight = up.get_updater(up.SGD()), np.ones(2)
    update(Name.RED, np.ones(2), weight)
    update("red", np.ones(2), weight)
    assert update.slots["red"].count == 2


@pytest.mark.parametrize("optimizer", [up.SGD(0.5), up.ASGD(0.5), up.ScheduleFreeSGD(0.5, beta=0.5)], ids=repr)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", ">f4", ">c8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_the_weight_to_evaluate_with_is_a_new_array_of_the_same_kind(optimizer: Any, dtype: str, shape: Any) -> None:
    weight = np.full(shape, 2).astype(dtype)
    update = up.get_updater(optimizer)
    for _ in range(2):
        update("w", np.full(shape, 0.5).astype(dtype), weight)
    before, kept = weight.copy(), copy.deepcopy(update)
    better = update.evaluation_weight("w", weight)
    assert type(better) is np.ndarray
    assert (better.dtype, better.shape) == (weight.dtype, shape)
    # Of the points 1.75 and 1.5 the schedule-free weight is the mean, and its y lies halfway to the second.
    x, y = (1.625, 1.5625) if isinstance(optimizer, up.ScheduleFreeSGD) else (1.5, 1.5)
    np.testing.assert_allclose(better, np.full(shape, x), rtol=1e-3)
    np.testing.assert_allclose(weight, np.full(shape, y), rtol=1e-3)
    better[...] = 7
    assert np.array_equal(weight, before)
    assert update == kept


def test_the_weight_to_evaluate_with_is_of_a_weight_that_is_known() -> None:
    weight = np.ones(3)
    update = up.get_updater(up.ASGD())
    update("w", np.ones(3), weight)
    with pytest.raises(KeyError) as caught:
        update.evaluation_weight("v", weight)
    assert caught.value.args[0] == "weight 'v' has been in no update; those that have are 'w'"
    with pytest.raises(ValueError, match=r"weight 'w': expected shape \(3,\) as in its earlier updates, got \(2,\)"):
        update.evaluation_weight("w", np.ones(2))
    with pytest.raises(TypeError, match="an index must be a str"):
        update.evaluation_weight(1.5, weight)  # type: ignore[arg-type]
    weight.flags.writeable = False
    assert np.array_equal(update.evaluation_weight("w", weight), weight)


def test_what_is_kept_is_found_and_counted_by_name() -> None:
    update = up.get_updater(up.Adam(0.1))
    update("w", np.ones(2), np.ones(2))
    assert [*update.slots["w"]] == ["m", "v", "correction1", "correction2"]
    assert "m" in update.slots["w"]
    assert "velocity" not in update.slots["w"]


@pytest.mark.parametrize(("p", "norm"), [(1, 7.0), (3, 91 ** (1 / 3)), (math.inf, 4.0)])
def test_the_norm_of_complex_gradients_alone_is_one_of_moduli(p: float, norm: float) -> None:
    weights = [np.zeros(2, np.complex128)]
    update = up.get_updater(up.SGD(1.0), clip=up.transforms.ClipByGlobalNorm(1.0, p))
    update.step([np.array([3j, -4.0])], weights)
    np.testing.assert_allclose(weights[0], np.array([-3j, 4.0]) / norm, rtol=1e-15)
