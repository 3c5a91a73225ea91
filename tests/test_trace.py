"""Recording: what a formula may do, what it may not, and rules that users write in places without a file."""

import textwrap
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

import updaters as up
from tests.test_backends import numbers, same
from updaters.backends.numpy import BLOCK, plan
from updaters.backends.trace import record
from updaters.formula import Formula
from updaters.optimizers.fields import nonnegative, rate


def recorded(function: Callable[..., Any], *slots: str) -> Any:
    return record(Formula.of(function, slots, (), "Test"))


# Every operation, in every form it can be written in, on arrays, coefficients and literals.
FORMULAS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda w, g, s, c: (w + g * s - c / (g - 2) + -w, +s),
    "square, power, reciprocal": lambda w, g, s, c: (np.square(g) + s**2 + c**2 + np.abs(w) ** 0.5, np.reciprocal(s)),
    "roots and signs": lambda w, g, s, c: (np.sqrt(np.abs(w)) + abs(c) * np.sign(g), np.fabs(s)),
    "maximum and minimum": lambda w, g, s, c: (np.maximum(w, g) + np.minimum(s, c) + np.minimum(0.25, g), np.maximum(s, 1)),
    "clip": lambda w, g, s, c: (np.clip(w, -c, c), np.clip(g, -1, np.abs(s))),
    "where": lambda w, g, s, c: (np.where(g > s, w, c), np.where((g >= 0) & ~(s == 1) | (w != c), 2.0, s)),
    "literals only": lambda w, g, s, c: (w * np.where(g < 0, 0.1, 0.3), s + np.where(s <= g, 1, -1)),
    "coefficients only": lambda w, g, s, c: (w + np.where(g < s, c * c, 1 - c), s * (c / 3) + np.sqrt(c)),
    "logical functions": lambda w, g, s, c: (np.where(np.logical_and(g > 0, np.logical_not(s > 0)), w, g), np.where(np.isnan(g), 0, s)),
    "exchange": lambda w, g, s, c: (s, w),
    "the gradient itself": lambda w, g, s, c: (g, g),
    "twice the same": lambda w, g, s, c: (w * g, w * g),
    "scalars of NumPy": lambda w, g, s, c: (w * np.float64(0.1) + np.sqrt(2.0) * g, s / np.float32(3)),
    "zeros of both signs": lambda w, g, s, c: (1 / np.clip(w * 0.0, 0.0, 1.0), s),
    "constants": lambda w, g, s, c: (np.inf - w, s * -0.0 + 1 / (w * -0.0)),
    "unused": lambda w, g, s, c: (w, s - g),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [9, BLOCK + 5])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_recording_computes_what_its_formula_does(name: str, dtype: str, size: int, backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    function = FORMULAS[name]

    @attrs.frozen(repr=False)
    class Rule(up.Optimizer):
        lr: up.Schedulable = rate(0.7)
        slots: ClassVar = ("s",)
        formula = staticmethod(function)

        def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
            return {"c": self.at(state).lr}

    rng = np.random.default_rng(0)
    w, g, s = (numbers(rng, (size,), np.dtype(dtype)) for _ in range(3))
    update = up.get_updater(Rule(), backend=backend)
    weight = w.copy()
    update("w", np.zeros(size, dtype), np.zeros(size, dtype))
    update.slots["w"]["s"][...] = s
    update("w", g, weight)
    with np.errstate(all="ignore"):
        # Literals are of the compute dtype, which plain NumPy cannot know of two of them.
        c = np.full(size, 0.7, dtype)
        expected = [np.asarray(value).astype(dtype) for value in function(w, g, s, c)]
        if name == "scalars of NumPy":
            tenth, root, third = (np.array(value, dtype) for value in (0.1, np.sqrt(2.0), 3))
            expected = [w * tenth + root * g, s / third]
        if name == "zeros of both signs":  # which of two equal zeros numpy.clip gives is not said
            expected[0] = np.abs(expected[0])
            weight = np.abs(weight)
        if name == "literals only":
            expected = [w * np.where(g < 0, np.array(0.1, dtype), np.array(0.3, dtype)), expected[1]]
            expected[1] = s + np.where(s <= g, np.array(1, dtype), np.array(-1, dtype))
    assert same(weight, expected[0])
    assert same(update.slots["w"]["s"], expected[1])


def branch(w: Any, g: Any) -> Any:
    return w if g > 0 else g


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "a function": (lambda w, g: w - np.exp(g), "numpy.exp"),
    "a reduction": (lambda w, g: w - np.add.reduce(g), "numpy.add with .reduce"),
    "an output": (lambda w, g: np.add(w, g, out=w), r"numpy.add with \['out'\]"),
    "a method": (lambda w, g: w - g.sum(), r"a value's \.sum"),
    "a number beyond all": (lambda w, g: w / 2**2000, "has a number that no float64 holds"),
    "a mean": (lambda w, g: w - np.mean(g), "numpy.mean"),
    "a branch": (branch, r"a branch on a value \(numpy.where selects"),
    "a conversion": (lambda w, g: w * float(g), "float"),
    "one argument of where": (lambda w, g: np.where(g > 0), "numpy.where"),
    "an array": (lambda w, g: w - g * np.ones(3), "may combine its arguments with numbers only"),
    "text": (lambda w, g: w - np.multiply(g, "x"), "may combine its arguments with numbers only, got 'x'"),
    "a comparison as a number": (lambda w, g: w * (g > 0), "numpy.multiply takes numbers"),
    "a number as a condition": (lambda w, g: np.where(g, w, g), "numpy.where takes numbers after one comparison"),
    "logic of numbers": (lambda w, g: np.where(np.logical_and(w, g), w, g), "numpy.logical_and takes comparisons"),
    "too many values": (lambda w, g: (w, g), r"must give back \(w\), got 2 values"),
    "a comparison": (lambda w, g: w > g, "must give back numbers, got a comparison"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_place_in_a_formula_is_refused_by_name(case: str) -> None:
    function, message = REFUSED[case]
    with pytest.raises(TypeError, match=f"Test.formula.*{message}"):
        recorded(function)


def test_the_parameters_of_a_formula_are_weight_gradient_slots_coefficients() -> None:
    with pytest.raises(TypeError, match=r"Test.formula must take \(w, g, m, v, ...\) for slots \('m', 'v'\), got \(w, g, v, m\)"):
        recorded(lambda w, g, v, m: (w, v, m), "m", "v")
    with pytest.raises(TypeError, match=r"got \(w, g, \*rest\)"):
        recorded(lambda w, g, *rest: w)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stop": 1.0}, "got 'stop'"),
        ({}, "got nothing"),
        ({"step": 1.0, "more": 1.0}, "got 'more', 'step'"),
        ({"step": None}, "Rule.coefficients must give numbers by name, got {'step': None}"),
    ],
)
def test_coefficients_must_be_the_formulas(given: Any, message: str) -> None:
    @attrs.frozen(repr=False)
    class Rule(up.Optimizer):
        lr: up.Schedulable = rate(0.7)
        more: up.Schedulable = nonnegative(0.0)

        @staticmethod
        def formula(w: Any, g: Any, step: Any) -> Any:
            return w - step * g

        def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
            return given

    weight = np.ones(2)
    with pytest.raises(TypeError, match=message):
        up.get_updater(Rule())("w", np.ones(2), weight)


def test_a_value_is_computed_once_and_buffers_are_shared() -> None:
    recording = recorded(lambda w, g, c: w - c * (g * g) / (np.sqrt(g * g) + c))
    assert [node.operation for node in recording.nodes].count("multiply") == 2
    # Two temporaries: g * g and its root; everything else writes over what is no longer needed.
    assert plan(recording).buffers == (2, 0)


def test_minus_zero_and_zero_are_two_constants() -> None:
    recording = recorded(lambda w, g: 1 / (w * 0.0) + 1 / (w * -0.0))
    assert {node.value for node in recording.nodes if node.operation == "constant"} == {
        "0x1.0000000000000p+0",
        "0x0.0p+0",
        "-0x0.0p+0",
    }


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_a_rule_may_be_typed_where_there_is_no_file(backend: str) -> None:
    source = textwrap.dedent("""
        @attrs.frozen(repr=False)
        class SignSGD(up.Optimizer):
            lr: up.Schedulable = rate(0.01)

            @staticmethod
            def formula(w, g, lr):
                return w - lr * np.sign(g)

            def coefficients(self, state, t):
                return {"lr": self.at(state).lr}
    """)
    namespace: dict[str, Any] = {"attrs": attrs, "np": np, "up": up, "rate": rate}
    exec(source, namespace)
    for size in (3, 3 * BLOCK):
        weight = np.zeros(size, np.float32)
        up.get_updater(namespace["SignSGD"](0.5, maximize=True), backend=backend)(
            "w", np.linspace(-1, 1, size, dtype="f4"), weight
        )
        assert [weight[0], weight[-1]] == [-0.5, 0.5]


@pytest.mark.parametrize("backend", ["auto", "numpy"])
@pytest.mark.parametrize("size", [3, 3 * BLOCK])
@pytest.mark.parametrize("name", ["g", "w", "lr"])
def test_a_slot_may_have_any_name(name: str, size: int, backend: str) -> None:
    namespace: dict[str, Any] = {}
    exec(
        f"def formula(weight, gradient, {name}, rate):\n    {name} = {name} * 0.5 + gradient\n    return weight - rate * {name}, {name}",
        namespace,
    )

    @attrs.frozen(repr=False)
    class Average(up.Optimizer):
        lr: up.Schedulable = rate(0.1)
        slots: ClassVar = (name,)
        formula = staticmethod(namespace["formula"])

        def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
            return {"rate": self.at(state).lr}

    weight = np.ones(size)
    update = up.get_updater(Average(), backend=backend)
    for _ in range(3):
        update("w", np.ones(size), weight)
    np.testing.assert_allclose(weight, 1 - 0.1 * (1 + 1.5 + 1.75), rtol=1e-15)


def test_slots_are_a_tuple_of_names() -> None:
    @attrs.frozen(repr=False)
    class Rule(up.Optimizer):
        lr: up.Schedulable = rate(0.7)
        slots: ClassVar = "mom"  # a comma short

    with pytest.raises(TypeError, match="optimizer must have a rule|Rule.slots must be a tuple of names, got 'mom'"):
        up.get_updater(Rule())


def test_a_name_that_is_no_hyperparameter_says_how_one_is_made() -> None:
    class Rule(up.SGD):
        more: float = 0.1

    with pytest.raises(AttributeError, match="no hyperparameter 'more', there are .* lr.* is made by a helper"):
        Rule().at(up.OptimizationState()).more  # noqa: B018
