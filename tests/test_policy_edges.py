"""Policies at their edges: sizes, numbers and threads that a training run meets once."""

import math
import threading
from typing import Any

import numpy as np
import pytest

import updaters as up
from updaters.transforms import AGC, ClipByGlobalNorm, ClipByNorm, ClipByValue


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.5, 1.5, 3.0, 8.0, 100.0])
@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 1e5, 1e30])
def test_powers_of_any_order_neither_overflow_nor_vanish(p: float, size: float, dtype: str) -> None:
    gradients = [np.full(4, size, dtype), np.array([0.0, size / 2], dtype), np.zeros(3, dtype)]
    weights = [np.zeros_like(gradient) for gradient in gradients]
    norm = size * (4 + 0.5**p) ** (1 / p)
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(norm / 100, p), backend="numpy")
    update.step(gradients, weights)
    assert update.report().global_norms[None] == pytest.approx(norm, rel=1e-5 if dtype == "float32" else 1e-12)
    for weight, gradient in zip(weights, gradients, strict=True):
        np.testing.assert_allclose(weight, -gradient / 100, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("clip", [ClipByNorm(1.0), AGC(0.1), ClipByGlobalNorm(1.0)], ids=repr)
def test_a_norm_that_is_not_finite_scales_nothing(clip: Any) -> None:
    weight = np.zeros(3)
    update = up.get_updater(up.SGD(1.0), clip=clip)
    update.step([np.array([math.inf, 0.5, -2.0])], [weight])
    assert weight.tolist() == [-math.inf, -0.5, 2.0]


def test_integers_of_numpy_are_integers() -> None:
    policies = [up.get_updater(up.SGD(), accumulate=kind(2), stochastic_rounding=kind(5)).policy for kind in (int, np.int64)]
    assert policies[0] == policies[1]
    assert {type(value) for policy in policies for value in (policy.accumulate, policy.stochastic_rounding)} == {int}


def test_a_scale_that_is_none_is_refused_before_anything_has_changed() -> None:
    class Vanishing(up.loss_scale.Backoff):
        def after(self, kept: Any, finite: bool, peak: float | None) -> dict[str, float]:
            return {**kept, "scale": 0.0}

    weight = np.ones(2)
    update = up.get_updater(up.SGD(1.0), loss_scale=Vanishing())
    with pytest.raises(ValueError, match=r"the scale of Vanishing\(.*\) must be in \(0, inf\), got 0.0"):
        update.step([np.ones(2)], [weight])
    assert (weight.tolist(), update.state.iteration, dict(update.slots)) == ([1.0, 1.0], 0, {})


def test_bounds_that_cross_are_an_error_when_they_do() -> None:
    update = up.get_updater(up.SGD(1.0), clip=ClipByValue(0.0, lambda state: 2.0 - state.iteration))
    weight = np.zeros(1)
    for _ in range(2):
        update.step([np.ones(1)], [weight])
    with pytest.raises(ValueError, match="ClipByValue.low must be at most high, got 0.0 and -1.0 at OptimizationState"):
        update.step([np.ones(1)], [weight])


def test_many_gradients_that_are_not_finite_are_named_in_their_order_and_counted() -> None:
    update = up.get_updater(up.SGD(), nonfinite="raise")
    with pytest.raises(FloatingPointError, match=r"weights 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more; nothing has changed"):
        update.step([np.array([math.nan])] * 15, [np.zeros(1) for _ in range(15)])


def test_threads_that_skip_hold_an_iteration_once() -> None:
    state = up.OptimizationState()
    update = up.get_updater(up.SGD(0.1), state, nonfinite="skip")
    bad = np.array([math.nan])
    for _ in range(300):
        state.iteration += 1
        threads = [threading.Thread(target=update, args=(name, bad, np.ones(1))) for name in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (state.iteration, state.held) == (300, 300)


def test_what_one_thread_has_done_is_not_counted_as_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    state = up.OptimizationState(iteration=1)
    update = up.get_updater(up.SGD(0.1), state, nonfinite="skip")
    honest = up.Updater._settle
    begun, goes_on = threading.Event(), threading.Event()

    def settle(self: Any, *arguments: Any) -> None:
        if threading.current_thread().name == "first":
            begun.set()
            assert goes_on.wait(10)
        honest(self, *arguments)

    monkeypatch.setattr(up.Updater, "_settle", settle)
    first = threading.Thread(target=update, args=("a", np.ones(1), np.ones(1)), name="first")
    first.start()
    assert begun.wait(10)
    update("b", np.array([math.nan]), np.ones(1))
    goes_on.set()
    first.join()
    assert state.held == 0
