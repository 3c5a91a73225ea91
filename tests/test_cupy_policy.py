"""Training policy on CuPy's arrays, on a CPU: the bits of NumPy's, and how often the host waits for the device."""

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import updaters as up
from tests import fake_cupy
from tests.fake_cupy import put, same, take
from updaters.transforms import AGC, LARC, ClipByGlobalNorm, ClipByNorm, ClipByValue

Array = Any


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    with fake_cupy.installed() as module:
        yield module


SHAPES = {"matrix": (6, 5), "vector": (7,), "number": (), "empty": (0, 3)}

POLICIES: dict[str, dict[str, Any]] = {
    "value": {"clip": ClipByValue(-0.5, 1.0)},
    "norm": {"clip": ClipByNorm(1.0)},
    "global norm": {"clip": ClipByGlobalNorm(1.0)},
    "global norm 1": {"clip": ClipByGlobalNorm(2.0, 1, epsilon=1e-6)},
    "global norm inf": {"clip": ClipByGlobalNorm(0.5, math.inf)},
    "several": {"clip": (ClipByValue(-1.0, 1.0), ClipByGlobalNorm(1.0), LARC(0.1))},
    "two groups": {"clip": ClipByGlobalNorm(1.0), "overrides": {"vector": {"clip": ClipByGlobalNorm(0.1)}}},
    "some frozen": {"clip": ClipByGlobalNorm(1.0), "overrides": {"matrix": up.FROZEN}},
    "larc": {"clip": LARC(0.01, mode="scale")},
    "accumulate": {"accumulate": 2, "clip": ClipByGlobalNorm(1.0)},
    "loss scale": {"loss_scale": 8.0},
    "average": {"average": up.Average(0.9)},
    "report": {"report": True, "clip": ClipByGlobalNorm(1.0)},
}
DECIDING: dict[str, dict[str, Any]] = {
    "raise": {"nonfinite": "raise"},
    "skip": {"nonfinite": "skip", "clip": ClipByGlobalNorm(1.0)},
    "skip alone": {"nonfinite": "skip", "accumulate": 2},
    "growth": {"loss_scale": up.loss_scale.GrowthInterval(4.0, growth_interval=2), "accumulate": 2},
    "log max": {"loss_scale": up.loss_scale.LogMax(), "clip": ClipByGlobalNorm(1.0)},
}
HALVES: dict[str, dict[str, Any]] = {
    "masters": {"master_weights": True, "clip": ClipByGlobalNorm(1.0), "report": True},
    "random": {"stochastic_rounding": 3, "accumulate": 2},
}


def run(cupy: Any, rule: up.Optimizer, dtype: Any, on_device: bool, policy: dict[str, Any], steps: int = 5) -> Any:
    """The weights and slots after some steps, on the host, with the updater and how often each step waited."""
    rng = np.random.default_rng(0)
    complex_ = np.dtype(dtype).kind == "c"

    def draw(shape: tuple[int, ...]) -> Any:
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex_ else 0)

    hosts = {name: np.asarray(draw(shape)).astype(dtype) for name, shape in SHAPES.items()}
    weights = {name: put(cupy, host) if on_device else host for name, host in hosts.items()}
    update = up.get_updater(rule, backend="cupy" if on_device else "numpy", **policy)
    waits = []
    for _ in range(steps):
        grads = {name: np.asarray(draw(shape)).astype(dtype) for name, shape in SHAPES.items()}
        given = {name: put(cupy, grad) if on_device else grad for name, grad in grads.items()}
        fake_cupy.transfers.clear()
        update.step(given, weights)
        waits.append(len(fake_cupy.transfers))
    arrays = {name: take(weight) if on_device else weight for name, weight in weights.items()}
    for index, known in update.slots.items():
        arrays |= {(index, name): take(array) if on_device else array for name, array in known.arrays.items()}
    return arrays, update, waits


def check(cupy: Any, rule: up.Optimizer, dtype: Any, policy: dict[str, Any]) -> tuple[Any, list[int]]:
    there, update, waits = run(cupy, rule, dtype, True, policy)
    expected, other, _ = run(cupy, rule, dtype, False, policy)
    assert there.keys() == expected.keys()
    assert {name: True for name in there} == {name: same(array, expected[name]) for name, array in there.items()}
    assert (update.state, update.loss_scale) == (other.state, other.loss_scale)
    assert update.report() == other.report()
    return update, waits


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_step_without_a_decision_is_numpys_and_waits_for_nothing(cupy: Any, name: str, dtype: str) -> None:
    if dtype == "complex64" and name in ("global norm 1", "global norm inf"):
        pytest.skip("moduli are summed by CuPy itself")
    _, waits = check(cupy, up.AdamW(0.1), dtype, POLICIES[name])
    assert waits == [0] * 5


@pytest.mark.parametrize("name", DECIDING)
def test_a_step_that_decides_waits_once(cupy: Any, name: str) -> None:
    policy = DECIDING[name]
    _, waits = check(cupy, up.AdamW(0.1), "float32", policy)
    assert waits == ([0, 1, 0, 1, 0] if "accumulate" in policy else [1] * 5)


@pytest.mark.parametrize("rule", [up.LAMB(0.1), up.SGD(0.1, momentum=0.9), up.Adam(0.1, transforms=ClipByNorm(0.1))], ids=repr)
def test_rules_of_other_levels_wait_for_nothing(cupy: Any, rule: up.Optimizer) -> None:
    policy = {
        "clip": (ClipByValue(-2.0, 2.0), ClipByGlobalNorm(1.0)),
        "accumulate": 2,
        "average": up.Average(0.5),
        "report": True,
    }
    _, waits = check(cupy, rule, "float32", policy)
    assert waits == [0] * 5


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("name", HALVES)
def test_half_precision_is_numpys_and_waits_for_nothing(cupy: Any, name: str, dtype: Any) -> None:
    _, waits = check(cupy, up.AdamW(0.1), dtype, HALVES[name])
    assert waits == [0] * 5


def test_units_are_clipped_as_numpys_are(cupy: Any) -> None:
    policy = {"clip": AGC(0.1), "accumulate": 2}
    there, _, waits = run(cupy, up.SGD(0.1), "float64", True, policy)
    expected, _, _ = run(cupy, up.SGD(0.1), "float64", False, policy)
    assert waits == [0] * 5
    for name, array in there.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("order", [1, 3, math.inf])
def test_moduli_are_as_numpys(cupy: Any, order: float) -> None:
    policy = {"clip": ClipByGlobalNorm(1.0, order), "nonfinite": "skip"}
    there, _, waits = run(cupy, up.SGD(0.1), "complex128", True, policy)
    expected, _, _ = run(cupy, up.SGD(0.1), "complex128", False, policy)
    assert waits == [1] * 5
    for name, array in there.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("what", ["raise", "skip"])
def test_what_is_not_finite_is_found_by_one_look_and_nothing_is_written(cupy: Any, what: Any) -> None:
    weights = [put(cupy, np.ones(5)) for _ in range(300)]  # more than one block of the table holds
    grads = [put(cupy, np.ones(5)) for _ in weights]
    update = up.get_updater(up.Adam(0.1), nonfinite=what)
    update.step(grads, weights)
    before = [take(weight) for weight in weights]
    grads[7], grads[280] = (put(cupy, np.array([1, 2, bad, 4, 5])) for bad in (math.nan, -math.inf))
    fake_cupy.transfers.clear()
    if what == "raise":
        with pytest.raises(FloatingPointError, match="weights 7, 280; nothing has changed"):
            update.step(grads, weights)
    else:
        update.step(grads, weights)
        assert update.report().nonfinite == (7, 280)
    assert len(fake_cupy.transfers) == 1
    assert all(same(take(weight), old) for weight, old in zip(weights, before, strict=True))
    assert {known.count for known in update.slots.values()} == {1}


def test_a_norm_over_two_devices_and_the_host_is_one_norm(cupy: Any) -> None:
    hosts = [np.zeros(1), np.zeros(1), np.zeros(1)]
    grads: list[Array] = [np.array([2.0]), np.array([3.0]), np.array([6.0])]
    weights: list[Array] = [hosts[0]]
    for number in (0, 1):
        with cupy.cuda.Device(number):
            weights.append(put(cupy, hosts[number + 1]))
            grads[number + 1] = put(cupy, grads[number + 1])
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(1.0))
    update.step(grads, weights)
    assert [take(weight).tolist() if not isinstance(weight, np.ndarray) else weight.tolist() for weight in weights] == [
        [-2 / 7], [-3 / 7], [-6 / 7]
    ]  # fmt: skip


def test_what_is_accumulated_is_dropped_on_another_device_than_the_current_one(cupy: Any) -> None:
    with cupy.cuda.Device(1):
        weight, grads = put(cupy, np.ones(2)), [put(cupy, np.array([1.0, bad])) for bad in (1.0, math.inf)]
    update = up.get_updater(up.SGD(1.0), accumulate=2, nonfinite="skip")
    for grad in grads:
        update.step([grad], [weight])
    assert take(update.slots[0]["accumulated"]).tolist() == [0, 0]
    assert update.report().what == "skipped"
