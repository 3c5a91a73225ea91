"""What an updater does beyond its rule, against the recipe by hand, in all its combinations."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import updaters as up
from tests import fake_cupy
from tests.policy_oracle import BATCH_SIZE, FACTORS, SHAPES, Case, Oracle, pairwise
from tests.rules import RULES
from tests.weight_rules import ARRAY_RULES, NORM_RULES
from updaters.backends import threads
from updaters.backends.stages import CHUNK
from updaters.transforms import AGC, LARC, ClipByGlobalNorm, ClipByNorm, ClipByValue

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
BACKENDS = ("numpy", "numba")


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-3, 0.5, shape))


def kept(update: up.Updater) -> dict[Any, Any]:
    """All that an updater keeps, as bytes and numbers."""
    return {
        index: ({name: (array.dtype, array.tobytes()) for name, array in known.arrays.items()}, dict(known.scalars), known.count)
        for index, known in update.slots.items()
    } | {"calls": update._calls, "scaling": update._scaling, "clock": attrs.astuple(update.state)}


def bits(weights: Arrays) -> dict[str, bytes]:
    return {name: weight.tobytes() for name, weight in weights.items()}


def play(case: Case, seed: int, backends: tuple[str, ...] = BACKENDS, calls: int = 16) -> None:
    """Hold updaters to the oracle through calls with gradients, without, and with some that are not finite."""
    rng = np.random.default_rng(seed)
    start = {name: np.asarray(drawn(rng, shape).astype(case.dtype)) for name, shape in SHAPES.items()}
    oracle = Oracle(case, start)
    updates = [case.updater(backend) for backend in backends]
    weights = [copy.deepcopy(start) for _ in backends]
    states = [update.state for update in updates]
    for _ in range(calls):
        flushes, breaks, lacks = rng.random(3) < (0.1, 0.2, 0.4)
        by = updates[0].loss_scale * (BATCH_SIZE if case.gradient == "sum" else 1)
        with np.errstate(over="ignore"):  # as gradients of half precision do where the loss scale is too large
            grads: dict[str, Any] = {
                name: np.asarray((by * drawn(rng, shape)).astype(case.dtype)) for name, shape in SHAPES.items()
            }
        if lacks:
            grads = {name: g if rng.random() < 0.5 else None for name, g in grads.items()}
        if breaks and (case.skips or case.nonfinite == "raise"):
            name = rng.choice(list(SHAPES))
            if grads[name] is not None:
                grads[name].flat[rng.integers(grads[name].size)] = rng.choice([math.nan, math.inf, -math.inf])
        if flushes:
            happened = oracle.flush()
            for update, mine in zip(updates, weights, strict=True):
                update.flush(mine)
        else:
            happened = oracle.step(grads)
            for update, mine, state in zip(updates, weights, states, strict=True):
                before, bytes_before = kept(update), bits(mine)
                state.iteration += 1
                if happened == "raised":
                    with pytest.raises(FloatingPointError, match="gradients are not finite for weights .*; nothing has changed"):
                        update.step(grads, mine)
                else:
                    update.step(grads, mine)
                if happened in ("raised", "nothing"):
                    state.iteration -= 1
                    assert (kept(update), bits(mine)) == (before, bytes_before)
        if happened not in ("raised", "nothing"):
            assert {update.report().what for update in updates} == {happened}
        for update, mine in zip(updates, weights, strict=True):
            compare(case, oracle, update, mine)
            if case.clip != "global 3":  # which raises an array to a power: backends agree to rounding
                assert bits(mine) == bits(weights[0])
                assert kept(update) == kept(updates[0])


def compare(case: Case, oracle: Oracle, update: up.Updater, weights: Arrays) -> None:
    tolerance = 1e-12 if case.dtype == "float64" else 1e-4 if case.rule == "muon" else 5e-6
    assert (update.state.iteration, update.state.held) == (oracle.iteration, oracle.held)
    assert math.isclose(update.loss_scale, oracle.scaling["scale"], rel_tol=tolerance)
    for name, expected in oracle.weights.items():
        known = update.slots.get(name)
        if known is None or not known.count:
            assert not expected.count
            continue
        assert (known.count, known.gathered) == (expected.count, len(expected.gathered))
        w = weights[name]
        if "master" in known.arrays:
            assert w.tobytes() == known["master"].astype(w.dtype).tobytes()
            w = known["master"]
        close(w, expected.w, tolerance * expected.path, name)
        if "average" in known.arrays and expected.average is not None:
            close(known["average"], expected.average, tolerance * expected.path, name)
            rounding = 1e-3 if case.dtype == "float16" else tolerance
            close(update.evaluation_weight(name, weights[name]), expected.average, rounding * expected.path, name)


def close(found: Array, expected: list[float], most: float, name: str) -> None:
    apart = np.abs(found.ravel().astype(float) - np.array(expected)).max(initial=0)
    assert apart <= most, f"{name}: {apart} > {most}"


PAIRWISE = pairwise()


@pytest.mark.parametrize("place", range(len(PAIRWISE)))
def test_any_two_parts_together_are_the_recipe(place: int) -> None:
    play(PAIRWISE[place], place, BACKENDS if place % 10 == 0 else ("numpy",))  # numba compiles some ten kernels for each


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.builds(Case, **{name: st.sampled_from(list(values)) for name, values in FACTORS.items()}), st.integers(0, 10**6))
def test_any_parts_together_are_the_recipe(case: Case, seed: int) -> None:
    if case.is_allowed:
        play(case, seed, ("numpy",), 10)


def test_the_cases_meet_in_pairs_and_take_every_way() -> None:
    for name, values in FACTORS.items():
        assert {getattr(case, name) for case in PAIRWISE} == set(values)


# What is measured and decided leaves every rule its own bits.

ALL_RULES = {**RULES, **NORM_RULES, **ARRAY_RULES}
SILENT: dict[str, Any] = {
    "report": {"report": True},
    "decisions": {"nonfinite": "raise", "report": True, "clip": (AGC(1e30, epsilon=1.0), ClipByGlobalNorm(1e30))},
    "scale": {"loss_scale": up.loss_scale.LogMax(scale_max=1.0), "report": True},
}


@pytest.mark.parametrize("silent", SILENT)
@pytest.mark.parametrize("name", ALL_RULES)
def test_what_does_nothing_changes_no_bit_of_any_rule(name: str, silent: str) -> None:
    rng = np.random.default_rng(2)
    gradients = [drawn(rng, (4, 3)) for _ in range(4)]
    results = []
    for policy in ({}, SILENT[silent]):
        weight = np.linspace(-1, 1, 12).reshape(4, 3)
        update = up.get_updater(ALL_RULES[name], up.OptimizationState(2, epoch=1), backend="numpy", **policy)
        for gradient in gradients:
            update.state.iteration += 1
            update.step([gradient], [weight])
        slots = {name: array.tobytes() for name, array in update.slots[0].arrays.items()}
        results.append((weight.tobytes(), slots, dict(update.slots[0].scalars)))
    assert results[0] == results[1]


@attrs.frozen(repr=False)
class Named(up.SGD):
    """A rule whose slots and numbers have the names of what is measured."""

    slots = ("gradient", "weight", "total")
    numbers = ("finite", "update", "peak")

    @staticmethod
    def formula(w: Any, g: Any, gradient: Any, weight: Any, total: Any, finite: Any, update: Any, peak: Any, lr: Any) -> Any:
        return w - lr * g, gradient + g, weight + 1.0, total + 2.0, finite + 3.0, update + np.sum(g), peak + 4.0

    def coefficients(self, state: up.OptimizationState, t: int, *args: Any, **scalars: Any) -> dict[str, float]:
        return {"lr": self.at(state).lr}


@attrs.frozen(repr=False)
class NamedWhole(Named):
    numbers = ()
    whole_array = True

    @staticmethod
    def formula(w: Any, g: Any, gradient: Any, weight: Any, total: Any, lr: Any) -> Any:
        return w - lr * g, gradient + g, weight + 1.0, total + 2.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("silent", [{}, *SILENT.values()])
@pytest.mark.parametrize("rule", [Named, NamedWhole])
def test_what_a_rule_keeps_may_have_any_name(rule: type[up.Optimizer], silent: Any, backend: str) -> None:
    weight = np.zeros(3)
    update = up.get_updater(rule(0.5), backend=backend, **silent)  # type: ignore[call-arg]
    for _ in range(2):
        update.step([np.array([1.0, 2.0, 3.0])], [weight])
    assert {name: float(array.sum()) for name, array in update.slots[0].arrays.items()} == {
        "gradient": 12.0, "weight": 6.0, "total": 12.0,
        **({"finite": 6.0, "update": 12.0, "peak": 8.0} if rule is Named else {}),
    }  # fmt: skip
    assert weight.tolist() == [-1.0, -2.0, -3.0]
    with pytest.raises(ValueError, match="ASGD keeps 'average' itself, which the updater was to keep for it"):
        up.get_updater(up.ASGD(), average=up.Average())


# What is not finite.


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def of(size: int) -> None:
        monkeypatch.setattr(threads, "_crew", threads.Crew(size))

    yield of
    threads._forget()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_one_element_that_is_not_finite_is_found_anywhere(dtype: str, backend: str) -> None:
    size = 2 * CHUNK + 11
    weights = [np.ones(3, fake_cupy.dtype_of(dtype)), np.ones(size, fake_cupy.dtype_of(dtype))]
    update = up.get_updater(up.SGD(0.5, momentum=0.5), nonfinite="skip", backend=backend)
    raising = up.get_updater(up.SGD(0.5), nonfinite="raise", backend=backend)
    grads = [np.ones_like(weight) for weight in weights]
    before = [weight.tobytes() for weight in weights]
    for place in (0, 1, CHUNK - 1, CHUNK, size - 1):
        for value in (math.nan, math.inf, -math.inf):
            grads[1][place] = value
            update.step(grads, weights)
            assert (update.report().what, update.report().nonfinite) == ("skipped", (1,))
            with pytest.raises(FloatingPointError, match="not finite for weights 1; nothing has changed"):
                raising.step(grads, weights)
            grads[1][place] = 1.0
    if grads[1].dtype.kind == "c":
        grads[1][5] = complex(1.0, math.nan)
        update.step(grads, weights)
        assert update.report().skipped
        grads[1][5] = 1.0
    assert [weight.tobytes() for weight in weights] == before
    assert {known.count for known in update.slots.values()} == set()
    update.step(grads, weights)
    assert update.report().nonfinite == ()
    assert [known.count for known in update.slots.values()] == [1, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_finite_gradients_are_finite_and_have_their_norm(backend: str) -> None:
    for dtype, size in (("float64", 1e200), ("float64", 1.7e308), ("float32", 1e30), ("float64", 1e-140)):
        weights = [np.zeros(2, dtype), np.zeros(2, dtype)]
        grads = [np.array([0.6 * size, 0], dtype), np.array([0, 0.8 * size], dtype)]
        update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(0.5 * size), nonfinite="raise", backend=backend)
        update.step(grads, weights)
        found = np.concatenate(weights) / size
        np.testing.assert_allclose(found, [-0.3, 0, 0, -0.4], rtol=1e-6 if dtype == "float32" else 1e-13)
        if size < 1e308:
            np.testing.assert_allclose(update.report().global_norms[None], size, rtol=1e-6 if dtype == "float32" else 1e-13)
    mixed = [np.zeros(1), np.zeros(1, np.float32)]
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(1e200), backend=backend)
    update.step([np.array([2e200]), np.array([1e30], np.float32)], mixed)
    assert update.report().global_norms[None] == 2e200
    assert (float(mixed[0][0]), float(mixed[1][0])) == (-1e200, -float(np.float32(1e30) / 2))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [1, 2, 3, "inf"])
def test_below_its_bound_a_clip_is_a_no_op(p: Any, backend: str) -> None:
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(100) for _ in range(3)]
    size = float(np.linalg.norm(np.concatenate(grads), math.inf if p == "inf" else p))
    zeros = [np.zeros(3)]
    up.get_updater(up.SGD(0.1), clip=ClipByGlobalNorm(1.0, p), backend=backend).step(zeros, [np.ones(3)])
    for bound, unchanged in ((size * (1 + 1e-9), True), (size * (1 - 1e-9), False)):
        weights, plain = ([np.ones(100) for _ in range(3)] for _ in range(2))
        clipped = up.get_updater(up.Adam(0.1), clip=ClipByGlobalNorm(bound, p), backend=backend)
        clipped.step(grads, weights)
        up.get_updater(up.Adam(0.1), backend=backend).step(grads, plain)
        assert all(np.array_equal(a, b) for a, b in zip(weights, plain, strict=True)) == unchanged


@pytest.mark.parametrize("size", [math.inf, math.nan])
def test_a_norm_that_is_not_finite_scales_nothing(size: float) -> None:
    weights = [np.zeros(2), np.zeros(2)]
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(1.0))
    update.step([np.array([size, 2.0]), np.array([30.0, 40.0])], weights)
    assert [weights[0][1], *weights[1]] == [-2.0, -30.0, -40.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_number_of_threads_and_of_weights_changes_no_bit(backend: str, team: Any) -> None:
    rng = np.random.default_rng(3)
    shapes = [(9 * CHUNK + 5,), (2 * CHUNK,), *[(3,)] * 300]  # more than a table's block holds
    grads = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    results = []
    for size in (1, 2, 3, 4):
        team(size)
        weights = [np.ones(shape, np.float32) for shape in shapes]
        clip = (AGC(0.5), ClipByGlobalNorm(1.0))
        update = up.get_updater(up.Adam(0.1), clip=clip, nonfinite="skip", accumulate=2, report=True, backend=backend)
        for _ in range(4):
            update.step(grads, weights)
        results.append((b"".join(weight.tobytes() for weight in weights), update.report().as_dict()))
    assert all(result == results[0] for result in results)
    numbers = results[0][1]
    norms = [np.linalg.norm(g.astype(float)) for g in grads]
    shrunk = [min(norm, 0.5 * numbers[f"weight_norm/{i}"]) for i, norm in enumerate(norms)]
    np.testing.assert_allclose(numbers["global_norm"], np.linalg.norm(shrunk), rtol=1e-6)
    np.testing.assert_allclose(numbers["gradient_norm/301"], norms[301], rtol=1e-6)


def test_the_order_in_which_weights_were_met_changes_no_bit() -> None:
    rng = np.random.default_rng(1)
    grads = {name: rng.standard_normal(7) for name in "abcdefg"}
    weights = {name: np.zeros(7) for name in grads}
    update = up.get_updater(up.SGD(0.1), clip=ClipByGlobalNorm(0.1))
    update.step(grads, weights)
    other, others = copy.deepcopy(update), copy.deepcopy(weights)
    some = {name: g if name in "ceg" else None for name, g in grads.items()}
    for one, mine in ((update, weights), (other, others)):
        one.step(some, mine)
        one.step(grads, mine)
    assert bits(weights) == bits(others)
    assert other == update


# Complex gradients: it is the modulus that counts.


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [1, 2, 3, "inf"])
def test_norms_of_complex_gradients_are_of_moduli(p: Any, backend: str) -> None:
    rng = np.random.default_rng(4)
    grads = [rng.standard_normal(50) + 1j * rng.standard_normal(50) for _ in range(2)]
    size = float(np.linalg.norm(np.abs(np.concatenate(grads)), math.inf if p == "inf" else p))
    weights = [np.zeros(50, complex) for _ in range(2)]
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(size / 4, p), nonfinite="raise", backend=backend)
    update.step(grads, weights)
    np.testing.assert_allclose(np.concatenate(weights), -np.concatenate(grads) / 4, rtol=1e-13)
    np.testing.assert_allclose(update.report().global_norms[None], size, rtol=1e-13)


def test_units_of_complex_weights_are_clipped_by_moduli() -> None:
    weight = np.array([[3 + 4j, 0], [0, 12 - 5j]])
    up.get_updater(up.SGD(1.0), clip=AGC(0.1))("w", np.array([[3j, 4], [0.1, 0]]), weight)
    np.testing.assert_allclose(weight, [[3 + 4j - 0.3j, -0.4], [-0.1, 12 - 5j]], rtol=1e-14)
    clip = (AGC(0.1), LARC(0.1), ClipByGlobalNorm(1.0, 1))
    with pytest.raises(ValueError, match="clip: for complex weights nothing can be between one of units and the norm of moduli"):
        up.get_updater(up.SGD(1.0), clip=clip).step([weight], [weight.copy()])


@pytest.mark.parametrize(("axis", "units"), [(0, [(0, 1), (2, 3)]), (1, [(0, 2), (1, 3)]), (-1, [(0, 2), (1, 3)])])
def test_units_lie_along_an_axis(axis: int, units: list[tuple[int, int]]) -> None:
    weight, grad = np.array([[3.0, 1.0], [4.0, 2.0]]), np.array([[5.0, 0.1], [6.0, 7.0]])
    expected = weight.ravel().copy()
    for unit in units:
        places = list(unit)
        most = 0.1 * np.linalg.norm(expected[places])
        expected[places] -= grad.ravel()[places] * min(1.0, most / np.linalg.norm(grad.ravel()[places]))
    up.get_updater(up.SGD(1.0), clip=AGC(0.1, axis=axis))("w", grad, weight)
    np.testing.assert_allclose(weight.ravel(), expected, rtol=1e-14)
    with pytest.raises(ValueError, match=r"weight 'w': AGC takes units along axis 2, got shape \(2, 2\)"):
        up.get_updater(up.SGD(), clip=AGC(axis=2))("w", grad, weight)
    with pytest.raises(ValueError, match=r"weight 'w': AGC takes units along axis 2, got shape \(2, 2\)"):
        up.get_updater(up.SGD(), clip=AGC(axis=2), overrides={"w": up.SGD(0.1)})("w", grad, weight)


# A policy that an optimizer carries.


def test_arguments_go_before_the_policy_of_the_optimizer() -> None:
    policy = up.Policy(clip=ClipByNorm(1.0), accumulate=3, nonfinite="skip", master_weights=True, average=up.Average(0.5))
    carrying = up.SGD(0.1, policy=policy)
    assert up.get_updater(carrying).policy == policy
    merged = up.get_updater(carrying, clip=(), accumulate=1, master_weights=False, overrides={"w": up.FROZEN}).policy
    assert merged == attrs.evolve(policy, clip=(), accumulate=1, master_weights=False, overrides={"w": up.FROZEN})
    assert up.get_updater(up.SGD(0.1)).policy == up.Policy()
    by_policy, by_arguments = (np.ones(2) for _ in range(2))
    up.get_updater(up.SGD(0.1, policy=up.Policy(clip=ClipByValue(-0.5, 0.5))))("w", np.array([3.0, 0.1]), by_policy)
    up.get_updater(up.SGD(0.1), clip=ClipByValue(-0.5, 0.5))("w", np.array([3.0, 0.1]), by_arguments)
    assert by_policy.tolist() == by_arguments.tolist() == [0.95, 0.99]


# What cannot be, and what is not done by half.

GROWING = up.loss_scale.GrowthInterval(4.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"clip": 5}, TypeError, "clip must hold transforms of gradients, as those of updaters.transforms are, got 5"),
        ({"clip": [AGC]}, TypeError, f"clip must hold transforms of gradients, as those of updaters.transforms are, got {AGC!r}"),
        ({"clip": [AGC(), AGC(0.1)]}, ValueError, "clip takes one clip of its kind, got AGC(ratio=0.01, epsilon=0.001, axis=0) and AGC(ratio=0.1, epsilon=0.001, axis=0)"),
        ({"clip": [ClipByGlobalNorm(1), AGC()]}, ValueError, "clip: a clip of units comes before one of the norm of all gradients, got (ClipByGlobalNorm(bound=1.0, p=2.0, epsilon=0.0), AGC(ratio=0.01, epsilon=0.001, axis=0))"),
        ({"nonfinite": "stop"}, ValueError, "nonfinite must be 'ignore', 'raise' or 'skip', got 'stop'"),
        ({"nonfinite": True}, ValueError, "nonfinite must be 'ignore', 'raise' or 'skip', got True"),
        ({"nonfinite": "raise", "loss_scale": GROWING}, ValueError, f"nonfinite must be 'skip', or left out, where {GROWING!r} backs off, got 'raise'"),
        ({"nonfinite": "ignore", "loss_scale": GROWING}, ValueError, f"nonfinite must be 'skip', or left out, where {GROWING!r} backs off, got 'ignore'"),
        ({"accumulate": 0}, ValueError, "accumulate must be an integer of at least 1, got 0"),
        ({"accumulate": 2.0}, TypeError, "accumulate must be an integer of at least 1, got 2.0"),
        ({"accumulate": True}, TypeError, "accumulate must be an integer of at least 1, got True"),
        ({"loss_scale": 0}, ValueError, "Static.scale must be in (0, inf), got 0.0"),
        ({"loss_scale": math.inf}, ValueError, "Static.scale must be in (0, inf), got inf"),
        ({"loss_scale": "dynamic"}, TypeError, "loss_scale must be a number or one of updaters.loss_scale, got 'dynamic'"),
        ({"loss_scale": True}, TypeError, "loss_scale must be a number or one of updaters.loss_scale, got True"),
        ({"loss_scale": up.loss_scale.LogMax}, TypeError, f"loss_scale must be a number or one of updaters.loss_scale, got {up.loss_scale.LogMax!r}"),
        ({"master_weights": 1}, TypeError, "master_weights must be True or False, got 1"),
        ({"stochastic_rounding": -1}, ValueError, "stochastic_rounding must be an integer of at least 0, got -1"),
        ({"stochastic_rounding": True}, TypeError, "stochastic_rounding must be an integer of at least 0, got True"),
        ({"stochastic_rounding": 1, "master_weights": True}, ValueError, "master_weights and stochastic_rounding are two ways to the same end; choose one"),
        ({"average": 0.9}, TypeError, "average must be an Average or None, got 0.9"),
        ({"average": up.Average}, TypeError, f"average must be an Average or None, got {up.Average!r}"),
        ({"report": 1}, TypeError, "report must be True or False, got 1"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_the_arguments_cannot_be(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        up.get_updater(up.SGD(0.1), **arguments)
    assert str(info.value) == message


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: up.Average(1.5), ValueError, "Average.keep must be in [0, 1], got 1.5"),
        (lambda: up.Average("0.9"), TypeError, "Average.keep must be a real number in [0, 1] or a scheduler, got '0.9' (str)"),
        (lambda: up.Average(0.9, 0), ValueError, "Average.overwrite_every must be an integer of at least 1, got 0"),
        (lambda: up.Average(0.9, every_call=1), TypeError, "Average.every_call must be True or False, got 1"),
        (lambda: up.Policy(count_calls=None), TypeError, "count_calls must be True or False, got None"),
        (lambda: ClipByGlobalNorm(0), ValueError, "ClipByGlobalNorm.bound must be in (0, inf), got 0"),
        (lambda: ClipByGlobalNorm(1, 0), ValueError, "ClipByGlobalNorm.p must be in (0, inf), got 0"),
        (lambda: ClipByGlobalNorm(1, "two"), TypeError, "ClipByGlobalNorm.p must be a real number in (0, inf) or 'inf', got 'two' (str)"),
        (lambda: ClipByGlobalNorm(1, epsilon=-1), ValueError, "ClipByGlobalNorm.epsilon must be in [0, inf), got -1"),
        (lambda: AGC(0), ValueError, "AGC.ratio must be in (0, inf), got 0"),
        (lambda: AGC(epsilon=0), ValueError, "AGC.epsilon must be in (0, inf), got 0"),
        (lambda: AGC(axis=0.5), TypeError, "AGC.axis must be an integer, got 0.5"),
        (lambda: up.SGD(policy=5), TypeError, "SGD.policy must be a Policy or None, got 5"),
        (lambda: up.SGD(transforms=AGC()), ValueError, "SGD.transforms must be transforms of each weight's gradient, got AGC(ratio=0.01, epsilon=0.001, axis=0), a clip for get_updater"),
    ],
)  # fmt: skip
def test_what_parts_of_a_policy_cannot_be(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        make()
    assert str(info.value) == message


def wrong_late(state: up.OptimizationState) -> float:
    return 0.5 if state.iteration < 3 else -1.0


def fails_late(state: up.OptimizationState) -> float:
    if state.iteration == 4:
        raise RuntimeError("no rate")
    return 0.1


@pytest.mark.parametrize(
    ("policy", "calls", "fails", "error"),
    [
        ({"nonfinite": "raise"}, 1, lambda update, w: update.step([np.ones(2), np.array([1.0, np.nan])], w), FloatingPointError),
        ({"nonfinite": "raise", "accumulate": 3}, 4, lambda update, w: update.step([np.ones(2), np.array([1.0, np.inf])], w), FloatingPointError),
        ({"nonfinite": "raise", "accumulate": 2}, 1, lambda update, w: update.step([np.ones(2), np.array([1.0, -np.inf])], w), FloatingPointError),
        ({"accumulate": 2}, 3, lambda update, w: update.step([np.ones(2), np.ones(3)], w), ValueError),
        ({"accumulate": 2}, 3, lambda update, w: update.step([np.ones(2)], w[:1]), ValueError),
        ({"accumulate": 2}, 3, lambda update, w: update.step([None, None], [w[0], [1.0, 2.0]]), TypeError),
        ({"accumulate": 2}, 3, lambda update, w: update.step([None, None], [w[0], np.ones(3)]), ValueError),
        ({"accumulate": 2}, 3, lambda update, w: update.flush(w[:1]), ValueError),
        ({"accumulate": 2}, 3, lambda update, w: update.flush([w[0], np.ones((2, 1))]), ValueError),
        ({"accumulate": 2}, 3, lambda update, w: update(0, np.ones(2), w[0]), ValueError),
        ({"loss_scale": GROWING, "accumulate": 2}, 3, lambda update, w: update(0, np.ones(2), w[0]), TypeError),
        ({"clip": ClipByGlobalNorm(1.0)}, 1, lambda update, w: update(0, np.ones(2), w[0]), TypeError),
        ({"clip": ClipByGlobalNorm(wrong_late)}, 2, lambda update, w: update.step([np.ones(2)] * 2, w), ValueError),
        ({"average": up.Average(wrong_late), "loss_scale": GROWING}, 2, lambda update, w: update.step([np.ones(2)] * 2, w), ValueError),
    ],
)  # fmt: skip
def test_nothing_is_written_by_what_is_refused(policy: Any, calls: int, fails: Any, error: type[Exception]) -> None:
    update = up.get_updater(up.Adam(0.1), **policy)
    weights = [np.ones(2), np.ones(2)]
    for _ in range(calls):
        update.step([np.ones(2), np.full(2, 0.5)], weights)
    before = kept(update), [weight.tobytes() for weight in weights], [known.gathered for known in update.slots.values()]
    with pytest.raises(error):
        fails(update, weights)
    assert (kept(update), [weight.tobytes() for weight in weights], [known.gathered for known in update.slots.values()]) == before


def test_a_rule_of_whole_arrays_that_fails_leaves_the_loss_scale() -> None:
    weights = [np.ones((2, 2)), np.ones(2)]
    update = up.get_updater(up.Muon(fails_late, otherwise=up.SGD(0.1)), loss_scale=GROWING, accumulate=2)
    for _ in range(3):
        update.step([np.eye(2), np.ones(2)], weights)
    before = kept(update), [weight.tobytes() for weight in weights]
    with pytest.raises(RuntimeError, match="no rate"):
        update.step([np.eye(2), np.ones(2)], weights)
    assert (kept(update), [weight.tobytes() for weight in weights]) == before


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"clip": ClipByGlobalNorm(1.0)}, "ClipByGlobalNorm needs all gradients at once: update.step(grads, weights) in place of update('w', ...)"),
        ({"overrides": {"v": {"clip": ClipByGlobalNorm(1.0)}}}, "ClipByGlobalNorm needs all gradients at once: update.step(grads, weights) in place of update('w', ...)"),
        ({"loss_scale": GROWING}, f"{GROWING!r} needs all gradients at once: update.step(grads, weights) in place of update('w', ...)"),
    ],
    ids=["clip", "override", "scale"],
)  # fmt: skip
def test_what_needs_all_gradients_says_so(policy: Any, message: str) -> None:
    with pytest.raises(TypeError) as info:
        up.get_updater(up.SGD(0.1), **policy)("w", np.ones(1), np.ones(1))
    assert str(info.value) == message
