"""What Keras's optimizers do besides their rules: clips of all gradients, accumulation, averages, loss scales, exclusions from decay.

`tests.golden` has weights that Keras gave; here are its calls one by one, in plain Python, and what is built of the arguments.
"""

import itertools
import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from updaters.compat import keras
from updaters.loss_scale import GrowthInterval, Static
from updaters.policy import Override

RULES = sorted(json.loads((Path(__file__).parent / "golden/keras_signatures.json").read_text()))
CALLS = 24


# Arguments


POLICIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"global_clipnorm": 2}, {"clip": up.transforms.ClipByGlobalNorm(2.0)}),
    ({"use_ema": True}, {"average": up.Average(0.99, every_call=True)}),
    (
        {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
        {"average": up.Average(0.5, 3, every_call=True)},
    ),
    ({"use_ema": True, "ema_overwrite_frequency": 0}, {"average": up.Average(0.99, every_call=True)}),
    ({"loss_scale_factor": 8}, {"loss_scale": Static(8.0)}),
    ({"gradient_accumulation_steps": 2}, {"accumulate": 2, "count_calls": True}),
    (
        {"global_clipnorm": 1.0, "gradient_accumulation_steps": np.int64(3), "loss_scale_factor": 2.0, "use_ema": True},
        {
            "clip": up.transforms.ClipByGlobalNorm(1.0),
            "accumulate": 3,
            "count_calls": True,
            "loss_scale": Static(2.0),
            "average": up.Average(0.99, every_call=True),
        },
    ),
]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("arguments", "policy"), POLICIES, ids=lambda value: "-".join(value))
def test_every_rule_has_the_policy_of_its_arguments(name: str, arguments: dict[str, Any], policy: dict[str, Any]) -> None:
    rule = getattr(keras, name)
    optimizer = rule(**arguments)
    assert optimizer.policy == up.Policy(**policy)
    assert attrs.evolve(optimizer, policy=None) == rule()
    assert up.get_updater(optimizer).policy == optimizer.policy


@pytest.mark.parametrize("name", RULES)
def test_what_is_off_is_no_policy(name: str) -> None:
    off: dict[str, Any] = {
        "use_ema": False, "ema_momentum": 0.5, "ema_overwrite_frequency": 3, "loss_scale_factor": None,
        "gradient_accumulation_steps": 0,
    }  # fmt: skip
    assert getattr(keras, name)(**off) == getattr(keras, name)(global_clipnorm=0) == getattr(keras, name)()
    assert getattr(keras, name)().policy is None


def test_a_bound_and_a_momentum_may_be_schedules() -> None:
    def schedule(state: up.OptimizationState) -> float:
        return 0.5**state.iteration

    optimizer = keras.SGD(1.0, global_clipnorm=schedule, use_ema=True, ema_momentum=schedule)
    update, weights = up.get_updater(optimizer, backend="numpy"), [np.zeros(1), np.zeros(1)]
    for _ in range(2):
        update.step([np.array([3.0]), np.array([-4.0])], weights)
    np.testing.assert_allclose(weights, [[-0.3 - 0.15], [0.4 + 0.2]], rtol=1e-15)
    np.testing.assert_allclose(update.evaluation_weight(0, weights[0]), [-0.25 * 0.3 - 0.75 * 0.45], rtol=1e-15)


def test_all_gradients_are_clipped_together_muons_vectors_among_them() -> None:
    weights = {"matrix": np.zeros((2, 2)), "bias": np.zeros(2)}
    grads = {"matrix": np.full((2, 2), 1.0), "bias": np.array([3.0, math.sqrt(3.0)])}
    update = up.get_updater(keras.Muon(global_clipnorm=2.0), backend="numpy")
    update.step(grads, weights)
    np.testing.assert_allclose(update.slots["matrix"]["m"], 0.05 * grads["matrix"] / 2, rtol=1e-14)
    np.testing.assert_allclose(update.slots["bias"]["m"], 0.1 * grads["bias"] / 2, rtol=1e-14)


# Keras's calls


def keras_calls(
    gradients: np.ndarray[Any, Any], start: list[float], rate: Callable[[int], float], k: int, momentum: float | None,
    frequency: int | None, bound: float, scale: float, decay: float, excluded: set[int],
) -> list[tuple[list[float], list[float]]]:  # fmt: skip
    """The weights and their averages after each call of plain descent, as Keras's `apply` goes about it."""
    w, average, total = list(start), [0.0] * len(start), [0.0] * len(start)
    after = []
    for call, row in enumerate(gradients):
        g = [float(x) / scale for x in row]
        total = [a + b for a, b in zip(total, g, strict=True)]
        if (call + 1) % k == 0:
            mean = [a / k for a in total]
            norm = math.sqrt(math.fsum(x * x for x in mean))
            factor = bound * min(1 / norm, 1 / bound)
            for i, x in enumerate(mean):
                w[i] -= 0.0 if i in excluded else w[i] * decay * rate(call)
                w[i] -= rate(call) * factor * x
            total = [0.0] * len(start)
        iterations = call // k
        if momentum is not None:
            p = momentum if iterations else 0.0
            average = [p * a + (1 - p) * x for a, x in zip(average, w, strict=True)]
            if frequency and (iterations + 1) % frequency == 0:
                w = list(average)
        after.append((list(w), list(average)))
    return after


GRID = itertools.product((1, 2, 3, 5), (None, 0.0, 0.6, 1.0), (None, 1, 2, 3))


@pytest.mark.parametrize(("k", "momentum", "frequency"), [row for row in GRID if row[1] is not None or row[2] is None])
def test_weights_and_averages_are_those_of_keras_at_every_call(k: int, momentum: float | None, frequency: int | None) -> None:
    rng = np.random.default_rng(7)
    gradients = rng.choice([-1, 1], (CALLS, 3)) * 10 ** rng.uniform(-2, 1, (CALLS, 3))
    start = [1.0, 0.0, -2.0]
    schedule = keras.schedules.ExponentialDecay(0.05, 7, 0.5)
    optimizer = keras.SGD(
        schedule, weight_decay=0.5, global_clipnorm=2.0, loss_scale_factor=3.0,
        gradient_accumulation_steps=None if k == 1 else k, use_ema=momentum is not None,
        ema_momentum=0.99 if momentum is None else momentum, ema_overwrite_frequency=frequency,
    )  # fmt: skip
    update = up.get_updater(keras.exclude_from_weight_decay(optimizer, var_list=[2]), backend="numpy")
    weights = [np.array([x]) for x in start]
    expected = keras_calls(
        gradients, start, lambda call: 0.05 * 0.5 ** (call / 7), k, momentum, frequency, 2.0, 3.0, 0.5, {2}
    )  # fmt: skip
    for row, (w, average) in zip(gradients, expected, strict=True):
        update.step([np.array([g]) for g in row], weights)
        np.testing.assert_allclose(np.concatenate(weights), w, rtol=0, atol=1e-14)
        if momentum is not None:
            kept = [float(update.slots[i]["average"][0]) for i in range(3)]
            np.testing.assert_allclose(kept, average, rtol=0, atol=1e-14)


def test_schedules_count_all_calls() -> None:
    asked = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.0

    optimizer = keras.SGD(up.learning_rate.per_step(rate), gradient_accumulation_steps=3)
    update = up.get_updater(optimizer, backend="numpy")
    for _ in range(6):
        update.step([np.ones(1)], [np.ones(1)])
    assert sorted({*asked}) == [2, 5]
    assert update.state.held == 0


def test_bias_corrections_count_updates() -> None:
    weight = np.zeros(1)
    update = up.get_updater(keras.Adam(0.1, epsilon=0.0, gradient_accumulation_steps=2), backend="numpy")
    for _ in range(2):
        update.step([np.array([5.0])], [weight])
    np.testing.assert_allclose(weight, [-0.1], rtol=1e-14)
    assert update.slots[0].count == 1


@pytest.mark.parametrize("frequency", [None, 1, 2])
def test_averages_of_weights_with_a_master_are_the_masters_at_every_call(frequency: int | None) -> None:
    optimizer = keras.SGD(
        2.0**-14, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=frequency
    )
    start, grads = np.array([1.0, 0.25]), np.array([1.0, -3.0])
    halves, weights = start.astype(np.float16), start.copy()
    mastered = up.get_updater(optimizer, master_weights=True, backend="numpy")
    exact = up.get_updater(optimizer, backend="numpy")
    for _ in range(8):
        mastered.step([grads.astype(np.float16)], [halves])
        exact.step([grads], [weights])
        np.testing.assert_allclose(mastered.slots[0]["average"], exact.slots[0]["average"], rtol=2**-23)
        np.testing.assert_allclose(mastered.slots[0]["master"], weights, rtol=2**-23)
        assert halves.tolist() == mastered.slots[0]["master"].astype(np.float16).tolist()


@pytest.mark.parametrize("k", [None, 3])
def test_an_updater_with_a_policy_goes_on_from_a_pickle(k: int | None) -> None:
    optimizer = keras.LossScaleOptimizer(
        keras.Adam(0.1, use_ema=True, ema_overwrite_frequency=2, global_clipnorm=1.0, gradient_accumulation_steps=k), 8.0, 3
    )
    update = up.get_updater(keras.exclude_from_weight_decay(optimizer, var_names=["w"]), backend="numpy")
    weights = {"w": np.ones(2)}
    for number in range(4):
        update.step({"w": np.array([1.0, number])}, weights)
    other, again = {"w": weights["w"].copy()}, pickle.loads(pickle.dumps(update))
    assert again == update
    for number in range(5):
        update.step({"w": np.array([number, -1.0])}, weights)
        again.step({"w": np.array([number, -1.0])}, other)
    assert weights["w"].tolist() == other["w"].tolist()
    assert again == update


# Exclusions from decay


def decayed(optimizer: up.Optimizer, *indices: Any) -> list[Any]:
    """The indices of those weights that a decay reaches."""
    weights = {index: np.ones((2, 2)) for index in indices}
    up.get_updater(optimizer, backend="numpy").step({index: np.zeros((2, 2)) for index in indices}, weights)
    return [index for index, weight in weights.items() if not (weight == 1).all()]


@pytest.mark.parametrize("name", RULES)
def test_weights_are_excluded_from_the_decay_of_every_rule(name: str) -> None:
    optimizer = getattr(keras, name)(0.1, weight_decay=0.5)
    changed = keras.exclude_from_weight_decay(optimizer, var_names=["bias$"])
    assert attrs.evolve(changed, policy=None) == optimizer
    weights = {"bias": np.ones(3), "kernel": np.ones(3)}
    expected = {index: weight.copy() for index, weight in weights.items()}
    grads = {index: np.array([1.0, -0.5, 0.0]) for index in weights}
    undecayed = keras.Muon(0.1, adam_weight_decay=None) if name == "Muon" else attrs.evolve(optimizer, weight_decay=None)
    update, plain, bare = (up.get_updater(one, backend="numpy") for one in (changed, optimizer, undecayed))
    for _ in range(3):
        update.step(grads, weights)
        plain("kernel", grads["kernel"], expected["kernel"])
        bare("bias", grads["bias"], expected["bias"])
        for index, weight in expected.items():
            assert weights[index].tolist() == weight.tolist()
    assert weights["bias"].tolist() != weights["kernel"].tolist()


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, ["bias", "b*", ("dense", "bias"), 3, 33]),
        ({"var_names": ["bias"]}, ["b*", 3, 33]),
        ({"var_names": ["^bias", "^3$"]}, ["b*", ("dense", "bias"), 33]),
        ({"var_names": ("(?i)DENSE[.]",)}, ["bias", "b*", 3, 33]),
        ({"var_names": {"s"}}, ["b*", 3, 33]),
        ({"var_list": ["b*"]}, ["bias", ("dense", "bias"), 3, 33]),
        ({"var_list": [("dense", "bias"), np.int64(3)]}, ["bias", "b*", 33]),
        ({"var_list": [33], "var_names": ["b"]}, [3]),
    ],
)
def test_patterns_are_searched_for_and_indices_are_taken_as_they_are(arguments: dict[str, Any], left: list[Any]) -> None:
    optimizer = keras.exclude_from_weight_decay(keras.SGD(0.1, weight_decay=0.5), **arguments)
    assert decayed(optimizer, "bias", "b*", ("dense", "bias"), 3, 33) == left


def test_muons_matrices_and_all_else_are_excluded() -> None:
    optimizer = keras.Muon(0.1, weight_decay=0.5, adam_weight_decay=0.5, adam_lr_ratio=0.5)
    indices = ("kernel", "head", "embedding", "embedding_head")
    assert decayed(optimizer, *indices) == [*indices]
    assert decayed(keras.exclude_from_weight_decay(optimizer, var_names=["head"]), *indices) == ["kernel", "embedding"]


def test_what_was_excluded_before_no_longer_is_and_other_settings_stay() -> None:
    optimizer = keras.SGD(0.1, weight_decay=0.5)
    first = keras.exclude_from_weight_decay(optimizer, var_names=["a"])
    assert keras.exclude_from_weight_decay(first, var_names=["b"]) == keras.exclude_from_weight_decay(optimizer, None, ["b"])
    assert keras.exclude_from_weight_decay(first) == optimizer
    other = attrs.evolve(optimizer, policy=up.Policy(overrides={"*": {"lr_scale": 2}}))
    both = keras.exclude_from_weight_decay(keras.exclude_from_weight_decay(other, var_names=["a"]), var_names=["b"])
    assert both.policy is not None
    undecayed = Override(re.compile("b"), (("weight_decay", None),))
    assert both.policy.overrides == (undecayed, Override("*", (("lr_scale", 2),)))
    assert keras.exclude_from_weight_decay(both) == other
    assert list(up.get_updater(both, overrides={"b": up.FROZEN}).overrides) == ["b", re.compile("b"), "*"]


def wrong(**arguments: Any) -> Callable[[], object]:
    return lambda: keras.exclude_from_weight_decay(**{"optimizer": keras.SGD()} | arguments)


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (wrong(optimizer=0.1), TypeError, "optimizer must be an Optimizer, got 0.1"),
    (wrong(var_names="bias"), TypeError, "exclude_from_weight_decay.var_names must be a list of patterns, got 'bias'"),
    (wrong(var_names=[3]), TypeError, "exclude_from_weight_decay.var_names must be a list of patterns, got [3]"),
    (
        wrong(var_names=["("]),
        ValueError,
        "exclude_from_weight_decay.var_names must hold regular expressions, got '(': missing ), unterminated subpattern at "
        "position 0",
    ),
    (wrong(var_list="bias"), TypeError, "exclude_from_weight_decay.var_list must be a list of indices, got 'bias'"),
    (
        wrong(var_list=[0.5]),
        TypeError,
        "exclude_from_weight_decay.var_list must be a list of indices: an index must be a str, an int or a tuple of these, got "
        "0.5 (float)",
    ),
    (wrong(var_list=3), TypeError, "exclude_from_weight_decay.var_list must be a list of indices: 'int' object is not iterable"),
    (
        lambda: keras.LossScaleOptimizer(up.SGD),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        f"LossScaleOptimizer.inner_optimizer must be an Optimizer, got {up.SGD!r} (the class; call it)",
    ),
    (
        lambda: keras.LossScaleOptimizer(keras.SGD(), 0),
        ValueError,
        "LossScaleOptimizer.initial_scale must be in [1.17549e-38, 1.70141e+38], got 0",
    ),
    (
        lambda: keras.LossScaleOptimizer(keras.SGD(), "8"),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        "LossScaleOptimizer.initial_scale must be a real number in [1.17549e-38, 1.70141e+38], got '8' (str)",
    ),
    (
        lambda: keras.LossScaleOptimizer(keras.SGD(), 8.0, 0),
        ValueError,
        "LossScaleOptimizer.dynamic_growth_steps must be an integer of at least 1, got 0",
    ),
    (
        lambda: keras.LossScaleOptimizer(keras.SGD(), name="scaled"),  # type: ignore[arg-type]  # wrong on purpose
        ValueError,
        "LossScaleOptimizer.name is not taken, got 'scaled': an optimizer has no name here",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_is_refused_and_how(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


# Loss scales


def test_a_loss_scale_that_moves_takes_the_place_of_one_that_does_not() -> None:
    inner = keras.Adam(0.1, loss_scale_factor=4.0, global_clipnorm=1.0)
    scaled = keras.LossScaleOptimizer(inner)
    scale = GrowthInterval(2.0**15, growth_interval=2000, min_scale=2.0**-126, max_scale=2.0**127)
    assert scaled.policy == up.Policy(loss_scale=scale, clip=up.transforms.ClipByGlobalNorm(1.0))
    assert attrs.evolve(scaled, policy=inner.policy) == inner
    assert keras.LossScaleOptimizer(up.SGD()).policy == up.Policy(loss_scale=scale)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_scale_moves_as_keras_moves_it(steps: int) -> None:
    optimizer = keras.LossScaleOptimizer(keras.SGD(1.0, use_ema=True), 16.0, steps)
    update, weight = up.get_updater(optimizer, backend="numpy"), np.zeros(1)
    scale, counter, expected = 16.0, 0, 0.0
    for overflows in (False, False, True, False, False, False, True, True, *[False] * 8, True):
        gradient = math.nan if overflows else 1.0
        applied, before = update.slots[0].count if 0 in update.slots else 0, update.loss_scale
        assert before == scale
        update.step([np.array([gradient])], [weight])
        if overflows:
            counter, scale = 0, scale * 0.5
        else:
            expected -= 1.0 / before
            counter, scale = (0, scale * 2) if counter == steps - 1 else (counter + 1, scale)
        assert update.loss_scale == scale
        assert weight.tolist() == [expected]
        assert update.slots[0].count == applied + (not overflows)
    assert update.state.held == 4
    assert update.scale_loss(0.5) == 0.5 * scale


def test_the_scale_stays_a_number_of_float32() -> None:
    for start, gradient in ((2.0**127, 1.0), (2.0**-126, math.inf)):
        update = up.get_updater(keras.LossScaleOptimizer(keras.SGD(), start, 1), backend="numpy")
        update.step([np.array([gradient])], [np.zeros(1)])
        assert update.loss_scale == start


def test_a_mean_that_is_not_finite_is_skipped_with_all_its_calls() -> None:
    optimizer = keras.LossScaleOptimizer(keras.SGD(1.0, gradient_accumulation_steps=2), 4.0, 1)
    update, weight = up.get_updater(optimizer, backend="numpy"), np.zeros(1)
    scales = []
    for gradient in (4.0, math.inf, 2.0, 4.0):
        update.step([np.array([gradient])], [weight])
        scales.append(update.loss_scale)
    assert scales == [4.0, 2.0, 2.0, 4.0]
    assert weight.tolist() == [-1.5]
