"""Weights of half precision: masters in float32, rounding by chance, and averages of weights of any precision."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import updaters as up
from tests.fake_cupy import dtype_of
from updaters.transforms import AGC, ClipByGlobalNorm

Array = np.ndarray[Any, Any]
HALVES = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # half a unit in the last place of 1
MOST = {"float16": 65504.0, "bfloat16": float(ml_dtypes.finfo("bfloat16").max)}
BACKENDS = ("numpy", "numba")

halves = pytest.mark.parametrize("dtype", HALVES)
backends = pytest.mark.parametrize("backend", BACKENDS)


def run(optimizer: up.Optimizer, start: Array, gradients: list[Array], **policy: Any) -> tuple[Array, up.Updater]:
    weight = start.copy()
    update = up.get_updater(optimizer, **policy)
    for gradient in gradients:
        update.step([gradient.astype(start.dtype)], [weight])
    return weight, update


RULES = {
    "sgd": up.SGD(1e-4),
    "adam": up.Adam(1e-4),
    "lamb": up.LAMB(1e-4),
    "muon": up.Muon(1e-4, otherwise=up.SGD(1e-4)),
}


@backends
@halves
@pytest.mark.parametrize("rule", RULES)
def test_small_updates_count_where_there_is_a_master(rule: str, dtype: str, backend: str) -> None:
    start = np.linspace(1, 2, 24).reshape(4, 6).astype(dtype_of(dtype))
    gradients = [np.random.default_rng(k % 7).uniform(0.5, 1, start.shape).astype(dtype_of(dtype)) for k in range(1000)]
    wide, _ = run(RULES[rule], start.astype(np.float32), gradients, backend=backend)
    weight, update = run(RULES[rule], start, gradients, backend=backend, master_weights=True)
    assert update.slots[0]["master"].tobytes() == wide.tobytes()  # every bit of float32's
    assert weight.tobytes() == wide.astype(weight.dtype).tobytes()
    plain, _ = run(RULES[rule], start, gradients, backend=backend)
    far = np.abs(wide - start.astype(np.float32)).max()
    assert far > 0.01
    if rule in ("sgd", "adam"):  # the others' steps are larger at first
        assert plain.tobytes() == start.tobytes()
    else:
        assert np.abs(plain.astype(np.float32) - wide).max() > 0.3 * far


@halves
def test_small_updates_count_on_average_where_they_are_rounded_by_chance(dtype: str) -> None:
    start = np.full(64, 1.0, dtype_of(dtype))
    gradients = [np.ones(64)] * 1000
    ends = [run(up.SGD(1e-4), start, gradients, stochastic_rounding=seed)[0].astype(float) for seed in range(20)]
    every = np.array(ends)
    unit = HALVES[dtype]  # below 1 numbers are as far apart
    spread = math.sqrt(1000 * 1e-4 * unit / every.size)  # of the mean, whose steps have a variance of at most step * unit
    assert abs(every.mean() - 0.9) < 4 * spread
    assert every.std() > 0
    assert every.std() < 2 * math.sqrt(1000 * 1e-4 * unit)


@halves
def test_chances_are_reproducible_and_each_weights_own(dtype: str) -> None:
    start = np.linspace(0.5, 3, 1000).astype(dtype_of(dtype))
    gradients = [np.random.default_rng(k).standard_normal(1000) for k in range(4)]
    results = {
        (backend, seed): run(up.Adam(1e-3), start, gradients, backend=backend, stochastic_rounding=seed)[0].tobytes()
        for backend in BACKENDS
        for seed in (0, 1, 2**40)
    }
    assert len({*results.values()}) == 3
    for seed in (0, 1, 2**40):
        assert results["numpy", seed] == results["numba", seed]
        assert run(up.Adam(1e-3), start, gradients, stochastic_rounding=seed)[0].tobytes() == results["numpy", seed]
    weights = {name: start.copy() for name in "ab"}
    update = up.get_updater(up.SGD(1e-3), stochastic_rounding=0)
    update.step(dict.fromkeys("ab", np.ones(1000, start.dtype)), weights)
    assert weights["a"].tobytes() != weights["b"].tobytes()
    # Each update draws anew, so that a weight which is set back moves another way.
    first, weights["a"][:] = weights["a"].copy(), start
    update("a", np.ones(1000, start.dtype), weights["a"])
    assert weights["a"].tobytes() != first.tobytes()


def test_what_is_rounded_lies_beside_what_it_was() -> None:
    start = np.linspace(0.5, 3, 1000).astype(np.float16)
    weight, _ = run(up.SGD(1e-3), start, [np.ones(1000)], stochastic_rounding=7)
    exact = start.astype(np.float64) - 1e-3
    below = np.where(
        exact.astype(np.float16) <= exact, exact.astype(np.float16), np.nextafter(exact.astype(np.float16), np.float16(0))
    )
    assert ((weight == below) | (weight == np.nextafter(below, np.float16(9)))).all()


@backends
@halves
@pytest.mark.parametrize("policy", [{"master_weights": True}, {"stochastic_rounding": 3}], ids=["master", "chance"])
def test_what_is_stored_stays_within_its_range(policy: Any, dtype: str, backend: str) -> None:
    most = MOST[dtype]
    start = np.array([most, -most, 1.0], dtype_of(dtype))
    for rule in (up.SGD(1.0), up.LAMB(1.0)):
        gradient = np.array([-most, most, math.nan])
        weight, update = run(rule, start, [gradient, gradient], backend=backend, **policy)
        if isinstance(rule, up.SGD):
            assert weight[:2].astype(float).tolist() == [most, -most]
            assert np.isnan(weight[2].astype(float))
            if "master" in update.slots[0].arrays and dtype == "float16":
                assert update.slots[0]["master"][:2].tolist() == [3 * most, -3 * most]
    weight = np.array([most, -most], start.dtype)
    update = up.get_updater(up.SGD(1.0), backend=backend, **policy)
    up_and_back = [np.array([-most / 2, most / 2], start.dtype), np.array([most, -most], start.dtype)]
    for gradient in up_and_back:
        update("w", gradient, weight)
    if policy.get("master_weights") and dtype == "float16":  # the master went beyond, and came back from there
        np.testing.assert_allclose(weight.astype(float), [most / 2, -most / 2], rtol=1e-3)


@backends
@halves
@pytest.mark.parametrize("rule", RULES)
def test_a_weight_that_the_caller_changes_is_followed(rule: str, dtype: str, backend: str) -> None:
    start = np.linspace(1, 2, 12).reshape(3, 4).astype(dtype_of(dtype))
    gradient = np.full((3, 4), 0.25, start.dtype)
    weight, wide = start.copy(), start.astype(np.float32)
    update = up.get_updater(RULES[rule], backend=backend, master_weights=True)
    other = up.get_updater(RULES[rule], backend=backend)
    for k in range(6):
        if k == 3:  # some elements; the others' masters keep what is below the weight's own digits
            weight[1] = np.asarray([4.0, -3.0, 0.0, 1.5]).astype(weight.dtype)
            wide[1] = [4.0, -3.0, 0.0, 1.5]
        update("w", gradient, weight)
        other("w", gradient.astype(np.float32), wide)
        assert update.slots["w"]["master"].tobytes() == wide.tobytes()
        assert weight.tobytes() == wide.astype(weight.dtype).tobytes()


@halves
def test_units_see_masters_and_changed_weights(dtype: str) -> None:
    start = np.linspace(1, 2, 12).reshape(3, 4).astype(dtype_of(dtype))
    gradient = np.full((3, 4), 0.5, start.dtype)
    weight, wide = start.copy(), start.astype(np.float32)
    clip = (AGC(1e-3), ClipByGlobalNorm(0.5))
    update, other = up.get_updater(up.SGD(0.1), clip=clip, master_weights=True), up.get_updater(up.SGD(0.1), clip=clip)
    for k in range(6):
        if k == 3:
            weight[1] *= 4
            wide[1] = weight[1].astype(np.float32)
        update.step([gradient], [weight])
        other.step([gradient.astype(np.float32)], [wide])
        assert update.slots[0]["master"].tobytes() == wide.tobytes()


def test_other_precisions_have_no_master_and_no_chance() -> None:
    for dtype in ("float32", "float64", "complex64"):
        for policy in ({"master_weights": True}, {"stochastic_rounding": 1}):
            start = np.linspace(1, 2, 5).astype(dtype)
            gradients = [np.full(5, 0.3)] * 3
            weight, update = run(up.Adam(0.1), start, gradients, **policy)  # type: ignore[arg-type]
            plain, _ = run(up.Adam(0.1), start, gradients)
            assert weight.tobytes() == plain.tobytes()
            assert set(update.slots[0].arrays) == {"m", "v"}


@halves
def test_masters_are_kept_with_everything_else(dtype: str) -> None:
    start = np.linspace(1, 2, 5).astype(dtype_of(dtype))
    weight, update = run(up.Adam(1e-4), start, [np.full(5, 0.3)] * 3, master_weights=True)
    assert update.slots[0]["master"].dtype == np.float32
    for twin in (copy.deepcopy(update), pickle.loads(pickle.dumps(update))):
        one, other = weight.copy(), weight.copy()
        twin.step([np.full(5, 0.3).astype(start.dtype)], [other])
        copy.deepcopy(update).step([np.full(5, 0.3).astype(start.dtype)], [one])
        assert one.tobytes() == other.tobytes()
    free = up.ScheduleFreeSGD(0.1)
    weight, update = run(free, start, [np.full(5, 0.3)] * 3, master_weights=True)
    wide, reference = run(free, start.astype(np.float32), [np.full(5, 0.3).astype(start.dtype).astype(np.float32)] * 3)
    better = update.evaluation_weight(0, weight)
    assert better.dtype == weight.dtype
    assert better.tobytes() == reference.evaluation_weight(0, wide).astype(weight.dtype).tobytes()
    assert better.tobytes() != weight.tobytes()
    assert pickle.loads(pickle.dumps(update)).evaluation_weight(0, weight).tobytes() == better.tobytes()
    update.overrides = {0: up.FROZEN}
    assert update.evaluation_weight(0, weight).tobytes() == better.tobytes()


@halves
def test_a_weight_of_no_dimension_is_evaluated_as_an_array(dtype: str) -> None:
    weight, update = run(up.SGD(0.1), np.asarray(1.0).astype(dtype_of(dtype)), [np.asarray(0.5)], master_weights=True)
    better = update.evaluation_weight(0, weight)
    assert type(better) is np.ndarray
    assert (better.dtype, better.shape, better.tobytes()) == (weight.dtype, (), weight.tobytes())


# Averages.


@backends
@halves
@pytest.mark.parametrize("every_call", [False, True])
def test_an_average_is_one_of_masters(every_call: bool, dtype: str, backend: str) -> None:
    start = np.linspace(1, 2, 7).astype(dtype_of(dtype))
    gradients = [np.random.default_rng(k).uniform(0.5, 1, 7).astype(start.dtype) for k in range(12)]
    policy: dict[str, Any] = {"average": up.Average(0.75, 3, every_call=every_call), "accumulate": 2, "backend": backend}
    weight, update = run(up.SGD(1e-3), start, gradients, master_weights=True, **policy)
    wide, other = run(up.SGD(1e-3), start.astype(np.float32), gradients, **policy)
    assert update.slots[0]["average"].tobytes() == other.slots[0]["average"].tobytes()
    assert update.slots[0]["master"].tobytes() == wide.tobytes()
    assert weight.tobytes() == wide.astype(weight.dtype).tobytes()
    assert update.evaluation_weight(0, weight).tobytes() == other.slots[0]["average"].astype(weight.dtype).tobytes()


def test_an_average_of_a_share() -> None:
    weight, w, average = np.array([2.0]), 2.0, 0.0
    update = up.get_updater(up.SGD(0.5), average=up.Average(0.25, 3))
    for t in range(1, 8):
        update("w", np.ones(1), weight)
        w -= 0.5
        average = w if t == 1 else 0.25 * average + 0.75 * w
        w = w if t % 3 else average
        np.testing.assert_allclose([weight[0], update.evaluation_weight("w", weight)[0]], [w, average], rtol=1e-15)
    fixed = up.get_updater(up.SGD(0.5), average=up.Average(1.0))
    for _ in range(3):
        fixed("w", np.ones(1), weight)
    np.testing.assert_allclose(fixed.evaluation_weight("w", weight), weight + 1.0, rtol=1e-15)
    scheduled = up.get_updater(up.SGD(0.5), average=up.Average(lambda state: 2.0))
    scheduled("w", np.ones(1), weight)
    with pytest.raises(ValueError, match=r"Average.keep must be in \[0, 1\], got 2.0 from"):
        scheduled("w", np.ones(1), weight)


def test_the_weight_to_evaluate_with_is_the_weight_that_there_is() -> None:
    weight = np.full(2, 65504, np.float16)
    update = up.get_updater(up.SGD(1.0), master_weights=True)
    update("w", np.array([-100.0, 4.0], np.float32), weight)
    assert update.evaluation_weight("w", weight).tolist() == [65504.0, 65504.0]  # not infinite, as the master's cast would be
    weight[1] = 5
    assert update.evaluation_weight("w", weight).tolist() == [65504.0, 5.0]  # an edit counts at once


def test_weights_that_have_had_no_update_yet_are_evaluated_as_they_are() -> None:
    weights = {"a": np.ones(2), "b": np.full(2, 3.0)}
    update = up.get_updater(up.SGD(0.5), average=up.Average(0.5), nonfinite="skip", overrides={"b": up.FROZEN})
    update.step({"a": np.array([math.nan, 1.0]), "b": np.ones(2)}, weights)
    for other in (pickle.loads(pickle.dumps(update)), copy.deepcopy(update), update):
        for name, weight in weights.items():
            assert other.evaluation_weight(name, weight).tolist() == weight.tolist()
            assert other.evaluation_weight(name, weight) is not weight
        other.override("c", {"lr_scale": 2})
        assert other.evaluation_weight("b", weights["b"]).tolist() == [3.0, 3.0]
        assert other.report().unmatched == ("c",)
        other.override("c", None)
    update.step({"a": np.ones(2), "b": np.ones(2)}, weights)
    assert update.evaluation_weight("a", weights["a"]).tolist() == [0.5, 0.5]
    with pytest.raises(KeyError, match="weight 'c' has been in no update; those that have are 'a', 'b'"):
        update.evaluation_weight("c", weights["a"])


def test_averages_of_every_call_may_overwrite_weights_that_are_rounded_by_chance() -> None:
    average = up.Average(0.5, 1, every_call=True)
    weights = []
    for backend in ("numpy", "numba"):
        weight = np.ones(64, np.float16)
        update = up.get_updater(up.SGD(1e-4), backend=backend, accumulate=2, stochastic_rounding=1, average=average)
        for _ in range(6):
            update("w", np.ones(64), weight)
        weights.append(weight)
    assert weights[0].tobytes() == weights[1].tobytes()
    assert np.unique(weights[0]).size > 1
