"""OpenSeq2Seq's `optimize_loss`: the order of all that it does, what it takes and refuses, and what belongs to it."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.openseq2seq_policy import CASES, CONFIGURATIONS, Case, begin, error_of, oracle, ours, post_process, rate
from tests.openseq2seq_policy import momentum as momentum_there
from updaters import transforms
from updaters.compat import torch
from updaters.compat.openseq2seq import (
    OPTIMIZER_CLS_NAMES,
    OPTIMIZER_SUMMARIES,
    AutomaticLossScaler,
    MixedPrecisionOptimizerWrapper,
    NovoGrad,
    get_regularization_loss,
    lr_policies,
    optimize_loss,
    summaries_of,
)

# The order


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_weights_loss_scales_and_steps_are_those_of_plain_numpy(case: Case) -> None:
    found, expected = ours(case), oracle(case)
    assert error_of(found, expected) <= 1e-12
    assert [one.global_step for one in found] == [one.global_step for one in expected]
    there = [one.loss_scale for one in expected]
    rounding = 1e-7 if case.scaling == "LogMax" else 0.0  # its deviation is at first the root of a rounding error
    np.testing.assert_allclose([one.loss_scale for one in found], there, rtol=rounding)
    if case.overflows:
        assert expected[-1].global_step < len(expected) // case.iter_size
        assert len({*there}) > 2


def test_all_names_are_compared() -> None:
    assert {name for name, _ in CONFIGURATIONS} == {*OPTIMIZER_CLS_NAMES}


def test_a_group_with_an_overflow_is_skipped_as_a_whole() -> None:
    update = optimize_loss("SGD", None, lambda step: 1.0 + step, dtype="mixed", loss_scaling="Backoff", iter_size=3)
    w = np.zeros(1)
    seen = []
    for g in (1.0, np.inf, 1.0, 2.0, 4.0, 6.0, 1.0, 1.0, 4.0):
        update.step([np.array([update.scale_loss(g)])], [w])
        seen.append((w[0], update.loss_scale, update.state.held, update.report().what))
    gathered, skipped, applied = "accumulated", "skipped", "applied"
    assert seen == [
        (0.0, 16384.0, 1, gathered), (0.0, 16384.0, 2, gathered), (0.0, 8192.0, 3, skipped),
        (0.0, 8192.0, 4, gathered), (0.0, 8192.0, 5, gathered), (-4.0, 8192.0, 5, applied),
        (-4.0, 8192.0, 6, gathered), (-4.0, 8192.0, 7, gathered), (-8.0, 8192.0, 7, applied),
    ]  # fmt: skip


def test_a_loss_scale_that_is_a_number_looks_for_no_overflow() -> None:
    update = optimize_loss("SGD", {"learning_rate": 1.0}, dtype="mixed", loss_scaling=4.0)
    w = np.zeros(2)
    update.step([np.array([np.inf, 4.0])], [w])
    assert w.tolist() == [-np.inf, -1.0]


@pytest.mark.parametrize("post", [{}, {"clip_gradients": 0.5}, {"larc_params": {"larc_eta": 0.02}}], ids=str)
@pytest.mark.parametrize(
    "scaling", [{"loss_scaling": 16.0}, {"loss_scaling": "Backoff", "loss_scaling_params": {"scale_max": 16.0}}]
)
def test_masters_are_what_half_precision_goes_by(post: dict[str, Any], scaling: dict[str, Any]) -> None:
    update = optimize_loss("Momentum", {"momentum": 0.9}, rate, dtype="mixed", backend="numpy", **scaling, **post)
    rng = np.random.default_rng(11)
    weights = {name: w.astype(np.float16) for name, w in begin().items()}
    start = {name: w.astype(np.float64) for name, w in weights.items()}
    master = dict(start)
    kept: dict[str, dict[str, Any]] = {name: {} for name in master}
    for step in range(30):
        scaled = {name: rng.standard_normal(w.shape).astype(np.float16) for name, w in weights.items()}
        update.step(scaled, weights)
        grads = {name: g.astype(np.float64) / 16.0 for name, g in scaled.items()}
        grads = post_process(grads, master, rate(step), post.get("clip_gradients"), post.get("larc_params"))
        for name, w in master.items():
            master[name] = momentum_there(w, grads[name], rate(step), kept[name], step + 1, momentum=0.9)
    for name, w in weights.items():
        own = update.slots[name]["master"]
        assert (w.dtype, own.dtype) == (np.float16, np.float32)
        assert np.max(np.abs(own - master[name])) <= 1e-4 * np.max(np.abs(master[name] - start[name]))
        np.testing.assert_array_equal(w, own.astype(np.float16))
        assert np.any(w != own)


def test_a_master_beyond_the_range_is_stored_at_its_end() -> None:
    update = optimize_loss("SGD", {"learning_rate": 1.0}, dtype="mixed")
    w = np.array([64992.0], np.float16)
    update.step([np.array([-2000.0])], [w])
    assert (w[0], update.slots[0]["master"][0]) == (65504.0, 66992.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", np.float16, np.dtype("float32")])
def test_without_mixed_precision_there_are_no_masters_and_no_scale(dtype: Any) -> None:
    for scaling in (128.0, "Backoff"):
        update = optimize_loss("SGD", {"learning_rate": 0.5}, dtype=dtype, loss_scaling=scaling)
        w = np.ones(1, np.float16)
        update.step([np.ones(1, np.float16)], [w])
        assert (w[0], update.loss_scale, update.policy) == (0.5, 1.0, up.Policy())


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NovoGrad", "Ftrl"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_regularizers_gradient_is_our_l2_decay_where_nothing_is_clipped(name: str, dtype: str) -> None:
    params = {"AdamW": {"weight_decay": 0.0}}.get(name, {}) | {"learning_rate": 0.1}
    arguments: dict[str, Any] = {"dtype": "mixed", "loss_scaling": 64.0}
    decaying = {"k*": {"weight_decay": 0.3, "decay": "l2"}}
    ours = optimize_loss(name, params, **arguments, overrides=decaying)
    theirs = optimize_loss(name, params, **arguments)
    rng = np.random.default_rng(2)
    start = {"kernel": rng.standard_normal(7).astype(dtype), "bias": rng.standard_normal(7).astype(dtype)}
    weights, others = ({index: w.copy() for index, w in start.items()} for _ in range(2))
    for _ in range(10):
        grads = {index: rng.standard_normal(7).astype(np.float32) for index in weights}
        ours.step(grads, weights)
        known = theirs.slots.get("kernel", {"master": others["kernel"]})
        master = known["master"] if "master" in known else others["kernel"]
        added = grads["kernel"] + theirs.loss_scale * np.float32(0.3) * master.astype(np.float32)
        theirs.step(grads | {"kernel": added}, others)
    for index in weights:
        np.testing.assert_allclose(weights[index].astype(float), others[index].astype(float), rtol=2e-3, atol=1e-4)
        assert np.all(weights[index] != start[index])


# What an optimizer may be, and its learning rate


@pytest.mark.parametrize(
    ("optimizer", "params", "made"),
    [
        ("SGD", {}, up.SGD()),
        ("Adam", {"beta1": 0.5}, up.Adam(beta1=0.5, epsilon_hat=True)),
        ("AdamW", {"weight_decay": 0.5}, up.AdamW(epsilon_hat=True, weight_decay=0.5)),
        ("NovoGrad", {"beta2": 0.5}, NovoGrad(beta2=0.5)),
        ("Momentum", {"momentum": 0.5, "use_nesterov": True}, up.SGD(momentum=0.5, nesterov=True, buffer="gradients")),
        ("Adagrad", {}, up.Adagrad(epsilon=0.0, initial_accumulator=0.1)),
        ("Ftrl", {"l1_regularization_strength": 0.5}, up.Ftrl(beta=0.0, l1=0.5, initial_accumulator=0.1)),
        (NovoGrad, {"beta1": 0.5}, NovoGrad(beta1=0.5)),
        (up.Adam, {"beta1": 0.5}, up.Adam(beta1=0.5)),
        (torch.Adam, {"betas": (0.5, 0.6)}, torch.Adam(betas=(0.5, 0.6))),
        (partial(up.Adam, beta1=0.5), None, up.Adam(beta1=0.5)),
        (lambda learning_rate, **others: up.SGD(learning_rate, **others), {"momentum": 0.5}, up.SGD(momentum=0.5)),
        (up.Lion(0.1), None, up.Lion()),
    ],
)
def test_an_optimizer_is_a_name_a_class_a_function_or_a_value(optimizer: Any, params: Any, made: Any) -> None:
    policy = lr_policies.fixed_lr(0.25)
    assert optimize_loss(optimizer, params, policy).optimizer == attrs.evolve(made, lr=policy)


def test_rmsprop_begins_at_one_and_is_a_config() -> None:
    optimizer = optimize_loss("RMSProp", {"learning_rate": 0.5}).optimizer
    assert {**optimizer.initial(up.OptimizationState())} == {"s": 1.0}
    assert up.from_config(up.to_config(optimizer)) == optimizer


def test_a_learning_rate_is_the_optimizers_own_where_there_is_no_function() -> None:
    assert optimize_loss("Adam").optimizer == up.Adam(0.001, epsilon_hat=True)
    assert optimize_loss("SGD", {"learning_rate": 0.5}).optimizer == up.SGD(0.5)
    assert optimize_loss(up.SGD(0.5)).optimizer == up.SGD(0.5)


def test_a_function_of_the_step_and_a_policy_are_the_same() -> None:
    policy = lr_policies.poly_decay(0.5, 10, power=2.0, warmup_steps=3)
    params = {"momentum": 0.9}
    weights = [np.zeros(1), np.zeros(1)]
    updates = [
        optimize_loss("Momentum", params, policy, iter_size=2),
        optimize_loss("Momentum", params, lambda step: policy(up.OptimizationState(iteration=step + 1)), iter_size=2),
    ]
    for _ in range(20):
        for update, weight in zip(updates, weights, strict=True):
            update.step([np.ones(1)], [weight])
    assert weights[0] == weights[1] != 0


def test_the_clock_overrides_and_the_backend_are_get_updaters() -> None:
    state = up.OptimizationState()
    update = optimize_loss("SGD", {"learning_rate": 1.0}, state=state, overrides={"b": up.FROZEN}, backend="numpy")
    weights = {"a": np.zeros(1), "b": np.zeros(1)}
    update.step({"a": np.ones(1), "b": np.ones(1)}, weights)
    assert update.state is state
    assert (update.backend, weights["a"][0], weights["b"][0]) == ("numpy", -1.0, 0.0)


def test_larc_as_a_clip_goes_by_the_rate_that_each_weight_has() -> None:
    update = up.get_updater(up.SGD(0.5), clip=transforms.LARC(0.1, epsilon=0.0), overrides={"slow": {"lr_scale": 0.125}})
    weights = {"fast": np.array([3.0, 4.0]), "slow": np.array([3.0, 4.0])}
    update.step({name: np.array([2.0, 0.0]) for name in weights}, weights)
    np.testing.assert_allclose(weights["fast"], [2.5, 4.0], rtol=1e-15)  # 0.1 * 5 / 2 is below 0.5
    np.testing.assert_allclose(weights["slow"], [2.875, 4.0], rtol=1e-15)  # and above 0.0625


# What is refused

good: Any = partial(optimize_loss, "Adam")

REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: optimize_loss("Adadelta"),
        ValueError,
        "optimize_loss.optimizer must be one of 'Adagrad', 'Adam', 'AdamW', 'Ftrl', 'Momentum', 'NovoGrad', 'RMSProp', 'SGD', "
        "got 'Adadelta'",
    ),
    (
        lambda: optimize_loss(0.1),
        TypeError,
        "optimize_loss.optimizer must be a name, a class, a function or an optimizer, got 0.1",
    ),
    (
        lambda: optimize_loss(rate, {"step": 0}),
        TypeError,
        "what optimize_loss.optimizer, rate, gives must be an Optimizer, got 0.02",
    ),
    (
        lambda: optimize_loss(up.SGD(), {"momentum": 0.9}),
        ValueError,
        "optimize_loss.optimizer_params go with a name, a class or a function, got {'momentum': 0.9}",
    ),
    (lambda: good([1]), TypeError, "optimize_loss.optimizer_params must be a mapping, got [1]"),
    (
        lambda: good({"beta": 0.9}),
        TypeError,
        "optimize_loss.optimizer_params['beta'] is no argument of Adam; there are 'beta1', 'beta2', 'epsilon', 'learning_rate'",
    ),
    (lambda: good({"beta1": 2}), ValueError, "Adam.beta1 must be in [0, 1), got 2"),
    (
        lambda: optimize_loss("Momentum", None, rate),
        TypeError,
        "optimize_loss.optimizer_params must have 'momentum', for Momentum, got {}",
    ),
    (
        lambda: optimize_loss("Momentum", {"momentum": 0.9}),
        TypeError,
        "optimize_loss.optimizer_params must have 'learning_rate', or learning_rate_decay_fn be given, for Momentum, "
        "got {'momentum': 0.9}",
    ),
    (
        lambda: good({"learning_rate": 0.1}, lr_policies.fixed_lr(0.5)),
        TypeError,
        "optimize_loss takes either learning_rate_decay_fn or optimizer_params['learning_rate'], got Fixed(0.5) and 0.1",
    ),
    (
        lambda: optimize_loss(up.SGD, {"lr": 0.1}, lr_policies.fixed_lr(0.5)),
        TypeError,
        "optimize_loss takes either learning_rate_decay_fn or optimizer_params['lr'], got Fixed(0.5) and 0.1",
    ),
    (
        lambda: good(None, 0.1),
        TypeError,
        "optimize_loss.learning_rate_decay_fn must be a function of the global step or one of lr_policies, got 0.1",
    ),
    *[
        (
            partial(good, dtype=dtype),
            ValueError,
            f"optimize_loss.dtype must be 'float16', 'float32' or 'mixed', got {dtype!r}",
        )
        for dtype in ("half precision", "float64", None, 16, "Mixed")
    ],
    (lambda: good(clip_gradients=0), ValueError, "optimize_loss.clip_gradients must be in (0, inf), got 0"),
    (
        lambda: good(clip_gradients=1.0, larc_params={"larc_eta": 0.1}),
        ValueError,
        "optimize_loss takes either clip_gradients or larc_params, got 1.0 and {'larc_eta': 0.1}",
    ),
    (
        lambda: good(summaries=["loss"]),
        ValueError,
        f"optimize_loss.summaries must be of {', '.join(map(repr, OPTIMIZER_SUMMARIES))}, got 'loss'",
    ),
    (lambda: good(summaries="variables"), TypeError, "optimize_loss.summaries must be a sequence of names, got 'variables'"),
    (lambda: good(larc_params=0.1), TypeError, "optimize_loss.larc_params must be a mapping, got 0.1"),
    (lambda: good(larc_params={}), ValueError, "optimize_loss.larc_params must have 'larc_eta', got {}"),
    (
        lambda: good(larc_params={"eta": 0.1}),
        ValueError,
        "optimize_loss.larc_params['eta'] is no parameter of LARC; there are 'epsilon', 'larc_eta', 'larc_mode', 'min_update'",
    ),
    (
        lambda: good(larc_params={"larc_eta": -1}),
        ValueError,
        "optimize_loss.larc_params['larc_eta'] must be in [0, inf), got -1",
    ),
    (
        lambda: good(larc_params={"larc_eta": 1, "larc_mode": "lars"}),
        ValueError,
        "optimize_loss.larc_params['larc_mode'] must be 'clip' or 'scale', got 'lars'",
    ),
    (lambda: good(loss_scaling=0), ValueError, "optimize_loss.loss_scaling must be in (0, inf), got 0"),
    (
        lambda: good(loss_scaling=True),
        TypeError,
        "optimize_loss.loss_scaling must be a real number in (0, inf), 'Backoff' or 'LogMax', got True (bool)",
    ),
    (lambda: good(loss_scaling="max"), ValueError, "optimize_loss.loss_scaling must be 'Backoff' or 'LogMax', got 'max'"),
    (
        lambda: good(loss_scaling="LogMax", loss_scaling_params={"beta1": 1}),
        ValueError,
        "optimize_loss.loss_scaling_params['beta1'] must be in [0, 1), got 1",
    ),
    (
        lambda: good(loss_scaling="LogMax", loss_scaling_params={"step_window": 1}),
        ValueError,
        "optimize_loss.loss_scaling_params['step_window'] is no parameter of LogMax; there are scale_min, scale_max, "
        "beta1, beta2, overflow_std_dev, log_max",
    ),
    (
        lambda: good(loss_scaling=2.0, loss_scaling_params={}),
        ValueError,
        "optimize_loss.loss_scaling_params go with 'Backoff' or 'LogMax', got {} with 2.0",
    ),
    (lambda: good(iter_size=0), ValueError, "optimize_loss.iter_size must be an integer of at least 1, got 0"),
    (lambda: good(iter_size=1.5), TypeError, "optimize_loss.iter_size must be an integer of at least 1, got 1.5"),
    (lambda: good(state=1), TypeError, "state must be an OptimizationState or None, got 1"),
    (lambda: good(overrides={"w": 1}), TypeError, "overrides['w'] must be a mapping of settings, an optimizer or FROZEN, got 1"),
    (
        lambda: MixedPrecisionOptimizerWrapper("Adam"),  # type: ignore[type-var]  # wrong on purpose
        TypeError,
        "optimizer must be an Optimizer, got 'Adam'",
    ),
    (
        lambda: MixedPrecisionOptimizerWrapper(up.SGD(), "Backoff"),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        "MixedPrecisionOptimizerWrapper.loss_scale must be a real number in (0, inf), an AutomaticLossScaler or None, "
        "got 'Backoff' (str)",
    ),
    (
        lambda: get_regularization_loss(-1, []),
        ValueError,
        "get_regularization_loss.scale must be in [0, inf), got -1",
    ),
    (
        lambda: get_regularization_loss(1, "w"),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        "get_regularization_loss.weights must be a mapping or a sequence of arrays, got 'w'",
    ),
    (
        lambda: summaries_of(optimize_loss("Adam"), ["gradient_norm", "loss_scale"]),
        ValueError,
        "summaries_of.summaries: 'gradient_norm' need norms; give optimize_loss these names, or set update.reports",
    ),
    (
        lambda: summaries_of(optimize_loss("Adam"), ["norm"]),
        ValueError,
        f"summaries_of.summaries must be of {', '.join(map(repr, OPTIMIZER_SUMMARIES))}, got 'norm'",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_and_how(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()


def test_regularization_of_an_array_that_is_none_names_its_index() -> None:
    with pytest.raises(TypeError, match="'w'"):
        get_regularization_loss(1.0, {"w": [1.0]})  # type: ignore[dict-item]  # wrong on purpose


# Mixed precision


def test_the_wrapper_gives_an_optimizer_with_a_policy() -> None:
    scaler = AutomaticLossScaler("LogMax", {"beta1": 0.5})
    policy = up.Policy(clip=transforms.ClipByNorm(1.0), loss_scale=2.0)
    optimizer = up.SGD(0.5, policy=policy)
    for given, scale in ((scaler, scaler.scaler), (8, up.loss_scale.Static(8.0)), (None, None)):
        wrapped = MixedPrecisionOptimizerWrapper(optimizer, given)
        assert wrapped.policy == attrs.evolve(policy, master_weights=True, loss_scale=scale)
        assert attrs.evolve(wrapped, policy=policy) == optimizer
    assert up.get_updater(MixedPrecisionOptimizerWrapper(up.SGD(), 8)).loss_scale == 8.0


def test_a_scaler_that_has_moved_is_refused() -> None:
    scaler = AutomaticLossScaler()
    scaler.update(True, 1.0)
    with pytest.raises(
        ValueError, match=r"^MixedPrecisionOptimizerWrapper\.loss_scale must be a scaler that has not moved, got Auto"
    ):
        MixedPrecisionOptimizerWrapper(up.SGD(), scaler)


def test_what_an_optimizer_brings_along_stays() -> None:
    optimizer = MixedPrecisionOptimizerWrapper(up.SGD(0.5, policy=up.Policy(accumulate=2, clip=transforms.ClipByNorm(1.0))), 4.0)
    assert optimize_loss(optimizer).policy == optimizer.policy
    clipped = optimize_loss(optimizer, clip_gradients=2.0, iter_size=3).policy
    assert clipped == up.Policy(
        accumulate=3, clip=transforms.ClipByGlobalNorm(2.0), master_weights=True, loss_scale=4.0
    )  # fmt: skip


# The loss of regularizers


def test_the_loss_of_regularizers_is_half_the_sum_of_squares_of_all() -> None:
    weights = {"a": np.full((2, 2), 300.0, np.float16), "b": np.array([3.0 + 4.0j]), "c": np.zeros((0, 3))}
    assert get_regularization_loss(0.5, weights) == get_regularization_loss(0.5, [*weights.values()]) == 0.25 * (360000 + 25)
    assert get_regularization_loss(0.5, {}) == get_regularization_loss(0, weights) == 0.0


def test_its_gradient_is_the_l2_decay() -> None:
    w = np.array([1.0, -2.0, 0.5])
    change = [get_regularization_loss(0.3, [w + h]) - get_regularization_loss(0.3, [w - h]) for h in 1e-3 * np.eye(3)]
    np.testing.assert_allclose(np.array(change) / 2e-3, 0.3 * w, rtol=1e-9)
    decayed = up.normalized_gradient(up.SGD(weight_decay=0.3), up.OptimizationState(), w, np.zeros(3))
    np.testing.assert_allclose(decayed, 0.3 * w, rtol=1e-15)


# Summaries

WEIGHTS = {"w": [3.0, 4.0], ("b", 0): [0.0, 2.0]}
GRADS = {"w": [6.0, 8.0], ("b", 0): [24.0, 0.0]}  # of norms 10 and 24, 26 together


def summed_up(summaries: Any = OPTIMIZER_SUMMARIES, **arguments: Any) -> dict[str, float]:
    update = optimize_loss("SGD", None, lambda step: 0.5 + step, summaries=OPTIMIZER_SUMMARIES, **arguments)
    for _ in range(2):
        weights = {index: np.array(w) for index, w in WEIGHTS.items()}
        update.step({index: update.scale_loss(np.array(g)) for index, g in GRADS.items()}, weights)
    return summaries_of(update, summaries)


def test_summaries_in_full() -> None:
    of_weights = {"variable_norm/w": 5.0, "variable_norm/('b', 0)": 2.0}
    whole = {"learning_rate": 1.5, "global_gradient_norm": 26.0, **of_weights}
    gradients = {"gradient_norm/w": 10.0, "gradient_norm/('b', 0)": 24.0}
    assert summed_up() == whole | gradients | {"loss_scale": 1.0}
    assert summed_up(dtype="mixed", loss_scaling="Backoff") == whole | gradients | {"loss_scale": 2.0**14}
    assert summed_up(clip_gradients=13.0) == pytest.approx(
        whole
        | {"gradient_norm/w": 5.0, "gradient_norm/('b', 0)": 12.0, "global_clipped_gradient_norm": 13.0, "loss_scale": 1.0},
        rel=1e-14,
    )  # fmt: skip
    larc = {"larc_eta": 1.0, "epsilon": 0.0}
    of_larc = {"larc_clip_on/w": 1.0, "larc_grad_update/w": 0.5 / 1.5, "larc_final_lr/w": 0.5}
    of_larc |= {"larc_clip_on/('b', 0)": 1.0, "larc_grad_update/('b', 0)": 1 / 18, "larc_final_lr/('b', 0)": 1 / 12}
    assert summed_up(larc_params=larc) == pytest.approx(whole | gradients | of_larc | {"loss_scale": 1.0}, rel=1e-14)
    of_larc = {"larc_grad_update/w": 0.5, "larc_final_lr/w": 0.75}
    of_larc |= {"larc_grad_update/('b', 0)": 1 / 12, "larc_final_lr/('b', 0)": 0.125}
    scaled = summed_up(larc_params=larc | {"larc_mode": "scale"})
    assert scaled == pytest.approx(whole | gradients | of_larc | {"loss_scale": 1.0}, rel=1e-14)


def test_larc_that_does_nothing_is_not_on() -> None:
    assert summed_up(["larc_summaries"], larc_params={"larc_eta": 100.0})["larc_clip_on/w"] == 0.0


@pytest.mark.parametrize("name", OPTIMIZER_SUMMARIES)
def test_a_summary_is_what_was_asked_for(name: str) -> None:
    found, whole = summed_up([name], clip_gradients=13.0), summed_up(clip_gradients=13.0)
    prefixes = {"global_gradient_norm": ("global_",), "larc_summaries": ("larc_",), "gradients": ("gradients",)}.get(
        name, (name,)
    )
    assert found == {key: value for key, value in whole.items() if key.startswith(prefixes)}


def test_norms_are_taken_where_a_summary_needs_them() -> None:
    assert not optimize_loss("Adam").reports
    assert not optimize_loss("Adam", summaries=["learning_rate", "loss_scale", "gradients", "variables"]).reports
    for name in ("gradient_norm", "global_gradient_norm", "variable_norm", "larc_summaries"):
        assert optimize_loss("Adam", summaries=[name]).reports


def test_summaries_of_calls_that_changed_no_weight() -> None:
    update = optimize_loss(
        "SGD", None, lambda step: 1.0 + step, dtype="mixed", loss_scaling="Backoff", iter_size=2, summaries=OPTIMIZER_SUMMARIES
    )
    assert summaries_of(update) == {}
    w, seen = np.zeros(1), []
    for g in (1.0, 1.0, 1.0, np.inf, 1.0, 1.0):
        update.step([np.array([update.scale_loss(g)])], [w])
        numbers = summaries_of(update)
        seen.append((numbers["learning_rate"], numbers["loss_scale"], "global_gradient_norm" in numbers))
    assert seen == [
        (1.0, 16384.0, False), (1.0, 16384.0, True), (2.0, 16384.0, False),
        (2.0, 16384.0, False), (2.0, 8192.0, False), (2.0, 8192.0, True),
    ]  # fmt: skip
