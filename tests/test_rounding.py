"""Rounding to halves within a formula, to the nearest and by chance: the same bits on all backends, and no bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests import fake_cupy
from tests.fake_cupy import dtype_of
from updaters.backends import load, threads
from updaters.backends.numpy import BLOCK
from updaters.backends.trace import Recording, dithered, record, rounded
from updaters.formula import Formula

Array = np.ndarray[Any, Any]

HALVES = ["float16", "bfloat16"]
BACKENDS = ["numpy", "numba", "cupy"]
LARGEST = {name: float(ml_dtypes.finfo(dtype_of(name)).max) for name in HALVES}
KEY = (0x9ABCDEF0, 0xFEDCBA98)  # low and high, whose bits no float32 has


def of_nearest(dtype: str) -> Recording:
    """The gradient rounded, into a slot."""
    return record(Formula("Nearest", lambda w, g, s: (w, rounded(g, dtype)), ("s",), (), ()))


def of_chance(dtype: str) -> Recording:
    """The gradient rounded by chance, as the weight."""
    return record(Formula("Chance", lambda w, g, low, high: dithered(g, low, high, dtype), (), (), ("low", "high")))


def with_sums(dtype: str) -> Recording:
    """The gradient rounded by chance in two passes, of which the first writes it into the slot."""

    def formula(w: Any, g: Any, s: Any, n: Any, low: Any, high: Any) -> Any:
        new = dithered(g, low, high, dtype)
        return new * np.where(np.linalg.norm(new) > 0, 1.0, 0.0), new, np.sum(new)

    return record(Formula("Sums", formula, ("s",), ("n",), ("low", "high")))


@contextmanager
def library(backend: str) -> Iterator[tuple[Any, Callable[[Array], Any], Callable[[Any], Array]]]:
    """A backend, what puts an array where it works, and what takes it from there."""
    if backend == "cupy":
        with fake_cupy.installed() as cupy:
            yield load("cupy"), lambda host: fake_cupy.put(cupy, host), fake_cupy.take
    else:
        yield load(backend), lambda host: host, lambda array: array


def run(backend: str, recording: Recording, grad: Array, *coefficients: float, weight: Array | None = None) -> list[Array]:
    """The weight, the slots and the numbers that a recording makes of a gradient."""
    with library(backend) as there:
        return run_there(*there, recording, grad, coefficients, weight)


def run_there(
    runner: Any,
    put: Any,
    take: Any,
    recording: Recording,
    grad: Array,
    coefficients: Sequence[float],
    weight: Array | None = None,
) -> list[Array]:
    """The same on a backend that is loaded."""
    kept = np.zeros_like(grad) if weight is None else weight
    arrays = [put(kept), put(grad.copy("K")), *(put(np.zeros_like(kept, np.float32)) for _ in recording.arrays[2:])]
    numbers = [put(np.zeros(())) for _ in recording.numbers]
    runner.run([runner.bind(recording, *arrays[:2], arrays[2:], numbers).job(*arrays[:2], [*map(float, coefficients)])])
    return [take(array) for array in (arrays[0], *arrays[2:], *numbers)]


def bits_of(values: Array) -> Array:
    """The bits of float32 numbers, the same for every NaN."""
    return np.where(np.isnan(values), np.float32(np.nan), values).view(np.uint32)


def neighbours(values: Array, dtype: str) -> tuple[Array, Array]:
    """The halves next to values towards 0 and away from it, both the value where it is one; by their bits."""
    half = dtype_of(dtype)
    towards = values.astype(half)
    bits = towards.view(np.uint16).copy()
    bits[np.abs(towards.astype(np.float64)) > np.abs(values.astype(np.float64))] -= 1
    lower = bits.view(half).astype(np.float32)
    bits[lower != values] += 1
    return lower, bits.view(half).astype(np.float32)


def numbers(dtype: str, size: int = 40_000) -> Array:
    """Numbers of all sizes that the dtype has, subnormal ones among them, and of both signs."""
    rng = np.random.default_rng(0)
    least = -30 if dtype == "float16" else -135
    values = np.exp2(rng.uniform(least, np.log2(LARGEST[dtype]), size)) * rng.choice([-1.0, 1.0], size)
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        2.0**-14,
        -(2.0**-14),
        2.0**-14 * (1 - 2.0**-24),
        LARGEST[dtype],
        -LARGEST[dtype],
    ]
    return np.concatenate([values, special]).astype(np.float32)


def every_half(dtype: str) -> Array:
    """All finite numbers of the dtype."""
    values = np.arange(2**16, dtype=np.uint16).view(dtype_of(dtype)).astype(np.float32)
    return values[np.isfinite(values)]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rounded_is_what_a_cast_gives(backend: str, dtype: str) -> None:
    halves = every_half(dtype)
    between = [((halves[:-1].astype(np.float64) + halves[1:]) / 2).astype(np.float32)]  # ties, where the two lie side by side
    between += [np.nextafter(between[0], np.float32(toward)) for toward in (-np.inf, np.inf)]
    values = np.concatenate([halves, *between, numbers(dtype), np.float32([1e30, -1e30, 3.4e38, 65519, 65520])])
    with np.errstate(all="ignore"):
        expected = values.astype(dtype_of(dtype)).astype(np.float32)
    weight, slot = run(backend, of_nearest(dtype), values)
    assert np.array_equal(bits_of(slot), bits_of(expected))
    assert not weight.any()


def textbook(values: Array, low: int, high: int, dtype: str, positions: Any) -> Array:
    """Rounding by chance in integers, one number at a time."""
    found = []
    for value, position in zip(values, positions, strict=True):
        z = ((high << 32 | low) + (int(position) + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
        if not np.isfinite(value):
            found.append(value)
            continue
        if dtype == "float16" and abs(value) < 2.0**-14:
            lifted = int((abs(value) + np.float32(2.0**-14)).view(np.uint32)) + (z >> 51)
            size = np.uint32(lifted >> 13 << 13).view(np.float32) - np.float32(2.0**-14)
        elif dtype == "float16":
            size = np.uint32(int(abs(value).view(np.uint32)) + (z >> 51) >> 13 << 13).view(np.float32)
        else:
            size = np.uint32(int(abs(value).view(np.uint32)) + (z >> 48) >> 16 << 16).view(np.float32)
        found.append(np.copysign(size, value))
    return np.array(found, np.float32)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_dithered_adds_the_bits_of_splitmix64(backend: str, dtype: str) -> None:
    values = numbers(dtype, 3000)
    for low, high in ((0, 0), KEY, (2**32 - 1, 2**32 - 1), (1, 0), (0, 1)):
        (found,) = run(backend, of_chance(dtype), values, low, high)
        assert np.array_equal(bits_of(found), bits_of(textbook(values, low, high, dtype, range(len(values)))))


def test_splitmix64_is_the_published_one() -> None:
    # The first numbers of Vigna's splitmix64.c from the seed 1234567, as the tests of other libraries have them.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    pytest.importorskip("numba")
    from updaters.backends.halves import random_bits

    numba = pytest.importorskip("numba")
    bits = numba.njit(lambda position: random_bits(1234567.0, 0.0, position))
    assert [int(bits(position)) for position in range(5)] == published


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("size", [5, 3 * BLOCK + 77])
def test_all_backends_give_the_same_bits(size: int, stored: bool, dtype: str) -> None:
    rng = np.random.default_rng(size)
    values = rng.choice(numbers(dtype), size)
    values[~np.isfinite(values)] = 1.5  # so that sums say something
    weight = np.zeros(size, dtype_of(dtype) if stored else np.float32)
    for recording in (of_chance(dtype), with_sums(dtype)):
        first, *others = ([*run(backend, recording, values, *KEY, weight=weight.copy())] for backend in BACKENDS)
        assert np.any(first[0])
        for other in others:
            assert all(a.tobytes() == b.tobytes() for a, b in zip(first, other, strict=True))
        if stored:  # what comes out is a number of the dtype, so that nothing is rounded when it is stored
            assert recording.arrays == ("w", "g") or np.array_equal(first[0].astype(np.float32), first[1])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("make", [of_chance, with_sums])
def test_threads_change_nothing(
    make: Callable[[str], Recording], backend: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).standard_normal(6 * BLOCK + 77).astype(np.float32)
    alone, together = [], []
    for found, size in ((alone, 1), (together, count)):
        monkeypatch.setattr(threads, "_crew", threads.Crew(size))
        found += run(backend, make("bfloat16"), values, *KEY)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, together, strict=True))


def test_jobs_of_one_step_have_places_of_their_own() -> None:
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    recording, runner = of_chance("float16"), load("numba")
    weights = [np.zeros_like(values) for _ in range(3)]
    jobs = [runner.bind(recording, weight, values, (), ()).job(weight, values, [*map(float, KEY)]) for weight in weights]
    runner.run(jobs)
    (alone,) = run("numba", recording, values, *KEY)
    assert all(np.array_equal(weight, alone) for weight in weights)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_place_is_the_place_in_memory_or_in_c_order(backend: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 7, 50)).astype(np.float32)
    places = np.arange(values.size)
    in_c_order = textbook(values.ravel(), *KEY, dtype, places).reshape(values.shape)
    in_memory = textbook(values.ravel("F"), *KEY, dtype, places).reshape(values.shape, order="F")
    assert not np.array_equal(in_c_order, in_memory)
    recording = of_chance(dtype)
    half, zeros = dtype_of(dtype), np.zeros(values.shape, np.float32)
    wide = np.zeros((300, 7, 150), half)
    layouts: dict[str, tuple[Array, Array, Array]] = {
        "C": (zeros.copy(), values, in_c_order),
        "C, half": (zeros.astype(half), values, in_c_order),
        "Fortran": (np.asfortranarray(zeros), np.asfortranarray(values), in_memory),
        "Fortran, half": (np.asfortranarray(zeros.astype(half)), np.asfortranarray(values), in_memory),
        "mixed": (np.asfortranarray(zeros), values, in_c_order),
        "mixed, half": (zeros.astype(half), np.asfortranarray(values), in_c_order),
    }
    if backend != "cupy":  # what the stand-in would copy into one block
        layouts |= {
            "strided, half": (wide[..., ::3], values, in_c_order),
            "reversed": (zeros[::-1, :, ::-1], values[::-1][::-1], in_c_order),
            "transposed": (zeros.transpose(2, 0, 1).copy().transpose(1, 2, 0), values, in_c_order),
            "both transposed": (*[a.transpose(2, 0, 1).copy().transpose(1, 2, 0) for a in (zeros, values)], in_c_order),
            "big-endian": (zeros.astype(">f4"), values, in_c_order),
            "big-endian, Fortran": (np.asfortranarray(zeros.astype(">f4")), np.asfortranarray(values), in_memory),
        }
    with library(backend) as (runner, put, take):
        for name, (weight, grad, expected) in layouts.items():
            there, given = put(weight), put(grad)
            runner.run([runner.bind(recording, there, given, (), ()).job(there, given, list(map(float, KEY)))])
            assert np.array_equal(take(there).astype(np.float32), expected), name
        if backend == "cupy":
            for lay in (fake_cupy.strided, fake_cupy.backwards, fake_cupy.transposed):
                there, given = lay(fake_cupy, zeros), put(values)
                runner.run([runner.bind(recording, there, given, (), ()).job(there, given, list(map(float, KEY)))])
                assert np.array_equal(take(there), in_c_order)


@pytest.mark.parametrize("dtype", HALVES)
def test_dithered_is_one_of_the_two_neighbours(dtype: str) -> None:
    values = numbers(dtype)
    values = values[np.isfinite(values)]
    lower, upper = neighbours(values, dtype)
    (found,) = run("numpy", of_chance(dtype), values, *KEY)
    tiny = (dtype == "float16") & (np.abs(values) < 2.0**-14)  # where float32 first rounds to a step of 2**-37
    away = np.abs(found) >= np.abs(upper)
    assert np.all((found == lower) | (found == upper) | tiny)
    assert np.all(np.abs(found.astype(np.float64) - values)[tiny] <= 2.0**-24)
    assert np.array_equal(np.signbit(found), np.signbit(values))
    assert 0.4 < away[lower != upper].mean() < 0.6


@pytest.mark.parametrize("dtype", HALVES)
def test_what_the_dtype_has_stays_as_it_is(dtype: str) -> None:
    values = every_half(dtype)
    for low in range(5):
        (found,) = run("numpy", of_chance(dtype), values, low, 7)
        assert np.array_equal(bits_of(found), bits_of(values))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("start", [1.0, -300.0, 2.0**-10, 2.0**-13, 2.0**-14, -(2.0**-15), 2.0**-20, 2.0**-24])
def test_the_mean_of_what_is_dithered_is_the_value(start: float, dtype: str) -> None:
    half = dtype_of(dtype)
    step = float(np.spacing(np.float16(abs(start)))) if dtype == "float16" else 2.0**-7 * 2.0 ** np.floor(np.log2(abs(start)))
    for share in (0.015625, 0.25, 0.5, 0.8125, 0.984375):
        value = np.float32(start + np.copysign(share * step, start))
        values = np.full(200_000, value, np.float32)
        assert float(value) == start + np.copysign(share * step, start)
        (found,) = run("numpy", of_chance(dtype), values, 12345, 678)
        assert set(np.abs(found.astype(np.float64) - start)) == {0.0, step}
        assert np.array_equal(found, found.astype(half).astype(np.float32))
        error = abs(found.astype(np.float64).mean() - float(value))
        assert error < 4 * step * np.sqrt(share * (1 - share) / values.size)


def test_keys_and_places_are_independent_of_each_other() -> None:
    values = np.full(100_000, 1 + 2.0**-9, np.float32)
    ups = [run("numpy", of_chance("bfloat16"), values, low, high)[0] > 1 for low, high in ((0, 0), (1, 0), (0, 1), (2**31, 0))]
    ups.append(np.roll(ups[0], 1))
    for place, one in enumerate(ups):
        assert abs(one.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / one.size)
        for other in ups[:place]:
            assert abs((one & other).mean() - 0.0625) < 4 * np.sqrt(0.0625 * 0.9375 / one.size)


def test_a_constant_may_be_rounded() -> None:
    def formula(w: Any, g: Any, c: Any, low: Any, high: Any) -> Any:
        return rounded(c, "float16") + dithered(c, low, high, "bfloat16")

    recording = record(Formula("Constant", formula, (), (), ("c", "low", "high")))
    values = np.zeros(1000, np.float32)
    first, *others = (run(backend, recording, values, 0.1, *KEY)[0] for backend in BACKENDS)
    assert all(np.array_equal(first, other) for other in others)
    assert {*first} == {np.float32(np.float16(0.1)) + half[0] for half in neighbours(np.float32([0.1]), "bfloat16")}


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "another dtype": (lambda w, g, a, b: rounded(g, "float32"), "Test.formula: rounded takes float16 or bfloat16, got 'float32'"),
    "a comparison": (lambda w, g, a, b: rounded(g > 0, "float16"), "Test.formula: rounded takes numbers"),
    "a key of numbers": (
        lambda w, g, a, b: dithered(g, 1, b, "float16"),
        "dithered takes a key of two coefficients, as they are",
    ),
    "a key made": (lambda w, g, a, b: dithered(g, a, b + 1, "float16"), "dithered takes a key of two coefficients, as they are"),
    "a key of arrays": (lambda w, g, a, b: dithered(g, w, b, "float16"), "dithered takes a key of two coefficients, as they are"),
    "no value": (lambda w, g, a, b: rounded(0.5, "float16"), "rounded takes values of a formula that is being recorded, got 0.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_rounded_is_refused(case: str) -> None:
    function, message = REFUSED[case]
    with pytest.raises(TypeError, match=message):
        record(Formula("Test", function, (), (), ("a", "b")))


@pytest.mark.parametrize("dtype", ["float64", "complex64", "complex128"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_only_weights_computed_as_float32_are_rounded(backend: str, dtype: str) -> None:
    with library(backend) as (runner, put, _):
        array = put(np.ones(3, dtype))
        with pytest.raises(TypeError, match=f"Chance.formula rounds to float16, expected a weight of this, got {dtype}"):
            runner.bind(of_chance("float16"), array, array, (), ())


def test_what_is_rounded_is_not_plain() -> None:
    assert not of_nearest("float16").plain
    assert not of_chance("float16").plain
