"""Rules that see a whole weight: against their oracles, in every backend, for any number of threads."""

import copy
import tracemalloc
from collections.abc import Iterator
from inspect import signature
from itertools import chain
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests import fake_cupy
from tests.rules import warm
from tests.test_backends import DTYPES, LAYOUTS, dtype_of, numbers, run, same
from tests.weight_rules import (
    ARRAY_RULES,
    EQUIVALENT,
    NORM_RULES,
    ORACLES,
    TRANSFORMS,
    Run,
    check_layout_on_device,
    check_norms_on_device,
    check_whole_array_on_device,
)
from updaters.backends import threads
from updaters.backends.stages import CHUNK, LANES
from updaters.optimizers.fields import rate
from updaters.rule import Rule

Array = np.ndarray[Any, Any]
BATCH_SIZE = 3
STEPS = 10
ALL = NORM_RULES | ARRAY_RULES
SHAPES: dict[str, tuple[int, ...]] = {"vector": (7,), "matrix": (5, 3), "wide": (3, 6), "cube": (2, 3, 4), "scalar": ()}


def starts_and_gradients(shape: tuple[int, ...], dtype: Any = np.float64) -> tuple[Array, list[Array]]:
    rng = np.random.default_rng(len(shape) + 7)
    dtype = np.dtype(dtype)

    def draw() -> Array:
        values = rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-3, 1, shape)
        return np.asarray(values + 1j * values[..., ::-1] ** 2 if dtype.kind == "c" else values, dtype)

    return np.asarray(draw() * 3), [draw() for _ in range(STEPS)]


def compare(optimizer: up.Optimizer, shape: tuple[int, ...], dtype: Any = np.float64) -> None:
    """Raise if a rule differs from its oracle by 1e-12 of a weight's path."""
    start, gradients = starts_and_gradients(shape, dtype)
    weight = start.copy()
    state = up.OptimizationState(BATCH_SIZE)
    update = up.get_updater(optimizer, state, backend="numpy")
    expected = Run(optimizer, start, BATCH_SIZE)
    for gradient in state.batches(gradients):
        update("w", gradient, weight)
        expected.update(gradient)
        assert np.abs(weight - expected.w).max(initial=0) <= 1e-12 * expected.path, (weight, expected.w)


def shapes_of(optimizer: up.Optimizer) -> list[str]:
    return [name for name, shape in SHAPES.items() if len(shape) == 2 or not isinstance(optimizer, up.Muon)]


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, rule in ALL.items() for shape in shapes_of(rule)])
def test_a_rule_is_its_oracle(name: str, shape: str) -> None:
    compare(ALL[name], SHAPES[shape])


@pytest.mark.parametrize("name", [name for name in ARRAY_RULES if "clip" not in name])
@pytest.mark.parametrize("shape", ["matrix", "wide"])
def test_a_rule_of_whole_arrays_is_its_oracle_for_complex_weights(name: str, shape: str) -> None:
    compare(ARRAY_RULES[name], SHAPES[shape], np.complex128)


def test_every_rule_and_transform_has_an_oracle() -> None:
    assert {type(rule) for rule in ALL.values()} == set(ORACLES)
    assert {type(transform) for rule in ALL.values() for transform in rule.transforms} == set(TRANSFORMS)
    public = {getattr(up.transforms, name) for name in up.transforms.__all__}
    assert set(TRANSFORMS) == public - {up.transforms.AGC, up.transforms.ClipByGlobalNorm}  # clips of an updater: test_policy.py


def names_of(optimizer: up.Optimizer) -> list[str]:
    """The coefficients of an optimizer's steps and formula, in their order."""
    rule = Rule.of(optimizer)
    return [*chain(*(list(signature(step.apply).parameters)[2:] for step in rule.steps)), *rule.coefficients]


MUTANTS = [(name, place) for name, rule in ALL.items() for place in range(len(names_of(rule)))]


@pytest.mark.parametrize(("name", "place"), MUTANTS)
def test_an_error_of_a_permille_in_any_coefficient_is_noticed(name: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Rule.work_out
    names = names_of(ALL[name])

    def mutated(self: Rule, *arguments: Any) -> Any:
        values, scalars = honest(self, *arguments)
        return [value * (1.001 if n == place else 1) for n, value in enumerate(values)], scalars

    monkeypatch.setattr(Rule, "work_out", mutated)

    def compare_all() -> None:
        for shape in ("vector", "matrix", "wide"):
            if shape in shapes_of(ALL[name]):
                compare(ALL[name], SHAPES[shape])

    if (name, names[place]) in EQUIVALENT and names.index(names[place]) == place:
        compare_all()
    else:
        with pytest.raises(AssertionError):
            compare_all()


SCALED = [(name, scalar) for name, rule in ALL.items() for scalar in rule.scalars]


@pytest.mark.parametrize(("name", "scalar"), SCALED)
def test_an_error_of_a_permille_in_a_scalar_is_noticed(name: str, scalar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Rule.work_out

    def mutated(self: Rule, *arguments: Any) -> Any:
        values, scalars = honest(self, *arguments)
        return values, scalars | {scalar: scalars[scalar] * 1.001}

    monkeypatch.setattr(Rule, "work_out", mutated)
    if getattr(ALL[name], "bias_correction", True) and (name, scalar) not in EQUIVALENT:
        with pytest.raises(AssertionError):
            compare(ALL[name], SHAPES["matrix"])
    else:  # among them where nothing is corrected
        compare(ALL[name], SHAPES["matrix"])


def chunked_sum(values: Array) -> float:
    """A sum in the order that all backends keep to, element by element."""
    total = None
    for start in range(0, values.size, CHUNK):
        lanes = [0.0] * LANES
        for place, value in enumerate(values[start : start + CHUNK].tolist()):
            lanes[place % LANES] += value
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [a + b for a, b in zip(lanes[:half], lanes[half:], strict=True)]
        total = lanes[0] if total is None else total + lanes[0]
    return 0.0 if total is None else total


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [0, 1, LANES + 1, CHUNK - 1, CHUNK, 3 * CHUNK + 77])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_norm_has_the_bits_of_its_definition(dtype: str, size: int, backend: str) -> None:
    rng = np.random.default_rng(size)
    gradient = (10.0 ** rng.uniform(-9, 2, size)).astype(dtype)
    update = up.get_updater(up.NovoGrad(), backend=backend)
    update("w", gradient, np.ones(size, dtype))
    assert float(update.slots["w"]["v"]) == chunked_sum(gradient.astype(np.float64) ** 2)


IN_HALVES = {"lamb inside", "novograd", "prodigy", "larc"}  # conversions are the same for all


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [(rule, dtype) for rule in NORM_RULES for dtype in DTYPES if rule in IN_HALVES or not dtype.endswith("float16")],
)
def test_numba_gives_the_values_of_numpy(rule: str, dtype: str) -> None:
    for size in (5, CHUNK + LANES + 7):
        rng = np.random.default_rng(size)
        weight = numbers(rng, (size,), dtype_of(dtype), special=0)
        gradients = [numbers(rng, (size,), dtype_of(dtype), special=0) for _ in range(3)]
        results = [run(NORM_RULES[rule], backend, weight, gradients) for backend in ("numpy", "numba")]
        assert all(same(a, b) for a, b in zip(*results, strict=True))


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that sets the number of threads."""

    def of(size: int) -> None:
        monkeypatch.setattr(threads, "_crew", threads.Crew(size))

    yield of
    threads._forget()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("rule", ["lamb inside", "lars", "novograd", "prodigy", "clip by norm"])
def test_the_number_of_threads_changes_no_bit(rule: str, backend: str, team: Any) -> None:
    rng = np.random.default_rng(3)
    sizes = {"large": 9 * CHUNK + 5, "middle": 2 * CHUNK, "small": 100}
    weights = {name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    gradients = [{name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()} for _ in range(3)]
    results = []
    for size in (1, 2, 3, 4):
        team(size)
        mine = copy.deepcopy(weights)
        update = up.get_updater(NORM_RULES[rule], up.OptimizationState(iteration=1), backend=backend)
        for gradient in gradients:
            update.step(gradient, mine)
        results.append([*mine.values(), *(slot for known in update.slots.values() for slot in known.arrays.values())])
    assert all(same(a, b) for result in results[1:] for a, b in zip(results[0], result, strict=True))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("what", ["weight", "gradient", "both"])
def test_a_layout_changes_no_value(layout: str, backend: str, what: str) -> None:
    rng = np.random.default_rng(1)
    shape = (30, 20, 120)
    for dtype in ("float16", "float32", "complex64"):
        weight = numbers(rng, shape, dtype_of(dtype), special=0)
        gradients = [numbers(rng, shape, dtype_of(dtype), special=0) for _ in range(2)]
        optimizer = NORM_RULES["lamb inside"]
        # Slots lie as the weight does, and sums follow them.
        fortran = layout in ("Fortran",) and what != "gradient"
        plain = run(
            optimizer,
            "numpy",
            np.asfortranarray(weight) if fortran else weight,
            gradients,
            None if not fortran else np.asfortranarray,
        )
        laid = weight.copy() if what == "gradient" else LAYOUTS[layout](weight)
        state = up.OptimizationState(batch_size=3)
        update = up.get_updater(optimizer, state, backend=backend)
        for gradient in state.batches(gradients):
            update("w", gradient if what == "weight" else LAYOUTS[layout](gradient), laid)
        assert all(same(a, b) for a, b in zip(plain, [laid, *update.slots["w"].arrays.values()], strict=True))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("rule", [name for name in ALL if "muon" not in name])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_shapes_without_extent(dtype: str, rule: str, backend: str) -> None:
    for shape in ((), (0,), (3, 0), (1,), (1, 1)):
        weight, gradient = np.full(shape, 2).astype(dtype_of(dtype)), np.full(shape, 0.5).astype(dtype_of(dtype))
        state = up.OptimizationState(iteration=1)
        update = up.get_updater(ALL[rule], state, backend=backend)
        update.step([gradient], [weight])
        update(0, gradient, weight)
        assert weight.shape == shape
        assert np.isfinite(weight.astype(np.complex128)).all()


@pytest.mark.parametrize("rule", ["lamb", "lars"])
def test_a_norm_of_zero_gives_the_ratio_one(rule: str) -> None:
    optimizer = up.LAMB(0.5, epsilon=0.0, beta1=0.0, bias_correction=False) if rule == "lamb" else up.LARS(0.5, momentum=None)
    weight = np.zeros(4)
    up.get_updater(optimizer)("w", np.full(4, 2.0), weight)
    expected = -0.5 * 2.0 / np.sqrt(0.001 * 4.0) if rule == "lamb" else -1.0
    np.testing.assert_allclose(weight, expected, rtol=1e-12)
    weight = np.ones(4)
    up.get_updater(up.LAMB(0.5) if rule == "lamb" else up.LARS(0.5))("w", np.zeros(4), weight)
    assert np.array_equal(weight, np.ones(4))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_norm_of_float32_does_not_overflow(backend: str) -> None:
    for optimizer in (up.SGD(1.0, transforms=up.transforms.ClipByNorm(1e30)), up.LARS(1.0, trust=0.5, momentum=None)):
        weight, gradient = np.full(4, 1e30, np.float32), np.full(4, 1e30, np.float32)
        up.get_updater(optimizer, backend=backend)("w", gradient, weight)
        np.testing.assert_allclose(weight, 5e29, rtol=1e-6)


def test_numbers_are_kept_compared_copied_and_found_by_name() -> None:
    weight = np.ones(3)
    update = up.get_updater(up.NovoGrad(0.1))
    update("w", np.full(3, 2.0), weight)
    assert float(update.slots["w"]["v"]) == 12.0
    other = copy.deepcopy(update)
    assert other == update
    other("w", np.full(3, 2.0), weight.copy())
    assert other != update
    assert float(update.slots["w"]["v"]) == 12.0
    other.optimizer = up.NovoGrad(0.2, epsilon_inside=True)
    with pytest.raises(ValueError, match="keeps 'correction1', 'correction2', 'm', 'v' for weight 'w'"):
        other.optimizer = up.Adam()


def test_one_step_takes_rules_of_all_kinds_and_none_is_half_done() -> None:
    rng = np.random.default_rng(0)
    weights = {"matrix": rng.standard_normal((4, 3)), "bias": rng.standard_normal(3), "kernel": rng.standard_normal((2, 2, 2))}
    grads = {name: rng.standard_normal(weight.shape) for name, weight in weights.items()}
    before = copy.deepcopy(weights)
    update = up.get_updater(up.Muon(0.1))
    with pytest.raises(
        ValueError, match=r"weight 'bias': Muon takes matrices, got shape \(3,\); name the rule for all others with"
    ):
        update.step(grads, weights)
    assert all(np.array_equal(before[name], weights[name]) for name in weights)
    update = up.get_updater(up.Muon(0.1, otherwise=up.LAMB(0.1)))
    update.step(grads, weights)
    assert {name: set(known.arrays) for name, known in update.slots.items()} == {
        "matrix": {"m"}, "bias": {"m", "v"}, "kernel": {"m", "v"},
    }  # fmt: skip
    for name in ("bias", "kernel"):
        up.get_updater(up.LAMB(0.1))(name, grads[name], before[name])
        assert np.array_equal(before[name], weights[name])
    same_again = copy.deepcopy(update)
    same_again.step(grads, weights)
    update.optimizer = up.Muon(0.2, otherwise=up.Adam(0.1))
    with pytest.raises(ValueError, match="for weight 'bias'"):
        update.optimizer = up.Muon(0.2, otherwise=up.SGD(0.1))


def test_matrices_become_orthogonal_and_complex_ones_unitary() -> None:
    rng = np.random.default_rng(2)
    for shape in ((6, 4), (4, 6), (5, 5)):
        for dtype in (np.float64, np.complex128):
            gradient = (
                (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype, casting="unsafe")
                if dtype == np.complex128
                else rng.standard_normal(shape)
            )
            weight = np.zeros(shape, dtype)
            up.get_updater(up.Muon(1.0, iterations=30, polynomial=(1.5, -0.5, 0.0), scale="none"))("w", gradient, weight)
            square = weight @ weight.conj().T if shape[0] <= shape[1] else weight.conj().T @ weight
            np.testing.assert_allclose(square, np.eye(min(shape)), atol=1e-9)


@pytest.mark.parametrize("rule", ["adafactor", "muon"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_a_rule_of_whole_arrays_computes_halves_in_float32(rule: str, dtype: str) -> None:
    rng = np.random.default_rng(4)
    weight, gradient = (numbers(rng, (6, 4), dtype_of(dtype), special=0) for _ in range(2))
    half = weight.dtype.itemsize == 2
    wide, wide_gradient = (array.astype(np.float32) if half else array.copy() for array in (weight, gradient))
    for array, grad in ((weight, gradient), (wide, wide_gradient)):
        update = up.get_updater(ARRAY_RULES[rule])
        update("w", grad, array)
        slots = [slot.dtype for slot in update.slots["w"].arrays.values()]
        assert set(slots) == {np.dtype("complex64" if rule == "muon" and not half and dtype == "complex64" else "float32")}
    assert same(weight, wide.astype(weight.dtype))


def test_adafactor_keeps_a_row_and_a_column() -> None:
    update = up.get_updater(up.Adafactor())
    update.step([np.ones((5, 3)), np.ones((2, 5, 3)), np.ones(4)], [np.ones((5, 3)), np.ones((2, 5, 3)), np.ones(4)])
    shapes = [{name: slot.shape for name, slot in known.arrays.items()} for known in update.slots.values()]
    assert shapes == [{"row": (5,), "column": (3,)}, {"row": (2, 5), "column": (2, 3)}, {"v": (4,)}]


@pytest.mark.parametrize("rule", ALL)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4)])
def test_a_gradient_may_be_the_weight_itself_or_a_slot(rule: str, shape: tuple[int, int]) -> None:
    weight = np.random.default_rng(5).standard_normal(shape)
    apart = weight.copy()
    for array, grad in ((weight, weight), (apart, apart.copy())):
        up.get_updater(ALL[rule], up.OptimizationState(iteration=1))("w", grad, array)
    assert np.array_equal(weight, apart)


# CuPy


@pytest.mark.parametrize("rule", NORM_RULES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_the_kernels_for_cupy_give_the_values_of_numpy(rule: str, dtype: str) -> None:
    with fake_cupy.installed() as cupy:
        check_norms_on_device(cupy, rule, dtype)


@pytest.mark.parametrize("layout", fake_cupy.LAYOUTS)
def test_the_kernels_for_cupy_take_any_layout(layout: str) -> None:
    with fake_cupy.installed() as cupy:
        check_layout_on_device(cupy, layout)


@pytest.mark.parametrize("rule", ARRAY_RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_rules_of_whole_arrays_run_on_the_device(rule: str, dtype: str) -> None:
    with fake_cupy.installed() as cupy:
        check_whole_array_on_device(cupy, rule, dtype)


def test_a_transform_of_ones_own_may_take_norms() -> None:
    @attrs.frozen
    class Unit:
        """The gradient at length 1."""

        @staticmethod
        def apply(w: Any, g: Any) -> Any:
            return g / np.linalg.norm(g)

        def coefficients(self, now: Any, state: Any) -> tuple[float, ...]:
            return ()

    weight = np.zeros(2)
    up.get_updater(up.SGD(1.0, transforms=Unit()))("w", np.array([-3.0, 4.0]), weight)
    np.testing.assert_allclose(weight, [0.6, -0.8], rtol=1e-15)


def whole(given: Any) -> up.Optimizer:
    """A rule of whole arrays with this formula of (w, g, slot)."""

    @attrs.frozen(repr=False)
    class Mine(up.Optimizer):
        lr: up.Schedulable = rate(0.1)
        slots = ("s",)
        whole_array = True
        formula = staticmethod(lambda w, g, s, lr: given(w, g, s))

        def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
            return {"lr": self.at(state).lr}

    return Mine()


@pytest.mark.parametrize(
    "given",
    [
        lambda w, g, s: (w, s.sum()),
        lambda w, g, s: w,
        lambda w, g, s: (w, s, s),
        lambda w, g, s: (0.0, s),
        lambda w, g, s: (w * 1j, s),
        lambda w, g, s: (w, np.full(w.shape, "x")),
    ],
)
def test_a_rule_of_whole_arrays_must_give_back_arrays_in_their_shapes(given: Any) -> None:
    weight = np.ones((2, 3))
    with pytest.raises(TypeError, match=r"Mine.formula must give back \(w, s\) in their shapes and kinds, got \["):
        up.get_updater(whole(given))("w", np.ones((2, 3)), weight)
    assert np.array_equal(weight, np.ones((2, 3)))


def test_a_rule_of_whole_arrays_may_give_back_what_it_was_given() -> None:
    weight = np.arange(1.0, 5)
    update = up.get_updater(whole(lambda w, g, s: (w - g, w)))
    update("w", np.ones(4), weight)
    assert np.array_equal(update.slots["w"]["s"], [1, 2, 3, 4])
    update = up.get_updater(whole(lambda w, g, s: (s, w)))
    for _ in range(2):
        update("w", np.ones(4), weight)
    assert np.array_equal(weight, [0, 1, 2, 3])
    update = up.get_updater(whole(lambda w, g, s: (w[::-1], s)))
    update("w", np.ones(4), weight)
    assert np.array_equal(weight, [3, 2, 1, 0])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_rule_of_whole_arrays_writes_to_nothing_it_is_given(place: int) -> None:
    def careless(*given: Any) -> Any:
        given[place][...] = 7
        return given[0], given[2]

    weight, gradient = np.ones(3), np.ones(3)
    with pytest.raises(ValueError, match="read-only"):
        up.get_updater(whole(careless))("w", gradient, weight)
    assert np.array_equal(weight, gradient)


def test_a_step_of_whole_arrays_that_fails_has_written_nothing() -> None:
    def fail(w: Any, g: Any, s: Any) -> Any:
        if g[0] > 1:
            raise np.linalg.LinAlgError("no")
        return w - g, s

    weights = {"a": np.ones(3), "b": np.ones(3)}
    update = up.get_updater(whole(fail))
    with pytest.raises(np.linalg.LinAlgError):
        update.step({"a": np.ones(3), "b": np.full(3, 2.0)}, weights)
    assert all(np.array_equal(weight, np.ones(3)) for weight in weights.values())
    assert not update.slots
    assert update.state.iteration == 0


def test_a_rule_of_whole_arrays_that_overflows_is_as_quiet_as_others() -> None:
    weights = [np.ones((2, 2), np.float32), np.full((2, 2), 6e4, np.float16)]
    with np.errstate(all="raise"):
        up.get_updater(up.Muon(1e9)).step([np.full((2, 2), -6e4, weight.dtype) for weight in weights], weights)
    assert np.isinf(weights[1]).all()


def test_numbers_are_for_rules_that_are_recorded() -> None:
    rule = whole(lambda w, g, s: (w, s))
    type(rule).numbers = ("n",)
    with pytest.raises(TypeError, match=r"Mine.numbers must be \(\) where whole_array is set, got \('n',\)"):
        up.get_updater(rule)


@pytest.mark.parametrize(
    "optimizer",
    [
        up.Muon(0.5),
        up.Muon(0.5, transforms=up.transforms.ClipByNorm(1.0)),
        up.Adafactor(0.5, factored=False, transforms=up.transforms.ClipByNorm(1.0)),
        up.Adafactor(0.5, transforms=up.transforms.ClipByNorm(1.0), weight_decay=0.1, maximize=True),
    ],
    ids=repr,
)
def test_large_gradients_of_rules_of_whole_arrays_do_not_overflow(optimizer: up.Optimizer) -> None:
    gradient = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) * np.float32(1e20)
    weights = np.ones((4, 3), np.float32), np.ones((4, 3))
    for weight in weights:
        up.get_updater(optimizer)("w", gradient.astype(weight.dtype), weight)
    np.testing.assert_allclose(*weights, rtol=1e-5)
    assert np.abs(weights[0] - 1).max() > 1e-3


def test_muon_multiplies_in_the_space_of_the_shorter_side() -> None:
    for shape in ((4000, 20), (20, 4000)):
        weight, gradient = np.ones(shape), np.random.default_rng(0).standard_normal(shape)
        update = up.get_updater(up.Muon())
        update("w", gradient, weight)
        tracemalloc.start()
        update("w", gradient, weight)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 6 * weight.nbytes


def test_a_learning_rate_of_zero_leaves_larc_finite() -> None:
    for transform in (up.transforms.LARC(0.01), up.transforms.LARC(0.01, mode="scale", epsilon=0)):
        for start, gradient in ((0.0, 1.0), (1.0, 1.0), (0.0, 0.0)):
            weight = np.full(3, start)
            up.get_updater(up.SGD(0.0, transforms=transform))("w", np.full(3, gradient), weight)
            assert np.array_equal(weight, np.full(3, start))


def test_lars_without_a_gradient_takes_the_decay_as_it_is() -> None:
    weight = np.ones(4)
    up.get_updater(up.LARS(0.5, momentum=None, weight_decay=0.1))("w", np.zeros(4), weight)
    np.testing.assert_allclose(weight, 0.95, rtol=1e-15)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_sums_of_many_chunks_are_added_in_their_order(backend: str) -> None:
    gradient = 10.0 ** np.random.default_rng(6).uniform(-9, 2, 40 * CHUNK + 3)
    update = up.get_updater(up.NovoGrad(), backend=backend)
    update("w", gradient, np.ones(gradient.shape))
    total = 0.0
    for chunk in np.split(gradient**2, range(CHUNK, gradient.size, CHUNK)):
        rows = np.zeros((-(-chunk.size // LANES), LANES))
        rows.reshape(-1)[: chunk.size] = chunk
        lanes = np.zeros(LANES)
        for row in rows:
            lanes = lanes + row
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        total += float(lanes[0])
    assert float(update.slots["w"]["v"]) == total


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_gradient_of_another_precision_may_come_at_any_time(backend: str) -> None:
    rng = np.random.default_rng(2)
    weights = np.ones(50, np.float32), np.ones(50, np.float32)
    updates = [up.get_updater(up.LAMB(0.1), backend=backend) for _ in weights]
    for n in range(4):
        gradient = rng.standard_normal(50).astype(np.float32)
        updates[0]("w", gradient, weights[0])
        updates[1]("w", gradient.astype(np.float64) if n % 2 else gradient, weights[1])
    assert np.array_equal(*weights)


def test_threads_that_are_refused_are_refused_before_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_crew", None)
    monkeypatch.setenv("UPDATERS_NUM_THREADS", "none")
    size = 12 * CHUNK
    for backend in ("numpy", "numba"):
        small, large = np.ones(100), np.ones(size)
        update = up.get_updater(up.LAMB(0.1), backend=backend)
        with pytest.raises(ValueError, match="UPDATERS_NUM_THREADS"):
            update.step([np.ones(100), np.ones(size)], [small, large])
        assert not update.slots
        assert np.array_equal(small, np.ones(100))
        assert np.array_equal(large, np.ones(size))


class Wrong:
    """A transform that says too many numbers, or none."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    @staticmethod
    def apply(w: Any, g: Any, factor: Any) -> Any:
        return g * factor

    def coefficients(self, now: Any, state: Any) -> Any:
        return self.values[0] if len(self.values) == 1 else self.values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((2.0, 3.0), r"Wrong.coefficients must give \(factor\), got \(2.0, 3.0\)"),
        ((), r"Wrong.coefficients must give \(factor\), got \(\)"),
        ((2.0,), "Wrong.coefficients must give numbers, got 2.0"),
        (("x", "y"), r"Wrong.coefficients must give numbers, got \('x', 'y'\)"),
    ],
)
def test_a_transform_must_give_the_coefficients_that_it_takes(values: Any, message: str) -> None:
    weights = [np.ones((2, 2)), np.ones(2)]
    optimizer = up.Muon(0.1, otherwise=up.SGD(0.1, transforms=[Wrong(*values), up.transforms.ClipByNorm(1.0)]))
    with pytest.raises(TypeError, match=message):
        up.get_updater(optimizer).step([np.ones((2, 2)), np.ones(2)], weights)
    assert all(np.array_equal(weight, np.ones(weight.shape)) for weight in weights)


BAD: list[tuple[Any, str]] = [
    (lambda: up.SGD(transforms=3), "SGD.transforms must hold transforms of gradients, got 3"),
    (lambda: up.SGD(transforms=[up.transforms.ClipByNorm]), "SGD.transforms must hold transforms of gradients, got <class"),
    (lambda: up.transforms.ClipByNorm(0), r"ClipByNorm.bound must be in \(0, inf\), got 0"),
    (lambda: up.transforms.ClipByValue(2, 1), r"ClipByValue.low must be at most high, got 2.0 and 1.0"),
    (lambda: up.transforms.ClipByValue(float("nan"), 1), "ClipByValue.low must be"),
    (lambda: up.transforms.LARC(-1), r"LARC.eta must be in \[0, inf\), got -1"),
    (lambda: up.transforms.LARC(1, mode="cilp"), "LARC.mode must be 'clip' or 'scale', got 'cilp'"),
    (lambda: up.transforms.LARC(1, min_update="x"), "LARC.min_update must be a real number"),
    (lambda: up.LAMB(min_norm=2, max_norm=1), r"LAMB.min_norm must be at most max_norm, got 2.0 and 1.0"),
    (lambda: up.LAMB(decay="in"), "LAMB.decay must be 'inside' or 'outside' or 'l2' or 'decoupled', got 'in'"),
    (lambda: up.LAMB(beta1=1), r"LAMB.beta1 must be in \[0, 1\), got 1"),
    (lambda: up.LARS(trust=-1), r"LARS.trust must be in \[0, inf\), got -1"),
    (lambda: up.LARS(momentum=2), r"LARS.momentum must be in \[0, 1\], got 2"),
    (lambda: up.NovoGrad(epsilon=-1), r"NovoGrad.epsilon must be in \[0, inf\), got -1"),
    (lambda: up.NovoGrad(gradient_averaging=1), "NovoGrad.gradient_averaging must be True or False, got 1"),
    (lambda: up.Prodigy(d0=0), r"Prodigy.d0 must be in \(0, inf\), got 0"),
    (lambda: up.Prodigy(growth_rate=0.5), r"Prodigy.growth_rate must be in \[1, inf\), got 0.5"),
    (lambda: up.Prodigy(decay="decoupled"), "Prodigy.decay must be 'inside' or 'l2', got 'decoupled'"),
    (lambda: up.Adafactor(clip_threshold=0), r"Adafactor.clip_threshold must be in \(0, inf\), got 0"),
    (lambda: up.Adafactor(epsilon1=-1), r"Adafactor.epsilon1 must be in \[0, inf\), got -1"),
    (lambda: up.Muon(iterations=-1), "Muon.iterations must be an integer of at least 0, got -1"),
    (lambda: up.Muon(iterations=2.5), "Muon.iterations must be an integer of at least 0, got 2.5"),
    (lambda: up.Muon(polynomial=(1, 2)), r"Muon.polynomial must be three numbers, got \(1, 2\)"),
    (lambda: up.Muon(polynomial=3), "Muon.polynomial must be three numbers, got 3"),
    (lambda: up.Muon(polynomial=(1, 2, "x")), "Muon.polynomial must be a finite number"),
    (
        lambda: up.Muon(otherwise=up.Adam),
        r"Muon.otherwise must be an Optimizer, got <class 'updaters.optimizers.adam.Adam'> \(the class; call it\)",
    ),
    (lambda: up.Muon(scale="max"), "Muon.scale must be 'spectral' or 'rms' or 'none', got 'max'"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_schedules_are_read_by_transforms_too() -> None:
    optimizer = up.SGD(1.0, transforms=up.transforms.ClipByNorm(warm(-1.0, 7.0)))
    with pytest.raises(ValueError, match=r"ClipByNorm.bound must be in \(0, inf\), got 0.0 from"):
        up.normalized_gradient(optimizer, up.OptimizationState(iteration=1), np.ones(2), np.ones(2))
