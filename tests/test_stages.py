"""Formulas with sums: split into passes that give what the formula says, and write each array at the right time."""

import pickle
import random
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

import updaters as up
from tests import fake_cupy
from tests.fake_cupy import DTYPES, dtype_of
from updaters.arrays import as_reals, slot_dtype
from updaters.backends import load, threads
from updaters.backends.stages import CHUNK, is_plain, split
from updaters.backends.trace import Recording, record
from updaters.formula import Formula
from updaters.optimizers.fields import rate

Array = np.ndarray[Any, Any]

norm = np.linalg.norm

# From (w, g, slot s, number n, coefficient c), with the number of passes that each needs.
FORMULAS: dict[str, tuple[int, Callable[..., Any]]] = {
    "a norm of what comes in": (2, lambda w, g, s, n, c: (w - c * g / norm(g), s + g, n)),
    "a norm of what is written": (2, lambda w, g, s, n, c: (w - norm(c * s + g) * g, c * s + g, n)),
    "the old slot, later": (2, lambda w, g, s, n, c: (w - norm(c * s + g) * s, c * s + g, n)),
    "the old slot and the new one, later": (2, lambda w, g, s, n, c: (w - norm(s + g) * (s * (s + g)), s + g, n)),
    "a norm of a norm's": (3, lambda w, g, s, n, c: (w - g / norm(g / norm(g) + s), s + norm(g), n)),
    "two slots' worth in one": (3, lambda w, g, s, n, c: (w - norm(s * norm(g) + w) * s, s * norm(g) + w, n)),
    "sums and products": (2, lambda w, g, s, n, c: (w - np.sum(g) * c, s + np.vdot(w, g), n + np.sum(w * g))),
    "a number alone": (1, lambda w, g, s, n, c: (w - n * g, s, n * 0.5 + c)),
    "a number from the last pass": (2, lambda w, g, s, n, c: (w - g / norm(g), s, norm(w - g / norm(g)) + n)),
    "a number that is not used": (1, lambda w, g, s, n, c: (w - g, s, np.maximum(norm(w), n))),
    "truth of numbers": (2, lambda w, g, s, n, c: (w - g * np.where((norm(w) > norm(g)) & ~(n > 1.0), norm(w), c), s, n + 1)),
    "truth of numbers per element": (2, lambda w, g, s, n, c: (np.where((norm(w) > norm(g)) | (g > 0), w, g), np.where(norm(w) > 1, s, g), n)),
    "signs and bounds of numbers": (
        2, lambda w, g, s, n, c: (w - g * np.sign(np.sum(g)) * np.minimum(norm(g), c), s, np.abs(-np.sum(g)) ** 2 + np.sqrt(norm(g))),
    ),
    "a division by 0": (2, lambda w, g, s, n, c: (w + np.where(norm(g * 0) > 0, 1 / norm(g * 0), c), s, np.sum(g * 0) / np.sum(g * 0))),
    "the gradient in the slot": (2, lambda w, g, s, n, c: (w - norm(s) * g, g, n)),
    "exchange": (2, lambda w, g, s, n, c: (s * norm(g), w, n)),
    "nothing but a number": (1, lambda w, g, s, n, c: (w, s, np.sum(g) + n)),
    "a coefficient in the slot": (2, lambda w, g, s, n, c: (w - norm(g) * (np.sqrt(c) * g), c, n)),
    "the slot emptied": (1, lambda w, g, s, n, c: (w, 0.0, np.sum(s * g) + n)),
    "a number and no sum": (1, lambda w, g, s, n, c: (w, s, n * c)),
    "a constant in the slot": (2, lambda w, g, s, n, c: (w - norm(g) * ((c * 0.5) * g + s), 0.5, n)),
    "truth of coefficients": (
        3, lambda w, g, s, n, c: (w - np.sum(np.where(c > 0, norm(g), 1.0) * s) * g, np.where((c > 1) | (g > 0), s, c), np.where((c < 1) & (norm(w) > 0), norm(w), n)),
    ),
    "a peak": (2, lambda w, g, s, n, c: (w - c * g / norm(g, np.inf), s + norm(w, ord=np.inf), norm(g * w, float("inf")) + n)),
    "a peak of a peak's": (3, lambda w, g, s, n, c: (w - norm(g / norm(g, np.inf) + s, np.inf) * g, s, norm(g, 1))),
    "a sum of magnitudes": (2, lambda w, g, s, n, c: (w / norm(g, 1), s + norm(w, ord=1.0), norm(g, None) + n)),
    "many sums": (2, lambda w, g, s, n, c: (w - sum(np.sum(g * float(k)) for k in range(1, 9)) * g, s, n)),
    "powers of numbers": (2, lambda w, g, s, n, c: (w * np.power(norm(g), 0.25), s, n)),
}  # fmt: skip


def recorded(name: str) -> Recording:
    return record(Formula.of(FORMULAS[name][1], ("s",), ("n",), "Test"))


def rule_of(function: Callable[..., Any]) -> up.Optimizer:
    @attrs.frozen(repr=False)
    class Rule(up.Optimizer):
        lr: up.Schedulable = rate(0.7)
        slots: ClassVar = ("s",)
        numbers: ClassVar = ("n",)
        formula = staticmethod(function)

        def initial(self, state: up.OptimizationState) -> Any:
            return {"s": 2.0, "n": 0.25}

        def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
            return {"c": self.at(state).lr}

    return Rule()


def plainly(function: Callable[..., Any], w: Array, gradients: list[Array]) -> list[Any]:
    """What the function itself gives."""
    s, n = np.full(w.shape, 2.0), np.float64(0.25)
    with np.errstate(all="ignore"):
        for g in gradients:
            w, s, n = (np.asarray(value) for value in function(w, g, s, n, np.float64(0.7)))
    return [w, np.broadcast_to(s, w.shape), n]


@pytest.mark.parametrize("size", [7, CHUNK + 5])
@pytest.mark.parametrize("backend", ["numpy", "numba", "cupy"])
@pytest.mark.parametrize("name", FORMULAS)
def test_passes_give_what_the_formula_says(name: str, backend: str, size: int) -> None:
    rng = np.random.default_rng(0)
    function = FORMULAS[name][1]
    start, *gradients = (rng.standard_normal(size) for _ in range(4))
    expected = plainly(function, start, gradients)
    if backend == "cupy":
        with fake_cupy.installed() as cupy:
            there = fake_cupy.put(cupy, start)
            update = up.get_updater(rule_of(function))
            for gradient in gradients:
                update("w", fake_cupy.put(cupy, gradient), there)
            found = [fake_cupy.take(array) for array in (there, *update.slots["w"].arrays.values())]
    else:
        weight = start.copy()
        update = up.get_updater(rule_of(function), backend=backend)
        for gradient in gradients:
            update("w", gradient, weight)
        found = [weight, *update.slots["w"].arrays.values()]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(np.nan_to_num(b)).max())


@pytest.mark.parametrize("name", FORMULAS)
def test_there_are_no_more_passes_than_it_takes(name: str) -> None:
    recording = recorded(name)
    assert len(split(recording).passes) == FORMULAS[name][0]
    assert not is_plain(recording)


def test_a_formula_without_sums_is_plain() -> None:
    recording = record(Formula.of(lambda w, g: w - g, (), (), "Test"))
    assert is_plain(recording)
    assert len(split(recording).passes) == 1


def test_a_slot_is_written_as_soon_as_no_pass_wants_its_old_value() -> None:
    def when(name: str) -> list[tuple[int, ...]]:
        return [made.recording.targets for made in split(recorded(name)).passes]

    assert when("a norm of what is written") == [(2,), (0,)]
    assert when("the old slot, later") == [(), (0, 2)]


# From (w, g, slot s, number n, coefficient c), nothing of which is written but the number.
MEASURES: dict[str, Callable[..., Any]] = {
    "a sum": lambda w, g, s, n, c: (w, s, np.vdot(g, g) + n),
    "sums of all": lambda w, g, s, n, c: (w, s, np.sum(w * g) + np.vdot(g, s) * c),
    "sums of sums": lambda w, g, s, n, c: (w, s, np.sum(g / np.linalg.norm(g))),
    "no sum": lambda w, g, s, n, c: (w, s, n * c),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["numpy", "numba", "cupy"])
@pytest.mark.parametrize("name", MEASURES)
def test_a_formula_may_be_after_a_number_alone(name: str, backend: str, dtype: str) -> None:
    recording = record(Formula("Test", MEASURES[name], ("s",), ("n",), ("c",)))
    assert (recording.targets, recording.outputs) == ((), ())
    rng = np.random.default_rng(0)
    host, slot = (np.asarray(rng.standard_normal((300, 7)), dtype_of(dtype)) for _ in range(2))
    slot = slot.astype(slot_dtype(slot.dtype))
    reals = as_reals(host).astype(np.float64)
    expected = MEASURES[name](reals, reals, as_reals(slot).astype(np.float64), np.float64(0.25), np.float64(0.5))[2]
    with fake_cupy.installed() if backend == "cupy" else nullcontext() as cupy:
        runner = load(backend)
        table = np.full(3, 0.25) if cupy is None else cupy.asarray(np.full(3, 0.25))
        for layout in ("C", "F", "strided"):
            if cupy is None:
                weight = {"C": host, "F": np.asfortranarray(host), "strided": np.repeat(host, 2, axis=1)[:, ::2]}[layout]
                weight.flags.writeable = False
            else:
                weight = fake_cupy.LAYOUTS[layout][1](cupy, host)
            before = fake_cupy.take(weight) if cupy else weight.copy()
            kept = slot.copy() if cupy is None else cupy.asarray(slot)
            table[1] = 0.25
            bound = runner.bind(recording, weight, weight, [kept], [table[1, ...]])
            job = bound.job(weight, weight, [0.5])
            assert job is not None
            runner.run([job])
            np.testing.assert_allclose(float(table[1]), expected, rtol=1e-12 if dtype in ("float64", "complex128") else 1e-6)
            assert [float(table[0]), float(table[2])] == [0.25, 0.25]
            after, kept = (fake_cupy.take(array) if cupy else array for array in (weight, kept))
            assert np.array_equal(after, before)
            assert np.array_equal(kept, slot)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("lay", [np.array, lambda array: np.repeat(array, 2)[::2]], ids=["dense", "strided"])
def test_a_gradient_may_have_been_pickled(lay: Callable[[Array], Array], backend: str) -> None:
    weight, other = np.ones(5, np.float32), np.ones(5, np.float32)
    grad = lay(np.arange(5, dtype=np.float32))
    unpickled = pickle.loads(pickle.dumps(grad))
    assert unpickled.dtype is not grad.dtype
    update, reference = (up.get_updater(up.LAMB(0.1), backend=backend) for _ in range(2))
    for given in (grad, unpickled, grad):
        update("w", given, weight)
        reference("w", grad, other)
    assert np.array_equal(weight, other)


SIZES = [0, 5, CHUNK, 3 * CHUNK + 7, 1000, 5 * CHUNK + 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 1000, 2 * CHUNK + 1500])
@pytest.mark.parametrize("backend", ["numpy", "numba", "cupy"])
def test_a_peak_is_the_largest_magnitude_wherever_it_is(backend: str, size: int, dtype: str) -> None:
    recording = record(Formula("Peak", lambda w, g, n: (w, np.linalg.norm(g, np.inf)), (), ("n",), ()))
    grad = np.random.default_rng(0).uniform(-1, 1, size).astype(dtype_of(dtype))
    with fake_cupy.installed() if backend == "cupy" else nullcontext() as cupy:
        runner = load(backend)
        number = np.zeros(()) if cupy is None else cupy.zeros(())
        for place in (0, size // 2, size - 1):
            for special, expected in ((-3.0, 3.0), (-np.inf, np.inf), (np.nan, np.nan)):
                given = grad.copy()
                given[place] = special * (1j if grad.dtype.kind == "c" and special == -3.0 else 1)
                given = given if cupy is None else fake_cupy.put(cupy, given)
                runner.run([runner.bind(recording, given, given, (), [number]).job(given, given, ())])
                assert np.array_equal(float(number), expected, equal_nan=True)


def test_a_peak_of_nothing_is_0() -> None:
    recording = record(Formula("Peak", lambda w, g, n: (w, np.linalg.norm(g, np.inf)), (), ("n",), ()))
    for backend in ("numpy", "numba", "cupy"):
        with fake_cupy.installed() if backend == "cupy" else nullcontext() as cupy:
            empty, number = (np if cupy is None else cupy).zeros((0, 3)), (np if cupy is None else cupy).asarray(np.ones(()))
            load(backend).run([load(backend).bind(recording, empty, empty, (), [number]).job(empty, empty, ())])
            assert float(number) == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_jobs_of_one_pass_run_side_by_side(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_offs: list[int] = []

    class Counting(threads.Crew):
        def run(self, works: Any) -> None:
            hand_offs.append(len(works))
            super().run(works)

    monkeypatch.setattr(threads, "_crew", Counting(count))
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(size).astype(np.float32) for size in SIZES]
    total = record(Formula("Total", lambda w, g, n: (w, np.vdot(g, g)), (), ("n",), ()))
    scaled = record(Formula("Scaled", lambda w, g, n: (w * np.linalg.norm(g), n + np.sum(w)), (), ("n",), ()))
    found: dict[str, Any] = {}
    for name in ("numpy", "numba"):
        runner = load(name)
        weights, numbers = [grad.copy() for grad in grads for _ in range(2)], np.zeros(2 * len(grads))
        jobs = []
        for place, weight in enumerate(weights):
            recording, grad = (total, scaled)[place % 2], grads[place // 2]
            jobs.append(runner.bind(recording, weight, grad, (), [numbers[place, ...]]).job(weight, grad, ()))
        hand_offs.clear()
        if name == "numpy":
            for job in jobs:
                runner.run([job])
        else:
            runner.run(jobs[::2])
            assert hand_offs == [count]
            runner.run(jobs[1::2])
        found[name] = weights, numbers
    assert np.array_equal(found["numpy"][1], found["numba"][1])
    assert all(np.array_equal(a, b) for a, b in zip(found["numpy"][0], found["numba"][0], strict=True))
    expected = [float(np.vdot(grad.astype(np.float64), grad)) for grad in grads]
    np.testing.assert_allclose(found["numba"][1][::2], expected, rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_is_only_read_is_not_copied(backend: str) -> None:
    recording = record(Formula("Test", lambda w, g, n: (w, np.vdot(g, w)), (), ("n",), ()))
    weight, number = np.ones(400_000), np.zeros(())
    bound = load(backend).bind(recording, weight, weight, [], [number])
    load(backend).run([bound.job(weight, weight, [])])  # leaves buffers
    tracemalloc.start()
    load(backend).run([bound.job(weight, weight, [])])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert float(number) == weight.size
    assert peak < weight.nbytes / 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [7, 10_000])
@pytest.mark.parametrize("backend", ["numpy", "numba", "cupy"])
def test_a_slot_and_a_weight_may_become_a_constant(backend: str, size: int, dtype: str) -> None:
    recording = record(Formula("Test", lambda w, g, s, m, c: (-0.5, 0.0, c), ("s", "m"), (), ("c",)))
    host = np.ones(size, dtype_of(dtype))
    slots = [np.ones(size, slot_dtype(host.dtype)) for _ in range(2)]
    with fake_cupy.installed() if backend == "cupy" else nullcontext() as cupy:
        arrays = [fake_cupy.put(cupy, array) if cupy else array for array in (host, host.copy(), *slots)]
        runner = load(backend)
        runner.run([runner.bind(recording, arrays[0], arrays[1], arrays[2:], ()).job(arrays[0], arrays[1], [0.25])])
        found = [as_reals(fake_cupy.take(array) if cupy else array) for array in arrays]
    for array, value in zip(found, (-0.5, 1.0, 0.0, 0.25), strict=True):
        assert np.all(array[..., 0] == value)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "a norm of a number": (lambda w, g, s, n, c: (w * norm(norm(g)), s, n), "a sum, a norm or an inner product is one of arrays"),
    "a sum of a coefficient": (lambda w, g, s, n, c: (w * np.sum(c), s, n), "a sum, a norm or an inner product is one of arrays"),
    "an axis": (lambda w, g, s, n, c: (w * np.sum(g, axis=0), s, n), "numpy.sum with axis is not one of"),
    "another norm": (lambda w, g, s, n, c: (w * norm(g, 3), s, n), "numpy.linalg.norm of order 3 is not one of"),
    "a norm of columns": (lambda w, g, s, n, c: (w * norm(g, None, 0), s, n), "numpy.norm with so many arguments is not one of"),
    "a norm of rows": (lambda w, g, s, n, c: (w * norm(g, axis=1), s, n), "numpy.norm with axis is not one of"),
    "a norm of an order to come": (lambda w, g, s, n, c: (w * norm(g, c), s, n), "numpy.linalg.norm of order .* is not one of"),
    "a peak of a number": (
        lambda w, g, s, n, c: (w * norm(c, np.inf), s, n),
        "a sum, a norm or an inner product is one of arrays",
    ),
    "an array as a number": (lambda w, g, s, n, c: (w, s, g), "must give back one number as n, got one per element"),
    "a truth value as a number": (lambda w, g, s, n, c: (w, s, norm(g) > 1), "must give back numbers, got a comparison"),
    "a part": (lambda w, g, s, n, c: (w - g[0], s, n), "a part of an array is not one of"),
    "Python's sum": (lambda w, g, s, n, c: (w - sum(g), s, n), "a loop over an array is not one of"),
    "a length": (lambda w, g, s, n, c: (w - len(g), s, n), "the length of an array is not one of"),
    "too few values": (lambda w, g, s, n, c: (w, s), r"must give back \(w, s, n\), got 2 values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_place_in_a_formula_is_refused_by_name(case: str) -> None:
    function, message = REFUSED[case]
    with pytest.raises(TypeError, match=message):
        up.get_updater(rule_of(function))


def random_formula(seed: int) -> tuple[str, Callable[..., Any]]:
    """A formula of sums within sums, and its text: each line makes a value of those before it."""
    rng = random.Random(seed)
    kinds = {"w": "array", "g": "array", "s": "array", "n": "number", "c": "coefficient"}
    truths: dict[str, bool] = {}  # whether each is per element
    lines: list[str] = []

    def pick(*wanted: str) -> str:
        names = [name for name, kind in kinds.items() if kind in (wanted or ("array", "number", "coefficient"))]
        return rng.choice(names[-5:] if rng.random() < 0.5 else names)

    def joint(*names: str) -> str:
        return max((kinds[name] for name in names), key=["coefficient", "number", "array"].index)

    for place in range(rng.randint(4, 20)):
        name, a, b, choice = f"v{place}", pick(), pick(), rng.random()
        if choice < 0.25:
            a, b = pick("array"), pick("array")
            kinds[name] = "number"
            lines.append(f"{name} = {rng.choice([f'norm({a})', f'np.sum({a})', f'np.vdot({a}, {b})'])}")
        elif choice < 0.65:
            kinds[name] = joint(a, b)
            lines.append(f"{name} = {rng.choice([f'{a} + {b}', f'{a} - {b}', f'{a} * {b}', f'{a} / (np.abs({b}) + 1.0)'])}")
        elif choice < 0.8:
            kinds[name] = joint(a, b)
            lines.append(f"{name} = {rng.choice([f'np.maximum({a}, {b})', f'np.minimum({a}, {b})', f'np.sign({a}) * {b}'])}")
        elif choice < 0.9 or not truths:
            truths[name] = "array" in (kinds[a], kinds[b])
            lines.append(f"{name} = {a} {rng.choice(['>', '<='])} {b}")
        else:
            truth, other = rng.choice([*truths]), rng.choice([*truths])
            kinds[name] = "array" if truths[truth] or truths[other] else joint(a, b)
            lines.append(f"{name} = np.where({truth} {rng.choice('&|')} ~{other}, {a}, {b})")
    results = [f"np.maximum(np.minimum({name}, 9.0), -9.0)" for name in (pick("array"), pick("array"), pick("number"))]
    text = "\n    ".join(["def formula(w, g, s, n, c):", *lines, f"return {', '.join(results)}"])
    namespace: dict[str, Any] = {"np": np, "norm": norm}
    exec(text, namespace)
    return text, namespace["formula"]


@pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 150, 25)], ids=str)
def test_passes_give_what_any_formula_says(seeds: range) -> None:
    for seed in seeds:
        text, function = random_formula(seed)
        rng = np.random.default_rng(seed)
        weight, *gradients = (rng.standard_normal(CHUNK + 5 if seed % 25 == 0 else 7) for _ in range(3))
        expected = plainly(function, weight, gradients)
        update = up.get_updater(rule_of(function), backend="numpy")
        for gradient in gradients:
            update("w", gradient, weight)
        for a, b in zip([weight, *update.slots["w"].arrays.values()], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=text)
