"""The CuPy backend and what the updater does for CuPy's arrays, on a CPU: its kernels are compiled by gcc."""

import copy
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests import fake_cupy
from tests.fake_cupy import (
    DTYPES,
    EVALUATED,
    KERNELS,
    LAYOUTS,
    RULES,
    SHARED,
    check_add_up,
    check_evaluation,
    check_normalized_gradient,
    check_powers,
    check_rounding,
    check_shared,
    check_values,
    dtype_of,
    numbers,
    put,
    same,
    take,
)
from tests.rules import POWERS
from updaters import backends

Array = Any


@pytest.fixture
def cupy() -> Iterator[Any]:
    """The stand-in, with nothing compiled, launched or transferred so far."""
    with fake_cupy.installed() as module:
        fake_cupy.transfers.clear()
        fake_cupy.launches.clear()
        yield module


@pytest.fixture(scope="module")
def kept() -> Iterator[Any]:
    """The stand-in, which keeps what it has compiled: quicker where there are many tests."""
    with fake_cupy.installed() as module:
        yield module


def ones(cupy: Any, shape: Any = 4, device: int = 0, dtype: Any = np.float32) -> Array:
    with cupy.cuda.Device(device):
        return put(cupy, np.ones(shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", KERNELS)
def test_the_recorded_c_gives_the_values_of_numpy(kept: Any, rule: str, dtype: str) -> None:
    for layout in LAYOUTS:
        check_values(kept, rule, dtype, layout, subnormal=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", KERNELS)
def test_no_value_of_the_gpu_tests_depends_on_subnormals(
    kept: Any, rule: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FLUSH", True)
    for layout in LAYOUTS:
        check_values(kept, rule, dtype, layout)


@pytest.mark.parametrize("rule", sorted(POWERS))
def test_powers_are_numpys_to_rounding(kept: Any, rule: str) -> None:
    check_powers(kept, rule)


@pytest.mark.parametrize("dtype", DTYPES)
def test_halfway_numbers_are_rounded_as_numpy_rounds(kept: Any, dtype: str) -> None:
    check_rounding(kept, dtype)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_subnormals_are_flushed_where_cupy_flushes_them(
    kept: Any, dtype: str, flush: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FLUSH", flush)
    tiny = np.full(3, 1e-310 if dtype == "float64" else 1e-40).astype(dtype_of(dtype))
    weight = put(kept, tiny)
    up.get_updater(up.SGD(0.1))("w", put(kept, tiny * 0), weight)
    assert same(take(weight), tiny * 0 if flush and dtype != "float64" else tiny)


@pytest.mark.parametrize("gradient_dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_gradient_of_another_float_precision_is_cast(cupy: Any, dtype: str, gradient_dtype: str) -> None:
    rng = np.random.default_rng(0)
    weight, gradient = (numbers(rng, (50,), dtype_of(name), 0.3, subnormal=True) for name in (dtype, gradient_dtype))
    found = put(cupy, weight)
    up.get_updater(up.Adam(0.1))("w", put(cupy, gradient), found)
    up.get_updater(up.Adam(0.1), backend="numpy")("w", gradient, weight)
    assert same(take(found), weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_slot_may_be_given_as_the_gradient(cupy: Any, dtype: str) -> None:
    values = numbers(np.random.default_rng(1), (50,), np.dtype("complex64" if "complex" in dtype else "float32"), 0)
    host = values.astype(dtype_of(dtype))
    weight = put(cupy, host)
    update, reference = up.get_updater(up.Adam(0.1)), up.get_updater(up.Adam(0.1), backend="numpy")
    update("w", put(cupy, host), weight)
    reference("w", host.copy(), host)
    update("w", update.slots["w"]["m"][::-1], weight)
    reference("w", reference.slots["w"]["m"][::-1].copy(), host)
    assert same(take(weight), host)
    assert same(take(update.slots["w"]["m"]), reference.slots["w"]["m"])


def test_an_overlap_is_found_in_memory_that_another_library_lends(cupy: Any) -> None:
    values = np.arange(9.0)
    expected = values[:8] - 0.5 * values[7::-1]
    weight = cupy.ndarray(values[:8], 0)
    up.get_updater(up.SGD(0.5))("w", cupy.ndarray(values[7::-1], 0), weight)
    assert same(take(weight), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "0-d"])
@pytest.mark.parametrize("rule", EVALUATED)
def test_the_weight_to_evaluate_with_is_numpys(kept: Any, rule: str, layout: str, dtype: str) -> None:
    check_evaluation(kept, rule, dtype, layout)


def test_step_is_update_for_each_weight(cupy: Any) -> None:
    rng = np.random.default_rng(2)
    hosts = {name: numbers(rng, (20,), dtype_of(name), 0.1) for name in DTYPES}
    apart, together = ({name: put(cupy, host) for name, host in hosts.items()} for _ in range(2))
    one, all_ = (up.get_updater(RULES["adam everything l2"], up.OptimizationState(3)) for _ in range(2))
    for _ in range(2):
        grads = {name: put(cupy, numbers(rng, (20,), dtype_of(name), 0.1)) for name in DTYPES}
        all_.step(grads, together)
        for name, weight in apart.items():
            one(name, grads[name], weight)
    assert not cupy.transfers
    assert all(same(take(apart[name]), take(together[name])) for name in DTYPES)
    assert one == all_


# Numbers that are on the device already.


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", SHARED)
def test_coefficients_may_be_on_the_device(cupy: Any, name: str, dtype: str, device: int) -> None:
    check_shared(cupy, name, dtype, device)


@pytest.mark.parametrize("device", [0, 1])
def test_numbers_are_added_up_in_order(cupy: Any, device: int) -> None:
    check_add_up(cupy, device)


# Devices.


@pytest.mark.parametrize("device", [0, 1])
def test_slots_and_kernels_are_on_the_device_of_the_weight(cupy: Any, device: int) -> None:
    weight, gradient = (ones(cupy, 5, device) for _ in range(2))
    update = up.get_updater(up.Adam(0.1, amsgrad=True))
    for _ in range(2):
        update("w", gradient, weight)
        update("w", weight, weight)  # the copy of a gradient that overlaps is there too
    assert {slot.device.id for slot in update.slots["w"].arrays.values()} == {device}
    assert {number for _, number, _ in cupy.launches} == {device}
    assert cupy.Device().id == 0


def test_weights_of_one_step_may_be_on_several_devices(cupy: Any) -> None:
    weights = [ones(cupy, 3, device) for device in (0, 1, 1)]
    up.get_updater(up.SGD(0.5)).step([ones(cupy, 3, device) for device in (0, 1, 1)], weights)
    assert all(same(take(weight), np.full(3, 0.5, np.float32)) for weight in weights)
    assert [number for _, number, shape in cupy.launches if shape == (3,)] == [0, 1, 1]


def test_a_device_other_than_the_weights_or_than_last_times_is_refused(cupy: Any) -> None:
    update, weight = up.get_updater(up.Adam(0.1)), ones(cupy)
    with pytest.raises(ValueError, match="gradient 'w': expected device cuda:0 as its weight is on, got cuda:1"):
        update("w", ones(cupy, device=1), weight)
    assert not update.slots
    update("w", ones(cupy), weight)
    with pytest.raises(ValueError, match="weight 'w': expected device cuda:0 as in its earlier updates, got cuda:1"):
        update("w", ones(cupy, device=1), ones(cupy, device=1))
    assert update.slots["w"].count == 1


# Kinds of arrays.


def test_the_backend_goes_by_the_weight(cupy: Any) -> None:
    update, weight = up.get_updater(up.SGD(0.5)), ones(cupy)
    update.step([ones(cupy), np.ones(2)], [weight, host := np.ones(2)])
    assert type(update.slots[0].backend).__module__ == "updaters.backends.cupy"
    assert type(update.slots[1].backend).__module__ != "updaters.backends.cupy"
    assert same(take(weight), np.full(4, 0.5, np.float32))
    assert same(host, np.full(2, 0.5))


@pytest.mark.parametrize("kinds", [("numpy", "cupy"), ("cupy", "numpy")])
def test_a_gradient_of_the_other_library_is_refused(cupy: Any, kinds: tuple[str, str]) -> None:
    gradient, weight = (ones(cupy) if kind == "cupy" else np.ones(4, np.float32) for kind in kinds)
    update = up.get_updater(up.SGD(0.5))
    with pytest.raises(TypeError, match=f"gradient 'w': expected a {kinds[1]} array as its weight is, got a {kinds[0]} array"):
        update("w", gradient, weight)
    assert float(weight[0]) == 1
    assert not update.slots


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_a_backend_refuses_arrays_of_the_other_library(cupy: Any, backend: str) -> None:
    other = {"numpy": ones(cupy), "cupy": np.ones(4, np.float32)}[backend]
    with pytest.raises(TypeError, match=f"weight 'w': backend='{backend}' takes {backend} arrays, got a"):
        up.get_updater(up.SGD(0.5), backend=backend)("w", other, other)


def test_an_index_stays_with_its_library(cupy: Any) -> None:
    update = up.get_updater(up.SGD(0.5))
    update("w", np.ones(4, np.float32), np.ones(4, np.float32))
    with pytest.raises(ValueError, match="weight 'w': expected device cpu as in its earlier updates, got cuda:0"):
        update("w", ones(cupy), ones(cupy))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda cupy: ones(cupy, dtype=np.int32), "expected float16, bfloat16"),
        (lambda cupy: cupy.broadcast_to(ones(cupy, 1), (4,)), "elements with memory of their own"),
        (lambda cupy: ones(cupy, 5), r"expected shape \(5,\) as its weight has, got \(4,\)"),
        (lambda cupy: ones(cupy, dtype=np.complex64), "expected a complex dtype"),
    ],
)
def test_what_numpy_arrays_are_refused_for_is_refused(cupy: Any, make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        up.get_updater(up.SGD(0.5))("w", ones(cupy), make(cupy))


def test_weights_of_a_step_that_share_memory_are_refused(cupy: Any) -> None:
    memory, update = ones(cupy, 6), up.get_updater(up.SGD(0.5))
    with pytest.raises(ValueError, match="weights 0 and 1 share memory, so the result would depend on their order"):
        update.step([ones(cupy), ones(cupy)], [memory[:4], memory[2:]])
    assert same(take(memory), np.ones(6, np.float32))
    assert (len(update.slots), update.state.iteration) == (0, 0)
    update.step([ones(cupy, 3), ones(cupy, 3)], [memory[:3], memory[3:]])
    assert same(take(memory), np.full(6, 0.5, np.float32))
    update.step([ones(cupy, 3)] * 2, [memory[::2], memory[1::2]])  # one between the other's elements
    assert same(take(memory), np.zeros(6, np.float32))


# Transactions, copies.


def test_whatever_can_fail_fails_before_anything_is_written(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = cupy.compiled

    def fails_for_float64(text: str) -> Any:
        if "(*(double *)" in text:
            raise RuntimeError("it does not compile")
        return compile_(text)

    monkeypatch.setattr(cupy, "compiled", fails_for_float64)
    weights, grads = ([ones(cupy), ones(cupy, dtype=np.float64)] for _ in range(2))
    update = up.get_updater(up.SGD(0.5))
    with pytest.raises(RuntimeError, match="it does not compile"):
        update.step(grads, weights)
    assert same(take(weights[0]), np.ones(4, np.float32))
    assert (len(update.slots), update.state.iteration) == (0, 0)


def test_a_rule_is_compiled_once_for_all_weights_of_a_dtype(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    compile_ = cupy.compiled
    monkeypatch.setattr(cupy, "compiled", lambda text: [texts.append(text), compile_(text)][1])
    made: list[Any] = []
    monkeypatch.setattr(cupy.ElementwiseKernel, "__init__", _counted(cupy.ElementwiseKernel.__init__, made))
    update = up.get_updater(up.Adam(0.1))
    for _ in range(3):
        update.step([ones(cupy, n) for n in (3, 4, 5)], [ones(cupy, n) for n in (3, 4, 5)])
    assert len(made) == len(set(texts)) == 1


def _counted(function: Any, calls: list[Any]) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return function(*args, **kwargs)

    return counted


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda update: pickle.loads(pickle.dumps(update))], ids=["deepcopy", "pickle"])
def test_a_copy_is_equal_independent_and_goes_on_alike(cupy: Any, how: Any, device: int) -> None:
    weight = ones(cupy, device=device)
    update = up.get_updater(up.Adam(0.1))
    update("w", ones(cupy, device=device), weight)
    other, other_weight = how(update), copy.deepcopy(weight)
    with cupy.Device(device):  # CuPy compares on the current one
        assert other == update
    for _ in range(2):
        update("w", ones(cupy, device=device), weight)
    assert other.slots["w"].count == 1
    for _ in range(2):
        other("w", ones(cupy, device=device), other_weight)
    assert same(take(weight), take(other_weight))
    assert {slot.device.id for slot in other.slots["w"].arrays.values()} == {device}


def test_an_updater_is_shown_without_a_transfer(cupy: Any) -> None:
    update = up.get_updater(up.Adam(0.1))
    update("w", ones(cupy), ones(cupy))
    assert "1 weight, 32 B of slots" in repr(update)
    assert not cupy.transfers


# The gradient alone.


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "reversed", "broadcast gradient"])
def test_normalized_gradient_is_numpys(cupy: Any, layout: str, dtype: str, device: int) -> None:
    with cupy.cuda.Device(device):
        found = check_normalized_gradient(cupy, dtype, layout)
    assert found.device.id == device


# The stand-in itself.


def test_the_stand_in_leaves_nothing_behind() -> None:
    before = {name: sys.modules.get(name) for name in ("cupy", "updaters.backends.cupy")}
    attribute = getattr(backends, "cupy", None)
    with fake_cupy.installed() as cupy:
        up.get_updater(up.SGD(0.5))("w", ones(cupy), ones(cupy))
        assert sys.modules["cupy"] is sys.modules["updaters.backends.cupy"].cupy is cupy
        assert backends.load.cache_info().currsize
    assert {name: sys.modules.get(name) for name in before} == before
    assert getattr(backends, "cupy", None) is attribute
    assert not backends.load.cache_info().currsize
    assert not fake_cupy.FLUSH


def test_the_stand_in_refuses_what_cupy_refuses(cupy: Any) -> None:
    kernel = cupy.ElementwiseKernel(
        "float32 a1, float64 c0", "float32 a0", "a0 = a1 * c0;", "k", preamble="", no_return=True, options=("--fmad=false",)
    )
    a, b = ones(cupy), ones(cupy)
    kernel(a, 3.0, b)
    assert same(take(b), np.full(4, 3, np.float32))
    with pytest.raises(TypeError, match="mismatched"):
        kernel(ones(cupy, dtype=np.float64), 3.0, b)
    with pytest.raises(TypeError, match="Wrong number"):
        kernel(a, b)
    with pytest.raises(ValueError, match="resides on device 1"):
        kernel(a, 3.0, ones(cupy, device=1))
    with pytest.raises(AssertionError):
        kernel(ones(cupy, 3), 3.0, b)
    with pytest.raises(AssertionError):
        kernel(np.ones(4, np.float32), 3.0, b)
    with pytest.raises(TypeError, match="not allowed"):
        np.asarray(a)
    with pytest.raises(TypeError):
        np.add(a, np.ones(4, np.float32))
    with pytest.raises(TypeError, match="unhashable"):
        hash(a.device)
