"""The backends give the same values: every rule, dtype, layout and special value."""

import os
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import updaters as up
from tests.rules import KERNELS, POWERS, RULES, warm
from updaters.backends.numpy import BLOCK, SMALL

pytest.importorskip("numba", reason="numba is not installed: nothing to compare NumPy with")

Array = np.ndarray[Any, Any]
DTYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
ALL = os.environ.get("UPDATERS_TEST_ALL")
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e30, 1e-40, 3e38, -3e-45]


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], special: float = 0.3) -> Array:
    """Values of all sizes, a share of them special."""

    def part() -> Array:
        values = rng.standard_normal(shape) * 10.0 ** rng.uniform(-9, 2, shape)
        with np.errstate(all="ignore"):
            return np.where(rng.random(shape) < special, rng.choice(SPECIAL, shape), values)

    with np.errstate(all="ignore"):
        return (part() + 1j * part()).astype(dtype) if dtype.kind == "c" else part().astype(dtype)


def same(a: Array, b: Array) -> bool:
    """Whether all values are equal, NaN to NaN."""
    if a.dtype.kind == "c":
        return same(a.real, b.real) and same(a.imag, b.imag)
    return a.dtype == b.dtype and np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)


def run(
    optimizer: up.Optimizer, backend: str, weight: Array, gradients: list[Array], lay: Callable[[Array], Array] | None = None
) -> list[Array]:
    """The weight and its slots after updates; `lay` gives the arrays that are passed another layout."""
    weight = weight.copy() if lay is None else lay(weight)
    state = up.OptimizationState(batch_size=3)
    update = up.get_updater(optimizer, state, backend=backend)
    for gradient in state.batches(gradients):
        update("w", gradient if lay is None else lay(gradient), weight)
    return [weight, *update.slots["w"].arrays.values()]


# All is compiled for each real dtype; what makes bfloat16 of float32 and back is the same in each rule.
@pytest.mark.parametrize(
    ("rule", "dtype"),
    [(rule, dtype) for n, rule in enumerate(KERNELS) for dtype in DTYPES if dtype != "bfloat16" or ALL or n % 4 == 0],
)
def test_numba_gives_the_values_of_numpy(rule: str, dtype: str) -> None:
    for size in (5, SMALL + 3, 3 * BLOCK + 7):
        rng = np.random.default_rng(size)
        weight = numbers(rng, (size,), dtype_of(dtype), special=0.1)
        gradients = [numbers(rng, (size,), dtype_of(dtype)) for _ in range(2)]
        results = [run(RULES[rule], backend, weight, gradients) for backend in ("numpy", "numba")]
        assert all(same(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("size", [5, SMALL + 3, 3 * BLOCK + 7])
@pytest.mark.parametrize("rule", sorted(POWERS))
def test_numba_gives_the_powers_of_numpy_to_rounding(rule: str, size: int) -> None:
    rng = np.random.default_rng(size)
    weight = rng.standard_normal(size)
    gradients = [numbers(rng, (size,), weight.dtype, special=0) for _ in range(3)]
    results = [run(RULES[rule], backend, weight, gradients) for backend in ("numpy", "numba")]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def strided(array: Array) -> Array:
    wide = np.zeros((*array.shape[:-1], 3 * array.shape[-1]), array.dtype)
    wide[..., ::3] = array
    return wide[..., ::3]


def unaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array: Array) -> Array:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran": lambda array: np.array(array, order="F"),
    "strided": strided,
    "reversed": lambda array: np.array(array[::-1])[::-1],
    "transposed": lambda array: np.array(array.transpose(2, 0, 1)).transpose(1, 2, 0),
    "unaligned": unaligned,
}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("what", ["weight", "gradient", "both"])
def test_a_layout_changes_no_value(layout: str, dtype: str, backend: str, what: str) -> None:
    rng = np.random.default_rng(1)
    shape = (30, 20, 40)  # more than one block
    weight = numbers(rng, shape, dtype_of(dtype))
    gradients = [numbers(rng, shape, dtype_of(dtype)) for _ in range(2)]
    optimizer = RULES["adam everything l2"]
    plain = run(optimizer, "numpy", weight, gradients)

    state = up.OptimizationState(batch_size=3)
    update = up.get_updater(optimizer, state, backend=backend)
    laid = weight.copy() if what == "gradient" else LAYOUTS[layout](weight)
    for gradient in state.batches(gradients):
        update("w", gradient if what == "weight" else LAYOUTS[layout](gradient), laid)
    assert all(same(a, b) for a, b in zip(plain, [laid, *update.slots["w"].arrays.values()], strict=True))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_layout_may_change_from_update_to_update(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(9)
    lays: list[Callable[[Array], Array]] = [*LAYOUTS.values(), np.array, read_only, lambda array: np.array(array, order="F")]
    weight = numbers(rng, (4, 5, 6), dtype_of(dtype))
    gradients = [numbers(rng, (4, 5, 6), dtype_of(dtype)) for _ in range(2 * len(lays))]
    expected = run(up.Adam(0.1), "numpy", weight, gradients)
    update = up.get_updater(up.Adam(0.1), backend=backend)
    for n, gradient in enumerate(gradients):
        weight = list(LAYOUTS.values())[n % len(LAYOUTS)](weight) if n % 3 else np.array(weight, order="C")
        update("w", lays[n % len(lays)](gradient), weight)
    assert all(same(a, b) for a, b in zip(expected, [weight, *update.slots["w"].arrays.values()], strict=True))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (1, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_without_extent(shape: tuple[int, ...], dtype: str, backend: str) -> None:
    weight, gradient = np.full(shape, 2).astype(dtype_of(dtype)), np.full(shape, 0.5).astype(dtype_of(dtype))
    update = up.get_updater(up.SGD(0.5, momentum=0.5), backend=backend)
    update.step([gradient], [weight])
    update(0, gradient, weight)
    assert weight.shape == update.slots[0]["velocity"].shape == shape
    assert np.all(weight == np.asarray(2 - 0.25 - 0.375).astype(dtype_of(dtype)))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("gradient_dtype", ["float16", "bfloat16", "float32", "float64", ">f4", ">f8"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", ">f4"])
def test_a_gradient_of_another_float_precision_is_cast(dtype: str, gradient_dtype: str, backend: str) -> None:
    rng = np.random.default_rng(2)
    weight = rng.standard_normal(40_000).astype(dtype_of(dtype))
    gradient = rng.standard_normal(40_000).astype(dtype_of(gradient_dtype))
    compute = np.float64 if dtype == "float64" else np.float32
    results = [run(up.Adam(0.1), name, weight, [g]) for name, g in ((backend, gradient), ("numpy", gradient.astype(compute)))]
    assert all(same(a, b) for a, b in zip(*results, strict=True))
    assert results[0][0].dtype == dtype_of(dtype)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [1000, 40_000])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_gradient_that_overlaps_its_weight_is_read_before_it_is_written(shift: int, size: int, backend: str) -> None:
    rng = np.random.default_rng(3)
    memory = rng.standard_normal(size + 2)
    apart, gradient = memory[1 : size + 1].copy(), memory[1 + shift : size + 1 + shift].copy()
    expected = run(up.Adam(0.1), "numpy", apart, [gradient])[0]
    weight, overlapping = memory[1 : size + 1], memory[1 + shift : size + 1 + shift]
    up.get_updater(up.Adam(0.1), backend=backend)("w", overlapping, weight)
    assert np.array_equal(weight, expected)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [1000, 40_000])
def test_a_slot_may_be_given_as_the_gradient(size: int, backend: str) -> None:
    weight = np.random.default_rng(4).standard_normal(size)
    update = up.get_updater(up.Adam(0.1), backend=backend)
    update("w", weight.copy(), weight)
    expected_weight = weight.copy()
    expected = up.get_updater(up.Adam(0.1), backend="numpy")
    expected("w", np.zeros(size), np.zeros(size))
    for name in "mv":
        expected.slots["w"][name][...] = update.slots["w"][name]
    expected("w", update.slots["w"]["m"].copy(), expected_weight)
    update("w", update.slots["w"]["m"], weight)
    assert np.array_equal(weight, expected_weight)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [100, 40_000])
def test_a_gradient_is_never_written_and_may_be_read_only_or_broadcast(size: int, backend: str) -> None:
    gradient = np.random.default_rng(5).standard_normal(size)
    for given in (read_only(gradient), np.broadcast_to(gradient[:1], size)):
        before = given.copy()
        run(RULES["sgd everything l2"], backend, np.ones(size), [given, given])
        assert np.array_equal(given, before)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scalar", [np.float16, np.float32, np.float64, np.longdouble, int])
def test_no_scheduler_changes_a_dtype(scalar: type, dtype: str, backend: str) -> None:
    weight = np.ones(10).astype(dtype_of(dtype))
    optimizer = up.Adam(lambda state: scalar(1), beta1=lambda state: scalar(0), grad_clip=lambda state: scalar(1))
    update = up.get_updater(optimizer, backend=backend)
    update("w", np.ones(10).astype(dtype_of(dtype)), weight)
    slots = update.slots["w"].arrays.values()
    assert weight.dtype == dtype_of(dtype)
    assert {slot.dtype for slot in slots} == {np.dtype("float32") if weight.dtype.itemsize == 2 else weight.dtype}


def test_a_complex_weight_is_updated_as_pairs_of_reals() -> None:
    rng = np.random.default_rng(6)
    weight, gradient = (numbers(rng, (5, 7), np.dtype(np.complex128), special=0) for _ in range(2))
    pairs = run(RULES["adam"], "numpy", weight.view(np.float64), [gradient.view(np.float64)])[0]
    assert np.array_equal(run(RULES["adam"], "numpy", weight, [gradient])[0].view(np.float64), pairs)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_memory_mapped_weights_are_updated_in_their_file(backend: str, tmp_path: Any) -> None:
    weight = np.memmap(tmp_path / "weight", np.float32, "w+", shape=(100,))
    up.get_updater(up.SGD(0.5), backend=backend)("w", np.ones(100, np.float32), weight)
    weight.flush()
    assert np.array_equal(np.fromfile(tmp_path / "weight", np.float32), np.full(100, -0.5, np.float32))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_nothing_warns(backend: str) -> None:
    # Warnings are errors here; overflow, division by zero and invalid values are all among the special ones.
    rng = np.random.default_rng(8)
    for size in (100, 40_000):
        run(up.Adam(1e38, epsilon=0), backend, numbers(rng, (size,), np.dtype(np.float32)), [np.zeros(size, np.float32)] * 2)
        run(RULES["scheduled adam"], backend, numbers(rng, (size,), np.dtype("f2")), [numbers(rng, (size,), np.dtype("f8"))])


def test_schedules_are_read_by_the_clock_of_every_update() -> None:
    weight = np.zeros(1)
    state = up.OptimizationState()
    update = up.get_updater(up.SGD(warm(0.0, 8.0)), state)
    for t in state.batches(range(1, 5)):
        before = weight[0]
        update("w", np.ones(1), weight)
        assert before - weight[0] == t
