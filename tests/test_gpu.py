"""CuPy on a GPU: the values of NumPy, the caller's stream, no word to the host, memory. Run with `-m gpu`."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests.checkpoints import DEVICE_RULES, check_devices
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
from tests.test_cupy_policy import DECIDING, POLICIES
from tests.test_cupy_policy import HALVES as POLICIES_OF_HALVES
from tests.test_cupy_policy import check as check_policy
from tests.test_rounding import HALVES, KEY, of_chance, of_nearest, run, run_there, with_sums
from tests.test_rounding import numbers as halves_in_between
from tests.weight_rules import (
    ARRAY_RULES,
    NORM_RULES,
    check_layout_on_device,
    check_norms_on_device,
    check_whole_array_on_device,
)
from updaters import backends
from updaters.backends.trace import Recording, record
from updaters.formula import Formula

pytestmark = pytest.mark.gpu

Array = Any
FLOATS = ["float16", "bfloat16", "float32", "float64"]


@pytest.fixture(scope="module")
def cupy() -> Any:
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        module.cuda.runtime.getDeviceCount()
        module.zeros(1)
    except Exception as error:
        pytest.skip(f"CuPy finds no GPU that it can use: {error}")
    return module


@pytest.fixture(autouse=True)
def _alone(cupy: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing is left running for the next test; a CuPy without bfloat16 is asked for none."""
    if "bfloat16" in getattr(request.node, "callspec", SimpleNamespace(params={})).params.values():
        try:
            cupy.zeros(1, dtype_of("bfloat16"))
        except Exception as error:
            pytest.skip(f"CuPy {cupy.__version__} has no bfloat16: {error}")
    yield
    cupy.cuda.Device().synchronize()


def arrays(cupy: Any, shape: Any, seed: int, count: int, dtype: str = "float32") -> tuple[list[Any], list[Array]]:
    """So many arrays of ordinary numbers on the host, and the same on the device."""
    rng = np.random.default_rng(seed)
    hosts = [numbers(rng, shape, dtype_of(dtype), 0) for _ in range(count)]
    return hosts, [put(cupy, host) for host in hosts]


# Values.


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", KERNELS)
def test_values_are_numpys(cupy: Any, rule: str, dtype: str, layout: str) -> None:
    check_values(cupy, rule, dtype, layout)


@pytest.mark.parametrize("rule", NORM_RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rules_with_norms_have_numpys_values(cupy: Any, rule: str, dtype: str) -> None:
    check_norms_on_device(cupy, rule, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rules_with_norms_take_any_layout(cupy: Any, layout: str) -> None:
    check_layout_on_device(cupy, layout)


@pytest.mark.parametrize("rule", ARRAY_RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_rules_of_whole_arrays_have_numpys_values(cupy: Any, rule: str, dtype: str) -> None:
    check_whole_array_on_device(cupy, rule, dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("make", [of_nearest, of_chance, with_sums])
def test_rounding_has_numpys_bits(cupy: Any, make: Callable[[str], Recording], dtype: str) -> None:
    recording = make(dtype)
    key = KEY if recording.scalars else ()
    values = halves_in_between(dtype, 200_000)
    values = values[np.abs(values) >= np.finfo(np.float32).tiny]  # others are flushed there
    for weight in (None, np.zeros(values.shape, dtype_of(dtype))):
        there = backends.load("cupy"), partial(put, cupy), take
        found = run_there(*there, recording, values, key, weight)
        assert all(
            a.tobytes() == b.tobytes() for a, b in zip(found, run("numpy", recording, values, *key, weight=weight), strict=True)
        )


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", SHARED)
def test_coefficients_may_be_on_the_device(cupy: Any, name: str, dtype: str) -> None:
    check_shared(cupy, name, dtype, 0)


def test_numbers_are_added_up_in_order(cupy: Any) -> None:
    check_add_up(cupy, 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_peak_and_a_sum_of_magnitudes_are_numpys(cupy: Any, dtype: str) -> None:
    def formula(w: Any, g: Any, s: Any, n: Any, total: Any) -> Any:
        return w, 0.0, np.linalg.norm(g, np.inf), np.linalg.norm(g, 1)

    recording = record(Formula("Peak", formula, ("s",), ("n", "total"), ()))
    rng = np.random.default_rng(0)
    for special in (3.0, np.inf, np.nan):
        grad = numbers(rng, (200_001,), dtype_of(dtype), 0)
        grad[70_000] = special
        found, expected = [], []
        for runner, results, on in (("cupy", found, partial(put, cupy)), ("numpy", expected, np.copy)):
            weight, given, slot = on(grad), on(grad), on(np.ones(grad.shape, "f8" if dtype == "float64" else "f4"))
            table = on(np.ones(3))
            kept = [table[1, ...], table[2, ...]]
            backend = backends.load(runner)
            backend.run([backend.bind(recording, weight, given, [slot], kept).job(weight, given, [])])
            results += [take(array) if runner == "cupy" else array for array in (weight, slot, table)]
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found[:2], expected[:2], strict=True))
        assert np.array_equal(found[2], expected[2], equal_nan=True)


@pytest.mark.parametrize("gradient_dtype", FLOATS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_gradient_of_another_float_precision_is_cast(cupy: Any, dtype: str, gradient_dtype: str) -> None:
    rng = np.random.default_rng(0)
    weight, gradient = (numbers(rng, (500,), dtype_of(name), 0.3) for name in (dtype, gradient_dtype))
    found = put(cupy, weight)
    up.get_updater(up.Adam(0.1))("w", put(cupy, gradient), found)
    up.get_updater(up.Adam(0.1), backend="numpy")("w", gradient, weight)
    assert same(take(found), weight)


@pytest.mark.parametrize("rule", sorted(POWERS))
def test_powers_are_numpys_to_rounding(cupy: Any, rule: str) -> None:
    check_powers(cupy, rule)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "0-d"])
@pytest.mark.parametrize("rule", EVALUATED)
def test_the_weight_to_evaluate_with_is_numpys(cupy: Any, rule: str, layout: str, dtype: str) -> None:
    check_evaluation(cupy, rule, dtype, layout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_halfway_numbers_are_rounded_as_numpy_rounds(cupy: Any, dtype: str) -> None:
    check_rounding(cupy, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_slot_may_be_given_as_the_gradient(cupy: Any, dtype: str) -> None:
    (host,), (weight,) = arrays(cupy, (500,), 1, 1, dtype)
    update, reference = up.get_updater(up.Adam(0.1)), up.get_updater(up.Adam(0.1), backend="numpy")
    update("w", weight, weight)
    reference("w", host.copy(), host)
    update("w", update.slots["w"]["m"][::-1], weight)
    reference("w", reference.slots["w"]["m"][::-1].copy(), host)
    assert same(take(weight), host)
    assert same(take(update.slots["w"]["m"]), reference.slots["w"]["m"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "reversed", "broadcast gradient"])
def test_normalized_gradient_is_numpys(cupy: Any, layout: str, dtype: str) -> None:
    check_normalized_gradient(cupy, dtype, layout)


@pytest.mark.parametrize(("dtype", "value"), [("float32", 1e-40), ("float64", 1e-310), ("float16", 6e-8), ("bfloat16", 1e-40)])
def test_subnormals_are_kept_but_where_the_arithmetic_is_float32s(cupy: Any, dtype: str, value: float) -> None:
    # CuPy compiles with -ftz=true, which is about float32 alone. A float16 subnormal is a normal float32.
    weight = put(cupy, np.full(3, value).astype(dtype_of(dtype)))
    before = take(weight)
    up.get_updater(up.SGD(0.5))("w", put(cupy, np.zeros(3).astype(dtype_of(dtype))), weight)
    assert np.all(before != 0)
    assert same(take(weight), before * 0 if value == 1e-40 else before)


def test_an_array_of_more_than_2_gib(cupy: Any) -> None:
    size = 2**29 + 3  # indices of 64 bits, in a kernel of its own
    if cupy.cuda.runtime.memGetInfo()[0] < 16 * size:
        pytest.skip("three arrays of 2 GiB do not fit into the GPU's free memory")
    weight, gradient = cupy.ones(size, np.float32), cupy.ones(size, np.float32)
    gradient[-1] = 2
    update = up.get_updater(up.SGD(0.5, momentum=0.5))
    update("w", gradient, weight)
    assert (float(weight[:-1].min()), float(weight[:-1].max()), float(weight[-1])) == (0.5, 0.5, 0.0)
    assert float(update.slots["w"]["velocity"][-1]) == -1.0
    del weight, gradient, update
    cupy.get_default_memory_pool().free_all_blocks()


# Streams. While a stream is captured, its work is noted and not done, and whatever waits for the GPU or
# allocates with CUDA is an error; in the global mode other streams' are too.


@contextmanager
def captured(cupy: Any, stream: Any) -> Iterator[list[Any]]:
    graphs: list[Any] = []
    with stream:
        gc.disable()  # what it destroys in between may be an error too
        stream.begin_capture(cupy.cuda.runtime.streamCaptureModeGlobal)
        try:
            yield graphs
        finally:
            graphs.append(stream.end_capture())
            gc.enable()


@pytest.mark.parametrize("layout", ["C", "F", "strided", "0-d", "other precision"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "complex128"])
@pytest.mark.parametrize("rule", ["sgd", "adam everything l2", "adamw amsgrad"])
def test_an_update_only_launches_on_the_callers_stream(cupy: Any, rule: str, dtype: str, layout: str) -> None:
    shape, lay_weight, lay_gradient = LAYOUTS[layout]
    rng = np.random.default_rng(4)
    weight = lay_weight(cupy, numbers(rng, shape, dtype_of(dtype), 0))
    gradient = lay_gradient(cupy, numbers(rng, shape, dtype_of(dtype), 0), weight)
    expected, given = take(weight), take(gradient)
    update, reference = up.get_updater(RULES[rule]), up.get_updater(RULES[rule], backend="numpy")
    update("w", gradient, weight)
    reference("w", given, expected)
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with captured(cupy, stream) as graphs:
        update.step({"w": gradient}, {"w": weight})
    assert same(take(weight), expected)
    assert update.slots["w"].count == 2
    graphs[0].launch(stream)
    stream.synchronize()
    reference("w", given, expected)
    assert same(take(weight), expected)
    for name, slot in reference.slots["w"].arrays.items():
        assert same(take(update.slots["w"][name]), slot)


def test_a_copied_gradient_is_copied_on_the_callers_stream(cupy: Any) -> None:
    (host,), (weight,) = arrays(cupy, (512,), 5, 1)
    update, reference = up.get_updater(up.SGD(0.5)), up.get_updater(up.SGD(0.5), backend="numpy")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:  # the pool keeps memory by stream, so that the copy below allocates nothing
        stream.wait_event(cupy.cuda.Stream.null.record())
        update("w", weight[::-1], weight)
    stream.synchronize()
    reference("w", host[::-1].copy(), host)
    with captured(cupy, stream) as graphs:
        update("w", weight[::-1], weight)
    assert same(take(weight), host)
    graphs[0].launch(stream)
    stream.synchronize()
    reference("w", host[::-1].copy(), host)
    assert same(take(weight), host)


class Gate:
    """A kernel that holds a stream up until the host opens it, or after some ten seconds, so that no test hangs."""

    SOURCE = """
    extern "C" __global__ void gate(const volatile int *is_open, long long cycles) {
        const long long start = clock64();
        while (!*is_open && clock64() - start < cycles);
    }
    """

    def __init__(self, cupy: Any) -> None:
        self.kernel = cupy.RawKernel(self.SOURCE, "gate")
        self.memory = cupy.cuda.alloc_pinned_memory(4)
        self.flag = np.frombuffer(self.memory, np.int32, 1)
        self.flag[0] = 1
        self.hold()  # compiled and loaded
        cupy.cuda.Device().synchronize()
        self.flag[0] = 0

    def hold(self) -> None:
        self.kernel((1,), (1,), (np.uintp(self.memory.ptr), np.int64(20_000_000_000)))

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *error: object) -> None:
        self.flag[0] = 1


def test_two_updates_are_in_flight_on_two_streams(cupy: Any) -> None:
    hosts, weights = arrays(cupy, (1000,), 6, 2)
    host_grads, grads = arrays(cupy, (1000,), 7, 2)
    update, reference = up.get_updater(up.Adam(0.1)), up.get_updater(up.Adam(0.1), backend="numpy")
    update.step(grads, weights)
    reference.step(host_grads, hosts)
    for gradient in grads:
        gradient *= 1  # its kernel, too, is loaded before the gate is shut
    cupy.cuda.Device().synchronize()
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(3)]
    with Gate(cupy) as gate:
        for place, stream in enumerate(streams[:2]):
            with stream:
                gate.hold()
                grads[place] *= 2
                update(place, grads[place], weights[place])
        assert [stream.done for stream in streams] == [False, False, True]  # nothing has waited for them
        with streams[2]:
            assert all(same(take(weight), host) for weight, host in zip(weights, hosts, strict=True))
    for place, stream in enumerate(streams[:2]):
        stream.synchronize()
        reference(place, 2 * host_grads[place], hosts[place])
    assert all(same(take(weight), host) for weight, host in zip(weights, hosts, strict=True))


def test_threads_update_weights_of_their_own_on_streams_of_their_own(cupy: Any) -> None:
    hosts, weights = arrays(cupy, (3000,), 8, 4)
    host_grads, grads = arrays(cupy, (3000,), 9, 4)
    update, reference = up.get_updater(up.Adam(0.1)), up.get_updater(up.Adam(0.1), backend="numpy")
    cupy.cuda.Device().synchronize()
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            stream = cupy.cuda.Stream(non_blocking=True)
            with stream:
                for _ in range(50):
                    update(place, grads[place], weights[place])
            stream.synchronize()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for place in range(4):
        for _ in range(50):
            reference(place, host_grads[place], hosts[place])
    assert all(same(take(weight), host) for weight, host in zip(weights, hosts, strict=True))


@pytest.mark.parametrize("rule", ["sgd", "adamw amsgrad"])
def test_not_even_a_first_update_waits_for_the_gpu(cupy: Any, rule: str) -> None:
    cupyx = pytest.importorskip("cupyx")
    if not hasattr(cupyx, "allow_synchronize"):
        pytest.skip("this CuPy can no longer forbid synchronization")
    _, weights = arrays(cupy, (100,), 10, 2)
    _, grads = arrays(cupy, (100,), 11, 2)
    update = up.get_updater(RULES[rule])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cupyx.allow_synchronize", UserWarning)  # it is deprecated, without a successor
        with cupyx.allow_synchronize(False):
            with pytest.raises(cupyx.DeviceSynchronized):
                weights[0].get()
            for _ in range(2):
                update.step(grads, weights)
            assert "of slots" in repr(update)


@pytest.mark.parametrize("name", POLICIES)
def test_a_step_without_a_decision_does_not_wait(cupy: Any, name: str) -> None:
    cupyx = pytest.importorskip("cupyx")
    if not hasattr(cupyx, "allow_synchronize"):
        pytest.skip("this CuPy can no longer forbid synchronization")
    _, (matrix, vector) = arrays(cupy, (8, 5), 10, 2)
    _, grads = arrays(cupy, (8, 5), 11, 2)
    update = up.get_updater(up.AdamW(0.1), **POLICIES[name])
    weights = {"matrix": matrix, "vector": vector}
    for attempt in range(3):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "cupyx.allow_synchronize", UserWarning)
            with cupyx.allow_synchronize(attempt == 0):  # what picks some rows of a table is sent to the device once
                update.step(dict(zip(weights, grads, strict=True)), weights)


# Memory.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "amsgrad"])
def test_slots_take_exactly_their_bytes_and_later_updates_take_none(cupy: Any, rule: str, dtype: str) -> None:
    _, (weight, gradient) = arrays(cupy, (4, 1024), 12, 2, dtype)  # the pool works in units of 512 bytes
    pool, sizes = cupy.cuda.MemoryPool(), []

    def counting(size: int) -> Any:
        sizes.append(size)
        return pool.malloc(size)

    update = up.get_updater(RULES[rule])
    with cupy.cuda.using_allocator(counting):
        update("w", gradient, weight)
        slots = update.slots["w"].arrays.values()
        itemsize = max(weight.itemsize, 4)
        assert pool.used_bytes() == sum(slot.nbytes for slot in slots) == len(slots) * weight.size * itemsize
        assert all(slot.device == weight.device for slot in slots)
        sizes.clear()
        update("w", gradient, weight)
        update.step({"w": gradient}, {"w": weight})
    assert not sizes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*POLICIES, *DECIDING])
def test_a_policy_is_numpys(cupy: Any, name: str, dtype: str) -> None:
    check_policy(cupy, up.AdamW(0.1), dtype, {**POLICIES, **DECIDING}[name])


@pytest.mark.parametrize("name", POLICIES_OF_HALVES)
def test_a_policy_for_half_precision_is_numpys(cupy: Any, name: str) -> None:
    check_policy(cupy, up.AdamW(0.1), np.float16, POLICIES_OF_HALVES[name])


def test_everything_is_on_the_device_of_the_weight(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU; the stand-in for CuPy has two")
    with cupy.cuda.Device(1):
        hosts, (weight, gradient) = arrays(cupy, (100,), 13, 2)
    update, reference = up.get_updater(up.Adam(0.1)), up.get_updater(up.Adam(0.1), backend="numpy")
    for _ in range(2):
        update("w", gradient, weight)
        reference("w", hosts[1], hosts[0])
    assert {slot.device.id for slot in update.slots["w"].arrays.values()} == {1}
    assert same(take(weight), hosts[0])


# Copies, files and errors.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", DEVICE_RULES)
@pytest.mark.parametrize(("saves", "loads"), [("gpu", "gpu"), ("gpu", "cpu"), ("cpu", "gpu")])
def test_a_run_goes_on_from_one_device_to_another(
    cupy: Any, rule: str, saves: str, loads: str, dtype: str, tmp_path: Path
) -> None:
    for has_run in (False, True):
        check_devices(cupy, rule, [dtype], saves, loads, has_run, tmp_path, other=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "complex128"])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda update: pickle.loads(pickle.dumps(update))], ids=["deepcopy", "pickle"])
def test_a_copy_is_equal_independent_and_goes_on_alike(cupy: Any, how: Callable[[Any], Any], dtype: str) -> None:
    _, (weight, gradient) = arrays(cupy, (100,), 14, 2, dtype)
    update = up.get_updater(up.Adam(0.1, amsgrad=True))
    update("w", gradient, weight)
    other, other_weight = how(update), weight.copy()
    assert other == update
    for _ in range(2):
        update("w", gradient, weight)
    assert other != update
    assert other.slots["w"].count == 1
    for _ in range(2):
        other("w", gradient, other_weight)
    assert same(take(weight), take(other_weight))
    assert other == update


def test_arrays_of_numpy_and_cupy_do_not_mix(cupy: Any) -> None:
    update, host, weight = up.get_updater(up.SGD(0.5)), np.ones(4, np.float32), cupy.ones(4, np.float32)
    with pytest.raises(TypeError, match="gradient 'w': expected a cupy array as its weight is, got a numpy array"):
        update("w", host, weight)
    with pytest.raises(TypeError, match="gradient 'w': expected a numpy array as its weight is, got a cupy array"):
        update("w", weight, host)
    assert not update.slots
    update("w", host.copy(), host)
    with pytest.raises(ValueError, match="weight 'w': expected device cpu as in its earlier updates, got cuda:0"):
        update("w", weight, weight)
    assert same(take(weight), np.ones(4, np.float32))


def test_weights_of_a_step_that_share_memory_are_refused(cupy: Any) -> None:
    memory, update = cupy.ones(6, np.float32), up.get_updater(up.SGD(0.5))
    with pytest.raises(ValueError, match="weights 0 and 1 share memory"):
        update.step([cupy.ones(4, np.float32)] * 2, [memory[:4], memory[2:]])
    with pytest.raises(ValueError, match="elements with memory of their own"):
        update("w", cupy.ones(4, np.float32), cupy.broadcast_to(memory[:1], 4))
    assert same(take(memory), np.ones(6, np.float32))
    update.step([cupy.ones(3, np.float32)] * 2, [memory[:3], memory[3:]])
    assert same(take(memory), np.full(6, 0.5, np.float32))
    update.step([cupy.ones(3, np.float32)] * 2, [memory[::2], memory[1::2]])  # one between the other's elements
    assert same(take(memory), np.zeros(6, np.float32))


def test_the_example_runs(cupy: Any, tmp_path: Path) -> None:
    for module in ("matplotlib", "sklearn", "tqdm"):
        pytest.importorskip(module, reason=f"the example needs {module}")
    root = Path(__file__).parents[1]
    command = [sys.executable, root / "examples" / "digits.py", "--device", "gpu", "--epochs", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert "held-out accuracy" in run.stdout
    assert (tmp_path / "digits.png").stat().st_size > 0
