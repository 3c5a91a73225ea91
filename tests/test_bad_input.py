"""Every bad input has the message it must give, and changes nothing: no weight, slot, count or clock."""

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import updaters as up

Array = np.ndarray[Any, Any]

W = np.ones(3)
G = np.full(3, 0.5)


def frozen() -> Array:
    array = np.ones(3)
    array.flags.writeable = False
    return array


# What is wrong with one weight's update: index, gradient, weight; the error and all of its message.
UPDATES: dict[str, tuple[Any, Any, Any, type[Exception], str]] = {
    "bool index": (True, G, W, TypeError, "an index must be a str, an int or a tuple of these, got True (bool)"),
    "float index": (1.5, G, W, TypeError, "an index must be a str, an int or a tuple of these, got 1.5 (float)"),
    "None index": (None, G, W, TypeError, "an index must be a str, an int or a tuple of these, got None (NoneType)"),
    "NumPy bool index": (np.True_, G, W, TypeError, "an index must be a str, an int or a tuple of these, got np.True_ (bool)"),
    "float in a tuple": (("a", 2.0), G, W, TypeError, "an index must be a str, an int or a tuple of these, got 2.0 (float)"),
    "integer weight": (
        "w", G, np.ones(3, int), TypeError,
        "weight 'w': expected float16, bfloat16, float32, float64, complex64 or complex128, got int64",
    ),
    "boolean weight": (
        "w", G, np.ones(3, bool), TypeError,
        "weight 'w': expected float16, bfloat16, float32, float64, complex64 or complex128, got bool",
    ),
    "object weight": (
        "w", G, np.ones(3, object), TypeError,
        "weight 'w': expected float16, bfloat16, float32, float64, complex64 or complex128, got object",
    ),
    "long double weight": (
        "w", G, np.ones(3, np.longdouble), TypeError,
        "weight 'w': expected float16, bfloat16, float32, float64, complex64 or complex128, got float128",
    ),
    "read-only weight": ("w", G, frozen(), ValueError, "weight 'w': expected an array that can be written to, got a read-only one"),
    "broadcast weight": (
        "w", G, np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,)), ValueError,
        "weight 'w': expected elements with memory of their own, got strides (0,)",
    ),
    "a weight that overlaps itself": (
        "w", np.ones((3, 2)), np.lib.stride_tricks.as_strided(np.ones(4), (3, 2), (8, 8)), ValueError,
        "weight 'w': expected elements with memory of their own, got strides (8, 8)",
    ),
    "scalar weight": ("w", G, 1.0, TypeError, "weight 'w': expected a NumPy or CuPy array, got 1.0 (float)"),
    "NumPy scalar weight": ("w", G, np.float64(1), TypeError, "weight 'w': expected a NumPy or CuPy array, got np.float64(1.0) (float64)"),
    "list weight": ("w", G, [1.0], TypeError, "weight 'w': expected a NumPy or CuPy array, got [1.0] (list)"),
    "no weight": ("w", G, None, TypeError, "weight 'w': expected a NumPy or CuPy array, got None (NoneType)"),
    "masked weight": (
        "w", G, np.ma.ones(3), TypeError, "weight 'w': expected a plain array, got a MaskedArray, whose own rules an update would ignore",
    ),
    "matrix": (
        "w", np.ones((1, 1)), np.ones((1, 1)).view(np.matrix), TypeError,
        "weight 'w': expected a plain array, got a matrix, whose own rules an update would ignore",
    ),
    "list gradient": ("w", [0.5] * 3, W, TypeError, "gradient 'w': expected a NumPy or CuPy array, got [0.5, 0.5, 0.5] (list)"),
    "scalar gradient": ("w", 0.5, np.ones(()), TypeError, "gradient 'w': expected a NumPy or CuPy array, got 0.5 (float)"),
    "NumPy scalar gradient": (
        "w", np.float64(1), W, ValueError, "gradient 'w': expected shape (3,) as its weight has, got ()",
    ),
    "no gradient": ("w", None, W, TypeError, "gradient 'w': expected a NumPy or CuPy array, got None (NoneType)"),
    "masked gradient": (
        "w", np.ma.ones(3), W, TypeError,
        "gradient 'w': expected a plain array, got a MaskedArray, whose own rules an update would ignore",
    ),
    "integer gradient": (
        "w", np.ones(3, int), W, TypeError, "gradient 'w': expected a real floating dtype for a weight of float64, got int64",
    ),
    "complex gradient": (
        "w", G * 1j, W, TypeError, "gradient 'w': expected a real floating dtype for a weight of float64, got complex128",
    ),
    "real gradient": (
        "w", G, W * 1j, TypeError, "gradient 'w': expected a complex dtype for a weight of complex128, got float64",
    ),
    "another shape": (("a", 1), np.ones(4), W, ValueError, "gradient ('a', 1): expected shape (3,) as its weight has, got (4,)"),
    "broadcastable shape": ("w", np.ones(1), W, ValueError, "gradient 'w': expected shape (3,) as its weight has, got (1,)"),
    "a shape unlike last time's": (
        "known", np.ones(4), np.ones(4), ValueError,
        "weight 'known': expected shape (3,) as in its earlier updates, got (4,)",
    ),
    "a dtype unlike last time's": (
        "known", G.astype("f4"), W.astype("f4"), ValueError,
        "weight 'known': expected dtype float64 as in its earlier updates, got float32",
    ),
}  # fmt: skip


def unchanged_by(action: Callable[[up.Updater], Any], error: type[Exception], message: str, *arrays: Array) -> None:
    """Assert that an action on an updater with a past gives an error, all of its message, and changes nothing."""
    known = np.ones(3)
    update = up.get_updater(up.Adam(0.1))
    update.step({"known": G}, {"known": known})
    before = copy.deepcopy(update), [array.copy() for array in arrays if isinstance(array, np.ndarray)], known.copy()
    with pytest.raises(error) as caught:
        action(update)
    assert str(caught.value.args[0]) == message
    assert (update, known.tobytes()) == (before[0], before[2].tobytes())
    assert [array.tobytes() for array in arrays if isinstance(array, np.ndarray)] == [array.tobytes() for array in before[1]]


@pytest.mark.parametrize("case", UPDATES)
def test_update(case: str) -> None:
    index, grad, weight, error, message = UPDATES[case]
    unchanged_by(lambda update: update(index, grad, weight), error, message, grad, weight)


@pytest.mark.parametrize("case", UPDATES)
def test_step_leaves_all_weights_as_they_were(case: str) -> None:
    index, grad, weight, error, message = UPDATES[case]
    if grad is None:  # which step takes, and skips
        return
    good, known = np.ones(3), np.ones(3)
    grads, weights = {"good": G, index: grad}, {"good": good, index: weight}
    if index != "known":
        grads["known"], weights["known"] = G, known
    unchanged_by(lambda update: update.step(grads, weights), error, message, grad, weight, good, known)


class Like:
    """Something that is an integer, and not equal to it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return "Like()"


LIKE_ONE = Like(1)
memory = np.ones(12)
STEPS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "keys of grads only": (
        {"a": G, "b": G, 3: G}, {"a": W}, ValueError,
        "step takes the same indices in grads and weights; in grads only: 'b', 3",
    ),
    "keys on both sides": (
        {"a": G}, {"b": W}, ValueError,
        "step takes the same indices in grads and weights; in grads only: 'a'; in weights only: 'b'",
    ),
    "lengths": ([G], [W, W], ValueError, "step takes as many grads as weights, got 1 and 2"),
    "a mapping and a sequence": (
        [G], {"a": W}, TypeError, "step takes grads and weights as two mappings or two sequences, got list and dict",
    ),
    "arrays": (G, W, TypeError, "step takes grads and weights as two mappings or two sequences, got ndarray and ndarray"),
    "iterators": (
        iter([G]), iter([W]), TypeError,
        "step takes grads and weights as two mappings or two sequences, got list_iterator and list_iterator",
    ),
    "the same weight twice": (
        [G, G], [memory[:3], memory[:3]], ValueError, "weights 0 and 1 share memory, so the result would depend on their order",
    ),
    "overlapping weights": (
        {"b": G, "a": G, "c": G}, {"b": memory[2:5], "a": memory[6:9], "c": memory[4:7]}, ValueError,
        "weights 'b' and 'c' share memory, so the result would depend on their order",
    ),
    "keys that mean one index": (
        {np.int64(1): G, LIKE_ONE: G}, {np.int64(1): np.ones(3), LIKE_ONE: np.ones(3)}, ValueError,
        "step takes an index once, got several that mean the same: Like(), np.int64(1)",
    ),
    "interwoven weights": (
        [np.ones(6), np.ones(4)], [memory[::2], memory[1::3]], ValueError,
        "weights 0 and 1 share memory, so the result would depend on their order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STEPS)
def test_step(case: str) -> None:
    grads, weights, error, message = STEPS[case]
    unchanged_by(lambda update: update.step(grads, weights), error, message, memory, W, G)


def test_weights_beside_and_between_each_other_are_no_overlap() -> None:
    memory = np.zeros(12)
    weights = [memory[:6:2], memory[1:6:2], memory[6:9], memory[9:][::-1]]
    up.get_updater(up.SGD(1.0)).step([np.ones(3)] * 4, weights)
    assert np.array_equal(memory, -np.ones(12))


def test_an_overlap_is_found_again_after_other_arrays_have_taken_the_place() -> None:
    update = up.get_updater(up.SGD(1.0))
    memory = np.zeros(6)
    for _ in range(2):
        update.step([np.ones(3)] * 2, [memory[:3], memory[3:]])
    with pytest.raises(ValueError, match="share memory"):
        update.step([np.ones(3)] * 2, [memory[:3], memory[2:5]])


SCHEDULERS: dict[str, tuple[Callable[[up.OptimizationState], Any], type[Exception], str]] = {
    "NaN": (lambda state: float("nan"), ValueError, "must be in [0, inf), got nan"),
    "infinity": (lambda state: np.inf, ValueError, "must be in [0, inf), got inf"),
    "negative": (lambda state: -1, ValueError, "must be in [0, inf), got -1"),
    "bool": (lambda state: True, TypeError, "must be a real number in [0, inf), got True (bool)"),
    "text": (lambda state: "0.1", TypeError, "must be a real number in [0, inf), got '0.1' (str)"),
    "nothing": (lambda state: None, TypeError, "must be a real number in [0, inf), got None (NoneType)"),
    "complex": (lambda state: 1j, TypeError, "must be a real number in [0, inf), got 1j (complex)"),
    "array": (lambda state: np.array(0.1), TypeError, "must be a real number in [0, inf), got array(0.1) (ndarray)"),
}


@pytest.mark.parametrize("case", SCHEDULERS)
@pytest.mark.parametrize("how", ["update", "step"])
def test_what_a_scheduler_may_not_return(case: str, how: str) -> None:
    scheduler, error, message = SCHEDULERS[case]
    weight, state = np.ones(3), up.OptimizationState(iteration=4)
    update = up.get_updater(up.SGD(scheduler), state)
    before = copy.deepcopy(update)
    with pytest.raises(error) as caught:
        update("w", G, weight) if how == "update" else update.step([G], [weight])
    assert str(caught.value) == f"SGD.lr {message} from {scheduler!r} at {state!r}"
    assert update == before
    assert np.array_equal(weight, W)


def test_a_scheduler_that_fails_stops_a_step_before_it_begins() -> None:
    def failing(state: up.OptimizationState) -> float:
        raise RuntimeError("no rate today")

    weights = [np.ones(3), np.ones(3)]
    update = up.get_updater(up.SGD(failing))
    with pytest.raises(RuntimeError, match="no rate today"):
        update.step([G, G], weights)
    assert not update.slots
    assert update.state.iteration == 0
    assert all(np.array_equal(weight, W) for weight in weights)


@pytest.mark.parametrize("clock", ["epoch", "iteration"])
def test_a_schedule_on_a_clock_that_has_not_started_says_how_to_start_it(clock: Any) -> None:
    weight = np.ones(3)
    update = up.get_updater(up.SGD(up.learning_rate.Exp(0.1, clock=clock)))
    start = {"epoch": "for epoch in state.epochs(n)", "iteration": "for examples in state.batches(data)"}[clock]
    with pytest.raises(ValueError, match=f"{clock} count stands at 0: .*{re.escape(start)}"):
        update("w", G, weight)
    assert np.array_equal(weight, W)


def test_get_updater() -> None:
    with pytest.raises(TypeError, match=r"optimizer must be an Optimizer, got <class '.*Adam'> \(the class; call it\)"):
        up.get_updater(up.Adam)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optimizer must have a rule, and Optimizer"):
        up.get_updater(up.Optimizer())
    with pytest.raises(TypeError, match="state must be an OptimizationState or None, got 64"):
        up.get_updater(up.Adam(), 64)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backend must be 'auto', 'numpy', 'numba' or 'cupy', got 'tpu'"):
        up.get_updater(up.Adam(), backend="tpu")


def test_another_optimizer_must_keep_the_same_slots() -> None:
    weight = np.ones(3)
    update = up.get_updater(up.SGD(0.1, momentum=0.9))
    update.optimizer = up.Adam()  # nothing is kept yet
    update("w", G, weight)
    before = copy.deepcopy(update)
    with pytest.raises(ValueError, match=r"SGD\(lr=0.01\) keeps nothing for weight 'w', and Adam\(lr=0.001\) has kept"):
        update.optimizer = up.SGD()
    with pytest.raises(ValueError, match="'v_max'"):
        update.optimizer = up.Adam(amsgrad=True)
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, got 0.1"):
        update.optimizer = 0.1  # type: ignore[assignment]
    assert update == before


def test_normalized_gradient() -> None:
    state = up.OptimizationState()
    with pytest.raises(ValueError, match=r"expected shape \(3,\) as its weight has, got \(2,\)"):
        up.normalized_gradient(up.SGD(), state, W, np.ones(2))
    with pytest.raises(TypeError, match="^weight: .* got int64"):
        up.normalized_gradient(up.SGD(), state, np.ones(3, int), G)
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, got 0.1"):
        up.normalized_gradient(0.1, state, W, G)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="state must be an OptimizationState, got None"):
        up.normalized_gradient(up.SGD(), None, W, G)  # type: ignore[arg-type]


def test_what_an_updater_was_made_with_is_not_for_assignment() -> None:
    update = up.get_updater(up.SGD())
    with pytest.raises(AttributeError):
        update.state = up.OptimizationState()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        update.backend = "numpy"  # type: ignore[misc]
    update.step([G], [np.ones(3)])
    with pytest.raises(TypeError):
        update.slots[0].arrays["m"] = G  # type: ignore[index]
